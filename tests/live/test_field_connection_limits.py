"""Two programs of one account whose plan allows one connection do not fight over it."""

import logging
import threading

import pytest

from tests.feed import MINUTE, Calls, live, live_config, until
from tests.loopback import NOW
from tests.network.clients import SYMBOL
from tests.scale import PATIENCE_S
from tvDatafeed import Interval, RateLimitError, TvDatafeed, TvDatafeedLive
from tvDatafeed.testing import Account, FakeTradingView

ALICE = Account("alice", "open sesame", id=1)
BOB = Account("bob", "open sesame", id=2)
REASON = "user connections limit reached"
# Ten minutes with the pauses of the defaults, which are 2.0 and 60.0 s.
FASTER = 200
TEN_MINUTES_S = 600.0 / FASTER
PAUSES = {"base_retry_delay": 2.0 / FASTER, "max_retry_delay": 60.0 / FASTER}


@pytest.fixture
def server():
    """A TradingView whose accounts may have one connection each."""
    accounts = [ALICE, BOB]
    with FakeTradingView(
        clock=lambda: NOW, accounts=accounts, max_connections_per_account=1
    ) as running:
        yield running


def feed(server, account, hook, **settings):
    """A feed of an account."""
    config = live_config(server, **{**PAUSES, **settings})
    return TvDatafeedLive(auth_token=server.issue_token(account), config=config, on_error=hook)


def complaints(caplog):
    """The warnings about connections."""
    return [r for r in caplog.records if r.levelno >= logging.WARNING and "limit" in r.message]


@pytest.mark.slow
def test_two_feeds_of_one_account_open_few_connections(server, caplog):
    """In ten minutes they open at most twelve in all, and each says once why."""
    errors = Calls(), Calls()
    with feed(server, ALICE, errors[0]) as first, feed(server, ALICE, errors[1]) as second:
        for tvl in (first, second):
            for interval in (MINUTE, Interval.in_5_minute):
                assert tvl.new_seis("BTCUSD", "BITSTAMP", interval)
        # What passes here is what is measured.
        threading.Event().wait(TEN_MINUTES_S)
        assert 4 <= server.connections_opened <= 12
    for calls in errors:
        ((_seis, error),) = calls.calls
        assert isinstance(error, RateLimitError)
        assert error.reason == REASON
        assert "Close other programs" in str(error)
    assert len(complaints(caplog)) == 2


def test_feeds_of_two_accounts_do_not_meet(server):
    """The limit is one of the account, and of none for anonymous clients."""
    errors = Calls()
    with (
        feed(server, ALICE, errors) as first,
        feed(server, BOB, errors) as second,
        live(server, hooks={"on_error": errors}) as third,
        live(server, hooks={"on_error": errors}) as fourth,
    ):
        for tvl in (first, second, third, fourth):
            assert tvl.new_seis("BTCUSD", "BITSTAMP", MINUTE)
        assert server.connections_opened == server.open_connections == 4
    assert errors.calls == []


def test_requests_that_take_turns_wait_too(server, caplog):
    """A connection that was idle when the other client closed it is followed by a wait as well."""
    config = live_config(server, base_retry_delay=0.1, max_retry_delay=60.0)
    token = server.issue_token(ALICE)
    with TvDatafeed(config=config, auth_token=token) as one:
        with TvDatafeed(config=config, auth_token=token) as other:
            for _ in range(3):
                for tv in (one, other):
                    assert len(tv.get_hist(SYMBOL, n_bars=1)) == 1
            # 0.4 s after the second refusal, at least half; the call of the other one is in it.
            assert one.stats()["latency_p99_s"] >= 0.1
    assert server.connections_opened == 6


def test_the_wait_begins_anew_after_a_long_time_of_peace(server):
    """Forty times the longest pause later, a refusal is the first one again, and is said again."""
    errors = Calls()
    pauses = {"base_retry_delay": 0.005, "max_retry_delay": 0.005}
    with feed(server, ALICE, errors, **pauses) as tvl:
        assert tvl.new_seis("BTCUSD", "BITSTAMP", MINUTE)
        for count in (1, 2):
            # A client that connects once, as a browser tab does.
            with feed(server, ALICE, None) as tab:
                assert tab.new_seis("BTCUSD", "BITSTAMP", MINUTE)
                assert errors.wait(lambda calls, count=count: len(calls) == count)
            assert server.wait_until(lambda s: len(s.open_sessions) == 1, PATIENCE_S)
            assert until(lambda: tvl.stats()["open_connections"] == 1)
            # What passes here is the time of peace.
            threading.Event().wait(0.25)
