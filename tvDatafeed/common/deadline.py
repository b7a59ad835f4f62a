"""Deadlines: one limit for an operation that waits more than once."""

import sys
import threading
import time
from collections.abc import Callable

# The maximum time of one wait; None for no limit. On Windows a waiting thread receives Ctrl-C only
# after the wait.
WAIT_SLICE_S = 0.1 if sys.platform == "win32" else None


class Deadline:
    """The moment by which a whole operation must end, with all of its waits.

    Parameters
    ----------
    seconds : float or None
        Time allowed from now; None means no limit.
    clock : callable, default time.monotonic
        Returns the current time in seconds; must never run backwards.

    Attributes
    ----------
    seconds : float or None
        As passed.
    at : float or None
        The moment, in the seconds of `clock`; None means no limit.

    Examples
    --------
    >>> Deadline(None).remaining() is None
    True
    """

    __slots__ = ("_clock", "at", "seconds")

    def __init__(self, seconds: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.seconds: float | None = seconds
        self.at: float | None = None if seconds is None else clock() + seconds

    def __repr__(self) -> str:
        remaining = self.remaining()
        return "Deadline(None)" if remaining is None else f"Deadline({remaining:.3f})"

    def remaining(self) -> float | None:
        """Return the seconds left, from 0 to the longest wait of a thread; None means no limit."""
        if self.at is None:
            return None
        return min(max(self.at - self._clock(), 0.0), threading.TIMEOUT_MAX)

    @property
    def expired(self) -> bool:
        """Whether the moment has passed; False without a limit."""
        return self.remaining() == 0.0

    def clip(self, seconds: float | None) -> float | None:
        """Return the time that one wait may take.

        Parameters
        ----------
        seconds : float or None
            The limit of the wait itself, in seconds; None means no limit.

        Returns
        -------
        float or None
            The smaller of `seconds` and the time left; None means no limit.
        """
        remaining = self.remaining()
        if remaining is None:
            return seconds
        return remaining if seconds is None else min(seconds, remaining)
