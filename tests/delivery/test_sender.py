"""The start of a sender: from several threads at once, and in a forked child."""

import os
import threading

import pytest

from tests.delivery.hooks import QUICK, make_hook
from tests.delivery.receiver import Receiver
from tests.feed import until
from tests.scale import PATIENCE_S
from tvDatafeed.config import DeliveryConfig
from tvDatafeed.delivery import Outbox
from tvDatafeed.delivery.sender import Sender

URL = "http://127.0.0.1:9/hook"


def senders():
    """The threads of this process that decide what is sent."""
    return [each for each in threading.enumerate() if each.name == "tvDatafeed-delivery"]


@pytest.fixture
def sender(tmp_path):
    """A sender that is not started."""
    with Outbox(tmp_path / "outbox.db") as outbox:
        made = Sender(
            outbox,
            URL,
            headers=lambda *_message: {},
            policy=QUICK,
            batch=1,
            config=DeliveryConfig(),
            on_result=lambda _result: None,
        )
        yield made
        assert made.stop(PATIENCE_S)


def test_start_from_two_threads(sender, monkeypatch):
    """Neither waits for the other while a thread starts, and one thread remains."""
    start, both = threading.Thread.start, threading.Barrier(2)

    def start_together(thread):
        if thread.name == "tvDatafeed-delivery":
            both.wait(PATIENCE_S)
        start(thread)

    callers = [threading.Thread(target=sender.start) for _number in range(2)]
    monkeypatch.setattr(threading.Thread, "start", start_together)
    for caller in callers:
        start(caller)
    for caller in callers:
        caller.join()
    assert not both.broken
    assert until(lambda: sender.is_owner and len(senders()) == 1)
    sender.start()
    assert len(senders()) == 1


def test_start_after_a_failure(sender, monkeypatch):
    """A system that has no thread left is an error of that start alone."""

    def refuse(_thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            sender.start()
    sender.start()
    assert until(lambda: sender.is_owner)


def test_no_start_after_stop(sender):
    """A sender that was stopped stays so."""
    assert sender.stop(PATIENCE_S)
    sender.start()
    assert until(lambda: not senders())
    assert not sender.is_owner


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
@pytest.mark.slow
def test_start_after_fork(tmp_path):
    """A forked child whose threads enqueue at once has one sender; its parent sends for both."""
    with Receiver() as receiver, make_hook(receiver.url, tmp_path) as hook:
        hook.send("a.b", "parent")
        assert hook.flush(PATIENCE_S)
        child = os.fork()
        if not child:
            code = 1
            try:
                threads = [
                    threading.Thread(target=hook.send, args=("a.b", number)) for number in range(8)
                ]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                has_one = until(lambda: len(senders()) == 1)
                code = 0 if has_one and hook.flush(PATIENCE_S) else 2
            finally:
                os._exit(code)
        _pid, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert hook.stats()["is_owner"]
    assert len(receiver.accepted) == 9
