"""An outage: from the loss of the first series until the last lost one is back."""

import time
from collections.abc import Callable

from tvDatafeed.live.stream import LiveSeries


class Outage:
    """The outage of a feed, if there is one.

    Used only by the supervisor's thread.

    Parameters
    ----------
    on_reconnect
        Called with the start and end of the outage, epoch seconds UTC, when every lost series is
        back or no longer wanted, and at least one is back.
    """

    def __init__(self, on_reconnect: Callable[[float, float], object]) -> None:
        self._on_reconnect = on_reconnect
        self._since_s = 0.0
        self._lost: set[LiveSeries] = set()
        self._is_any_back = False

    def add(self, series: LiveSeries, since_s: float) -> None:
        """Record that a series was lost; the outage begins with the first one."""
        if not self._lost:
            self._since_s, self._is_any_back = since_s, False
        self._lost.add(series)

    def remove(self, series: LiveSeries, back_s: float | None = None) -> None:
        """Record that a series is back, or that its end is no longer waited for.

        Parameters
        ----------
        series
            The series.
        back_s
            When it came back, epoch seconds UTC; None when it did not.
        """
        if series not in self._lost:
            return
        self._lost.discard(series)
        self._is_any_back = self._is_any_back or back_s is not None
        if not self._lost and self._is_any_back:
            end_s = time.time() if back_s is None else back_s
            self._on_reconnect(self._since_s, max(end_s, self._since_s))
