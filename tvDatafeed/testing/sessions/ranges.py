"""Parse which bars a create_series requests: a number, up to a moment, or a time range."""

import re
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any, NamedTuple

from tvDatafeed.testing.market.corrections import canonical
from tvDatafeed.testing.market.history import BarHistory
from tvDatafeed.testing.sessions.chart import ChartSeries
from tvDatafeed.testing.wire.commands import RefusedError

# Epoch seconds reach this number in the year 5138; larger numbers are milliseconds.
_LARGEST_SECOND = 1e11
_DAY_S = 86400
_PERIOD_S = {"d": _DAY_S, "D": _DAY_S, "M": 28 * _DAY_S}


class Window(NamedTuple):
    """The bars that a series requests.

    Attributes
    ----------
    size
        How many bars.
    until_s
        The moment of the last bar, epoch seconds; None for a live series.
    timeframe
        The indexes of the first and last bar of the requested range; None without a range.
    """

    size: int
    until_s: float | None
    timeframe: tuple[int, int] | None


def window(history: BarHistory, count: Any, wanted_range: str) -> Window:
    """Return the requested bars, or raise `RefusedError` if the request is not valid.

    Parameters
    ----------
    history
        The available bars.
    count
        The fifth parameter of create_series: a number, or a range of one of three kinds.
    wanted_range
        The sixth, such as ``"12M"`` or ``"r,1735689600:1738368000"``; may be empty.
    """
    until_s: float | None = None
    match count:
        case int() if not isinstance(count, bool) and count > 0:
            wanted = count
        case ["bar_count", int() | float() as moment, int() as size] if size > 0:
            wanted, until_s = size, _seconds(moment)
        case ["bar_count", int() | float() as moment, int() as size] if size < 0:
            moment_s = _seconds(moment)
            times = history.times_since(moment_s)[:-size]
            wanted, until_s = len(times), times[-1] if times else moment_s
        case ["from_to", int() | float() as start]:
            wanted = len(history.times_since(_seconds(start)))
        case ["from_to", int() | float() as start, int() | float() as end]:
            until_s = _seconds(end)
            wanted = sum(time <= until_s for time in history.times_since(_seconds(start)))
        case str() if count.startswith("r,"):
            wanted, wanted_range = 1, count
        case _:
            raise RefusedError
    if not wanted_range:
        return Window(max(1, wanted), until_s, None)
    start, end = _bounds(history, wanted_range)
    times = history.times_since(start)
    wanted = max(wanted, len(times))
    before = wanted - len(times)
    last = before + sum(time <= end for time in times) - 1
    return Window(wanted, until_s, (before, last))


def loaded_timeframe(
    history: BarHistory, series: ChartSeries, asked: ChartSeries, wanted_range: str
) -> tuple[int, int] | None:
    """Return the indexes of the first and last bar of a range in a series.

    Parameters
    ----------
    history
        The available bars.
    series
        The series with the bars that were sent.
    asked
        The series whose bars are requested.
    wanted_range
        As in `window`.

    Returns
    -------
    tuple of int or None
        None if bars of the range were not sent, except those that a live series will get.
    """
    is_same = asked.symbol is series.symbol
    is_same = is_same and canonical(asked.interval) == canonical(series.interval)
    if not is_same or series.oldest_time is None or series.newest is None:
        return None
    start, end = _bounds(history, wanted_range)
    times, newest = history.times_since(start), series.newest.time
    is_loaded = not times or times[0] >= series.oldest_time
    if series.until_s is not None and any(newest < time <= end for time in times):
        is_loaded = False
    if not is_loaded:
        return None
    sent = [time for time in times if time <= newest]
    first = series.newest_index + 1 - len(sent)
    return first, first + sum(time <= end for time in sent) - 1


def _bounds(history: BarHistory, text: str) -> tuple[float, float]:
    now = history.now
    if bounds := re.fullmatch(r"r,(\d+(?:\.\d+)?):(\d+(?:\.\d+)?)", text):
        start, end = (_seconds(float(bound)) for bound in bounds.groups())
        return start, end
    if period := re.fullmatch(r"([1-9]\d{0,3})([dDM])", text):
        return now - int(period[1]) * _PERIOD_S[period[2]], now
    named: dict[str, Callable[[], float]] = {
        "ALL": lambda: 0,
        "YTD": lambda: now - datetime.fromtimestamp(now, timezone.utc).timetuple().tm_yday * _DAY_S,
        "LASTSESSION": lambda: history.market.bars(history.symbol, "1D", 1, now)[-1].time,
    }
    if text not in named:
        raise RefusedError
    return named[text](), now


def _seconds(moment: float) -> float:
    """Convert a moment to epoch seconds; some clients send milliseconds."""
    return moment if moment < _LARGEST_SECOND else moment / 1000
