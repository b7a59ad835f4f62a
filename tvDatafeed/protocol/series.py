"""A series: the bars of one symbol and interval, merged from updates in any order."""

import math
import operator
import re
from bisect import bisect_right
from collections.abc import Sequence

from tvDatafeed.protocol.bars import Bar, Bars
from tvDatafeed.protocol.messages import SeriesUpdate

# A nanosecond index covers 1677-09-21 to 2262-04-11; these are the whole years inside it.
EARLIEST_BAR_S = -9_214_560_000  # 1678-01-01T00:00:00Z
LATEST_BAR_S = 9_214_646_400  # 2262-01-01T00:00:00Z

# The server's clock and its close times are whole seconds, and trades are reported late.
CLOSED_MARGIN_S = 2.0

# 25 times the history of the largest plan; a longer answer is invalid.
MAX_BARS = 1_000_000

_DELAYED = re.compile("delayed_streaming_([0-9]{1,6})")


class BadUpdateError(ValueError):
    """Bars that are impossible in a market; their whole update was ignored."""


class Series:
    """Bars keyed by time: ascending and unique; the newest values of each bar are kept.

    The index ``i`` of the wire shifts when older pages arrive, so time is the only key. Merging the
    same update twice, or updates in another order, results in the same times.

    A page before or after all earlier bars is kept as it is. Overlapping updates are kept
    separately, and merged when the bars are read.
    """

    def __init__(self) -> None:
        # Bars that came together, ascending by time; other stretches have no bars between them.
        self._stretches: list[Bars] = []
        self._over: dict[float, Bar] = {}
        self._count = 0  # includes updates until they are merged
        self._newest_s = -math.inf
        self._close_time_s: float | None = None

    def __len__(self) -> int:
        self._flatten()
        return self._count

    @property
    def bars(self) -> Bars:
        """The bars so far, ascending by time."""
        self._flatten()
        if len(self._stretches) == 1:
            return self._stretches[0]
        return Bars(b"".join(stretch.packed for stretch in self._stretches))

    @property
    def oldest_s(self) -> float | None:
        """When the first bar opens, epoch seconds UTC; None without bars."""
        self._flatten()
        return self._oldest_s() if self._stretches else None

    @property
    def close_time_s(self) -> float | None:
        """When the last bar closes, epoch seconds UTC; None if the server did not send it."""
        return self._close_time_s

    def count(self, until_s: float) -> int:
        """Return how many bars open at or before a moment, epoch seconds UTC."""
        self._flatten()
        return sum(bisect_right(stretch.times, until_s) for stretch in self._stretches)

    def overlaps_from_below(self, update: SeriesUpdate) -> bool:
        """Return whether an update begins before all known bars, and overlaps them."""
        oldest_s = self.oldest_s
        if oldest_s is None or not update.s:
            return False
        times = [item.v.time for item in update.s]
        return min(times) < oldest_s <= max(times)

    def add(self, update: SeriesUpdate) -> None:
        """Add those bars of an update that are new.

        Raises
        ------
        BadUpdateError
            As from `merge`.
        """
        self._flatten()
        known = {time for stretch in self._stretches for time in stretch.times}
        items = [item for item in update.s if item.v.time not in known]
        self.merge(SeriesUpdate(s=items, t=update.t, lbs=update.lbs))

    def merge(self, update: SeriesUpdate) -> bool:
        """Add the bars of one update; they replace known bars.

        Returns
        -------
        bool
            Whether the update has the newest bar.

        Raises
        ------
        BadUpdateError
            If a bar is before 1678 or after 2261, as times in milliseconds are, or if the series
            becomes too long.
        """
        if not update.s:
            return False
        bars = Bars.of([item.v for item in update.s])
        times = bars.times
        is_ascending = _is_ascending(times.tolist())
        first, last = (times[0], times[-1]) if is_ascending else (min(times), max(times))
        check_time(first)
        check_time(last)
        if self._count + len(bars) > MAX_BARS:
            self._flatten()
        if self._count + len(bars) > MAX_BARS:
            raise BadUpdateError(f"more than {MAX_BARS} bars")
        self._count += len(bars)
        is_older, is_newer = last < self._oldest_s(), first > self._newest_s
        if (is_older or is_newer) and not self._over and is_ascending:
            self._stretches.insert(len(self._stretches) if is_newer else 0, bars)
        else:
            self._over.update(zip(times, bars, strict=True))
        if last > self._newest_s:
            self._newest_s = last
            # The close time of the previous bar does not apply to this one.
            self._close_time_s = None
        if last == self._newest_s and update.lbs is not None:
            self._close_time_s = update.lbs.bar_close_time
        return last == self._newest_s

    def _oldest_s(self) -> float:
        return self._stretches[0].times[0] if self._stretches else math.inf

    def _flatten(self) -> None:
        if not self._over:
            return
        by_time = {bar.time: bar for stretch in self._stretches for bar in stretch}
        by_time.update(self._over)
        ascending = dict(sorted(by_time.items()))
        self._stretches = [Bars.of(ascending.values())]
        self._over = {}
        self._count = len(ascending)


def last_bar_is_closed(
    close_time_s: float | None, server_time_s: float | None, *, delay_s: float
) -> bool:
    """Return whether the last bar can no longer change, by the server's own clock.

    Parameters
    ----------
    close_time_s
        The server's close time of the bar, epoch seconds UTC.
    server_time_s
        The server's clock when it sent the bars, epoch seconds UTC.
    delay_s
        How far the data lag behind the market, seconds.

    Returns
    -------
    bool
        False also without a close time, and until `CLOSED_MARGIN_S` after the close.
    """
    if close_time_s is None or server_time_s is None:
        return False
    return server_time_s - delay_s > close_time_s + CLOSED_MARGIN_S


def delay_seconds(update_mode: str) -> int:
    """Return how far data lag behind the market: 900 for "delayed_streaming_900"."""
    delayed = _DELAYED.fullmatch(update_mode)
    return int(delayed[1]) if delayed else 0


def _is_ascending(times: Sequence[float]) -> bool:
    return all(map(operator.lt, times, times[1:]))


def check_time(time_s: float) -> None:
    """Raise if the time of a bar does not fit into an index.

    Raises
    ------
    BadUpdateError
        If it is before 1678 or after 2261, as times in milliseconds are.
    """
    if not EARLIEST_BAR_S <= time_s <= LATEST_BAR_S:
        raise BadUpdateError(f"a bar at {time_s:.15g} s, outside the years 1678 to 2261")
