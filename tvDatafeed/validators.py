"""Checks of a caller's values: they return the normalised value, or raise an error.

Values are refused only by TradingView's rules: any well-formed symbol is valid, and the server
decides whether it is listed.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from datetime import datetime, timezone
from numbers import Real
from typing import Any, ClassVar, SupportsIndex

from tvDatafeed import config
from tvDatafeed.common.numbers import count, whole_number
from tvDatafeed.exceptions import (
    ConfigurationError,
    DataValidationError,
    InvalidIntervalError,
    InvalidOHLCError,
)
from tvDatafeed.interval import Interval

__all__ = [
    "Validators",
    "validate_exchange",
    "validate_n_bars",
    "validate_ohlc",
    "validate_symbol",
]

# Known tickers are less than half as long; expressions such as NASDAQ:AAPL/NASDAQ:MSFT are longer.
_MAX_LENGTH = 128
# A colon joins an exchange to a symbol: a word precedes it, and no operator follows it.
_LONE_COLON = re.compile(r"(?<!\w):|:(?![^:/*+)])")
_EARLIEST_YEAR = 2000
_EARLIEST_MS = 946_684_800_000
# Seconds reach this number in the year 2286; milliseconds reached it in April 1970.
_FIRST_MILLISECONDS = 10_000_000_000


class Validators:
    """Checks for programs.

    Attributes
    ----------
    SYMBOL_PATTERN : re.Pattern
        The pattern of a symbol after stripping and upper-casing: no white space, no control
        characters, neither ``"`` nor a backslash, 128 characters at most.
    EXCHANGE_PATTERN : re.Pattern
        The pattern of an exchange after stripping and upper-casing: letters, digits and
        ``_ . & -``, 128 characters at most.
    VALID_INTERVALS : list of str
        The value of each `Interval`.
    """

    SYMBOL_PATTERN: ClassVar[re.Pattern[str]] = re.compile(
        r'\A[^\s"\\\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,128}\Z'
    )
    EXCHANGE_PATTERN: ClassVar[re.Pattern[str]] = re.compile(r"\A[\w.&-]{1,128}\Z")
    VALID_INTERVALS: ClassVar[list[str]] = [interval.value for interval in Interval]

    @staticmethod
    def validate_symbol(symbol: str, allow_formatted: bool = True) -> str:
        r"""Return a symbol stripped and in upper case.

        Parameters
        ----------
        symbol : str
            A ticker such as ``BRK.B``, with its exchange (``NASDAQ:AAPL``) or without, or an
            expression such as ``NASDAQ:AAPL/NASDAQ:MSFT``.
        allow_formatted : bool, default True
            Whether it may contain its exchange.

        Returns
        -------
        str
            The symbol.

        Raises
        ------
        DataValidationError
            If it is not a symbol: empty, not a str, longer than 128 characters, with
            white space, an unprintable character, ``"`` or ``\``, or with a misplaced colon.

        Examples
        --------
        >>> Validators.validate_symbol(" nasdaq:aapl ")
        'NASDAQ:AAPL'
        """
        result = _normalised("symbol", symbol, "'AAPL' or 'NASDAQ:AAPL'")
        if not Validators.SYMBOL_PATTERN.match(result) or not result.isprintable():
            raise DataValidationError(
                "symbol",
                symbol,
                "must have neither white space, control characters, quotation marks nor "
                "backslashes; use the ticker as TradingView shows it",
            )
        if not any(character.isalnum() for character in result):
            raise DataValidationError(
                "symbol", symbol, "has no letter and no digit; pass a ticker such as 'AAPL'"
            )
        if ":" in result:
            if not allow_formatted:
                raise DataValidationError(
                    "symbol", symbol, "already names its exchange; pass the part after the ':'"
                )
            if _LONE_COLON.search(result):
                raise DataValidationError(
                    "symbol",
                    symbol,
                    "needs an exchange before each ':' and a ticker after it, as in 'NASDAQ:AAPL'",
                )
        return result

    @staticmethod
    def validate_exchange(exchange: str) -> str:
        """Return an exchange stripped and in upper case.

        Parameters
        ----------
        exchange : str
            A code such as ``NASDAQ`` or ``CME_MINI``.

        Returns
        -------
        str
            The exchange.

        Raises
        ------
        DataValidationError
            If it is not an exchange: empty, not a str, longer than 128 characters, or with
            anything but letters, digits and ``_ . & -``.

        Examples
        --------
        >>> Validators.validate_exchange("cme_mini")
        'CME_MINI'
        """
        result = _normalised("exchange", exchange, "'NASDAQ'")
        if not Validators.EXCHANGE_PATTERN.match(result) or not result[0].isalnum():
            raise DataValidationError(
                "exchange",
                exchange,
                "must start with a letter or digit and have only letters, digits and '_.&-'; "
                "use the code that stands before the ':' of a full symbol",
            )
        return result

    @staticmethod
    def validate_n_bars(n_bars: SupportsIndex, max_bars: int = 5000) -> int:
        """Return a number of bars as an int.

        Parameters
        ----------
        n_bars : int
            Number of bars; numpy's integers are accepted, bool, str and float are not.
        max_bars : int, default 5000
            The maximum number of bars.

        Returns
        -------
        int
            The number of bars.

        Raises
        ------
        DataValidationError
            When it is not an integer from 1 to `max_bars`.
        """
        try:
            number = whole_number(n_bars)
        except TypeError:
            number = None
        if number is None:
            raise DataValidationError(
                "n_bars", n_bars, f"must be an int, not {type(n_bars).__name__}"
            )
        if number < 1:
            raise DataValidationError("n_bars", n_bars, "must be at least 1")
        if number > max_bars:
            raise DataValidationError("n_bars", n_bars, f"must be at most {max_bars}")
        return number

    @staticmethod
    def validate_interval(interval: str) -> str:
        """Return the value of an `Interval` unchanged.

        Parameters
        ----------
        interval : str
            A value such as ``"1D"``.

        Returns
        -------
        str
            The same value.

        Raises
        ------
        InvalidIntervalError
            If no `Interval` has this value.
        """
        if not isinstance(interval, str) or interval not in Validators.VALID_INTERVALS:
            raise InvalidIntervalError(interval, Validators.VALID_INTERVALS)
        return interval

    @staticmethod
    def validate_timeout(timeout: Any) -> float:
        """Return a timeout in seconds as a float.

        Parameters
        ----------
        timeout : float
            Seconds, more than 0; or -1 for no limit. Anything that `float` accepts, except bool.

        Returns
        -------
        float
            The timeout in seconds; -1.0 means no limit.

        Raises
        ------
        ConfigurationError
            If it is not a number, not finite, 0, or negative and not -1.
        """
        return config.validate_timeout(timeout)

    @staticmethod
    def validate_ohlc(
        open_price: float,
        high: float,
        low: float,
        close: float,
        raise_on_error: bool = True,
    ) -> bool:
        """Return whether the prices of a bar agree with each other.

        Parameters
        ----------
        open_price, high, low, close : float
            The prices. NaN never agrees.
        raise_on_error : bool, default True
            Whether to raise instead of returning False.

        Returns
        -------
        bool
            True when `high` is at least, and `low` at most, both `open_price` and `close`.

        Raises
        ------
        InvalidOHLCError
            When they do not agree and `raise_on_error` is true.
        """
        try:
            # Not max() and min(), whose result depends on the position of a NaN.
            valid = bool(
                high >= open_price and high >= close and low <= open_price and low <= close
            )
        except (TypeError, ValueError):
            valid = False
        if not valid and raise_on_error:
            raise InvalidOHLCError(open_price, high, low, close)
        return valid

    @staticmethod
    def validate_volume(volume: float, raise_on_error: bool = True) -> bool:
        """Return whether a volume is valid.

        Parameters
        ----------
        volume : float
            The volume; NaN is invalid.
        raise_on_error : bool, default True
            Whether to raise instead of returning False.

        Returns
        -------
        bool
            True when it is 0 or more.

        Raises
        ------
        DataValidationError
            When it is not and `raise_on_error` is true.
        """
        try:
            valid = bool(volume >= 0)
        except (TypeError, ValueError):
            valid = False
        if not valid and raise_on_error:
            raise DataValidationError("volume", volume, "must be a number of at least 0")
        return valid

    @staticmethod
    def validate_credentials(username: str | None, password: str | None) -> bool:
        """Return whether a user and a password were passed.

        Parameters
        ----------
        username, password : str or None
            Both or neither.

        Returns
        -------
        bool
            True for both, False for neither.

        Raises
        ------
        ConfigurationError
            If only one was passed, or one is blank or not a str. The password is never shown.
        """
        if username is None and password is None:
            return False
        given = (("username", username), ("password", password))
        for name, value in given:
            if value is None:
                raise ConfigurationError(
                    name, value, "is missing; pass both username and password, or neither"
                )
        for name, value in given:
            if not isinstance(value, str) or not value.strip():
                raise ConfigurationError(
                    name,
                    value,
                    "must be a str that is not blank; pass None for an anonymous client",
                )
        return True

    @staticmethod
    def validate_date_range(
        start_date: datetime | None, end_date: datetime | None
    ) -> tuple[datetime | None, datetime | None]:
        """Return the limits of a range of time unchanged.

        Parameters
        ----------
        start_date, end_date : datetime or None
            Both or neither. Without a timezone they mean the machine's local time.

        Returns
        -------
        tuple
            ``(start_date, end_date)``.

        Raises
        ------
        DataValidationError
            With field "date_range" if only one is passed or the start is not before the end; with
            field "start_date" or "end_date" if that one is not a datetime, is in the future, or
            before 2000-01-01.
        """
        if start_date is None and end_date is None:
            return None, None
        if start_date is None or end_date is None:
            raise DataValidationError(
                "date_range",
                _as_range(start_date, end_date),
                "must have both a start and an end, or neither",
            )
        start = _moment("start_date", start_date)
        end = _moment("end_date", end_date)
        if not _is_before(start, end):
            raise DataValidationError(
                "date_range", _as_range(start_date, end_date), "must start before it ends"
            )
        _check_era("start_date", start)
        _check_era("end_date", end)
        return start_date, end_date

    @staticmethod
    def validate_timestamp(timestamp: float, param_name: str = "timestamp") -> int:
        """Return a moment in milliseconds since 1970-01-01 UTC.

        Parameters
        ----------
        timestamp : float
            Seconds since 1970-01-01 UTC when below 1e10, else milliseconds.
        param_name : str, default "timestamp"
            Name of the value in an error.

        Returns
        -------
        int
            Milliseconds.

        Raises
        ------
        DataValidationError
            If it is not a finite number, is in the future, or before 2000-01-01 UTC.
        """
        number = _finite(param_name, timestamp)
        milliseconds = number * 1000 if number < _FIRST_MILLISECONDS else number
        if milliseconds < _EARLIEST_MS:
            raise DataValidationError(param_name, timestamp, "must not be before 2000-01-01 UTC")
        if milliseconds > time.time() * 1000:
            raise DataValidationError(param_name, timestamp, "must not be in the future")
        return round(milliseconds)


validate_symbol: Callable[..., str] = Validators.validate_symbol
validate_exchange: Callable[..., str] = Validators.validate_exchange
validate_n_bars: Callable[..., int] = Validators.validate_n_bars
validate_ohlc: Callable[..., bool] = Validators.validate_ohlc


def check_count(field: str, value: Any) -> int:
    """Return a whole number of at least 1.

    Raises
    ------
    DataValidationError
        If it is anything else.
    """
    try:
        return count(value)
    except ValueError as error:
        raise DataValidationError(field, value, str(error)) from None


def _normalised(field: str, value: str, example: str) -> str:
    """Return a name stripped and in upper case, if it is a text of a valid length."""
    if not isinstance(value, str):
        raise DataValidationError(
            field, value, f"must be a str such as {example}, not {type(value).__name__}"
        )
    result = value.strip().upper()
    if not result:
        raise DataValidationError(field, value, f"must not be empty; pass {example}")
    if len(result) > _MAX_LENGTH:
        raise DataValidationError(
            field, value, f"has {len(result)} characters; at most {_MAX_LENGTH} are allowed"
        )
    return result


def _finite(field: str, value: Any) -> float:
    """Return a real number as Python's own type, whose arithmetic does not overflow."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise DataValidationError(field, value, f"must be a number, not {type(value).__name__}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise DataValidationError(field, value, "must be a finite number")
    return number


def _as_range(start: datetime | None, end: datetime | None) -> str:
    return f"{start} - {end}"


def _moment(field: str, value: datetime) -> datetime:
    """Return a datetime that is either naive or has a zone with an offset."""
    if not isinstance(value, datetime):
        raise DataValidationError(field, value, f"must be a datetime, not {type(value).__name__}")
    # pandas.NaT is an instance of datetime; only NaT differs from itself.
    if value != value:  # noqa: PLR0124
        raise DataValidationError(field, value, "must be a datetime, not NaT")
    # A tzinfo without an offset means a naive datetime.
    return value.replace(tzinfo=None) if value.utcoffset() is None else value


def _is_before(start: datetime, end: datetime) -> bool:
    if (start.tzinfo is None) == (end.tzinfo is None):
        return start < end
    return _aware(start) < _aware(end)


def _aware(moment: datetime) -> datetime:
    if moment.tzinfo is not None:
        return moment
    try:
        # A plain datetime, because a naive pandas.Timestamp cannot do this.
        return datetime.combine(moment.date(), moment.time()).astimezone()
    except (OverflowError, OSError, ValueError):
        # Errors in the first and last years of datetime, and on Windows before 1970; a few hours do
        # not matter there.
        return moment.replace(tzinfo=timezone.utc)


def _check_era(field: str, moment: datetime) -> None:
    if moment.year < _EARLIEST_YEAR:
        raise DataValidationError(field, moment, "must not be before 2000-01-01")
    now = datetime.now(tz=timezone.utc)
    if moment.tzinfo is None:
        now = now.astimezone().replace(tzinfo=None)
    if moment > now:
        raise DataValidationError(field, moment, "must not be in the future")
