"""Deadlines."""

import doctest
import time

import pytest

from tvDatafeed import utils
from tvDatafeed.common import deadline as module
from tvDatafeed.common.deadline import Deadline


class Clock:
    """A clock that moves only when a test moves it."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def test_a_deadline_counts_down_and_stops_at_zero():
    """What remains shrinks with the clock and is never negative."""
    clock = Clock()
    deadline = Deadline(10, clock)
    assert deadline.at == 1010
    assert deadline.remaining() == 10
    assert not deadline.expired
    clock.now += 9.5
    assert deadline.remaining() == 0.5
    assert repr(deadline) == "Deadline(0.500)"
    clock.now += 0.5
    assert deadline.expired
    clock.now += 100
    assert deadline.remaining() == 0
    assert deadline.expired


def test_a_deadline_without_a_limit_never_expires():
    """None means that there is no limit."""
    clock = Clock()
    deadline = Deadline(None, clock)
    clock.now += 1e9
    assert deadline.at is None
    assert deadline.remaining() is None
    assert not deadline.expired
    assert repr(deadline) == "Deadline(None)"


@pytest.mark.parametrize(
    ("limit", "seconds", "clipped"),
    [(10, 3, 3), (10, 30, 10), (10, None, 10), (None, 3, 3), (None, None, None), (0, 3, 0)],
)
def test_a_wait_is_clipped_to_the_deadline(limit, seconds, clipped):
    """One wait takes no longer than the whole operation may."""
    assert Deadline(limit, Clock()).clip(seconds) == clipped


def test_a_deadline_runs_on_the_monotonic_clock():
    """Without a clock of its own a deadline is a moment of time.monotonic."""
    before = time.monotonic()
    deadline = Deadline(5)
    assert before + 5 <= deadline.at <= time.monotonic() + 5


def test_utils_hands_the_class_on():
    """Programs that import it from its old place get the same class."""
    assert utils.Deadline is Deadline


def test_the_examples_run():
    """What the documentation shows is what happens."""
    assert doctest.testmod(module).failed == 0
