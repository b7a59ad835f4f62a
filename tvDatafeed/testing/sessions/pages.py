"""Format bars as the text of a timescale_update: the rows, and the marks of the time axis.

A finished bar changes only by a correction or a restatement, so its text is cached.
"""

import threading
import zoneinfo
from collections import OrderedDict
from datetime import datetime, timezone
from typing import Any, NamedTuple

from tvDatafeed.testing.market.corrections import BarCorrections
from tvDatafeed.testing.market.history import BarHistory
from tvDatafeed.testing.market.market import MarketBar
from tvDatafeed.testing.market.restatements import Restatement
from tvDatafeed.testing.wire.payloads import to_json

# The size of the cache of finished bars: about forty replies of 5000 bars.
_MAX_CACHED_CHARACTERS = 32 * 1024 * 1024
_DAY_S = 86400
_EVENING_S = 17 * 3600
# Points of studies that lie before the first bar have the indexes -1000001, -1000002 and so on. The
# recorded `index_diff` of an older page has five of them more than the page has bars.
_BEFORE_FIRST, _POINTS_BEYOND = -1_000_000, 5
_WEIGHTS = ((43200, 33), (21600, 32), (10800, 31), (3600, 30), (1800, 22), (300, 21))


class Page(NamedTuple):
    """Some bars as the text of a timescale_update."""

    size: int
    oldest_time: int | None
    newest: MarketBar | None
    bars: str
    changes: str
    marks: str


NO_BARS = Page(0, None, None, "", "", "")


class _Finished(NamedTuple):
    """The bars before a time, with the changes that were applied to them."""

    before: int
    corrections: BarCorrections | None
    restatements: tuple[Restatement, ...]
    page: Page


class BarTexts:
    """A cache of bars as text; corrections and restatements invalidate them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pages: OrderedDict[tuple[Any, ...], _Finished] = OrderedDict()
        self._characters = 0

    def page(self, history: BarHistory, size: int, until: float | None, time_zone: str) -> Page:
        """Return the last bars up to a moment as text; see `BarHistory.bars`."""
        newest = history.bars(1, until)
        if not newest:
            return NO_BARS
        key = (history.symbol, history.interval, history.options, size, history.limit, time_zone)
        with self._lock:
            kept = self._pages.get(key)
        if (
            kept
            and kept.before == newest[0].time
            and kept.corrections is history.corrections
            and kept.restatements == history.restatements
        ):
            done = kept.page
        else:
            # One bar more than is sent: the weight of the first mark depends on the bar before it.
            done = self.finished(history, history.bars(size + 1, until)[:-1], time_zone, size - 1)
            changes = history.corrections, history.restatements
            self._keep(key, _Finished(newest[0].time, *changes, done))
        last = self._texts(history, newest, done.size, done.newest, time_zone)
        if not done.size:
            return last
        joined = (f"{a},{b}" for a, b in zip(done[3:], last[3:], strict=True))
        return Page(done.size + 1, done.oldest_time, newest[0], *joined)

    def finished(
        self,
        history: BarHistory,
        bars: list[MarketBar],
        time_zone: str,
        size: int,
        *,
        first_index: int = 0,
    ) -> Page:
        """Return the text of the last `size` finished bars; a bar before them is not part of it."""
        first = max(0, len(bars) - size)
        if not bars[first:]:
            return NO_BARS
        previous = bars[first - 1] if first else None
        return self._texts(history, bars[first:], first_index, previous, time_zone)

    def _keep(self, key: tuple[Any, ...], new: _Finished) -> None:
        with self._lock:
            old = self._pages.pop(key, None)
            self._characters += _characters(new.page) - (_characters(old.page) if old else 0)
            self._pages[key] = new
            while self._characters > _MAX_CACHED_CHARACTERS and len(self._pages) > 1:
                _key, dropped = self._pages.popitem(last=False)
                self._characters -= _characters(dropped.page)

    def _texts(
        self,
        history: BarHistory,
        bars: list[MarketBar],
        first: int,
        previous: MarketBar | None,
        time_zone: str,
    ) -> Page:
        listing = history.market.find(history.symbol)
        exchange = listing.timezone if listing else "Etc/UTC"
        is_daily = history.interval[-1] in "DWM"
        zone = zoneinfo.ZoneInfo(exchange if is_daily or time_zone == "exchange" else time_zone)
        times = ([previous.time] if previous else []) + [bar.time for bar in bars]
        local = [time + _offset_s(zone, time) for time in times]
        if is_daily:
            # A day's mark is midnight of its trade date, which can begin on the evening before.
            to_midnight_s = _DAY_S - _EVENING_S
            local = [(time + to_midnight_s) // _DAY_S * _DAY_S for time in local]
        pairs = zip([None, *local[:-1]], local, strict=True)
        weights = [_weight(before, after, is_daily=is_daily) for before, after in pairs]
        if previous:
            del local[0], weights[0]
        marks = zip(weights, local, range(first, first + len(bars)), strict=True)
        return Page(
            len(bars),
            bars[0].time,
            bars[-1],
            ",".join(bar_text(first + i, bar) for i, bar in enumerate(bars)),
            ",".join(f"{bar.time}.0" for bar in bars),
            ",".join(f"[{weight},{time},{i}]" for weight, time, i in marks),
        )


def bar_text(index: int, bar: MarketBar) -> str:
    """Return the text of one bar; without volume, the value is omitted."""
    volume = "" if bar.volume is None else f",{float(bar.volume)!r}"
    prices = f"{bar.open!r},{bar.high!r},{bar.low!r},{bar.close!r}"
    return f'{{"i":{index},"v":[{float(bar.time)!r},{prices}{volume}]}}'


def series_text(
    name: str,
    turnaround: str,
    bars: str,
    close_time: int | None,
    *,
    indexes: str = "[]",
    with_node: bool = False,
) -> str:
    """Return the text of a series in timescale_update and du."""
    node = '"node":"lo1-charts-free-1-series-loopb-1",' if with_node else ""
    last = "" if close_time is None else f',"lbs":{{"bar_close_time":{close_time}}}'
    return (
        f'{to_json(name)}:{{{node}"s":[{bars}],"ns":{{"d":"","indexes":{indexes}}},'
        f'"t":{to_json(turnaround)}{last}}}'
    )


def index_diff(first_index: int, size: int) -> str:
    """Return the new indexes of points before the first bar, after `size` older bars: [old, new].

    Points at the places of the new bars get the indexes of these, the others those of points before
    the new first bar.
    """
    points = range(1, size + 1)
    moved = range(1, _POINTS_BEYOND + 1)
    pairs = [(_BEFORE_FIRST - point, first_index - point) for point in points]
    pairs += [(_BEFORE_FIRST - size - point, _BEFORE_FIRST - point) for point in moved]
    return ",".join(f"[{old},{new}]" for old, new in pairs)


def _characters(page: Page) -> int:
    return len(page.bars) + len(page.changes) + len(page.marks)


def _weight(previous: int | None, local: int, *, is_daily: bool) -> int:
    """Return the weight of a time on the axis, with the values of the recordings."""
    if previous is None:
        return 40 if is_daily else 10
    if previous // _DAY_S == local // _DAY_S:
        return next((weight for step, weight in _WEIGHTS if local % step == 0), 20)
    before, after = (datetime.fromtimestamp(t, timezone.utc) for t in (previous, local))
    if before.year != after.year:
        return 70
    if before.month != after.month:
        return 60
    return 40 if before.isocalendar()[1] == after.isocalendar()[1] else 50


def _offset_s(zone: zoneinfo.ZoneInfo, moment: int) -> int:
    offset = datetime.fromtimestamp(moment, zone).utcoffset()
    return int(offset.total_seconds()) if offset else 0
