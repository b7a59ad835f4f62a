"""Timers run when they are due, at most one for each key."""

import math
import time

from tests.feed import until
from tvDatafeed.live.timers import TimerQueue


def test_due_timers_run_in_order():
    """`run_due` returns when the next timer is due."""
    timers, done = TimerQueue(), []
    assert timers.run_due() == math.inf
    timers.schedule("a", 0.02, lambda key: done.append(("late", key)))
    timers.schedule("b", 0.0, lambda key: done.append(("early", key)))
    before = time.monotonic()
    assert before < timers.run_due() < before + 0.02
    assert done == [("early", "b")]
    assert until(lambda: timers.run_due() == math.inf)
    assert done == [("early", "b"), ("late", "a")]
    assert len(timers) == 0


def test_a_new_timer_replaces_the_one_before():
    """Also one that is due later; a cancelled timer does not run."""
    timers, done = TimerQueue(), []
    timers.schedule("a", 0.0, lambda _key: done.append("first"))
    timers.schedule("a", 0.01, lambda _key: done.append("second"))
    timers.schedule("b", 0.0, lambda _key: done.append("dropped"))
    timers.cancel("b")
    timers.cancel("c")
    assert until(lambda: timers.run_due() == math.inf)
    assert done == ["second"]


def test_replaced_timers_take_no_room():
    """A timer that is replaced ten thousand times leaves a short heap."""
    timers = TimerQueue()
    for _ in range(10_000):
        timers.schedule("a", 300.0, print)
    assert len(timers) == 1
    # The heap is the memory that the test is about.
    assert len(timers._heap) < 200


def test_a_timer_may_schedule_another():
    """What it timers for now is done at once."""
    timers, done = TimerQueue(), []

    def again(key):
        done.append(key)
        if len(done) < 3:
            timers.schedule(key, 0.0, again)

    timers.schedule("a", 0.0, again)
    assert timers.run_due() == math.inf
    assert done == ["a"] * 3
