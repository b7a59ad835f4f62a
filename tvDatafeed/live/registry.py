"""The registry of a live feed: which Seises are registered, and how the feed ends.

One lock guards what is registered. It is held only for a change of that state: never over a
callback, the network, a wait or the start of a thread. Below it come the lock of a series, and that
of a mailbox.
"""

import datetime as dt
import logging
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from tvDatafeed.common.deadline import WAIT_SLICE_S, Deadline
from tvDatafeed.common.facts import facts
from tvDatafeed.config import TvDatafeedConfig
from tvDatafeed.exceptions import (
    LockTimeoutError,
    SlowConsumerError,
    ThreadingError,
    TvDatafeedError,
    WebSocketTimeoutError,
    own_copy,
)
from tvDatafeed.frames.repeats import RepeatedHours
from tvDatafeed.live.callbacks import CallbackThread
from tvDatafeed.live.feedlock import FeedLock, FeedThread
from tvDatafeed.live.health import Health
from tvDatafeed.live.iterator import BarIterator
from tvDatafeed.live.livebar import LiveBarFormat
from tvDatafeed.live.seis import Consumer, Feed, OnError, Seis, State, WhichBars
from tvDatafeed.live.status import Statuses
from tvDatafeed.live.stream import LiveSeries
from tvDatafeed.live.supervisor import StreamSupervisor
from tvDatafeed.protocol.bars import Bars

if TYPE_CHECKING:
    from collections.abc import Generator

    import pandas as pd

    from tvDatafeed.live.recorder import Recorder
    from tvDatafeed.protocol.bars import Bar

logger: logging.Logger = logging.getLogger(__name__)


class HookTarget(Protocol):
    """The object that has the hooks of a program; see `TvDatafeedLive`."""

    on_error: OnError | None
    on_gap: Callable[[Seis, dt.datetime, dt.datetime], object] | None
    on_reconnect: Callable[[dt.datetime, dt.datetime], object] | None
    on_state: Callable[[Seis, str], object] | None


class MakeSupervisor(Protocol):
    """Makes what keeps the series open."""

    def __call__(
        self,
        callbacks: Sequence[CallbackThread],
        on_reconnect: Callable[[float, float], object],
        feed: FeedLock,
        /,
    ) -> StreamSupervisor:
        """Return a supervisor for a feed."""


@dataclass(eq=False)
class _Registered:
    """A registered Seis, its series, and how many calls have asked for it."""

    seis: Seis
    series: LiveSeries
    claims: int = 0


class Registry:
    """The Seises that one live feed follows.

    Parameters
    ----------
    feed
        The feed that the Seises are registered in.
    hooks
        The same object, as far as it has hooks.
    config
        The settings.
    make_supervisor
        Makes what keeps the series open.
    last_error
        Returns the last fault of a connection.
    get_bars
        Returns the bars of a Seis that open between two moments, epoch seconds UTC, and whether
        none is missing.
    process
        The id of the process that made the feed.
    repeated_hours
        Warns if local time repeats an hour.
    make_recorder
        Creates the recorder of a series, given a function that queues calls for the writing thread;
        None without a store.
    """

    def __init__(
        self,
        feed: Feed,
        hooks: HookTarget,
        config: TvDatafeedConfig,
        make_supervisor: MakeSupervisor,
        last_error: Callable[[], TvDatafeedError | None],
        *,
        get_bars: "Callable[[Seis, float, float], tuple[Bars, bool]]",
        process: int,
        repeated_hours: RepeatedHours,
        make_recorder: "Callable[[Seis, Callable[..., object]], Recorder] | None" = None,
    ) -> None:
        self._feed = feed
        self._hooks = hooks
        self._config = config
        self._last_error = last_error
        self._get_bars = get_bars
        self._process = process
        self._repeated_hours = repeated_hours
        # Guards all attributes below, and those of the supervisor and the callbacks that are marked
        # so.
        self._locks = FeedLock()
        self._lock, self._changed = self._locks.lock, self._locks.changed
        self._registered: dict[Seis, _Registered] = {}
        # Seises that were removed while consumers of them still run.
        self._ending: list[Seis] = []
        self._keeper = FeedThread(self._locks, "tvDatafeed-keeper", daemon=False)
        # The threads that are closing the feed, and may wait for each other.
        self._enders: list[threading.Thread] = []
        self._callbacks = CallbackThread(self._locks)
        self._make_recorder = make_recorder
        self._writer = CallbackThread(self._locks, "tvDatafeed-store", "the writes into the store")
        threads = [self._callbacks, self._writer] if make_recorder else [self._callbacks]
        self._supervisor = make_supervisor(threads, self._notify_reconnect, self._locks)

    def check_process(self) -> None:
        """Raise in a forked child: the threads exist only in the parent.

        Raises
        ------
        ThreadingError
            Another process created the feed.
        """
        if os.getpid() != self._process:
            raise ThreadingError(
                "this live feed was created before fork; create another TvDatafeedLive in the "
                "child process"
            )

    def new_seis(self, wanted: Seis, timeout: float | None, response_s: float) -> Seis:
        """Register a Seis, or return the registered one.

        Parameters
        ----------
        wanted
            A Seis that is equal to the registered one.
        timeout
            How long to wait for another thread that registers it, in seconds; None for no limit.
        response_s
            How long TradingView may take, in seconds.

        Raises
        ------
        LockTimeoutError
            Another thread takes longer.
        TvDatafeedError
            The Seis cannot be followed and was not registered.
        """
        self.check_process()
        until = Deadline(timeout)
        recorder, stored_bar = self._recorder(wanted)
        while True:
            registered: _Registered | None = None
            # The caller's timeout limits the wait for another thread that opens it.
            patience = until
            try:
                with self._lock:
                    registered = self._registered.get(wanted)
                    if registered is None:
                        registered, patience = (
                            _Registered(wanted, self._new_series(wanted, recorder, stored_bar)),
                            Deadline(None),
                        )
                        self._register(registered)
                    registered.claims += 1
                self._supervisor.start()
                if self._is_settled(registered, patience, response_s):
                    return registered.seis
            except BaseException as error:
                # It cannot be followed, or Ctrl-C came; other threads may still want it.
                is_refused = isinstance(error, TvDatafeedError)
                if registered is not None:
                    self._release_claim(
                        registered, for_all=is_refused and not isinstance(error, LockTimeoutError)
                    )
                raise

    def _recorder(self, seis: Seis) -> "tuple[Recorder | None, Bar | None]":
        """Return the recorder of a Seis, and the newest stored bar."""
        with self._lock:
            is_known = seis in self._registered
        if self._make_recorder is None or is_known:
            return None, None
        recorder = self._make_recorder(seis, self._writer.queue)
        return recorder, recorder.newest_bar()

    def _new_series(
        self, seis: Seis, recorder: "Recorder | None", stored_bar: "Bar | None"
    ) -> LiveSeries:
        if recorder is None and self._make_recorder is not None:
            # It was removed since its registration.
            recorder = self._make_recorder(seis, self._writer.queue)
        bar_format = LiveBarFormat(seis, self._config.data, self._repeated_hours)
        return LiveSeries(seis, bar_format, self, recorder=recorder, stored_bar=stored_bar)

    def _register(self, registered: _Registered) -> None:
        """Register a Seis; the lock is held, and `_remove` undoes a partial registration."""
        self._registered[registered.seis] = registered
        registered.seis.tvdatafeed = self._feed
        self._supervisor.follow(registered.series)

    def _is_settled(self, registered: _Registered, patience: Deadline, response_s: float) -> bool:
        """Wait until a Seis has started; False when it was removed meanwhile."""
        series = registered.series
        if series.has_lived:
            self._try_again(series)
        limit = Deadline(response_s)
        while not series.settled.wait(limit.clip(patience.clip(WAIT_SLICE_S))):
            if limit.expired:
                raise self._start_timeout(registered.seis, response_s)
            if patience.expired:
                raise LockTimeoutError(patience.seconds or 0.0, f"{registered.seis!r}")
        if series.error is not None and not series.has_lived:
            raise own_copy(series.error)
        return series.is_wanted

    def _start_timeout(self, seis: Seis, response_s: float) -> WebSocketTimeoutError:
        last_error = self._last_error()
        detail = "" if last_error is None else f"the last fault was: {last_error}"
        return WebSocketTimeoutError(f"start of {seis!r}", response_s, detail=detail)

    def give_back(self, seis: Seis) -> None:
        """Undo one `new_seis`; the Seis is removed unless another call uses it."""
        with self._lock:
            registered = self._registered.get(seis)
        if registered is not None and registered.seis is seis:
            self._release_claim(registered, for_all=False)

    def _release_claim(self, registered: _Registered, *, for_all: bool) -> None:
        with self._lock:
            registered.claims -= 1
            is_registered = self._registered.get(registered.seis) is registered
            if is_registered and (for_all or registered.claims <= 0):
                self._remove(registered)

    def del_seis(self, seis: Seis) -> None:
        """Remove a Seis, or one that is equal to it.

        Raises
        ------
        ValueError
            It is not registered.
        """
        self.check_process()
        with self._lock:
            self._remove(self._find(seis))

    def _remove(self, registered: _Registered) -> None:
        """Remove a Seis; the lock is held, and an interrupted caller may repeat the call."""
        seis = registered.seis
        self._supervisor.release(registered.series)
        if seis.running_consumers() and not any(seis is other for other in self._ending):
            self._ending.append(seis)
        # Consumers end after the bars that wait for them.
        registered.series.finish()
        del seis.tvdatafeed
        self._registered.pop(seis, None)
        self._changed.notify_all()

    def _find(self, seis: Seis) -> _Registered:
        registered = self._registered.get(seis) if isinstance(seis, Seis) else None
        if registered is None:
            raise ValueError("Seis is not listed")
        return registered

    def add_consumer(
        self, consumer: Consumer, *, replay: bool, start_s: float | None = None
    ) -> None:
        """Start a consumer, and deliver bars to it.

        Parameters
        ----------
        consumer
            Its Seis is the registered one, or an equal one.
        replay
            Whether it begins with the last closed bar.
        start_s
            If set, it begins with the closed bars that opened at this moment or later, epoch
            seconds UTC.

        Raises
        ------
        ValueError
            The Seis is not registered.
        ThreadingError
            The system cannot start a thread; the feed is unchanged.
        """
        self.check_process()
        with self._lock:
            consumer.seis = seis = self._find(consumer.seis).seis
        try:
            consumer.start_thread(self._remove_consumer)
            with self._lock:
                # The Seis may have been removed meanwhile.
                series = self._find(seis).series
                consumer.seis = seis = series.seis
                if start_s is None:
                    series.subscribe(consumer, lambda: seis.add_consumer(consumer), replay=replay)
                else:
                    series.subscribe_since(consumer, start_s, self._missed_bars)
            self._keep_alive()
        except BaseException:
            # The thread did not start, or Ctrl-C came and the caller does not get the consumer.
            consumer.stop()
            self._remove_consumer(consumer)
            raise

    def _missed_bars(self, consumer: Consumer, start_s: float, until_s: float) -> Bars:
        """Return the closed bars that a consumer begins with; called in its thread.

        Missing bars are reported, and the consumer continues with live bars.
        """
        seis = consumer.seis
        try:
            bars, is_complete = self._get_bars(seis, start_s, until_s)
        except TvDatafeedError as error:
            consumer.notify(error)
            bars, is_complete = Bars(), False
        if not is_complete:
            self.notify_gap(seis, start_s, bars[0].time if bars else until_s)
        return bars

    def del_consumer(self, consumer: Consumer) -> None:
        """Deliver no more bars to a consumer, and end it when its callback returns."""
        self.check_process()
        with self._lock, suppress(NameError):
            consumer.seis.pop_consumer(consumer)
        consumer.stop()

    def _remove_consumer(self, consumer: Consumer) -> None:
        """Remove an ended consumer from its Seis."""
        with self._lock:
            consumer.seis.remove_ended(consumer)
            self._ending = [seis for seis in self._ending if seis.running_consumers()]
            self._changed.notify_all()

    def _running_consumers(self) -> list[Consumer]:
        """Return the consumers whose threads have not ended; the lock is held."""
        return [c for seis in (*self._registered, *self._ending) for c in seis.running_consumers()]

    def _keep_alive(self) -> None:
        """Keep the process alive while there are consumers, unless the settings say otherwise."""
        if self._config.threading.daemon:
            return
        try:
            self._keeper.start(self._keep, is_needed=lambda: bool(self._running_consumers()))
        except RuntimeError as error:
            raise ThreadingError(f"no thread for the live feed: {error}") from error

    def _keep(self) -> None:
        with self._lock:
            while self._keeper.is_current and self._running_consumers():
                self._changed.wait()
            if self._keeper.is_current:
                self._keeper.clear()

    def queue_call(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call a function in the thread of the hooks."""
        self._callbacks.queue(function, *arguments)

    def call_on_error(self, who: Any, error: BaseException) -> None:
        """Call the hook for errors, if there is one: all of them are in the log."""
        if self._hooks.on_error is not None:
            self._hooks.on_error(who, error)

    def iterate(
        self, seises: tuple[Seis, ...], bars: WhichBars, max_queue: int, *, replay: bool
    ) -> "Generator[tuple[Seis, pd.DataFrame]]":
        """Yield bars as they come; see `TvDatafeedLive.stream`."""
        self.check_process()
        with self._lock:
            found = [self._find(seis) for seis in dict.fromkeys(seises)]
            found = found or list(self._registered.values())
            iterator = BarIterator(
                max_queue,
                [r.seis for r in found],
                wants_all=bars == "all",
                report_slow=self._report_slow,
            )
            for registered in found:
                registered.series.add_iterator(iterator, replay=replay)
        return iterator.bars()

    def status(self) -> Statuses:
        """Return how each Seis is doing."""
        self.check_process()
        with self._lock:
            return Statuses(registered.series.status() for registered in self._registered.values())

    def health(self) -> Health:
        """Return whether the Seises are followed as they should be."""
        statuses = self.status()
        with self._lock:
            series = [registered.series for registered in self._registered.values()]
        connected = bool(series) and all(each.is_connected for each in series)
        heard = [status.heard_s for status in statuses if status.heard_s is not None]
        return Health(
            ok=not series or (connected and all(s.state == State.LIVE.value for s in statuses)),
            connected=connected,
            heard_s=min(heard, default=None),
            seises=statuses,
        )

    def is_responsive(self, timeout: float | None) -> bool:
        """Return whether the thread that keeps the series open answers within a time, in seconds.

        It has nothing to do without series, and counts as one that answers.
        """
        self.check_process()
        answered = threading.Event()
        with self._lock:
            series = next((each.series for each in self._registered.values()), None)
            if series is None:
                return True
            self._supervisor.command(lambda _series: answered.set(), series)
        return answered.wait(timeout)

    def try_all_again(self) -> None:
        """Try again to open what has failed."""
        self.check_process()
        for registered in list(self._registered.values()):
            self._try_again(registered.series)

    def _try_again(self, series: LiveSeries) -> None:
        with self._lock:
            self._supervisor.try_again(series)

    def wait(self, timeout: float | None) -> bool:
        """Wait until no Seis is registered; False after a timeout, in seconds."""
        deadline = Deadline(timeout)
        with self._lock:
            while self._registered:
                if deadline.expired:
                    return False
                self._changed.wait(deadline.clip(WAIT_SLICE_S))
        return True

    def close(self, deadline: Deadline, *, drain: bool) -> bool:
        """Remove all Seises, and wait for all threads but this one.

        Returns
        -------
        bool
            False when a thread has not ended in time.
        """
        self.check_process()
        me = threading.current_thread()
        # To append and to remove are atomic.
        self._enders.append(me)
        try:
            with self._lock:
                for registered in list(self._registered.values()):
                    self._remove(registered)
                consumers = self._running_consumers()
            for consumer in consumers:
                if drain:
                    consumer.finish()
                else:
                    consumer.stop()
            has_ended = self._supervisor.join(deadline.remaining())
            for consumer in consumers:
                if self._may_wait_for(consumer):
                    consumer.join(deadline.remaining())
            for thread in (self._callbacks, self._writer):
                if self._may_wait_for(thread.thread):
                    has_ended = thread.join(deadline.remaining()) and has_ended
            late = [c for c in consumers if c.is_alive() and self._may_wait_for(c)]
            for consumer in late:
                text = "the callback of %s still runs; close() no longer waits for it"
                logger.warning(text, consumer.name, extra=facts(consumer, consumer=consumer.name))
            self._abort(late)
        except BaseException:
            # A second Ctrl-C: the user does not want to wait for consumers.
            with self._lock:
                consumers = self._running_consumers()
            self._abort(consumers)
            raise
        finally:
            self._enders.remove(me)
        return has_ended and not late

    def _abort(self, consumers: list[Consumer]) -> None:
        """Stop keeping the process alive for these consumers."""
        for consumer in consumers:
            consumer.stop()
            self._remove_consumer(consumer)

    def _may_wait_for(self, thread: threading.Thread | None) -> bool:
        """Return whether a thread may be joined: two callbacks may close the feed at once."""
        me = threading.current_thread()
        if thread is None or thread is me:
            return False
        is_awaited = isinstance(me, Consumer) or me is self._callbacks.thread
        return not (is_awaited and thread in self._enders)

    def notify_failure(self, seis: Seis, error: TvDatafeedError) -> None:
        """Report the error of a series."""
        logger.warning("%r: %s", seis, error, extra=facts(seis, error=error))
        self._callbacks.queue(self.call_on_error, seis, error)

    def notify_gap(self, seis: Seis, start_s: float, end_s: float) -> None:
        """Report missing bars; epoch seconds UTC."""
        self._callbacks.queue(self._call_on_gap, seis, _moment(start_s), _moment(end_s))

    def _call_on_gap(self, seis: Seis, start: dt.datetime, end: dt.datetime) -> None:
        text = "%r: bars from %s to %s were missed and cannot be fetched"
        logger.warning(text, seis, start, end, extra=facts(seis, start=start, end=end))
        if self._hooks.on_gap is not None:
            self._hooks.on_gap(seis, start, end)

    def notify_state(self, seis: Seis, state: State) -> None:
        """Report a change of state."""
        self._callbacks.queue(self._hooks.on_state, seis, state.value)

    def _notify_reconnect(self, start_s: float, end_s: float) -> None:
        self._callbacks.queue(self._hooks.on_reconnect, _moment(start_s), _moment(end_s))

    def _report_slow(self, error: SlowConsumerError) -> None:
        self._callbacks.queue(self._call_on_slow, error)

    def _call_on_slow(self, error: SlowConsumerError) -> None:
        logger.warning("%s", error, extra=facts(error.seis, error=error))
        self.call_on_error(error.seis, error)


def _moment(time_s: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(time_s, dt.timezone.utc)
