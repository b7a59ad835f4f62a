"""Clocks and figures: medians of repeated work, and ratios from one run."""

import gc
import statistics
import sys
import time
from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass

Work = Callable[[], object]
# After an answer the reader's thread has a little to do; its CPU time belongs to the call.
SETTLE_S = 0.002


@dataclass(frozen=True)
class Figure:
    """One measured figure beside what it should be.

    Parameters
    ----------
    name
        The target's number in the plan, such as "P1".
    work
        What was done; with the name it identifies the figure in a later run.
    measured, target
        In words, units included; the floor of the same run stands in `measured`.
    holds
        Whether the target is met in this run; None where there is nothing to compare with.
    value
        The main number of `measured`; None if two runs cannot be compared by a number.
    unit
        The unit of `value`, such as "ms", "x" or "bars/s".
    more_is_better
        Whether a greater value is the better one.
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
        mark = {True: "holds", False: "FALLS SHORT", None: "-"}[self.holds]
        return f"{self.name:<4} {self.work:<48} {self.measured:<46} {self.target:<46} {mark}"


def interleaved_s(
    works: Sequence[Work], *, runs: int, clock: Callable[[], float] | None = None
) -> list[list[float]]:
    """Run each work in turn, several times, so that drift affects all alike.

    Parameters
    ----------
    works
        What is measured.
    runs
        How often each is measured, after one run that warms up and is not counted.
    clock
        Wall time if None; `cpu_s` for the CPU time of all threads.

    Returns
    -------
    list of list of float
        The seconds of each run, for each work.
    """
    clock = clock or time.perf_counter
    for work in works:
        work()
    # Garbage of earlier work is not collected at the cost of this one.
    gc.collect()
    times: list[list[float]] = [[] for _ in works]
    for _ in range(runs):
        for work, taken in zip(works, times, strict=True):
            started = clock()
            work()
            taken.append(clock() - started)
    return times


def interleaved_ms(
    *works: Work, runs: int, clock: Callable[[], float] | None = None
) -> list[float]:
    """Return the median of each work in milliseconds, run in turn."""
    return [
        statistics.median(taken) * 1000 for taken in interleaved_s(works, runs=runs, clock=clock)
    ]


def best_ms(works: Sequence[Work], *, runs: int) -> list[float]:
    """Return the shortest time of each work in milliseconds, run in turn: the least disturbed."""
    return [min(taken) * 1000 for taken in interleaved_s(works, runs=runs)]


def cpu_s() -> float:
    """Return the CPU time of this process, of all its threads.

    For work without waits it is the steadier clock: on a busy machine, work that is longer than a
    slice of the scheduler waits for others in the middle, and a floor that is shorter does not.
    """
    # Windows counts it in ticks of 15 ms.
    return time.perf_counter() if sys.platform == "win32" else time.process_time()


def seconds_of(work: Work) -> float:
    """Return how long some work takes once."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def settled(work: Work) -> Work:
    """Return the work with a short wait after it, in which other threads finish what it began."""

    def work_and_wait() -> None:
        work()
        time.sleep(SETTLE_S)

    return work_and_wait


def ratio_of(value: float, floor: float) -> float:
    """Return how many times the floor a value is; infinity where the clock saw no floor."""
    return value / floor if floor > 0 else float("inf")


def p50_p99(values: Sequence[float]) -> tuple[float, float]:
    """Return the median, and the value below which 99 % are."""
    ordered = sorted(values)
    return statistics.median(ordered), ordered[int(len(ordered) * 0.99)]


def line_through(xs: Sequence[float], ys: Sequence[float]) -> tuple[float, float]:
    """Fit a straight line. Returns its slope and R², which is 1 when all points lie on it."""
    slope, _intercept = statistics.linear_regression(xs, ys)
    return slope, statistics.correlation(xs, ys) ** 2


def require_bars(frame: Sized, count: int) -> None:
    """Stop the benchmark unless all bars are there."""
    if len(frame) != count:
        raise SystemExit(f"{len(frame)} of {count} bars came")
