"""Which bars a create_series asks for: a number, up to a moment, or a range of time."""

import re
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any, NamedTuple

from tvDatafeed.testing.backend import Backend
from tvDatafeed.testing.commands import RefusedError

# Epoch seconds reach this in the year 5138, so a larger number is milliseconds.
_LARGEST_SECOND = 1e11
_DAY_S = 86400
_UNIT_S = {"": 60, "S": 1, "H": 3600, "D": _DAY_S, "W": 7 * _DAY_S, "M": 28 * _DAY_S}
_INTERVAL = re.compile(r"(\d*)([SHDWM]?)")


class Window(NamedTuple):
    """The bars that a series is to have.

    Attributes
    ----------
    size
        How many.
    until_s
        The moment of the last one, epoch seconds; None for a live series.
    timeframe
        The indexes of the first and the last bar of the range asked for; None without a range.
    """

    size: int
    until_s: float | None
    timeframe: tuple[int, int] | None


def window(backend: Backend, symbol: str, interval: str, count: Any, wanted_range: str) -> Window:
    """Return which bars are asked for, raising `RefusedError` when that cannot be read.

    Parameters
    ----------
    backend
        Where the bars and the time come from.
    symbol, interval
        ``"EXCHANGE:NAME"`` and TradingView's interval string.
    count
        The fifth parameter of create_series: a number, or a range of one of three kinds.
    wanted_range
        Its sixth, such as ``"12M"`` or ``"r,1735689600:1738368000"``; empty for none.
    """
    until_s: float | None = None
    match count:
        case int() if not isinstance(count, bool) and count > 0:
            wanted = count
        case ["bar_count", int() | float() as moment, int() as size] if size > 0:
            wanted, until_s = size, moment
        case ["bar_count", int() | float() as moment, int() as size] if size < 0:
            times = _times_since(backend, symbol, interval, moment)[:-size]
            wanted, until_s = len(times), times[-1] if times else moment
        case ["from_to", int() | float() as start, *_]:
            wanted = len(_times_since(backend, symbol, interval, start))
        case str() if count.startswith("r,"):
            wanted, wanted_range = 1, count
        case _:
            raise RefusedError
    if not wanted_range:
        return Window(max(1, wanted), until_s, None)
    start, end = _bounds(backend, symbol, wanted_range)
    times = _times_since(backend, symbol, interval, start)
    wanted = max(wanted, len(times))
    before = wanted - len(times)
    last = before + sum(time <= end for time in times) - 1
    return Window(wanted, until_s, (before, last))


def seconds_of(interval: str) -> int:
    """Return the length of a bar, for months the shortest."""
    match = _INTERVAL.fullmatch(interval)
    return int(match[1] or 1) * _UNIT_S[match[2]] if match else _DAY_S


def _bounds(backend: Backend, symbol: str, text: str) -> tuple[float, float]:
    now = backend.now(symbol)
    if bounds := re.fullmatch(r"r,(\d+(?:\.\d+)?):(\d+(?:\.\d+)?)", text):
        start, end = (float(bound) for bound in bounds.groups())
        return (start, end) if end < _LARGEST_SECOND else (start / 1000, end / 1000)
    if period := re.fullmatch(r"([1-9]\d{0,3})([dDM])", text):
        return now - int(period[1]) * _UNIT_S[period[2].upper()], now
    named: dict[str, Callable[[], float]] = {
        "ALL": lambda: 0,
        "YTD": lambda: now - datetime.fromtimestamp(now, timezone.utc).timetuple().tm_yday * _DAY_S,
        "LASTSESSION": lambda: backend.market.bars(symbol, "1D", 1, now)[-1].time,
    }
    if text not in named:
        raise RefusedError
    return named[text](), now


def _times_since(backend: Backend, symbol: str, interval: str, start: float) -> list[int]:
    now = backend.now(symbol)
    possible = max(0, int((now - start) / seconds_of(interval))) + 2
    size = min(possible, backend.max_bars_per_reply)
    bars = backend.market.bars(symbol, interval, size, now)
    return [bar.time for bar in bars if bar.time >= start]
