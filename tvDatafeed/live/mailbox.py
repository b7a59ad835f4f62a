"""Mailboxes: bounded queues between the reader of a connection and those who take their time."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from tvDatafeed.common.deadline import WAIT_SLICE_S

# What `get` gives when nothing will come any more.
END = object()


def note_dropped(item: Any) -> None:
    """Let a bar be counted that goes untaken; what is no bar is not."""
    look = getattr(item, "look", None)
    if look is not None:
        look.note_dropped()


class Mailbox:
    """A queue that never makes the one wait who puts something in.

    Parameters
    ----------
    limit
        How many items it holds; the oldest goes when another one comes.
    slow_at
        With so many waiting the taker counts as slow.
    on_drop
        Called with each item that goes untaken, under the mailbox's lock.
    """

    def __init__(
        self, limit: int, slow_at: int, on_drop: Callable[[Any], object] = lambda _item: None
    ) -> None:
        self._limit = limit
        self._slow_at = slow_at
        self._on_drop = on_drop
        self._more_room = 0
        self._items: deque[Any] = deque()
        self._changed = threading.Condition(threading.Lock())
        self._has_ended = self._is_discarded = False
        self._is_slow = False
        self.dropped: int = 0

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: Any) -> bool:
        """Add an item; after `end` it is not taken.

        Returns
        -------
        bool
            Whether the taker has become slow with it: that is told once until all was taken.
        """
        with self._changed:
            if self._has_ended:
                return False
            self._items.append(item)
            waiting = len(self._items) - self._more_room
            becomes_slow = waiting > self._slow_at and not self._is_slow
            self._is_slow = self._is_slow or becomes_slow
            if waiting > self._limit:
                self.dropped += 1
                self._on_drop(self._items.popleft())
            self._changed.notify()
            return becomes_slow

    def make_room(self, count: int) -> None:
        """Hold so many more items until all were taken: they come at once, for nobody's fault."""
        with self._changed:
            self._more_room = max(self._more_room, count)

    @property
    def is_discarded(self) -> bool:
        """Whether nothing can be had any more."""
        with self._changed:
            return self._is_discarded

    def end(self, *, discard: bool = False) -> None:
        """Take nothing more in; what is there can still be had, or is thrown away."""
        with self._changed:
            self._has_ended = True
            if discard:
                self._is_discarded = True
                self._items.clear()
            self._changed.notify_all()

    def get(self) -> Any:
        """Return the oldest item as soon as there is one, and `END` after the last one."""
        with self._changed:
            while not self._items:
                self._is_slow = False
                self._more_room = 0
                if self._has_ended:
                    return END
                self._changed.wait(WAIT_SLICE_S)
            return self._items.popleft()
