"""Sealing: which bars of a live series are closed, each told once and in order.

A bar is closed when a newer one is there, or when the server's clock is past its close. Until then
it forms, and every word on it replaces the one before. What a bar becomes after it was told as
closed is a correction, which is counted and not told again.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from tvDatafeed.protocol.messages import Bar
from tvDatafeed.protocol.series import CLOSED_MARGIN_S

# Corrections concern the last bars; an older one that comes again is a repetition of the past.
KEPT_BARS = 10


@dataclass(frozen=True)
class LiveUpdate:
    """What has become of a live series.

    Parameters
    ----------
    closed
        The bars that are closed since the last time, ascending, each newer than all before.
    forming
        The bar that still forms; None when the last one is closed.
    corrections
        How many bars have other values than when they were told as closed.
    gaps
        From when to when bars are missing that cannot be told in order any more: the opens of the
        bars around them, epoch seconds UTC; both the same for a bar that came too late.
    lag_s
        How long after its close the last of `closed` was told, by the server's clock; None where
        that is not known.
    by_clock
        Whether the last bar is closed because of the time alone, with no newer one there.
    last
        The bar that was closed last, now or before, with the values that it has now.
    """

    closed: tuple[Bar, ...] = ()
    forming: Bar | None = None
    corrections: int = 0
    gaps: tuple[tuple[float, float], ...] = ()
    lag_s: float | None = None
    by_clock: bool = False
    last: Bar | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nobody has to be told."""
        return not (self.closed or self.forming or self.corrections or self.gaps)


class CloseTracker:
    """The newest bars of a live series.

    Parameters
    ----------
    after
        The bar that was told as closed last; None when there is none yet.
    length_s
        How long a bar is, in seconds: twice that after its open one is closed where the server
        does not say when.
    """

    def __init__(self, after: Bar | None, length_s: float) -> None:
        self._length_s = length_s
        self._closed: dict[float, Bar] = {} if after is None else {after.time: after}
        self._closed_s = -math.inf if after is None else after.time
        self._forming: dict[float, Bar] = {}
        self._newest_s = self._closed_s
        self._close_s = math.inf
        # What the server said of the bar before the last one, and of that.
        self._said_s: tuple[float | None, float | None] = (None, None)
        self._corrections = 0
        self._late: list[float] = []

    @property
    def closes_at_s(self) -> float:
        """When the clock closes the last bar, epoch seconds UTC; infinity when it is closed."""
        return self._close_s + CLOSED_MARGIN_S if self._forming else math.inf

    def take(self, bars: Iterable[Bar], close_time_s: float | None) -> None:
        """Take the bars of an update, in any order.

        Parameters
        ----------
        bars
            As the wire has them.
        close_time_s
            When the newest of them closes, epoch seconds UTC; None where the server does not say.
        """
        newest_s = -math.inf
        for bar in bars:
            newest_s = max(newest_s, bar.time)
            if bar.time > self._closed_s:
                self._forming[bar.time] = bar
            else:
                self._take_old(bar)
        if newest_s >= self._newest_s and newest_s > self._closed_s:
            before, last = self._said_s
            self._said_s = (last if newest_s > self._newest_s else before), close_time_s
            self._newest_s = newest_s
            self._close_s = close_time_s or newest_s + 2 * self._length_s

    def _take_old(self, bar: Bar) -> None:
        told = self._closed.get(bar.time)
        if told is not None:
            self._corrections += not _is_same(told, bar)
            self._closed[bar.time] = bar
        elif self._closed and bar.time > min(self._closed):
            # One between two that were told: it comes too late to be told in order.
            self._late.append(bar.time)
            self._closed[bar.time] = bar

    def collect_closed(self, market_time_s: float | None, *, by_clock: bool = True) -> LiveUpdate:
        """Say what has happened since the last time.

        Parameters
        ----------
        market_time_s
            The server's clock less the delay of the data, epoch seconds UTC; None when it is not
            known, and then only a newer bar closes one.
        by_clock
            Whether it may close the last bar; not while there may be more on its way.
        """
        times = sorted(self._forming)
        is_over = by_clock and market_time_s is not None and market_time_s > self.closes_at_s
        beyond = len(times) if is_over else len(times) - 1
        closed = tuple(self._forming.pop(time) for time in times[: max(beyond, 0)])
        for bar in closed:
            self._closed[bar.time] = bar
            self._closed_s = bar.time
        for time in sorted(self._closed)[:-KEPT_BARS]:
            del self._closed[time]
        close_s = self._said_s[is_over]
        lag_s = None
        if closed and close_s is not None and market_time_s is not None:
            lag_s = max(market_time_s - close_s, 0.0)
        corrections, self._corrections = self._corrections, 0
        late, self._late = self._late, []
        return LiveUpdate(
            closed=closed,
            forming=self._forming[times[-1]] if times and not is_over else None,
            corrections=corrections,
            gaps=tuple((time, time) for time in late),
            lag_s=lag_s,
            by_clock=bool(is_over and closed),
            last=self._closed.get(self._closed_s),
        )


def _is_same(one: Bar, other: Bar) -> bool:
    cells = (one.open, one.high, one.low, one.close, one.volume)
    others = (other.open, other.high, other.low, other.close, other.volume)
    # A number that is missing is NaN, which is not equal to itself.
    return all(a == b or (a != a and b != b) for a, b in zip(cells, others, strict=True))  # noqa: PLR0124
