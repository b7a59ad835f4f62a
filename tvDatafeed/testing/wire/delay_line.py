"""A simulated link: the time that each message needs to reach the client.

Nothing here waits or reads a clock. The owner of the line passes the current time when it adds
messages and when it takes those that have arrived.
"""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from tvDatafeed.testing.wire.actions import Action

# The most bytes that a server buffers for one client, about twenty of the largest replies. Above
# this number the server waits, like a server whose buffers are full.
MAX_BYTES_UNDER_WAY = 64 * 1024 * 1024


@dataclass(frozen=True)
class Link:
    """The link between a server and each of its clients.

    Parameters
    ----------
    round_trip_s
        Seconds from a command to its answer; the whole delay is applied to the answer.
    bandwidth_bytes_per_s
        How many bytes reach the client in a second; None for no limit.

    Raises
    ------
    ValueError
        If the round trip is not finite or below 0, or the bandwidth is not above 0.
    """

    round_trip_s: float = 0.0
    bandwidth_bytes_per_s: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.round_trip_s < math.inf:
            raise ValueError(
                f"round_trip_s is {self.round_trip_s}: give seconds of 0 or more, such as 0.05"
            )
        if self.bandwidth_bytes_per_s is not None and not self.bandwidth_bytes_per_s > 0:
            raise ValueError(
                f"bandwidth_bytes_per_s is {self.bandwidth_bytes_per_s}: give bytes per second "
                "above 0, or None for no limit"
            )

    @property
    def is_instant(self) -> bool:
        """Whether messages arrive without delay."""
        return not self.round_trip_s and self.bandwidth_bytes_per_s is None


class DelayLine:
    """The messages on their way to one client, in order.

    The bytes of a message are sent after those of the previous message, and the whole message
    arrives one round trip later. So delays overlap, and transmission times add up.

    Parameters
    ----------
    link
        The round trip and the bandwidth.
    """

    def __init__(self, link: Link) -> None:
        self._round_trip_s = link.round_trip_s
        self._bandwidth = link.bandwidth_bytes_per_s or math.inf
        self._under_way: deque[tuple[float, int, Action]] = deque()
        self._bytes = 0
        self._free_at = -math.inf

    @property
    def due_at(self) -> float:
        """When the next action arrives, on the clock of `put`; infinity if the line is empty."""
        return self._under_way[0][0] if self._under_way else math.inf

    @property
    def is_full(self) -> bool:
        """Whether the owner should wait before it adds more."""
        return self._bytes > MAX_BYTES_UNDER_WAY

    def put(self, action: Action, now: float) -> None:
        """Add an action; actions without bytes arrive directly after the previous bytes."""
        size = len(action) if isinstance(action, bytes) else 0
        self._free_at = max(self._free_at, now) + size / self._bandwidth
        self._under_way.append((self._free_at + self._round_trip_s, size, action))
        self._bytes += size

    def arrived(self, now: float) -> Iterator[Action]:
        """Remove and yield the actions that have arrived."""
        while self.due_at <= now:
            _due_at, size, action = self._under_way.popleft()
            self._bytes -= size
            yield action
