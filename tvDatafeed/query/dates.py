"""Dates: a caller's limits as moments, and their zones.

A limit is a moment, a wall time of some zone, or a whole day. The exchange decides which day a bar
belongs to: a session that opens the evening before belongs to the next day.
"""

import math
import re
import time
import zoneinfo
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta, timezone, tzinfo
from numbers import Real
from typing import TYPE_CHECKING, Any, TypeAlias

from tvDatafeed.config import TvDatafeedConfig
from tvDatafeed.exceptions import ConfigurationError, DataValidationError

if TYPE_CHECKING:
    import numpy as np

# The name for the zone of the symbol's exchange.
EXCHANGE_TIMEZONE = "exchange"

Limit: TypeAlias = datetime | date
# Also known without zone files; crypto exchanges use the first.
_UTC_NAMES = ("Etc/UTC", "Etc/GMT", "GMT")
if TYPE_CHECKING:
    DateLike: TypeAlias = (
        datetime | date | str | float | np.datetime64 | np.integer[Any] | np.floating[Any]
    )
else:
    # numpy is not imported before the first DataFrame.
    DateLike = datetime | date | str | float

# These separate a day from a time; Python itself accepts any character there.
_ISO = re.compile(r"(\d{4}-\d{2}-\d{2})([T ].+)?")
_BASIC_ISO = re.compile(
    r"(\d{4})(\d{2})(\d{2})"
    r"(?:[T ](\d{2})(?:(\d{2})(?:(\d{2})([.,]\d+)?)?)?(?:([zZ])|([+-]\d{2}):?(\d{2})?)?)?",
    re.ASCII,
)
# Epoch seconds until the year 2286 are below this; present milliseconds are above it.
_FIRST_MILLISECONDS = 1e10
_UNITS_OF_EPOCH = ((1e16, "nanoseconds", 1e9), (1e13, "microseconds", 1e6))
_MICROSECONDS = 1_000_000
# As numbers, these days would be moments of August and September 1970.
_DAYS_AS_NUMBERS = (19000101, 21001231)
_FORMS = (
    "must be a datetime, a date, a text such as '2026-01-31T09:30', a numpy.datetime64, or epoch "
    "seconds"
)
_DAY_S = 86400.0
_LINEAGE_YEAR = 2000

# Zones are at most 14 hours ahead of UTC, and 12 hours behind it.
_MOST_AHEAD_S, _MOST_BEHIND_S = 14 * 3600.0, 12 * 3600.0
# A session that opens the evening before opens at 17:00 or later.
_EVENING_S = 7 * 3600.0
# An F with a number means that a range begins that number of days earlier.
_RANGE = re.compile(r"(\d{2})(\d{2})(F\d)?-(\d{2})(\d{2})")
_MINUTES_A_DAY = 24 * 60
# The offset of local time is compared with the system's own now and half a year from now.
_HALF_A_YEAR_S = 182 * _DAY_S


def timezone_named(name: str | tzinfo) -> tzinfo:
    """Look a timezone up by name.

    Parameters
    ----------
    name : str or tzinfo
        "UTC" in upper or lower case, or an IANA name; a tzinfo is returned unchanged.

    Raises
    ------
    ConfigurationError
        If the zone does not exist, or the machine has no zone files.
    """
    if isinstance(name, tzinfo):
        return name
    if isinstance(name, str) and name.upper() == "UTC":
        return timezone.utc
    try:
        return zoneinfo.ZoneInfo(name)
    # A name may also be a path that leads outside of the zone files, or to a folder.
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError, TypeError) as error:
        if name in _UTC_NAMES:
            return timezone.utc
        advice = "no such timezone; use 'UTC', 'exchange' or an IANA name"
        if not _has_zone_files():
            advice = "this machine has no zone files; pip install tzdata, or use 'UTC'"
        raise ConfigurationError("timezone", name, advice) from error


def zone_choice(
    timezone: str | tzinfo | None, default: str | tzinfo | None = None
) -> str | tzinfo | None:
    """Return the zone that a caller passes, else a default.

    Parameters
    ----------
    timezone, default
        "UTC", an IANA name, "exchange", or a tzinfo; None: not passed; an empty text: naive local
        time.

    Returns
    -------
    str, tzinfo or None
        None for naive local time.

    Raises
    ------
    ConfigurationError
        If the zone does not exist, or the machine has no zone files.
    """
    chosen = default if timezone is None else timezone
    if isinstance(chosen, str):
        chosen = chosen.strip() or None
    if chosen is not None and chosen != EXCHANGE_TIMEZONE:
        timezone_named(chosen)
    return chosen


def with_timezone(
    config: TvDatafeedConfig, timezone: str | tzinfo | None = None
) -> TvDatafeedConfig:
    """Return settings with a default zone; without one, return them unchanged.

    Raises
    ------
    ConfigurationError
        As from `zone_choice`, for the settings' own zone too.
    """
    chosen = zone_choice(timezone, config.data.timezone)
    return replace(config, data=replace(config.data, timezone=chosen))


def _has_zone_files() -> bool:
    try:
        zoneinfo.ZoneInfo("Europe/London")
    except (zoneinfo.ZoneInfoNotFoundError, OSError):
        return False
    return True


def local_timezone() -> tzinfo | None:
    """Return the zone of the process's local time, as of the last `time.tzset`.

    Returns
    -------
    tzinfo or None
        None if only the system knows local time: a rule without a zone's name, or a configured zone
        that is not the one in use.
    """
    import tzlocal  # noqa: PLC0415 - asked for where local time is

    try:
        # Each call of time.tzset makes a new tuple, even for a zone of the same names.
        if (names := time.tzname) is not _Local.names:
            is_named = False
            try:
                is_named = _is_in_use(tzlocal.reload_localzone())
            finally:
                # Only after it is known: another thread may call this at the same time.
                _Local.is_named = is_named
                _Local.names = names
        return tzlocal.get_localzone() if _Local.is_named else None
    # Such as "CET-1CEST,M3.5.0,M10.5.0/3"; and tzlocal warns where /etc names another zone.
    except (LookupError, ValueError, OSError, UserWarning):
        return None


class _Local:
    """The names of local time when its zone was looked up last, and whether it has one."""

    names: tuple[str, str] | None = None
    is_named = False


def _is_in_use(zone: tzinfo) -> bool:
    """Return whether the system's local time is that of a zone; True if it cannot be set."""
    if not hasattr(time, "tzset"):
        return True
    now_s = time.time()
    return all(
        datetime.fromtimestamp(time_s, zone).utcoffset()
        == timedelta(seconds=time.localtime(time_s).tm_gmtoff)
        for time_s in (now_s, now_s + _HALF_A_YEAR_S)
    )


@dataclass(frozen=True)
class DateRange:
    """The range of wanted bars, both limits included.

    Parameters
    ----------
    start, end
        A datetime, which is compared with the open of a bar, or a date, which begins as start and
        ends as end. None: no limit.
    zone
        The zone of days, and of datetimes without one; None for the machine's local time.
    of_exchange
        Whether the zone is that of the symbol's exchange, which is known only from the answer.
    of_trading_days
        Whether a date means a day of trading, as it does for daily and longer bars.
    sessions
        Instead of a start: the number of trading days with bars up to the end.
    """

    start: Limit | None
    end: Limit | None
    zone: tzinfo | None
    of_exchange: bool = False
    of_trading_days: bool = False
    sessions: int | None = None

    def __str__(self) -> str:
        """Return the range in ISO 8601: ``start/end``, with ``..`` for no limit.

        Trading days are a duration: ``P5D/..``.
        """
        start, end = (limit.isoformat() if limit else ".." for limit in (self.start, self.end))
        return f"{start if self.sessions is None else f'P{self.sessions}D'}/{end}"

    @property
    def start_year(self) -> int:
        """The year of the start in its own zone; 1 without a start."""
        return self.start.year if self.start else 1

    @property
    def first_trading_day(self) -> date | None:
        """The start, if it is a trading day."""
        return self._trading_day(self.start)

    @property
    def last_trading_day(self) -> date | None:
        """The end, if it is a trading day."""
        return self._trading_day(self.end)

    def since_s(self, zone: tzinfo | None) -> float | None:
        """Return the start as epoch seconds UTC; `zone` is the exchange's, if it is needed."""
        return None if self.start is None else _begin_s(self.start, self._zone(zone))

    def until_s(self, zone: tzinfo | None) -> float | None:
        """Return the end as epoch seconds UTC; see `since_s`."""
        return None if self.end is None else _end_s(self.end, self._zone(zone))

    @property
    def earliest_s(self) -> float | None:
        """When the range begins, epoch seconds UTC; an earlier moment if it is not known yet."""
        since_s = self.since_s(timezone.utc)
        if since_s is None or self._is_exact(self.start):
            return since_s
        evening_s = _EVENING_S if self.first_trading_day else 0.0
        return since_s - _MOST_AHEAD_S - evening_s

    @property
    def latest_s(self) -> float | None:
        """When the range ends, epoch seconds UTC; a later moment if it is not known yet."""
        until_s = self.until_s(timezone.utc)
        if until_s is None or self._is_exact(self.end):
            return until_s
        return until_s + _MOST_BEHIND_S

    def surplus_bars(self, bar_s: float) -> int:
        """Return how many bars may open between the end and `latest_s`."""
        if self.end is None or self._is_exact(self.end):
            return 0
        return math.ceil((_MOST_AHEAD_S + _MOST_BEHIND_S + _EVENING_S) / bar_s) + 1

    def _zone(self, exchange: tzinfo | None) -> tzinfo | None:
        return exchange if self.of_exchange else self.zone

    def _trading_day(self, limit: Limit | None) -> date | None:
        is_day = self.of_trading_days and limit is not None and not isinstance(limit, datetime)
        return limit if is_day else None

    def _is_exact(self, limit: Limit | None) -> bool:
        if isinstance(limit, datetime) and limit.tzinfo is not None:
            return True
        return not self.of_exchange and self._trading_day(limit) is None


def date_range(
    start: DateLike | None,
    end: DateLike | None,
    *,
    zone: tzinfo | None,
    of_exchange: bool,
    of_trading_days: bool,
) -> DateRange:
    """Check a caller's limits.

    Parameters
    ----------
    start, end
        As for `date_or_moment`, or None.
    zone, of_exchange, of_trading_days
        As for `DateRange`.

    Raises
    ------
    DataValidationError
        With field "start_date" or "end_date" if it is not a date, and with "date_range" if the
        range does not start before it ends, or begins more than a day ahead.
    """
    wanted = DateRange(
        None if start is None else date_or_moment("start_date", start),
        None if end is None else date_or_moment("end_date", end),
        zone,
        of_exchange,
        of_trading_days,
    )
    _check_order(wanted)
    _check_future(wanted)
    return wanted


def moment_s(field: str, value: DateLike, zone: tzinfo | None) -> float:
    """Return a moment of the past as epoch seconds UTC.

    Parameters
    ----------
    field
        Its name in an error.
    value
        A datetime, a date, which begins in the zone, or an ISO 8601 text.
    zone
        The zone of a datetime without one; None for the machine's local time.

    Raises
    ------
    DataValidationError
        It is not a date, or is more than a day ahead.
    """
    found_s = _begin_s(date_or_moment(field, value), zone)
    if found_s > time.time() + _DAY_S:
        raise DataValidationError(field, value, "must not be in the future")
    return found_s


def legacy_problems(start: Any, end: Any) -> list[str]:
    """Return the problems that the old check of a range reports: order, future, before 2000."""
    try:
        limits = [
            DateRange(date_or_moment(name, value), None, None)
            for name, value in (("start", start), ("end", end))
        ]
    except DataValidationError as error:
        return [str(error)]
    since_s, until_s = ((limit.since_s(None) or 0.0) for limit in limits)
    now_s = time.time()
    problems = {
        f"start {start} is not before end {end}": since_s >= until_s,
        f"start {start} is in the future": since_s > now_s,
        f"end {end} is in the future": until_s > now_s,
        f"start {start} is before 2000-01-01": limits[0].start_year < _LINEAGE_YEAR,
        f"end {end} is before 2000-01-01": limits[1].start_year < _LINEAGE_YEAR,
    }
    return [problem for problem, is_so in problems.items() if is_so]


def evening_open_minute(session: str) -> int | None:
    """Return the minute of the day from which a session belongs to the next day.

    Parameters
    ----------
    session
        TradingView's own text, such as ``"0930-1600"`` or ``"1800-1700"``; ranges may be followed
        by days and joined by commas.

    Returns
    -------
    int or None
        None for sessions that begin and end on one day.
    """
    ranges = [
        (int(found[1]) * 60 + int(found[2]), found[3], int(found[4]) * 60 + int(found[5]))
        for found in _RANGE.finditer(session)
    ]
    for opens, days_before, closes in ranges:
        ends_next_day = 0 < opens < _MINUTES_A_DAY and (closes or _MINUTES_A_DAY) <= opens
        # A night session may end before midnight; it is listed first, and the day session after it.
        if ends_next_day or days_before or opens > ranges[-1][0]:
            return opens
    return None


def date_or_moment(field: str, value: Any) -> Limit:
    """Return a caller's date as a whole day or a moment.

    Parameters
    ----------
    field
        Its name, for errors.
    value
        A datetime, a date, a pandas.Timestamp, an ISO 8601 text in the extended or the basic form,
        a numpy.datetime64 (a day, if its unit is a day), or a number: epoch seconds UTC.

    Returns
    -------
    datetime or date
        A plain datetime, aware if the value has a zone or is a number; or a date.

    Raises
    ------
    DataValidationError
        If the value is invalid.
    """
    # A numpy duration counts as a whole number.
    numpy_kind = type(value).__name__ if type(value).__module__ == "numpy" else None
    if isinstance(value, str):
        value = _parsed(field, value.strip())
    elif numpy_kind == "datetime64":
        value = _of_numpy(field, value)
    elif not isinstance(value, bool) and numpy_kind != "timedelta64" and isinstance(value, Real):
        return _of_epoch(field, value)
    # pandas.NaT is an instance of datetime; only NaT differs from itself.
    if not isinstance(value, date) or value != value:  # noqa: PLR0124
        raise DataValidationError(field, value, _FORMS)
    if not isinstance(value, datetime):
        return value
    # A plain datetime, since a pandas.Timestamp computes with zones in another way. A zone without
    # an offset means a naive datetime. In a repeated hour, fold decides.
    plain = datetime.combine(value.date(), value.time()).replace(fold=value.fold)
    return plain if value.utcoffset() is None else plain.replace(tzinfo=value.tzinfo)


def utc_moment(epoch_s: float) -> datetime:
    """Return epoch seconds as an aware datetime, also before 1970 on every system."""
    whole = math.floor(epoch_s)
    microseconds = round((epoch_s - whole) * _MICROSECONDS)
    begin = datetime(1970, 1, 1, tzinfo=timezone.utc)
    return begin + timedelta(seconds=whole, microseconds=microseconds)


def _parsed(field: str, text: str) -> Limit:
    mistake = DataValidationError(
        field, text, "must be in ISO 8601, such as '2026-01-31' or '2026-01-31T09:30+01:00'"
    )
    if text.lstrip("+-").isdigit() and len(text) != len("20260131"):
        mistake = DataValidationError(
            field, text, "is a text: pass epoch seconds as a number, or a date such as '2026-01-31'"
        )
    text = _extended(text)
    found = _ISO.fullmatch(text)
    if found is None:
        raise mistake
    try:
        if found[2] is None:
            return date.fromisoformat(text)
        # Python 3.10 does not accept the Z.
        return datetime.fromisoformat(f"{text[:-1]}+00:00" if text[-1] in "zZ" else text)
    except ValueError:
        raise mistake from None


def _extended(text: str) -> str:
    """Convert the basic form of ISO 8601 to the extended one, which all versions of Python read."""
    found = _BASIC_ISO.fullmatch(text)
    if found is None:
        return text
    year, month, day, hour, minute, second, fraction, zulu, zone_hour, zone_minute = found.groups()
    if hour is None:
        return f"{year}-{month}-{day}"
    # Python 3.10 reads three or six digits.
    digits = f"{fraction[1:]:0<6.6}" if fraction else "000000"
    zone = "+00:00" if zulu else f"{zone_hour}:{zone_minute or '00'}" if zone_hour else ""
    return f"{year}-{month}-{day}T{hour}:{minute or '00'}:{second or '00'}.{digits}{zone}"


def _of_numpy(field: str, value: Any) -> Any:
    unit = str(value.dtype).partition("[")[2].rstrip("]")
    if unit in {"Y", "M", "W"}:
        raise DataValidationError(
            field, str(value), "names no day: pass a finer one, such as numpy.datetime64(x, 'D')"
        )
    found = value.astype("datetime64[D]" if unit == "D" else "datetime64[us]").item()
    if not isinstance(found, date):
        raise DataValidationError(field, str(value), _FORMS)
    return found


def _of_epoch(field: str, value: Real) -> datetime:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise DataValidationError(field, value, "must be a finite number of epoch seconds")
    if abs(number) >= _FIRST_MILLISECONDS:
        found = [unit for unit in _UNITS_OF_EPOCH if abs(number) >= unit[0]]
        name, per_second = found[0][1:] if found else ("milliseconds", 1e3)
        seconds = number / per_second
        raise DataValidationError(
            field, value, f"looks like {name}; pass epoch seconds, such as {seconds:.10g}"
        )
    if _is_day_as_number(number):
        raise DataValidationError(
            field, value, f"looks like a day; pass the text '{int(number)}', or epoch seconds"
        )
    return utc_moment(number)


def _is_day_as_number(number: float) -> bool:
    first, last = _DAYS_AS_NUMBERS
    if not (first <= number <= last and number == int(number)):
        return False
    try:
        date.fromisoformat(_extended(str(int(number))))
    except ValueError:
        return False
    return True


def _check_order(wanted: DateRange) -> None:
    start, end = wanted.start, wanted.end
    if start is None or end is None:
        return
    since_s, until_s = wanted.since_s(timezone.utc), wanted.until_s(timezone.utc)
    if not _are_alike(start, end, wanted):
        since_s, until_s = wanted.earliest_s, wanted.latest_s
    if since_s is not None and until_s is not None and since_s >= until_s:
        raise DataValidationError("date_range", f"{start} - {end}", "must start before it ends")


def _are_alike(start: Limit, end: Limit, wanted: DateRange) -> bool:
    """Return whether two limits can be compared before the zone of the exchange is known."""
    days = [not isinstance(limit, datetime) for limit in (start, end)]
    if any(days):
        # A trading day depends on the exchange, a moment does not.
        return all(days) or not (wanted.of_trading_days or wanted.of_exchange)
    moments = [limit for limit in (start, end) if isinstance(limit, datetime)]
    # In a repeated hour, only the zone distinguishes the two.
    is_sure = not wanted.of_exchange or len({moment.fold for moment in moments}) == 1
    return is_sure and len({moment.tzinfo is None for moment in moments}) == 1


def _check_future(wanted: DateRange) -> None:
    latest = time.time() + _DAY_S
    for limit in (wanted.start, wanted.end):
        begins = DateRange(limit, None, wanted.zone, wanted.of_exchange).since_s(timezone.utc)
        if begins is not None and begins > latest:
            raise DataValidationError(
                "date_range", f"{wanted.start} - {wanted.end}", "must not be in the future"
            )


def _begin_s(limit: Limit, zone: tzinfo | None) -> float:
    if isinstance(limit, datetime):
        return _moment_s(limit, zone)
    return _moment_s(datetime(limit.year, limit.month, limit.day), zone)  # noqa: DTZ001 - below


def _end_s(limit: Limit, zone: tzinfo | None) -> float:
    if isinstance(limit, datetime):
        return _moment_s(limit, zone)
    last = datetime(limit.year, limit.month, limit.day, 23, 59, 59, 999_999)  # noqa: DTZ001
    return _moment_s(last, zone)


def _moment_s(moment: datetime, zone: tzinfo | None) -> float:
    if moment.tzinfo is not None:
        return moment.timestamp()
    if zone is not None:
        return moment.replace(tzinfo=zone).timestamp()
    local = local_timezone()
    try:
        return (moment if local is None else moment.replace(tzinfo=local)).timestamp()
    except (OverflowError, OSError, ValueError):
        # The first and last years of datetime, in which there are no markets.
        return moment.replace(tzinfo=timezone.utc).timestamp()
