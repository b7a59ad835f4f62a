"""Frames of a live feed become closed bars."""

import math
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tvDatafeed.delivery.messages import ClosedBar
from tvDatafeed.exceptions import DeliveryError
from tvDatafeed.query.dates import local_timezone

if TYPE_CHECKING:
    import pandas as pd

    from tvDatafeed.interval import CustomInterval, Interval

_COLUMNS = ["open", "high", "low", "close", "volume"]
_NANOSECONDS = 1_000_000_000


class Series(Protocol):
    """What a `Seis` says about a series."""

    @property
    def symbol(self) -> str:
        """The symbol."""

    @property
    def exchange(self) -> str:
        """The exchange."""

    @property
    def interval(self) -> "Interval | CustomInterval":
        """The length of a bar."""


def series_key(seis: Series) -> str:
    """Return the key of a series, which is the lane of its bars too."""
    return f"{seis.exchange}:{seis.symbol}|{seis.interval.value}"


def closed_bars(seis: Series, frame: "pd.DataFrame", after_s: float) -> list[ClosedBar]:
    """Return the closed bars of a frame.

    Parameters
    ----------
    seis
        The series.
    frame
        Bars, as a callback gets them.
    after_s
        When the bar before opened, seconds since 1970: where clocks were set back, an index without
        a zone shows two moments alike, and the bar is the first of them that is later.

    Raises
    ------
    DeliveryError
        The frame is not one of bars.
    """
    is_closed = frame.attrs.get("closed", frame.attrs.get("last_bar_closed", True))
    if not is_closed:
        frame = frame.iloc[:-1]
    if not len(frame):
        return []
    try:
        rows = _numbers(frame)
        times = _times_s(frame.index, after_s)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise DeliveryError(
            f"the data of {seis} are not bars with an index of moments and {', '.join(_COLUMNS)} "
            f"({type(error).__name__})"
        ) from error
    key = series_key(seis)
    return [
        ClosedBar(
            seis.symbol,
            seis.exchange,
            seis.interval.value,
            key,
            time_s,
            tuple(value if math.isfinite(value) else None for value in row),
        )
        for time_s, row in zip(times, rows, strict=True)
    ]


def _numbers(frame: "pd.DataFrame") -> list[list[float]]:
    positions: list[Any] = [frame.columns.get_loc(name) for name in _COLUMNS]
    try:
        if len(frame) == 1:
            # The bar of a live feed.
            cells: Any = frame.iat
            return [[float(cells[0, position]) for position in positions]]
        # As one array: each column that is taken of a frame makes a Series, and copies `attrs`.
        values = frame.to_numpy()[:, positions].astype(np.float64)
    except TypeError:
        # pandas has a missing value of its own, and to look for it takes as long as the rest.
        values = frame.to_numpy(na_value=np.nan)[:, positions].astype(np.float64)
    rows: list[list[float]] = values.tolist()
    return rows


def _times_s(index: Any, after_s: float) -> list[int]:
    if index.tz is not None:
        return _seconds(index)
    zone = local_timezone()
    if zone is None:
        raise ValueError("local time has no zone here")
    if len(index) == 1:
        # The bar of a live feed, whose time is there once on all days but one: pandas takes a
        # tenth of a millisecond for that question.
        moment = index[0].to_pydatetime(warn=False)
        offset = zone.utcoffset(moment)
        if offset is not None and offset == zone.utcoffset(moment.replace(fold=1)):
            return [_seconds(index)[0] - int(offset.total_seconds())]
    # As a time that is there twice is read: the first, and the second time.
    first, second = (
        _seconds(index.tz_localize(zone, ambiguous=np.full(len(index), is_dst)))
        for is_dst in (True, False)
    )
    times = []
    for early_s, late_s in zip(first, second, strict=True):
        after_s = early_s if early_s > after_s else late_s
        times.append(after_s)
    return times


def _seconds(index: Any) -> list[int]:
    # Those of an index with a zone are in UTC.
    exact = index if index.unit == "ns" else index.as_unit("ns")
    return [moment // _NANOSECONDS for moment in exact.asi8.tolist()]
