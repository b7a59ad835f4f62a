"""Faults that pass are retried with a backoff, and faults that stay are raised."""

import contextlib
import logging
import threading
import time

import pytest

from tests.loopback import NOW, impatient
from tests.network.clients import SYMBOL, ask_in_threads, assert_right, warnings_of
from tests.scale import AT_ONCE_S, PATIENCE_S, at_most, scaled
from tvDatafeed import ProtocolError, RateLimitError, TvDatafeed, WebSocketError
from tvDatafeed.testing import (
    CloseCode,
    ConnectSilence,
    Drip,
    FakeTradingView,
    FinMidFrame,
    InvalidUtf8,
    LateReply,
    ProtocolErrorReply,
    Redirect,
    Refuse,
    RstMidFrame,
    UpgradeStatus,
)


@pytest.mark.parametrize(
    "fault",
    [
        Refuse("rst", times=2),
        Refuse("fin", times=2),
        UpgradeStatus(500, times=1),
        UpgradeStatus(502, times=1),
        UpgradeStatus(504, times=1),
        UpgradeStatus(429, times=1),
        FinMidFrame(times=2),
        RstMidFrame(times=2),
        InvalidUtf8(times=1),
        CloseCode(1000, times=2),
        CloseCode(1001, times=2),
        CloseCode(1008, times=2),
        CloseCode(1012, times=2),
        CloseCode(4001, times=2),
        ProtocolErrorReply(reason="something new", times=2),
        ProtocolErrorReply(reason="user connections limit reached", times=1),
    ],
    ids=repr,
)
@pytest.mark.slow
def test_transient_fault_is_invisible(server, tv, fault):
    """After a transient fault the call returns its bars, and the statistics count the fault."""
    server.inject(fault)
    with at_most(AT_ONCE_S):
        assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))
    assert sum(tv.stats()["errors"].values()) == fault.times
    assert tv.stats()["reconnects"] == fault.times


def test_stalled_connect_is_tried_again(server):
    """A server that says nothing at first is asked a second time after the connect timeout."""
    server.inject(ConnectSilence(times=1))
    config = impatient(server, connect_timeout=0.2)
    with TvDatafeed(config=config) as tv, at_most(AT_ONCE_S):
        assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))


def test_drip_is_given_up_and_asked_again(server):
    """A message that does not end in its time costs the connection, not the answer."""
    server.inject(Drip(bytes_per_s=20, times=1))
    with TvDatafeed(ws_timeout=0.3, config=impatient(server)) as tv, at_most(AT_ONCE_S):
        assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))
    assert server.connections_opened == 2


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Refuse("rst"), WebSocketError),
        (UpgradeStatus(503), WebSocketError),
        (FinMidFrame(), WebSocketError),
        (CloseCode(1001), WebSocketError),
        (UpgradeStatus(429), RateLimitError),
        (ProtocolErrorReply(reason="user connections limit reached"), RateLimitError),
    ],
    ids=repr,
)
def test_fault_that_stays_is_raised_after_the_retries(server, fault, error):
    """As many tries as max_retries says, then the last fault with its cause."""
    server.inject(fault)
    with TvDatafeed(config=impatient(server, max_retries=2)) as tv, at_most(AT_ONCE_S):
        with pytest.raises(error) as caught:
            tv.get_hist(SYMBOL)
    assert type(caught.value) is error
    assert caught.value.retryable
    assert server.accepted == 3
    assert tv.stats()["errors"] == {error.__name__: 3}


@pytest.mark.parametrize(
    "fault", [CloseCode(1008), ProtocolErrorReply(reason="something new")], ids=repr
)
def test_three_in_a_row_are_fatal(server, fault):
    """A policy violation, or an unnamed protocol_error, is believed the third time."""
    server.inject(fault)
    with TvDatafeed(config=impatient(server, max_retries=10)) as tv, at_most(AT_ONCE_S):
        with pytest.raises((WebSocketError, ProtocolError)):
            tv.get_hist(SYMBOL)
        assert server.connections_opened == 3
        server.clear_faults()
        assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))


@pytest.mark.parametrize(
    "fault",
    [UpgradeStatus(403), UpgradeStatus(200, b"<html>"), ProtocolErrorReply(reason="banned")],
    ids=repr,
)
def test_fatal_faults_are_not_tried_again(server, fault):
    """A refusal that will stay is raised at once, after one attempt."""
    server.inject(fault)
    with TvDatafeed(config=impatient(server)) as tv, at_most(AT_ONCE_S):
        with pytest.raises(WebSocketError) as caught:
            tv.get_hist(SYMBOL)
    assert caught.value.retryable is False
    assert server.accepted == 1


@pytest.mark.slow
def test_retry_after_is_honoured(server):
    """The next attempt comes no sooner than the server says, however short the backoff."""
    server.inject(UpgradeStatus(429, retry_after=1, times=1))
    started = time.monotonic()
    with TvDatafeed(config=impatient(server)) as tv:
        tv.get_hist(SYMBOL)
    assert 1.0 <= time.monotonic() - started < 1.0 + scaled(AT_ONCE_S)


def test_retry_after_beyond_the_deadline_is_raised_at_once(server):
    """Where waiting cannot help, the error comes now and says when to come back."""
    server.inject(UpgradeStatus(429, retry_after=100))
    with TvDatafeed(config=impatient(server, max_response_time=20)) as tv, at_most(AT_ONCE_S):
        with pytest.raises(RateLimitError) as caught:
            tv.get_hist(SYMBOL)
    assert caught.value.retry_after == 100
    assert server.accepted == 1


def test_attempts_are_spaced_by_a_growing_backoff(server):
    """Between half and all of a delay that doubles is waited, one WARNING for all of it."""
    server.inject(Refuse("fin"))
    config = server.config(base_retry_delay=0.1, max_retry_delay=0.2, max_retries=3)
    started = time.monotonic()
    with TvDatafeed(config=config) as tv, pytest.raises(WebSocketError):
        tv.get_hist(SYMBOL)
    # 0.1, 0.2 and 0.2 s, each at least half.
    assert 0.25 <= time.monotonic() - started < 0.5 + scaled(AT_ONCE_S)


@pytest.mark.slow
def test_backoff_is_reset_by_an_answer_only(server, caplog):
    """A server that accepts and drops a hundred times is one episode with one WARNING."""
    server.inject(CloseCode(1012, times=100))
    config = server.config(
        base_retry_delay=0.0005,
        max_retry_delay=0.008,
        max_retries=200,
        failure_threshold=1000,
        requests_per_minute=60_000,
        burst_size=1000,
    )
    with caplog.at_level(logging.DEBUG, "tvDatafeed"), TvDatafeed(config=config) as tv:
        started = time.monotonic()
        assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))
        # From the fifth failure on it is 0.008 s, each time at least half of it.
        assert time.monotonic() - started >= 95 * 0.004
        assert tv.stats()["errors"] == {"WebSocketError": 100}
        assert len(warnings_of(caplog)) == 1
        server.inject(CloseCode(1012, times=1))
        tv.get_hist(SYMBOL)
        assert len(warnings_of(caplog)) == 2


def test_open_circuit_fails_fast_with_the_last_cause(server):
    """After failures in a row nothing is tried for a while; then one probe is let through."""
    server.inject(Refuse("rst"))
    config = impatient(server, max_retries=1, failure_threshold=2, recovery_timeout=0.5)
    with TvDatafeed(config=config) as tv, at_most(AT_ONCE_S):
        with pytest.raises(WebSocketError, match="reset"):
            tv.get_hist(SYMBOL)
        assert server.accepted == 2
        with pytest.raises(WebSocketError, match="2 failures in a row") as caught:
            tv.get_hist(SYMBOL)
        assert "reset" in str(caught.value.__cause__)
        assert server.accepted == 2
        server.clear_faults()
        opens_at = time.monotonic() + 0.5
        while time.monotonic() < opens_at:
            with contextlib.suppress(WebSocketError):
                tv.get_hist(SYMBOL)
        assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))


def test_handshakes_are_limited(server):
    """More connections than the limit allows are refused with the time to come back."""
    config = impatient(server, requests_per_minute=60, burst_size=1, max_response_time=0.5)
    with TvDatafeed(config=config) as tv, at_most(AT_ONCE_S):
        tv.get_hist(SYMBOL)
        tv.close()
        with pytest.raises(RateLimitError) as caught:
            tv.get_hist(SYMBOL)
    assert caught.value.limit == 60
    assert 0 < caught.value.retry_after <= 1.0
    assert server.connections_opened == 1


def test_requests_on_an_open_connection_are_not_limited(server):
    """The limit is for handshakes: many requests go over one of them."""
    config = impatient(server, requests_per_minute=1, burst_size=1)
    with TvDatafeed(config=config) as tv:
        for _ in range(30):
            tv.get_hist(SYMBOL, n_bars=1)
    assert server.connections_opened == 1


@pytest.mark.parametrize("end", ["redirect", "close"])
@pytest.mark.slow
def test_probe_that_ends_without_a_verdict_frees_its_place(server, end):
    """A half-open circuit lets another probe through when the first one said nothing."""
    config = impatient(server, max_retries=0, failure_threshold=1, recovery_timeout=0.2)
    with FakeTradingView(clock=lambda: NOW) as other, TvDatafeed(config=config) as tv:
        server.inject(Refuse("rst", times=1))
        with pytest.raises(WebSocketError):
            tv.get_hist(SYMBOL)
        # What passes here is the recovery time.
        threading.Event().wait(0.25)
        if end == "redirect":
            server.inject(Redirect(f"127.0.0.1:{other.port}", times=1))
        else:
            server.inject(ConnectSilence(times=1))
            thread = threading.Thread(target=ask_in_threads, args=(tv, [SYMBOL]))
            thread.start()
            assert server.wait_until(lambda s: s.accepted == 2 and not s.faults)
            tv.close()
            thread.join(PATIENCE_S)
        with at_most(AT_ONCE_S):
            assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))


def test_connections_that_die_together_are_one_warning(server, caplog):
    """Connections that break together are logged as one WARNING."""
    server.inject(LateReply(delay_s=0.3))
    with TvDatafeed(config=impatient(server, max_sessions=2)) as tv:
        results = []
        asker = threading.Thread(target=lambda: results.extend(ask_in_threads(tv, [SYMBOL] * 6)))
        asker.start()
        assert server.wait_until(lambda s: len(s.open_sessions) == 6)
        server.drop_connections("rst")
        asker.join(PATIENCE_S)
    for frame in results:
        assert_right(server, frame)
    assert len(warnings_of(caplog)) == 1
