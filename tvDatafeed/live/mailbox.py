"""Mailboxes: bounded queues between the thread that delivers bars and one that takes its time."""

import threading
from collections import deque
from typing import TYPE_CHECKING, Protocol

from tvDatafeed.common.deadline import WAIT_SLICE_S

if TYPE_CHECKING:
    import pandas as pd


class LiveItem(Protocol):
    """An item of a mailbox: a bar of a live series, or a frame that a program has put in."""

    @property
    def is_closed(self) -> bool:
        """Whether the bar can no longer change."""

    def frame(self) -> "pd.DataFrame":
        """Return the frame that a callback is called with."""

    def record_dropped(self) -> None:
        """Count the item as dropped because its subscriber is too slow."""


class Mailbox:
    """A queue on which a delivery never waits.

    Parameters
    ----------
    limit
        How many items it holds; beyond that the oldest is dropped.
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
        self._more_room = 0
        self._items: deque[LiveItem] = deque()
        # The condition is for waiting alone: only a plain lock is given back whenever Ctrl-C comes.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._is_finished = self._is_aborted = False
        self._is_slow = False
        self.dropped: int = 0

    def __len__(self) -> int:
        return len(self._items)

    def deliver(self, item: LiveItem) -> bool:
        """Add an item; ignored after `finish` and `abort`.

        Returns
        -------
        bool
            Whether the reader of the mailbox has become slow: True once until it is empty again.
        """
        with self._lock:
            if self._is_finished:
                return False
            self._items.append(item)
            waiting = len(self._items) - self._more_room
            becomes_slow = waiting > self._slow_at and not self._is_slow
            self._is_slow = self._is_slow or becomes_slow
            if waiting > self._limit:
                self.dropped += 1
                self._items.popleft().record_dropped()
            self._changed.notify()
            return becomes_slow

    def make_room(self, count: int) -> None:
        """Hold this many more items until the mailbox is empty: they come at once after a gap."""
        with self._lock:
            self._more_room = max(self._more_room, count)

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
            self._items.clear()
            self._changed.notify_all()

    def take(self) -> LiveItem | None:
        """Wait for the oldest item and return it; None after the last one."""
        with self._lock:
            while not self._items:
                self._is_slow = False
                self._more_room = 0
                if self._is_finished:
                    return None
                self._changed.wait(WAIT_SLICE_S)
            return self._items.popleft()
