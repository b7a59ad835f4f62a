"""Restraint towards the server: how often we may ask, how often we did, and when to leave it alone.

`RateLimiter` makes callers wait for their turn, `RequestTracker` only counts, and
`CircuitBreaker` stops asking a server that keeps failing. Each may be shared by any number of
threads; none starts a thread, and none holds its lock while a caller waits or works.

`RequestTracker` and `CircuitBreaker.call` are for programs; the library itself does not use them.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Literal, ParamSpec, TypeVar

from tvDatafeed.common.deadline import WAIT_SLICE_S
from tvDatafeed.common.fork import call_in_forked_child
from tvDatafeed.common.numbers import count
from tvDatafeed.common.settings import checked
from tvDatafeed.exceptions import ConfigurationError, RateLimitError

__all__ = ["CircuitBreaker", "RateLimiter", "RequestTracker"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

_WINDOW_S = 60
# The last token of a burst seems to be due a rounding error later than the first one.
_ROUNDING_S = 1e-6


class RateLimiter:
    """A bucket of tokens, one for each request, that fills up at a steady rate.

    The bucket starts full. Any 60 seconds see at most ``burst_size + requests_per_minute``
    tokens taken, as far as the system wakes waiting threads on time.

    Parameters
    ----------
    requests_per_minute : int, default 60
        Tokens that come back in 60 seconds, evenly spread.
    burst_size : int, default 10
        Tokens the bucket holds, which is how many can be taken at once after a rest.
    clock : callable, default time.monotonic
        Returns the current time in seconds; must never run backwards.

    Attributes
    ----------
    requests_per_minute, burst_size : int
        As given.

    Raises
    ------
    ConfigurationError
        When a number is not a whole number of at least 1.

    Examples
    --------
    >>> limiter = RateLimiter(requests_per_minute=60, burst_size=1)
    >>> limiter.acquire()
    True
    >>> try:
    ...     limiter.acquire(timeout=0)
    ... except RateLimitError as error:
    ...     print(f"again in {error.retry_after:.0f} s")
    again in 1 s
    """

    def __init__(
        self,
        requests_per_minute: int = 60,
        burst_size: int = 10,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.requests_per_minute: int = checked(count, requests_per_minute, "requests_per_minute")
        self.burst_size: int = checked(count, burst_size, "burst_size")
        self._clock = clock
        self._spacing = _WINDOW_S / self.requests_per_minute
        # A full bucket is one whose next token has been due for this long.
        self._head_start = (self.burst_size - 1) * self._spacing
        self._lock = threading.Lock()
        self._next_due = clock() - self._head_start
        call_in_forked_child(self._reset_in_child)

    def _reset_in_child(self) -> None:
        """In a forked child: whoever held the lock is not here."""
        self._lock = threading.Lock()

    def acquire(self, timeout: float | None = None, *, stop: threading.Event | None = None) -> bool:
        """Take one token, and wait for it if need be.

        Callers are served in the order in which they came: each is promised the next token
        that is not promised yet. One who gives up, because of `stop` or of an exception such
        as KeyboardInterrupt, hands the token back if nobody came later; otherwise the token
        is lost, so that no one else's turn moves.

        Parameters
        ----------
        timeout : float, optional
            Longest wait in seconds; 0 takes a token that is there or none. Default: as long
            as it takes.
        stop : threading.Event, optional
            Ends the wait when it is set.

        Returns
        -------
        bool
            True when a token was taken; False when `stop` was set before.

        Raises
        ------
        RateLimitError
            At once, when the wait would be longer than `timeout`. Its ``retry_after`` is the
            time in seconds after which a token is there, unless another caller takes it.
        """
        stop = threading.Event() if stop is None else stop
        if stop.is_set():
            return False
        due = self._reserve(timeout)
        taken = False
        try:
            taken = self._wait_until(due, stop)
        finally:
            if not taken:
                self._give_back(due)
        return taken

    def acquire_spare(self, kept: int) -> None:
        """Take one token at once if that leaves so many for others.

        Parameters
        ----------
        kept : int
            Tokens that must be there afterwards.

        Raises
        ------
        RateLimitError
            There are fewer; ``retry_after`` is the time in seconds until there are enough.
        """
        with self._lock:
            now = self._clock()
            due = max(self._next_due, now - self._head_start)
            wait = due + kept * self._spacing - now
            if wait <= _ROUNDING_S:
                self._next_due = due + self._spacing
                return
        raise RateLimitError(self.requests_per_minute, _WINDOW_S, retry_after=wait)

    def put_back(self) -> None:
        """Put a token back whose request was never sent, such as one whose host has no address.

        The next caller may take it; the turns of those that wait already do not move.
        """
        with self._lock:
            self._next_due -= self._spacing

    def _reserve(self, timeout: float | None) -> float:
        """Return the moment at which this caller's token is due."""
        with self._lock:
            now = self._clock()
            due = max(self._next_due, now - self._head_start)
            wait = due - now
            if timeout is None or wait <= max(timeout, 0) + _ROUNDING_S:
                self._next_due = due + self._spacing
                return due
        raise RateLimitError(self.requests_per_minute, _WINDOW_S, retry_after=wait)

    def _wait_until(self, due: float, stop: threading.Event) -> bool:
        while (wait := due - self._clock()) > _ROUNDING_S:
            if stop.wait(min(wait, WAIT_SLICE_S or threading.TIMEOUT_MAX)):
                return False
        return True

    def _give_back(self, due: float) -> None:
        with self._lock:
            if self._next_due == due + self._spacing:
                self._next_due = due


class RequestTracker:
    """Counts the requests of the last seconds, without holding any of them up.

    Parameters
    ----------
    window_seconds : float, default 60
        How long a request counts, in seconds.
    max_requests : int, default 60
        Requests per window from which on a caller should hold back. Only so many are
        remembered.
    clock : callable, default time.monotonic
        Returns the current time in seconds; must never run backwards.

    Attributes
    ----------
    window_seconds : float
        As given, in seconds.
    max_requests : int
        As given.

    Raises
    ------
    ConfigurationError
        When `window_seconds` is not finite and more than 0, or `max_requests` is not a whole
        number of at least 1.

    Examples
    --------
    >>> tracker = RequestTracker(max_requests=2)
    >>> tracker.add_request()
    >>> tracker.get_request_count(), tracker.should_throttle()
    (1, False)
    """

    def __init__(
        self,
        window_seconds: float = 60,
        *,
        max_requests: int = 60,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.window_seconds: float = _seconds("window_seconds", window_seconds)
        self.max_requests: int = checked(count, max_requests, "max_requests")
        self._clock = clock
        self._lock = threading.Lock()
        self._moments: deque[float] = deque(maxlen=self.max_requests)

    def add_request(self) -> None:
        """Count one request, made now."""
        with self._lock:
            self._moments.append(self._clock())

    def get_request_count(self) -> int:
        """Return how many requests the window that ends now has seen.

        Returns
        -------
        int
            The number of requests, or `max_requests` if there were more.
        """
        with self._lock:
            oldest = self._clock() - self.window_seconds
            while self._moments and self._moments[0] <= oldest:
                self._moments.popleft()
            return len(self._moments)

    def should_throttle(self) -> bool:
        """Return whether the window that ends now has seen `max_requests` or more."""
        return self.get_request_count() >= self.max_requests


class CircuitBreaker:
    """Refuses calls for a while, once several in a row have failed.

    It is closed at first, and lets calls through. After `failure_threshold` failures in a row
    it is open, and refuses them. When `recovery_timeout` is over it is half-open: one call, the
    probe, is let through, and the others are refused until it has ended. A success closes the
    breaker, whichever call it was; a failure while it is half-open opens it again.

    Wrap an operation in `call`. Where it begins in one thread and ends in another, use what
    `call` is made of: `before`, and then exactly one of `succeeded`, `failed` and `abandoned`.

    Parameters
    ----------
    failure_threshold : int, default 5
        Failures in a row that open it.
    recovery_timeout : float, default 60.0
        Seconds for which it stays open. A probe that has not ended after as many seconds is
        taken for lost, and another one is let through.
    clock : callable, default time.monotonic
        Returns the current time in seconds; must never run backwards.

    Attributes
    ----------
    failure_threshold : int
        As given.
    recovery_timeout : float
        As given, in seconds.

    Raises
    ------
    ConfigurationError
        When `failure_threshold` is not a whole number of at least 1, or `recovery_timeout` is
        not finite and more than 0.

    Examples
    --------
    >>> breaker = CircuitBreaker()
    >>> breaker.call(int, "42")
    42
    >>> breaker.state
    'closed'
    """

    def __init__(
        self,
        failure_threshold: int = 5,
        recovery_timeout: float = 60.0,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.failure_threshold: int = checked(count, failure_threshold, "failure_threshold")
        self.recovery_timeout: float = _seconds("recovery_timeout", recovery_timeout)
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._probing = False
        # When the next probe may start; None while the breaker is closed.
        self._probe_at: float | None = None
        # Kept only while it is not closed: its traceback keeps the caller's frames alive.
        self._cause: Exception | None = None

    @property
    def state(self) -> Literal["closed", "open", "half_open"]:
        """Whether calls are let through, refused, or refused but for a probe."""
        with self._lock:
            return self._state_at(self._clock())

    @property
    def is_open(self) -> bool:
        """True while every call is refused."""
        return self.state == "open"

    def call(self, func: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Call a function, unless it has failed too often.

        An Exception is a failure. Any other end, such as KeyboardInterrupt, says nothing
        about the server and counts neither way.

        Parameters
        ----------
        func : callable
            What to call.
        *args, **kwargs
            Passed on to `func`.

        Returns
        -------
        object
            What `func` returned.

        Raises
        ------
        RateLimitError
            Without a call, when the breaker refuses it; see `before`.
        BaseException
            What `func` raised.
        """
        is_probe = self.before()
        try:
            result = func(*args, **kwargs)
        except Exception as error:
            self.failed(error)
            raise
        except BaseException:
            if is_probe:
                self.abandoned()
            raise
        self.succeeded()
        return result

    def before(self) -> bool:
        """Ask whether a call may begin.

        Returns
        -------
        bool
            True when the call is the probe, which has to be reported as `abandoned` if it
            ends with neither success nor failure; False for any other call.

        Raises
        ------
        RateLimitError
            When the breaker refuses the call. The last failure is its cause, and named in its
            ``reason``; ``retry_after`` is the time in seconds until a probe can be let through.
        """
        with self._lock:
            if self._probe_at is None:
                return False
            now = self._clock()
            wait = self._probe_at - now
            if wait <= 0:
                self._probing = True
                self._probe_at = now + self.recovery_timeout
                return True
            failures, cause = self._failures, self._cause
        raise RateLimitError(
            retry_after=wait,
            reason=f"{failures} failures in a row, the last {type(cause).__name__}: {cause}",
        ) from cause

    def succeeded(self) -> None:
        """Report that a call succeeded, which closes the breaker."""
        with self._lock:
            self._failures = 0
            self._probing = False
            self._probe_at = None
            self._cause = None

    def failed(self, error: Exception) -> None:
        """Report that a call failed.

        A failure that arrives while the breaker is open, of a call that began earlier, does
        not keep it open for longer.

        Parameters
        ----------
        error : Exception
            How it failed. Its class and text become part of later errors, so it must hold no
            secrets.
        """
        with self._lock:
            now = self._clock()
            state = self._state_at(now)
            self._failures += 1
            if state == "closed" and self._failures < self.failure_threshold:
                return
            self._cause = error
            if state != "open":
                self._probing = False
                self._probe_at = now + self.recovery_timeout

    def abandoned(self) -> None:
        """Report that the probe ended with neither success nor failure, so another may begin."""
        with self._lock:
            if self._probing:
                self._probing = False
                self._probe_at = self._clock()

    def _state_at(self, now: float) -> Literal["closed", "open", "half_open"]:
        if self._probe_at is None:
            return "closed"
        return "half_open" if self._probing or now >= self._probe_at else "open"


def _seconds(parameter: str, value: float) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 < value < float("inf"):
        raise ConfigurationError(parameter, value, "must be a finite number of seconds above 0")
    return value
