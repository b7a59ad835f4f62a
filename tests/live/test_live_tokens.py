"""A token is renewed for the whole live feed before it ends or when it is refused."""

import threading
import time

import pytest

from tests.feed import BTC, MINUTE, Bars, Calls, LiveServer, live, live_config, until
from tests.scale import PATIENCE_S
from tvDatafeed import AuthenticationError, Interval, NetworkError, TvDatafeedLive
from tvDatafeed.auth.account import Account as TokenAccount
from tvDatafeed.network.dispatcher import OpenStream
from tvDatafeed.testing import Account


def test_a_token_that_ends_is_renewed():
    """One renewal for all, and the feed continues (row 66)."""
    alice = Account("alice", "open sesame")
    with LiveServer(accounts=[alice]) as server:
        errors, bars = Calls(), Bars()
        config = live_config(server)
        with TvDatafeedLive(
            "alice", "open sesame", token_cache=False, config=config, on_error=errors
        ) as tvl:
            tvl.subscribe(*BTC, bars)
            tvl.new_seis("BTCUSDT", "BINANCE", MINUTE)
            assert bars.wait(1)
            issued = server.tokens_issued
            server.expire_tokens(now=True)
            server.now += 60
            server.tick()
            assert bars.wait(2)
            assert until(lambda: all(s.state == "LIVE" for s in tvl.status()))
            assert server.tokens_issued == issued + 1
        assert errors.calls == []


def test_a_token_that_cannot_be_renewed_is_told():
    """Without credentials each Seis gets the error and on_reconnect is not called (rows 21, 66)."""
    alice = Account("alice", "open sesame")
    with LiveServer(accounts=[alice]) as server:
        errors, returns = Calls(), Calls()
        config = live_config(server)
        with TvDatafeedLive(
            auth_token=server.issue_token("alice"),
            config=config,
            on_error=errors,
            on_reconnect=returns,
        ) as tvl:
            bars = Bars()
            one = tvl.subscribe(*BTC, bars).seis
            other = tvl.new_seis("BTCUSDT", "BINANCE", MINUTE)
            server.expire_tokens(now=True)
            assert errors.wait(lambda calls: len(calls) == 2)
            assert {who for who, _error in errors.calls} == {one, other}
            assert all(isinstance(error, AuthenticationError) for _who, error in errors.calls)
            assert {s.state for s in tvl.status()} == {"FAILED"}
            # Another token, as the community has it.
            tvl.token = server.issue_token("alice")
            server.now += 60
            assert bars.wait(2)
            assert until(lambda: {s.state for s in tvl.status()} == {"LIVE"})
        assert returns.calls == []


def test_a_token_is_renewed_before_its_end():
    """A token is renewed on the open connection, before it ends."""
    alice = Account("alice", "open sesame")
    with LiveServer(accounts=[alice]) as server:
        passed_s = 0.0

        def clock():
            return time.time() + passed_s

        server.auth_clock = clock
        config = live_config(server)
        with TvDatafeedLive("alice", "open sesame", token_cache=False, config=config) as tvl:
            tvl._account._authenticator._clock = clock  # tokens last for hours
            bars = Bars()
            tvl.subscribe(*BTC, bars)
            assert bars.wait(1)
            passed_s = server.token_lifetime_s - 60.0
            # The feed looks now and then; another Seis makes it look now.
            tvl.new_seis("BTCUSDT", "BINANCE", MINUTE)
            assert server.wait_until(
                lambda s: (
                    len({r.params[0] for r in s.received if r.method == "set_auth_token"}) == 2
                )
            )
            server.move(60)
            assert bars.wait(2)
        assert server.connections_opened == 1


@pytest.mark.parametrize("then", ["go on", "delete"])
def test_no_token_for_a_moment(server, monkeypatch, then):
    """A series that opens while a token fails is neither opened twice nor left open."""
    monkeypatch.setattr("tvDatafeed.live.supervisor.WINDOW", 4)
    bars, intervals = Bars(), list(Interval)[:9]
    with live(server) as tvl:
        tvl.subscribe(*BTC, bars)
        for interval in intervals:
            tvl.new_seis("BTCUSDT", "BINANCE", interval)
        real, has_failed = TokenAccount.good_token, threading.Event()

        def token(account, refused=None):
            # Only these queues show which series have opened and are not yet processed.
            ready = tvl._registry._supervisor._dispatcher._ready
            if not has_failed.is_set() and any(
                isinstance(result, OpenStream) for _, result in ready
            ):
                has_failed.set()
                if then == "delete":
                    for status in tvl.status():
                        tvl.del_seis(status.seis)
                raise NetworkError("no token now")
            if not has_failed.is_set():
                # The running ones are answered by now, which only these queues show.
                dispatcher = tvl._registry._supervisor._dispatcher
                until(lambda: dispatcher._outcomes.qsize() >= len(dispatcher._running))
            return real(account, refused)

        monkeypatch.setattr(TokenAccount, "good_token", token)
        server.drop_connections()
        assert has_failed.wait(PATIENCE_S)
        if then == "delete":
            assert server.wait_until(lambda s: not s.open_sessions)
            return
        assert until(lambda: all(s.state == "LIVE" for s in tvl.status()))
        assert len(server.open_sessions) == 10
        server.move(60)
        assert bars.wait(2)
    assert bars.opens == server.closed(count=2)
