"""One live series: its state, and the delivery of its bars to its subscribers."""

import datetime as dt
import math
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from tvDatafeed.common.facts import facts
from tvDatafeed.exceptions import TvDatafeedError
from tvDatafeed.live.confirmation import Confirmation
from tvDatafeed.live.fanout import Fanout, Subscriber
from tvDatafeed.live.health import overdue_s
from tvDatafeed.live.livebar import LiveBarFormat
from tvDatafeed.live.seis import Consumer, Seis, State
from tvDatafeed.live.status import SeisStatus
from tvDatafeed.network.connection import Connection
from tvDatafeed.network.outcomes import Outcome, OutcomeReceiver
from tvDatafeed.protocol.bars import Bar
from tvDatafeed.protocol.closing import LiveUpdate
from tvDatafeed.protocol.events import StreamStarted, StreamUpdated
from tvDatafeed.symbology.hours import TradingHours

if TYPE_CHECKING:
    from tvDatafeed.live.recorder import Recorder

_MILLISECONDS = 1000

# Returns the closed bars of a series that open between two moments, epoch seconds UTC.
MissedBars = Callable[[Consumer, float, float], Iterable[Bar]]


class SeriesHooks(Protocol):
    """The receiver of a series' events; called without locks, and must be quick."""

    def notify_gap(self, seis: Seis, start_s: float, end_s: float) -> None:
        """Report missing bars; epoch seconds UTC."""

    def notify_state(self, seis: Seis, state: State) -> None:
        """Report a change of state."""

    def notify_failure(self, seis: Seis, error: TvDatafeedError) -> None:
        """Report an error."""


class Attempt:
    """One try to open a series, and the session that results.

    Its bars count only while it is the series' present attempt, so that a late update has no
    effect. Other events are passed to the dispatcher, which ignores those of unknown sessions.
    """

    def __init__(self, series: "LiveSeries") -> None:
        self._series = series

    def deliver(self, outcome: Outcome) -> None:
        """Accept an event of the connection."""
        self._series.receive(self, outcome)


class LiveSeries:
    """One series that a live feed keeps open.

    The attributes are grouped by the thread that writes them. The lock of the series guards the
    attributes that the delivering thread shares with others. It is held for one update: never over
    a hook, the network or a wait. The lock of a mailbox is below it.

    Parameters
    ----------
    seis
        The symbol and the interval.
    bar_format
        The format of its rows.
    hooks
        Receives its events.
    recorder
        Stores its closed bars; None without a store.
    stored_bar
        The newest stored bar: the bars since then are stored at the start.

    Attributes
    ----------
    stored_bar : Bar or None
        As passed.
    settled : threading.Event
        Set when the series has opened for the first time, or cannot be opened.
    is_wanted : bool
        Whether it should be kept open.
    state : State
        Its present state.
    error : TvDatafeedError or None
        Why it has failed.
    last_closed : Bar or None
        The last bar that was delivered as closed, with its present values.
    """

    def __init__(
        self,
        seis: Seis,
        bar_format: LiveBarFormat,
        hooks: SeriesHooks,
        *,
        recorder: "Recorder | None" = None,
        stored_bar: Bar | None = None,
    ) -> None:
        self.seis = seis
        self.stored_bar: Bar | None = stored_bar
        self._recorder = recorder
        self.settled: threading.Event = threading.Event()
        self._format = bar_format
        self._hooks = hooks
        self._lock = threading.Lock()
        self._fanout = Fanout(seis, bar_format)
        # Set once, before the series is opened. Called when the clock has closed the last bar, and
        # when the series must be opened again before that.
        self.on_silence: Callable[[LiveSeries], object] = lambda _series: None
        self.on_doubt: Callable[[LiveSeries], object] = lambda _series: None

        # Written by the threads of the program, under the lock of the feed.
        self.is_wanted: bool = True

        # Written by the thread of the supervisor.
        self.state: State = State.STARTING
        self.error: TvDatafeedError | None = None
        self.reported_error: TvDatafeedError | None = None
        self.has_lived: bool = False
        self.has_complained: bool = False
        self.dispatcher: OutcomeReceiver | None = None
        self._connection: Connection | None = None
        self._last_connection: Connection | None = None
        self.session: str | None = None
        # The connection on which it was open, while it is opened again after a silence.
        self.left_connection: Connection | None = None
        # When it was opened last, epoch seconds UTC.
        self.opened_s: float = 0.0
        # Tries in a row that failed to open it, and sessions in a row that were lost without an
        # update.
        self.failed_openings = 0
        self.unused_sessions = 0
        # Openings since the last bad answer, such as one without bars.
        self.bad_answers = 0
        # Openings in a row without updates, and the number of updates at the last one.
        self.silent_reopens = 0
        self.updates_at_opening = 0
        self.updates_at_check = 0

        # Written under the lock of the series by the thread that delivers its events; the
        # supervisor writes the attempt.
        self._attempt: Attempt | None = None
        self.last_closed: Bar | None = None
        self.updates: int = 0
        self.is_forming: bool = False
        self._confirmation = Confirmation()
        self._hours: TradingHours | None = None

    def __repr__(self) -> str:
        symbol, interval = self.seis.full_symbol, self.seis.interval.value
        return f"<LiveSeries {symbol} {interval} {self.state.value}>"

    @property
    def facts(self) -> dict[str, Any]:
        """The fields of a record about the series."""
        return facts(self.seis)

    @property
    def connection(self) -> Connection | None:
        """The connection on which it is open; None while it is not."""
        return self._connection

    @connection.setter
    def connection(self, connection: Connection | None) -> None:
        self._connection = connection
        if connection is not None:
            self._last_connection = connection

    @property
    def is_connected(self) -> bool:
        """Whether the server answers, as far as is known."""
        if self.state is not State.LIVE:
            return False
        # A polled series has no connection between two polls.
        connection = self._connection
        return connection is None or connection.is_answering

    def new_attempt(self) -> Attempt:
        """Return a new attempt to open the series; events of earlier ones are ignored from now."""
        with self._lock:
            self._attempt = Attempt(self)
            return self._attempt

    def end_attempt(self) -> None:
        """Ignore events of the present attempt from now on."""
        with self._lock:
            self._attempt = None

    def receive(self, attempt: Attempt, outcome: Outcome) -> None:
        """Process an event of the connection; called in the thread that delivers it."""
        match outcome:
            case StreamUpdated(update=update, silent_s=silent_s):
                if update.is_stale and self._doubts(attempt, update, silent_s):
                    self.on_doubt(self)
                elif self._distribute(attempt, update) and update.by_clock:
                    self.on_silence(self)
                return
            case StreamStarted(update=update):
                self._distribute(attempt, update, outcome)
        if self.dispatcher is not None:
            self.dispatcher.deliver(outcome)

    @property
    def awaits_confirmation(self) -> bool:
        """Whether it must be opened again, because a bar would close after a silence."""
        return self._confirmation.is_awaited

    def _doubts(self, attempt: Attempt, update: LiveUpdate, silent_s: float) -> bool:
        """Return whether to withhold an update; the attempt ends with it."""
        with self._lock:
            is_present = attempt is self._attempt
            is_doubtful = is_present and self._confirmation.needs(
                update, silent_s, time.monotonic()
            )
            if is_doubtful:
                self._attempt = None
            return is_doubtful

    def _distribute(
        self, attempt: Attempt, update: LiveUpdate, started: StreamStarted | None = None
    ) -> bool:
        """Deliver an update to the subscribers; return whether it was of the present attempt."""
        with self._lock:
            if attempt is not self._attempt:
                return False
            if started is not None:
                self._format.learn(started.info, started.update_mode)
                self._hours = TradingHours.of(started.info)
                self._confirmation.receive(update, time.monotonic())
            if self._recorder is not None:
                # Before the delivery, since the program may close the feed in it.
                self._recorder.record(update, started)
            is_first = started is not None and self.last_closed is None
            shown = _newest_alone(update) if is_first else update
            is_refill = not is_first and _has_missed_bars(started)
            slow = self._fanout.deliver(shown, is_refill=is_refill)
            # After the delivery: if that fails, the bars are requested again.
            self.last_closed = update.last or self.last_closed
            self.is_forming = update.forming is not None
            self.updates += not update.by_clock
        for subscriber in slow:
            subscriber.notify_slow(self.seis)
        for start_s, end_s in shown.gaps:
            self._hooks.notify_gap(self.seis, start_s, end_s)
        return True

    def subscribe(self, subscriber: Subscriber, add: Callable[[], object], *, replay: bool) -> None:
        """Add a subscriber, which receives each later bar once.

        Parameters
        ----------
        subscriber
            The consumer or iterator.
        add
            Adds it to its list.
        replay
            Whether it begins with the bar that closed last.
        """
        with self._lock:
            add()
            if replay:
                self._fanout.replay_last(subscriber)

    def subscribe_since(self, consumer: Consumer, start_s: float, missed: MissedBars) -> None:
        """Add a consumer that begins with the bars that have closed since a moment.

        Parameters
        ----------
        consumer
            The consumer.
        start_s
            The open of the earliest wanted bar, epoch seconds UTC.
        missed
            Returns the closed bars that open between two moments, epoch seconds UTC.
        """
        with self._lock:
            self.seis.add_consumer(consumer)
            last = self.last_closed
            # All later bars are delivered live, so the bars up to this one complete them.
            if last is not None and last.time >= start_s:
                until_s, bar_format = last.time, self._format
                consumer.begin_with(lambda: bar_format.refill(missed(consumer, start_s, until_s)))

    def add_iterator(self, subscriber: Subscriber, *, replay: bool) -> None:
        """Add a subscriber other than a consumer, for as long as the program holds it."""
        self.subscribe(subscriber, lambda: self._fanout.add_iterator(subscriber), replay=replay)

    def finish(self) -> None:
        """End all subscribers, after the bars that wait for them."""
        for subscriber in self._fanout.subscribers():
            subscriber.finish(self.seis)

    def change_state(self, state: State) -> None:
        """Record a state, and report it."""
        self.state = state
        if state is not State.FAILED:
            self.reported_error = None
        self._hooks.notify_state(self.seis, state)

    def report(self, error: TvDatafeedError) -> None:
        """Record an error, and report it."""
        self.reported_error = error
        self._hooks.notify_failure(self.seis, error)

    def status(self) -> SeisStatus:
        """Return the status of the series."""
        connection = self._last_connection
        server_s = None if connection is None else connection.server_time_s()
        heard_s = math.inf if connection is None else connection.silent_s()
        with self._lock:
            counts = self._fanout.counts
            last, lag_s = counts.last, counts.lag_s
            is_open, late_s = self._market(server_s)
            if self.state is not State.LIVE and late_s:
                lag_s = max(lag_s or 0.0, late_s)
            return SeisStatus(
                seis=self.seis,
                state=self.state.value,
                last_bar=None if last is None else _moment(last.bar.time),
                delivered=counts.delivered,
                dropped=self._format.dropped,
                corrections=counts.corrections,
                lag_ms=None if lag_s is None else round(lag_s * _MILLISECONDS, 3),
                error=self.reported_error,
                heard_s=None if math.isinf(heard_s) else round(heard_s, 3),
                queued=self._fanout.queued(),
                is_market_open=is_open,
                overdue_s=round(late_s, 3),
            )

    def _market(self, server_s: float | None) -> tuple[bool | None, float]:
        """Return whether the symbol is traded now, and how late its next bar is, in seconds."""
        if self._hours is None or server_s is None:
            return None, 0.0
        session = self._hours.session_at(server_s)
        if session is None:
            return False, 0.0
        last_s = None if self.last_closed is None else self.last_closed.time
        market_s = server_s - self._format.delay_s
        return True, overdue_s(session, last_s, self.seis.interval.seconds, market_s)


def _newest_alone(update: LiveUpdate) -> LiveUpdate:
    """Return the first update of a series as subscribers receive it: only the last closed bar."""
    closed = update.closed[-1:] or ((update.last,) if update.last is not None else ())
    return replace(update, closed=closed, gaps=(), corrections=0)


def _has_missed_bars(started: StreamStarted | None) -> bool:
    """Return whether the closed bars of an opening were missed: one per poll is expected."""
    if started is None:
        return False
    return started.request.follow or len(started.update.closed) > 1


def _moment(time_s: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(time_s, dt.timezone.utc)
