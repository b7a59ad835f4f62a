"""Closed bars are reported once and in order, in whatever order their updates arrive."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tvDatafeed.protocol.bars import Bar
from tvDatafeed.protocol.closing import (
    KEPT_BARS,
    PONG_PATIENCE_S,
    CloseSchedule,
    CloseTracker,
    LiveUpdate,
)


def bar(time, close=1.0, volume=1.0):
    return Bar(time, 1.0, 1.0, 1.0, close, volume)


def times(update):
    return [b.time for b in update.closed]


def test_a_newer_bar_closes_the_one_before():
    """Without a clock only a successor closes a bar."""
    tracker = CloseTracker(None, 60)
    tracker.add([bar(60)], 120)
    assert tracker.collect_closed(None) == LiveUpdate(forming=bar(60))
    tracker.add([bar(60, 2.0), bar(120)], 180)
    assert tracker.collect_closed(125.0) == LiveUpdate(
        closed=(bar(60, 2.0),), forming=bar(120), lag_s=5.0, last=bar(60, 2.0)
    )
    assert tracker.closes_at_s == 182.0


def test_the_clock_closes_the_last_bar():
    """Two seconds after its close; the update has the lag."""
    tracker = CloseTracker(bar(0), 60)
    tracker.add([bar(60)], 120)
    assert tracker.collect_closed(122.0).closed == ()
    update = tracker.collect_closed(122.5)
    assert (times(update), update.forming, update.by_clock, update.lag_s) == ([60], None, True, 2.5)
    assert tracker.closes_at_s == math.inf
    assert tracker.collect_closed(500.0).is_empty


def test_a_bar_without_a_close_time_is_closed_after_twice_its_length():
    """Its true close time is not known, so the lag is not known either."""
    tracker = CloseTracker(None, 60)
    tracker.add([bar(60)], None)
    assert tracker.closes_at_s == 182.0
    update = tracker.collect_closed(183.0)
    assert (times(update), update.lag_s) == ([60], None)


def test_a_reported_bar_is_not_reported_again():
    """The last known bar and all bars before it are skipped."""
    tracker = CloseTracker(bar(120), 60)
    tracker.add([bar(60), bar(120), bar(180), bar(240)], 300)
    assert tracker.collect_closed(250.0) == LiveUpdate(
        closed=(bar(180),), forming=bar(240), last=bar(180)
    )


@pytest.mark.parametrize("volume", [1.0, math.nan])
def test_a_correction_is_counted_once(volume):
    """A closed bar that changes is counted, not reported again; two missing numbers are equal."""
    tracker = CloseTracker(bar(60, volume=volume), 60)
    tracker.add([bar(60, volume=volume), bar(120)], 180)
    assert tracker.collect_closed(None).corrections == 0
    tracker.add([bar(60, 9.0, volume)], None)
    update = tracker.collect_closed(None)
    assert (update.closed, update.forming, update.corrections) == ((), bar(120), 1)
    assert (update.last.time, update.last.close) == (60, 9.0)
    tracker.add([bar(60, 9.0, volume)], None)
    assert tracker.collect_closed(None).corrections == 0


def test_a_bar_that_arrives_too_late_is_a_gap():
    """Between two reported bars it can no longer be reported in order."""
    tracker = CloseTracker(bar(60), 60)
    tracker.add([bar(180), bar(240)], 300)
    assert times(tracker.collect_closed(None)) == [180]
    tracker.add([bar(120)], None)
    assert tracker.collect_closed(None) == LiveUpdate(
        forming=bar(240), gaps=((120, 120),), last=bar(180)
    )
    tracker.add([bar(120)], None)
    assert tracker.collect_closed(None).gaps == ()


def test_a_bar_that_arrives_late_but_in_order_is_reported():
    """A newer bar that overtook it closes it at once."""
    tracker = CloseTracker(bar(60), 60)
    tracker.add([bar(180)], 240)
    tracker.add([bar(120)], None)
    assert tracker.collect_closed(None) == LiveUpdate(
        closed=(bar(120),), forming=bar(180), last=bar(120)
    )
    assert tracker.closes_at_s == 242.0


def test_memory_is_bounded_and_the_past_is_ignored():
    """The same history again changes nothing, and only the last bars are kept."""
    tracker = CloseTracker(None, 60)
    history = [bar(60.0 * n) for n in range(1, 1001)]
    tracker.add(history, None)
    assert len(tracker.collect_closed(None).closed) == 999
    tracker.add(history, None)
    assert tracker.collect_closed(None) == LiveUpdate(forming=history[-1], last=history[-2])
    # A bar that is kept can be corrected; an older one is ignored.
    for older, corrections in ((KEPT_BARS, 1), (KEPT_BARS + 1, 0)):
        tracker.add([bar(history[-1 - older].time, 9.0)], None)
        update = tracker.collect_closed(None)
        assert (update.corrections, update.gaps) == (corrections, ())


BARS = st.builds(bar, st.integers(1, 15).map(float), st.integers(0, 2).map(float))
STEPS = st.lists(st.one_of(st.lists(BARS, max_size=5), st.floats(0, 40), st.none()), max_size=25)


@given(st.none() | BARS, STEPS)
def test_any_updates_in_any_order(after, steps):
    """Closed bars are strictly increasing, and each bar is either reported or a gap."""
    tracker = CloseTracker(after, 1.0)
    reported, gaps, seen = [], [], set()
    for step in steps:
        if isinstance(step, list):
            tracker.add(step, None)
            # A bar older than all that are remembered is not part of the live series.
            known = sorted({*reported, *gaps, *([after.time] if after else [])})[-KEPT_BARS:]
            seen |= {b.time for b in step if not known or b.time > known[0]}
        update = tracker.collect_closed(step if isinstance(step, float) else None)
        reported += times(update)
        gaps += [start for start, _end in update.gaps]
        if update.forming is not None:
            assert not reported or update.forming.time > reported[-1]
    update = tracker.collect_closed(1000.0)
    reported += times(update)
    assert reported == sorted(set(reported))
    assert not set(reported) & set(gaps)
    first = after.time if after is not None else min(reported, default=0)
    assert {time for time in seen if time > first} <= {*reported, *gaps}
    assert after is None or not reported or reported[0] > after.time


def schedule_with(lead_s=1000.0, **closes):
    """Return a schedule of series by their close times, on a server that is ahead by `lead_s`."""
    schedule = CloseSchedule()
    schedule.set_server_time(lead_s, 0.0)
    for session, closes_at_s in closes.items():
        schedule.plan(session, closes_at_s)
    return schedule


def test_a_bar_is_due_after_its_close_by_the_servers_clock():
    """It is closed after the pong; until then it is due once, and asks for one ping."""
    schedule = schedule_with(cs_a=1060.0, cs_b=1120.0)
    assert schedule.next_due_at == pytest.approx(60.001)
    assert not schedule.mark_due(60.0)
    assert schedule.mark_due(60.01)
    assert not schedule.mark_due(60.02)
    assert schedule.next_due_at == pytest.approx(120.001)
    assert schedule.confirmed(60.1) == ["cs_a"]
    assert schedule.confirmed(60.2) == []


def test_bars_that_are_over_together_share_a_ping():
    """A thousand series of one interval become due at once."""
    schedule = schedule_with(**{f"cs_{n}": 1060.0 for n in range(1000)})
    assert schedule.mark_due(61.0)
    assert schedule.next_due_at == math.inf
    assert len(schedule.confirmed(61.0)) == 1000


def test_a_pong_from_before_a_bar_was_due_does_not_confirm_it():
    """It answers an earlier ping."""
    schedule = schedule_with(cs_a=1060.0, cs_b=1060.5)
    schedule.mark_due(60.1)
    schedule.mark_due(60.6)
    assert schedule.confirmed(60.3) == ["cs_a"]
    assert schedule.confirmed(60.7) == ["cs_b"]


def test_an_update_of_a_due_series_takes_another_ping():
    """Its bar is not closed by the pong that was requested before."""
    schedule = schedule_with(cs_a=1060.0)
    schedule.mark_due(61.0)
    schedule.plan("cs_a", 1060.0)
    assert schedule.confirmed(61.1) == []
    assert schedule.next_due_at == pytest.approx(60.001)
    assert schedule.mark_due(61.2)
    assert schedule.confirmed(61.3) == ["cs_a"]


def test_without_pongs_a_bar_is_overdue_after_a_while():
    """Only the series that have been due for long enough are returned."""
    schedule = schedule_with(cs_a=1060.0, cs_b=1065.0)
    assert schedule.overdue(100.0) == []
    schedule.mark_due(61.0)
    schedule.mark_due(66.0)
    assert schedule.overdue(60.9 + PONG_PATIENCE_S) == []
    assert schedule.overdue(61.0 + PONG_PATIENCE_S) == ["cs_a"]
    assert schedule.overdue(90.0) == ["cs_b"]


def test_without_a_clock_no_bar_is_due():
    """The series that wait become due once the server has sent its time."""
    schedule = CloseSchedule()
    schedule.plan("cs_a", 1060.0)
    assert schedule.server_time_s(5.0) is None
    assert schedule.next_due_at == math.inf
    assert not schedule.mark_due(1e9)
    schedule.set_server_time(1000.0, 5.0)
    assert schedule.server_time_s(6.0) == 1001.0
    assert schedule.next_due_at == pytest.approx(65.001)


def test_a_clock_that_is_set_moves_all_that_wait():
    """Close times are in the server's time, so its newest clock counts."""
    schedule = schedule_with(cs_a=1060.0)
    schedule.set_server_time(980.0, 10.0)
    assert schedule.next_due_at == pytest.approx(90.001)


def test_a_series_that_is_removed_is_not_returned():
    """Whether it waits, is due, or was never there."""
    schedule = schedule_with(cs_a=1060.0, cs_b=1070.0)
    schedule.mark_due(61.0)
    for session in ("cs_a", "cs_b", "cs_c"):
        schedule.remove(session)
    assert schedule.confirmed(62.0) == []
    assert not schedule.mark_due(80.0)
    assert schedule.next_due_at == math.inf


def test_a_series_without_a_forming_bar_waits_for_an_update():
    """Infinity means that no bar can close."""
    schedule = schedule_with(cs_a=math.inf)
    assert schedule.next_due_at == math.inf
    schedule.plan("cs_a", 1060.0)
    assert schedule.mark_due(61.0)


PLANS = st.dictionaries(st.sampled_from("abc"), st.integers(1, 30).map(float), max_size=3)


@given(st.lists(st.tuples(PLANS, st.integers(0, 5), st.booleans()), max_size=20))
def test_every_bar_is_returned_once_and_not_before_its_time(steps):
    """Whatever is planned in whatever order, a pong closes what is over and nothing else."""
    schedule, expected, now = schedule_with(lead_s=0.0), {}, 0.5
    for plans, seconds, has_pong in steps:
        for session, closes_at_s in plans.items():
            schedule.plan(session, closes_at_s)
            expected[session] = closes_at_s
        now += seconds
        schedule.mark_due(now)
        if has_pong:
            over = {session for session, closes_at_s in expected.items() if closes_at_s < now}
            assert set(schedule.confirmed(now)) == over
            for session in over:
                del expected[session]
        nearest = min((s for s in expected.values() if s >= now), default=math.inf)
        assert now < schedule.next_due_at <= nearest + 0.001
