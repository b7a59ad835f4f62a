"""Periods: "1y" and its like, as ranges that end now or at a date.

A period is calendar arithmetic on whole days: three months before the 31st of May is the last day
of February. Its days are in the zone of the call, or without one in the zone of the symbol's
exchange, which is known from the answer.
"""

import math
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone, tzinfo
from typing import Any, Literal, TypeAlias, get_args

from tvDatafeed.exceptions import DataValidationError
from tvDatafeed.interval import CustomInterval, Interval
from tvDatafeed.query.dates import DateLike, DateRange, date_range, utc_moment

Period: TypeAlias = Literal["1d", "5d", "1mo", "3mo", "6mo", "1y", "2y", "5y", "10y", "ytd", "max"]
PERIODS: tuple[str, ...] = get_args(Period)

_SESSIONS = {"1d": 1, "5d": 5}
_MONTHS = {"1mo": 1, "3mo": 3, "6mo": 6, "1y": 12, "2y": 24, "5y": 60, "10y": 120}
_DAY_S = 86_400
# Zones are at most 12 hours behind UTC.
_MOST_BEHIND = timedelta(hours=12)


@dataclass(frozen=True)
class PeriodRange:
    """A period whose first day depends on its zone.

    Parameters
    ----------
    period
        Months, or "ytd".
    limits
        Its end, without a start, and the meaning of dates.
    now_s
        When it ends if it has no limit, epoch seconds UTC.
    least_days
        The minimum number of days before its last one, so that a long bar opens in it.
    """

    period: str
    limits: DateRange
    now_s: float
    least_days: int

    def in_zone(self, exchange: tzinfo) -> DateRange:
        """Return the range; `exchange` is the exchange's zone, if it is needed."""
        return self._since(self._last_day(exchange if self.limits.of_exchange else None))

    def widest(self) -> DateRange:
        """Return a range that contains the period for any zone of the exchange."""
        if not self.limits.of_exchange:
            return self._since(self._last_day(None))
        return self._since(self._last_day(timezone(-_MOST_BEHIND)))

    def _last_day(self, exchange: tzinfo | None) -> date:
        end, zone = self.limits.end, exchange or self.limits.zone
        if end is None:
            return datetime.fromtimestamp(self.now_s, zone).date()
        if not isinstance(end, datetime):
            return end
        return end.astimezone(zone).date() if end.tzinfo else end.date()

    def _since(self, last: date) -> DateRange:
        limits = self.limits
        first = min(first_day(self.period, last), _days_before(last, self.least_days))
        return DateRange(first, limits.end, limits.zone, limits.of_exchange, limits.of_trading_days)


def checked_period(period: Any, *, n_bars: int | None, start_date: DateLike | None) -> str | None:
    """Return the name of a period, in lower case; None for none.

    Raises
    ------
    DataValidationError
        With field "period", if it is unknown or combined with `n_bars` or `start_date`.
    """
    if period is None:
        return None
    name = period.strip().lower() if isinstance(period, str) else period
    if not isinstance(name, str) or name not in PERIODS:
        raise DataValidationError("period", period, f"must be one of {', '.join(PERIODS)}")
    if n_bars is not None:
        raise DataValidationError(
            "period", period, "cannot go with n_bars; pass a period, or a number of bars"
        )
    if start_date is not None:
        raise DataValidationError(
            "period",
            period,
            "cannot go with start_date; pass a period, or a start_date",
        )
    return name


def period_range(
    period: str,
    end: DateLike | None,
    *,
    interval: Interval | CustomInterval,
    zone: tzinfo | None,
    of_exchange: bool,
    now_s: float,
) -> DateRange | PeriodRange:
    """Return the range of a period.

    Parameters
    ----------
    period
        As from `checked_period`.
    end
        Its end, as for `date_or_moment`; None for now.
    interval
        The length of its bars.
    zone, of_exchange
        The zone of the call. Without one, a period is in the zone of the exchange, and an end that
        is a naive datetime is in local time.
    now_s
        Now, epoch seconds UTC.

    Raises
    ------
    DataValidationError
        As from `date_range`, for the end.
    """
    limits = date_range(
        None, end, zone=zone, of_exchange=of_exchange, of_trading_days=not interval.is_intraday
    )
    last = limits.end
    until_s = limits.until_s(None)
    if not of_exchange and zone is None and isinstance(last, datetime) and until_s is not None:
        last = utc_moment(until_s)
    days = interval.seconds // _DAY_S
    sessions = _SESSIONS.get(period)
    limits = DateRange(
        None,
        last,
        zone,
        of_exchange or zone is None,
        limits.of_trading_days,
        # Each longer bar opens on one trading day.
        sessions and (1 if days > 1 else sessions),
    )
    if period not in _MONTHS and period != "ytd":
        return limits
    # A month counts as 30 days.
    return PeriodRange(period, limits, now_s, days + days // 30 - 1 if days > 1 else 0)


def first_day(period: str, last: date) -> date:
    """Return the first day of a period of months, or "ytd", from its last day."""
    if period == "ytd":
        return last.replace(month=1, day=1)
    month = last.year * 12 + last.month - 1 - _MONTHS[period]
    year, month = max(month // 12, 1), month % 12 + 1
    import calendar  # noqa: PLC0415 - rarely used, and slow to load

    return date(year, month, min(last.day, calendar.monthrange(year, month)[1]))


def session_bars(sessions: int, interval: Interval | CustomInterval) -> int:
    """Return the maximum number of bars of some trading days, and one bar of the day before.

    Includes one more day, since days around holidays may be one trading day.
    """
    return math.ceil((sessions + 1) * _DAY_S / min(interval.seconds, _DAY_S)) + 1


def _days_before(day: date, days: int) -> date:
    return day - timedelta(days=min(days, (day - date.min).days))
