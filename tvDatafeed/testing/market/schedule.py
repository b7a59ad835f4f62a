"""When bars begin and end.

The rules are TradingView's: intraday bars start at the session's open and are cut at its close;
daily bars have the time of the day's first open; weekly and longer bars have that of the first
session of the period. Sessions of ``24x7`` are days from 00:00.
"""

import re
from datetime import date, timedelta
from typing import NamedTuple

import numpy as np

from tvDatafeed.testing.market.calendar import (
    MINUTES_A_DAY,
    SECONDS_A_DAY,
    WEEKDAY_OF_DAY_ZERO,
    Integers,
    SessionTable,
    TradingCalendar,
    day_of,
)

__all__ = ["BarSchedule", "bar_schedule", "intraday_seconds", "is_valid_interval"]

_INTRADAY = re.compile(
    r"(?P<minutes>[1-9][0-9]{0,3})|(?P<hours>[1-4])H|(?P<seconds>1|5|10|15|30|45)S"
)
_LONGER = re.compile(r"(?P<days>[1-9][0-9]{0,2})?D|(?P<weeks>[1-9][0-9]?)?W|(?P<months>1|3|6|12)?M")


class BarSchedule(NamedTuple):
    """Consecutive bars, in epoch seconds and in seconds of open market.

    Attributes
    ----------
    time, close_s : numpy.ndarray
        Epoch seconds UTC of each bar's open and close, ``int64``.
    start, end : numpy.ndarray
        Open and close in seconds of open market since the first of `sessions` opened.
    sessions : SessionTable
        The sessions of the bars; it may contain more sessions than needed.
    elapsed : numpy.ndarray
        Seconds of open market before each session, and as last item after all sessions.
    """

    time: Integers
    close_s: Integers
    start: Integers
    end: Integers
    sessions: SessionTable
    elapsed: Integers


def is_valid_interval(text: str) -> bool:
    """Return whether TradingView knows this interval string.

    Minutes from 1 to 1440, ``1H`` to ``4H``, ``1S 5S 10S 15S 30S 45S``, ``D W M`` with or without a
    1, days and weeks with another number, such as ``2D``, and ``3M 6M 12M``.
    """
    return intraday_seconds(text) is not None or _LONGER.fullmatch(text) is not None


def intraday_seconds(interval: str) -> int | None:
    """Return the length of an intraday bar; None for longer bars and invalid intervals."""
    match = _INTRADAY.fullmatch(interval)
    if match is None or int(match["minutes"] or 0) > MINUTES_A_DAY:
        return None
    minutes, hours, seconds = (int(text or 0) for text in match.groups())
    return seconds + 60 * minutes + 3600 * hours


def bar_schedule(
    calendar: TradingCalendar, first_day: date, interval: str, n: int, now: float
) -> BarSchedule:
    """Return the last `n` bars that have begun at `now`, fewer at the beginning of history.

    Parameters
    ----------
    calendar : TradingCalendar
        The sessions.
    first_day : datetime.date
        Trade date of the first bar ever.
    interval : str
        An interval that `is_valid_interval` accepts.
    n : int
        At least 1.
    now : float
        Epoch seconds UTC.

    Raises
    ------
    ValueError
        If the interval is not valid.
    """
    step_s = intraday_seconds(interval)
    longer = _LONGER.fullmatch(interval)
    if step_s is None and longer is None:
        raise ValueError(f"Invalid interval {interval!r}: use one like '15', '2H', '1D' or '3M'")
    unit = interval[-1] if longer else ""
    count = int(interval[:-1] or 1) if longer else 0
    period_days = {"": 0, "D": 1, "W": 7, "M": 31}[unit] * count
    # The trade date can be a day later than in UTC: zones east of Greenwich, evening opens. A
    # window ends with a whole period but can begin with a partial one: so it is n + 1.
    last = day_of(now) + timedelta(days=2 + period_days)
    days = 16 + (n + 1) * (period_days or (step_s or 0) / SECONDS_A_DAY) * 1.5
    while True:
        is_whole = (last - first_day).days <= days
        table = calendar.table(first_day if is_whole else last - timedelta(days=days), last)
        if step_s is None:
            schedule = _longer_bars(table, _periods(table.trade_day, unit, count))
        else:
            schedule = _intraday_bars(table, step_s, n + 1, now)
        begun = int(np.searchsorted(schedule.time, now, "right"))
        if is_whole or begun > n:
            break
        days *= 2
    chosen = slice(max(0, begun - n), begun)
    return BarSchedule(
        schedule.time[chosen],
        schedule.close_s[chosen],
        schedule.start[chosen],
        schedule.end[chosen],
        schedule.sessions,
        schedule.elapsed,
    )


def _intraday_bars(table: SessionTable, step_s: int, n: int, now: float) -> BarSchedule:
    """Return the bars of the last sessions that have begun at `now`, at least `n` if possible."""
    begun = int(np.searchsorted(table.open_s, now, "right"))
    counts = -((table.open_s - table.close_s) // step_s)[:begun]
    # All bars of the last session are counted, even if `now` is in its first bar.
    before = np.cumsum(counts[:-1][::-1])
    first = max(0, begun - 2 - int(np.searchsorted(before, n, "left")))
    table, counts = SessionTable(*(column[first:begun] for column in table)), counts[first:]
    elapsed = _elapsed(table)
    offset = (np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)) * step_s
    time = np.repeat(table.open_s, counts) + offset
    close_s = np.minimum(time + step_s, np.repeat(table.close_s, counts))
    start = np.repeat(elapsed[:-1], counts) + offset
    return BarSchedule(time, close_s, start, start + close_s - time, table, elapsed)


def _longer_bars(table: SessionTable, period: Integers) -> BarSchedule:
    """Return one bar for each run of equal `period`, a number per session."""
    edges = np.flatnonzero(np.diff(period, prepend=-1 << 40, append=1 << 40))
    first, beyond = edges[:-1], edges[1:]
    elapsed = _elapsed(table)
    return BarSchedule(
        table.open_s[first],
        table.close_s[beyond - 1],
        elapsed[first],
        elapsed[beyond],
        table,
        elapsed,
    )


def _periods(trade_day: Integers, unit: str, count: int) -> Integers:
    """Return a number per trade date, the same for dates in the same days, weeks or months.

    Periods of several days are calendar days counted since 1970; the real server's start of
    counting is unknown.
    """
    if unit == "D":
        return trade_day // count
    if unit == "W":
        return (trade_day + WEEKDAY_OF_DAY_ZERO) // 7 // count
    return trade_day.astype("M8[D]").astype("M8[M]").astype(np.int64) // count


def _elapsed(table: SessionTable) -> Integers:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(table.close_s - table.open_s)])
