"""Convert bars to a DataFrame: many at once, or one live bar."""

import datetime as dt
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from tvDatafeed.common.facts import facts
from tvDatafeed.common.settings import FillMissingVolume
from tvDatafeed.exceptions import DataValidationError, InvalidOHLCError
from tvDatafeed.frames.repeats import RepeatedHours
from tvDatafeed.protocol.bars import Bar, Bars
from tvDatafeed.query.dates import local_timezone, timezone_named, utc_moment
from tvDatafeed.query.view import ValidationPolicy

_K = TypeVar("_K")

logger: logging.Logger = logging.getLogger(__name__)

PRICE_COLUMNS = ("open", "high", "low", "close")

# The web client treats 1e100 as "no value".
NO_VALUE = 1e100

NANOSECONDS = 1_000_000_000
_MICROSECONDS = 1_000_000
_COLUMNS = 6

# All frames share these names, and the search in them that is prepared here: pandas 3 may do both
# with pyarrow, which reserves 64 KB in each thread that creates such an index.
_NAMES = pd.Index(["symbol", *PRICE_COLUMNS, "volume"])
_NAMES.get_loc("symbol")
# The names until all columns are there: a column is inserted into numbered ones in half the time.
_POSITIONS = pd.RangeIndex(1, len(_NAMES))


def bars_to_frame(
    bars: Bars,
    symbol: str,
    *,
    timezone: dt.tzinfo | None = None,
    fill_missing_volume: FillMissingVolume = "zero",
    validation: ValidationPolicy = "warn",
    repeated_hours: RepeatedHours | None = None,
) -> pd.DataFrame:
    """Build the DataFrame of one symbol.

    Parameters
    ----------
    bars
        Ascending by time.
    symbol
        The full TradingView symbol of every row.
    timezone
        The zone of the index; None for the machine's local time without a zone.
    fill_missing_volume
        The volume of a bar without one: "zero" (0.0), "nan", "forward" (the volume of the bar
        before), "interpolate" (between its neighbours). Only that bar is changed.
    validation
        What happens if bars are invalid: "warn" once, "raise", or "off". Bars are never repaired.
    repeated_hours
        Warns if the index repeats an hour; None: once for this frame.

    Returns
    -------
    pandas.DataFrame
        Columns symbol (object), open, high, low, close, volume (float64); index "datetime"
        (``datetime64[ns]``), the bars' opens, ascending. A missing price is NaN.

    Raises
    ------
    InvalidOHLCError
        With validation "raise": a high below, or a low above, the open or the close, or a missing
        price.
    DataValidationError
        With validation "raise": a negative volume.
    """
    cells = _cells(bars)
    # One column after the other, as pandas keeps them.
    values = cells[:, 1:].T.copy()
    values[values >= NO_VALUE] = np.nan
    values[-1] = _filled(values[-1], fill_missing_volume)
    if validation != "off":
        _validate(values, symbol, strict=validation == "raise")
    index = _index(cells[:, 0], timezone)
    if timezone is None:
        _check_order(index, cells[:, 0], symbol, repeated_hours or RepeatedHours())
    frame = pd.DataFrame(values.T, index=index, columns=_POSITIONS, copy=False)
    names = np.array([symbol], dtype=object).repeat(len(frame))
    # pandas 3 would use its own text dtype; programs compare with object.
    frame.insert(0, 0, pd.Series(names, index=index, dtype=object, copy=False))
    # A view, since the program may give the columns a name.
    frame.columns = _NAMES.view()
    return frame


class LiveRows:
    """Frames of one row each for the live bars of one symbol; used by one thread.

    Creating a small frame takes pandas several times as long as copying one, so this class copies
    one frame and replaces its numbers.

    Parameters
    ----------
    symbol
        The full symbol.
    repeated_hours
        Warns if the index repeats an hour.
    """

    __slots__ = ("_latest_s", "_latest_shown", "_numbers", "_repeated_hours", "_row", "_symbol")

    def __init__(self, symbol: str, repeated_hours: RepeatedHours) -> None:
        self._symbol = symbol
        self._repeated_hours = repeated_hours
        self._latest_s, self._latest_shown = -math.inf, 0
        self._numbers = np.zeros((1, len(_POSITIONS)))
        self._row = pd.DataFrame(self._numbers, columns=_POSITIONS, copy=False)
        names = np.full(1, symbol, dtype=object)
        self._row.insert(0, 0, pd.Series(names, dtype=object))
        self._row.columns = _NAMES.view()

    def frame(
        self,
        bar: Bar,
        *,
        is_closed: bool,
        zone_name: str | dt.tzinfo | None,
        delay_s: int,
        fill_missing_volume: FillMissingVolume,
        last_volume: float,
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
            As for `bars_to_frame`; there is no later bar to interpolate with.
        last_volume
            The last known volume, for "forward"; NaN without one.

        Returns
        -------
        pandas.DataFrame
            One row, as from `bars_to_frame`; ``attrs`` has closed and last_bar_closed (bool), and
            timezone and delay_seconds as in `history_to_frame`.
        """
        volume = bar.volume
        if not is_known(volume) and fill_missing_volume == "forward":
            volume = last_volume
        if not is_known(volume) and fill_missing_volume == "zero":
            volume = 0.0
        numbers = (bar.open, bar.high, bar.low, bar.close, volume)
        self._numbers[0] = [number if is_known(number) else math.nan for number in numbers]
        index = _index_of_one(bar.time, timezone_named(zone_name) if zone_name else None)
        if not zone_name:
            self._check_order(bar.time, index)
        # Set before the copy: pandas keeps a reference from an index to each copy of its frame.
        self._row.index = index
        frame = self._row.copy()
        frame.attrs["closed"] = frame.attrs["last_bar_closed"] = is_closed
        if zone_name:
            frame.attrs["timezone"] = str(zone_name)
        if delay_s:
            frame.attrs["delay_seconds"] = delay_s
        return frame

    def _check_order(self, time_s: float, index: pd.DatetimeIndex) -> None:
        shown = int(index.asi8[0])
        if time_s > self._latest_s:
            if shown <= self._latest_shown:
                self._repeated_hours.warn(self._symbol, index[0])
            self._latest_s, self._latest_shown = time_s, shown


def _index_of_one(time_s: float, timezone: dt.tzinfo | None) -> pd.DatetimeIndex:
    """Return the same as `_index` for one moment, several times as quickly."""
    local = local_timezone() if timezone is None else None
    if timezone is None and local is None:
        return _index(np.array([time_s]), None)
    whole = math.floor(time_s)
    nanoseconds = whole * NANOSECONDS
    nanoseconds += round((time_s - whole) * _MICROSECONDS) * (NANOSECONDS // _MICROSECONDS)
    if timezone is not None:
        # pandas reads integers as UTC.
        return pd.DatetimeIndex(np.array([nanoseconds], np.int64), tz=timezone, name="datetime")
    offset = utc_moment(whole).astimezone(local).utcoffset() or dt.timedelta()
    nanoseconds += round(offset.total_seconds()) * NANOSECONDS
    return pd.DatetimeIndex(np.array([nanoseconds], "M8[ns]"), name="datetime")


def is_known(number: float) -> bool:
    """Return whether a number of the server is a value: not NaN, and not `NO_VALUE`."""
    return number < NO_VALUE


def html_table(rows: Sequence[Mapping[str, object]]) -> str:
    """Return records as an HTML table, with texts escaped."""
    return pd.DataFrame(list(rows)).to_html(index=False, escape=True, border=0)


def joined(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Join frames one below the other; if their zones differ, in UTC."""
    whole = pd.concat(in_one_zone(dict(enumerate(frames))).values())
    whole.attrs = {}
    return whole


def in_one_zone(frames: Mapping[_K, pd.DataFrame]) -> dict[_K, pd.DataFrame]:
    """Return frames unchanged, or in UTC if their zones differ."""
    if len({str(_zone_of(frame)) for frame in frames.values()}) > 1:
        return {name: frame.tz_convert("UTC") for name, frame in frames.items()}
    return dict(frames)


def _zone_of(frame: pd.DataFrame) -> dt.tzinfo | None:
    zone: dt.tzinfo | None = frame.index.tz  # type: ignore[attr-defined]  # as ours are
    return zone


def _cells(bars: Bars) -> npt.NDArray[np.float64]:
    return np.frombuffer(bars.packed, dtype=np.float64).reshape(-1, _COLUMNS)


def times_of(bars: Bars) -> npt.NDArray[np.float64]:
    """Return the opens of bars, epoch seconds UTC."""
    return _cells(bars)[:, 0]


def _filled(volume: npt.NDArray[np.float64], policy: FillMissingVolume) -> npt.NDArray[Any]:
    missing = np.isnan(volume)
    if policy == "nan" or not missing.any():
        return volume
    if policy == "zero":
        return np.where(missing, 0.0, volume)
    series = pd.Series(volume)
    # Only gaps between known volumes are filled: volumes outside them are unknown.
    known = series.ffill() if policy == "forward" else series.interpolate(limit_area="inside")
    return known.to_numpy(dtype=np.float64)


def _validate(values: npt.NDArray[np.float64], symbol: str, *, strict: bool) -> None:
    open_, high, low, close, volume = values
    with np.errstate(invalid="ignore"):
        highest, lowest = np.maximum(open_, close), np.minimum(open_, close)
        negative = volume < 0
        # A comparison with NaN is false, so this is false without a price, too.
        if not negative.any() and ((high >= highest) & (low <= lowest)).all():
            return
        crossed = (high < highest) | (low > lowest)
    missing = np.isnan(values[:-1]).any(axis=0)
    if strict:
        broken = np.flatnonzero(missing | crossed)
        if broken.size:
            first = values[:, broken[0]]
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
        logger.warning(
            "%s: of %d bars, %s; kept as sent",
            symbol,
            values.shape[1],
            ", ".join(found),
            extra=facts(symbol, bars=values.shape[1], reason=", ".join(found)),
        )


def _index(times_s: npt.NDArray[np.float64], timezone: dt.tzinfo | None) -> pd.DatetimeIndex:
    index = nanoseconds_index(times_s)
    if timezone is dt.timezone.utc:
        return index.tz_localize("UTC")
    if timezone is not None:
        return index.tz_localize(dt.timezone.utc).tz_convert(timezone)
    local = local_timezone()
    if local is None:
        stamps = [dt.datetime.fromtimestamp(float(time_s)) for time_s in times_s]  # noqa: DTZ006
        return pd.DatetimeIndex(stamps, name="datetime").as_unit("ns")
    return index.tz_localize(dt.timezone.utc).tz_convert(local).tz_localize(None)


def _check_order(
    index: pd.DatetimeIndex,
    times_s: npt.NDArray[np.float64],
    symbol: str,
    repeated_hours: RepeatedHours,
) -> None:
    went_back = np.diff(index.asi8) <= 0
    if not went_back.any():
        return
    went_back &= np.diff(times_s) > 0
    if went_back.any():
        repeated_hours.warn(symbol, index[int(went_back.argmax()) + 1])


def nanoseconds_index(times_s: npt.NDArray[np.float64]) -> pd.DatetimeIndex:
    """Return moments in epoch seconds as a naive index of nanoseconds."""
    whole = times_s.astype(np.int64)
    nanoseconds = whole * NANOSECONDS
    fraction = times_s - whole
    if fraction.any():
        # A float of this size has a precision of a quarter of a microsecond, not finer.
        microseconds = np.rint(fraction * _MICROSECONDS).astype(np.int64)
        nanoseconds += microseconds * (NANOSECONDS // _MICROSECONDS)
    return pd.DatetimeIndex(nanoseconds.view("M8[ns]"), name="datetime")
