"""R1 and R2 measure what they say, and see what goes wrong."""

import pytest

from tests.benchmarks.scale_readers import shared_readers
from tests.benchmarks.scale_store import filled_store
from tests.delivery import redisserver
from tests.scale import scaled
from tests.store import postgresserver

pytestmark = pytest.mark.slow
needs_redis = pytest.mark.skipif(not redisserver.has_server(), reason=redisserver.NO_SERVER)
needs_postgres = pytest.mark.skipif(
    not postgresserver.has_server(), reason=postgresserver.NO_SERVER
)


def read_by(*counts, **settings):
    """Return the figures of a few readers."""
    return list(shared_readers(counts, series=3, instants=2, singles=3, **settings))


def filled_by(*counts, **settings):
    """Return the figures of a small store on SQLite."""
    return list(filled_store(counts, symbols=4, bars=50, postgres=False, **settings))


def found(figures, words):
    """Return the figures of some work, by the begin of its words or by a later part of them."""
    matching = [figure for figure in figures if figure.work.startswith(words)]
    matching = matching or [figure for figure in figures if words in figure.work]
    assert matching
    return matching


@needs_redis
def test_readers_receive_all_bars():
    """Each reader receives each bar once, however late it began, and all costs are shown."""
    figures = read_by(1, 2)
    (received,) = found(figures, "all bars, once")
    assert received.holds
    # The first reader had the bars of both numbers of readers: warm-up and rounds.
    bars = (1 + 2) * 3 + 10 + 3
    assert received.measured == f"{3 * bars} received, 0 lost, 0 repeated"
    assert len(found(figures, "1 reader,")) == len(found(figures, "2 readers,")) == 4
    assert len(found(figures, "the publisher")) == 2
    assert all(figure.value is not None for figure in figures)


@needs_redis
def test_readers_with_faults():
    """A bar that one of the readers lost, and one that another had twice, are errors."""
    figures = read_by(2, faults={0: "lose", 1: "repeat"}, patience_s=scaled(2.0))
    (received,) = found(figures, "all bars, once")
    assert received.holds is False
    assert received.measured.endswith(" 1 lost, 1 repeated")


@needs_redis
def test_slow_reader():
    """The time of the last callback in the last reader includes a reader that is slow."""
    slow_s = 0.05
    figures = read_by(2, faults={1: f"slow {slow_s}"})
    for words in ("3 bars at one instant", "one bar to all"):
        assert found(figures, words)[0].value >= slow_s * 1000
    assert found(figures, "all bars, once")[0].holds


def test_processes_fill_a_store():
    """All bars are read back as they were, and the costs of each number of processes are shown."""
    figures = filled_by(1, 2)
    for way in ("get_hist_multi", "write_bars"):
        (whole,) = found(figures, f"{way}, SQLite: read back")
        assert whole.holds
        assert whole.measured.startswith("0 errors, 0 bars lost")
        for count in ("1 process,", "2 processes,"):
            rate, cpu = found(figures, f"{count} {way}")
            assert rate.value > 0
            assert cpu.value > 0


def test_lost_bar_of_a_store():
    """A bar that was not written is an error of the figure, once for each number of processes."""
    figures = filled_by(1, 2, fault="lose")
    (whole,) = found(figures, "write_bars, SQLite: read back")
    assert whole.holds is False
    assert whole.value == 2


def test_slow_process():
    """The time of several processes is that of the slowest one."""
    slow_s = 0.5
    figures = filled_by(2, fault=f"slow {slow_s}")
    for words in ("2 processes, get_hist_multi", "2 processes, write_bars"):
        rate = found(figures, words)[0]
        assert rate.value <= 4 * 50 / slow_s


@needs_postgres
def test_processes_fill_a_store_on_a_server():
    """The same is measured on a PostgreSQL server."""
    figures = list(filled_store((2,), symbols=4, bars=50))
    for words in ("get_hist_multi, PostgreSQL: read", "write_bars, PostgreSQL: read"):
        (whole,) = found(figures, words)
        assert whole.holds
