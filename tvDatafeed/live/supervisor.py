"""The supervisor: keeps the series of a live feed open through outages.

Its thread opens series, a few at a time, and opens lost series again. Updates do not pass through
it: the thread that delivers a connection's events calls the series directly.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence

from tvDatafeed.common.backoff import backoff_s
from tvDatafeed.common.deadline import Deadline
from tvDatafeed.config import NetworkConfig, ThreadingConfig
from tvDatafeed.exceptions import (
    AuthenticationError,
    NetworkError,
    ProtocolError,
    RateLimitError,
    ThreadingError,
    TvDatafeedError,
)
from tvDatafeed.live.callbacks import CallbackThread
from tvDatafeed.live.feedlock import FeedLock, FeedThread
from tvDatafeed.live.gathering import Gathering
from tvDatafeed.live.modes import BarSource
from tvDatafeed.live.outage import Outage
from tvDatafeed.live.polling import Polling
from tvDatafeed.live.renewal import FeedTokens, RenewableTokens, TokenRenewal
from tvDatafeed.live.seis import State
from tvDatafeed.live.states import NEXT_STATE, SeriesEvent
from tvDatafeed.live.stream import LiveSeries
from tvDatafeed.live.streaming import Streaming
from tvDatafeed.live.timers import TimerQueue
from tvDatafeed.network.connection import Connection
from tvDatafeed.network.dispatcher import Dispatcher, OpenStream, Refused
from tvDatafeed.network.outcomes import Limits
from tvDatafeed.network.pool import WebSocketManager
from tvDatafeed.protocol.events import RequestFailed, StreamRequest
from tvDatafeed.protocol.refusals import is_connections_limit

logger: logging.Logger = logging.getLogger(__name__)

# How many series are opened at the same time: the next one starts when an answer arrives.
WINDOW = 20
_PAUSE_AFTER_BUG_S = 1.0
# After this many pauses without a valid answer, a series that had bars may start without bars: the
# server may have lost them.
_PAUSES_FOR_BARS = 2


class StreamSupervisor:
    """Keeps the series of one feed open.

    Parameters
    ----------
    connections
        Returns the connections.
    tokens
        Where data tokens come from.
    limits
        Returns the limits on the time of one opening.
    network, threads
        Settings: the pauses between tries; whether to stream or to poll, and how.
    max_bars
        How many bars are requested at most to fill a gap.
    callbacks
        Runs while any series is followed.
    on_reconnect
        Called after an outage; see `Outage`.
    feed
        Guards which series are followed, and the thread.
    """

    def __init__(
        self,
        connections: Callable[[], WebSocketManager],
        tokens: RenewableTokens,
        limits: Callable[[], Limits],
        *,
        network: NetworkConfig,
        threads: ThreadingConfig,
        max_bars: int,
        callbacks: Sequence[CallbackThread],
        on_reconnect: Callable[[float, float], object],
        feed: FeedLock,
    ) -> None:
        self._connections = connections
        self._tokens = tokens
        self._feed_tokens = FeedTokens(tokens, self._wake)
        self._limits = limits
        self._network = network
        self._threads = threads
        self._max_bars = max_bars
        self._callbacks = callbacks
        self._on_reconnect = on_reconnect

        # Written under the lock of the feed.
        self._feed = feed
        self._followed: set[LiveSeries] = set()
        self._thread = FeedThread(feed, "tvDatafeed-live")
        self._dispatcher: Dispatcher | None = None

        # Written by any thread; to append and to pop are atomic.
        self._commands: deque[tuple[Callable[[LiveSeries], None], LiveSeries]] = deque()

        # Written by the thread of the supervisor.
        self._reset()

    def _reset(self) -> None:
        self._opening: set[LiveSeries] = set()
        self._sessions: dict[str, LiveSeries] = {}
        self._timers: TimerQueue[LiveSeries] = TimerQueue()
        # Ended connections whose failure was counted.
        self._counted: set[Connection] = set()
        # The connection of the series that was opened last.
        self._url: str | None = None
        self._outage = Outage(self._on_reconnect)
        self._renewal = TokenRenewal(
            self._tokens, self._feed_tokens, self._connections, self._move_all
        )
        self._gathering = Gathering(self._connections, self._tokens, self._reopen, self._network)
        self._source = self._new_source()

    def _new_source(self) -> BarSource:
        if self._threads.live_mode == "poll":
            return Polling(self._timers, self._reopen, self._threads)
        return Streaming(self._timers, self._reopen)

    def follow(self, series: LiveSeries) -> None:
        """Keep a series open from now on; the feed's lock is held, and `start` follows."""
        series.on_silence = self._notice_silence
        series.on_doubt = self._notice_doubt
        self._followed.add(series)
        self.command(self._begin, series)

    def release(self, series: LiveSeries) -> None:
        """Close a series; the feed's lock is held. Its state becomes STOPPED."""
        series.is_wanted = False
        self._followed.discard(series)
        if self._thread.thread is None:
            series.settled.set()
        else:
            self.command(self._stop_following, series)

    def try_again(self, series: LiveSeries) -> None:
        """Open a series again that has failed, or whose host differs from the token's.

        The feed's lock is held.
        """
        if series in self._followed and self._thread.thread is not None:
            self.command(self._restart, series)

    def command(self, call: Callable[[LiveSeries], None], series: LiveSeries) -> None:
        """Call a function in the supervisor's thread; may be called in any thread."""
        self._commands.append((call, series))
        self._wake()

    def _wake(self) -> None:
        dispatcher = self._dispatcher
        if dispatcher is not None:
            dispatcher.wake()

    def start(self) -> None:
        """Start the thread, unless it runs or no series is followed; called without locks.

        Raises
        ------
        ThreadingError
            The system cannot start a thread; no series is followed then.
        """
        manager, limits = self._connections(), self._limits()

        def prepare() -> bool:
            """Return whether a thread is needed; if so, create what it needs."""
            if self._followed:
                self._dispatcher = self._new_dispatcher(manager, limits)
                for callbacks in self._callbacks:
                    callbacks.open()
            return bool(self._followed)

        try:
            self._thread.start(self._run, is_needed=prepare)
            for callbacks in self._callbacks:
                callbacks.start()
        except BaseException as error:
            # The thread did not start, or Ctrl-C came.
            self._give_up(error)
            if isinstance(error, RuntimeError):
                raise ThreadingError(f"no thread for the live feed: {error}") from error
            raise

    def _give_up(self, error: BaseException) -> None:
        """Fail all series that wait for a thread which was not started."""
        with self._feed.lock:
            if self._thread.thread is not None:
                return  # the thread of another call, or one that runs
            self._dispatcher = None
            failed, self._followed = self._followed, set()
            self._commands.clear()
            for callbacks in self._callbacks:
                callbacks.close()
        for series in failed:
            series.error = ThreadingError(f"no thread for the live feed: {error!r}")
            series.settled.set()

    def join(self, timeout: float | None) -> bool:
        """Wait for the thread, unless series are followed again; False when that takes longer."""
        return self._thread.join(Deadline(timeout), is_needed_again=lambda: bool(self._followed))

    def _new_dispatcher(self, manager: WebSocketManager, limits: Limits) -> Dispatcher:
        return Dispatcher(manager, self._feed_tokens, limits, window=WINDOW, keeps_running=True)

    def _run(self) -> None:
        with self._feed.lock:
            dispatcher = self._dispatcher if self._thread.is_current else None
        if dispatcher is None:
            return
        self._reset()
        while self._is_needed():
            try:
                if dispatcher.is_stopped:
                    # The connections were closed while a series was registered.
                    dispatcher = self._replace(dispatcher)
                self._run_once(dispatcher)
            except Exception:
                logger.exception("the live feed failed and continues; please report this")
                time.sleep(_PAUSE_AFTER_BUG_S)
        # Results that came meanwhile belong to released series.
        dispatcher.release()

    def _is_needed(self) -> bool:
        with self._feed.lock:
            if self._followed or self._commands:
                return True
            self._dispatcher = None
            for callbacks in self._callbacks:
                callbacks.close()
            self._thread.clear()
            return False

    def _replace(self, stopped: Dispatcher) -> Dispatcher:
        """Continue with new connections if the old ones were closed on purpose."""
        manager, limits = self._connections(), self._limits()
        with self._feed.lock:
            self._dispatcher = dispatcher = self._new_dispatcher(manager, limits)
            followed = list(self._followed)
        # First, so that later events go to the new dispatcher.
        for series in followed:
            series.dispatcher = dispatcher
        failures = stopped.failed_sessions()
        stopped.release()
        opening, self._opening = self._opening, set()
        for failure in failures:
            self._lost(failure.session, failure.error)
        for series in followed:
            connection, session = series.connection, series.session
            if series in opening:
                self._open(series)
            elif session and connection and connection.error is not None:
                self._lost(session, connection.error)
        return dispatcher

    def _run_once(self, dispatcher: Dispatcher) -> None:
        """Do the work that is due, then wait for the next result, command or timer."""
        while self._commands:
            call, series = self._commands.popleft()
            call(series)
        until = min(self._timers.run_due(), self._renewal.run_due())
        if not self._opening:
            self._feed_tokens.forget()
            until = min(until, self._gathering.run_due(self._sessions.values()))
        if not self._followed:
            return
        try:
            result = dispatcher.next(until)
        except TvDatafeedError as no_token:
            for series in dispatcher.cancel_waiting():
                self._not_opened(series, no_token)
            return
        match result:
            case (series, OpenStream() as stream):
                self._opened(series, stream)
            case (series, Refused(error=error)):
                self._complain(series, error)
            case (_, RequestFailed(session=session, error=error)):
                self._lost(session, error)
            case (series, TvDatafeedError() as error):
                self._not_opened(series, error)

    def _begin(self, series: LiveSeries) -> None:
        if series.is_wanted:
            self._advance(series, SeriesEvent.WANTED)
            self._open(series, first=True)

    def _restart(self, series: LiveSeries) -> None:
        if series.state is State.FAILED and series.is_wanted:
            series.error = None
            series.failed_openings = 0
            self._begin(series)
        else:
            self._move(series)

    def _move(self, series: LiveSeries) -> None:
        """Open a series again if the newest token belongs to another host than its connection.

        It continues after its last closed bar, so that no bar is lost.
        """
        connection = series.connection
        if series.session and connection and self._connections().has_other_host(connection):
            logger.info("%r moves to the host of the new token", series.seis, extra=series.facts)
            self._reopen(series)

    def _move_all(self) -> None:
        with self._feed.lock:
            followed = list(self._followed)
        for series in followed:
            self._move(series)

    def _stop_following(self, series: LiveSeries) -> None:
        if self._dispatcher is not None and series in self._opening:
            self._dispatcher.cancel(series)
        self._opening.discard(series)
        self._timers.cancel(series)
        self._close_session(series)
        self._outage.remove(series)
        series.left_connection = None
        self._advance(series, SeriesEvent.RELEASED)
        series.settled.set()

    def _reopen(self, series: LiveSeries) -> None:
        series.left_connection = series.connection
        self._close_session(series)
        self._open(series)

    def _open(self, series: LiveSeries, *, first: bool = False) -> None:
        is_on_its_way = series in self._opening or series.session is not None
        if self._dispatcher is None or not series.is_wanted or is_on_its_way:
            return
        self._timers.cancel(series)
        self._opening.add(series)
        series.dispatcher = self._dispatcher
        request = StreamRequest(
            series.seis.full_symbol,
            series.seis.interval.value,
            after=series.last_closed or series.stored_bar,
            max_bars=self._max_bars,
            follow=self._source.keeps_session,
            accepts_no_bars=series.bad_answers >= _PAUSES_FOR_BARS,
        )
        self._dispatcher.add(series, request, receiver=series.new_attempt(), first=first)

    def _close_session(self, series: LiveSeries) -> None:
        """Close the session of a series, if it has one."""
        series.end_attempt()
        connection, series.connection = series.connection, None
        session, series.session = series.session, None
        if connection is not None and session is not None:
            self._sessions.pop(session, None)
            connection.release([session])
            self._connections().notify_all()

    def _opened(self, series: LiveSeries, stream: OpenStream) -> None:
        self._opening.discard(series)
        started, connection = stream.started, stream.connection
        series.connection, series.session = connection, started.session
        series.left_connection = None
        back_s = connection.server_time_s() or time.time()
        if series.is_wanted and started.request.follow:
            self._sessions[started.session] = series
        else:
            self._close_session(series)
        if not series.is_wanted:
            return
        series.failed_openings = 0
        series.has_lived = True
        series.has_complained = False
        self._advance(series, SeriesEvent.OPENED)
        series.settled.set()
        series.opened_s = back_s
        self._outage.remove(series, back_s)
        has_news = bool(started.update.closed or started.update.forming)
        series.bad_answers = 0 if has_news else series.bad_answers
        series.silent_reopens = 0 if has_news else series.silent_reopens + 1
        series.updates_at_check = series.updates_at_opening = series.updates
        self._source.opened(series, started)
        if connection.configured_url == self._url:
            # The token may have been assigned while this request was running.
            self._move(series)
        else:
            # This may be the first series with a token that was renewed for it.
            self._url = connection.configured_url
            self._move_all()
        # An update that came meanwhile may already need confirmation.
        self._confirm(series)

    def _not_opened(self, series: LiveSeries, error: TvDatafeedError) -> None:
        self._opening.discard(series)
        if not series.is_wanted:
            return
        if self._dispatcher is not None and self._dispatcher.is_stopped:
            self._opening.add(series)  # opened by the next dispatcher
            return
        if self._is_final(error) or not series.has_lived:
            self._fail(series, error)
            return
        left = series.left_connection
        if left is not None and not left.is_answering:
            self._record_loss(series, left)
        # Also for a series that lost no session, but is opened again for a check or for each bar.
        self._outage.add(series, series.opened_s)
        self._advance(series, SeriesEvent.DELAYED)
        if isinstance(error, RateLimitError | ThreadingError) or not error.retryable:
            self._complain(series, error)
        series.failed_openings += 1
        series.bad_answers += isinstance(error, ProtocolError)
        self._timers.schedule(series, self._pause_s(error, series.failed_openings), self._open)

    def _is_final(self, error: TvDatafeedError) -> bool:
        if isinstance(error, ThreadingError):
            return False
        if not isinstance(error, NetworkError):
            return True
        if isinstance(error, ProtocolError) and not error.retryable:
            # An unreadable message ends a running series only for a while. The same holds here,
            # however many connections such messages have cost.
            return False
        return not error.retryable or self._connections().has_given_up

    def _pause_s(self, error: TvDatafeedError, failures: int) -> float:
        network = self._network
        if isinstance(error, RateLimitError):
            return max(network.max_retry_delay, error.retry_after or 0.0)
        return backoff_s(failures, network.base_retry_delay, network.max_retry_delay)

    def _notice_silence(self, series: LiveSeries) -> None:
        """Watch a series whose last bar the clock has closed; called in the delivering thread."""
        self.command(self._source.check_silence, series)

    def _notice_doubt(self, series: LiveSeries) -> None:
        """Open a series again before a bar of it closes; called in the delivering thread."""
        self.command(self._confirm, series)

    def _confirm(self, series: LiveSeries) -> None:
        if series.awaits_confirmation and series.session is not None:
            self._reopen(series)

    def _lost(self, session: str, error: TvDatafeedError) -> None:
        """Handle the end of an open session."""
        series = self._sessions.get(session)
        if series is None or series.connection is None:
            return
        connection, manager = series.connection, self._connections()
        self._close_session(series)
        pause_s = 0.0
        if connection.is_usable:
            manager.record_failure(connection, error)
            if not manager.excuses(connection, error):
                # A refused token may have been renewed since: the next opening decides.
                if not isinstance(error, AuthenticationError | ProtocolError | RateLimitError):
                    self._fail(series, error)
                    return
                pause_s = self._pause_before_reopening_s(series, error)
        elif connection not in self._counted:
            self._count_failure(connection, error)
        self._record_loss(series, connection)
        if is_connections_limit(error):
            self._complain(series, error)
        if pause_s:
            self._timers.schedule(series, pause_s, self._open)
        else:
            self._open(series)

    def _count_failure(self, connection: Connection, error: TvDatafeedError) -> None:
        """Record the end of a connection, once for all its series."""
        self._counted = {c for c in self._counted if c.is_usable} | {connection}
        manager = self._connections()
        if not manager.follow_redirect(connection):
            manager.record_failure(connection, error)
            if not is_connections_limit(error):
                manager.log_retry("the live feed", error)
        for silent in self._opening:
            if silent.left_connection is connection:
                self._record_loss(silent, connection)

    def _record_loss(self, series: LiveSeries, connection: Connection) -> None:
        series.left_connection = None
        self._outage.add(series, connection.last_received_time_s() or time.time())
        self._advance(series, SeriesEvent.LOST)

    def _pause_before_reopening_s(self, series: LiveSeries, error: TvDatafeedError) -> float:
        """Return the pause after the server, or a bad message, has ended a working session."""
        if isinstance(error, RateLimitError):
            self._complain(series, error)
            return self._pause_s(error, 1)
        # Reopen at once, unless it ends again before any update.
        is_unused = series.updates == series.updates_at_opening
        series.unused_sessions = series.unused_sessions + 1 if is_unused else 0
        if series.unused_sessions <= 1:
            return 0.0
        return self._pause_s(error, series.unused_sessions + 1)

    def _complain(self, series: LiveSeries, error: TvDatafeedError) -> None:
        """Report a temporary error, once for all tries."""
        if is_connections_limit(error):
            # The account's error is the same for all series, and stays after a success.
            if self._connections().begins_connections_limit():
                series.report(error)
        elif not series.has_complained:
            series.has_complained = True
            series.report(error)

    def _fail(self, series: LiveSeries, error: TvDatafeedError) -> None:
        is_first = not series.settled.is_set()
        series.error = error
        self._advance(series, SeriesEvent.REFUSED)
        self._outage.remove(series)
        series.settled.set()
        if not is_first:
            series.report(error)

    @staticmethod
    def _advance(series: LiveSeries, event: SeriesEvent) -> None:
        """Change the state of a series by the table, and report it."""
        state = NEXT_STATE[series.state, event]
        if state is not series.state or event is SeriesEvent.WANTED:
            series.change_state(state)
