"""The threads of a feed: at most one at a time, whatever goes wrong while it starts."""

import threading

import pytest

from tests.scale import PATIENCE_S
from tvDatafeed.common.deadline import Deadline
from tvDatafeed.live.callbacks import CallbackThread
from tvDatafeed.live.feedlock import FeedLock, FeedThread


@pytest.fixture
def feed():
    return FeedLock()


def always():
    return True


def never():
    return False


def test_one_thread_at_a_time(feed):
    """A second start does nothing while the thread runs; `join` waits for its end."""
    go, runs = threading.Event(), []
    thread = FeedThread(feed, "one")

    def target():
        runs.append(thread.is_current)
        go.wait(PATIENCE_S)
        with feed.lock:
            thread.clear()

    thread.start(target, is_needed=never)
    assert thread.thread is None
    thread.start(target, is_needed=always)
    thread.start(target, is_needed=always)
    assert not thread.join(Deadline(0.05), is_needed_again=never)
    assert thread.join(Deadline(PATIENCE_S), is_needed_again=always)
    go.set()
    assert thread.join(Deadline(PATIENCE_S), is_needed_again=never)
    assert runs == [True]


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), KeyboardInterrupt()])
def test_thread_that_does_not_start(feed, monkeypatch, error):
    """It leaves nothing: a thread that waits for its end continues, and the next start works."""
    thread, joined = FeedThread(feed, "one"), []
    waiter = threading.Thread(
        target=lambda: joined.append(thread.join(Deadline(PATIENCE_S), is_needed_again=never))
    )
    real = threading.Thread.start

    def refuse(_thread):
        monkeypatch.undo()
        real(waiter)
        raise error

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(type(error)):
        thread.start(print, is_needed=always)
    waiter.join(PATIENCE_S)
    assert joined == [True]
    ran = threading.Event()

    def target():
        with feed.lock:
            thread.clear()
        ran.set()

    thread.start(target, is_needed=always)
    assert ran.wait(PATIENCE_S)
    assert thread.join(Deadline(PATIENCE_S), is_needed_again=never)


def test_a_call_that_comes_just_before_the_end_is_made(feed):
    """The thread of the hooks makes it, and ends then."""
    callbacks, entered, go, calls = CallbackThread(feed), threading.Event(), threading.Event(), []

    def slow():
        entered.set()
        go.wait(PATIENCE_S)

    with feed.lock:
        callbacks.open()
    callbacks.start()
    callbacks.queue(slow)
    assert entered.wait(PATIENCE_S)
    with feed.lock:
        callbacks.close()
    # As by a thread that has just seen the feed open; it cannot be stopped there from outside.
    callbacks._calls.put((calls.append, ("late",)))
    go.set()
    assert callbacks.join(PATIENCE_S)
    assert calls == ["late"]
    assert callbacks.thread is None
