"""A token that a request has renewed reaches the other open connections of its host at once."""

import pytest

from tests.feed import BTC, Bars, Calls, LiveServer, live_config
from tests.scale import AT_ONCE_S, scaled
from tvDatafeed import TvDatafeed, TvDatafeedLive
from tvDatafeed.testing import Account, LateReply

ALICE = Account("alice", "open sesame")
APPLE = "NASDAQ:AAPL"
BOTH = [APPLE, "NASDAQ:MSFT"]


@pytest.fixture
def server():
    with LiveServer(accounts=[ALICE]) as running:
        yield running


def cookies(server):
    issued = server.issue_cookies(ALICE)
    return {"sessionid": issued.sessionid, "sessionid_sign": issued.sessionid_sign}


def tokens_of(server, connection):
    """The tokens that the server has received on a connection, in order."""
    return [
        r.params[0]
        for r in server.received
        if r.connection == connection and r.method == "set_auth_token"
    ]


def first_connection(server):
    return server.received[0].connection


def test_a_feed_has_the_token_of_a_request(server):
    """A series on a connection of its own gets the token that a refused request has renewed."""
    bars, errors = Bars(), Calls()
    config = live_config(server, max_sessions=1)
    with TvDatafeedLive(config=config, on_error=errors, **cookies(server)) as tvl:
        tvl.subscribe(*BTC, bars)
        assert bars.wait(1)
        first = first_connection(server)
        (old,) = tokens_of(server, first)
        server.bad_tokens.add(old)
        assert len(tvl.get_hist(APPLE)) == 10
        new = tvl.token
        assert new != old
        assert server.wait_until(lambda s: tokens_of(s, first) == [old, new], scaled(AT_ONCE_S))
        server.move(60)
        assert bars.wait(2)
    assert errors.calls == []


def test_each_connection_gets_it_once(server):
    """Later requests with the same token do not send it again."""
    config = live_config(server, max_sessions=1)
    with TvDatafeedLive(config=config, **cookies(server)) as tvl:
        tvl.new_seis(*BTC)
        first = first_connection(server)
        server.bad_tokens.update(tokens_of(server, first))
        for _ in range(3):
            assert len(tvl.get_hist(APPLE)) == 10
        assert server.wait_until(lambda s: len(tokens_of(s, first)) == 2, scaled(AT_ONCE_S))
        connections = {r.connection for r in server.received}
        assert max(len(tokens_of(server, c)) for c in connections) == 2


def test_an_idle_connection_has_it_too(server):
    """Connections without requests are signed in as well, and are used later without a refusal."""
    with TvDatafeed(config=live_config(server, max_sessions=1), **cookies(server)) as tv:
        server.inject(*(LateReply(delay_s=0.2, symbol=symbol) for symbol in BOTH))
        assert len(tv.get_hist_multi(BOTH, max_concurrent=2)) == 2
        opened = server.connections_opened
        assert opened == 2
        old = tv.token
        server.bad_tokens.add(old)
        # Two are idle, and the third is new: its token is refused.
        symbols = [*BOTH, "NYSE:IBM"]
        assert len(tv.get_hist_multi(symbols, max_concurrent=3)) == 3
        for connection in (1, 2):
            assert server.wait_until(
                lambda s, c=connection: tokens_of(s, c) == [old, tv.token], scaled(AT_ONCE_S)
            )
