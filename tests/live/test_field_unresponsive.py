"""A connection that carries heartbeats alone is dead for each of its series."""

import pytest

from tests.feed import BTC, MINUTE, Bars, Calls, LiveServer, live, until
from tests.live.test_live_silence import tell_time
from tvDatafeed import Interval, TvDatafeedError
from tvDatafeed.testing import HeartbeatsOnly, UpgradeStatus

CLOSED = [("AAPL", "NASDAQ", MINUTE), ("MSFT", "NASDAQ", Interval.in_daily)]


@pytest.fixture
def server():
    with LiveServer(heartbeat_interval_s=0.05) as running:
        yield running


def states(tvl):
    return {status.seis.symbol: status.state for status in tvl.status()}


def be_silent(server, monkeypatch):
    """Make the clock close the last bar of BTC; from the next command on only heartbeats come."""
    # For BTC alone: the others are watched already, with the pause that programs have.
    monkeypatch.setattr("tvDatafeed.live.streaming.SILENCE_S", 0.1)
    server.inject(HeartbeatsOnly(times=1))
    server.now += 62.5
    tell_time(server, min(server.open_sessions))


def test_series_of_closed_markets_are_reconnecting_too(server, monkeypatch):
    """When a silent series is not answered, all are opened again, in one outage and one fault."""
    bars, changes, outages = Bars(), Calls(), Calls()
    hooks = {"on_state": changes, "on_reconnect": outages}
    with live(server, hooks=hooks, recv_timeout=0.5, max_response_time=2.0) as tvl:
        for seis in CLOSED:
            tvl.new_seis(*seis)
        tvl.subscribe(*BTC, bars)
        assert bars.wait(1)
        before = server.now
        be_silent(server, monkeypatch)

        def reconnecting(calls):
            return {seis.symbol for seis, state in calls if state == "RECONNECTING"}

        assert changes.wait(lambda calls: reconnecting(calls) == {"AAPL", "MSFT", "BTCUSD"})
        assert until(lambda: set(states(tvl).values()) == {"LIVE"})
        assert outages.wait(lambda calls: len(calls) == 1)
        assert tvl.stats()["reconnects"] == 1
        assert server.wait_until(lambda s: s.open_connections == 1)
        ((start, _end),) = outages.calls
        assert start.timestamp() <= before + 62.5
        server.move(60)
        assert bars.wait(3)
    assert bars.opens == server.closed(count=3)


def test_series_stay_reconnecting_while_no_other_connection_opens(server, monkeypatch):
    """None is LIVE while the server refuses, and no connection counts as open."""
    with live(server, recv_timeout=0.5, max_response_time=1.0) as tvl:
        for seis in [*CLOSED, BTC]:
            tvl.new_seis(*seis)
        server.inject(UpgradeStatus(503))
        be_silent(server, monkeypatch)
        assert until(lambda: set(states(tvl).values()) == {"RECONNECTING"})
        assert until(lambda: tvl.stats()["open_connections"] == 0)
        server.clear_faults()
        assert until(lambda: set(states(tvl).values()) == {"LIVE"})
        assert tvl.stats()["open_connections"] == 1


def test_request_of_the_program_shows_it_too(server):
    """A get_hist that is not answered ends the silence of series that wait for their market."""
    outages = Calls()
    hooks = {"on_reconnect": outages}
    with live(server, hooks=hooks, recv_timeout=0.5, max_response_time=0.5, max_retries=0) as tvl:
        tvl.new_seis(*CLOSED[0])
        server.inject(HeartbeatsOnly(times=1))
        with pytest.raises(TvDatafeedError):
            tvl.get_hist("IBM", "NYSE")
        assert outages.wait(lambda calls: len(calls) == 1)
        assert states(tvl) == {"AAPL": "LIVE"}
        assert server.connections_opened == 2


def test_lone_series_reports_its_outage(server, monkeypatch):
    """A series that was left alone on such a connection is RECONNECTING, and comes back."""
    outages = Calls()
    limits = {"recv_timeout": 0.5, "max_response_time": 0.5}
    with live(server, hooks={"on_reconnect": outages}, **limits) as tvl:
        tvl.new_seis(*BTC)
        be_silent(server, monkeypatch)
        assert outages.wait(lambda calls: len(calls) == 1)
        assert states(tvl) == {"BTCUSD": "LIVE"}
