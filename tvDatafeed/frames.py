"""Frames: bars and quotes of the wire become a DataFrame.

The one place in the data path that touches pandas. It is imported at first use, so that
importing the library stays quick.
"""

import datetime as dt
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from tvDatafeed.config import FillMissingVolume
from tvDatafeed.dates import (
    EXCHANGE_TIMEZONE,
    DateRange,
    evening_open_minute,
    local_timezone,
    timezone_named,
)
from tvDatafeed.exceptions import DataNotFoundError, DataValidationError, InvalidOHLCError
from tvDatafeed.interval import interval_len
from tvDatafeed.protocol.events import History, Quotes
from tvDatafeed.protocol.messages import Bar
from tvDatafeed.protocol.series import Bars, delay_seconds, last_bar_is_closed

logger: logging.Logger = logging.getLogger(__name__)

PRICE_COLUMNS = ("open", "high", "low", "close")

# The web client reads 1e100 as "no value".
_NO_VALUE = 1e100
_NANOSECONDS = 1_000_000_000
_MICROSECONDS = 1_000_000
_MINUTES_A_DAY = 24 * 60
# 1970-01-01 was a Thursday, counted from Monday.
_THURSDAY, _SATURDAY = 3, 5
_COLUMNS = 6

# Made once, for a small frame costs little more than its index of columns.
_NUMBERS = pd.Index([*PRICE_COLUMNS, "volume"])
_SEARCH_COLUMNS = ("symbol", "description", "exchange", "type", "full_name")
_SHORTFALLS = {"end": "no older bars exist", "limit": "the plan's limit of bars is reached"}

ValidationPolicy = Literal["warn", "raise", "off"]


@dataclass(frozen=True)
class View:
    """Which bars of an answer are shown, and how.

    Parameters
    ----------
    count
        The newest so many; None for all.
    dates
        Those of a range; None for no limits.
    closed_only
        Without a bar that is still forming.
    timezone
        Name of the index's zone, "exchange" being the symbol's own; None for the machine's local
        time without a zone.
    with_trading_days
        Whether daily and longer bars have the midnight of their trading day, without a zone.
    fill_missing_volume, validation
        As for `bars_to_frame`.
    """

    count: int | None = None
    dates: DateRange | None = None
    closed_only: bool = False
    timezone: str | None = None
    with_trading_days: bool = False
    fill_missing_volume: FillMissingVolume = "zero"
    validation: ValidationPolicy = "warn"


def history_to_frame(history: History, view: View) -> pd.DataFrame:
    """Build the DataFrame of an answer: the bars that were asked for, and what to know of them.

    Parameters
    ----------
    history
        The answer.
    view
        Which of its bars, and how.

    Returns
    -------
    pandas.DataFrame
        As from `bars_to_frame`. ``attrs`` has last_bar_closed (bool); timezone (str) where one was
        asked for; delay_seconds (int) of delayed data; requested (int, or the range as str),
        received (int), complete (bool) and reason (str) when fewer bars came than were asked for,
        a range, or more than one page.

    Raises
    ------
    DataNotFoundError
        When there is no such bar.
    InvalidOHLCError, DataValidationError
        As from `bars_to_frame`.
    """
    bars, symbol = history.bars, history.request.symbol
    first, beyond = _range(history, view.dates)
    delay_s = delay_seconds(history.update_mode)
    is_closed = beyond < len(bars) or _last_is_closed(history, delay_s)
    oldest, is_forming = first, first < beyond and not is_closed
    if view.closed_only and is_forming:
        beyond, is_closed = beyond - 1, True
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
    )
    if view.with_trading_days:
        days = _trading_days(_times(bars)[first:beyond], history)
        frame.index = pd.DatetimeIndex(days.astype("M8[D]").astype("M8[ns]"), name="datetime")
    frame.attrs["last_bar_closed"] = bool(is_closed)
    if zone_name:
        frame.attrs["timezone"] = zone_name
    if delay_s:
        frame.attrs["delay_seconds"] = delay_s
    frame.attrs.update(_extent(history, view, len(frame), begins_inside=oldest > 0))
    return frame


def bars_to_frame(
    bars: Bars,
    symbol: str,
    *,
    timezone: dt.tzinfo | None = None,
    fill_missing_volume: FillMissingVolume = "zero",
    validation: ValidationPolicy = "warn",
) -> pd.DataFrame:
    """Build the DataFrame of one symbol.

    Parameters
    ----------
    bars
        Ascending by time.
    symbol
        The full TradingView symbol; stands on every row.
    timezone
        The zone of the index; None for the machine's local time without a zone.
    fill_missing_volume
        What a bar without volume gets: "zero" (0.0), "nan", "forward" (the volume of the bar
        before), "interpolate" (between its neighbours). Only that bar is touched.
    validation
        What to do about broken bars: "warn" once, "raise", or "off". Bars are never repaired.

    Returns
    -------
    pandas.DataFrame
        Columns symbol (object), open, high, low, close, volume (float64); index "datetime"
        (``datetime64[ns]``), the bars' opens, ascending. A price that is missing is NaN.

    Raises
    ------
    InvalidOHLCError
        With validation "raise": a high below, or a low above, the open or the close, or a
        price that is missing.
    DataValidationError
        With validation "raise": a negative volume.
    """
    cells = _cells(bars)
    values = cells[:, 1:].copy()
    values[values >= _NO_VALUE] = np.nan
    volume = values[:, -1]
    volume[:] = _filled(volume, fill_missing_volume)
    if validation != "off":
        _validate(values, symbol, strict=validation == "raise")
    index = _index(cells[:, 0], timezone)
    frame = pd.DataFrame(values, index=index, columns=_NUMBERS, copy=False)
    names = np.full(len(frame), symbol, dtype=object)
    # pandas 3 would make a text column of its own dtype; programs compare with object.
    frame.insert(0, "symbol", pd.Series(names, index=index, dtype=object))
    return frame


class LiveRows:
    """Frames of one row each, for the bars of one symbol as they come; of one thread.

    To make a small frame from nothing takes pandas ten times as long as to copy one, so there is
    one whose numbers are written anew for each copy.

    Parameters
    ----------
    symbol
        The full symbol.
    """

    # pandas keeps a note of each copy, and clears these only when there are hundreds.
    _COPIES = 50

    def __init__(self, symbol: str) -> None:
        self._symbol = symbol
        self._numbers = np.zeros((1, len(_NUMBERS)))
        self._row = self._new_row()
        self._copies = 0

    def _new_row(self) -> pd.DataFrame:
        index = _index(np.zeros(1), dt.timezone.utc)
        row = pd.DataFrame(self._numbers, index=index, columns=_NUMBERS, copy=False)
        names = np.full(1, self._symbol, dtype=object)
        row.insert(0, "symbol", pd.Series(names, index=index, dtype=object))
        return row

    def frame(
        self,
        bar: Bar,
        *,
        is_closed: bool,
        zone_name: str | None,
        delay_s: int,
        fill_missing_volume: FillMissingVolume,
        before: Bar | None,
    ) -> pd.DataFrame:
        """Build the DataFrame of one live bar.

        Parameters
        ----------
        bar
            The bar.
        is_closed
            Whether it can no longer change.
        zone_name, delay_s
            As in ``attrs`` of `history_to_frame`.
        fill_missing_volume
            As for `bars_to_frame`; there is no bar yet to interpolate to.
        before
            The bar before, whose volume goes "forward".

        Returns
        -------
        pandas.DataFrame
            One row, as from `bars_to_frame`; ``attrs`` has closed and last_bar_closed (bool), and
            timezone and delay_seconds as in `history_to_frame`.
        """
        volume = bar.volume
        if math.isnan(volume) and fill_missing_volume == "forward" and before is not None:
            volume = before.volume
        if math.isnan(volume) and fill_missing_volume == "zero":
            volume = 0.0
        numbers = self._numbers
        numbers[0] = (bar.open, bar.high, bar.low, bar.close, volume)
        numbers[numbers >= _NO_VALUE] = np.nan
        self._copies += 1
        if self._copies % self._COPIES == 0:
            self._row = self._new_row()
        frame = self._row.copy()
        frame.index = _index(np.array([bar.time]), timezone_named(zone_name) if zone_name else None)
        frame.attrs["closed"] = frame.attrs["last_bar_closed"] = is_closed
        if zone_name:
            frame.attrs["timezone"] = zone_name
        if delay_s:
            frame.attrs["delay_seconds"] = delay_s
        return frame


def html_table(rows: Sequence[Mapping[str, object]]) -> str:
    """Write records as a table of HTML, their texts escaped."""
    return pd.DataFrame(list(rows)).to_html(index=False, escape=True, border=0)


def joined(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Put frames one below the other; where their zones differ, in UTC."""
    if len({str(_zone_of(frame)) for frame in frames}) > 1:
        frames = [frame.tz_convert("UTC") for frame in frames]
    whole = pd.concat(frames)
    whole.attrs = {}
    return whole


def _zone_of(frame: pd.DataFrame) -> dt.tzinfo | None:
    zone: dt.tzinfo | None = frame.index.tz  # type: ignore[attr-defined]  # as ours are
    return zone


def quotes_to_frame(
    quotes: Quotes, rows: Mapping[str, str], columns: Mapping[str, str]
) -> pd.DataFrame:
    """Build the DataFrame of some quotes.

    Parameters
    ----------
    quotes
        The answer.
    rows
        The index: the names of the rows and the symbols whose quotes they show.
    columns
        The names of the columns and the fields that they show.

    Returns
    -------
    pandas.DataFrame
        One row a symbol, index "symbol". A column is float64 where all its values are numbers, a
        number that is missing being NaN; otherwise object, what is missing being None.
    """
    shown = [quotes.by_symbol[rows[name]] for name in rows]
    return pd.DataFrame(
        {name: _quote_column([v.get(field) for v in shown]) for name, field in columns.items()},
        index=pd.Index(np.array(list(rows), dtype=object), name="symbol"),
    )


def _quote_column(cells: list[Any]) -> npt.NDArray[Any]:
    if all(cell is None or _is_number(cell) for cell in cells):
        numbers = np.array([math.nan if cell is None else float(cell) for cell in cells])
        numbers[numbers >= _NO_VALUE] = math.nan
        return numbers
    column = np.empty(len(cells), dtype=object)
    column[:] = cells
    return column


def _is_number(cell: Any) -> bool:
    return isinstance(cell, int | float) and not isinstance(cell, bool)


def _cells(bars: Bars) -> npt.NDArray[np.float64]:
    return np.frombuffer(bars.packed, dtype=np.float64).reshape(-1, _COLUMNS)


def _times(bars: Bars) -> npt.NDArray[np.float64]:
    return _cells(bars)[:, 0]


def _range(history: History, dates: DateRange | None) -> tuple[int, int]:
    """Return the first bar of a range and the one beyond it."""
    times = _times(history.bars)
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


def _trading_days(times_s: npt.NDArray[np.float64], history: History) -> npt.NDArray[np.int64]:
    """Return the trading day that each bar opens, in days since 1970-01-01."""
    zone = timezone_named(_exchange_zone(history))
    local = _nanoseconds_index(times_s).tz_localize("UTC").tz_convert(zone).tz_localize(None)
    minutes = local.to_numpy().astype(np.int64) // (60 * _NANOSECONDS)
    evening = evening_open_minute(str(history.info.get("session") or ""))
    ahead = 0 if evening is None else _MINUTES_A_DAY - evening
    days: npt.NDArray[np.int64] = (minutes + ahead) // _MINUTES_A_DAY
    if evening is not None:
        # What opens on a Friday evening is Monday's.
        weekday = (days + _THURSDAY) % 7
        days += np.maximum(0, 7 - weekday) * (weekday >= _SATURDAY)
    return days


def _day_number(day: dt.date) -> int:
    return (day - dt.date(1970, 1, 1)).days


def _exchange_zone(history: History) -> str:
    return str(history.info.get("timezone") or "UTC")


def _last_is_closed(history: History, delay_s: float) -> bool:
    close_time_s = history.close_time_s
    if close_time_s is None and history.bars:
        # The server does not say; twice its length after its open no bar is forming any more.
        length_s = interval_len.get(history.request.interval, math.inf)
        close_time_s = history.bars[-1].time + 2 * length_s
    return last_bar_is_closed(close_time_s, history.server_time_s, delay_s=delay_s)


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
    """Say how much was asked for and how much came, unless that goes without saying."""
    request = history.request
    is_end = history.data_completed == "end"
    shortfall = _SHORTFALLS.get(history.data_completed or "", "the server sent no more")
    requested: int | str
    if view.count is None:
        # A bar before the range, or at its very begin: there is nothing between.
        oldest_s = history.bars[0].time
        reaches = begins_inside or (request.since_s is not None and oldest_s <= request.since_s)
        requested, is_complete = str(view.dates), reaches or is_end
        reason = "all bars of the range" if reaches else shortfall
    elif received < view.count:
        requested, is_complete, reason = view.count, is_end, shortfall
    elif view.count > request.page_size:
        requested, is_complete, reason = view.count, True, "as many as asked for"
    else:
        return {}
    return {
        "requested": requested,
        "received": received,
        "complete": is_complete,
        "reason": reason,
    }


def _filled(volume: npt.NDArray[np.float64], policy: FillMissingVolume) -> npt.NDArray[Any]:
    missing = np.isnan(volume)
    if policy == "nan" or not missing.any():
        return volume
    if policy == "zero":
        return np.where(missing, 0.0, volume)
    series = pd.Series(volume)
    # Only gaps between known volumes are bridged: what lies outside them is not known.
    known = series.ffill() if policy == "forward" else series.interpolate(limit_area="inside")
    return known.to_numpy(dtype=np.float64)


def _validate(values: npt.NDArray[np.float64], symbol: str, *, strict: bool) -> None:
    open_, high, low, close, volume = values.T
    missing = np.isnan(values[:, :-1]).any(axis=1)
    with np.errstate(invalid="ignore"):
        crossed = (high < np.maximum(open_, close)) | (low > np.minimum(open_, close))
        negative = volume < 0
    if strict:
        broken = np.flatnonzero(missing | crossed)
        if broken.size:
            first = values[broken[0]]
            raise InvalidOHLCError(*(float(price) for price in first[:-1]))
        if negative.any():
            raise DataValidationError(
                "volume", float(volume[negative][0]), "a volume cannot be negative"
            )
        return
    counts = {
        "without a price (NaN)": missing,
        "whose high or low does not hold its open and close": crossed,
        "with a negative volume": negative,
    }
    found = [f"{int(rows.sum())} {what}" for what, rows in counts.items() if rows.any()]
    if found:
        logger.warning("%s: of %d bars, %s; kept as sent", symbol, len(values), ", ".join(found))


def _index(times_s: npt.NDArray[np.float64], timezone: dt.tzinfo | None) -> pd.DatetimeIndex:
    index = _nanoseconds_index(times_s)
    if timezone is dt.timezone.utc:
        return index.tz_localize("UTC")
    if timezone is not None:
        return index.tz_localize("UTC").tz_convert(timezone)
    local = local_timezone()
    if local is None:
        stamps = [dt.datetime.fromtimestamp(float(time_s)) for time_s in times_s]  # noqa: DTZ006
        return pd.DatetimeIndex(stamps, name="datetime").as_unit("ns")
    return index.tz_localize("UTC").tz_convert(local).tz_localize(None)


def _nanoseconds_index(times_s: npt.NDArray[np.float64]) -> pd.DatetimeIndex:
    whole = np.floor(times_s).astype(np.int64)
    # A float of today's size is good to a quarter of a microsecond, so finer digits are noise.
    fraction = np.rint((times_s - whole) * _MICROSECONDS).astype(np.int64)
    nanoseconds = whole * _NANOSECONDS + fraction * (_NANOSECONDS // _MICROSECONDS)
    return pd.DatetimeIndex(nanoseconds.view("M8[ns]"), name="datetime")


def search_to_frame(items: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Build the DataFrame of what a search has found.

    Returns
    -------
    pandas.DataFrame
        One row a result. Columns symbol, description, exchange, type and full_name, then the other
        texts, numbers and flags that any of them has; object, what is missing being None.
    """
    names = dict.fromkeys(_SEARCH_COLUMNS)
    for item in items:
        names |= dict.fromkeys(n for n, v in item.items() if not isinstance(v, list | dict))
    columns = {}
    for name in names:
        column = np.empty(len(items), dtype=object)
        cells = (item.get(name) for item in items)
        column[:] = [None if isinstance(cell, list | dict) else cell for cell in cells]
        columns[name] = column
    return pd.DataFrame(columns).astype(object)
