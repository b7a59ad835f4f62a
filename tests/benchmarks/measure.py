"""Clocks and tables: medians of repeated work, and ratios from one run."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One measured figure beside what it should be.

    Parameters
    ----------
    name
        The target's number in the plan, such as "P1".
    work
        What was done.
    measured, target
        In words, units included.
    holds
        Whether the target is met in this run; None where there is nothing to compare with.
    value, unit, more_is_better
        The main number, for a comparison with another run.
    """

    name: str
    work: str
    measured: str
    target: str
    holds: bool | None
    value: float | None = None
    unit: str = ""
    more_is_better: bool = False

    def __str__(self) -> str:
        mark = {True: "holds", False: "FALLS SHORT", None: "not measured"}[self.holds]
        return f"{self.name:<4} {self.work:<44} {self.measured:<34} {self.target:<44} {mark}"


def median_ms(
    work: Callable[[], object], *, runs: int, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Run some work several times and give the median in milliseconds, warm-up left out."""
    work()
    times = []
    for _ in range(runs):
        start = clock()
        work()
        times.append(clock() - start)
    return statistics.median(times) * 1000


def best_ms(works: Sequence[Callable[[], object]], *, runs: int) -> list[float]:
    """Run each work in turn, several times, and give its shortest time: the least disturbed one."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(runs + 1):
        for work, taken in zip(works, times, strict=True):
            start = time.perf_counter()
            work()
            taken.append(time.perf_counter() - start)
    return [min(taken[1:]) * 1000 for taken in times]


def interleaved_ms(*works: Callable[[], object], runs: int) -> list[float]:
    """Return the median of each work in milliseconds, run in turn so that drift hits all alike."""
    times: list[list[float]] = [[] for _ in works]
    for work in works:
        work()
    for _ in range(runs):
        for work, taken in zip(works, times, strict=True):
            start = time.perf_counter()
            work()
            taken.append(time.perf_counter() - start)
    return [statistics.median(taken) * 1000 for taken in times]


def line_through(xs: Sequence[float], ys: Sequence[float]) -> tuple[float, float]:
    """Fit a straight line; gives its slope and R², which is 1 when all points lie on it."""
    slope, _intercept = statistics.linear_regression(xs, ys)
    return slope, statistics.correlation(xs, ys) ** 2
