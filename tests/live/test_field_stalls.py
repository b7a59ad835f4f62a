"""A series that falls silent while its connection is sound has no bar closed with old values."""

import json

from tests.feed import BTC, Bars, LiveServer, live, live_config, until
from tvDatafeed import TvDatafeedLive
from tvDatafeed.testing import Account

PRICES = ("open", "high", "low", "close")


def send_time(server, ahead_s=0.0):
    """Send the server's clock on each open session, and no bars."""
    for session in server.open_sessions:
        message = {"m": "series_loading", "p": [session, "sds_1", "s1"]}
        server.push(json.dumps(message | {"t_ms": int((server.now + ahead_s) * 1000)}))


def closed_bars(server, bars):
    """Return the prices of the delivered bars, and those that the market has for them."""
    opens = [int(moment.timestamp()) for moment in bars.opens]
    market = server.market.bars("BITSTAMP:BTCUSD", "1", 1000, server.now)
    final = {bar.time: tuple(getattr(bar, name) for name in PRICES) for bar in market}
    delivered = [tuple(frame.iloc[0][name] for name in PRICES) for frame in bars.frames]
    return delivered, [final[time] for time in opens]


def send_last_trade(server):
    """Send the final values of the bar that forms."""
    opened = server.now // 60 * 60
    bars = server.market.bars("BITSTAMP:BTCUSD", "1", 2, opened + 61)
    (bar,) = (bar for bar in bars if bar.time == opened)
    for session in server.open_sessions:
        update = {"s": [{"i": 1, "v": list(bar)}], "t": "s1"}
        update = {"sds_1": {**update, "lbs": {"bar_close_time": opened + 60}}}
        server.push(json.dumps({"m": "du", "p": [session, update]}))


def requests_of_series(server):
    """How many times a series was requested."""
    return sum(received.method == "create_series" for received in server.received)


def test_stalled_series(server):
    """The bar that formed when the stream stalled is delivered with its final values."""
    bars = Bars()
    with live(server) as tvl:
        tvl.subscribe(*BTC, bars)
        assert bars.wait(1)
        server.now += 62.5
        send_time(server)
        assert bars.wait(2)
    assert bars.opens == server.closed(count=2)
    delivered, final = closed_bars(server, bars)
    assert delivered == final


def test_stalls_of_several_series(server):
    """Each of several series is requested again, and each bar is delivered once."""
    symbols = [("BTCUSD", "BITSTAMP"), ("BTCUSDT", "BINANCE"), ("DOGEUSDT", "BINANCE")]
    consumers = [Bars() for _ in symbols]
    with live(server) as tvl:
        for symbol, bars in zip(symbols, consumers, strict=True):
            tvl.subscribe(*symbol, BTC[2], bars)
            assert bars.wait(1)
        server.now += 62.5
        send_time(server)
        assert all(bars.wait(2) for bars in consumers)
        assert [s.corrections for s in tvl.status()] == [0, 0, 0]
    assert all(bars.opens == server.closed(count=2) for bars in consumers)


def test_stall_that_a_newer_bar_ends(server, monkeypatch):
    """After a long silence the bar before is not closed with the values from before either."""
    monkeypatch.setattr("tvDatafeed.live.confirmation.LONG_SILENCE_S", 0.0)
    bars = Bars()
    with live(server) as tvl:
        tvl.subscribe(*BTC, bars)
        assert bars.wait(1)
        (session,) = server.open_sessions
        server.now += 61.0
        opened = server.now // 60 * 60
        row = {"i": 3, "v": [opened, 1.0, 2.0, 0.5, 1.5, 9.0]}
        update = {"sds_1": {"s": [row], "t": "s1", "lbs": {"bar_close_time": opened + 60}}}
        server.push(json.dumps({"m": "du", "p": [session, update]}))
        assert bars.wait(2)
    assert bars.opens == server.closed(count=2)
    delivered, final = closed_bars(server, bars)
    assert delivered == final


def test_token_that_ends_in_silence():
    """No bar is delivered until a token is assigned with which the server answers."""
    alice = Account("alice", "open sesame")
    with LiveServer(accounts=[alice]) as server:
        server.expired_token_is = "silent"
        old, new = server.issue_token("alice"), server.issue_token("alice")
        bars = Bars()
        config = live_config(server, recv_timeout=0.3)
        with TvDatafeedLive(auth_token=old, config=config) as tvl:
            tvl.subscribe(*BTC, bars)
            assert bars.wait(1)
            server.revoke(old, now=True)
            server.now += 62.5
            send_time(server)
            assert until(lambda: tvl.status()[0].state == "RECONNECTING")
            assert len(bars.frames) == 1
            tvl.token = new
            assert bars.wait(2)
        delivered, final = closed_bars(server, bars)
        assert delivered == final


def test_quiet_market(server):
    """Bars of a market without trades are closed by the clock, and seldom requested for that."""
    bars = Bars()
    count = 20
    with live(server) as tvl:
        tvl.subscribe(*BTC, bars)
        assert bars.wait(1)
        for number in range(count):
            # The last trade of the bar; what follows is silence.
            send_last_trade(server)
            server.now += 62.6 - server.now % 60
            send_time(server)
            assert bars.wait(number + 2)
        assert bars.opens == server.closed(count=count + 1)
        delivered, final = closed_bars(server, bars)
        assert delivered == final
    assert requests_of_series(server) < count / 2


def test_stall_of_a_series_that_was_quiet():
    """A silence longer than all harmless ones is looked into again."""
    bars = Bars()
    with LiveServer(heartbeat_interval_s=0.3) as server, live(server) as tvl:
        tvl.subscribe(*BTC, bars)
        assert bars.wait(1)
        for number in range(3):
            send_last_trade(server)
            server.now += 62.6 - server.now % 60
            send_time(server)
            assert bars.wait(number + 2)
        before = requests_of_series(server)
        # Heartbeats continue for longer than any silence before.
        echoes = server.echoes
        assert server.wait_until(lambda s: s.echoes >= echoes + 3)
        server.now += 60
        send_time(server)
        assert bars.wait(5)
        assert requests_of_series(server) > before
        delivered, final = closed_bars(server, bars)
        assert delivered == final
