"""The interface of the two ways in which bars come: `streaming` and `polling`."""

from typing import Protocol

from tvDatafeed.live.stream import LiveSeries
from tvDatafeed.protocol.events import StreamStarted

# The longest pause between two checks of a series without updates.
LONGEST_PAUSE_S = 300.0


class BarSource(Protocol):
    """Decides how the bars of an open series arrive, and when it is opened again.

    Called in the thread of the supervisor.
    """

    @property
    def keeps_session(self) -> bool:
        """Whether a session stays open, or ends with its answer."""

    def opened(self, series: LiveSeries, started: StreamStarted) -> None:
        """Plan the next step after a series was opened."""

    def check_silence(self, series: LiveSeries) -> None:
        """Plan a check of a series whose last bar was closed by the clock."""
