"""A connection opens a limited number of sessions in its lifetime, whatever words say so."""

import datetime as dt
import json

import pytest

from tests.feed import BTC, Bars, Calls, LiveServer, live
from tests.loopback import impatient
from tests.network.clients import SYMBOL, assert_right
from tests.scale import PATIENCE_S
from tvDatafeed import (
    AuthenticationError,
    Interval,
    RateLimitError,
    TvDatafeed,
    WebSocketError,
)
from tvDatafeed.testing import CriticalErrorReply, FakeTradingView, Listing, Market

NAMES = [f"S{n:03}" for n in range(400)]
WORDS = ["max sessions rate reached", "Max state sessions reached", "MAX_SESSIONS_RATE"]


def market():
    """A market of four hundred symbols."""
    day = dt.date(2020, 1, 1)
    return Market([Listing(f"NASDAQ:{name}", f"Stock {name}", 100.0, day) for name in NAMES])


@pytest.mark.parametrize("limit", [200, 60])
def test_many_symbols_need_several_connections(limit):
    """Four hundred symbols come from a server that ends a connection at its 201st session."""
    with FakeTradingView(market=market(), max_sessions_per_connection=limit) as server:
        with TvDatafeed(config=impatient(server, requests_per_minute=6000)) as tv:
            frames = tv.get_hist_multi(NAMES, "NASDAQ", n_bars=1)
            assert list(frames) == NAMES
            assert all(len(frame) == 1 for frame in frames.values())
            assert server.connections_opened <= 400 / min(limit, 149) + 2
            assert limit < 149 or tv.stats()["errors"] == {}


def test_a_connection_that_is_used_up_is_closed(server, tv):
    """Connections that can open no more sessions do not stay open beside their successors."""
    for _ in range(160):
        tv.get_hist(SYMBOL, n_bars=1)
    assert server.connections_opened == 2
    assert server.wait_until(lambda s: s.open_connections == 1, PATIENCE_S)


@pytest.mark.parametrize("reason", WORDS)
def test_a_session_refused_for_the_rate_is_opened_on_another_connection(server, reason):
    """After a critical_error too the next try waits, and has a connection of its own."""
    server.inject(CriticalErrorReply(reason, method="chart_create_session", times=2))
    config = impatient(server, base_retry_delay=0.2, max_retry_delay=0.4)
    with TvDatafeed(config=config) as tv:
        assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))
        assert tv.stats()["errors"] == {"RateLimitError": 2}
        assert tv.stats()["latency_p50_s"] > 0.3
    sessions = [r.connection for r in server.received if r.method == "chart_create_session"]
    assert sessions == [1, 2, 3]


@pytest.mark.parametrize("method", ["quote_create_session", "quote_add_symbols"])
def test_quotes_have_the_same_refusals(server, tv, method):
    """A quote session that is one too many costs a connection and no error."""
    server.inject(CriticalErrorReply(WORDS[0], method=method, times=1))
    assert len(tv.get_quotes([SYMBOL])) == 1
    assert server.connections_opened == 2


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        (WORDS[0], RateLimitError),
        ("user connections limit reached", RateLimitError),
        ("bad auth token", AuthenticationError),
        ("banned by ip", WebSocketError),
    ],
)
def test_a_critical_error_is_read_as_a_protocol_error(server, reason, kind):
    """The same words are the same error in both messages, with the server's own words."""
    server.inject(CriticalErrorReply(reason))
    with TvDatafeed(config=impatient(server, max_retries=0)) as tv:
        with pytest.raises(kind, match=reason) as caught:
            tv.get_hist(SYMBOL)
    assert type(caught.value) is kind
    if kind is RateLimitError:
        assert caught.value.reason == reason


def test_series_in_use_stay_where_they_are(server):
    """A connection that may open no more sessions keeps those that it has."""
    bars, errors = Bars(), Calls()
    with live(server, hooks={"on_error": errors}) as tvl:
        tvl.subscribe("BTCUSD", "BITSTAMP", Interval.in_1_minute, bars)
        server.inject(CriticalErrorReply(WORDS[0], method="chart_create_session", times=1))
        tvl.subscribe("BTCUSD", "BITSTAMP", Interval.in_5_minute, Bars())
        assert bars.wait(1)
        assert server.open_connections == 2
    assert server.connections_opened == 2
    assert errors.calls == []


def test_a_running_series_whose_token_is_refused_is_opened_again():
    """The words that fail a request with this token end no series, which has the newest one."""
    bars, errors = Bars(), Calls()
    with LiveServer() as server, live(server, hooks={"on_error": errors}) as tvl:
        tvl.subscribe(*BTC, bars)
        assert bars.wait(1)
        (session,) = server.open_sessions
        server.push(json.dumps({"m": "critical_error", "p": [session, "bad auth token", ""]}))
        assert server.wait_until(lambda s: s.open_sessions - {session})
        server.move(60)
        assert bars.wait(2)
    assert errors.calls == []
