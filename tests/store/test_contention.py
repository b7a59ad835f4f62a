"""Processes that share a store, and processes that end in the middle of a write."""

import pytest

from tests.scale import PATIENCE_S
from tests.store.bars import MINUTE_S, assert_stored, bars
from tests.store.contention import append, contend, lost_bars
from tests.store.kill import BARS_A_WRITE, kill_once, stored_bars, writer
from tvDatafeed import Interval
from tvDatafeed.frames.rows import frame_to_bars
from tvDatafeed.store import BarStore

SECONDS, PROCESSES = 2.0, 8

pytestmark = pytest.mark.slow


def test_eight_processes_write_and_read(store_url):
    """Eight processes on one store: no error, and every bar is as it was written."""
    outcomes = contend(store_url, SECONDS, PROCESSES)
    assert [outcome["errors"] for outcome in outcomes] == [0] * PROCESSES
    assert all(outcome["written"] for outcome in outcomes)
    assert lost_bars(store_url, outcomes) == 0


def test_eight_processes_store_the_bars_of_feeds(store_url):
    """The same for bars that are appended one by one, as feeds do."""
    outcomes = contend(store_url, SECONDS, PROCESSES, "feed", page=1)
    assert [outcome["errors"] for outcome in outcomes] == [0] * PROCESSES
    assert all(outcome["written"] for outcome in outcomes)
    assert lost_bars(store_url, outcomes) == 0


@pytest.mark.parametrize("sizes", [[1] * 70, [60, 10, 1, 1000, 1, 64, 64, 1, 1024, 65, 3]])
def test_appended_bars_of_any_pages(store_url, sizes):
    """Appended in pages of any size, bars are stored as they are, in one range."""
    written = 0
    with BarStore(store_url) as store:
        for size in sizes:
            append(store, "TEST:A", frame_to_bars(bars(size, written), MINUTE_S).packed)
            written += size
        frame = store.read_bars(
            "TEST:A", interval=Interval.in_1_minute, n_bars=written + 1, timezone="UTC"
        )
        newest = store.read_bars("TEST:A", interval=Interval.in_1_minute, n_bars=50, timezone="UTC")
        (series,) = store.series()
        assert len(store.coverage("TEST:A", interval=Interval.in_1_minute)) == 1
    assert_stored(frame, bars(written))
    assert_stored(newest, bars(50, written - 50))
    assert series.bars == written


def test_eight_processes_open_a_new_store(tmp_path):
    """Processes that make a new SQLite file at the same moment wait for each other."""
    for number in range(3):
        outcomes = contend(str(tmp_path / f"{number}.db"), 0.2, PROCESSES)
        assert [outcome["errors"] for outcome in outcomes] == [0] * PROCESSES


def test_killed_writer_leaves_whole_writes(store_url):
    """After a writer is killed all that it had acknowledged is there, and no half of a write."""
    for wait_s in (0.0, 0.03, 0.1):
        acknowledged = kill_once(store_url, wait_s)
        stored = stored_bars(store_url)
        assert stored >= acknowledged
        assert stored % BARS_A_WRITE == 0


def test_killed_server_loses_nothing(new_store_url, postgres):
    """After the server itself is killed and started again, the same holds."""
    url = new_store_url("postgresql")
    with writer(url) as program:
        said = [program.stdout.readline() for _ in range(5)]
        postgres.kill()
        try:
            said += program.stdout.read().splitlines()
            program.wait(PATIENCE_S)
        finally:
            postgres.start()
    acknowledged = int(said[-1])
    stored = stored_bars(url)
    assert stored >= acknowledged
    assert stored % BARS_A_WRITE == 0
    assert program.returncode != 0


def test_store_goes_on_after_its_server_was_killed(new_store_url, postgres):
    """A store that was open meanwhile connects again by itself."""
    with BarStore(new_store_url("postgresql"), timeout=5.0) as store:
        store.write_bars(bars(2000), "TEST:A", interval=Interval.in_1_minute)
        postgres.kill()
        assert not store.health_check().ok
        postgres.start()
        frame = store.read_bars(
            "TEST:A", interval=Interval.in_1_minute, n_bars=9999, timezone="UTC"
        )
        assert_stored(frame, bars(2000))
