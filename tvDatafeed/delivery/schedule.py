"""Which lane of a destination may send now. No I/O, no threads, no clock.

A lane is a row of messages that keep their order: its first message is sent, and the next one after
that was delivered or is dead. Rules:

- A message that failed waits as `RetryPolicy` has it. It holds back its own lane alone.
- After a failure the destination is failing: one message at a time probes it, the one that was
  tried longest ago. When more than one lane has failed there is a pause between probes; a single
  lane may be all that the receiver refuses, and that must not hold back the others.
- One success ends that. Then 2 messages are sent side by side, then 4, then 8, up to the number of
  connections, and lanes that waited for the destination may send at once; each lane once only, so
  that a lane which the receiver refuses continues to wait.
"""

import math
import random as random_numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from tvDatafeed.delivery.retry import RetryPolicy

Verdict: TypeAlias = Literal["delivered", "retry", "gone", "refused"]

_GONE = 410
# The pauses between probes are the policy's up to this one: 20 s with the default policy.
_LAST_PAUSE = 2
# Request Timeout, Too Early, Too Many Requests.
_RETRIED = frozenset({408, 425, 429})


def judge(status: int | None) -> Verdict:
    """Return what the status of an answer means for a message; None means there is no answer."""
    if status is None or status in _RETRIED or status >= 500:  # noqa: PLR2004 - as in HTTP
        return "retry"
    if 200 <= status < 300:  # noqa: PLR2004
        return "delivered"
    return "gone" if status == _GONE else "refused"


@dataclass(slots=True)
class Lane:
    """A lane in which messages wait.

    Attributes
    ----------
    due_s
        When its first message may be sent, on the monotonic clock.
    tried_s
        When it was sent last.
    after
        The number of the last message that needs no further attempt.
    is_in_flight
        Whether its first message is being sent.
    is_stale
        Whether the file was changed by others while it was in flight, so that a message may wait
        before `after`.
    is_parked, is_released
        Whether it waits after a failure, and whether it was released since its last success.
    """

    name: str
    due_s: float
    tried_s: float = -math.inf
    after: int = 0
    is_in_flight: bool = False
    is_stale: bool = False
    is_parked: bool = False
    is_released: bool = False


class Schedule:
    """The lanes of one destination; of one thread.

    Parameters
    ----------
    policy
        How long a message waits after each failure.
    connections
        How many messages may be in flight.
    random
        Returns numbers from 0 to 1.

    Attributes
    ----------
    is_failing
        Whether the last attempt that says something about the destination failed.
    is_disabled
        Whether nothing is sent.
    in_flight
        How many messages are being sent.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        connections: int,
        *,
        random: Callable[[], float] = random_numbers.random,
    ) -> None:
        self._policy = policy
        self._connections = connections
        self._random = random
        self.lanes: dict[str, Lane] = {}
        self.is_disabled: bool = False
        self.in_flight: int = 0
        self.is_failing: bool = False
        self._failed_lanes: set[str] = set()
        self._failed_s = -math.inf
        self._limit = connections
        self._successes = 0
        self._not_before_s = -math.inf

    def add(self, name: str, due_s: float) -> Lane:
        """Add a lane in which a message waits; one that is there stays as it is."""
        return self.lanes.setdefault(name, Lane(name, due_s))

    def remove(self, lane: Lane) -> None:
        """Remove a lane from the list: it may be that no message waits in it."""
        del self.lanes[lane.name]

    def restore(self, lane: Lane) -> None:
        """List a lane again that was removed."""
        self.lanes[lane.name] = lane

    def next(self, now_s: float) -> Lane | None:
        """Return the lane that may send now; it is in flight until `delivered` or another."""
        if self.is_disabled or self.in_flight >= self._limit or now_s < self._not_before_s:
            return None
        due = [
            lane for lane in self.lanes.values() if not lane.is_in_flight and lane.due_s <= now_s
        ]
        if not due:
            return None
        lane = min(due, key=lambda one: (one.tried_s, one.due_s))
        lane.is_in_flight, lane.tried_s = True, now_s
        self.in_flight += 1
        return lane

    def wait_s(self, now_s: float) -> float:
        """Return how long no lane may send unless something happens; infinite without one."""
        if self.is_disabled or self.in_flight >= self._limit:
            return math.inf
        due = (lane.due_s for lane in self.lanes.values() if not lane.is_in_flight)
        return max(min(due, default=math.inf), self._not_before_s) - now_s

    def expect_failure(self) -> None:
        """Probe the destination first, since it failed when it was used last."""
        self.is_failing, self._limit, self._successes = True, 1, 0

    def gone(self, lane: Lane, now_s: float) -> None:
        """Record that the destination wants no more: nothing is sent until it is enabled."""
        self.put_back(lane, now_s)
        self.expect_failure()
        self.is_disabled = True

    def put_back(self, lane: Lane, due_s: float) -> None:
        """End the flight of a lane without an attempt, or with one that says nothing."""
        self._land(lane)
        lane.due_s = due_s

    def delivered(self, lane: Lane, now_s: float) -> None:
        """Record that a message was delivered: the lane may continue at once."""
        self._land(lane)
        lane.due_s, lane.is_parked, lane.is_released = now_s, False, False
        if self.is_failing:
            self._recover(now_s)
            return
        self._successes += 1
        if self._successes >= self._limit < self._connections:
            self._limit, self._successes = min(self._limit * 2, self._connections), 0

    def _recover(self, now_s: float) -> None:
        self.is_failing, self._successes, self._not_before_s = False, 0, -math.inf
        self._failed_lanes = set()
        self._limit = min(2, self._connections)
        for lane in self.lanes.values():
            if lane.is_parked and not lane.is_released and not lane.is_in_flight:
                lane.due_s, lane.is_released = now_s, True

    def failed(
        self, lane: Lane, now_s: float, attempts: int, retry_after_s: float | None = None
    ) -> float:
        """Record a failure.

        Parameters
        ----------
        lane
            The lane.
        now_s
            Now.
        attempts
            How often its message was sent.
        retry_after_s
            What the receiver asks for; it counts for the whole destination.

        Returns
        -------
        float
            In how many seconds the message is due.
        """
        self._land(lane)
        # Messages that were in flight together fail together: that is one failure.
        if lane.tried_s >= self._failed_s:
            self._failed_lanes.add(lane.name)
            if len(self._failed_lanes) > 1:
                number = min(len(self._failed_lanes) - 2, _LAST_PAUSE)
                pause_s = self._policy.delay_s(number, random=self._random)
                self._not_before_s = max(self._not_before_s, now_s + pause_s)
            self._failed_s = now_s
        self.expect_failure()
        delay_s = self._policy.delay_s(attempts - 1, random=self._random)
        if retry_after_s is not None:
            self._not_before_s = max(self._not_before_s, now_s + retry_after_s)
            delay_s = max(delay_s, retry_after_s)
        lane.due_s, lane.is_parked = now_s + delay_s, True
        return delay_s

    def _land(self, lane: Lane) -> None:
        lane.is_in_flight = False
        self.in_flight -= 1
