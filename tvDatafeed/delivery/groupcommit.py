"""Group commit: the changes of many threads in one transaction.

A commit that waits for the disk takes milliseconds, however much it writes. While one thread
commits, the others queue; the next one commits the changes of all.
"""

import contextlib
import copy
import queue
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

from tvDatafeed.exceptions import TvDatafeedError

_T = TypeVar("_T")
# What a transaction hands to the changes in it.
_Rows = TypeVar("_Rows")
# What one transaction may hold, so that no caller waits for all others.
_MAX_CHANGES = 512
# How long a thread waits to be woken before it takes its turn all the same.
_PATIENCE_S = 0.25


class _Change(Generic[_Rows, _T]):
    """One caller's read or write, and its result."""

    def __init__(self, function: Callable[[_Rows], _T]) -> None:
        self._function = function
        self.result: _T | None = None
        self.error: Exception | None = None
        self.is_done = False
        # An item wakes the caller; a queue of this kind is made and waited for in less time than an
        # event.
        self._woken: queue.SimpleQueue[None] = queue.SimpleQueue()

    def run(self, rows: _Rows) -> None:
        self.error = None
        try:
            self.result = self._function(rows)
        except TvDatafeedError as error:
            # A refusal concerns this change alone.
            self.error = error

    def wait(self) -> None:
        """Wait until the change is done, or its turn comes."""
        with contextlib.suppress(queue.Empty):
            self._woken.get(timeout=_PATIENCE_S)

    def wake(self) -> None:
        self._woken.put(None)


class GroupCommit(Generic[_Rows]):
    """Runs functions in transactions, one after the other.

    Parameters
    ----------
    transaction
        Calls a function in a transaction, with what reads and writes in it, and returns when it is
        committed. It is called by one thread at a time.
    """

    def __init__(self, transaction: Callable[[Callable[[_Rows], None]], None]) -> None:
        self._transaction = transaction
        self.reset()

    def reset(self) -> None:
        """Forget the callers of before; for a forked child."""
        self._queue_lock = threading.Lock()
        # Held over a commit, as SQLite holds its own: what it guards is the connection.
        self._turn = threading.Lock()
        self._waiting: list[_Change[_Rows, Any]] = []
        # Whether a thread commits, or is about to. A wrong answer costs patience, not changes.
        self._is_led = False

    def run(self, function: Callable[[_Rows], _T]) -> _T:
        """Run a function in a transaction; return what it returns when that is committed.

        A thread commits what waits, its own change and those of others. Then it wakes those, and
        the first of the threads that came meanwhile, which does the same.

        An error of this library that the function raises leaves the changes of others as they are;
        the function must raise it before it has written anything that must not stay.
        """
        change = _Change(function)
        with self._queue_lock:
            self._waiting.append(change)
            is_led, self._is_led = self._is_led, True
        try:
            if is_led:
                change.wait()
            while not change.is_done:
                with self._turn:
                    if not change.is_done:
                        self._commit()
        finally:
            # Interrupted: the others wake up, at the latest when their patience ends.
            if not change.is_done:
                with self._queue_lock:
                    self._waiting.remove(change)
        if change.error is not None:
            raise change.error
        return cast("_T", change.result)

    def run_alone(self, function: Callable[[], None]) -> None:
        """Call a function while no transaction runs."""
        with self._turn:
            function()

    def _commit(self) -> None:
        changes: list[_Change[_Rows, Any]] = []

        def run_all(rows: _Rows) -> None:
            # Again from the first one, where the transaction is tried again.
            changes.clear()
            while added := self._after(len(changes)):
                for change in added:
                    change.run(rows)
                changes.extend(added)

        try:
            self._transaction(run_all)
        except Exception as error:  # noqa: BLE001 - each caller gets it
            # It may have failed before the first of them.
            changes = changes or self._after(0)
            for change in changes:
                # One object raised in several threads would collect their tracebacks.
                change.error = copy.copy(error)
        for change in changes:
            change.is_done = True
        with self._queue_lock:
            self._waiting = [change for change in self._waiting if not change.is_done]
            following = self._waiting[:1]
            self._is_led = bool(following)
        for change in (*changes, *following):
            change.wake()

    def _after(self, number: int) -> list[_Change[_Rows, Any]]:
        """Return what waits behind the first changes: threads come while others are served."""
        with self._queue_lock:
            return self._waiting[number:_MAX_CHANGES]
