"""The interface of the two ways in which bars come: `streaming` and `polling`."""

from typing import Protocol

from tvDatafeed.live.stream import LiveSeries
from tvDatafeed.protocol.events import StreamStarted

# The longest pause between two looks at a series that has no news.
LONGEST_PAUSE_S = 300.0


class BarSource(Protocol):
    """How the bars of an open series come, and when it is opened again.

    Called in the thread of the supervisor.
    """

    @property
    def keeps_session(self) -> bool:
        """Whether a session stays open, or ends with its answer."""

    def opened(self, series: LiveSeries, started: StreamStarted) -> None:
        """Plan what comes after a series was opened."""

    def check_silence(self, series: LiveSeries) -> None:
        """Plan a look at a series whose last bar was closed by the clock."""
