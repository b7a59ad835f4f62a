"""After a loss, a server that has no bars of a series any more is believed after a few answers."""

import json

import pandas as pd
import pytest

from tests.feed import BTC, MINUTE, Bars, Calls, live, until
from tvDatafeed.testing import EmptyHistory


def answers(server):
    """How many times a series was requested."""
    return sum(received.method == "create_series" for received in server.received)


def send_bar(server, opened_s):
    """Send one bar on each open session."""
    for session in server.open_sessions:
        row = {"i": 0, "v": [opened_s, 1.0, 2.0, 0.5, 1.5, 9.0]}
        update = {"sds_1": {"s": [row], "t": "s1", "lbs": {"bar_close_time": opened_s + 60}}}
        server.push(json.dumps({"m": "du", "p": [session, update]}))


@pytest.mark.parametrize(("minutes", "is_gap"), [(10, True), (1, False)])
def test_server_that_has_forgotten_a_series(server, minutes, is_gap):
    """The series is live again after a few answers, and only missing bars are a gap."""
    bars, gaps, errors = Bars(), Calls(), Calls()
    with live(server, hooks={"on_gap": gaps, "on_error": errors}, max_retries=1) as tvl:
        tvl.subscribe(*BTC, bars)
        assert bars.wait(1)
        server.inject(EmptyHistory())
        opened = bars.opens[0].timestamp() + minutes * 60
        server.now = opened + 1
        server.drop_connections()
        # One for the first time, two tries before each of two pauses, and the one that is accepted.
        assert until(lambda: answers(server) >= 6 and tvl.status()[0].state == "LIVE")
        send_bar(server, opened)
        send_bar(server, opened + 60)
        assert bars.wait(2)
        # The silence of the series is looked into later; nothing was requested since.
        assert answers(server) == 6
    assert errors.calls == []
    last, first = bars.opens
    assert first == pd.Timestamp(opened, unit="s", tz="UTC")
    times = [(pd.Timestamp(start), pd.Timestamp(end)) for _seis, start, end in gaps.calls]
    assert times == [(last, first)] * is_gap


def test_silence_after_forgotten_bars(server, monkeypatch):
    """While the server has no bars, the series stays live and is requested ever less often."""
    monkeypatch.setattr("tvDatafeed.live.streaming.SILENCE_S", 0.1)
    bars, states = Bars(), Calls()
    with live(server, hooks={"on_state": states}, max_retries=0) as tvl:
        tvl.subscribe(*BTC, bars)
        assert bars.wait(1)
        server.inject(EmptyHistory())
        server.drop_connections()
        assert states.wait(lambda calls: [s for _seis, s in calls][-2:] == ["RECONNECTING", "LIVE"])
        requested = answers(server)
        # 0.1, 0.2 and 0.4 s later.
        assert until(lambda: answers(server) >= requested + 3)
        assert [state for _seis, state in states.calls][-2:] == ["RECONNECTING", "LIVE"]
        assert sum(state == "RECONNECTING" for _seis, state in states.calls) == 1
        server.clear_faults()
        server.now += 120
        assert bars.wait(3)
    assert bars.opens == server.closed(count=3)


def test_answer_without_bars_by_accident(server):
    """After one or two such answers the missing bars follow, without a gap."""
    bars, gaps = Bars(), Calls()
    with live(server, hooks={"on_gap": gaps}) as tvl:
        tvl.subscribe(*BTC, bars)
        assert bars.wait(1)
        server.inject(EmptyHistory(times=2))
        server.now += 120
        server.drop_connections()
        assert bars.wait(3)
    assert bars.opens == server.closed(count=3)
    assert gaps.calls == []


def test_another_series_goes_on_meanwhile(server):
    """Only the series that the server has forgotten waits."""
    bars, others = Bars(), Bars()
    with live(server) as tvl:
        tvl.subscribe(*BTC, bars)
        tvl.subscribe("BTCUSDT", "BINANCE", MINUTE, others)
        assert bars.wait(1)
        assert others.wait(1)
        server.inject(EmptyHistory(symbol="BITSTAMP:BTCUSD"))
        server.now += 120
        server.drop_connections()
        assert others.wait(3)
        assert until(lambda: {s.state for s in tvl.status()} == {"LIVE"})
        server.clear_faults()
        # The server has its bars again with the next loss.
        server.drop_connections()
        assert bars.wait(3)
    assert bars.opens == server.closed(count=3)
