"""Mailboxes: bounded queues between the thread that delivers bars and a slower one."""

import threading
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tvDatafeed.common.deadline import WAIT_SLICE_S

if TYPE_CHECKING:
    import pandas as pd


class LiveItem(Protocol):
    """An item of a mailbox: a bar of a live series, or a frame that a program has put in."""

    @property
    def is_closed(self) -> bool:
        """Whether the bar can no longer change."""

    @property
    def source(self) -> Hashable:
        """Where it comes from: its series."""

    @property
    def refill_limit(self) -> int:
        """How many missed items of its source may wait at most; 0 unless it was missed."""

    def frame(self) -> "pd.DataFrame":
        """Return the frame that a callback is called with."""

    def record_dropped(self) -> None:
        """Count the item as dropped because its subscriber is too slow."""


@dataclass(frozen=True)
class Backlog:
    """Items older than the first delivery, fetched by the reader of the mailbox in its thread.

    Parameters
    ----------
    fetch
        Returns the items, oldest first.
    """

    fetch: Callable[[], "Iterable[LiveItem]"]


class Mailbox:
    """A queue on which a delivery never waits.

    Missed items arrive together and do not count as waiting: their sources limit their number.

    Parameters
    ----------
    limit
        How many items wait at most; if more arrive, the oldest is dropped.
    slow_at
        With more waiting items than this, the reader of the mailbox counts as slow.

    Attributes
    ----------
    dropped : int
        How many items were dropped.
    """

    def __init__(self, limit: int, slow_at: int) -> None:
        self._limit = limit
        self._slow_at = slow_at
        # Both are ordered by number; the numbers count deliveries.
        self._waiting: deque[tuple[int, LiveItem]] = deque()
        self._refill: deque[tuple[int, LiveItem]] = deque()
        self._refill_sizes: Counter[Hashable] = Counter()
        self._number = 0
        self._backlog: Backlog | None = None
        # The condition is only for waiting: only a plain lock is always released when Ctrl-C comes.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._is_finished = self._is_aborted = False
        self._is_slow = False
        self.dropped: int = 0

    def __len__(self) -> int:
        return len(self._waiting) + len(self._refill)

    def waiting_of(self, source: Hashable) -> int:
        """Return how many items of a source wait."""
        with self._lock:
            return sum(item.source == source for _, item in (*self._waiting, *self._refill))

    def put_backlog(self, backlog: Backlog) -> None:
        """Fetch items and handle them before all delivered ones; only before the first delivery."""
        with self._lock:
            self._backlog = backlog
            self._changed.notify()

    def deliver(self, item: LiveItem) -> bool:
        """Add an item; ignored after `finish` and `abort`.

        Returns
        -------
        bool
            Whether the reader of the mailbox became slow: True once until it is empty again.
        """
        with self._lock:
            if self._is_finished:
                return False
            self._number += 1
            self._changed.notify()
            limit = item.refill_limit
            if limit and self._refill_sizes[item.source] < limit:
                self._refill_sizes[item.source] += 1
                self._refill.append((self._number, item))
                return False
            self._waiting.append((self._number, item))
            becomes_slow = len(self._waiting) > self._slow_at and not self._is_slow
            self._is_slow = self._is_slow or becomes_slow
            if len(self._waiting) > self._limit:
                self.dropped += 1
                _number, oldest = self._waiting.popleft()
                oldest.record_dropped()
            return becomes_slow

    @property
    def is_aborted(self) -> bool:
        """Whether nothing can be taken any more."""
        with self._lock:
            return self._is_aborted

    def finish(self) -> None:
        """Accept nothing more; waiting items can still be taken."""
        with self._lock:
            self._is_finished = True
            self._changed.notify_all()

    def abort(self) -> None:
        """Accept nothing more, and drop the waiting items."""
        with self._lock:
            self._is_finished = self._is_aborted = True
            self._backlog = None
            self._waiting.clear()
            self._refill.clear()
            self._refill_sizes.clear()
            self._changed.notify_all()

    def take(self) -> "LiveItem | Backlog | None":
        """Wait for the oldest item and return it; None after the last one."""
        with self._lock:
            while self._backlog is None and not self._waiting and not self._refill:
                self._is_slow = False
                if self._is_finished:
                    return None
                self._changed.wait(WAIT_SLICE_S)
            if self._backlog is not None:
                backlog, self._backlog = self._backlog, None
                return backlog
            return self._pop()

    def _pop(self) -> LiveItem:
        """Remove the item that was delivered first; the lock is held, and there is one."""
        if not self._refill or (self._waiting and self._waiting[0] < self._refill[0]):
            return self._waiting.popleft()[1]
        _number, item = self._refill.popleft()
        self._refill_sizes[item.source] -= 1
        return item
