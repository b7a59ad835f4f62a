"""Frames: bars of the wire become a DataFrame.

The one place in the data path that touches pandas. It is imported at first use, so that
importing the library stays quick.
"""

import datetime as dt
import logging
import math
import re
import struct
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import tzlocal

from tvDatafeed.config import FillMissingVolume
from tvDatafeed.exceptions import DataValidationError, InvalidOHLCError
from tvDatafeed.protocol.events import History
from tvDatafeed.protocol.messages import Bar, Number
from tvDatafeed.protocol.series import last_bar_is_closed

logger = logging.getLogger(__name__)

PRICE_COLUMNS = ("open", "high", "low", "close")

# The server's clock and its close times are whole seconds, and trades are reported late.
CLOSED_MARGIN_S = 2.0

# The web client reads 1e100 as "no value".
_NO_VALUE = 1e100
_NANOSECONDS = 1_000_000_000
_MICROSECONDS = 1_000_000
_VOLUME = 5

_DELAYED = "delayed_streaming_"
_DELAY = re.compile(r"[0-9]{1,6}")
_SHORTFALLS = {"end": "no older bars exist", "limit": "the plan's limit of bars is reached"}

ValidationPolicy = Literal["warn", "raise", "off"]


def history_to_frame(
    history: History,
    *,
    timezone: dt.tzinfo | None = None,
    fill_missing_volume: FillMissingVolume = "zero",
    validation: ValidationPolicy = "warn",
) -> pd.DataFrame:
    """Build the DataFrame of an answer: the newest bars asked for, and what to know of them.

    Parameters
    ----------
    history
        The answer; with one bar at least.
    timezone, fill_missing_volume, validation
        As for `bars_to_frame`.

    Returns
    -------
    pandas.DataFrame
        As from `bars_to_frame`. ``attrs`` has last_bar_closed (bool); delay_seconds (int) of
        delayed data; requested, received (int), complete (bool) and reason (str) when fewer
        bars came than were asked for.
    """
    frame = bars_to_frame(
        history.bars[-history.request.count :],
        history.request.symbol,
        timezone=timezone,
        fill_missing_volume=fill_missing_volume,
        validation=validation,
    )
    delay_s = _delay_s(history.update_mode)
    frame.attrs["last_bar_closed"] = last_bar_is_closed(
        history.close_time_s, history.server_time_s, delay_s=delay_s, margin_s=CLOSED_MARGIN_S
    )
    if delay_s:
        frame.attrs["delay_seconds"] = delay_s
    if len(frame) < history.request.count:
        frame.attrs["requested"] = history.request.count
        frame.attrs["received"] = len(frame)
        frame.attrs["complete"] = history.data_completed == "end"
        frame.attrs["reason"] = _SHORTFALLS.get(
            history.data_completed or "", "the server sent no more"
        )
    return frame


def bars_to_frame(
    bars: Sequence[Bar],
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
    cells = np.frombuffer(_pack(bars), dtype=np.float64).reshape(-1, _VOLUME + 1)
    values = cells[:, 1:].copy()
    values[values >= _NO_VALUE] = np.nan
    volume = values[:, -1]
    volume[:] = _filled(volume, fill_missing_volume)
    if validation != "off":
        _validate(values, symbol, strict=validation == "raise")
    index = _index(cells[:, 0], timezone)
    frame = pd.DataFrame(values, index=index, columns=[*PRICE_COLUMNS, "volume"], copy=False)
    names = np.full(len(frame), symbol, dtype=object)
    # pandas 3 would make a text column of its own dtype; programs compare with object.
    frame.insert(0, "symbol", pd.Series(names, index=index, dtype=object))
    return frame


def _pack(bars: Sequence[Bar]) -> bytes:
    pack = struct.Struct("6d").pack
    try:
        return b"".join([pack(b.time, b.open, b.high, b.low, b.close, b.volume) for b in bars])
    except struct.error:  # a cell that is no number: an index without volume, a null, a text
        rows = ((b.time, b.open, b.high, b.low, b.close, b.volume) for b in bars)
        return b"".join([pack(*map(_as_float, row)) for row in rows])


def _as_float(cell: Number) -> float:
    return float(cell) if isinstance(cell, int | float) else math.nan


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
    whole = np.floor(times_s).astype(np.int64)
    # A float of today's size is good to a quarter of a microsecond, so finer digits are noise.
    fraction = np.rint((times_s - whole) * _MICROSECONDS).astype(np.int64)
    nanoseconds = whole * _NANOSECONDS + fraction * (_NANOSECONDS // _MICROSECONDS)
    index = pd.DatetimeIndex(nanoseconds.view("M8[ns]"), name="datetime")
    if timezone is dt.timezone.utc:
        return index.tz_localize("UTC")
    if timezone is not None:
        return index.tz_localize("UTC").tz_convert(timezone)
    try:
        local = tzlocal.get_localzone()
    except (LookupError, ValueError):
        # A machine may have a rule of its own ("CET-1CEST,M3.5.0,M10.5.0/3") and no zone's name.
        stamps = [dt.datetime.fromtimestamp(float(time_s)) for time_s in times_s]  # noqa: DTZ006
        return pd.DatetimeIndex(stamps, name="datetime").as_unit("ns")
    return index.tz_localize("UTC").tz_convert(local).tz_localize(None)


def _delay_s(update_mode: str) -> int:
    delay = update_mode.removeprefix(_DELAYED)
    return int(delay) if delay != update_mode and _DELAY.fullmatch(delay) else 0
