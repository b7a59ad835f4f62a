"""The schedule of a destination: whose turn it is, without clocks and threads."""

import math

import pytest

from tvDatafeed.delivery.retry import RetryPolicy
from tvDatafeed.delivery.schedule import Schedule, judge

POLICY = RetryPolicy(jitter=0.0)


@pytest.fixture
def schedule():
    """A schedule of eight connections, with ten lanes that are due."""
    made = Schedule(POLICY, 8)
    for number in range(10):
        made.add(f"lane {number}", 0.0)
    return made


def take(schedule, now_s):
    """Return the lanes that may send now."""
    lanes = []
    while lane := schedule.next(now_s):
        lanes.append(lane)
    return lanes


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        *[(status, "delivered") for status in (200, 201, 202, 204, 299)],
        *[(status, "retry") for status in (None, 408, 425, 429, 500, 502, 503, 504, 599)],
        *[(status, "refused") for status in (300, 301, 304, 307, 400, 401, 403, 404, 413, 422)],
        (410, "gone"),
    ],
)
def test_what_a_status_means(status, verdict):
    """Statuses that may pass are tried again; the others are final."""
    assert judge(status) == verdict


def test_connections_are_the_limit(schedule):
    """As many lanes as there are connections send side by side, each once."""
    lanes = take(schedule, 0.0)
    assert len({lane.name for lane in lanes}) == 8
    schedule.delivered(lanes[0], 0.1)
    assert [lane.name for lane in take(schedule, 0.1)] == ["lane 8"]
    assert schedule.wait_s(0.1) == math.inf


def test_pauses_of_a_message():
    """A message waits 5, 10, 20, 40, 80 s, then twice as long up to 15 minutes."""
    schedule = Schedule(POLICY, 8)
    lane, now_s, pauses = schedule.add("a", 0.0), 0.0, []
    for attempt in range(1, 11):
        assert schedule.next(now_s) is lane
        pauses.append(schedule.failed(lane, now_s, attempt))
        assert schedule.next(now_s + pauses[-1] - 0.1) is None
        now_s += pauses[-1]
    assert pauses == [5, 10, 20, 40, 80, 160, 320, 640, 900, 900]


def test_failing_destination_is_probed_one_by_one(schedule):
    """After a failure one message is in flight, that which was tried longest ago."""
    for lane in take(schedule, 0.0):
        schedule.failed(lane, 1.0, 1)
    assert [lane.name for lane in take(schedule, 1.0)] == ["lane 8"]
    schedule.failed(schedule.lanes["lane 8"], 2.0, 1)
    assert take(schedule, 2.0) == []
    assert schedule.wait_s(2.0) == 5.0
    assert [lane.name for lane in take(schedule, 7.0)] == ["lane 9"]


def test_recovery_is_in_steps(schedule):
    """After a success 2, 4 and 8 lanes send, and those that waited are due."""
    for lane in take(schedule, 0.0):
        schedule.failed(lane, 1.0, 6)
    probe = take(schedule, 1.0)
    steps = []
    while probe:
        steps.append(len(probe))
        for lane in probe:
            schedule.delivered(lane, 2.0)
        probe = take(schedule, 2.0)
        if len(steps) == 5:
            break
    assert steps == [1, 2, 4, 8, 8]


def test_refused_lane_waits_alone():
    """One lane that fails again and again delays no other one."""
    schedule = Schedule(POLICY, 8)
    bad, good = schedule.add("bad", 0.0), schedule.add("good", 1.0)
    now_s = 0.0
    for attempt in range(1, 30):
        assert schedule.next(now_s) is bad
        pause_s = schedule.failed(bad, now_s, attempt)
        good.due_s = now_s + 1.0
        assert schedule.next(now_s + 1.0) is good
        schedule.delivered(good, now_s + 1.0)
        if attempt > 1:
            assert bad.due_s == now_s + pause_s
        now_s = bad.due_s
        good.due_s = math.inf


def test_retry_after_holds_for_the_destination(schedule):
    """While the receiver asks to wait, no lane sends."""
    first = schedule.next(0.0)
    assert schedule.failed(first, 1.0, 1, 30.0) == 30.0
    assert schedule.next(30.9) is None
    assert schedule.wait_s(1.0) == 30.0
    assert schedule.next(31.0) is not None


def test_gone_destination(schedule):
    """A destination that is gone gets nothing, and is probed when it is enabled."""
    schedule.gone(schedule.next(0.0), 0.0)
    assert take(schedule, 1e6) == []
    assert schedule.wait_s(1e6) == math.inf
    schedule.is_disabled = False
    assert len(take(schedule, 1e6)) == 1
