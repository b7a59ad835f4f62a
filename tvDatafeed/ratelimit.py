"""Limits on requests to the server: a rate limit, a counter of requests, and a circuit breaker.

`RateLimiter` delays callers, `RequestTracker` only counts, and `CircuitBreaker` stops requests to a
server that keeps failing. Each may be shared by any number of threads; none starts a thread, and
none holds its lock while a caller waits or works.

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
# By a rounding error, the last token of a burst is due slightly later than the first one.
_ROUNDING_S = 1e-6


class RateLimiter:
    """A bucket of tokens, one per request, that fills up at a constant rate.

    The bucket starts full. At most ``burst_size + requests_per_minute`` tokens are used in any 60
    seconds, if the system wakes waiting threads on time.

    Parameters
    ----------
    requests_per_minute : int, default 60
        Tokens that are added in 60 seconds, evenly spread.
    burst_size : int, default 10
        The size of the bucket: how many tokens can be used at once after a pause.
    clock : callable, default time.monotonic
        Returns the current time in seconds; must never run backwards.

    Attributes
    ----------
    requests_per_minute, burst_size : int
        As passed.

    Raises
    ------
    ConfigurationError
        If a number is not a whole number of at least 1.

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
        # A bucket is full if its next token has been due for this long.
        self._head_start = (self.burst_size - 1) * self._spacing
        self._lock = threading.Lock()
        self._next_due = clock() - self._head_start
        call_in_forked_child(self._reset_in_child)

    def _reset_in_child(self) -> None:
        """In a forked child: the thread that held the lock does not exist."""
        self._lock = threading.Lock()

    def acquire(self, timeout: float | None = None, *, stop: threading.Event | None = None) -> bool:
        """Use one token; wait until it is available.

        Callers are served in their order: each reserves the next free token. If a caller stops
        waiting, because of `stop` or an exception such as KeyboardInterrupt, its token is returned
        if no caller came later; otherwise the token is lost, so that other turns stay the same.

        Parameters
        ----------
        timeout : float, optional
            Longest wait in seconds; 0 does not wait. Default: no limit.
        stop : threading.Event, optional
            Ends the wait when it is set.

        Returns
        -------
        bool
            True when a token was used; False when `stop` was set before.

        Raises
        ------
        RateLimitError
            At once, if the wait would be longer than `timeout`. ``retry_after`` is the time in
            seconds until a token is available, unless another caller uses it.
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
        """Use one token at once, if enough tokens remain for others.

        Parameters
        ----------
        kept : int
            How many tokens must remain.

        Raises
        ------
        RateLimitError
            Fewer would remain; ``retry_after`` is the time in seconds until there are enough.
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
        """Return a token whose request was never sent, for example because its host has no address.

        The next caller may use it; the turns of waiting callers stay the same.
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
    """Counts the requests of the last seconds, without delaying them.

    Parameters
    ----------
    window_seconds : float, default 60
        How long a request counts, in seconds.
    max_requests : int, default 60
        Requests per window at which a caller should wait. The tracker remembers at most this
        number.
    clock : callable, default time.monotonic
        Returns the current time in seconds; must never run backwards.

    Attributes
    ----------
    window_seconds : float
        As passed, in seconds.
    max_requests : int
        As passed.

    Raises
    ------
    ConfigurationError
        If `window_seconds` is not finite and more than 0, or `max_requests` is not a whole number
        of at least 1.

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
        """Return the number of requests in the window that ends now.

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
        """Return whether the window that ends now has `max_requests` requests or more."""
        return self.get_request_count() >= self.max_requests


class CircuitBreaker:
    """Refuses calls for a while after several failures in a row.

    At first it is closed and allows calls. After `failure_threshold` failures in a row it is open
    and refuses calls. After `recovery_timeout` it is half-open: it allows one call, the probe, and
    refuses others until the probe has ended. The success of any call closes the breaker; a failure
    while it is half-open opens it again.

    Wrap an operation in `call`. If it begins in one thread and ends in another, call `before`, and
    then exactly one of `succeeded`, `failed` and `abandoned`.

    Parameters
    ----------
    failure_threshold : int, default 5
        Failures in a row that open it.
    recovery_timeout : float, default 60.0
        Seconds for which it stays open. A probe that has not ended after this time counts as lost,
        and another one is allowed.
    clock : callable, default time.monotonic
        Returns the current time in seconds; must never run backwards.

    Attributes
    ----------
    failure_threshold : int
        As passed.
    recovery_timeout : float
        As passed, in seconds.

    Raises
    ------
    ConfigurationError
        If `failure_threshold` is not a whole number of at least 1, or `recovery_timeout` is not
        finite and more than 0.

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
        # Kept only while the breaker is not closed: its traceback keeps the caller's frames alive.
        self._cause: Exception | None = None

    @property
    def state(self) -> Literal["closed", "open", "half_open"]:
        """Whether calls are allowed, refused, or refused except for a probe."""
        with self._lock:
            return self._state_at(self._clock())

    @property
    def is_open(self) -> bool:
        """Whether every call is refused."""
        return self.state == "open"

    def call(self, func: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Call a function, unless the breaker refuses the call.

        An Exception is a failure. Other exits, such as KeyboardInterrupt, count neither as failure
        nor as success.

        Parameters
        ----------
        func : callable
            The function.
        *args, **kwargs
            Passed on to `func`.

        Returns
        -------
        object
            The result of `func`.

        Raises
        ------
        RateLimitError
            If the breaker refuses the call; see `before`.
        BaseException
            The exception of `func`.
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
        """Allow a call, or raise if the breaker refuses it.

        Returns
        -------
        bool
            True if the call is the probe, which must be reported as `abandoned` if it ends with
            neither success nor failure; False for any other call.

        Raises
        ------
        RateLimitError
            If the breaker refuses the call. The last failure is its cause and part of its
            ``reason``; ``retry_after`` is the time in seconds until a probe is allowed.
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
        """Record that a call succeeded, which closes the breaker."""
        with self._lock:
            self._failures = 0
            self._probing = False
            self._probe_at = None
            self._cause = None

    def failed(self, error: Exception) -> None:
        """Record that a call failed.

        The failure of a call that began before the breaker opened does not keep it open for longer.

        Parameters
        ----------
        error : Exception
            The failure. Its class and text become part of later errors, so it must not contain
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
        """Record that the probe ended without success and failure, so that another may begin."""
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
