"""Plans: what is to be done later, one thing for each of many."""

import heapq
import itertools
import math
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

# Plans that were replaced or dropped are kept up to so many, since to look for them takes its time.
_SPARE = 100


class Plans(Generic[K]):
    """What is to be done, with what, and when; a later plan for the same replaces the one before.

    Of one thread alone.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, K]] = []
        self._acts: dict[K, tuple[int, Callable[[K], object]]] = {}
        self._numbers = itertools.count()

    def __len__(self) -> int:
        return len(self._acts)

    def add(self, seconds: float, act: Callable[[K], object], key: K) -> None:
        """Have a function called with the key after so many seconds."""
        number = next(self._numbers)
        self._acts[key] = number, act
        heapq.heappush(self._heap, (time.monotonic() + seconds, number, key))
        if len(self._heap) > _SPARE + 2 * len(self._acts):
            self._heap = [plan for plan in self._heap if self._is_valid(plan)]
            heapq.heapify(self._heap)

    def drop(self, key: K) -> None:
        """Forget what was planned for a key, if anything was."""
        self._acts.pop(key, None)

    def run(self) -> float:
        """Do all that is due, and say when the next is, on the monotonic clock; or infinity."""
        while self._heap:
            plan = self._heap[0]
            at, _number, key = plan
            if at > time.monotonic() and self._is_valid(plan):
                return at
            heapq.heappop(self._heap)
            if self._is_valid(plan):
                _number, act = self._acts.pop(key)
                act(key)
        return math.inf

    def _is_valid(self, plan: tuple[float, int, K]) -> bool:
        _at, number, key = plan
        return self._acts.get(key, (None, None))[0] == number
