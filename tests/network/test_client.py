"""The client reports its failures, counts what happened, and sends only valid tokens."""

import logging
import threading

import numpy as np
import pytest

from tests.loopback import impatient
from tests.network.clients import SYMBOL, assert_right
from tests.scale import AT_ONCE_S, at_most, scaled
from tvDatafeed import ConfigurationError, ThreadingError, TvDatafeed, WebSocketError
from tvDatafeed.protocol.machine import Machine
from tvDatafeed.testing import CloseCode


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


def test_token_may_be_any_text_and_nothing_else(server, tv):
    """A token may be a numpy string; None and numbers are refused before anything is sent."""
    tv.token = np.str_("unauthorized_user_token")
    assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))
    for token in (None, 5, b"x"):
        tv.token = token
        with pytest.raises(ConfigurationError) as caught:
            tv.get_hist(SYMBOL)
        assert caught.value.value == "***"


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
