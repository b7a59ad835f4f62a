"""A sign-in that hangs stops neither a feed nor a request while the present token is good."""

import time

import pytest

from tests.feed import BTC, MINUTE, Bars, Calls, LiveServer, live_config, until
from tests.scale import AT_ONCE_S, at_most
from tvDatafeed import TvDatafeed, TvDatafeedLive
from tvDatafeed.testing import Account, HttpStall

ALICE = Account("alice", "open sesame")


def ends_in(server, seconds):
    """Issue tokens that end after some seconds; those of real length are due 300 s before."""
    server.auth_clock = lambda: time.time() - server.token_lifetime_s + seconds


def cookies(server):
    issued = server.issue_cookies(ALICE)
    return {"sessionid": issued.sessionid, "sessionid_sign": issued.sessionid_sign}


def pages(server):
    """How often a token was requested."""
    return sum(request.path == "/" for request in server.http_requests)


def tokens_sent(server):
    """The tokens that the server has received, in order."""
    return [r.params[0] for r in server.received if r.method == "set_auth_token"]


@pytest.fixture
def server():
    with LiveServer(accounts=[ALICE]) as running:
        yield running


def test_a_feed_goes_on_while_a_renewal_hangs(server):
    """Series open and come back with the present token, and the feed closes at once."""
    ends_in(server, 200)
    bars, errors = Bars(), Calls()
    tvl = TvDatafeedLive(config=live_config(server), on_error=errors, **cookies(server))
    assert len(tvl.get_hist("NASDAQ:AAPL")) == 10
    server.inject(HttpStall(path="/"))
    with at_most(AT_ONCE_S):
        tvl.subscribe(*BTC, bars)
        assert server.wait_until(lambda s: pages(s) == 2)
        tvl.new_seis("BTCUSDT", "BINANCE", MINUTE)
        server.drop_connections()
        server.move(60)
        assert bars.wait(2)
        assert until(lambda: [s.state for s in tvl.status()] == ["LIVE", "LIVE"])
        assert tvl.close(2)
    assert pages(server) == 2
    assert set(tokens_sent(server)) == {tokens_sent(server)[0]}
    assert errors.calls == []


def test_a_request_is_answered_while_a_renewal_hangs(server):
    """The present token is used, and one renewal is under way for all requests."""
    ends_in(server, 200)
    with TvDatafeed(config=live_config(server), **cookies(server)) as tv:
        assert len(tv.get_hist("NASDAQ:AAPL")) == 10
        server.inject(HttpStall(path="/"))
        with at_most(AT_ONCE_S):
            for _ in range(3):
                assert len(tv.get_hist("NASDAQ:AAPL")) == 10
            assert server.wait_until(lambda s: pages(s) == 2)
            assert tv.token == tokens_sent(server)[0]
        assert len(tokens_sent(server)) == 1


def test_a_feed_without_a_good_token_goes_on_with_its_other_work(server):
    """While a refused token is replaced, a series can be removed and the feed closed."""
    bars = Bars()
    tvl = TvDatafeedLive(config=live_config(server), **cookies(server))
    seis = tvl.subscribe(*BTC, bars).seis
    tvl.new_seis("BTCUSDT", "BINANCE", MINUTE)
    assert bars.wait(1)
    server.inject(HttpStall(path="/"))
    server.expire_tokens(now=True)
    assert server.wait_until(lambda s: pages(s) == 2)
    with at_most(AT_ONCE_S):
        tvl.del_seis(seis)
        assert len(tvl.status()) == 1
        assert tvl.close(2)


def test_a_token_assigned_while_a_sign_in_hangs_is_used_at_once(server):
    """Series that wait for another token continue with the one that the program has."""
    bars, errors = Bars(), Calls()
    config = live_config(server)
    with TvDatafeedLive(config=config, on_error=errors, **cookies(server)) as tvl:
        tvl.subscribe(*BTC, bars)
        assert bars.wait(1)
        server.inject(HttpStall(path="/"))
        server.expire_tokens(now=True)
        assert server.wait_until(lambda s: pages(s) == 2)
        with at_most(AT_ONCE_S):
            tvl.token = server.issue_token(ALICE)
            server.move(60)
            assert bars.wait(2)
    assert errors.calls == []


def test_a_renewed_token_reaches_the_open_connection(server):
    """A renewal that takes its time ends in a new token on the connection that is open."""
    ends_in(server, 200)
    bars = Bars()
    with TvDatafeedLive(config=live_config(server), **cookies(server)) as tvl:
        tvl.subscribe(*BTC, bars)
        assert bars.wait(1)
        ends_in(server, server.token_lifetime_s)
        assert server.wait_until(lambda s: len(set(tokens_sent(s))) == 2)
        server.move(60)
        assert bars.wait(2)
        assert server.connections_opened == 1


def test_a_token_that_has_ended_by_our_clock_is_used(server):
    """A clock that is hours ahead costs sign-ins, and series open all the same."""
    ends_in(server, -10)
    bars = Bars()
    with TvDatafeedLive(config=live_config(server), **cookies(server)) as tvl, at_most(AT_ONCE_S):
        tvl.subscribe(*BTC, bars)
        tvl.new_seis("BTCUSDT", "BINANCE", MINUTE)
        server.move(60)
        assert bars.wait(2)
        assert server.connections_opened == 1
