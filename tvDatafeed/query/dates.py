"""Dates: the moments that a caller's limits mean, and the zones they are told in.

A limit is a moment, a wall time of some zone, or a whole day. Which day a bar belongs to is the
exchange's matter: a session that opens the evening before belongs to the next day.
"""

import math
import re
import time
import zoneinfo
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone, tzinfo
from typing import Any, TypeAlias

from tvDatafeed.exceptions import ConfigurationError, DataValidationError

# The zone's name that stands for "that of the symbol's exchange".
EXCHANGE_TIMEZONE = "exchange"

Limit: TypeAlias = datetime | date
# Known without zone files too; crypto exchanges are in the first.
_UTC_NAMES = ("Etc/UTC", "Etc/GMT", "GMT")
DateLike: TypeAlias = datetime | date | str

# A time follows a day after one of these; Python itself takes any character there.
_ISO = re.compile(r"(\d{4}-\d{2}-\d{2})([T ].+)?")
_DAY_S = 86400.0
_LINEAGE_YEAR = 2000

# Clocks are ahead of UTC by 14 hours at most, and behind it by 12.
_MOST_AHEAD_S, _MOST_BEHIND_S = 14 * 3600.0, 12 * 3600.0
# A session that opens the evening before does so at 17:00 or later.
_EVENING_S = 7 * 3600.0
# An F with a number says how many days before its own a range begins.
_RANGE = re.compile(r"(\d{2})(\d{2})(F\d)?-(\d{2})(\d{2})")
_MINUTES_A_DAY = 24 * 60
# The offset of local time is compared with the system's own now and half a year from now.
_HALF_A_YEAR_S = 182 * _DAY_S


def timezone_named(name: str | tzinfo) -> tzinfo:
    """Look a timezone up by name.

    Parameters
    ----------
    name : str or tzinfo
        "UTC" in any case, or an IANA name; a timezone is returned as it is.

    Raises
    ------
    ConfigurationError
        When there is no such zone, or the machine has no zone files.
    """
    if isinstance(name, tzinfo):
        return name
    if isinstance(name, str) and name.upper() == "UTC":
        return timezone.utc
    try:
        return zoneinfo.ZoneInfo(name)
    # A name may also be a path that leads out of the zones, or to a folder of them.
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError, TypeError) as error:
        if name in _UTC_NAMES:
            return timezone.utc
        advice = "no such timezone; use 'UTC', 'exchange' or an IANA name"
        if not _has_zone_files():
            advice = "this machine has no zone files; pip install tzdata, or use 'UTC'"
        raise ConfigurationError("timezone", name, advice) from error


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
        None where only the system knows local time: it is a rule of its own without a zone's name,
        or the zone that the machine names is not the one in use.
    """
    import tzlocal  # noqa: PLC0415 - asked for where local time is

    try:
        # Each call of time.tzset makes a new tuple, even for a zone of the same names.
        if (names := time.tzname) is not _Local.names:
            is_named = False
            try:
                is_named = _is_in_use(tzlocal.reload_localzone())
            finally:
                # Not before it is known: another thread may ask at the same moment.
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
    """Whether the system's local time is that of a zone; where it cannot be set, it is."""
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
    """From when until when bars are wanted, both included.

    Parameters
    ----------
    start, end
        A datetime, which compares with the open of a bar, or a date: its begin as start, its end
        as end. None: no limit.
    zone
        Of a datetime without one, and of a day; None for the machine's local time.
    of_exchange
        Whether the zone is that of the symbol's exchange, which only the answer tells.
    of_trading_days
        Whether a date means a day of trading, as it does for daily and longer bars.
    """

    start: Limit | None
    end: Limit | None
    zone: tzinfo | None
    of_exchange: bool = False
    of_trading_days: bool = False

    def __str__(self) -> str:
        """Write the range as ISO 8601 does: ``start/end``, with ``..`` for no limit."""
        limits = (limit.isoformat() if limit else ".." for limit in (self.start, self.end))
        return "/".join(limits)

    @property
    def start_year(self) -> int:
        """The year of the start, as its own zone counts it; 1 without a start."""
        return self.start.year if self.start else 1

    @property
    def first_trading_day(self) -> date | None:
        """The start, where it is a day of trading."""
        return self._trading_day(self.start)

    @property
    def last_trading_day(self) -> date | None:
        """The end, where it is a day of trading."""
        return self._trading_day(self.end)

    def since_s(self, zone: tzinfo | None) -> float | None:
        """Return the start as epoch seconds UTC, `zone` being that of the exchange if need be."""
        return None if self.start is None else _begin_s(self.start, self._zone(zone))

    def until_s(self, zone: tzinfo | None) -> float | None:
        """Return the end as epoch seconds UTC; see `since_s`."""
        return None if self.end is None else _end_s(self.end, self._zone(zone))

    @property
    def earliest_s(self) -> float | None:
        """When the range begins, epoch seconds UTC, or before that where it is not known yet."""
        since_s = self.since_s(timezone.utc)
        if since_s is None or self._is_exact(self.start):
            return since_s
        evening_s = _EVENING_S if self.first_trading_day else 0.0
        return since_s - _MOST_AHEAD_S - evening_s

    @property
    def latest_s(self) -> float | None:
        """When the range ends, epoch seconds UTC, or after that where it is not known yet."""
        until_s = self.until_s(timezone.utc)
        if until_s is None or self._is_exact(self.end):
            return until_s
        return until_s + _MOST_BEHIND_S

    def surplus_bars(self, bar_s: float) -> int:
        """Return how many bars may lie between the end and `latest_s`."""
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
    """Check the limits that a caller gives.

    Parameters
    ----------
    start, end
        Datetimes, dates, ISO 8601 texts, or None.
    zone, of_exchange, of_trading_days
        As for `DateRange`.

    Raises
    ------
    DataValidationError
        With field "start_date" or "end_date" when one is no date, and with "date_range" when the
        range does not begin before it ends, or lies more than a day ahead.
    """
    wanted = DateRange(
        None if start is None else _limit("start_date", start),
        None if end is None else _limit("end_date", end),
        zone,
        of_exchange,
        of_trading_days,
    )
    _check_order(wanted)
    _check_future(wanted)
    return wanted


def legacy_problems(start: Any, end: Any) -> list[str]:
    """Say what the old check of a range finds wrong with it: order, future, and before 2000."""
    try:
        limits = [
            DateRange(_limit(name, value), None, None)
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
        # A night session may end before midnight; it is told first, and the day follows it.
        if ends_next_day or days_before or opens > ranges[-1][0]:
            return opens
    return None


def _limit(field: str, value: Any) -> Limit:
    if isinstance(value, str):
        value = _parsed(field, value.strip())
    # pandas.NaT calls itself a datetime; it is the one that differs from itself.
    if not isinstance(value, date) or value != value:  # noqa: PLR0124
        raise DataValidationError(
            field, value, "must be a datetime, a date, or a text such as '2026-01-31T09:30'"
        )
    if not isinstance(value, datetime):
        return value
    # A plain datetime, since a pandas.Timestamp reckons with zones in a way of its own; and one
    # whose zone does not know its offset is naive.
    plain = datetime.combine(value.date(), value.time())
    return plain if value.utcoffset() is None else plain.replace(tzinfo=value.tzinfo)


def _parsed(field: str, text: str) -> Limit:
    mistake = DataValidationError(
        field, text, "must be in ISO 8601, such as '2026-01-31' or '2026-01-31T09:30+01:00'"
    )
    found = _ISO.fullmatch(text)
    if found is None:
        raise mistake
    try:
        if found[2] is None:
            return date.fromisoformat(text)
        # Python 3.10 does not know the Z.
        return datetime.fromisoformat(f"{text[:-1]}+00:00" if text[-1] in "zZ" else text)
    except ValueError:
        raise mistake from None


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
    """Whether two limits can be compared before the zone of the exchange is known."""
    days = [not isinstance(limit, datetime) for limit in (start, end)]
    if any(days):
        # A trading day is the exchange's, and a moment is not.
        return all(days) or not (wanted.of_trading_days or wanted.of_exchange)
    moments = [limit for limit in (start, end) if isinstance(limit, datetime)]
    # Of an hour that comes twice only the zone tells which is which.
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
        # The first and last years a datetime knows, which no market does.
        return moment.replace(tzinfo=timezone.utc).timestamp()
