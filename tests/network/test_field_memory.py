"""What a connection held is freed when it ends, by reference counting alone."""

import contextlib
import gc
import threading
import time

import pytest

from tests.loopback import NOW, impatient
from tests.network.clients import SYMBOL, assert_right
from tests.scale import PATIENCE_S
from tvDatafeed import Interval, TvDatafeed, TvDatafeedError, TvDatafeedLive
from tvDatafeed.network.connection import Connection
from tvDatafeed.network.sockets import DeadlineSocket
from tvDatafeed.network.websocket import Transport
from tvDatafeed.protocol.machine import Machine
from tvDatafeed.testing import (
    CloseCode,
    CompressedFrame,
    ConnectSilence,
    FakeTradingView,
    FinMidFrame,
    HandshakeDrip,
    HeartbeatsOnly,
    HttpReset,
    HttpStatus,
    InvalidUtf8,
    NeverRead,
    ProtocolErrorReply,
    Redirect,
    Refuse,
    RstMidFrame,
    TlsGarbage,
    UpgradeGarbage,
    UpgradeStatus,
)

FAULTS = [
    # While the connection is opened.
    Refuse("rst"),
    TlsGarbage(),
    ConnectSilence(),
    HandshakeDrip(),
    UpgradeGarbage(),
    UpgradeStatus(429),
    UpgradeStatus(503),
    Redirect("127.0.0.1:1"),
    # While an answer comes.
    CloseCode(1008),
    CompressedFrame(),
    FinMidFrame(),
    HeartbeatsOnly(),
    InvalidUtf8(),
    NeverRead(),
    ProtocolErrorReply(),
    RstMidFrame(),
]


@pytest.fixture
def held():
    """A call that counts what connections hold, which runs without the garbage collector."""
    gc.collect()
    kinds = (Connection, DeadlineSocket, Machine, Transport)
    earlier = {id(thing) for thing in gc.get_objects() if isinstance(thing, kinds)}

    def count(readers=0):
        """Wait until no more threads read than connections are open, and count."""
        until = time.monotonic() + PATIENCE_S
        while len(running := reader_threads()) > readers and time.monotonic() < until:
            running[0].join(0.01)
        return sum(
            isinstance(thing, kinds) and id(thing) not in earlier for thing in gc.get_objects()
        )

    gc.disable()
    yield count
    gc.enable()


def reader_threads():
    """Return the threads of all connections, the oldest first."""
    return [thread for thread in threading.enumerate() if thread.name == "tvDatafeed-reader"]


def quick(server, **limits):
    """The configuration of a client that gives a request up after a fraction of a second."""
    return impatient(server, max_retries=1, max_response_time=0.6, connect_timeout=0.3, **limits)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
def test_connection_that_failed_is_freed(server, held, fault):
    """After a fault, and the close of its client, nothing of the connection is left."""
    server.inject(fault)
    tv = TvDatafeed(config=quick(server))
    with contextlib.suppress(TvDatafeedError):
        tv.get_hist(SYMBOL)
    assert tv.close() is True
    del tv
    assert held() == 0


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_connection_that_was_dropped_is_freed(server, held, how):
    """A client that continues holds its present connection alone."""
    with TvDatafeed(config=impatient(server)) as tv:
        tv.get_hist(SYMBOL)
        present = held(readers=1)
        for _ in range(3):
            server.drop_connections(how)
            assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))
            assert held(readers=1) == present
    assert held() == 0


def test_failed_request_frees_its_client(server, held):
    """An error that was raised and handled does not keep the client that raised it."""
    server.inject(ProtocolErrorReply())
    tv = TvDatafeed(config=quick(server))
    with contextlib.suppress(TvDatafeedError):
        tv.get_hist(SYMBOL)
    gone = threading.Event()
    tv.gone = Gone(gone)
    tv.close()
    del tv
    assert gone.is_set()
    assert held() == 0


class Gone:
    """Sets an event when it is freed."""

    def __init__(self, event):
        self._event = event

    def __del__(self):
        self._event.set()


def test_kept_error_keeps_no_connection(server, held):
    """A program may keep the errors of its requests: they refer to nothing that has ended."""
    server.inject(RstMidFrame())
    kept = []
    with TvDatafeed(config=quick(server)) as tv:
        for symbol in (SYMBOL, "NASDAQ:MSFT"):
            try:
                tv.get_hist(symbol)
            except TvDatafeedError as error:
                kept.append(error)
    assert [type(error.__cause__) for error in kept] == [ConnectionResetError] * 2
    assert held() == 0


def test_live_connections_are_freed(held):
    """A feed whose connections are dropped again and again holds the present one and the last."""
    with FakeTradingView(clock=lambda: NOW) as server:
        reconnected = threading.Semaphore(0)
        with TvDatafeedLive(
            verbose=False,
            config=impatient(server),
            on_reconnect=lambda *_: reconnected.release(),
        ) as tvl:
            tvl.new_seis(SYMBOL, "", Interval.in_1_minute)
            present = held(readers=1)
            for _ in range(5):
                server.drop_connections("rst")
                assert reconnected.acquire(timeout=PATIENCE_S)
            assert held(readers=1) <= 2 * present


@pytest.mark.parametrize("fault", [HttpReset(), HttpStatus(503)], ids=lambda f: type(f).__name__)
def test_sockets_of_failed_searches_are_freed(server, held, fault):
    """The requests over HTTP leave no socket either."""
    server.inject(fault)
    with TvDatafeed(config=quick(server)) as tv, contextlib.suppress(TvDatafeedError):
        tv.search_symbol("AAPL", "NASDAQ")
    assert held() == 0


def test_connection_without_a_thread_is_freed(server, held, monkeypatch):
    """A connection whose thread the system refuses is freed as well."""

    def refuse(_thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with TvDatafeed(config=quick(server)) as tv, contextlib.suppress(TvDatafeedError):
        tv.get_hist(SYMBOL)
    monkeypatch.undo()
    assert held() == 0
