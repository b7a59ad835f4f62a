"""Live mode "stream": sessions stay open, and the server sends each update.

If a series stays silent after the end of its last bar, it is opened again after a while, since the
series may have stalled. The pause doubles each time no update came.
"""

from collections.abc import Callable

from tvDatafeed.common.backoff import doubled_s
from tvDatafeed.live.modes import LONGEST_PAUSE_S
from tvDatafeed.live.stream import LiveSeries
from tvDatafeed.live.timers import TimerQueue
from tvDatafeed.protocol.events import StreamStarted

# How long a series may be silent after its last bar was closed.
SILENCE_S = 10.0


class Streaming:
    """Watches open series for silence.

    Parameters
    ----------
    timers
        The timers of the supervisor, one for each series.
    reopen
        Ends a series' session and opens it again.
    """

    keeps_session = True

    def __init__(
        self, timers: TimerQueue[LiveSeries], reopen: Callable[[LiveSeries], object]
    ) -> None:
        self._timers = timers
        self._reopen = reopen

    def opened(self, series: LiveSeries, started: StreamStarted) -> None:
        """Watch a series that has no forming bar."""
        if started.update.forming is None:
            self.check_silence(series)

    def check_silence(self, series: LiveSeries) -> None:
        """Check a series after a pause, and open it again if no update came since."""
        updates, session = series.updates, series.session
        if session is None:
            return  # lost or released meanwhile
        if updates != series.updates_at_check:
            series.silent_reopens = 0

        def check(series: LiveSeries) -> None:
            if series.session != session:
                return
            if series.updates == updates:
                self._reopen(series)
            elif not series.is_forming:
                # The last update had only closed bars, such as a correction.
                self.check_silence(series)

        pause_s = doubled_s(series.silent_reopens, SILENCE_S, LONGEST_PAUSE_S)
        self._timers.schedule(series, pause_s, check)
