"""The errors of this library.

::

    TvDatafeedError
    ├─ AuthenticationError
    │   ├─ TwoFactorRequiredError
    │   └─ CaptchaRequiredError
    ├─ NetworkError
    │   ├─ WebSocketError
    │   │   ├─ WebSocketTimeoutError
    │   │   └─ ProtocolError
    │   ├─ ConnectionError            (also a builtins.ConnectionError)
    │   └─ RateLimitError
    ├─ DataError
    │   ├─ DataNotFoundError
    │   │   └─ SymbolNotFoundError
    │   ├─ DataValidationError
    │   │   └─ InvalidOHLCError
    │   ├─ EntitlementError
    │   └─ InvalidIntervalError       (also a ValueError)
    ├─ ThreadingError
    │   ├─ LockTimeoutError
    │   └─ ConsumerError
    │       └─ SlowConsumerError
    ├─ StoreError
    │   ├─ StoreLockedError
    │   ├─ StoreCorruptError
    │   └─ StoreVersionError
    ├─ DeliveryError
    │   ├─ SigningError
    │   ├─ VerificationError
    │   ├─ OutboxError
    │   │   └─ OutboxFullError
    │   └─ RetryExhaustedError
    └─ ConfigurationError

Each error can be pickled and copied with its message and all its attributes. Errors do not show
secrets: the value of a secret field is replaced by ``***``.
"""

from __future__ import annotations

import builtins
import copy
import re
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

__all__ = [
    "AuthenticationError",
    "CaptchaRequiredError",
    "ConfigurationError",
    "ConnectionError",
    "ConsumerError",
    "DataError",
    "DataNotFoundError",
    "DataValidationError",
    "DeliveryError",
    "EntitlementError",
    "InvalidIntervalError",
    "InvalidOHLCError",
    "LockTimeoutError",
    "NetworkError",
    "OutboxError",
    "OutboxFullError",
    "ProtocolError",
    "RateLimitError",
    "RetryExhaustedError",
    "SigningError",
    "SlowConsumerError",
    "StoreCorruptError",
    "StoreError",
    "StoreLockedError",
    "StoreVersionError",
    "SymbolNotFoundError",
    "ThreadingError",
    "TvDatafeedError",
    "TwoFactorRequiredError",
    "VerificationError",
    "WebSocketError",
    "WebSocketTimeoutError",
]

_E = TypeVar("_E", bound=Exception)


class TvDatafeedError(Exception):
    """Base of every error this library raises.

    Attributes
    ----------
    retryable : bool
        Whether the same call may succeed later with the same arguments.
    """

    retryable: bool = False

    def __reduce__(self) -> tuple[Any, ...]:
        # The default would call the class with ``args``, which is the finished message instead of
        # the constructor's arguments.
        return _restore, (type(self), self.args), self.__dict__ or None


class AuthenticationError(TvDatafeedError):
    """TradingView refused the credentials.

    Parameters
    ----------
    message : str, default "Authentication failed"
        What went wrong.
    username : str, optional
        The user who tried to sign in; appended to the message.

    Attributes
    ----------
    username : str or None
        As passed.
    """

    def __init__(self, message: str = "Authentication failed", username: str | None = None) -> None:
        self.username = username
        super().__init__(f"{message} for user '{_shown(username)}'" if username else message)


class TwoFactorRequiredError(AuthenticationError):
    """The account has a second factor and no code was passed.

    Parameters
    ----------
    method : str, default "totp"
        The second factor that TradingView requires.

    Attributes
    ----------
    method : str
        As passed.
    """

    def __init__(self, method: str = "totp") -> None:
        self.method = method
        super().__init__(
            f"Two-factor authentication required ({_shown(method)}). "
            "Pass totp_code (the current code) or totp_secret (to have codes generated)."
        )


class CaptchaRequiredError(AuthenticationError):
    """TradingView requires a captcha before it accepts a password.

    Parameters
    ----------
    username : str, optional
        The user who tried to sign in; appended to the message.
    """

    def __init__(self, username: str | None = None) -> None:
        super().__init__(
            "TradingView requires CAPTCHA verification. Sign in with a browser and pass its "
            "sessionid and sessionid_sign cookies, or pass auth_token, or use the token cache "
            "of an earlier login",
            username,
        )


class NetworkError(TvDatafeedError):
    """Something between us and TradingView failed.

    Parameters
    ----------
    message : str, default "Network error"
        What went wrong.
    retryable : bool, optional
        False for a permanent failure, such as an invalid certificate. Default: the class's value,
        True.
    """

    retryable: bool = True

    def __init__(self, message: str = "Network error", *, retryable: bool | None = None) -> None:
        super().__init__(message)
        if retryable is not None:
            self.retryable = retryable


class WebSocketError(NetworkError):
    """The WebSocket could not be opened, or broke.

    Parameters
    ----------
    message : str, default "WebSocket error"
        What went wrong.
    url : str, optional
        The URL; appended to the message, without user and password.
    retryable : bool, optional
        As for `NetworkError`.
    close_code : int, optional
        The code of the close frame with which the server ended the connection.

    Attributes
    ----------
    url : str or None
        As passed, without user and password.
    close_code : int or None
        As passed.
    """

    def __init__(
        self,
        message: str = "WebSocket error",
        url: str | None = None,
        *,
        retryable: bool | None = None,
        close_code: int | None = None,
    ) -> None:
        self.close_code = close_code
        self.url: str | None = None if url is None else _without_userinfo(url)
        text = f"{message} (URL: {_shown(self.url)})" if self.url else message
        super().__init__(text, retryable=retryable)


class WebSocketTimeoutError(WebSocketError):
    """An answer did not arrive in time.

    Parameters
    ----------
    operation : str, default "operation"
        The operation that timed out.
    timeout : float, default 0
        The time limit, in seconds.
    detail : str, optional
        The progress so far, such as "1200 bars had arrived"; appended to the message.

    Attributes
    ----------
    operation : str
        As passed.
    timeout : float
        As passed, in seconds.
    detail : str or None
        As passed.
    """

    def __init__(
        self, operation: str = "operation", timeout: float = 0, *, detail: str | None = None
    ) -> None:
        self.operation = operation
        self.timeout = timeout
        self.detail = detail
        text = f"WebSocket {operation} timed out after {timeout}s"
        super().__init__(f"{text}: {detail}" if detail else text)


class ProtocolError(WebSocketError):
    """The server broke the protocol."""


class ConnectionError(NetworkError, builtins.ConnectionError):  # noqa: A001 - the name of 2.x
    """TradingView could not be reached over HTTP.

    It is also a `builtins.ConnectionError`, so ``except OSError`` catches it.

    Parameters
    ----------
    message : str, default "Connection failed"
        What went wrong.
    retry_count : int, default 0
        The number of retries; appended to the message unless 0.
    retryable : bool, optional
        As for `NetworkError`.

    Attributes
    ----------
    retry_count : int
        As passed.
    """

    def __init__(
        self,
        message: str = "Connection failed",
        retry_count: int = 0,
        *,
        retryable: bool | None = None,
    ) -> None:
        self.retry_count = retry_count
        text = f"{message} after {retry_count} retries" if retry_count else message
        super().__init__(text, retryable=retryable)


class RateLimitError(NetworkError):
    """TradingView, or our own limiter, refuses more requests for now.

    Parameters
    ----------
    limit : int, optional
        Requests allowed per `window`; None if the server sent no number.
    window : float, default 60
        Length of the window in seconds.
    retry_after : float, optional
        Seconds after which the server allows another attempt.
    reason : str, optional
        The server's own text.
    advice : str, optional
        Another next step, one sentence; appended to the message.

    Attributes
    ----------
    limit : int or None
        As passed.
    window : float
        As passed, in seconds.
    retry_after : float or None
        As passed, in seconds.
    reason : str or None
        As passed.
    """

    def __init__(
        self,
        limit: int | None = None,
        window: float = 60,
        *,
        retry_after: float | None = None,
        reason: str | None = None,
        advice: str | None = None,
    ) -> None:
        self.limit = limit
        self.window = window
        self.retry_after = retry_after
        self.reason = reason
        what = "too many requests" if limit is None else f"{limit} requests per {window}s"
        why = f" ({_shown(reason)})" if reason else ""
        when = "later" if retry_after is None else f"in {retry_after:g} s"
        more = f" {advice}" if advice else ""
        super().__init__(f"Rate limit exceeded: {what}{why}. Please try again {when}.{more}")


class DataError(TvDatafeedError):
    """The requested data are not available or invalid.

    Parameters
    ----------
    message : str, default "Data error"
        What went wrong.
    reason : str, optional
        The server's own text; appended to the message unless that contains it.

    Attributes
    ----------
    reason : str or None
        As passed.
    """

    def __init__(self, message: str = "Data error", *, reason: str | None = None) -> None:
        self.reason = reason
        if reason:
            shown = _shown(reason)
            message = message if shown in message else f"{message} ({shown})"
        super().__init__(message)


class DataNotFoundError(DataError):
    """The server's answer has no bars.

    Parameters
    ----------
    symbol : str
        The requested symbol.
    exchange : str
        The requested exchange.
    reason : str, optional
        The server's own text; appended to the message.

    Attributes
    ----------
    symbol : str
        As passed.
    exchange : str or None
        As passed.
    reason : str or None
        As passed.
    """

    def __init__(self, symbol: str, exchange: str | None, *, reason: str | None = None) -> None:
        self.symbol = symbol
        self.exchange = exchange
        super().__init__(self._describe(_shown(symbol), _on(exchange)), reason=reason)

    def _describe(self, symbol: str, on_exchange: str) -> str:
        return (
            f"No data found for {symbol}{on_exchange}. Possible causes: no trades in the time "
            "asked for, or the symbol belongs to another exchange; look it up on TradingView."
        )


class SymbolNotFoundError(DataNotFoundError):
    """TradingView does not know the symbol.

    Parameters
    ----------
    symbol : str
        The requested symbol.
    exchange : str, optional
        The requested exchange.
    reason : str, optional
        The server's own text; appended to the message.
    suggestions : sequence of str, default ()
        Symbols with similar names from TradingView's search: "NASDAQ:AAPL".
    currency : str, optional
        The requested currency of the prices; TradingView refuses an unknown one like a symbol.

    Attributes
    ----------
    suggestions : tuple of str
        As passed.
    currency : str or None
        As passed.
    """

    def __init__(
        self,
        symbol: str,
        exchange: str | None = None,
        *,
        reason: str | None = None,
        suggestions: Sequence[str] = (),
        currency: str | None = None,
    ) -> None:
        self.suggestions: tuple[str, ...] = tuple(suggestions)
        self.currency: str | None = currency
        super().__init__(symbol, exchange, reason=reason)

    def _describe(self, symbol: str, on_exchange: str) -> str:
        hint = "Look its name and exchange up on TradingView."
        others = [name for name in self.suggestions if name != f"{self.exchange}:{self.symbol}"]
        if self.currency is not None and len(others) < len(self.suggestions):
            on_exchange += f" with prices in '{_shown(self.currency)}'"
            hint = "The symbol exists: use a code of a currency, such as 'USD' or 'EUR'."
        elif others:
            hint = f"Did you mean {' or '.join(map(_shown, others))}?"
        elif self.currency is not None:
            on_exchange += f" with prices in '{_shown(self.currency)}'"
        if self.exchange == _DEFAULT_EXCHANGE:
            on_exchange += ", the exchange where none is given"
        return f"Symbol '{symbol}' not found{on_exchange}. {hint}"


class DataValidationError(DataError):
    """A value is invalid.

    Parameters
    ----------
    field : str
        The name of the value.
    value : object
        The value; kept and shown as ``***`` when `field` names a secret.
    reason : str
        The problem, and the next step.

    Attributes
    ----------
    field : str
        As passed.
    value : object
        As passed, or ``***``.
    reason : str
        As passed.
    """

    reason: str

    def __init__(self, field: str, value: object, reason: str) -> None:
        self.field = field
        self.value: object
        self.value, reason = _without_secret(field, value, reason)
        super().__init__(
            f"Data validation failed for {field}='{_shown(self.value)}': {_shown(reason)}",
            reason=reason,
        )


class InvalidOHLCError(DataValidationError):
    """The four prices of a bar contradict each other, or one is missing.

    Parameters
    ----------
    open_price, high, low, close : float
        The prices.

    Attributes
    ----------
    open_price, high, low, close : float
        As passed.
    """

    def __init__(self, open_price: float, high: float, low: float, close: float) -> None:
        self.open_price = open_price
        self.high = high
        self.low = low
        self.close = close
        super().__init__(
            "OHLC",
            "/".join(_shown(price) for price in (open_price, high, low, close)),
            "high must be at least, and low at most, both open and close",
        )


class EntitlementError(DataError):
    """The account's plan does not include the requested data.

    Parameters
    ----------
    symbol : str
        The requested symbol.
    reason : str
        The server's own text.
    needs : str, optional
        The plan that includes the data, if known: "bars of seconds come with the Premium plan and
        those above it".

    Attributes
    ----------
    symbol : str
        As passed.
    reason : str
        As passed.
    needs : str or None
        As passed.
    """

    reason: str

    def __init__(self, symbol: str, reason: str, *, needs: str | None = None) -> None:
        self.symbol = symbol
        self.needs = needs
        known = f"{needs[:1].upper()}{needs[1:]}. " if needs else ""
        super().__init__(
            f"The account's plan does not include {_shown(symbol)} as requested: "
            f"{_shown(reason)}. {known}Sign in with an account whose plan does.",
            reason=reason,
        )


class InvalidIntervalError(DataError, ValueError):
    """TradingView does not offer the interval.

    Parameters
    ----------
    interval : object
        The invalid value.
    supported : iterable of str, optional
        The accepted values; appended to the message.
    nearest : sequence of str, default ()
        The most similar values; appended to the message.
    advice : str, optional
        What to do about it; appended to the message.

    Attributes
    ----------
    interval : object
        As passed.
    supported : list of str or None
        As passed.
    nearest : list of str
        As passed.
    """

    def __init__(
        self,
        interval: object,
        supported: Iterable[str] | None = None,
        *,
        nearest: Sequence[str] = (),
        advice: str | None = None,
    ) -> None:
        self.interval = interval
        self.supported: list[str] | None = None if supported is None else list(supported)
        self.nearest: list[str] = list(nearest)
        text = f"Invalid interval: '{_shown(interval)}'"
        if advice:
            text += f": {advice}"
        if self.nearest:
            text += f". The nearest are {', '.join(self.nearest)}"
        if self.supported:
            text += f". Supported intervals: {', '.join(map(str, self.supported))}"
        if self.nearest:
            text += " (m: minutes, M: months)"
        super().__init__(text)


class ThreadingError(TvDatafeedError):
    """A thread of the live feed cannot be started, or is not in the expected state."""


class LockTimeoutError(ThreadingError):
    """Another thread held a resource for longer than the caller's timeout.

    Parameters
    ----------
    timeout : float
        The time waited, in seconds.
    resource : str, default "resource"
        The name of the resource.

    Attributes
    ----------
    timeout : float
        As passed, in seconds.
    resource : str
        As passed.
    """

    def __init__(self, timeout: float, resource: str = "resource") -> None:
        self.timeout = timeout
        self.resource = resource
        super().__init__(
            f"Could not acquire the lock of {resource} within {timeout}s. "
            "Try again, or allow a longer timeout."
        )


class ConsumerError(ThreadingError):
    """A consumer has failed.

    Parameters
    ----------
    message : str
        What went wrong.
    seis : Seis, optional
        The series it consumes; appended to the message.

    Attributes
    ----------
    seis : Seis or None
        As passed.
    """

    def __init__(self, message: str, seis: object | None = None) -> None:
        self.seis = seis
        super().__init__(message if seis is None else f"{message} (Seis: {_shown(seis)})")


class SlowConsumerError(ConsumerError):
    """A consumer's callback is slower than its bars arrive; bars were dropped."""


class StoreError(TvDatafeedError):
    """The bar store cannot be read or written.

    Parameters
    ----------
    message : str
        What went wrong.
    hint : str, optional
        What to do about it; appended to the message.

    Attributes
    ----------
    hint : str
        As passed.
    """

    retryable = True

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.hint = hint
        super().__init__(_shown(f"{message}; {hint}" if hint else message))


class StoreLockedError(StoreError):
    """Other programs kept the bar store locked for longer than the timeout."""


class StoreCorruptError(StoreError):
    """The content of the bar store is damaged.

    Parameters
    ----------
    message, hint : str
        As for `StoreError`.
    damaged : tuple of (str, float, float), optional
        The key of the series and the open times of the first and the last unreadable bar, if known.

    Attributes
    ----------
    damaged : tuple or None
        As passed.
    """

    def __init__(
        self, message: str, *, hint: str = "", damaged: tuple[str, float, float] | None = None
    ) -> None:
        self.damaged = damaged
        super().__init__(message, hint=hint)


class StoreVersionError(StoreError):
    """A later version of this library created the bar store."""

    retryable = False


class DeliveryError(TvDatafeedError):
    """A message cannot be created, signed, stored or sent.

    Parameters
    ----------
    message : str, default "Delivery failed"
        What went wrong.
    retryable : bool, optional
        Whether another attempt with the same message may succeed. Default: the class's value,
        False.
    """

    def __init__(self, message: str = "Delivery failed", *, retryable: bool | None = None) -> None:
        super().__init__(_shown(message))
        if retryable is not None:
            self.retryable = retryable


class SigningError(DeliveryError):
    """A message cannot be signed: its id, timestamp or body is invalid."""


class VerificationError(DeliveryError):
    """A received message is not signed by the expected producer, or is too old or too new."""


class OutboxError(DeliveryError):
    """The outbox cannot be read or written."""


class OutboxFullError(OutboxError):
    """The outbox has reached its limit of bytes, and no delivered message is left to remove."""

    retryable = True


class RetryExhaustedError(DeliveryError):
    """All attempts have failed; the last error is also the cause.

    Parameters
    ----------
    attempts : int
        The number of attempts.
    last_error : Exception
        The error of the last attempt. Its text is shown only for errors of this library: other
        texts may contain secrets.

    Attributes
    ----------
    attempts : int
        As passed.
    last_error : Exception
        As passed.
    """

    def __init__(self, attempts: int, last_error: BaseException) -> None:
        self.attempts = attempts
        self.last_error = last_error
        what = type(last_error).__name__
        if isinstance(last_error, TvDatafeedError):
            what = f"{what}: {last_error}"
        times = "attempt" if attempts == 1 else "attempts"
        super().__init__(f"gave up after {attempts} {times}; the last one raised {what}")


class ConfigurationError(TvDatafeedError):
    """A parameter, a config field or an environment variable has an invalid value.

    Parameters
    ----------
    parameter : str
        Its name.
    value : object
        The value; kept and shown as ``***`` when `parameter` names a secret.
    reason : str
        The problem, and the next step.

    Attributes
    ----------
    parameter : str
        As passed.
    value : object
        As passed, or ``***``.
    reason : str
        As passed.
    """

    def __init__(self, parameter: str, value: object, reason: str) -> None:
        self.parameter = parameter
        self.value: object
        self.reason: str
        self.value, self.reason = _without_secret(parameter, value, reason)
        super().__init__(
            f"Invalid configuration for {parameter}='{_shown(self.value)}': {_shown(self.reason)}"
        )


def own_copy(error: _E) -> _E:
    """Return a copy of an error of this library for one of several threads that raise it.

    Raising writes a traceback into an error, and each thread has its own. Other errors are returned
    unchanged: not all of them can be copied.
    """
    if not isinstance(error, TvDatafeedError):
        return error
    own = copy.copy(error)
    own.__cause__ = error.__cause__
    return own


def cut_tracebacks(error: BaseException) -> None:
    """Remove the tracebacks of a kept error and of all its causes.

    A traceback refers to frames, and they refer to their variables, often to the error itself: only
    the garbage collector would free such a cycle.
    """
    found: dict[int, BaseException] = {}
    left: list[BaseException | None] = [error]
    while left:
        link = left.pop()
        if link is not None and id(link) not in found:
            found[id(link)] = link
            link.__traceback__ = None
            left += (link.__cause__, link.__context__)


_MASK = "***"
_SECRET_NAMES = ("password", "secret", "token", "code", "sessionid", "chat_id")
# Shorter values appear in ordinary text by chance.
_SECRET_MIN_LENGTH = 4
_USERINFO = re.compile(r"(?<=://)[^/?#\s]*@")
# In an invalid URL, everything before an @ may be part of a password.
_NAMES_OF_URLS = ("proxy", "url")
_ANY_USERINFO = re.compile(r"\A(\s*[A-Za-z][A-Za-z0-9+.-]*://)?.*@", re.DOTALL)
# A message must fit into one line of a log; the attributes keep complete values.
# For calls without one, because of old programs.
_DEFAULT_EXCHANGE = "NSE"
_SHOWN_MAX_LENGTH = 300


def _restore(error_class: type[_E], args: tuple[object, ...]) -> _E:
    """Create an error without its constructor, which would build the message a second time."""
    error = error_class.__new__(error_class)
    # OSError.__new__ does not store the arguments; its constructor does.
    error.args = args
    return error


def _on(exchange: str | None) -> str:
    return f" on {_shown(exchange)}" if exchange else ""


def _shown(value: object) -> str:
    """Return a value as text that is safe in one line of a log."""
    try:
        text = str(value)
    except Exception:  # noqa: BLE001 - a message about a bad value must not fail because of it
        text = f"<{type(value).__name__}>"
    if len(text) > _SHOWN_MAX_LENGTH:
        text = f"{text[:_SHOWN_MAX_LENGTH]}... ({len(text)} characters)"
    if not text.isprintable():
        text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return _without_userinfo(text)


def _without_userinfo(text: str) -> str:
    return _USERINFO.sub(f"{_MASK}@", text)


def _without_secret(name: str, value: object, reason: str) -> tuple[object, str]:
    """Return the value and the reason with secrets replaced."""
    if any(word in name.lower() for word in _SECRET_NAMES):
        if isinstance(value, str) and len(value) >= _SECRET_MIN_LENGTH:
            reason = reason.replace(value, _MASK)
        return _MASK, reason
    if not isinstance(value, str):
        return value, reason
    if any(word in name.lower() for word in _NAMES_OF_URLS):
        value = _ANY_USERINFO.sub(rf"\1{_MASK}@", value)
    return _without_userinfo(value), reason
