"""``start=``: closed bars since a moment come first, once and in order, then the live ones."""

import datetime as dt
import threading

import pandas as pd
import pytest

from tests.feed import BTC, MINUTE, Bars, Calls, live, until
from tests.loopback import frame_of
from tests.scale import PATIENCE_S
from tvDatafeed import DataValidationError, Interval
from tvDatafeed.store import BarStore
from tvDatafeed.testing import Refusal


def moment(server, minutes):
    """A moment some minutes ago."""
    return dt.datetime.fromtimestamp(server.now - 60 * minutes, dt.timezone.utc)


def test_bars_since_a_moment_then_live_ones(server, tvl):
    """Each closed bar since the moment, once and in order, equal to history."""
    seis = tvl.new_seis(*BTC)
    bars = Bars()
    tvl.new_consumer(seis, bars, start=moment(server, 100))
    assert bars.wait(100)
    for _ in range(3):
        server.move(60)
    assert bars.wait(103)
    market = server.market.bars("BITSTAMP:BTCUSD", "1", 104, server.now)[:-1]
    pd.testing.assert_frame_equal(pd.concat(bars.frames), frame_of(market, "BITSTAMP:BTCUSD"))
    assert all(frame.attrs["closed"] for frame in bars.frames)


def test_bars_that_close_meanwhile_come_afterwards(server, tvl):
    """What closes while the callback is busy with old bars follows them."""
    seis = tvl.new_seis(*BTC)
    go_on = threading.Event()
    bars = Bars(before=lambda *_: go_on.wait(PATIENCE_S))
    others = Bars()
    tvl.new_consumer(seis, others)
    tvl.new_consumer(seis, bars, start=moment(server, 5))
    for count in range(2, 6):
        server.move(60)
        assert others.wait(count)
    go_on.set()
    assert bars.wait(9)
    assert bars.opens == server.closed(count=9)


@pytest.mark.parametrize("start", ["2026-08-14T21:50Z", "2026-08-14 21:50", "2026-08-14T21:50:30"])
def test_start_as_text(server, tvl, start):
    """A text without a zone is in that of the feed; the first bar opens then or later."""
    bars = Bars()
    tvl.subscribe(*BTC, bars, start=start)
    expected = 9 if start.endswith("30") else 10
    assert bars.wait(expected)
    assert bars.opens == server.closed(count=expected)


def test_nothing_missed(server, tvl):
    """A moment after the last closed bar: the live ones alone, and no request."""
    seis = tvl.new_seis(*BTC)
    sessions = len(server.received)
    bars = Bars()
    tvl.new_consumer(seis, bars, start=moment(server, 0.5))
    assert len(server.received) == sessions
    server.move(60)
    assert bars.wait(1)
    assert bars.opens == server.closed(count=1)


def test_shortcut_of_a_seis(server, tvl):
    """`Seis.new_consumer` hands it on."""
    bars = Bars()
    tvl.new_seis(*BTC).new_consumer(bars, start=moment(server, 3))
    assert bars.wait(3)
    assert bars.opens == server.closed(count=3)


def test_more_than_the_queue_holds(server, tvl):
    """The bound is for live bars: old ones are fetched when their turn comes."""
    bars = Bars()
    consumer = tvl.subscribe(*BTC, bars, start=moment(server, 12_000), max_queue=1)
    assert bars.wait(12_000)
    assert bars.opens == server.closed(count=12_000)
    assert consumer.dropped == 0


def test_from_the_store(server, tmp_path):
    """What is stored is not asked for again."""
    with BarStore(tmp_path / "bars.db") as store:
        store_feed = {"store": store}
        with live(server, hooks=store_feed) as tvl:
            tvl.get_hist(*BTC, n_bars=300)
            bars = Bars()
            tvl.subscribe(*BTC, bars, start=moment(server, 200))
            assert bars.wait(200)
            assert bars.opens == server.closed(count=200)
            asked = [message for message in server.received if message.method == "create_series"]
            # The history, the live series, and the tail of the stored bars.
            assert asked[0].params[5] > 200
            assert asked[-1].params[5] < 200


def test_after_a_restart_of_the_program(server, tmp_path):
    """A second run continues where the first one ended: nothing twice, nothing missing."""
    handled = []
    for _ in range(3):
        with BarStore(tmp_path / "bars.db") as store, live(server, hooks={"store": store}) as tvl:
            bars = Bars()
            start = handled[-1] + pd.Timedelta(seconds=1) if handled else moment(server, 10)
            tvl.subscribe(*BTC, bars, start=start)
            for _ in range(5):
                server.move(60)
            assert until(lambda bars=bars: bars.opens[-1:] == server.closed())
            handled += bars.opens
        server.move(600, tick=False)
    assert handled == [t for t in server.closed(count=100) if handled[0] <= t <= handled[-1]]
    assert len(handled) == 45


def test_bars_that_cannot_be_had(server):
    """An error goes to `on_error`, the bars to `on_gap`, and the live ones come all the same."""
    errors, gaps, bars = Calls(), Calls(), Bars()
    with live(server, hooks={"on_gap": gaps}) as tvl:
        seis = tvl.new_seis(*BTC)
        server.refuse("BITSTAMP:BTCUSD", Refusal("series_error", "permission denied"))
        start = moment(server, 50)
        tvl.new_consumer(seis, bars, start=start, on_error=errors)
        assert errors.wait(len)
        assert gaps.wait(len)
        assert gaps.calls == [(seis, start.replace(second=0), server.closed()[0])]
        server.move(60)
        assert bars.wait(1)
        assert bars.opens == server.closed(count=1)


def test_end_during_the_old_bars(server, tvl):
    """`del_consumer` ends it at once, and `close` gives it what waits."""
    seis = tvl.new_seis(*BTC)
    begun, go_on = threading.Event(), threading.Event()

    def slow(_seis, _data):
        begun.set()
        go_on.wait(PATIENCE_S)

    consumer = tvl.new_consumer(seis, slow, start=moment(server, 1000))
    assert begun.wait(PATIENCE_S)
    tvl.del_consumer(consumer)
    go_on.set()
    consumer.join(PATIENCE_S)
    assert consumer.delivered == 1
    bars = Bars()
    tvl.new_consumer(seis, bars, start=moment(server, 20))
    tvl.close()
    assert bars.opens == server.closed(count=20)


def test_wrong_starts(server, tvl):
    """Refused before anything is sent."""
    for start in ("yesterday", "2999-01-01", object()):
        with pytest.raises(DataValidationError, match="start"):
            tvl.subscribe(*BTC, print, start=start)
    assert not server.received


@pytest.mark.parametrize(
    ("start", "is_refused"),
    [("2026-08-14T21:50", True), ("2026-08-14", True), ("2026-08-14T21:50Z", False)],
)
def test_zone_of_the_exchange(server, start, is_refused):
    """The exchange of a symbol is not known before it is followed: a start needs its own zone."""
    bars = Bars()
    with live(server, data={"timezone": "exchange"}) as tvl:
        if is_refused:
            with pytest.raises(DataValidationError, match="needs a zone"):
                tvl.subscribe(*BTC, bars, start=start)
            assert not server.received
            return
        tvl.subscribe(*BTC, bars, start=start)
        assert bars.wait(10)
    assert len(bars.opens) == 10


def test_daily_bars(server, tvl):
    """The same of days; a date begins in the zone of the feed."""
    bars = Bars()
    tvl.subscribe("BTCUSD", "BITSTAMP", Interval.in_daily, bars, start=dt.date(2026, 8, 1))
    assert bars.wait(13)
    assert bars.opens[0] == pd.Timestamp("2026-08-01", tz="UTC")
    assert len(bars.opens) == 13


def test_both_kinds_of_bars(server, tvl):
    """With ``bars="all"`` the forming bar comes after the old ones."""
    bars = Bars()
    tvl.subscribe("BTCUSD", "BITSTAMP", MINUTE, bars, bars="all", start=moment(server, 4))
    assert bars.wait(4)
    server.move(61)
    assert bars.wait(5)
    closed = [frame.index[0] for frame in bars.frames if frame.attrs["closed"]]
    assert closed[:4] == server.closed(count=5)[:4]
    assert closed == sorted(set(closed))
