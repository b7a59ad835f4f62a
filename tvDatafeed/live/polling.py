"""Live mode "poll": the bars of each series are requested again when the next one is due."""

from collections.abc import Callable

from tvDatafeed.common.backoff import doubled_s
from tvDatafeed.config import ThreadingConfig
from tvDatafeed.live.modes import LONGEST_PAUSE_S
from tvDatafeed.live.stream import LiveSeries
from tvDatafeed.live.timers import TimerQueue
from tvDatafeed.protocol.events import StreamStarted


class Polling:
    """Opens series again when their next bar is due.

    Parameters
    ----------
    timers
        The timers of the supervisor, one for each series.
    reopen
        Opens a series again.
    threads
        Settings: the pause between two tries without a new bar, and after how many tries it grows.
    """

    keeps_session = False

    def __init__(
        self,
        timers: TimerQueue[LiveSeries],
        reopen: Callable[[LiveSeries], object],
        threads: ThreadingConfig,
    ) -> None:
        self._timers = timers
        self._reopen = reopen
        self._threads = threads

    def opened(self, series: LiveSeries, started: StreamStarted) -> None:
        """Open the series again when its next bar closes, or after a pause if that is past."""
        pause_s = self._threads.retry_sleep
        if started.update.forming is not None and started.market_time_s is not None:
            pause_s = max(started.closes_at_s - started.market_time_s, pause_s)
        else:
            without_news = max(series.silent_reopens - self._threads.retry_limit, 0)
            pause_s = doubled_s(without_news, pause_s, LONGEST_PAUSE_S)
        self._timers.schedule(series, pause_s, self._reopen)

    def check_silence(self, series: LiveSeries) -> None:
        """Do nothing: the next try is planned already."""
