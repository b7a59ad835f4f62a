"""A link that takes its time: how long each message is under way to the client.

Nothing here waits or reads a clock. Who owns the line says what enters it and when, and asks what
has reached the other end.
"""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from tvDatafeed.testing.wire.actions import Action

# What a server keeps for one client; beyond it the server waits, as one does whose buffers are
# full. It is some twenty of the largest replies.
MAX_BYTES_UNDER_WAY = 64 * 1024 * 1024


@dataclass(frozen=True)
class Link:
    """What lies between a server and each of its clients.

    Parameters
    ----------
    round_trip_s
        Seconds from a command to its answer; all of them are spent on the way back.
    bandwidth_bytes_per_s
        How many bytes reach the client in a second; None for no limit.

    Raises
    ------
    ValueError
        If the one is not finite or below 0, or the other is not above 0.
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
        """Whether nothing is ever under way."""
        return not self.round_trip_s and self.bandwidth_bytes_per_s is None


class DelayLine:
    """What is under way to one client, in order.

    The bytes of one message follow those of the one before, and each message arrives whole, the
    round trip later: so delays overlap, and the time that bytes take adds up.

    Parameters
    ----------
    link
        How long the line is, and how wide.
    """

    def __init__(self, link: Link) -> None:
        self._round_trip_s = link.round_trip_s
        self._bandwidth = link.bandwidth_bytes_per_s or math.inf
        self._under_way: deque[tuple[float, int, Action]] = deque()
        self._bytes = 0
        self._free_at = -math.inf

    @property
    def due_at(self) -> float:
        """When the next action arrives, on the clock of `put`; infinity if none is under way."""
        return self._under_way[0][0] if self._under_way else math.inf

    @property
    def is_full(self) -> bool:
        """Whether nothing more should enter."""
        return self._bytes > MAX_BYTES_UNDER_WAY

    def put(self, action: Action, now: float) -> None:
        """Let an action enter: bytes take their time, all else comes right behind them."""
        size = len(action) if isinstance(action, bytes) else 0
        self._free_at = max(self._free_at, now) + size / self._bandwidth
        self._under_way.append((self._free_at + self._round_trip_s, size, action))
        self._bytes += size

    def arrived(self, now: float) -> Iterator[Action]:
        """Take out what has arrived, one after the other."""
        while self.due_at <= now:
            _due_at, size, action = self._under_way.popleft()
            self._bytes -= size
            yield action
