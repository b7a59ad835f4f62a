"""When to try again what failed: the schedule, and helpers for a program's own senders."""

import functools
import inspect
import logging
import math
import random as random_numbers
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar, cast

from tvDatafeed.common.facts import facts
from tvDatafeed.exceptions import ConfigurationError, RetryExhaustedError

__all__ = ["RetryPolicy", "calculate_backoff_delay", "retry_async", "with_retry"]

logger: logging.Logger = logging.getLogger(__name__)

_P = ParamSpec("_P")
_T = TypeVar("_T")

# A longer pause that a server asks for is a mistake or a lock-out.
_MAX_RETRY_AFTER_S = 3600.0
# Without a policy: a program's own sender blocks its caller, so not for three days.
_FEW_ATTEMPTS = 5


@dataclass(frozen=True)
class RetryPolicy:
    """How often to try, and how long to wait in between.

    Attributes
    ----------
    base_s : float, default 5.0
        Seconds before the second attempt.
    factor : float, default 2.0
        The number that each pause is multiplied by to get the next one, at least 1.
    max_delay_s : float, default 900.0
        The longest pause in seconds.
    jitter : float, default 1.0
        The random part of each pause, a number from 0 to 1: with 1 a pause is anything between 0
        and its full length, with 0 it is its full length.
    attempts : int, optional
        How many attempts are made. Default: any number.
    give_up_s : float, default 259200.0
        Seconds after which no attempt is made any more; three days.

    Raises
    ------
    ConfigurationError
        A value cannot be used.

    Examples
    --------
    >>> policy = RetryPolicy(jitter=0.0)
    >>> [policy.delay_s(attempt) for attempt in (0, 1, 2, 3, 20)]
    [5.0, 10.0, 20.0, 40.0, 900.0]
    """

    base_s: float = 5.0
    factor: float = 2.0
    max_delay_s: float = 900.0
    jitter: float = 1.0
    attempts: int | None = None
    give_up_s: float = 259200.0

    def __post_init__(self) -> None:
        _check("base_s", self.base_s, 0.0, math.inf, "must be at least 0 seconds")
        _check("factor", self.factor, 1.0, math.inf, "must be at least 1")
        _check("max_delay_s", self.max_delay_s, 0.0, math.inf, "must be at least 0 seconds")
        _check("jitter", self.jitter, 0.0, 1.0, "must be between 0 and 1")
        _check("give_up_s", self.give_up_s, 0.0, math.inf, "must be at least 0 seconds")
        if self.attempts is not None:
            _check("attempts", self.attempts, 1, math.inf, "must be a whole number of at least 1")
            if not isinstance(self.attempts, int):
                raise ConfigurationError(
                    "attempts", self.attempts, "must be a whole number of at least 1"
                )

    def delay_s(
        self, attempt: int, *, random: Callable[[], float] = random_numbers.random
    ) -> float:
        """Return the pause after a failed attempt.

        Parameters
        ----------
        attempt : int
            The number of the attempt that failed, from 0.
        random : callable, optional
            Returns a random number from 0 to 1, without 1.

        Returns
        -------
        float
            Seconds.
        """
        try:
            full_s = min(self.base_s * float(self.factor) ** max(attempt, 0), self.max_delay_s)
        except OverflowError:
            full_s = self.max_delay_s if self.base_s else 0.0
        return full_s * (1.0 - self.jitter + self.jitter * random())


def calculate_backoff_delay(
    attempt: int,
    base_delay: float = 5.0,
    backoff_multiplier: float = 2.0,
    max_delay: float = 120.0,
    jitter: bool = True,
) -> float:
    """Return the pause after a failed attempt.

    Parameters
    ----------
    attempt : int
        The number of the attempt that failed, from 0.
    base_delay : float, default 5.0
        Seconds after the first one.
    backoff_multiplier : float, default 2.0
        What each pause is multiplied by to get the next one; a number of at least 1.
    max_delay : float, default 120.0
        The longest pause in seconds.
    jitter : bool, default True
        Whether the pause is a random one between 0 and its full length.

    Returns
    -------
    float
        Seconds.

    Raises
    ------
    ConfigurationError
        A value cannot be used.

    Examples
    --------
    >>> [calculate_backoff_delay(attempt, jitter=False) for attempt in (0, 1, 5)]
    [5.0, 10.0, 120.0]
    """
    policy = RetryPolicy(
        base_s=base_delay,
        factor=backoff_multiplier,
        max_delay_s=max_delay,
        jitter=1.0 if jitter else 0.0,
    )
    return policy.delay_s(attempt)


def with_retry(
    policy: RetryPolicy | None = None,
    on: type[Exception] | tuple[type[Exception], ...] = Exception,
    *,
    sleep: Callable[[float], Any] | None = None,
    random: Callable[[], float] = random_numbers.random,
    clock: Callable[[], float] = time.monotonic,
) -> Callable[[Callable[_P, _T]], Callable[_P, _T]]:
    """Return a decorator that calls a function again when it fails.

    An error with a number ``retry_after`` prolongs the pause to as many seconds, at most an hour.

    Parameters
    ----------
    policy : RetryPolicy, optional
        How often, and the pauses. Default: five attempts, after 5, 10, 20 and 40 s at the most.
    on : exception class or tuple of them, default Exception
        The errors after which another attempt is made; others are raised at once.
    sleep : callable, optional
        Waits for some seconds. Default: `time.sleep`, for a coroutine function `asyncio.sleep`.
    random : callable, optional
        Returns a random number from 0 to 1, without 1.
    clock : callable, optional
        Returns seconds that never go backwards.

    Returns
    -------
    callable
        The decorator, for functions and coroutine functions. What it makes of a function raises
        `RetryExhaustedError` when the last attempt has failed.

    Examples
    --------
    >>> answers = iter([OSError(), "sent"])
    >>> @with_retry(RetryPolicy(attempts=2, base_s=0.0), on=OSError)
    ... def send():
    ...     answer = next(answers)
    ...     if isinstance(answer, Exception):
    ...         raise answer
    ...     return answer
    >>> send()
    'sent'
    """
    schedule = policy or RetryPolicy(attempts=_FEW_ATTEMPTS)

    def decorate(function: Callable[_P, _T]) -> Callable[_P, _T]:
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def call_async(*args: _P.args, **kwargs: _P.kwargs) -> Any:
                return await retry_async(
                    functools.partial(function, *args, **kwargs),
                    schedule,
                    on,
                    sleep=sleep,
                    random=random,
                    clock=clock,
                )

            return cast("Callable[_P, _T]", call_async)

        @functools.wraps(function)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
            attempts = _Attempts(schedule, random, clock)
            while True:
                try:
                    return function(*args, **kwargs)
                except on as error:
                    delay_s = attempts.failed(error)
                (sleep or time.sleep)(delay_s)

        return call

    return decorate


async def retry_async(
    func: Callable[[], Awaitable[_T]],
    policy: RetryPolicy | None = None,
    on: type[Exception] | tuple[type[Exception], ...] = Exception,
    *,
    sleep: Callable[[float], Awaitable[Any]] | None = None,
    random: Callable[[], float] = random_numbers.random,
    clock: Callable[[], float] = time.monotonic,
) -> _T:
    """Await what a function returns, and call it again when that fails.

    Parameters
    ----------
    func : callable
        Called without arguments for each attempt; returns an awaitable.
    policy, on, random, clock
        As for `with_retry`.
    sleep : callable, optional
        Returns an awaitable that waits for some seconds. Default: `asyncio.sleep`.

    Returns
    -------
    object
        What the awaitable gives.

    Raises
    ------
    RetryExhaustedError
        The last attempt has failed.

    Examples
    --------
    >>> import asyncio
    >>> async def send():
    ...     return "sent"
    >>> asyncio.run(retry_async(send))
    'sent'
    """
    import asyncio  # noqa: PLC0415 - slow to import, and a webhook needs the schedule alone

    attempts = _Attempts(policy or RetryPolicy(attempts=_FEW_ATTEMPTS), random, clock)
    while True:
        try:
            return await func()
        except on as error:
            delay_s = attempts.failed(error)
        await (sleep or asyncio.sleep)(delay_s)


class _Attempts:
    """The attempts of one call."""

    def __init__(
        self, policy: RetryPolicy, random: Callable[[], float], clock: Callable[[], float]
    ) -> None:
        self._policy = policy
        self._random = random
        self._clock = clock
        self._failures = 0
        self._end = clock() + policy.give_up_s

    def failed(self, error: Exception) -> float:
        """Return the pause after a failure, in seconds.

        Raises
        ------
        RetryExhaustedError
            No attempt is left.
        """
        delay_s = max(
            self._policy.delay_s(self._failures, random=self._random), _retry_after_s(error)
        )
        self._failures += 1
        is_last = self._failures == self._policy.attempts
        if is_last or self._clock() + delay_s > self._end:
            raise RetryExhaustedError(self._failures, error) from error
        logger.info(
            "attempt %d raised %s; the next one follows in %.1f s",
            self._failures,
            type(error).__name__,
            delay_s,
            extra=facts(attempt=self._failures, error_type=type(error).__name__, seconds=delay_s),
        )
        return delay_s


def _retry_after_s(error: Exception) -> float:
    value = getattr(error, "retry_after", None)
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        return 0.0
    return min(float(value), _MAX_RETRY_AFTER_S)


def _check(name: str, value: Any, low: float, high: float, reason: str) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not low <= value <= high:
        raise ConfigurationError(name, value, reason)
