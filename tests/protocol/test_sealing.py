"""Closed bars are told once and in order, whatever the order in which updates come."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tvDatafeed.protocol.messages import Bar
from tvDatafeed.protocol.sealing import KEPT_BARS, Moved, Sealer


def bar(time, close=1.0, volume=1.0):
    return Bar(time, 1.0, 1.0, 1.0, close, volume)


def times(moved):
    return [b.time for b in moved.closed]


def test_a_newer_bar_closes_the_one_before():
    """Without a clock only a successor closes a bar."""
    sealer = Sealer(None, 60)
    sealer.take([bar(60)], 120)
    assert sealer.seal(None) == Moved(forming=bar(60))
    sealer.take([bar(60, 2.0), bar(120)], 180)
    assert sealer.seal(125.0) == Moved(
        closed=(bar(60, 2.0),), forming=bar(120), lag_s=5.0, last=bar(60, 2.0)
    )
    assert sealer.closes_at_s == 182.0


def test_the_clock_closes_the_last_bar():
    """Two seconds after its close, and then it is told with the time that took."""
    sealer = Sealer(bar(0), 60)
    sealer.take([bar(60)], 120)
    assert sealer.seal(122.0).closed == ()
    moved = sealer.seal(122.5)
    assert (times(moved), moved.forming, moved.by_clock, moved.lag_s) == ([60], None, True, 2.5)
    assert sealer.closes_at_s == math.inf
    assert sealer.seal(500.0).is_nothing


def test_a_server_that_says_no_close_is_given_twice_the_length():
    """What it means is not known, so the lag is not either."""
    sealer = Sealer(None, 60)
    sealer.take([bar(60)], None)
    assert sealer.closes_at_s == 182.0
    moved = sealer.seal(183.0)
    assert (times(moved), moved.lag_s) == ([60], None)


def test_what_was_told_before_is_not_told_again():
    """The bar that was told last, and all before it, are known."""
    sealer = Sealer(bar(120), 60)
    sealer.take([bar(60), bar(120), bar(180), bar(240)], 300)
    assert sealer.seal(250.0) == Moved(closed=(bar(180),), forming=bar(240), last=bar(180))


@pytest.mark.parametrize("volume", [1.0, math.nan])
def test_a_correction_is_counted_once(volume):
    """A bar that changes after it was told is not told again; a number that is missing is equal."""
    sealer = Sealer(bar(60, volume=volume), 60)
    sealer.take([bar(60, volume=volume), bar(120)], 180)
    assert sealer.seal(None).corrections == 0
    sealer.take([bar(60, 9.0, volume)], None)
    moved = sealer.seal(None)
    assert (moved.closed, moved.forming, moved.corrections) == ((), bar(120), 1)
    assert (moved.last.time, moved.last.close) == (60, 9.0)
    sealer.take([bar(60, 9.0, volume)], None)
    assert sealer.seal(None).corrections == 0


def test_a_bar_that_comes_too_late_is_a_gap():
    """Between two that were told it cannot be told in order, and that is said."""
    sealer = Sealer(bar(60), 60)
    sealer.take([bar(180), bar(240)], 300)
    assert times(sealer.seal(None)) == [180]
    sealer.take([bar(120)], None)
    assert sealer.seal(None) == Moved(forming=bar(240), gaps=((120, 120),), last=bar(180))
    sealer.take([bar(120)], None)
    assert sealer.seal(None).gaps == ()


def test_a_bar_that_comes_late_but_in_order_is_told():
    """A successor that overtook it closes it at once."""
    sealer = Sealer(bar(60), 60)
    sealer.take([bar(180)], 240)
    sealer.take([bar(120)], None)
    assert sealer.seal(None) == Moved(closed=(bar(120),), forming=bar(180), last=bar(120))
    assert sealer.closes_at_s == 242.0


def test_memory_is_bounded_and_the_past_is_ignored():
    """The whole history over again says nothing, and only the last bars are kept."""
    sealer = Sealer(None, 60)
    history = [bar(60.0 * n) for n in range(1, 1001)]
    sealer.take(history, None)
    assert len(sealer.seal(None).closed) == 999
    assert len(sealer._sealed) == KEPT_BARS  # memory is not seen from outside
    sealer.take(history, None)
    assert sealer.seal(None) == Moved(forming=history[-1], last=history[-2])


BARS = st.builds(bar, st.integers(1, 15).map(float), st.integers(0, 2).map(float))
STEPS = st.lists(st.one_of(st.lists(BARS, max_size=5), st.floats(0, 40), st.none()), max_size=25)


@given(st.none() | BARS, STEPS)
def test_any_updates_in_any_order(after, steps):
    """Closed bars are strictly increasing and unique, and each one that came is accounted for."""
    sealer = Sealer(after, 1.0)
    told, gaps, seen = [], [], set()
    for step in steps:
        if isinstance(step, list):
            sealer.take(step, None)
            # What is older than all that is remembered is none of a live series.
            known = sorted({*told, *gaps, *([after.time] if after else [])})[-KEPT_BARS:]
            seen |= {b.time for b in step if not known or b.time > known[0]}
        moved = sealer.seal(step if isinstance(step, float) else None)
        told += times(moved)
        gaps += [start for start, _end in moved.gaps]
        if moved.forming is not None:
            assert not told or moved.forming.time > told[-1]
    moved = sealer.seal(1000.0)
    told += times(moved)
    assert told == sorted(set(told))
    assert not set(told) & set(gaps)
    first = after.time if after is not None else min(told, default=0)
    assert {time for time in seen if time > first} <= {*told, *gaps}
    assert after is None or not told or told[0] > after.time
