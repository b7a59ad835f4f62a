"""An assigned token reaches open connections at once, not with the next request."""

import pytest

from tests.feed import BTC, Bars, Calls, LiveServer, live_config
from tvDatafeed import Interval, TvDatafeed, TvDatafeedLive
from tvDatafeed.testing import Account

ALICE = Account("alice", "open sesame")


def tokens_sent(server):
    """The tokens that the server has received, by connection."""
    tokens = {}
    for received in server.received:
        if received.method == "set_auth_token":
            tokens.setdefault(received.connection, []).append(received.params[0])
    return tokens


def test_a_feed_goes_on_with_an_assigned_token():
    """A series that the server has stopped for its token continues where it is."""
    with LiveServer(accounts=[ALICE]) as server:
        server.expired_token_is = "silent"
        old, new = server.issue_token("alice"), server.issue_token("alice")
        bars, errors = Bars(), Calls()
        config = live_config(server)
        with TvDatafeedLive(auth_token=old, config=config, on_error=errors) as tvl:
            tvl.subscribe(*BTC, bars)
            assert bars.wait(1)
            server.revoke(old, now=True)
            tvl.token = new
            assert server.wait_until(lambda s: list(tokens_sent(s).values()) == [[old, new]])
            server.move(60)
            assert bars.wait(2)
        assert server.connections_opened == 1
        assert errors.calls == []


@pytest.mark.parametrize("has_account", [True, False])
def test_an_idle_connection_gets_an_assigned_token(has_account):
    """The token is sent without a request, and not again when it is assigned again."""
    with LiveServer(accounts=[ALICE]) as server:
        given = {"auth_token": server.issue_token("alice")} if has_account else {}
        with TvDatafeed(config=live_config(server), **given) as tv:
            tv.get_hist("NASDAQ:AAPL")
            tv.token = new = server.issue_token("alice")
            assert server.wait_until(lambda s: [t[-1] for t in tokens_sent(s).values()] == [new])
            tv.token = new
            tv.get_hist("NASDAQ:AAPL")
            assert [len(tokens) for tokens in tokens_sent(server).values()] == [2]


def test_each_open_connection_gets_an_assigned_token():
    """A feed of several connections gets the token on each of them."""
    with LiveServer(accounts=[ALICE]) as server:
        config = live_config(server, max_sessions=1)
        with TvDatafeedLive(auth_token=server.issue_token("alice"), config=config) as tvl:
            for interval in (Interval.in_1_minute, Interval.in_5_minute, Interval.in_daily):
                assert tvl.new_seis("BTCUSD", "BITSTAMP", interval)
            tvl.token = new = server.issue_token("alice")
            assert server.wait_until(
                lambda s: [t[-1] for t in tokens_sent(s).values()] == [new, new, new]
            )
