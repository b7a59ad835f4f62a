"""Each bar is delivered once and in order, also if it is corrected, repeated or broken."""

import json
import math

import pytest

from tests.feed import BTC, Bars, Calls, live, until

SYMBOL = "BITSTAMP:BTCUSD"


def test_corrections_are_counted(server):
    """A bar that changes after its delivery is counted, not delivered again (row 47)."""
    bars = Bars()
    with live(server) as tvl:
        tvl.subscribe(*BTC, bars)
        server.move(60)
        assert bars.wait(2)
        (session,) = server.open_sessions
        wrong = [bars.opens[1].timestamp(), 1.0, 2.0, 0.5, 1.5, 9.0]
        update = {"sds_1": {"s": [{"i": 0, "v": wrong}], "t": "s1"}}
        for _ in range(2):
            server.push(json.dumps({"m": "du", "p": [session, update]}))
        assert until(lambda: tvl.status()[0].corrections == 1)
        server.move(60)
        assert bars.wait(3)
        assert tvl.status()[0].corrections == 1
    assert bars.opens == server.closed(count=3)


def test_duplicates_and_disorder(server):
    """Repeated and reordered bars are delivered once and in order (rows 45, 46, 48)."""
    bars = Bars()
    with live(server) as tvl:
        tvl.subscribe(*BTC, bars)
        assert bars.wait(1)
        (session,) = server.open_sessions
        market = server.market.bars(SYMBOL, "1", 300, server.now + 180)
        rows = [[float(b.time), *b[1:]] for b in market]
        for chosen in (rows[-2:-1], rows[-3:-2], rows[-2:], rows, rows[:50], rows[-4:]):
            items = [{"i": i, "v": row} for i, row in enumerate(chosen)]
            update = {"sds_1": {"s": items, "t": "s1"}}
            server.push(json.dumps({"m": "timescale_update", "p": [session, update, {}]}))
        assert bars.wait(4)
        server.now += 180
        server.move(60)
        assert bars.wait(5)
    assert bars.opens == server.closed(count=5)


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ([None, 2.0, 0.5, 1.5, 9.0], "without a price"),
        (["x", 2.0, 0.5, 1.5, 9.0], "without a price"),
        ([1.0, 0.5, 2.0, 1.5, 9.0], "does not hold its open and close"),
        ([1.0, 2.0, 0.5, 1.5, -9.0], "negative volume"),
        ([1.0, 2.0, 0.5, 1.5], None),
    ],
)
def test_broken_bars_are_told_as_they_came(server, caplog, cells, words):
    """Broken bars have NaN for missing values, and one WARNING for each Seis (rows 49 to 51)."""
    bars = Bars()
    with live(server) as tvl:
        tvl.subscribe(*BTC, bars)
        assert bars.wait(1)
        (session,) = server.open_sessions
        first = bars.opens[0].timestamp() + 60
        for n in range(4):
            row = [first + 60 * n, *cells]
            update = {"sds_1": {"s": [{"i": n, "v": row}], "t": "s1"}}
            server.push(json.dumps({"m": "timescale_update", "p": [session, update, {}]}))
        assert bars.wait(4)
    frame = bars.frames[1].iloc[0]
    assert math.isnan(frame["open"]) == (not isinstance(cells[0], float))
    assert frame["volume"] == (cells[4] if len(cells) > 4 else 0.0)
    warnings = [r.getMessage() for r in caplog.records if r.name == "tvDatafeed.live.livebar"]
    assert len(warnings) == (words is not None)
    assert words is None or words in warnings[0]


def test_missing_volume_goes_forward(server):
    """With the setting "forward" a missing volume is that of the bar before."""
    bars = Bars()
    with live(server, data={"fill_missing_volume": "forward"}) as tvl:
        tvl.subscribe(*BTC, bars)
        assert bars.wait(1)
        (session,) = server.open_sessions
        first = bars.opens[0].timestamp() + 60
        for n in range(2):
            update = {"sds_1": {"s": [{"i": n, "v": [first + 60 * n, 1, 2, 0.5, 1.5]}], "t": "s1"}}
            server.push(json.dumps({"m": "timescale_update", "p": [session, update, {}]}))
        assert bars.wait(2)
    assert len(bars.frames[1]) == 1
    assert bars.frames[1]["volume"].iloc[0] == bars.frames[0]["volume"].iloc[0]


def test_a_correction_is_not_counted_again_after_a_reconnection(server):
    """After a reconnection the corrected bar is compared with its newest values."""
    bars, returns = Bars(), Calls()
    with live(server, hooks={"on_reconnect": returns}) as tvl:
        tvl.subscribe(*BTC, bars)
        server.move(60)
        assert bars.wait(2)
        last = server.market.bars(SYMBOL, "1", 2, server.now)[0]
        server.correct(SYMBOL, "1", last.time, volume=last.volume + 1.0)
        server.tick()
        assert until(lambda: tvl.status()[0].corrections == 1)
        for count in range(1, 4):
            server.drop_connections()
            assert returns.wait(lambda calls, count=count: len(calls) == count)
        assert tvl.status()[0].corrections == 1


def test_an_impossible_time_has_the_series_opened_anew(server):
    """A bar with an impossible time has its series opened again, without an error (row 52)."""
    bars, errors = Bars(), Calls()
    with live(server, hooks={"on_error": errors}) as tvl:
        tvl.subscribe(*BTC, bars)
        assert bars.wait(1)
        for _ in range(3):
            (session,) = server.open_sessions
            row = {"i": 0, "v": [1e300, 1.0, 2.0, 0.5, 1.5, 9.0]}
            update = {"sds_1": {"s": [row], "t": "s1"}}
            server.push(json.dumps({"m": "du", "p": [session, update]}))
            assert server.wait_until(
                lambda s, old=session: old not in s.open_sessions and s.open_sessions
            )
        assert until(lambda: tvl.status()[0].state == "LIVE")
        server.move(60)
        assert bars.wait(2)
    assert errors.calls == []
    assert bars.opens == server.closed(count=2)
