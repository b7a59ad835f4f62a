"""With polling an outage is reported too, once it is over."""

from tests.feed import BTC, MINUTE, Bars, Calls, live, until
from tvDatafeed.testing import NoCompletion

POLLING = {"live_mode": "poll", "retry_sleep": 0.05, "retry_limit": 2}


def subscribe(server, tvl, symbol, exchange):
    """Subscribe to a series whose forming bar is almost over, so that it is polled soon."""
    bars = Bars()
    tvl.subscribe(symbol, exchange, MINUTE, bars)
    assert bars.wait(1)
    return bars


def test_outage_of_a_polled_series(server):
    """The hook is called once for the time without answers, and the missed bars follow."""
    returns = Calls()
    server.now += 59.9 - server.now % 60
    hooks = {"on_reconnect": returns}
    with live(server, hooks=hooks, threads=POLLING, max_retries=1) as tvl:
        bars = subscribe(server, tvl, *BTC[:2])
        server.stop()
        assert until(lambda: tvl.status()[0].state == "RECONNECTING")
        assert returns.calls == []
        server.now += 180
        server.start()
        assert returns.wait(bool)
        assert tvl.status()[0].state == "LIVE"
        assert bars.wait(4)
    assert bars.opens == server.closed(count=4)
    ((start, end),) = returns.calls
    assert start < end


def test_outage_of_several_polled_series(server):
    """One call when the last of them is back."""
    returns = Calls()
    server.now += 59.9 - server.now % 60
    hooks = {"on_reconnect": returns}
    with live(server, hooks=hooks, threads=POLLING, max_retries=1) as tvl:
        for symbol in (BTC[:2], ("BTCUSDT", "BINANCE")):
            subscribe(server, tvl, *symbol)
        server.stop()
        assert until(lambda: {s.state for s in tvl.status()} == {"RECONNECTING"})
        server.now += 180
        server.start()
        assert until(lambda: {s.state for s in tvl.status()} == {"LIVE"})
        assert returns.wait(bool)
    assert len(returns.calls) == 1


def test_look_at_a_silent_series_that_fails(server, monkeypatch):
    """A followed series that was opened again for a look, and failed, is an outage as well."""
    monkeypatch.setattr("tvDatafeed.live.streaming.SILENCE_S", 0.1)
    returns = Calls()
    hooks = {"on_reconnect": returns}
    # A closed market, so that nothing comes.
    with live(server, hooks=hooks, max_retries=0, recv_timeout=0.2) as tvl:
        bars = Bars()
        tvl.subscribe("AAPL", "NASDAQ", MINUTE, bars)
        assert bars.wait(1)
        server.inject(NoCompletion(times=1))
        assert returns.wait(bool)
        assert until(lambda: tvl.status()[0].state == "LIVE")
    assert len(returns.calls) == 1
