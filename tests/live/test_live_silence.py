"""A closed market is silent without an error, and a series that stays silent is opened again."""

import json

import pandas as pd
import pytest

from tests.feed import BTC, MINUTE, Bars, Calls, live, until
from tvDatafeed import Interval


def tell_time(server, session):
    """Send the time of the server, and nothing else."""
    message = {"m": "series_loading", "p": [session, "sds_1", "s1"]}
    server.push(json.dumps(message | {"t_ms": int(server.now * 1000)}))


def test_a_closed_market_is_silence(server):
    """Over a night and a weekend there are no errors or reconnections, and the next bar comes."""
    errors, bars = Calls(), Bars()
    hooks = {"on_error": errors, "on_gap": errors, "on_reconnect": errors}
    with live(server, hooks=hooks) as tvl:
        # A Friday evening; it opens on Monday.
        tvl.subscribe("AAPL", "NASDAQ", MINUTE, bars)
        assert bars.wait(1)
        for _ in range(10):
            server.move(6 * 3600)
            if server.now > 1786973400 - 6 * 3600:
                break
        assert len(bars.frames) == 1
        server.now = 1786973400.0
        server.tick()
        server.move(61)
        assert bars.wait(2)
    assert bars.opens[1] == pd.Timestamp(1786973400, unit="s", tz="UTC")
    assert errors.calls == []


def test_the_last_bar_of_a_session_is_closed_by_the_clock(server):
    """Two seconds after its close by the server's clock the last bar is delivered."""
    server.now = 1786737599.0 - 60.5  # a minute and a half second before New York closes
    bars = Bars()
    with live(server) as tvl:
        tvl.subscribe("AAPL", "NASDAQ", Interval.in_3_minute, bars)
        assert bars.wait(1)
        # The clock of the server continues by itself, as far as the client knows.
        server.now += 60.4
        (session,) = server.open_sessions
        stamp = {"t_ms": int((server.now + 2.0) * 1000)}
        server.push(json.dumps({"m": "series_loading", "p": [session, "sds_1", "s1"], **stamp}))
        server.tick()
        assert bars.wait(2)
    assert bars.opens[1] == pd.Timestamp(1786737600 - 180, unit="s", tz="UTC")


def test_a_stream_that_stays_silent_is_looked_after(server, monkeypatch):
    """A series that the server forgets is opened again, and no bar is missed (safety net)."""
    monkeypatch.setattr("tvDatafeed.live.streaming.SILENCE_S", 0.1)
    bars = Bars()
    with live(server) as tvl:
        tvl.subscribe(*BTC, bars)
        assert bars.wait(1)
        (session,) = server.open_sessions
        # Two seconds after the close of the forming bar no new one has come.
        server.now += 62.5
        tell_time(server, session)
        assert bars.wait(2)
        assert server.wait_until(lambda s: session not in s.open_sessions)
        server.now += 60
        assert until(lambda: server.tick() or len(bars.frames) >= 3)
        assert server.connections_opened == 1
    assert bars.opens == server.closed(count=3)


@pytest.mark.slow
def test_polling(server):
    """With ``TV_LIVE_MODE=poll`` bars are requested when they are due, and are the same."""
    bars = Bars()
    threads = {"live_mode": "poll", "retry_sleep": 0.05, "retry_limit": 2}
    with live(server, threads=threads) as tvl:
        tvl.subscribe(*BTC, bars)
        assert bars.wait(1)
        assert server.wait_until(lambda s: not s.open_sessions)
        # The bar that forms closes in a minute of the server; let that be now.
        server.now += 59.9
        tvl.del_seis(tvl.status()[0].seis)
        tvl.subscribe(*BTC, bars)
        assert bars.wait(2)
        server.now += 180
        assert bars.wait(5)
        server.drop_connections()
        server.now += 60
    assert server.wait_until(lambda s: not s.open_sessions)
    assert bars.opens[2:] == server.closed(count=4)[:3]


def test_a_late_correction_does_not_end_the_watch(server, monkeypatch):
    """A bar that the clock closed is corrected, and then the server forgets the series."""
    monkeypatch.setattr("tvDatafeed.live.streaming.SILENCE_S", 0.1)
    # As where such silences have been harmless: the clock closes the bar in its own session.
    monkeypatch.setattr("tvDatafeed.live.confirmation.Confirmation.needs", lambda *_: False)
    bars = Bars()
    with live(server) as tvl:
        tvl.subscribe(*BTC, bars)
        assert bars.wait(1)
        (session,) = server.open_sessions
        server.now += 62.5
        tell_time(server, session)
        assert bars.wait(2)
        row = {"i": 0, "v": [bars.opens[1].timestamp(), 1.0, 2.0, 0.5, 1.5, 9.0]}
        update = {"sds_1": {"s": [row], "t": "s1"}}
        server.push(json.dumps({"m": "du", "p": [session, update]}))
        assert until(lambda: tvl.status()[0].corrections == 1)
        assert server.wait_until(lambda s: s.open_sessions and session not in s.open_sessions)
