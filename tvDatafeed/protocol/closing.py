"""Closing: which bars of a live series are closed, and when the clock may close one.

A bar is closed when a newer bar exists, or when the server's clock has passed its close time. Until
then it is forming, and each update replaces its values. A bar that changes after it was reported as
closed is a correction: it is counted and not reported again.

`CloseTracker` holds the newest bars of one series. `CloseSchedule` decides for all series of a
connection when the clock closes their last bars. Neither has I/O or a clock of its own.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from tvDatafeed.protocol.bars import Bar
from tvDatafeed.protocol.series import CLOSED_MARGIN_S

# Corrections concern the last bars; an older bar that arrives again repeats the past.
KEPT_BARS = 10
# If a message takes longer than this, its connection will be closed.
PONG_PATIENCE_S = 10.0
# The server's clock has milliseconds, and a bar is over only after its close time.
_CLOCK_STEP_S = 0.001


@dataclass(frozen=True)
class LiveUpdate:
    """The changes of a live series since the previous update.

    Parameters
    ----------
    closed
        The bars that have closed, ascending by time; each is newer than all bars before.
    forming
        The bar that is forming; None when the last bar is closed.
    corrections
        The number of bars whose values have changed since they were reported as closed.
    gaps
        Missing bars that can no longer be reported in order, as pairs of the open times of the bars
        around them, epoch seconds UTC; for a bar that arrived too late, twice its own open time.
    lag_s
        The time from the close of the last bar in `closed` to this update, by the server's clock,
        in seconds; None where it is not known.
    by_clock
        Whether the last bar was closed by the clock, without a newer bar.
    is_stale
        Whether a bar has closed with the values of an earlier message.
    last
        The newest closed bar, with its current values, whether it closed now or before.
    """

    closed: tuple[Bar, ...] = ()
    forming: Bar | None = None
    corrections: int = 0
    gaps: tuple[tuple[float, float], ...] = ()
    lag_s: float | None = None
    by_clock: bool = False
    is_stale: bool = False
    last: Bar | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing has changed."""
        return not (self.closed or self.forming or self.corrections or self.gaps)


class CloseTracker:
    """The newest bars of one live series, closed and forming.

    Parameters
    ----------
    after
        The bar that was reported as closed last; None when there is none yet.
    length_s
        The length of a bar in seconds. A bar without a close time from the server is closed twice
        this long after its open.
    """

    def __init__(self, after: Bar | None, length_s: float) -> None:
        self._length_s = length_s
        self._closed: dict[float, Bar] = {} if after is None else {after.time: after}
        self._closed_s = -math.inf if after is None else after.time
        self._forming: dict[float, Bar] = {}
        # The bars that have come since the last call of `collect_closed`.
        self._fresh: set[float] = set()
        self._newest_s = self._closed_s
        self._close_s = math.inf
        # The server's close times of the second newest and the newest bar.
        self._server_close_s: tuple[float | None, float | None] = (None, None)
        self._corrections = 0
        self._late: list[float] = []

    @property
    def closes_at_s(self) -> float:
        """When the clock closes the last bar, epoch seconds UTC; infinity when it is closed."""
        return self._close_s + CLOSED_MARGIN_S if self._forming else math.inf

    def add(self, bars: Iterable[Bar], close_time_s: float | None) -> None:
        """Add the bars of an update, in any order.

        Parameters
        ----------
        bars
            The bars as they are on the wire.
        close_time_s
            The close time of the newest bar, epoch seconds UTC; None if the server sent none.
        """
        newest_s = -math.inf
        for bar in bars:
            newest_s = max(newest_s, bar.time)
            if bar.time > self._closed_s:
                self._forming[bar.time] = bar
                self._fresh.add(bar.time)
            else:
                self._add_old(bar)
        if newest_s >= self._newest_s and newest_s > self._closed_s:
            before, last = self._server_close_s
            if newest_s == self._newest_s and close_time_s is None:
                # The earlier close time of this bar is still valid.
                close_time_s = last
            self._server_close_s = (last if newest_s > self._newest_s else before), close_time_s
            self._newest_s = newest_s
            self._close_s = close_time_s or newest_s + 2 * self._length_s

    def _add_old(self, bar: Bar) -> None:
        known = self._closed.get(bar.time)
        if known is not None:
            self._corrections += not has_same_values(known, bar)
            self._closed[bar.time] = bar
        elif self._closed and bar.time > min(self._closed):
            # It lies between two reported bars, so it can no longer be reported in order.
            self._late.append(bar.time)
            self._closed[bar.time] = bar

    def collect_closed(self, market_time_s: float | None, *, by_clock: bool = True) -> LiveUpdate:
        """Return the changes since the previous call.

        Parameters
        ----------
        market_time_s
            The server's clock minus the delay of the data, epoch seconds UTC. None if it is
            unknown: then only a newer bar closes a bar.
        by_clock
            Whether the clock may close the last bar; False while updates of it may still arrive.
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
        close_s = self._server_close_s[is_over]
        lag_s = None
        if closed and close_s is not None and market_time_s is not None:
            lag_s = max(market_time_s - close_s, 0.0)
        corrections, self._corrections = self._corrections, 0
        late, self._late = self._late, []
        fresh, self._fresh = self._fresh, set()
        return LiveUpdate(
            closed=closed,
            forming=self._forming[times[-1]] if times and not is_over else None,
            corrections=corrections,
            gaps=tuple((time, time) for time in late),
            lag_s=lag_s,
            by_clock=bool(is_over and closed),
            is_stale=any(bar.time not in fresh for bar in closed),
            last=self._closed.get(self._closed_s),
        )


def has_same_values(one: Bar, other: Bar) -> bool:
    """Return whether two bars have the same prices and volume; two missing numbers are equal."""
    cells = (one.open, one.high, one.low, one.close, one.volume)
    others = (other.open, other.high, other.low, other.close, other.volume)
    # A missing number is NaN, which is not equal to itself.
    return all(a == b or (a != a and b != b) for a, b in zip(cells, others, strict=True))  # noqa: PLR0124


class CloseSchedule:
    """When the server's clock closes the last bars of the live series of one connection.

    An update that the server sent before a bar's close may arrive after it. So a bar whose close
    time has passed becomes *due*, and a ping is sent; the pong of that ping, or of a later one,
    proves that all earlier updates have arrived. An update that arrives first makes the series wait
    again, with a new ping.

    Call `plan` after each update of a series and `mark_due` when `next_due_at` has come.
    `confirmed` and `overdue` return the series whose last bars may be closed; call `plan` again for
    each of them.

    The cost of a message does not depend on the number of series: all series are checked only when
    a bar's close time has passed.
    """

    def __init__(self) -> None:
        # How far the server's clock is ahead of the driver's; None until the server has sent it.
        self._lead_s: float | None = None
        # A series is in one of these dicts. Waiting: when its last bar closes, by the server's
        # clock.
        self._waiting: dict[str, float] = {}
        # Due: since when, by the driver's clock; the first has been due for the longest time.
        self._due: dict[str, float] = {}
        # All bars of waiting series close at this moment or later.
        self._next_close_s = math.inf

    def set_server_time(self, server_time_s: float, now: float) -> None:
        """Record the server's clock, epoch seconds UTC, at a moment of the driver's clock."""
        self._lead_s = server_time_s - now

    def server_time_s(self, now: float) -> float | None:
        """Return the server's clock, epoch seconds UTC, carried forward; None if not known."""
        return None if self._lead_s is None else now + self._lead_s

    def plan(self, session: str, closes_at_s: float) -> None:
        """Set when the last bar of a series closes.

        Parameters
        ----------
        session
            The session of the series.
        closes_at_s
            A moment of the server's clock, epoch seconds UTC; infinity when no bar is forming.
        """
        if self._due:
            self._due.pop(session, None)
        self._waiting[session] = closes_at_s
        self._next_close_s = min(self._next_close_s, closes_at_s)

    def remove(self, session: str) -> None:
        """Remove a series, if it is here."""
        self._waiting.pop(session, None)
        self._due.pop(session, None)

    @property
    def next_due_at(self) -> float:
        """When `mark_due` must be called, on the driver's clock; infinity: no bar is forming."""
        if self._lead_s is None:
            return math.inf
        return self._next_close_s - self._lead_s + _CLOCK_STEP_S

    def mark_due(self, now: float) -> bool:
        """Mark series due whose last bar's close time has passed; return whether to send a ping."""
        lead_s = self._lead_s
        if lead_s is None or now < self.next_due_at:
            return False
        # The same sum as in `next_due_at`, so that rounding cannot make the two disagree.
        over = [s for s, c in self._waiting.items() if now >= c - lead_s + _CLOCK_STEP_S]
        for session in over:
            del self._waiting[session]
            self._due[session] = now
        self._next_close_s = min(self._waiting.values(), default=math.inf)
        return bool(over)

    def confirmed(self, pinged_at: float) -> list[str]:
        """Return the series that were due when an answered ping was sent, on the driver's clock."""
        return self._take_due(pinged_at)

    def overdue(self, now: float) -> list[str]:
        """Return the series due for `PONG_PATIENCE_S`, in case the server does not send pongs.

        Call this after a message, which shows that the server is alive.
        """
        return self._take_due(now - PONG_PATIENCE_S) if self._due else []

    def _take_due(self, until: float) -> list[str]:
        taken = []
        for session, due_at in self._due.items():
            if due_at > until:
                break
            taken.append(session)
        for session in taken:
            del self._due[session]
        return taken
