"""Checks that run one after the other, each with a time limit, independent of other results."""

import queue
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from tvDatafeed.common.deadline import WAIT_SLICE_S, Deadline

# A check ends by itself at its deadline; if it does not, such as the system's name lookup, it is
# abandoned after this time.
_GRACE_S = 1.0


@dataclass(frozen=True)
class Finding:
    """The result of a check.

    Attributes
    ----------
    ok : bool or None
        None if there was nothing to check.
    message : str
        One line.
    advice : str
        The next step; empty without one.
    """

    ok: bool | None
    message: str
    advice: str = ""


@dataclass(frozen=True)
class Step:
    """A check before it is run.

    Attributes
    ----------
    name : str
        The name of the check.
    run : callable
        Called with the deadline, on the monotonic clock in seconds. It returns a finding, or a text
        if the check passed.
    limit_s : float
        How long it may take.
    needs : sequence of str
        The names of earlier checks; if one of them fails, this one is not tried.
    advice : str
        The next step after a failure without its own.
    """

    name: str
    run: Callable[[float], Finding | str]
    limit_s: float
    needs: Sequence[str] = ()
    advice: str = ""


@dataclass(frozen=True)
class Check:
    """A check that was run, or was not tried.

    Attributes
    ----------
    name : str
        The name of the check.
    ok : bool or None
        None if it was not tried, or there was nothing to check.
    seconds : float
        How long it took.
    message : str
        The result in one line.
    advice : str
        The next step; empty without one.
    """

    name: str
    ok: bool | None
    seconds: float
    message: str
    advice: str


def run_checks(
    steps: Sequence[Step], limit_s: float, explain: Callable[[Exception], Finding]
) -> Generator[Check, None, None]:
    """Run checks in their order, and yield each as soon as it ends.

    Each runs in its own thread, so that it cannot block the others and Ctrl-C ends the wait.

    Parameters
    ----------
    steps
        The checks.
    limit_s
        The time limit of all checks; the remaining ones are not tried.
    explain
        Returns the finding for an exception of a check.
    """
    whole = Deadline(limit_s)
    # The failed check behind each check that failed or was not tried.
    lost: dict[str, str] = {}
    for step in steps:
        culprit = next((lost[name] for name in step.needs if name in lost), None)
        if culprit is not None:
            lost[step.name] = culprit
            yield Check(step.name, None, 0.0, f"not tried, since {culprit} failed", "")
            continue
        seconds = whole.clip(step.limit_s) or 0.0
        if not seconds:
            yield Check(step.name, None, 0.0, f"not tried: {limit_s:g} s were over", "")
            continue
        started = time.monotonic()
        found = _finding_of(step, seconds, explain)
        taken, advice = time.monotonic() - started, found.advice
        if found.ok is False:
            lost[step.name] = step.name
            advice = advice or step.advice
        yield Check(step.name, found.ok, taken, found.message, advice)


def _finding_of(step: Step, seconds: float, explain: Callable[[Exception], Finding]) -> Finding:
    outcomes: queue.SimpleQueue[Finding | str | Exception] = queue.SimpleQueue()
    until = time.monotonic() + seconds

    def work() -> None:
        try:
            outcomes.put(step.run(until))
        except Exception as error:  # noqa: BLE001 - it is what the check has found
            outcomes.put(error)

    threading.Thread(target=work, name="tvDatafeed-check", daemon=True).start()
    outcome = _wait(outcomes, Deadline(seconds + _GRACE_S))
    if outcome is None:
        return Finding(False, f"no answer within {seconds:.1f} s")
    if isinstance(outcome, Exception):
        return explain(outcome)
    return Finding(True, outcome) if isinstance(outcome, str) else outcome


def _wait(
    outcomes: "queue.SimpleQueue[Finding | str | Exception]", deadline: Deadline
) -> Finding | str | Exception | None:
    while not deadline.expired:
        try:
            return outcomes.get(timeout=deadline.clip(WAIT_SLICE_S))
        except queue.Empty:
            continue
    return None
