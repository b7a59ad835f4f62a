"""The trading sessions of a market.

Sessions come from TradingView's own session strings, the ``session`` of symbol_resolved:
``"24x7"``, or ranges ``HHMM-HHMM`` of local time separated by commas, each with optional ``:days``
(1 is Sunday, 7 is Saturday; default Monday to Friday). A range that ends at or before its begin,
such as ``1800-1700``, opens the evening before its trade date. Sessions of ``24x7`` are days from
00:00.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

__all__ = ["Session", "SessionTable", "TradingCalendar", "new_york_holidays", "yearly_holidays"]

Integers = npt.NDArray[np.int64]

MINUTES_A_DAY = 24 * 60
SECONDS_A_DAY = 86_400
_UNIX_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  # local time of whichever zone
_UNIX_DAY_ZERO = _UNIX_EPOCH.toordinal()
WEEKDAY_OF_DAY_ZERO = _UNIX_EPOCH.weekday()
_ROUND_THE_CLOCK = "24x7"
_RANGE = re.compile(r"([01][0-9]|2[0-4])([0-5][0-9])-([01][0-9]|2[0-4])([0-5][0-9])(?::([1-7]+))?")
_WORKDAYS = frozenset(range(5))
_EVERY_DAY = frozenset(range(7))
_SATURDAY, _SUNDAY = 5, 6

# Before this year, time zones are local mean times with odd seconds; no listing is that old.
_FIRST_YEAR = 1900


@dataclass(frozen=True, slots=True)
class Session:
    """One uninterrupted stretch of trading.

    Parameters
    ----------
    trade_date : datetime.date
        The date that the trades are booked on, in the market's time zone.
    open_s, close_s : int
        Epoch seconds UTC; the close is the first second after the session.
    """

    trade_date: date
    open_s: int
    close_s: int


class SessionTable(NamedTuple):
    """Sessions as columns, ascending: three ``int64`` arrays of one length.

    Attributes
    ----------
    trade_day : numpy.ndarray
        Trade dates in days since 1970-01-01.
    open_s, close_s : numpy.ndarray
        Epoch seconds UTC.
    """

    trade_day: Integers
    open_s: Integers
    close_s: Integers


class _Range(NamedTuple):
    """Minutes from local midnight of the trade date (negative: the evening before), weekdays."""

    open_minute: int
    close_minute: int
    weekdays: frozenset[int]


class TradingCalendar:
    """The sessions of a market.

    Parameters
    ----------
    session : str
        TradingView's session string, such as ``"0930-1600"`` or ``"24x7"``.
    timezone : str
        The market's IANA time zone.
    holidays : frozenset of datetime.date, optional
        Trade dates without a session; they do not apply to ``"24x7"``.

    Raises
    ------
    ValueError
        If the session string does not match the grammar above.

    Examples
    --------
    >>> calendar = TradingCalendar("0930-1600", "America/New_York")
    >>> calendar.latest(1787240000).close_s
    1787256000
    """

    def __init__(
        self, session: str, timezone: str, holidays: frozenset[date] = frozenset()
    ) -> None:
        self._zone = ZoneInfo(timezone)
        self._ranges = _parse(session)
        self._holidays = frozenset() if session == _ROUND_THE_CLOCK else holidays
        self._years: dict[int, SessionTable] = {}

    def sessions(self, first: date, last: date) -> list[Session]:
        """Return the sessions of the trade dates from `first` to `last`, both included."""
        return _rows(self.table(first, last))

    def latest(self, moment: float) -> Session:
        """Return the session that contains `moment`, else the last one before it.

        Parameters
        ----------
        moment : float
            Epoch seconds UTC.

        Raises
        ------
        LookupError
            If there is no session since 1900.
        """
        for session in self.backwards(moment):
            return session
        raise LookupError(f"No session at or before {moment}: the calendar begins in {_FIRST_YEAR}")

    def backwards(self, moment: float) -> Iterator[Session]:
        """Iterate over the sessions that opened at or before `moment`, the latest first.

        Parameters
        ----------
        moment : float
            Epoch seconds UTC.
        """
        # The trade date can be a day later than in UTC: zones east of Greenwich, evening opens.
        year = day_of(moment + 2 * SECONDS_A_DAY).year
        while year >= _FIRST_YEAR:
            for session in reversed(_rows(self._year(year))):
                if session.open_s <= moment:
                    yield session
            year -= 1

    def next_open(self, moment: float) -> float:
        """Return when the next session opens, at `moment` or later, epoch seconds UTC.

        Parameters
        ----------
        moment : float
            Epoch seconds UTC.
        """
        # Longer than any holidays, in every time zone.
        today = day_of(moment)
        opens = self.table(today - timedelta(days=2), today + timedelta(days=30)).open_s
        later = opens[np.searchsorted(opens, moment) :]
        return float(later[0]) if later.size else math.inf

    def table(self, first: date, last: date) -> SessionTable:
        """Return the same as `sessions`, as columns."""
        years = [self._year(year) for year in range(max(first.year, _FIRST_YEAR), last.year + 1)]
        if not years:
            return SessionTable(*(np.empty(0, np.int64) for _ in SessionTable._fields))
        trade_day = np.concatenate([year.trade_day for year in years])
        start = int(np.searchsorted(trade_day, _unix_day(first), "left"))
        stop = int(np.searchsorted(trade_day, _unix_day(last), "right"))
        return SessionTable(
            trade_day[start:stop],
            np.concatenate([year.open_s for year in years])[start:stop],
            np.concatenate([year.close_s for year in years])[start:stop],
        )

    def _year(self, year: int) -> SessionTable:
        if year not in self._years:
            self._years[year] = self._compute_year(year)
        return self._years[year]

    def _compute_year(self, year: int) -> SessionTable:
        days: Integers = np.arange(_unix_day(date(year, 1, 1)), _unix_day(date(year + 1, 1, 1)))
        closed = [_unix_day(day) for day in self._holidays if day.year == year]
        days = days[~np.isin(days, closed)]
        parts = []
        for opens, closes, weekdays in self._ranges:
            chosen = days[np.isin((days + WEEKDAY_OF_DAY_ZERO) % 7, list(weekdays))]
            parts.append([chosen, self._utc(chosen, opens), self._utc(chosen, closes)])
        trade_day, open_s, close_s = np.concatenate(parts, axis=1)
        order = np.argsort(open_s)
        return SessionTable(trade_day[order], open_s[order], close_s[order])

    def _utc(self, days: Integers, minute: int) -> Integers:
        """Return the epoch seconds at which the market's clocks show `minute` of each day."""
        local_s = days * SECONDS_A_DAY + minute * 60
        offsets_s = [self._offset_s(second) for second in local_s.tolist()]
        return local_s - np.array(offsets_s, np.int64)

    def _offset_s(self, local_s: int) -> int:
        offset = self._zone.utcoffset(_UNIX_EPOCH + timedelta(seconds=local_s))
        return 0 if offset is None else offset.days * SECONDS_A_DAY + offset.seconds


def day_of(moment: float) -> date:
    """Return the UTC date of `moment`, epoch seconds."""
    return date.fromordinal(int(moment // SECONDS_A_DAY) + _UNIX_DAY_ZERO)


def yearly_holidays(*days: str, first_year: int = 1960, last_year: int = 2040) -> frozenset[date]:
    """Return the dates of holidays that fall on the same day each year.

    Parameters
    ----------
    *days : str
        Month and day, ``"MM-DD"``.
    first_year, last_year : int, optional
        Both included.
    """
    return frozenset(
        date.fromisoformat(f"{year}-{day}")
        for year in range(first_year, last_year + 1)
        for day in days
    )


def new_york_holidays(year: int) -> frozenset[date]:
    """Return the weekdays of `year` on which the stock exchanges in New York stay closed.

    Only rules are covered, not single days of mourning or storm, and not shortened days.

    Parameters
    ----------
    year : int
        From 1960 on.

    Examples
    --------
    >>> sorted(new_york_holidays(2026))[0]
    datetime.date(2026, 1, 1)
    """
    since_1971 = year >= 1971  # noqa: PLR2004  # the act that moved holidays to Mondays
    days = {
        _nth_weekday(year, 2, 3, 0) if since_1971 else _observed(date(year, 2, 22)),
        _good_friday(year),
        _last_monday_of_may(year) if since_1971 else _observed(date(year, 5, 30)),
        _observed(date(year, 7, 4)),
        _nth_weekday(year, 9, 1, 0),
        _nth_weekday(year, 11, 4, 3),
        _observed(date(year, 12, 25)),
    }
    # New Year's Day on a Saturday has no substitute: Friday is the last trading day of the year.
    if date(year, 1, 1).weekday() != _SATURDAY:
        days.add(_observed(date(year, 1, 1)))
    if year >= 1998:  # noqa: PLR2004  # first kept by the exchanges then
        days.add(_nth_weekday(year, 1, 3, 0))
    if year >= 2022:  # noqa: PLR2004  # the law of June 2021 came too late for that year
        days.add(_observed(date(year, 6, 19)))
    return frozenset(days)


def _parse(session: str) -> tuple[_Range, ...]:
    if session == _ROUND_THE_CLOCK:
        return (_Range(0, MINUTES_A_DAY, _EVERY_DAY),)
    ranges = []
    for text in session.split(","):
        match = _RANGE.fullmatch(text)
        if match is None:
            raise ValueError(
                f"Invalid session {session!r} at {text!r}: use '24x7' or ranges like '0930-1600'"
            )
        opens = int(match[1]) * 60 + int(match[2])
        closes = int(match[3]) * 60 + int(match[4]) or MINUTES_A_DAY
        if max(opens, closes) > MINUTES_A_DAY:
            raise ValueError(f"Invalid session {session!r}: {text!r} goes beyond 2400")
        if closes <= opens:
            opens -= MINUTES_A_DAY
        # TradingView counts the days of a week from Sunday = 1, Python from Monday = 0.
        weekdays = frozenset((int(day) + 5) % 7 for day in match[5]) if match[5] else _WORKDAYS
        ranges.append(_Range(opens, closes, weekdays))
    return tuple(sorted(ranges, key=lambda item: item.open_minute))


def _rows(table: SessionTable) -> list[Session]:
    return [
        Session(date.fromordinal(day + _UNIX_DAY_ZERO), open_s, close_s)
        for day, open_s, close_s in zip(*(column.tolist() for column in table), strict=True)
    ]


def _unix_day(day: date) -> int:
    return day.toordinal() - _UNIX_DAY_ZERO


def _observed(day: date) -> date:
    """Return the weekday when a holiday is observed: Friday for Saturday, Monday for Sunday."""
    return day + timedelta(days={_SATURDAY: -1, _SUNDAY: 1}.get(day.weekday(), 0))


def _nth_weekday(year: int, month: int, nth: int, weekday: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (nth - 1))


def _last_monday_of_may(year: int) -> date:
    end = date(year, 5, 31)
    return end - timedelta(days=end.weekday())


def _good_friday(year: int) -> date:
    """Return two days before Easter, by the anonymous Gregorian computus."""
    century, of_century = divmod(year, 100)
    golden = year % 19
    moon = (19 * golden + century - century // 4 - (8 * century + 13) // 25 + 15) % 30
    weekday = (32 + 2 * (century % 4) + 2 * (of_century // 4) - moon - of_century % 4) % 7
    shift = moon + weekday - 7 * ((golden + 11 * moon + 22 * weekday) // 451) + 114
    return date(year, shift // 31, shift % 31 + 1) - timedelta(days=2)
