"""Convert a program's DataFrames to bars."""

import time

import numpy as np
import pandas as pd

from tvDatafeed.exceptions import DataValidationError
from tvDatafeed.frames.bars import PRICE_COLUMNS
from tvDatafeed.protocol.bars import Bars
from tvDatafeed.protocol.series import EARLIEST_BAR_S, LATEST_BAR_S
from tvDatafeed.query.dates import local_timezone

_COLUMNS = (*PRICE_COLUMNS, "volume")
_NANOSECONDS = 1e9


def symbol_of(frame: pd.DataFrame) -> str:
    """Return the symbol of all rows of a frame.

    Raises
    ------
    DataValidationError
        If there is no such column, or it contains several symbols.
    """
    names = sorted(set(frame["symbol"])) if "symbol" in frame.columns else []
    if len(names) != 1:
        found = ", ".join(map(str, names[:3])) or "none"
        raise DataValidationError(
            "symbol", found, "must be given, unless the frame's column names one symbol"
        )
    return str(names[0])


def frame_to_bars(frame: pd.DataFrame, length_s: float) -> Bars:
    """Check the closed bars of a frame, and pack them.

    Parameters
    ----------
    frame
        Columns open, high, low, close and volume; the index has the open of each bar, aware, or
        naive in the machine's local time. A missing volume stays missing.
    length_s
        The length of a bar, seconds.

    Returns
    -------
    Bars
        Ascending by time.

    Raises
    ------
    DataValidationError
        If the index is not ascending and unique, a price is missing or infinite, or the last bar is
        still forming.
    """
    missing = [column for column in _COLUMNS if column not in frame.columns]
    if missing:
        raise DataValidationError("df", list(frame.columns), f"must have {', '.join(missing)}")
    times = _times(frame.index)
    rows = np.empty((len(times), 1 + len(_COLUMNS)))
    rows[:, 0] = times
    for number, name in enumerate(_COLUMNS, 1):
        rows[:, number] = frame[name].to_numpy(dtype=np.float64)
    if not (times[1:] > times[:-1]).all():
        raise DataValidationError("df", "index", "must be ascending, each moment once")
    prices, volumes = rows[:, 1:-1], rows[:, -1]
    if not np.isfinite(prices).all() or np.isinf(volumes).any():
        bad = np.flatnonzero(~np.isfinite(prices).all(axis=1) | np.isinf(volumes))
        row = frame.index[int(bad[0])]
        raise DataValidationError("df", str(row), "has a price or a volume that is not a number")
    if len(times) and not (times[0] >= EARLIEST_BAR_S and times[-1] <= LATEST_BAR_S):
        raise DataValidationError("df", "index", "must lie in the years 1678 to 2261")
    if len(times) and _is_forming(frame, float(times[-1]), length_s):
        raise DataValidationError(
            "df", str(frame.index[-1]), "is still forming; leave it out with closed_only=True"
        )
    return Bars(rows.tobytes())


def _is_forming(frame: pd.DataFrame, last_s: float, length_s: float) -> bool:
    closed = frame.attrs.get("last_bar_closed")
    if closed is not None:
        return not closed
    return last_s + length_s > time.time()


def _times(index: pd.Index) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    if not isinstance(index, pd.DatetimeIndex) or index.hasnans:
        raise DataValidationError("df", type(index).__name__, "must have an index of datetimes")
    aware = index
    if index.tz is None:
        zone = local_timezone()
        if zone is None:
            raise DataValidationError("df", "index", 'must have a zone, such as timezone="UTC"')
        try:
            aware = index.tz_localize(zone, ambiguous="infer")
        except ValueError as error:  # pytz and zoneinfo raise errors of several classes here
            raise DataValidationError(
                "df", "index", f'has local times that are not unique ({error}); use timezone="UTC"'
            ) from error
    # For an aware index these are moments, independent of its zone.
    return aware.as_unit("ns").asi8 / _NANOSECONDS
