"""Convert a history to a DataFrame: the requested bars of an answer, and their attrs.

Only this folder imports pandas, at first use, so that importing the library is quick.
"""

import datetime as dt
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tvDatafeed.exceptions import DataNotFoundError
from tvDatafeed.frames.bars import NANOSECONDS, bars_to_frame, nanoseconds_index, times_of
from tvDatafeed.frames.repeats import RepeatedHours
from tvDatafeed.protocol.events import History
from tvDatafeed.query.dates import EXCHANGE_TIMEZONE, DateRange, evening_open_minute, timezone_named
from tvDatafeed.query.periods import PeriodRange
from tvDatafeed.query.view import View

_MINUTES_A_DAY = 24 * 60
# 1970-01-01 was a Thursday; days count from Monday.
_THURSDAY, _SATURDAY = 3, 5

_SHORTFALLS = {"end": "no older bars exist", "limit": "the plan's limit of bars is reached"}


def history_to_frame(
    history: History, view: View, repeated_hours: RepeatedHours | None = None
) -> pd.DataFrame:
    """Build the DataFrame of an answer: the requested bars, with facts about them in attrs.

    Parameters
    ----------
    history
        The answer.
    view
        Which of its bars are shown, and how.
    repeated_hours
        As for `bars_to_frame`.

    Returns
    -------
    pandas.DataFrame
        As from `bars_to_frame`. ``attrs`` has last_bar_closed (bool); timezone (str) if one was
        requested; delay_seconds (int) for delayed data; requested (int, or the range as str),
        received (int), complete (bool) and reason (str) if fewer bars came than requested, for a
        range, and for more than one page.

    Raises
    ------
    DataNotFoundError
        If there is no such bar.
    InvalidOHLCError, DataValidationError
        As from `bars_to_frame`.
    """
    bars, symbol = history.bars, history.request.symbol
    dates = view.dates
    if isinstance(dates, PeriodRange):
        dates = dates.in_zone(timezone_named(_exchange_zone(history)))
        view = replace(view, dates=dates)
    first, beyond = _range(history, dates)
    is_closed = beyond < len(bars) or history.last_bar_is_closed
    is_forming = first < beyond and not is_closed
    if view.closed_only and is_forming:
        beyond, is_closed = beyond - 1, True
    if dates and dates.sessions:
        first = _first_of_sessions(history, beyond, dates.sessions)
    oldest = first
    if view.count is not None:
        first = max(first, beyond - view.count)
    if first >= beyond:
        raise _not_found(history, view, is_forming=is_forming)
    zone_name = _exchange_zone(history) if view.timezone == EXCHANGE_TIMEZONE else view.timezone
    frame = bars_to_frame(
        bars if (first, beyond) == (0, len(bars)) else bars[first:beyond],
        symbol,
        timezone=timezone_named(zone_name) if zone_name else None,
        fill_missing_volume=view.fill_missing_volume,
        validation=view.validation,
        repeated_hours=repeated_hours,
    )
    if view.with_trading_days:
        days = _trading_days(times_of(bars)[first:beyond], history)
        frame.index = pd.DatetimeIndex(days.astype("M8[D]").astype("M8[ns]"), name="datetime")
    frame.attrs["last_bar_closed"] = bool(is_closed)
    if zone_name:
        frame.attrs["timezone"] = str(zone_name)
    if history.delay_s:
        frame.attrs["delay_seconds"] = history.delay_s
    frame.attrs.update(_extent(history, view, len(frame), begins_inside=oldest > 0))
    return frame


def _range(history: History, dates: DateRange | None) -> tuple[int, int]:
    """Return the indices of the first bar of a range and of the first bar after it."""
    times = times_of(history.bars)
    if dates is None or not len(times):
        return 0, len(times)
    zone = timezone_named(_exchange_zone(history)) if dates.of_exchange else None
    first, beyond = 0, len(times)
    days = None
    if dates.first_trading_day or dates.last_trading_day:
        days = _trading_days(times, history)
    if dates.first_trading_day and days is not None:
        first = int(np.searchsorted(days, _day_number(dates.first_trading_day), "left"))
    elif (since_s := dates.since_s(zone)) is not None:
        first = int(np.searchsorted(times, since_s, "left"))
    if dates.last_trading_day and days is not None:
        beyond = int(np.searchsorted(days, _day_number(dates.last_trading_day), "right"))
    elif (until_s := dates.until_s(zone)) is not None:
        beyond = int(np.searchsorted(times, until_s, "right"))
    return first, beyond


def _first_of_sessions(history: History, beyond: int, sessions: int) -> int:
    """Return the first bar of the last trading days before a bar."""
    days = _trading_days(times_of(history.bars)[:beyond], history)
    opened = np.unique(days)[-sessions:]
    return int(np.searchsorted(days, opened[0], "left")) if len(opened) else beyond


def _trading_days(times_s: npt.NDArray[np.float64], history: History) -> npt.NDArray[np.int64]:
    """Return the trading day of each bar, in days since 1970-01-01."""
    zone = timezone_named(_exchange_zone(history))
    local = nanoseconds_index(times_s).tz_localize("UTC").tz_convert(zone).tz_localize(None)
    minutes = local.to_numpy().astype(np.int64) // (60 * NANOSECONDS)
    evening = evening_open_minute(str(history.info.get("session") or ""))
    ahead = 0 if evening is None else _MINUTES_A_DAY - evening
    days: npt.NDArray[np.int64] = (minutes + ahead) // _MINUTES_A_DAY
    if evening is not None:
        # A bar that opens on a Friday evening belongs to Monday.
        weekday = (days + _THURSDAY) % 7
        days += np.maximum(0, 7 - weekday) * (weekday >= _SATURDAY)
    return days


def _day_number(day: dt.date) -> int:
    return (day - dt.date(1970, 1, 1)).days


def _exchange_zone(history: History) -> str:
    return str(history.info.get("timezone") or "UTC")


def _not_found(history: History, view: View, *, is_forming: bool) -> DataNotFoundError:
    exchange, _, name = history.request.symbol.rpartition(":")
    if not history.bars:
        reason = _SHORTFALLS["limit"] if history.data_completed == "limit" else None
    elif is_forming:
        reason = "no bar has closed yet"
    else:
        opened = dt.datetime.fromtimestamp(history.bars[0].time, dt.timezone.utc)
        why = _SHORTFALLS.get(history.data_completed or "", "no trades in it")
        reason = f"none in {view.dates}; the oldest bar that came opened at {opened}: {why}"
    return DataNotFoundError(name, exchange, reason=reason)


def _extent(history: History, view: View, received: int, *, begins_inside: bool) -> dict[str, Any]:
    """Return how many bars were requested and received, unless a full answer makes it obvious."""
    request = history.request
    is_end = history.data_completed == "end"
    shortfall = _SHORTFALLS.get(history.data_completed or "", "the server sent no more")
    requested: int | str = str(view.dates) if view.count is None else view.count
    if history.is_partial:
        is_complete, reason = False, "the store has no more of it"
    elif view.count is None:
        # A bar before the range, or exactly at its start: no bars are missing.
        oldest_s = history.bars[0].time
        reaches = begins_inside or (request.since_s is not None and oldest_s <= request.since_s)
        is_complete = reaches or is_end
        reason = "all bars of the range" if reaches else shortfall
    elif received < view.count:
        is_complete, reason = is_end, shortfall
    elif view.count > request.page_size:
        is_complete, reason = True, "as many as requested"
    else:
        return {}
    return {
        "requested": requested,
        "received": received,
        "complete": is_complete,
        "reason": reason,
    }
