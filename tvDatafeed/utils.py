"""Helpers for programs written for tvDatafeed 2.x; the library itself uses only the session ids."""

from __future__ import annotations

import functools
import logging
import random
import string
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from types import TracebackType
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from tvDatafeed.common.deadline import Deadline
from tvDatafeed.common.facts import facts
from tvDatafeed.common.redaction import mask_sensitive_data, redact

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "ContextTimer",
    "Deadline",
    "chunk_list",
    "clamp",
    "format_timestamp",
    "generate_chart_session_id",
    "generate_session_id",
    "log_execution_time",
    "mask_sensitive_data",
    "redact",
    "retry_with_backoff",
    "safe_divide",
    "timeout_decorator",
]

logger: logging.Logger = logging.getLogger(__name__)

_P = ParamSpec("_P")
_T = TypeVar("_T")

_JITTER = 0.2
# Programs that seed the random module would get the same session ids again.
_system_random = random.SystemRandom()


def generate_session_id(prefix: str = "qs", length: int = 12) -> str:
    """Return a new random session id.

    Parameters
    ----------
    prefix : str, default "qs"
        The start of the id; "qs" is a quote session.
    length : int, default 12
        Number of random letters.

    Returns
    -------
    str
        The prefix, an underscore, and `length` lowercase letters.
    """
    return f"{prefix}_{''.join(_system_random.choices(string.ascii_lowercase, k=length))}"


def generate_chart_session_id(length: int = 12) -> str:
    """Return a new random id of a chart session.

    Parameters
    ----------
    length : int, default 12
        Number of random letters.

    Returns
    -------
    str
        ``cs_`` and `length` lowercase letters.
    """
    return generate_session_id("cs", length)


def retry_with_backoff(  # noqa: PLR0917 - as in 2.x
    func: Callable[[], _T],
    max_retries: int = 3,
    base_delay: float = 1.0,
    max_delay: float = 60.0,
    exceptions: tuple[type[BaseException], ...] = (Exception,),
    on_retry: Callable[[int, BaseException], object] | None = None,
) -> _T:
    """Call a function until it succeeds, waiting longer after each failure.

    For programs; the library itself does not use it.

    Parameters
    ----------
    func : callable
        Called without arguments.
    max_retries : int, default 3
        How many calls follow the first one; 0 or less means a single call.
    base_delay : float, default 1.0
        Seconds before the first retry; doubled for each further one.
    max_delay : float, default 60.0
        Upper bound of the delay in seconds. The delay slept is within 20 % of it.
    exceptions : tuple of exception classes, default (Exception,)
        The exceptions that count as failures; others are raised at once.
    on_retry : callable, optional
        Called as ``on_retry(attempt, exception)`` before each wait; attempts count from 1.

    Returns
    -------
    object
        The result of `func`.

    Raises
    ------
    BaseException
        The last failure, if all calls failed.

    Examples
    --------
    >>> retry_with_backoff(lambda: 42)
    42
    """
    delay = min(base_delay, max_delay)
    attempt = 1
    while True:
        try:
            return func()
        except exceptions as error:
            if attempt > max_retries:
                raise
            name = type(error).__name__
            logger.debug(
                "attempt %d failed with %s",
                attempt,
                name,
                extra=facts(attempt=attempt, error_type=name),
            )
            if on_retry is not None:
                on_retry(attempt, error)
        time.sleep(delay * random.uniform(1 - _JITTER, 1 + _JITTER))
        delay = min(delay * 2, max_delay)
        attempt += 1


class ContextTimer:
    """Measure how long a block takes, and log it.

    Logs one record: DEBUG when the block succeeds, ERROR when it raises. The exception is not
    caught.

    Parameters
    ----------
    name : str, default "Operation"
        The name of the block.
    logger_instance : logging.Logger, optional
        The logger. Default: the logger of this module.

    Attributes
    ----------
    elapsed : float
        Seconds the block took; 0.0 until it has ended.

    Examples
    --------
    >>> with ContextTimer("download") as timer:
    ...     pass
    >>> timer.elapsed >= 0
    True
    """

    def __init__(
        self, name: str = "Operation", logger_instance: logging.Logger | None = None
    ) -> None:
        self.name = name
        self.logger: logging.Logger = logger if logger_instance is None else logger_instance
        self.elapsed: float = 0.0
        self._started = 0.0

    def __enter__(self) -> Self:
        self.elapsed = 0.0
        self._started = time.perf_counter()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.elapsed = time.perf_counter() - self._started
        if exc_type is None:
            self.logger.debug(
                "%s took %.3f s",
                self.name,
                self.elapsed,
                extra=facts(operation=self.name, seconds=self.elapsed),
            )
        else:
            # Only the class: an exception's text may contain secrets.
            self.logger.error(
                "%s failed after %.3f s with %s",
                self.name,
                self.elapsed,
                exc_type.__name__,
                extra=facts(
                    operation=self.name, seconds=self.elapsed, error_type=exc_type.__name__
                ),
            )


def log_execution_time(func: Callable[_P, _T]) -> Callable[_P, _T]:
    """Decorate a function so that each call logs how long it took, as `ContextTimer` does.

    Parameters
    ----------
    func : callable
        The function.

    Returns
    -------
    callable
        The function with a log record per call.
    """

    @functools.wraps(func)
    def wrapper(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        with ContextTimer(func.__qualname__):
            return func(*args, **kwargs)

    return wrapper


def timeout_decorator(seconds: float) -> Callable[[Callable[_P, _T]], Callable[_P, _T]]:
    """Return a decorator that raises after a call that took too long.

    The call is not interrupted: the error is raised after its end.

    Parameters
    ----------
    seconds : float
        The time limit of a call.

    Returns
    -------
    callable
        The decorator. The decorated function raises `TimeoutError` after a call that took
        more than `seconds`.
    """

    def decorate(func: Callable[_P, _T]) -> Callable[_P, _T]:
        @functools.wraps(func)
        def wrapper(*args: _P.args, **kwargs: _P.kwargs) -> _T:
            started = time.monotonic()
            result = func(*args, **kwargs)
            elapsed = time.monotonic() - started
            if elapsed > seconds:
                raise TimeoutError(
                    f"{func.__qualname__} took {elapsed:.3f} s, more than the {seconds} s allowed"
                )
            return result

        return wrapper

    return decorate


def format_timestamp(timestamp: float, fmt: str = "%Y-%m-%d %H:%M:%S %Z") -> str:
    """Format a moment in UTC.

    Parameters
    ----------
    timestamp : float
        Seconds since 1970-01-01 UTC.
    fmt : str, default "%Y-%m-%d %H:%M:%S %Z"
        A format of `datetime.datetime.strftime`.

    Returns
    -------
    str
        The moment as text.

    Examples
    --------
    >>> format_timestamp(0)
    '1970-01-01 00:00:00 UTC'
    """
    # Not fromtimestamp, which fails before 1970 on Windows.
    epoch = datetime(1970, 1, 1, tzinfo=timezone.utc)
    return (epoch + timedelta(seconds=timestamp)).strftime(fmt)


def chunk_list(items: Sequence[_T], chunk_size: int) -> list[Sequence[_T]]:
    """Cut a list into pieces.

    Parameters
    ----------
    items : sequence
        The list.
    chunk_size : int
        Length of each piece; the last one may be shorter.

    Returns
    -------
    list
        The pieces, in order.

    Raises
    ------
    ValueError
        If `chunk_size` is less than 1.

    Examples
    --------
    >>> chunk_list([1, 2, 3], 2)
    [[1, 2], [3]]
    """
    if chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1, not {chunk_size}")
    return [items[start : start + chunk_size] for start in range(0, len(items), chunk_size)]


def safe_divide(numerator: float, denominator: float, default: float = 0.0) -> float:
    """Divide, with a default for division by zero.

    Parameters
    ----------
    numerator, denominator : float
        The operands.
    default : float, default 0.0
        The result if `denominator` is 0.

    Returns
    -------
    float
        The quotient, or `default`.
    """
    return default if denominator == 0 else numerator / denominator


def clamp(value: float, min_value: float, max_value: float) -> float:
    """Return the number nearest to a value within bounds.

    Parameters
    ----------
    value : float
        The value.
    min_value, max_value : float
        The bounds, both included.

    Returns
    -------
    float
        `value`, or the bound it exceeds.
    """
    return max(min_value, min(value, max_value))
