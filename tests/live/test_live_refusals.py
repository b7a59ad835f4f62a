"""A refusal is one typed error for each Seis that it concerns."""

import json
import time

import pytest

from tests.feed import BTC, MINUTE, Bars, Calls, live, until
from tvDatafeed import DataError, NetworkError, RateLimitError, WebSocketError
from tvDatafeed.testing import CriticalErrorReply, ProtocolErrorReply, UpgradeGarbage, UpgradeStatus


@pytest.mark.parametrize(
    "fault",
    [
        UpgradeStatus(403),
        UpgradeStatus(200, b"<html>"),
        UpgradeGarbage(),
        ProtocolErrorReply(reason="banned"),
    ],
    ids=repr,
)
def test_what_will_not_pass_is_told_once(server, fault):
    """A lasting refusal is one error for each Seis, and `new_seis` tries again."""
    errors, states = Calls(), Calls()
    with live(server, hooks={"on_error": errors, "on_state": states}) as tvl:
        one = tvl.new_seis(*BTC)
        other = tvl.new_seis("BTCUSDT", "BINANCE", MINUTE)
        bars = Bars()
        one.new_consumer(bars)
        accepted = server.accepted
        server.inject(fault)
        server.drop_connections()
        assert errors.wait(lambda calls: len(calls) == 2)
        assert {seis for seis, _error in errors.calls} == {one, other}
        assert all(isinstance(e, WebSocketError) and not e.retryable for _s, e in errors.calls)
        assert server.accepted - accepted <= 2
        assert {s.state for s in tvl.status()} == {"FAILED"}
        assert all(status.error for status in tvl.status())
        server.clear_faults()
        server.now += 60
        assert tvl.new_seis(*BTC) is one
        assert bars.wait(2)
        assert bars.opens == server.closed(count=2)
        assert until(lambda: [s.state for s in tvl.status()] == ["LIVE", "FAILED"])


def test_rate_limit_is_told_once_and_waited_for(server):
    """An episode of rate limits is one error, and the feed continues."""
    errors, bars = Calls(), Bars()
    with live(server, hooks={"on_error": errors}, max_retries=0) as tvl:
        seis = tvl.subscribe(*BTC, bars).seis
        assert bars.wait(1)
        server.inject(UpgradeStatus(429, times=4))
        server.now += 60
        server.drop_connections()
        assert bars.wait(2)
        assert [who for who, _error in errors.calls] == [seis]
        assert isinstance(errors.calls[0][1], RateLimitError)


@pytest.mark.slow
def test_retry_after_is_waited_for(server):
    """The next attempt waits for the Retry-After of the server (row 7)."""
    bars = Bars()
    with live(server) as tvl:
        tvl.subscribe(*BTC, bars)
        assert bars.wait(1)
        server.inject(UpgradeStatus(429, retry_after=1, times=1))
        server.now += 60
        started = time.monotonic()
        server.drop_connections()
        assert bars.wait(2)
        assert time.monotonic() - started > 0.9


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ('{"m":"series_error","p":["%s","sds_1","s1","something new","n"]}', DataError),
        ('{"m":"symbol_error","p":["%s","sds_sym_1","invalid symbol"]}', DataError),
        ('{"m":"critical_error","p":["%s","invalid parameters","x"]}', DataError),
    ],
)
def test_one_symbols_trouble_is_its_own(server, message, error):
    """A symbol that is delisted fails, and no other (row 58)."""
    errors, well = Calls(), Bars()
    with live(server, hooks={"on_error": errors}) as tvl:
        sick = tvl.new_seis("BTCUSDT", "BINANCE", MINUTE)
        (session,) = server.open_sessions
        tvl.subscribe(*BTC, well)
        server.push(message % session)
        assert errors.wait(lambda calls: len(calls) == 1)
        ((who, what),) = errors.calls
        assert who is sick
        assert isinstance(what, error)
        server.move(60)
        assert well.wait(2)
        assert [s.state for s in tvl.status()] == ["FAILED", "LIVE"]
        assert server.connections_opened == 1


def test_errors_are_typed(server):
    """The error that a hook gets is not a NetworkError if the server refused the request."""
    errors = Calls()
    with live(server, hooks={"on_error": errors}, max_retries=0) as tvl:
        tvl.new_seis(*BTC)
        server.inject(CriticalErrorReply())
        server.drop_connections()
        assert errors.wait(bool)
    assert not isinstance(errors.calls[0][1], NetworkError)


def test_a_rate_limit_of_an_open_session_passes(server):
    """The limit is one error, and the feed continues with a single session too (contract 15)."""
    bars, errors = Bars(), Calls()
    with live(server, hooks={"on_error": errors}, max_sessions=1) as tvl:
        seis = tvl.subscribe(*BTC, bars).seis
        assert bars.wait(1)
        (session,) = server.open_sessions
        told = ["exceed limit of series", "method: chart_create_session"]
        server.push(json.dumps({"m": "critical_error", "p": [session, *told]}))
        assert errors.wait(bool)
        ((who, error),) = errors.calls
        assert who == seis
        assert isinstance(error, RateLimitError)
        assert until(lambda: tvl.status()[0].state == "LIVE")
        server.move(60)
        assert bars.wait(2)
