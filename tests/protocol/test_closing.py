"""Closed bars are told once and in order, whatever the order in which updates come."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tvDatafeed.protocol.closing import KEPT_BARS, CloseTracker, LiveUpdate
from tvDatafeed.protocol.messages import Bar


def bar(time, close=1.0, volume=1.0):
    return Bar(time, 1.0, 1.0, 1.0, close, volume)


def times(update):
    return [b.time for b in update.closed]


def test_a_newer_bar_closes_the_one_before():
    """Without a clock only a successor closes a bar."""
    tracker = CloseTracker(None, 60)
    tracker.take([bar(60)], 120)
    assert tracker.collect_closed(None) == LiveUpdate(forming=bar(60))
    tracker.take([bar(60, 2.0), bar(120)], 180)
    assert tracker.collect_closed(125.0) == LiveUpdate(
        closed=(bar(60, 2.0),), forming=bar(120), lag_s=5.0, last=bar(60, 2.0)
    )
    assert tracker.closes_at_s == 182.0


def test_the_clock_closes_the_last_bar():
    """Two seconds after its close, and then it is told with the time that took."""
    tracker = CloseTracker(bar(0), 60)
    tracker.take([bar(60)], 120)
    assert tracker.collect_closed(122.0).closed == ()
    update = tracker.collect_closed(122.5)
    assert (times(update), update.forming, update.by_clock, update.lag_s) == ([60], None, True, 2.5)
    assert tracker.closes_at_s == math.inf
    assert tracker.collect_closed(500.0).is_empty


def test_a_server_that_says_no_close_is_given_twice_the_length():
    """What it means is not known, so the lag is not either."""
    tracker = CloseTracker(None, 60)
    tracker.take([bar(60)], None)
    assert tracker.closes_at_s == 182.0
    update = tracker.collect_closed(183.0)
    assert (times(update), update.lag_s) == ([60], None)


def test_what_was_told_before_is_not_told_again():
    """The bar that was told last, and all before it, are known."""
    tracker = CloseTracker(bar(120), 60)
    tracker.take([bar(60), bar(120), bar(180), bar(240)], 300)
    assert tracker.collect_closed(250.0) == LiveUpdate(
        closed=(bar(180),), forming=bar(240), last=bar(180)
    )


@pytest.mark.parametrize("volume", [1.0, math.nan])
def test_a_correction_is_counted_once(volume):
    """A bar that changes after it was told is not told again; a number that is missing is equal."""
    tracker = CloseTracker(bar(60, volume=volume), 60)
    tracker.take([bar(60, volume=volume), bar(120)], 180)
    assert tracker.collect_closed(None).corrections == 0
    tracker.take([bar(60, 9.0, volume)], None)
    update = tracker.collect_closed(None)
    assert (update.closed, update.forming, update.corrections) == ((), bar(120), 1)
    assert (update.last.time, update.last.close) == (60, 9.0)
    tracker.take([bar(60, 9.0, volume)], None)
    assert tracker.collect_closed(None).corrections == 0


def test_a_bar_that_comes_too_late_is_a_gap():
    """Between two that were told it cannot be told in order, and that is said."""
    tracker = CloseTracker(bar(60), 60)
    tracker.take([bar(180), bar(240)], 300)
    assert times(tracker.collect_closed(None)) == [180]
    tracker.take([bar(120)], None)
    assert tracker.collect_closed(None) == LiveUpdate(
        forming=bar(240), gaps=((120, 120),), last=bar(180)
    )
    tracker.take([bar(120)], None)
    assert tracker.collect_closed(None).gaps == ()


def test_a_bar_that_comes_late_but_in_order_is_told():
    """A successor that overtook it closes it at once."""
    tracker = CloseTracker(bar(60), 60)
    tracker.take([bar(180)], 240)
    tracker.take([bar(120)], None)
    assert tracker.collect_closed(None) == LiveUpdate(
        closed=(bar(120),), forming=bar(180), last=bar(120)
    )
    assert tracker.closes_at_s == 242.0


def test_memory_is_bounded_and_the_past_is_ignored():
    """The whole history over again says nothing, and only the last bars are kept."""
    tracker = CloseTracker(None, 60)
    history = [bar(60.0 * n) for n in range(1, 1001)]
    tracker.take(history, None)
    assert len(tracker.collect_closed(None).closed) == 999
    assert len(tracker._closed) == KEPT_BARS
    tracker.take(history, None)
    assert tracker.collect_closed(None) == LiveUpdate(forming=history[-1], last=history[-2])


BARS = st.builds(bar, st.integers(1, 15).map(float), st.integers(0, 2).map(float))
STEPS = st.lists(st.one_of(st.lists(BARS, max_size=5), st.floats(0, 40), st.none()), max_size=25)


@given(st.none() | BARS, STEPS)
def test_any_updates_in_any_order(after, steps):
    """Closed bars are strictly increasing and unique, and each one that came is accounted for."""
    tracker = CloseTracker(after, 1.0)
    told, gaps, seen = [], [], set()
    for step in steps:
        if isinstance(step, list):
            tracker.take(step, None)
            seen |= {b.time for b in step}
        update = tracker.collect_closed(step if isinstance(step, float) else None)
        told += times(update)
        gaps += [start for start, _end in update.gaps]
        if update.forming is not None:
            assert not told or update.forming.time > told[-1]
    update = tracker.collect_closed(1000.0)
    told += times(update)
    assert told == sorted(set(told))
    assert not set(told) & set(gaps)
    first = after.time if after is not None else min(told, default=0)
    # What is older than all that was told is none of a live series.
    assert {time for time in seen if time > first} <= {*told, *gaps}
    assert after is None or not told or told[0] > after.time
