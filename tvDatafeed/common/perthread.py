"""One object per thread, such as a database connection that threads must not share."""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from tvDatafeed.common.fork import call_in_forked_child

_T = TypeVar("_T")

# Objects that a forked child inherited and must not use or close: its parent uses them.
_inherited: list[Any] = []


class PerThread(Generic[_T]):
    """Creates an object in each thread that needs one, and closes it after the thread has ended.

    While a thread uses an object, only that thread closes it.

    Parameters
    ----------
    make
        Creates an object; called in the thread that will use it.
    close
        Closes an object; called in any thread.
    """

    def __init__(self, make: Callable[[], _T], close: Callable[[_T], None]) -> None:
        self._make = make
        self._close = close
        # Each operation on this list is atomic, so that no lock is needed, which a fork could copy:
        # an object belongs to the thread that removed it.
        self._idle: dict[threading.Thread, _T] = {}
        self._taken: dict[int, _T] = {}
        # Replaced by each `close`.
        self._round = object()
        call_in_forked_child(self._forget)

    @contextmanager
    def using(self) -> Generator[_T]:
        """Return the object of this thread; create it if there is none."""
        begun = self._round
        found = self._idle.pop(threading.current_thread(), None)
        if found is None:
            self._sweep()
            found = self._make()
        self._taken[id(found)] = found
        try:
            yield found
        finally:
            # In a forked child, the object still belongs to the parent.
            if self._taken.pop(id(found), None) is not None:
                self._give_back(found, begun)

    def close(self) -> None:
        """Close the objects of all threads; an object in use is closed after its use."""
        self._round = object()
        for thread in list(self._idle):
            self._close_idle(thread)

    def _give_back(self, found: _T, begun: object) -> None:
        thread = threading.current_thread()
        other = self._idle.pop(thread, None)
        if other is not None:
            self._close(other)
        self._idle[thread] = found
        # `close` may have been called meanwhile.
        if self._round is not begun:
            self._close_idle(thread)

    def _close_idle(self, thread: threading.Thread) -> None:
        found = self._idle.pop(thread, None)
        if found is not None:
            self._close(found)

    def _sweep(self) -> None:
        for thread in list(self._idle):
            if not thread.is_alive():
                self._close_idle(thread)

    def _forget(self) -> None:
        _inherited.extend([*self._idle.values(), *self._taken.values()])
        self._idle, self._taken = {}, {}
