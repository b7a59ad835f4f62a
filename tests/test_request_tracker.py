"""RequestTracker counts the requests of a window and advises when to throttle."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.callers import Caller, Clock
from tvDatafeed.ratelimit import RequestTracker


@pytest.fixture
def clock():
    """A clock that stands still."""
    return Clock()


def test_requests_count_until_the_window_has_passed(clock):
    """A request counts for window_seconds and no longer."""
    tracker = RequestTracker(10, clock=clock)
    assert tracker.get_request_count() == 0
    tracker.add_request()
    clock.now += 4
    tracker.add_request()
    clock.now += 5.5
    assert tracker.get_request_count() == 2
    clock.now += 0.5
    assert tracker.get_request_count() == 1
    clock.now += 4
    assert tracker.get_request_count() == 0


def test_throttling_is_advised_from_the_limit_on(clock):
    """The advice holds as long as the window holds max_requests."""
    tracker = RequestTracker(10, max_requests=2, clock=clock)
    tracker.add_request()
    assert tracker.should_throttle() is False
    clock.now += 1
    tracker.add_request()
    assert tracker.should_throttle() is True
    clock.now += 9
    assert tracker.should_throttle() is False


def test_the_defaults_are_sixty_requests_in_sixty_seconds():
    """A tracker without arguments runs on the monotonic clock."""
    tracker = RequestTracker()
    assert (tracker.window_seconds, tracker.max_requests) == (60, 60)
    for _ in range(59):
        tracker.add_request()
    assert not tracker.should_throttle()
    tracker.add_request()
    assert tracker.should_throttle()


@given(pauses=st.lists(st.integers(0, 5)), window=st.integers(1, 20), limit=st.integers(1, 10))
def test_the_count_is_that_of_the_window_up_to_the_limit(pauses, window, limit):
    """It does not matter how often or when the count was requested."""
    clock = Clock()
    tracker = RequestTracker(window, max_requests=limit, clock=clock)
    moments = []
    for pause in pauses:
        clock.now += pause
        tracker.add_request()
        moments.append(clock.now)
        recent = [moment for moment in moments if clock.now - moment < window]
        assert tracker.get_request_count() == min(len(recent), limit)


def test_requests_of_many_threads_are_all_counted():
    """No request is lost between two threads."""
    tracker = RequestTracker(max_requests=10_000)

    def work():
        for _ in range(500):
            tracker.add_request()
            tracker.should_throttle()

    for caller in [Caller(work) for _ in range(8)]:
        caller.result()
    assert tracker.get_request_count() == 4000
