"""Several processes on one outbox, and what a killed one leaves behind."""

import os
import sys
import threading
import time

import pytest

from tests.delivery import kill
from tests.delivery.hooks import SEIS, bar, make_hook
from tests.delivery.receiver import Receiver
from tests.programs import run, start
from tests.scale import PATIENCE_S

pytestmark = pytest.mark.slow


def program(url, outbox, first, count):
    """Start a program that enqueues events."""
    arguments = ("-m", "tests.delivery.program", url, outbox, first, count, 2)
    return start(*map(str, arguments))


def test_killed_sender_loses_nothing():
    """What was on disk when the program was killed is received, in order, and once by its id."""
    enqueued, requests = kill.run(3)
    assert 0 < enqueued <= requests


def test_one_owner_and_takeover(tmp_path):
    """One process sends for all; when it is killed, another one goes on."""
    with Receiver() as receiver:
        receiver.rule = lambda _request: 503
        with program(receiver.url, tmp_path / "outbox.db", 0, 10) as owner:
            receiver.wait_for(1, PATIENCE_S)
            with make_hook(receiver.url, tmp_path) as hook:
                ids = [
                    hook.send("a.b", n, key=f"event {n}", lane=f"lane {n % 2}") for n in range(20)
                ]
                assert not hook.stats()["is_owner"]
                receiver.rule = lambda _request: None
                # The owner sends what this process has enqueued.
                assert hook.flush(PATIENCE_S)
                assert not hook.stats()["is_owner"]
                owner.kill()
                owner.wait(PATIENCE_S)
                ids.append(hook.send("a.b", "after"))
                assert hook.flush(PATIENCE_S)
                assert hook.stats()["is_owner"]
    assert sorted(receiver.accepted) == sorted(ids)


def test_owner_is_killed_while_both_enqueue(tmp_path):
    """The other process sends what both have enqueued: nothing missing, nothing out of order."""
    with Receiver() as receiver:
        lock, served = threading.Lock(), []

        def rule(request):
            with lock:
                served.append(request.id)
                return 503 if len(served) % 5 == 0 else None

        receiver.rule = rule
        with program(receiver.url, tmp_path / "outbox.db", 0, 1000) as owner:
            assert owner.stdout.readline().startswith("ready")
            receiver.wait_for(1, PATIENCE_S)
            with make_hook(receiver.url, tmp_path) as hook:
                assert not hook.stats()["is_owner"]
                ids = [hook.send("c.d", n, lane=f"other {n % 2}") for n in range(100)]
                # It is in the middle of its work.
                receiver.wait_for(50, PATIENCE_S)
                owner.kill()
                printed = [int(line) for line in owner.stdout.read().split("\n")[:-1]]
                ids += [hook.send("c.d", n, lane=f"other {n % 2}") for n in range(100, 200)]
                assert hook.flush(PATIENCE_S * 2)
                assert hook.stats()["is_owner"]
                assert hook.outbox.dead() == []
    assert [i for i in receiver.accepted if i in set(ids[0::2])] == ids[0::2]
    assert [i for i in receiver.accepted if i in set(ids[1::2])] == ids[1::2]
    numbers = [body["data"] for body in receiver.bodies() if body["type"] == "a.b"]
    assert printed
    assert set(printed) <= set(numbers)
    for lane in range(2):
        of_lane = [number for number in numbers if number % 2 == lane]
        assert of_lane == sorted(of_lane)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_forked_child(tmp_path):
    """A forked child enqueues; its parent keeps the lock, and sends for both."""
    with Receiver() as receiver, make_hook(receiver.url, tmp_path) as hook:
        hook.send("a.b", "parent")
        assert hook.flush(PATIENCE_S)
        child = os.fork()
        if not child:
            code = 1
            try:
                hook.send("a.b", "child")
                code = 0 if hook.flush(PATIENCE_S) and not hook.stats()["is_owner"] else 2
            finally:
                os._exit(code)
        _pid, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert hook.stats()["is_owner"]
    assert [body["data"] for body in receiver.bodies()] == ["parent", "child"]


SCRIPT = """
import sys
from tests.delivery.hooks import SEIS, bar, make_hook
hook = make_hook(sys.argv[1], sys.argv[2])
hook(SEIS, bar())
print(hook.outbox.pending()[0].id)
"""


def test_program_ends_while_messages_wait(tmp_path):
    """A webhook that cannot deliver keeps no program alive; the next program has the same id."""
    url = "http://127.0.0.1:1/hook"
    path = str(tmp_path / "outbox.db")
    started = time.monotonic()
    ended = run("-c", SCRIPT, url, path)
    assert time.monotonic() - started < PATIENCE_S
    assert (ended.returncode, ended.stderr) == (0, "")
    with make_hook(url, tmp_path) as hook:
        hook(SEIS, bar())
        assert [message.id for message in hook.outbox.pending()] == [ended.stdout.strip()]


INTERRUPTED = """
import sys, threading, time, _thread
from tests.delivery.hooks import make_hook
with make_hook(sys.argv[1], sys.argv[2]) as hook:
    threading.Timer(0.3, _thread.interrupt_main).start()
    try:
        while True:
            hook.send("a.b", 1)
    except KeyboardInterrupt:
        before = len(hook.outbox.pending())
        hook.send("a.b", 2)
        print(len(hook.outbox.pending()) - before)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="interrupts as POSIX has them")
def test_interrupt(tmp_path):
    """After Ctrl-C in a call the outbox works as before."""
    ended = run("-c", INTERRUPTED, "http://127.0.0.1:1/hook", str(tmp_path / "outbox.db"))
    assert (ended.returncode, ended.stdout) == (0, "1\n")
    assert "Traceback" not in ended.stderr
