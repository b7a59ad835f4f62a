"""Connections that survive: what breaks is replaced, what is asked is answered, nothing leaks."""

import contextlib
import gc
import logging
import multiprocessing
import os
import signal
import socket
import ssl
import subprocess
import sys
import textwrap
import threading
import time
import warnings

import numpy as np
import pandas as pd
import pytest
import trustme

from tests.loopback import NOW, expected, impatient
from tests.scale import AT_ONCE_S, PATIENCE_S, at_most, scaled
from tvDatafeed import (
    ConfigurationError,
    Interval,
    ProtocolError,
    RateLimitError,
    ThreadingError,
    TvDatafeed,
    TvDatafeedConfig,
    WebSocketError,
    WebSocketTimeoutError,
)
from tvDatafeed.config import NetworkConfig
from tvDatafeed.network import sockets, websocket
from tvDatafeed.protocol.machine import Machine
from tvDatafeed.testing import (
    BlackHole,
    CloseCode,
    ConnectSilence,
    Drip,
    FakeTradingView,
    FinMidFrame,
    HalfOpen,
    HeartbeatFlood,
    InvalidUtf8,
    LateReply,
    NoCompletion,
    ProtocolErrorReply,
    Redirect,
    Refuse,
    RstMidFrame,
    SessionCap,
    TlsGarbage,
    TlsStall,
    UpgradeStatus,
)

SYMBOL = "NASDAQ:AAPL"


def assert_right(server, frame, symbol=SYMBOL, count=10):
    """Hold a frame to the market's arithmetic."""
    pd.testing.assert_frame_equal(frame, expected(server, symbol, Interval.in_daily, count))


def warnings_of(caplog, name="tvDatafeed.network"):
    """The WARNING records of one logger."""
    return [r for r in caplog.records if r.name == name and r.levelno == logging.WARNING]


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
def test_transient_fault_is_invisible(server, tv, fault):
    """What passes is waited out: the call gives its bars, and the count tells what happened."""
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
        assert isinstance(caught.value.__cause__, RateLimitError)
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


@pytest.mark.skipif(sys.platform != "linux", reason="a full backlog drops SYNs on Linux only")
def test_syn_black_hole_meets_the_connect_timeout():
    """A host that does not answer is given up after the connect timeout, not the system's."""
    with BlackHole() as hole:
        config = hole.config(connect_timeout=0.3, max_retries=0)
        with TvDatafeed(config=config) as tv, at_most(AT_ONCE_S):
            with pytest.raises(WebSocketTimeoutError, match="connect"):
                tv.get_hist(SYMBOL)


@pytest.fixture(scope="module")
def authority():
    """A certificate authority of the tests' own."""
    return trustme.CA()


@pytest.fixture
def tls_server(authority):
    """A loopback TradingView behind TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with FakeTradingView(clock=lambda: NOW, tls=context) as running:
        yield running


def test_own_authority_is_trusted_by_ca_file(tls_server, authority, tmp_path):
    """With its authority in ca_file a TLS server is as good as any."""
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    with TvDatafeed(config=impatient(tls_server, ca_file=str(file))) as tv:
        for _ in range(3):
            assert_right(tls_server, tv.get_hist(SYMBOL, timezone="UTC"))
        frame = tv.get_hist("BINANCE:BTCUSDT", n_bars=5000, timezone="UTC")
        assert_right(tls_server, frame, "BINANCE:BTCUSDT", len(frame))


def test_certificate_that_is_not_trusted_is_fatal(tls_server):
    """There is no second try and no way around it."""
    with TvDatafeed(config=impatient(tls_server)) as tv, at_most(AT_ONCE_S):
        with pytest.raises(WebSocketError, match="certificate") as caught:
            tv.get_hist(SYMBOL)
    assert caught.value.retryable is False
    assert tls_server.accepted == 1
    assert tls_server.connections_opened == 0


@pytest.mark.parametrize(
    ("fault", "error"),
    [(TlsStall(), WebSocketTimeoutError), (TlsGarbage(), WebSocketError)],
    ids=repr,
)
def test_tls_that_stalls_or_is_none(tls_server, fault, error):
    """The connect deadline covers the TLS handshake, and plain text is no TLS."""
    tls_server.inject(fault)
    config = impatient(tls_server, connect_timeout=0.3, max_retries=0)
    with TvDatafeed(config=config) as tv, at_most(AT_ONCE_S):
        with pytest.raises(error) as caught:
            tv.get_hist(SYMBOL)
    assert type(caught.value) is error
    assert tls_server.connections_opened == 0


def test_half_open_connection_is_noticed_and_replaced(server):
    """A peer that vanished without a word is pinged, given up, and the request asked again."""
    with FakeTradingView(clock=lambda: NOW, heartbeat_interval_s=60) as silent:
        silent.inject(HalfOpen(times=1))
        config = impatient(silent, silence_timeout=0.2, ping_timeout=0.2)
        with TvDatafeed(config=config) as tv, at_most(AT_ONCE_S):
            assert_right(silent, tv.get_hist(SYMBOL, timezone="UTC"))
        assert silent.connections_opened == 2


@pytest.mark.slow
def test_pong_is_a_sign_of_life():
    """A server that is silent and alive keeps its connection."""
    with FakeTradingView(clock=lambda: NOW, heartbeat_interval_s=60) as silent:
        silent.inject(LateReply(delay_s=1.0, times=1))
        config = impatient(silent, silence_timeout=0.1, ping_timeout=0.5)
        with TvDatafeed(config=config) as tv:
            assert_right(silent, tv.get_hist(SYMBOL, timezone="UTC"))
        assert silent.connections_opened == 1


def test_data_counts_as_life():
    """Without heartbeats a connection in use is not suspect."""
    with FakeTradingView(clock=lambda: NOW, heartbeat_interval_s=60) as silent:
        config = impatient(silent, silence_timeout=0.3, ping_timeout=0.01)
        with TvDatafeed(config=config) as tv:
            until = time.monotonic() + 0.6
            while time.monotonic() < until:
                tv.get_hist(SYMBOL, n_bars=1)
        assert silent.connections_opened == 1


def test_quiet_market_is_no_fault():
    """While heartbeats come nothing else is needed: no reconnect, no error, one connection."""
    with FakeTradingView(clock=lambda: NOW, heartbeat_interval_s=0.05) as server:
        config = impatient(server, silence_timeout=0.2, ping_timeout=0.1)
        with TvDatafeed(config=config) as tv:
            tv.get_hist(SYMBOL)
            assert server.wait_until(lambda s: s.echoes >= 12)
            assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))
            assert tv.stats()["errors"] == {}
        assert server.connections_opened == 1


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGSTOP there")
@pytest.mark.slow
def test_client_that_slept(server):
    """A program that was stopped past every limit goes on as if nothing had been."""
    program = """
        from tvDatafeed import TvDatafeed
        with TvDatafeed() as tv:
            print(len(tv.get_hist("NASDAQ:AAPL")), flush=True)
            input()
            print(len(tv.get_hist("NASDAQ:AAPL")), flush=True)
        """
    limits = {"TV_SILENCE_TIMEOUT": "0.2", "TV_PING_TIMEOUT": "0.1"}
    with run_program(program, server, stdin=subprocess.PIPE, **limits) as process:
        assert process.stdout.readline() == "10\n"
        process.send_signal(signal.SIGSTOP)
        # What passes here is the time of the sleep.
        threading.Event().wait(0.5)
        process.send_signal(signal.SIGCONT)
        with at_most(AT_ONCE_S):
            out, err = process.communicate("\n", timeout=PATIENCE_S)
    assert (process.returncode, out) == (0, "10\n")
    assert "Traceback" not in err


@pytest.mark.slow
def test_heartbeat_flood_starves_nobody(caplog):
    """Ten thousand heartbeats a second are echoed, data arrives, and the log stays quiet."""
    with FakeTradingView(clock=lambda: NOW) as server:
        server.inject(HeartbeatFlood(per_s=10_000))
        with (
            caplog.at_level(logging.INFO, "tvDatafeed"),
            TvDatafeed(config=impatient(server)) as tv,
        ):
            with at_most(10):
                for _ in range(5):
                    assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))
                assert server.wait_until(lambda s: s.echoes > 100)
        assert server.echoes <= tv.stats()["heartbeats"]
        assert not [r for r in caplog.records if r.name != "tvDatafeed.main"]


def test_idle_connection_is_closed_and_reopened(server):
    """After the idle timeout the server sees us leave; the next call is none the wiser."""
    with TvDatafeed(config=impatient(server, idle_timeout=0.2)) as tv:
        tv.get_hist(SYMBOL)
        assert server.wait_until(lambda s: s.open_connections == 0)
        assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))
        assert tv.stats()["reconnects"] == 0
        assert tv.stats()["connections"] == 2


def test_old_connection_is_closed_when_nothing_runs(server):
    """Past its age a connection is not used again."""
    with TvDatafeed(config=impatient(server, max_connection_age=0.2)) as tv:
        tv.get_hist(SYMBOL)
        assert server.wait_until(lambda s: s.open_connections == 0)
        tv.get_hist(SYMBOL)
    assert server.connections_opened == 2


def ask_in_threads(tv, symbols, **arguments):
    """Ask for each symbol in a thread of its own; results and errors by position."""
    results = [None] * len(symbols)

    def ask(position, symbol):
        try:
            results[position] = tv.get_hist(symbol, timezone="UTC", **arguments)
        except Exception as error:  # noqa: BLE001 - what comes is what is tested
            results[position] = error

    threads = [threading.Thread(target=ask, args=pair) for pair in enumerate(symbols)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    return results


def test_more_requests_than_places_open_another_connection(server):
    """Beyond the cap of sessions a further connection serves, and no cap is exceeded."""
    server.inject(LateReply(delay_s=0.2))
    with TvDatafeed(config=impatient(server, max_sessions=4)) as tv:
        frames = ask_in_threads(tv, [SYMBOL] * 10)
    for frame in frames:
        assert_right(server, frame)
    assert server.connections_opened == 3


def test_session_cap_of_the_server_is_worked_around(server):
    """A session that is one too many is asked for on another connection; the others live on."""
    server.inject(SessionCap(limit=3), LateReply(delay_s=0.1))
    with TvDatafeed(config=impatient(server)) as tv:
        frames = ask_in_threads(tv, [SYMBOL] * 8)
    for frame in frames:
        assert_right(server, frame)
    assert 2 <= server.connections_opened <= 8


def test_session_cap_of_nothing_is_a_rate_limit(server):
    """A server that lets no session in at all is a RateLimitError in the end."""
    server.inject(SessionCap(limit=0))
    with TvDatafeed(config=impatient(server)) as tv, at_most(AT_ONCE_S):
        with pytest.raises(RateLimitError):
            tv.get_hist(SYMBOL)


@pytest.mark.slow
def test_forty_threads_survive_disconnects(server):
    """Forty symbols on one object while connections are cut: each frame is its own symbol's."""
    symbols = [s for s in server.market.symbols if s not in {"SP:SPX", "TVC:RUT", "NSE:NIFTY"}]
    asked = [symbols[n % len(symbols)] for n in range(40)]
    config = impatient(
        server, max_retries=20, failure_threshold=50, requests_per_minute=6000, burst_size=100
    )
    server.inject(FinMidFrame(times=4), RstMidFrame(times=4), LateReply(delay_s=0.02))
    with TvDatafeed(config=config) as tv, at_most(20):
        for _ in range(3):
            frames = ask_in_threads(tv, asked, n_bars=300)
            for symbol, frame in zip(asked, frames, strict=True):
                assert_right(server, frame, symbol, 300)
    assert tv.stats()["requests"] == 120
    assert server.wait_until(lambda s: not s.open_sessions)


def test_redirect_is_followed_once_for_all(server):
    """The hello of one host leads to another, where the request is repeated and stays."""
    with FakeTradingView(clock=lambda: NOW) as first:
        first.inject(Redirect(f"127.0.0.1:{server.port}"))
        with TvDatafeed(config=impatient(first)) as tv:
            assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))
            assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))
    assert first.connections_opened == 1
    assert server.connections_opened == 1


def test_redirect_in_circles_ends(server):
    """Two servers that send the client to each other are an error after twenty redirects."""
    with FakeTradingView(clock=lambda: NOW) as other:
        other.inject(Redirect(f"127.0.0.1:{server.port}"))
        server.inject(Redirect(f"127.0.0.1:{other.port}"))
        config = impatient(server, burst_size=100, max_retries=0)
        with TvDatafeed(config=config) as tv, at_most(10), pytest.raises(WebSocketError):
            tv.get_hist(SYMBOL)
        assert server.connections_opened + other.connections_opened == 21


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.2",
        "9.9.0.1",
        "127.0.0.1:99999",
        "127.0.0.1:",
        "a..b",
        "",
        "a b",
        "h/x@127.0.0.1",
    ],
)
def test_redirect_to_another_site_is_not_followed(server, host):
    """The token goes to no host that is not of the same site."""
    server.inject(Redirect(host))
    with TvDatafeed(config=impatient(server, max_retries=0)) as tv, at_most(AT_ONCE_S):
        with pytest.raises(WebSocketError):
            tv.get_hist(SYMBOL)
    assert server.connections_opened == 1


def serve_proxy(listener, replies, seen):
    """Answer one CONNECT per reply; a reply of None opens the tunnel."""
    for reply in replies:
        client = listener.accept()[0]
        with client:
            request = b""
            while b"\r\n\r\n" not in request:
                request += client.recv(4096)
            seen.append(request.decode())
            client.sendall(reply)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "407"),
        (b"HTTP/1.1 503 no\r\n\r\n", "503"),
        (b"nonsense\r\n\r\n", "proxy"),
        (b"", "proxy"),
    ],
)
def test_proxy_that_refuses_is_named_without_its_password(reply, words):
    """The tunnel is asked for with the credentials, and the error shows none of them."""
    seen = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve_proxy, args=(listener, [reply], seen))
        thread.start()
        proxy = f"http://ann:hunter2@127.0.0.1:{listener.getsockname()[1]}"
        network = NetworkConfig(ws_url="ws://tradingview.invalid/", proxy=proxy, max_retries=0)
        with TvDatafeed(config=TvDatafeedConfig(network=network)) as tv, at_most(AT_ONCE_S):
            with pytest.raises(WebSocketError, match=words) as caught:
                tv.get_hist(SYMBOL)
        thread.join(PATIENCE_S)
    assert seen[0].startswith("CONNECT tradingview.invalid:80 ")
    assert "Basic YW5uOmh1bnRlcjI=" in seen[0]
    for text in (str(caught.value), repr(network), repr(tv)):
        assert "hunter2" not in text
        assert "YW5u" not in text


def test_tunnel_of_a_proxy_carries_the_socket(server):
    """Behind CONNECT everything is as without."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def relay():
            client = listener.accept()[0]
            upstream = socket.create_connection(("127.0.0.1", server.port))
            client.recv(4096)
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")

            def pump(source, sink):
                with contextlib.suppress(OSError):
                    while data := source.recv(65536):
                        sink.sendall(data)
                with contextlib.suppress(OSError):
                    sink.shutdown(socket.SHUT_WR)

            back = threading.Thread(target=pump, args=(upstream, client))
            back.start()
            pump(client, upstream)
            back.join(PATIENCE_S)
            client.close()
            upstream.close()

        thread = threading.Thread(target=relay)
        thread.start()
        network = NetworkConfig(
            ws_url="ws://tradingview.invalid/socket.io/websocket",
            proxy=f"http://127.0.0.1:{listener.getsockname()[1]}",
        )
        with TvDatafeed(config=TvDatafeedConfig(network=network)) as tv:
            assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))
        thread.join(PATIENCE_S)


def test_proxy_is_never_used_for_this_machine(server):
    """A proxy that nobody runs does not matter to the loopback."""
    with TvDatafeed(config=impatient(server, proxy="http://127.0.0.1:1")) as tv:
        assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy", "https_proxy"])
def test_proxies_of_other_programs_are_not_asked(server, monkeypatch, name):
    """Only TV_PROXY counts."""
    monkeypatch.setenv(name, "http://127.0.0.1:1")
    with TvDatafeed(config=impatient(server)) as tv:
        assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))


def test_close_during_the_backoff_is_immediate(server):
    """A call that waits for its next try ends when the object is closed."""
    server.inject(Refuse("rst"))
    tv = TvDatafeed(config=server.config(base_retry_delay=30, max_retry_delay=30))
    results = []
    thread = threading.Thread(target=lambda: results.extend(ask_in_threads(tv, [SYMBOL])))
    thread.start()
    assert server.wait_until(lambda s: s.accepted >= 1)
    while not tv.stats()["errors"]:
        thread.join(0.01)
    with at_most(AT_ONCE_S):
        assert tv.close() is True
        thread.join(PATIENCE_S)
    assert "closed by this program" in str(results[0])


def test_close_during_the_connect_is_immediate(server):
    """A call that waits for a handshake ends when the object is closed, and so does its thread."""
    server.inject(ConnectSilence())
    tv = TvDatafeed(config=impatient(server, connect_timeout=PATIENCE_S))
    results = []
    thread = threading.Thread(target=lambda: results.extend(ask_in_threads(tv, [SYMBOL])))
    thread.start()
    assert server.wait_until(lambda s: s.accepted >= 1)
    with at_most(AT_ONCE_S):
        assert tv.close() is True
        thread.join(PATIENCE_S)
    assert "closed by this program" in str(results[0])


def test_close_from_many_threads(server):
    """Closing twice, at once, and in `with` is closing."""
    with TvDatafeed(config=impatient(server)) as tv:
        tv.get_hist(SYMBOL)
        threads = [threading.Thread(target=tv.close) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
    assert server.wait_until(lambda s: s.open_connections == 0)


def test_dropped_object_closes_itself(server):
    """What a program lets go ends its thread and socket, with a ResourceWarning."""
    tv = TvDatafeed(config=impatient(server))
    tv.get_hist(SYMBOL)
    with pytest.warns(ResourceWarning, match="was not closed"):
        del tv
        gc.collect()
    assert server.wait_until(lambda s: s.open_connections == 0)


def test_closed_object_is_dropped_in_silence(server):
    """After close() there is nothing to warn about."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tv = TvDatafeed(config=impatient(server))
        tv.get_hist(SYMBOL)
        tv.close()
        del tv
        gc.collect()


@pytest.mark.slow
def test_cell_run_fifty_times_leaves_nothing_behind(server):
    """Threads stay as many as they were; the fixture counts descriptors too."""
    threads = threading.active_count()
    tv = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        for _ in range(50):
            tv = TvDatafeed(config=impatient(server, requests_per_minute=600, burst_size=100))
            tv.get_hist(SYMBOL, n_bars=1)
        tv.close()
        gc.collect()
    assert server.wait_until(lambda s: s.open_connections == 0)
    # The server's own threads of fifty connections end with them.
    assert server.wait_until(lambda _: threading.active_count() <= threads)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is POSIX")
@pytest.mark.slow
def test_forked_child_connects_anew(server):
    """The child's call works on its own connection, and the parent's is not disturbed."""
    with TvDatafeed(config=impatient(server)) as tv:
        tv.get_hist(SYMBOL)
        read, write = os.pipe()
        with warnings.catch_warnings():
            # Forking a process with threads is what is tested.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            code = 1
            try:
                frame = tv.get_hist(SYMBOL, timezone="UTC")
                os.write(write, str(len(frame)).encode())
                code = 0
            finally:
                os._exit(code)
        os.close(write)
        assert os.waitpid(child, 0)[1] == 0
        assert os.read(read, 100) == b"10"
        os.close(read)
        assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))
        assert server.connections_opened == 2
        assert tv.stats()["connections"] == 1


def _fetch_in_child(tv, queue):
    queue.put(len(tv.get_hist(SYMBOL)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is POSIX")
@pytest.mark.slow
def test_fork_while_a_lock_is_held(server):
    """A child born in the middle of a parent's call does not inherit its locks."""
    server.inject(LateReply(delay_s=0.3))
    with TvDatafeed(config=impatient(server)) as tv:
        thread = threading.Thread(target=ask_in_threads, args=(tv, [SYMBOL] * 5))
        thread.start()
        assert server.wait_until(lambda s: s.open_sessions)
        context = multiprocessing.get_context("fork")
        queue = context.Queue()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            child = context.Process(target=_fetch_in_child, args=(tv, queue))
            child.start()
        assert queue.get(timeout=PATIENCE_S) == 10
        child.join(PATIENCE_S)
        thread.join(PATIENCE_S)
        assert child.exitcode == 0
        queue.close()
        queue.join_thread()


def run_program(text, server, *, stdin=None, **variables):
    """Run a program in a process of its own, against the loopback server."""
    loopback = {"TV_WS_URL": server.ws_url, "TV_BASE_RETRY_DELAY": "0.05"}
    environment = {**os.environ, **loopback, **variables}
    return subprocess.Popen(
        [sys.executable, "-X", "dev", "-c", textwrap.dedent(text)],
        env=environment,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_script_that_forgets_to_close_ends_cleanly(server):
    """At the interpreter's exit there is no traceback, and the server sees the end."""
    program = """
        from tvDatafeed import TvDatafeed
        tv = TvDatafeed()
        print(len(tv.get_hist("NASDAQ:AAPL")))
        """
    with run_program(program, server) as process:
        out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out.strip(), err) == (0, "10", "")
    assert server.wait_until(lambda s: s.open_connections == 0)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process there")
@pytest.mark.slow
def test_ctrl_c_in_a_script(server):
    """SIGINT in a call that waits ends the program within the blink of an eye."""
    server.inject(NoCompletion())
    program = """
        from tvDatafeed import TvDatafeed
        try:
            TvDatafeed().get_hist("NASDAQ:AAPL")
        except KeyboardInterrupt:
            print("interrupted")
        """
    with run_program(program, server) as process:
        assert server.wait_until(lambda s: s.open_sessions, timeout_s=PATIENCE_S)
        process.send_signal(signal.SIGINT)
        with at_most(AT_ONCE_S):
            out, _ = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out.strip()) == (0, "interrupted")


def test_thread_that_cannot_start_is_an_error_of_ours(server, tv, monkeypatch):
    """Where the system gives no thread, the call says so and the next one works."""
    start = threading.Thread.start

    def refuse(thread):
        if thread.name.startswith("tvDatafeed"):
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(ThreadingError, match="can't start new thread"):
            tv.get_hist(SYMBOL)
    assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))


@pytest.mark.parametrize("bug", [MemoryError(), ZeroDivisionError("a bug")], ids=repr)
def test_bug_in_the_reader_is_loud_and_survived(server, tv, monkeypatch, caplog, bug):
    """An ERROR with its traceback, the connection replaced, the request answered."""
    receive = Machine.receive
    left = [bug]

    def fail_once(machine, text, now):
        if left:
            raise left.pop()
        receive(machine, text, now)

    monkeypatch.setattr(Machine, "receive", fail_once)
    assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))
    (record,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert record.exc_info[0] is type(bug)


def test_logging_handler_may_use_the_object(server, tv):
    """Nothing is logged while a lock is held: a handler that asks for stats does not hang."""
    asked = []

    class Curious(logging.Handler):
        def emit(self, record):
            asked.append((record.name, tv.stats()["connections"], repr(tv)))

    handler = Curious()
    root = logging.getLogger("tvDatafeed")
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    server.inject(CloseCode(1001, times=2))
    tv.ws_debug = True
    try:
        with at_most(AT_ONCE_S):
            assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))
            tv.close()
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    assert asked


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on descriptors there")
@pytest.mark.slow
def test_no_descriptor_left_is_transient(server):
    """Without descriptors the call fails clearly, and works when there are some again."""
    program = """
        import resource, socket
        from tvDatafeed import TvDatafeed, WebSocketError
        tv = TvDatafeed()
        tv.get_hist("NASDAQ:AAPL")  # what is imported late is imported now
        tv.close()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
        taken = []
        try:
            while True:
                taken.append(socket.socket())
        except OSError:
            pass
        try:
            tv.get_hist("NASDAQ:AAPL")
        except WebSocketError as error:
            print("Too many open files" in str(error), error.retryable)
        for sock in taken:
            sock.close()
        print(len(tv.get_hist("NASDAQ:AAPL")))
        tv.close()
        """
    with run_program(program, server) as process:
        out, err = process.communicate(timeout=PATIENCE_S)
    assert out.split() == ["True", "True", "10"]
    assert "Traceback" not in err
    assert "ResourceWarning" not in err


def serve_in_process(port=0):
    """Run the server as a process of its own; gives it and its URL."""
    command = [sys.executable, "-m", "tvDatafeed", "serve", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if "TV_WS_URL" in line:
            return process, "ws://" + line.strip().split("ws://")[1].strip("'\"")
    raise AssertionError("the server did not start")


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGSTOP there")
@pytest.mark.slow
def test_server_killed_suspended_and_resumed():
    """The client comes back within its backoff and a round trip, whatever befell the server."""
    process, url = serve_in_process()
    port = int(url.split(":")[2].split("/")[0])
    network = NetworkConfig(
        ws_url=url,
        base_retry_delay=0.1,
        max_retry_delay=0.5,
        max_retries=100,
        failure_threshold=1000,
        requests_per_minute=6000,
        burst_size=1000,
        silence_timeout=0.5,
        ping_timeout=0.3,
    )
    try:
        with TvDatafeed(config=TvDatafeedConfig(network=network)) as tv:
            assert len(tv.get_hist(SYMBOL)) == 10
            process.kill()
            process.wait(PATIENCE_S)
            process.stdout.close()
            replaced = []
            starter = threading.Thread(target=lambda: replaced.append(serve_in_process(port)[0]))
            starter.start()
            assert len(tv.get_hist(SYMBOL)) == 10
            starter.join(PATIENCE_S)
            process = replaced[0]

            process.send_signal(signal.SIGSTOP)
            frames = []
            asker = threading.Thread(target=lambda: frames.append(tv.get_hist(SYMBOL)))
            asker.start()
            asker.join(0.5)
            assert not frames
            process.send_signal(signal.SIGCONT)
            with at_most(AT_ONCE_S):
                asker.join(PATIENCE_S)
            assert len(frames[0]) == 10
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait(PATIENCE_S)
        process.stdout.close()


def test_stats_count_what_happened(server, tv):
    """Connections, requests, latencies and faults, in plain numbers."""
    before = tv.stats()
    assert (before["connections"], before["latency_p50_s"], before["errors"]) == (0, None, {})
    server.inject(CloseCode(1001, times=1))
    for _ in range(3):
        tv.get_hist(SYMBOL)
    stats = tv.stats()
    assert stats["connections"] == 2
    assert stats["reconnects"] == 1
    assert stats["open_connections"] == 1
    assert stats["open_sessions"] == 0
    assert stats["requests"] == 3
    assert stats["messages"] >= 12
    assert stats["violations"] == 0
    assert stats["errors"] == {"WebSocketError": 1}
    assert 0 < stats["latency_p50_s"] <= stats["latency_p99_s"] < scaled(AT_ONCE_S)


def test_address_that_swallows_packets_does_not_hide_the_next(server, monkeypatch):
    """Of two addresses the second is tried in time, whatever the first one does."""
    look_up = sockets.look_up
    with BlackHole() as hole:
        silent_port = int(hole.ws_url.split(":")[2].split("/")[0])
        monkeypatch.setattr(
            sockets,
            "look_up",
            lambda host, port: [*look_up(host, silent_port), *look_up(host, port)],
        )
        with TvDatafeed(config=impatient(server, connect_timeout=1.0)) as tv, at_most(AT_ONCE_S):
            assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))
        assert tv.stats()["errors"] == {}


def test_redirect_whose_target_dies_is_taken_back(server):
    """When the other host is gone, the one of the settings is asked again."""
    with FakeTradingView(clock=lambda: NOW) as first:
        first.inject(Redirect(f"127.0.0.1:{server.port}", times=1))
        with TvDatafeed(config=impatient(first)) as tv, at_most(AT_ONCE_S):
            assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))
            server.stop()
            assert_right(first, tv.get_hist(SYMBOL, timezone="UTC"))


@pytest.mark.parametrize("end", ["redirect", "close"])
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


def test_proxy_that_drips_meets_the_connect_deadline():
    """A byte now and then from a proxy is no progress; no thread stays behind."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip():
            client = listener.accept()[0]
            with client, contextlib.suppress(OSError):
                while not over.wait(0.05):
                    client.sendall(b"H")

        thread = threading.Thread(target=drip)
        thread.start()
        network = NetworkConfig(
            ws_url="ws://tradingview.invalid/",
            proxy=f"http://127.0.0.1:{listener.getsockname()[1]}",
            connect_timeout=0.4,
            max_retries=0,
        )
        with TvDatafeed(config=TvDatafeedConfig(network=network)) as tv, at_most(AT_ONCE_S):
            with pytest.raises(WebSocketTimeoutError, match=r"connect timed out after 0\.4s"):
                tv.get_hist(SYMBOL)
        over.set()
        thread.join(PATIENCE_S)


def test_patience_for_a_message_does_not_shorten_the_connect(server):
    """A handshake that times out is tried again, however short ws_timeout is."""
    server.inject(ConnectSilence(times=1))
    config = impatient(server, connect_timeout=0.6)
    with TvDatafeed(ws_timeout=0.3, config=config) as tv, at_most(AT_ONCE_S):
        assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))


def test_limits_of_many_years_are_no_limits(server):
    """Timers of the system have a range; settings need not know it."""
    forever = 1e10
    config = impatient(
        server,
        silence_timeout=forever,
        idle_timeout=forever,
        max_connection_age=forever,
        max_response_time=forever,
    )
    with TvDatafeed(config=config) as tv:
        for _ in range(2):
            assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))
    assert server.connections_opened == 1


@pytest.mark.parametrize("host", ["data..tradingview.com", "a" * 64 + ".invalid"])
def test_host_that_is_no_name_is_a_fatal_error_of_ours(host):
    """A label that is empty or too long is told as what it is."""
    config = TvDatafeedConfig(network=NetworkConfig(ws_url=f"ws://{host}/"))
    with TvDatafeed(config=config) as tv, at_most(AT_ONCE_S):
        with pytest.raises(WebSocketError) as caught:
            tv.get_hist(SYMBOL)
    assert host in str(caught.value)
    assert caught.value.retryable is False


def test_token_may_be_any_text_and_nothing_else(server, tv):
    """numpy's text is text; None and numbers are told before anything is sent."""
    tv.token = np.str_("unauthorized_user_token")
    assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))
    for token in (None, 5, b"x"):
        tv.token = token
        with pytest.raises(ConfigurationError) as caught:
            tv.get_hist(SYMBOL)
        assert caught.value.value == "***"


def test_connections_that_die_together_are_one_warning(server, caplog):
    """However many connections break at once, the episode is told once."""
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


def test_dropped_object_is_closed_even_when_warnings_are_errors(server, monkeypatch):
    """First it is closed, then it is told."""
    tv = TvDatafeed(config=impatient(server))
    tv.get_hist(SYMBOL)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # A finalizer has nobody to raise to.
        monkeypatch.setattr(sys, "unraisablehook", lambda _unraised: None)
        del tv
        gc.collect()
    assert server.wait_until(lambda s: s.open_connections == 0)


def test_collector_may_run_in_the_reader(server, monkeypatch):
    """An object in a cycle that is collected by its own reader, under its lock, ends it."""
    receive = Machine.receive

    def collect_and_receive(machine, text, now):
        gc.collect()
        receive(machine, text, now)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        tv = TvDatafeed(config=impatient(server))
        tv.get_hist(SYMBOL)
        tv.myself = tv
        monkeypatch.setattr(Machine, "receive", collect_and_receive)
        del tv
        server.send_raw("~m~4~m~~h~1")
        assert server.wait_until(lambda s: s.open_connections == 0)
        # The reader warns when it has closed: its warning belongs to this test.
        for thread in threading.enumerate():
            if thread.name.startswith("tvDatafeed"):
                thread.join(PATIENCE_S)


def test_ctrl_c_in_the_middle_of_a_send_costs_the_connection(server, tv, monkeypatch):
    """Half a frame may have left: nobody writes behind it, and the next call is right."""
    tv.get_hist(SYMBOL)
    send = websocket.Transport.send
    left = [KeyboardInterrupt()]

    def interrupted(self, *arguments):
        if left:
            raise left.pop()
        send(self, *arguments)

    monkeypatch.setattr(websocket.Transport, "send", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tv.get_hist(SYMBOL)
    assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))
    assert server.connections_opened == 2


def test_connection_in_use_does_not_retire(server):
    """A place that is taken keeps the connection, however short the idle time."""
    config = impatient(server, idle_timeout=0.05, max_retries=0)
    with TvDatafeed(config=config) as tv:
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            tv.get_hist(SYMBOL, n_bars=1)
        assert tv.stats()["errors"] == {}


def test_close_reason_with_a_token_shows_none(server):
    """What the server says when it closes may repeat what we sent."""
    token = "eyJhbGciOiJSUzUxMiJ9.eyJ1c2VyX2lkIjo0Mn0.c2VjcmV0"
    server.inject(CloseCode(1008, f"token {token} " + "x" * 40))
    config = impatient(server, max_retries=0)
    with TvDatafeed(auth_token=token, config=config) as tv:
        with pytest.raises(WebSocketError, match=r"1008 token \*\*\*") as caught:
            tv.get_hist(SYMBOL)
    assert "eyJ" not in str(caught.value)
    assert "xxxx" not in str(caught.value)
