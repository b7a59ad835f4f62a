"""Several writers of one TDengine."""

import contextlib
import struct
import threading

import pandas as pd
import pytest

from tests.loopback import NOW
from tests.scale import PATIENCE_S
from tvDatafeed import TvDatafeed
from tvDatafeed.exceptions import StoreError
from tvDatafeed.protocol.bars import Bars
from tvDatafeed.store import BarStore
from tvDatafeed.store.key import SeriesKey
from tvDatafeed.testing import FakeTDengine, FakeTradingView, MarketClock

KEY = SeriesKey("MINE:X", "1D")
DAY_S = 86400.0


@pytest.fixture
def tdengine():
    with FakeTDengine() as server:
        yield server


@pytest.fixture
def one(tdengine):
    """One program."""
    with BarStore(tdengine.url) as store:
        yield store


@pytest.fixture
def other(tdengine):
    """Another one."""
    with BarStore(tdengine.url) as store:
        yield store


def days(first, count, price):
    times = [(first + n) * DAY_S for n in range(count)]
    rows = [struct.pack("6d", time, price, price, price, price, 1.0) for time in times]
    return times, b"".join(rows)


def write(transaction, first, count, price=10.0):
    """Write bars of some days, and that their range is answered."""
    times, packed = days(first, count, price)
    series = transaction.add(KEY)
    transaction.write(series, packed)
    spans = [*transaction.spans(series), (times[0], times[-1])]
    transaction.set_spans(series, sorted(spans))


def read(store):
    """Return the spans, and the times in them."""
    with store.archive.engine.reading() as transaction:
        series = transaction.find(KEY)
        if series is None:
            return [], []
        packed = transaction.read(series, float("-inf"), float("inf"))
        return transaction.spans(series), [bar.time for bar in Bars(packed)]


def assert_whole(store):
    """Check that each answered range has all its bars, and that no others are seen."""
    spans, times = read(store)
    expected = [
        day * DAY_S for lo, hi in spans for day in range(int(lo / DAY_S), int(hi / DAY_S) + 1)
    ]
    assert times == sorted(set(expected))


def test_changes_meet(one, other):
    """A writer adds what another one has stored since it began."""
    with one.archive.engine.writing() as transaction:
        write(transaction, 0, 5)
    with one.archive.engine.writing() as first:
        write(first, 100, 5)
        with other.archive.engine.writing() as second:
            write(second, 200, 5)
    spans, times = read(one)
    assert len(spans) == 3
    assert len(times) == 15
    assert_whole(other)


def test_both_make_the_series(one, other):
    """Two writers that find no series end with one that has the bars of both."""
    with one.archive.engine.writing() as first:
        write(first, 0, 5)
        with other.archive.engine.writing() as second:
            write(second, 3, 7)
    assert_whole(one)
    assert len(read(other)[1]) == 10


def test_late_writer_after_a_restatement(one, other):
    """A writer that is overtaken by another generation fails; nothing of it is seen."""
    with one.archive.engine.writing() as transaction:
        write(transaction, 0, 5)
    with pytest.raises(StoreError, match="restated"), one.archive.engine.writing() as first:
        write(first, 100, 5)
        with other.archive.engine.writing() as second:
            second.restart(second.find(KEY))
            write(second, 0, 7, price=5.0)
    assert len(read(one)[1]) == 7
    assert_whole(other)


def test_two_restatements_at_once(one, other):
    """Of two new generations one counts, whole."""
    with one.archive.engine.writing() as transaction:
        write(transaction, 0, 5)
    with pytest.raises(StoreError), one.archive.engine.writing() as first:
        first.restart(first.find(KEY))
        write(first, 0, 3, price=5.0)
        with other.archive.engine.writing() as second:
            second.restart(second.find(KEY))
            write(second, 0, 7, price=5.0)
    assert len(read(one)[1]) == 7
    assert_whole(one)


def test_late_writer_after_a_removal(one, other):
    """A series that was removed is not half revived."""
    with one.archive.engine.writing() as transaction:
        write(transaction, 0, 5)
    with pytest.raises(StoreError), one.archive.engine.writing() as first:
        write(first, 100, 5)
        with other.archive.engine.writing() as second:
            second.remove(second.find(KEY))
    assert read(other) == ([], [])
    assert one.series() == []


def test_reader_keeps_the_old_generation(one, other, tdengine):
    """A reader that has found a series reads its bars, though another generation has begun."""
    with one.archive.engine.writing() as transaction:
        write(transaction, 0, 5)
    with one.archive.engine.reading() as reader:
        series = reader.find(KEY)
        with other.archive.engine.writing() as writer:
            writer.restart(writer.find(KEY))
            write(writer, 0, 7, price=5.0)
        old = Bars(reader.read(series, 0.0, 1e9))
    assert [bar.close for bar in old] == [10.0] * 5


def test_reader_does_not_see_newer_bars(one, other):
    """Bars that come while a reader reads are not mixed into what it has found."""
    with one.archive.engine.writing() as transaction:
        write(transaction, 0, 5)
    with one.archive.engine.reading() as reader:
        series = reader.find(KEY)
        with other.archive.engine.writing() as writer:
            write(writer, 50, 5)
        assert len(Bars(reader.read(series, float("-inf"), float("inf")))) == 5


def test_nothing_is_written_when_a_block_fails(one, tdengine):
    """An error in the block of a transaction leaves the store as it was."""
    one.connect()
    begun = len(tdengine.statements)
    with contextlib.suppress(ValueError), one.archive.engine.writing() as transaction:
        write(transaction, 0, 5)
        raise ValueError
    sent = [text for text in tdengine.statements[begun:] if not text.startswith("SELECT")]
    assert sent == []
    assert read(one) == ([], [])


def test_threads_of_one_program(one):
    """Threads of one program lose nothing of each other, on one series and on several."""
    errors = []

    def run(number):
        try:
            for turn in range(5):
                with one.archive.engine.writing() as transaction:
                    write(transaction, 1000 * number + 100 * turn, 5)
        except StoreError as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert errors == []
    spans, times = read(one)
    assert len(spans) == 20
    assert len(times) == 100


@pytest.mark.slow
def test_programs_ask_for_the_same(tdengine):
    """Clients that fetch the same series at the same time end with right bars for all."""
    with FakeTradingView(clock=MarketClock(NOW, speed=0)) as market:
        with TvDatafeed(config=market.config(), store=False) as plain:
            truth = plain.get_hist("AAPL", "NASDAQ", n_bars=200)
        found = []

        def run(depth):
            with TvDatafeed(config=market.config(), store=tdengine.url) as tv:
                found.extend(
                    (count, tv.get_hist("AAPL", "NASDAQ", n_bars=count))
                    for count in (depth, 200, depth, 200)
                )

        threads = [threading.Thread(target=run, args=(depth,)) for depth in (10, 50, 120)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
        assert len(found) == 12
        for count, bars in found:
            pd.testing.assert_frame_equal(bars, truth[-count:])
