"""Requests that name a stored series, made from the arguments of a caller."""

from tvDatafeed.config import DataConfig
from tvDatafeed.interval import IntervalLike
from tvDatafeed.query.history import FrameOptions, HistoryQuery, RangeOptions, SeriesOptions


def key_query(
    interval: IntervalLike, options: SeriesOptions, n_bars: int | None = None
) -> HistoryQuery:
    """Return a query for the newest bars of a series, or one that only names it."""
    return HistoryQuery(
        RangeOptions(interval, n_bars, None, None, None),
        options,
        FrameOptions("open", closed_only=False, validate=None),
        DataConfig(),
    )
