"""Timers of one thread: calls that are due later, at most one for each key."""

import heapq
import itertools
import math
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

# Cancelled timers stay in the heap up to this number, since a search for them is slow.
_KEPT_CANCELLED = 100


class TimerQueue(Generic[K]):
    """Calls that are due later; a new timer for a key replaces the one before.

    Used by one thread only; it has no lock.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, K]] = []
        self._calls: dict[K, tuple[int, Callable[[K], object]]] = {}
        self._numbers = itertools.count()

    def __len__(self) -> int:
        return len(self._calls)

    def schedule(self, key: K, delay_s: float, call: Callable[[K], object]) -> None:
        """Call a function with the key after a delay in seconds."""
        number = next(self._numbers)
        self._calls[key] = number, call
        heapq.heappush(self._heap, (time.monotonic() + delay_s, number, key))
        if len(self._heap) > _KEPT_CANCELLED + 2 * len(self._calls):
            self._heap = [timer for timer in self._heap if self._is_valid(timer)]
            heapq.heapify(self._heap)

    def cancel(self, key: K) -> None:
        """Remove the timer of a key, if there is one."""
        self._calls.pop(key, None)

    def run_due(self) -> float:
        """Run all due timers; return when the next is due, on the monotonic clock, or infinity."""
        while self._heap:
            timer = self._heap[0]
            due_at, _number, key = timer
            if due_at > time.monotonic() and self._is_valid(timer):
                return due_at
            heapq.heappop(self._heap)
            if self._is_valid(timer):
                _number, call = self._calls.pop(key)
                call(key)
        return math.inf

    def _is_valid(self, timer: tuple[float, int, K]) -> bool:
        _due_at, number, key = timer
        return self._calls.get(key, (None, None))[0] == number
