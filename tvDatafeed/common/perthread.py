"""One object for each thread, such as a connection to a database that threads must not share."""

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from tvDatafeed.common.fork import call_in_forked_child

_T = TypeVar("_T")

# What a forked child inherited and must neither use nor close: its parent still does.
_inherited: list[Any] = []


class PerThread(Generic[_T]):
    """Makes an object in each thread that asks, and closes it after the thread has ended.

    Parameters
    ----------
    make
        Makes one; called in the thread that will use it.
    close
        Closes one; called in any thread.
    """

    def __init__(self, make: Callable[[], _T], close: Callable[[_T], None]) -> None:
        self._make = make
        self._close = close
        # Each operation on it is one step, so that no lock is needed that a fork could copy.
        self._made: dict[threading.Thread, _T] = {}
        call_in_forked_child(self._forget)

    def get(self) -> _T:
        """Return the object of this thread."""
        thread = threading.current_thread()
        found = self._made.get(thread)
        if found is None:
            self._sweep()
            self._made[thread] = found = self._make()
        return found

    def drop(self) -> None:
        """Close the object of this thread; the next `get` makes another one."""
        found = self._made.pop(threading.current_thread(), None)
        if found is not None:
            self._close(found)

    def close(self) -> None:
        """Close the objects of all threads."""
        for thread in list(self._made):
            found = self._made.pop(thread, None)
            if found is not None:
                self._close(found)

    def _sweep(self) -> None:
        for thread in list(self._made):
            if not thread.is_alive():
                found = self._made.pop(thread, None)
                if found is not None:
                    self._close(found)

    def _forget(self) -> None:
        _inherited.extend(self._made.values())
        self._made = {}
