"""A server that misbehaves: a typed error within the deadline, or the right bars; never a hang."""

import dataclasses
import json
import logging
import socket
import threading
import time

import pandas as pd
import pytest

from tests.loopback import NOW, expected
from tests.scale import AT_ONCE_S, PATIENCE_S, at_most
from tvDatafeed import (
    DataNotFoundError,
    Interval,
    ProtocolError,
    RateLimitError,
    TvDatafeed,
    TvDatafeedConfig,
    WebSocketError,
    WebSocketTimeoutError,
)
from tvDatafeed.config import NetworkConfig
from tvDatafeed.testing import (
    BadHeader,
    BinaryFrame,
    CloseCode,
    CompletionFirst,
    CompressedFrame,
    ConnectSilence,
    Drip,
    EndlessFragments,
    FakeTradingView,
    FinMidFrame,
    ForeignSession,
    GiantHeader,
    GluedHeartbeat,
    HalfOpen,
    HandshakeDrip,
    HandshakeStall,
    HeartbeatFlood,
    HeartbeatsOnly,
    HostileJson,
    InvalidUtf8,
    LengthUnit,
    Market,
    NeverRead,
    Redirect,
    Refuse,
    ReplaceBars,
    RstMidFrame,
    SplitPackets,
    TruncatedJson,
    UnknownMessages,
    UpgradeGarbage,
    UpgradeStatus,
    WrongLength,
)

SYMBOL = "BINANCE:DOGEUSDT"  # its name has a character outside the Basic Multilingual Plane


def ask(server, count=20, **limits):
    """Fetch bars with a client of its own, which does not try again."""
    with TvDatafeed(config=server.config(**{"max_retries": 0, **limits})) as tv:
        return tv.get_hist(SYMBOL, n_bars=count, timezone="UTC")


def assert_right(server, frame, count=20):
    """Hold a frame to the market's arithmetic."""
    pd.testing.assert_frame_equal(frame, expected(server, SYMBOL, Interval.in_daily, count))


@pytest.mark.parametrize(
    ("fault", "error", "retryable", "words"),
    [
        (Refuse("rst"), WebSocketError, True, "reset"),
        (Refuse("fin"), WebSocketError, True, "ended the connection"),
        (UpgradeStatus(403), WebSocketError, False, "403"),
        (UpgradeStatus(401), WebSocketError, False, "401"),
        (UpgradeStatus(404), WebSocketError, False, "404"),
        (UpgradeStatus(500), WebSocketError, True, "500"),
        (UpgradeStatus(503), WebSocketError, True, "503"),
        (UpgradeStatus(200, b"<html>log in</html>"), WebSocketError, False, "not a WebSocket"),
        (UpgradeStatus(200, b"x" * 10**6), WebSocketError, False, "not a WebSocket"),
        (UpgradeStatus(302, location="http://127.0.0.1:1/"), WebSocketError, False, "not a WebS"),
        (UpgradeStatus(429), RateLimitError, True, "429"),
        (UpgradeGarbage(), WebSocketError, False, "not a WebSocket endpoint"),
        (Redirect("other.example"), WebSocketError, True, "other.example"),
    ],
    ids=repr,
)
def test_handshake_that_fails_is_typed_at_once(server, fault, error, retryable, words):
    """Refusals, statuses and garbage are distinguished, and no body enters the message."""
    server.inject(fault)
    with at_most(AT_ONCE_S), pytest.raises(error, match=words) as caught:
        ask(server)
    assert type(caught.value) is error
    assert caught.value.retryable is retryable
    assert "html" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_captive_portal_is_shown_at_debug_only(server, caplog):
    """The first bytes of a page that is not a WebSocket help at DEBUG, and nowhere else."""
    server.inject(UpgradeStatus(200, b"<html>please log in</html>" + b"x" * 1000))
    with caplog.at_level(logging.DEBUG, "tvDatafeed"), pytest.raises(WebSocketError):
        ask(server)
    (record,) = [r for r in caplog.records if "please log in" in r.getMessage()]
    assert record.levelno == logging.DEBUG
    assert len(record.getMessage()) < 400


@pytest.mark.parametrize(
    "fault",
    [ConnectSilence(), HandshakeStall(), HandshakeDrip(bytes_per_s=20)],
    ids=repr,
)
@pytest.mark.slow
def test_handshake_that_stalls_meets_the_connect_deadline(server, fault):
    """Silence, half an answer, and a byte now and then end with the connect timeout."""
    server.inject(fault)
    with at_most(AT_ONCE_S), pytest.raises(WebSocketTimeoutError, match="connect") as caught:
        ask(server, connect_timeout=0.4)
    assert caught.value.timeout == 0.4


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [("7", 7, 7), ("99999999", 3600, 3600), ("soon", None, None), (None, None, None)],
)
def test_retry_after_of_a_429(server, header, least, most):
    """Seconds are read, absurd ones capped, and nonsense is not a number."""
    server.inject(UpgradeStatus(429, retry_after=header))
    with pytest.raises(RateLimitError) as caught:
        ask(server)
    assert caught.value.limit is None
    if least is None:
        assert caught.value.retry_after is None
    else:
        assert least <= caught.value.retry_after <= most


def test_retry_after_may_be_a_date(server):
    """An HTTP date is turned into seconds from now."""
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 100))
    server.inject(UpgradeStatus(429, retry_after=date))
    with pytest.raises(RateLimitError) as caught:
        ask(server)
    assert 90 < caught.value.retry_after <= 100


def test_connection_refused():
    """Without a listener the error names the address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    network = NetworkConfig(ws_url=f"ws://127.0.0.1:{port}/", max_retries=0)
    config = TvDatafeedConfig(network=network)
    tv = TvDatafeed(config=config)
    with at_most(AT_ONCE_S), pytest.raises(WebSocketError, match=str(port)) as caught:
        tv.get_hist(SYMBOL)
    assert caught.value.retryable
    assert isinstance(caught.value.__cause__, OSError)


def test_name_that_does_not_exist():
    """A name without an address is an error of the network with its cause."""
    network = NetworkConfig(ws_url="ws://no-such-host.invalid/", allow_insecure=True, max_retries=0)
    config = TvDatafeedConfig(network=network)
    tv = TvDatafeed(config=config)
    with pytest.raises(WebSocketError, match=r"no-such-host\.invalid") as caught:
        tv.get_hist(SYMBOL)
    assert isinstance(caught.value.__cause__, OSError)
    tv.close()


@pytest.mark.parametrize(
    "fault",
    [
        LengthUnit("code_points"),
        LengthUnit("bytes"),
        BadHeader("~m~-5~m~"),
        BadHeader("~m~~m~"),
        BadHeader(f"~m~{'9' * 40}~m~"),
        SplitPackets(size=7),
        SplitPackets(size=1000),
        GluedHeartbeat(),
        UnknownMessages(),
        ForeignSession(),
        HeartbeatFlood(per_s=2000),
        Drip(bytes_per_s=500_000),
    ],
    ids=repr,
)
def test_what_can_be_understood_is_understood(fault):
    """Odd lengths, slices, noise and hostile neighbours leave the bars as they are."""
    # A quick heart: what waits for the next message does not wait long.
    with FakeTradingView(clock=lambda: NOW, heartbeat_interval_s=0.05) as server:
        server.inject(fault)
        with at_most(AT_ONCE_S):
            assert_right(server, ask(server))


def test_glued_heartbeat_is_echoed(server):
    """A heartbeat before data in one message is answered."""
    server.inject(GluedHeartbeat(number=4321))
    with TvDatafeed(config=server.config()) as tv:
        tv.get_hist(SYMBOL, n_bars=20)
        # Before the client closes: what is not sent then stays unsent.
        assert server.wait_until(lambda s: s.echoes >= 1)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (FinMidFrame(), "ended the connection"),
        (RstMidFrame(), "reset"),
        (CloseCode(1000), "1000"),
        (CloseCode(1001, "going away"), "1001 going away"),
        (CloseCode(1008, "policy"), "1008 policy"),
        (CloseCode(1012), "1012"),
        (CloseCode(4000, "x\x1b[31m"), "4000"),
    ],
    ids=repr,
)
def test_connection_that_ends_raises_at_once(server, fault, words):
    """An end in mid-frame or with a close code is an error now, never partial data."""
    server.inject(fault)
    with at_most(AT_ONCE_S), pytest.raises(WebSocketError, match=words) as caught:
        ask(server)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "fault",
    [
        GiantHeader(),
        EndlessFragments(size=10),
        InvalidUtf8(),
        BinaryFrame(),
        CompressedFrame(),
    ],
    ids=repr,
)
def test_broken_websocket_is_a_protocol_error(server, fault):
    """What is not a text message is refused, a giant before it is buffered."""
    server.inject(fault)
    with at_most(AT_ONCE_S), pytest.raises(ProtocolError) as caught:
        ask(server)
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    "fault",
    [Drip(bytes_per_s=50), HeartbeatsOnly(), HalfOpen(), NeverRead()],
    ids=repr,
)
@pytest.mark.slow
def test_answer_that_does_not_come_meets_the_deadline(fault):
    """A drip, a silent server, one that only beats, and a lost packet end in time."""
    with FakeTradingView(clock=lambda: NOW, heartbeat_interval_s=0.05) as server:
        server.inject(fault)
        with at_most(AT_ONCE_S), pytest.raises(WebSocketTimeoutError, match=SYMBOL) as caught:
            ask(server, max_response_time=0.5)
        assert caught.value.timeout == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    "fault",
    [
        TruncatedJson(times=1),
        HostileJson("nan", times=1),
        HostileJson("infinity", times=1),
        HostileJson("long_number", times=1),
        HostileJson("deep", times=1),
        HostileJson("lone_surrogate", times=1),
    ],
    ids=repr,
)
def test_answer_with_a_lost_part_is_asked_for_again(server, tv, fault):
    """A message that cannot be read spoils its answer alone: the next one is whole."""
    server.inject(fault)
    with at_most(AT_ONCE_S):
        assert_right(server, tv.get_hist(SYMBOL, n_bars=20, timezone="UTC"))
    assert server.connections_opened == 1
    assert tv.stats()["violations"] == 1
    assert tv.stats()["errors"] == {"ProtocolError": 1}


def test_answers_that_always_lack_a_part_are_an_error(server):
    """When no try gives a whole answer the error names the symbol and is printable."""
    server.inject(TruncatedJson())
    with at_most(AT_ONCE_S), pytest.raises(ProtocolError, match=SYMBOL) as caught:
        ask(server)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("delta", [-3, 3])
def test_answer_of_wrong_lengths_ends_the_connection(delta):
    """Four packets with a wrong length are more than a connection may have."""
    with FakeTradingView(clock=lambda: NOW, heartbeat_interval_s=0.05) as server:
        server.inject(WrongLength(delta=delta))
        with (
            TvDatafeed(config=server.config(max_retries=0)) as tv,
            at_most(AT_ONCE_S),
            pytest.raises(ProtocolError, match="wrong packet length"),
        ):
            tv.get_hist("NASDAQ:AAPL")


def test_completion_before_the_bars_is_no_data(server):
    """An answer that ends before it begins has no bars; the late ones go nowhere."""
    server.inject(CompletionFirst(times=1))
    with TvDatafeed(config=server.config()) as tv:
        with pytest.raises(DataNotFoundError):
            tv.get_hist(SYMBOL)
        frame = tv.get_hist(SYMBOL, n_bars=20, timezone="UTC")
    assert_right(server, frame)


def test_more_violations_than_a_connection_may_have(server):
    """After more than three breaches the connection is given up with the last one named."""
    with TvDatafeed(config=server.config()) as tv:
        tv.get_hist(SYMBOL)
        for _ in range(4):
            server.send_raw("this is no packet")
        assert server.wait_until(lambda s: s.open_connections == 0)
        assert len(tv.get_hist(SYMBOL)) == 10
    assert server.connections_opened == 2


@pytest.mark.slow
def test_server_that_does_not_read_is_given_up(server):
    """A send that cannot be finished ends within the send deadline."""
    server.inject(NeverRead())
    big = "X" * 120
    config = server.config(send_timeout=0.3, max_response_time=20)
    with TvDatafeed(config=config) as tv, at_most(10):
        errors = []

        def fill():
            with pytest.raises((WebSocketError, WebSocketTimeoutError)) as caught:
                tv.get_hist(f"BINANCE:{big}", n_bars=5)
            errors.append(caught.value)

        threads = [threading.Thread(target=fill) for _ in range(600)]
        tv.max_response_time = 1.5
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
    assert len(errors) == 600


def test_null_and_text_prices_are_nan(server, caplog):
    """They are missing, never 0.0, and reported once."""
    rows = [[100.0, None, 2, 0.5, 1, 5], [200.0, 1, "2", 0.5, 1, 5], [300.0, 1, 2, 0.5, 1, 5]]
    server.inject(ReplaceBars(rows=rows))
    with caplog.at_level(logging.WARNING, "tvDatafeed.frames"):
        frame = ask(server, count=3)
    assert frame[["open", "high"]].isna().to_numpy().tolist() == [
        [True, False],
        [False, True],
        [False, False],
    ]
    assert sum(r.name.startswith("tvDatafeed.frames") for r in caplog.records) == 1


def test_one_volumeless_bar_leaves_the_others_alone(server):
    """A missing volume is 0.0 in its bar only."""
    rows = [[100.0, 1, 2, 0.5, 1, 5], [200.0, 1, 2, 0.5, 1], [300.0, 1, 2, 0.5, 1, 7]]
    server.inject(ReplaceBars(rows=rows))
    assert ask(server, count=3)["volume"].tolist() == [5.0, 0.0, 7.0]


def test_more_bars_than_asked_for(server):
    """A server that sends more is trimmed to the newest."""
    server.inject(ReplaceBars(rows=[[100.0 * i, 1, 2, 0.5, 1, 5] for i in range(1, 9)]))
    frame = ask(server, count=2)
    assert [t.timestamp() for t in frame.index] == [700.0, 800.0]


def test_text_that_looks_like_a_packet():
    """A name that holds headers and heartbeats is a name."""
    name = "~m~12~m~ ~h~5 ~m~3~m~"
    listing = dataclasses.replace(Market().find(SYMBOL), description=name)
    with FakeTradingView(clock=lambda: NOW, market=Market((listing,))) as server:
        assert_right(server, ask(server))


def test_history_repeated_after_a_live_update(server):
    """A server that sends everything again after a du changes nothing but what it changes."""
    rows = [{"i": i, "v": [100.0 * i, 1.0, 2.0, 0.5, 1.5, 9.0]} for i in range(1, 4)]
    changed = {"i": 3, "v": [300.0, 1.0, 2.0, 0.5, 1.75, 10.0]}

    def update(method, *items):
        return json.dumps({"m": method, "p": ["cs_a", {"sds_1": {"s": list(items), "t": "s1"}}]})

    loading = json.dumps({"m": "series_loading", "p": ["cs_a", "sds_1", "s1"]})
    completed = json.dumps({"m": "series_completed", "p": ["cs_a", "sds_1", "streaming", "s1"]})
    whole = update("timescale_update", *rows[:2], changed)
    server.replay(
        SYMBOL,
        [
            loading,
            update("timescale_update", *rows),
            update("du", changed),
            whole,
            whole,
            completed,
        ],
    )
    frame = ask(server)
    assert [t.timestamp() for t in frame.index] == [100.0, 200.0, 300.0]
    assert frame["close"].tolist() == [1.5, 1.5, 1.75]
