"""What is planned is done when it is due, and one thing for each."""

import math
import time

from tests.live import until
from tvDatafeed.plans import Plans


def test_what_is_due_is_done_in_order():
    """And the next moment is told."""
    plans, done = Plans(), []
    assert plans.run() == math.inf
    plans.add(0.02, lambda key: done.append(("late", key)), "a")
    plans.add(0.0, lambda key: done.append(("early", key)), "b")
    before = time.monotonic()
    assert before < plans.run() < before + 0.02
    assert done == [("early", "b")]
    assert until(lambda: plans.run() == math.inf)
    assert done == [("early", "b"), ("late", "a")]
    assert len(plans) == 0


def test_a_later_plan_replaces_the_one_before():
    """Also by a later moment; and one that was dropped is not done."""
    plans, done = Plans(), []
    plans.add(0.0, lambda _key: done.append("first"), "a")
    plans.add(0.01, lambda _key: done.append("second"), "a")
    plans.add(0.0, lambda _key: done.append("dropped"), "b")
    plans.drop("b")
    plans.drop("c")
    assert until(lambda: plans.run() == math.inf)
    assert done == ["second"]


def test_what_was_replaced_takes_no_room():
    """However often it happens."""
    plans = Plans()
    for _ in range(10_000):
        plans.add(300.0, print, "a")
    assert len(plans) == 1
    assert len(plans._heap) < 200  # memory is not seen from outside


def test_a_plan_may_plan():
    """What it plans for now is done at once."""
    plans, done = Plans(), []

    def again(key):
        done.append(key)
        if len(done) < 3:
            plans.add(0.0, again, key)

    plans.add(0.0, again, "a")
    assert plans.run() == math.inf
    assert done == ["a"] * 3
