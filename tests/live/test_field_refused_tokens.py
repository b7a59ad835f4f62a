"""A token that the server refuses is refused for all that wait, and not sent again for each."""

import pytest

from tests.feed import MINUTE, Bars, Calls, LiveServer, live_config, until
from tvDatafeed import AuthenticationError, Interval, TvDatafeed, TvDatafeedLive
from tvDatafeed.testing import Account, HttpStatus

ALICE = Account("alice", "open sesame")
# Three windows of the supervisor.
SERIES = [
    (symbol, exchange, interval)
    for symbol, exchange in [
        ("BTCUSD", "BITSTAMP"),
        ("BTCUSDT", "BINANCE"),
        ("AAPL", "NASDAQ"),
        ("MSFT", "NASDAQ"),
    ]
    for interval in list(Interval)[:12]
]


@pytest.fixture
def server():
    with LiveServer(accounts=[ALICE]) as running:
        yield running


def failed(tvl):
    return [s for s in tvl.status() if s.state == "FAILED"]


@pytest.mark.parametrize("way", ["auth_token", "assigned"])
def test_a_refused_token_is_sent_once(server, way):
    """One handshake finds out for all series, each of which has the error."""
    token, errors = server.issue_token(ALICE), Calls()
    given = {"auth_token": token} if way == "auth_token" else {}
    with TvDatafeedLive(config=live_config(server), on_error=errors, **given) as tvl:
        if way == "assigned":
            tvl.token = token
        for series in SERIES:
            tvl.new_seis(*series)
        before = server.connections_opened
        server.expire_tokens(now=True)
        assert errors.wait(lambda calls: len(calls) == len(SERIES))
        assert all(isinstance(error, AuthenticationError) for _who, error in errors.calls)
        assert server.connections_opened - before == 1
        assert len(failed(tvl)) == len(SERIES)
        # The next one that is requested may try again: it is not refused forever.
        with pytest.raises(AuthenticationError):
            tvl.new_seis("TSLA", "NASDAQ", MINUTE)
        assert server.connections_opened - before == 2


def test_a_refused_token_is_not_sent_again_while_it_cannot_be_replaced(server):
    """While signing in fails for a while, series wait for another token and then continue."""
    issued = server.issue_cookies(ALICE)
    errors = Calls()
    with TvDatafeedLive(
        sessionid=issued.sessionid,
        sessionid_sign=issued.sessionid_sign,
        config=live_config(server),
        on_error=errors,
    ) as tvl:
        bars = Bars()
        tvl.subscribe(*SERIES[0], bars)
        for series in SERIES[1:]:
            tvl.new_seis(*series)
        before, handshakes = len(server.http_requests), server.connections_opened
        server.inject(HttpStatus(path="/", times=None))
        server.expire_tokens(now=True)
        assert until(lambda: len(server.http_requests) - before >= 30)
        assert server.connections_opened - handshakes == 1
        server.clear_faults()
        assert until(lambda: all(s.state == "LIVE" for s in tvl.status()))
        assert server.connections_opened - handshakes == 2
    assert errors.calls == []


def test_many_requests_with_a_refused_token(server):
    """All requests of one call have the error after one handshake."""
    token = server.issue_token(ALICE)
    symbols = [f"NASDAQ:{name}" for name in ("AAPL", "MSFT", "TSLA", "NVDA", "AMZN", "GOOG")]
    with TvDatafeed(auth_token=token, config=live_config(server)) as tv:
        server.expire_tokens()
        frames = tv.get_hist_multi(symbols, n_bars=2, max_concurrent=2, on_error="collect")
        assert set(frames.errors) == set(symbols)
        assert all(isinstance(error, AuthenticationError) for error in frames.errors.values())
        assert len({id(error) for error in frames.errors.values()}) == len(symbols)
        assert server.connections_opened == 1
