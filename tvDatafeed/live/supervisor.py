"""Streams: the series that a live feed wants, kept open through whatever happens.

A thread of its own opens them, a few at a time, and opens again what was lost; the reader of each
connection hands what happens on a stream straight to its listener. Where a stream left off is
known to the stream alone, so that one that is opened again goes on from there.
"""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from tvDatafeed.auth.account import Account
from tvDatafeed.common.backoff import backoff_s, doubled_s
from tvDatafeed.common.deadline import Deadline
from tvDatafeed.config import NetworkConfig, ThreadingConfig
from tvDatafeed.exceptions import (
    NetworkError,
    ProtocolError,
    RateLimitError,
    ThreadingError,
    TvDatafeedError,
)
from tvDatafeed.live.callbacks import Hooks
from tvDatafeed.live.seis import State
from tvDatafeed.live.stream import Stream
from tvDatafeed.live.timers import Plans
from tvDatafeed.network.connection import Connection, Limits
from tvDatafeed.network.dispatcher import Batch, Opened
from tvDatafeed.network.pool import WebSocketManager
from tvDatafeed.protocol.events import RequestFailed, StreamRequest, StreamStarted

logger: logging.Logger = logging.getLogger(__name__)

# How many streams are being opened at a time: as fast as answers come, and no faster.
WINDOW = 20
# A stream whose last bar is over and that stays silent is opened anew after so long, in case that
# it is the stream and not the market; each time in vain the pause doubles.
SILENCE_S = 10.0
LONGEST_PAUSE_S = 300.0
# Not longer, since the wall clock, which tells when a token ends, may be set.
_TOKEN_LOOK_S = 60.0
_FIRST_RETRY_S = 1.0
# Whoever waits for the thread's end looks so often whether somebody begins anew.
_JOIN_SLICE_S = 0.05


@dataclass
class _Episode:
    """From when on streams are lost, until the last of them is back."""

    since_s: float
    lost: set[Stream]
    any_is_back: bool = False


class Streams:
    """The streams of one feed.

    Parameters
    ----------
    connections
        Gives the connections.
    account
        Whose token is used.
    limits
        Gives how long one opening may take.
    network, threads
        Settings: the pauses between tries; whether to stream or to poll, and how.
    max_bars
        How many bars are asked for at the most to fill a gap.
    hooks
        Run while any stream is wanted.
    on_reconnect
        Called with the moments, epoch seconds UTC, between which nothing came, when every stream
        that was lost is back.
    """

    def __init__(
        self,
        connections: Callable[[], WebSocketManager],
        account: Account,
        limits: Callable[[], Limits],
        *,
        network: NetworkConfig,
        threads: ThreadingConfig,
        max_bars: int,
        hooks: Hooks,
        on_reconnect: Callable[[float, float], object],
    ) -> None:
        self._connections = connections
        self._account = account
        self._limits = limits
        self._network = network
        self._threads = threads
        self._max_bars = max_bars
        self._hooks = hooks
        self._on_reconnect = on_reconnect
        self._lock = threading.Lock()
        self._wanted: set[Stream] = set()
        self._orders: deque[tuple[Callable[[Stream], None], Stream]] = deque()
        self._thread: threading.Thread | None = None
        self._batch: Batch | None = None
        self._start_afresh()

    def _start_afresh(self) -> None:
        self._asked: set[Stream] = set()
        self._sessions: dict[str, Stream] = {}
        self._plans: Plans[Stream] = Plans()
        self._counted: set[Connection] = set()
        self._episode: _Episode | None = None
        self._no_renewal_before = 0.0

    @property
    def is_streaming(self) -> bool:
        """Whether the server tells of bars; otherwise it is asked for them."""
        return self._threads.live_mode == "stream"

    def want(self, stream: Stream) -> None:
        """Open a stream, and keep it open from now on.

        Raises
        ------
        ThreadingError
            When the system gives no thread.
        """
        with self._lock:
            self._wanted.add(stream)
            self._orders.append((self._begin, stream))
            if self._thread is not None:
                self._wake()
                return
            self._batch = self._new_batch()
            thread = threading.Thread(
                target=self._run, args=(self._batch,), name="tvDatafeed-live", daemon=True
            )
            try:
                self._hooks.start()
                thread.start()
            except RuntimeError as error:
                self._wanted.discard(stream)
                self._orders.clear()
                self._batch = None
                self._hooks.end()
                raise ThreadingError(f"no thread for the live feed: {error}") from error
            self._thread = thread

    def unwant(self, stream: Stream) -> None:
        """Close a stream; nothing is told of it from now on."""
        stream.is_wanted = False
        with self._lock:
            self._wanted.discard(stream)
            if self._thread is not None:
                self._orders.append((self._end, stream))
                self._wake()

    def again(self, stream: Stream) -> None:
        """Try once more to open a stream that has failed."""
        with self._lock:
            if stream in self._wanted and self._thread is not None:
                self._orders.append((self._restart, stream))
                self._wake()

    def join(self, timeout: float | None) -> bool:
        """Wait for the thread, unless there are streams again; False when that takes longer."""
        deadline = Deadline(timeout)
        while True:
            with self._lock:
                thread = self._thread
                if thread is None or self._wanted:
                    return True
            if thread is threading.current_thread():
                return True
            if deadline.expired:
                return False
            thread.join(deadline.clip(_JOIN_SLICE_S))

    def _wake(self) -> None:
        batch = self._batch
        if batch is not None:
            batch.put(None)

    def _new_batch(self) -> Batch:
        return Batch(
            self._connections(),
            self._account,
            self._limits(),
            window=WINDOW,
            is_endless=True,
        )

    def _run(self, batch: Batch) -> None:
        self._start_afresh()
        while self._is_needed():
            try:
                if batch.is_stopped:
                    # Closed just when somebody began anew.
                    batch = self._replaced(batch)
                self._work(batch)
            except Exception:
                logger.exception("the live feed failed and goes on; please report this")
                time.sleep(_FIRST_RETRY_S)
        # What has come meanwhile belongs to streams that nobody wants.
        batch.release()

    def _replaced(self, batch: Batch) -> Batch:
        with self._lock:
            self._batch = replacement = self._new_batch()
            wanted = list(self._wanted)
        # First of all: what comes from now on comes there.
        for stream in wanted:
            stream.batch = replacement
        strays = batch.strays()
        batch.release()
        asked, self._asked = self._asked, set()
        for stray in strays:
            self._lost(stray.session, stray.error)
        for stream in wanted:
            connection, session = stream.connection, stream.session
            if stream in asked:
                self._ask(stream)
            elif session and connection and connection.error is not None:
                self._lost(session, connection.error)
        return replacement

    def _is_needed(self) -> bool:
        with self._lock:
            if self._wanted or self._orders:
                return True
            self._thread = self._batch = None
            self._hooks.end()
            return False

    def _work(self, batch: Batch) -> None:
        """Do what is to be done, and wait for the next result, order or moment."""
        until = min(self._do_what_is_due(), self._renew_token())
        if not self._wanted:
            return
        try:
            result = batch.next(until)
        except TvDatafeedError as no_token:
            self._has_no_token(batch, no_token)
            return
        match result:
            case (stream, Opened() as opened):
                self._opened(stream, opened)
            case (_, RequestFailed(session=session, error=error)):
                self._lost(session, error)
            case (stream, TvDatafeedError() as error):
                self._not_opened(stream, error)

    def _do_what_is_due(self) -> float:
        """Obey, and do what was planned; say when the next plan is due."""
        while self._orders:
            act, stream = self._orders.popleft()
            act(stream)
        return self._plans.run()

    def _begin(self, stream: Stream) -> None:
        stream.quiet = self._note_silence
        self._show(stream, State.STARTING)
        self._ask(stream, first=True)

    def _restart(self, stream: Stream) -> None:
        if stream.state is State.FAILED and stream.is_wanted:
            stream.error = None
            stream.tries = 0
            self._begin(stream)

    def _ask(self, stream: Stream, *, first: bool = False) -> None:
        is_on_its_way = stream in self._asked or stream.session is not None
        if self._batch is None or not stream.is_wanted or is_on_its_way:
            return
        self._plans.drop(stream)
        stream.batch = self._batch
        self._asked.add(stream)
        request = StreamRequest(
            stream.symbol,
            stream.interval.value,
            after=stream.after,
            max_bars=self._max_bars,
            follow=self.is_streaming,
        )
        self._batch.add(stream, request, outcomes=stream, first=first)

    def _end(self, stream: Stream) -> None:
        if self._batch is not None and stream in self._asked:
            self._batch.cancel(stream)
        self._asked.discard(stream)
        self._plans.drop(stream)
        self._leave(stream)
        self._is_accounted_for(stream)
        self._show(stream, State.STOPPED)
        stream.settled.set()

    def _leave(self, stream: Stream) -> None:
        """Close the session of a stream, if it has one."""
        connection, stream.connection = stream.connection, None
        session, stream.session = stream.session, None
        if connection is not None and session is not None:
            self._sessions.pop(session, None)
            connection.end([session])
            self._connections().wake()

    def _opened(self, stream: Stream, opened: Opened) -> None:
        self._asked.discard(stream)
        started = opened.started
        stream.connection, stream.session = opened.connection, started.session
        if not stream.is_wanted or not started.request.follow:
            self._leave(stream)
        else:
            self._sessions[started.session] = stream
        if not stream.is_wanted:
            return
        stream.tries = 0
        stream.has_lived = True
        stream.has_complained = False
        self._show(stream, State.LIVE)
        stream.settled.set()
        self._is_accounted_for(stream, is_back=True)
        has_news = bool(started.update.closed or started.update.forming)
        stream.looks = 0 if has_news else stream.looks + 1
        stream.old_news = stream.opening_news = stream.news
        if not started.request.follow:
            self._plans.add(self._poll_pause_s(stream, started), self._ask, stream)
        elif started.update.forming is None:
            self._note_silence(stream)

    def _not_opened(self, stream: Stream, error: TvDatafeedError) -> None:
        self._asked.discard(stream)
        if not stream.is_wanted:
            return
        if self._batch is not None and self._batch.is_stopped:
            self._asked.add(stream)  # by the batch that comes next
            return
        if self._is_final(error) or not stream.has_lived:
            self._fail(stream, error)
            return
        self._show(stream, State.RECONNECTING)
        if isinstance(error, RateLimitError | ThreadingError):
            self._complain(stream, error)
        self._plans.add(self._retry_pause_s(error, stream.tries), self._ask, stream)
        stream.tries += 1

    def _is_final(self, error: TvDatafeedError) -> bool:
        if isinstance(error, ThreadingError):
            return False
        if not isinstance(error, NetworkError):
            return True
        return not error.retryable or self._connections().is_struck_out

    def _retry_pause_s(self, error: TvDatafeedError, tries: int) -> float:
        network = self._network
        if isinstance(error, RateLimitError):
            return max(network.max_retry_delay, error.retry_after or 0.0)
        return backoff_s(tries + 1, network.base_retry_delay, network.max_retry_delay)

    def _poll_pause_s(self, stream: Stream, started: StreamStarted) -> float:
        """Say when a bar is due, or how long to wait for one that is."""
        threads = self._threads
        if started.update.forming is not None and started.market_time_s is not None:
            due_s = started.closes_at_s - started.market_time_s
            return max(due_s, threads.retry_sleep)
        vain = max(stream.looks - threads.retry_limit, 0)
        return doubled_s(vain, threads.retry_sleep, LONGEST_PAUSE_S)

    def _note_silence(self, stream: Stream) -> None:
        """Look after a stream whose last bar is over; also called in the reader's thread."""
        self._orders.append((self._watch, stream))
        self._wake()

    def _watch(self, stream: Stream) -> None:
        news, session = stream.news, stream.session
        if session is None:
            return  # it is lost or deleted, and there are other plans for it
        if news != stream.old_news:
            stream.looks = 0
        pause_s = doubled_s(stream.looks, SILENCE_S, LONGEST_PAUSE_S)

        def look(stream: Stream) -> None:
            if stream.session != session:
                return
            if stream.news == news:
                self._leave(stream)
                self._ask(stream)
            elif not stream.is_forming:
                # There was a word on what is closed, as of a correction, and nothing since.
                self._watch(stream)

        self._plans.add(pause_s, look, stream)

    def _lost(self, session: str, error: TvDatafeedError) -> None:
        """Take the end of a session that was open."""
        stream = self._sessions.get(session)
        if stream is None or stream.connection is None:
            return
        connection = stream.connection
        self._leave(stream)
        manager = self._connections()
        pause_s = 0.0
        if connection.is_usable:
            manager.note_failure(connection, error)
            if not manager.learns_cap(connection, error):
                if not isinstance(error, ProtocolError | RateLimitError):
                    self._fail(stream, error)
                    return
                pause_s = self._reopening_pause_s(stream, error)
        elif connection not in self._counted:
            self._counted = {c for c in self._counted if c.is_usable} | {connection}
            if not manager.follow_redirect(connection):
                manager.note_failure(connection, error)
                manager.tell("the live feed", error)
        if self._episode is None:
            self._episode = _Episode(connection.heard_time_s() or time.time(), set())
        self._episode.lost.add(stream)
        self._show(stream, State.RECONNECTING)
        if pause_s:
            self._plans.add(pause_s, self._ask, stream)
        else:
            self._ask(stream)

    def _reopening_pause_s(self, stream: Stream, error: TvDatafeedError) -> float:
        """Say how long to wait where the server, or what it sends, is to blame."""
        if isinstance(error, RateLimitError):
            self._complain(stream, error)
            return self._retry_pause_s(error, 0)
        # At once, unless it is the same again before anything else.
        stream.losses = stream.losses + 1 if stream.news == stream.opening_news else 0
        return self._retry_pause_s(error, stream.losses) if stream.losses > 1 else 0.0

    @staticmethod
    def _complain(stream: Stream, error: TvDatafeedError) -> None:
        """Tell of a fault that waiting may cure, once for all tries."""
        if not stream.has_complained:
            stream.has_complained = True
            stream.listener.failed(error)

    def _is_accounted_for(self, stream: Stream, *, is_back: bool = False) -> None:
        """Note that a stream is lost no more, and tell of the last one."""
        episode = self._episode
        if episode is None or stream not in episode.lost:
            return
        episode.lost.discard(stream)
        if is_back and stream.connection is not None:
            episode.any_is_back = True
        if episode.lost:
            return
        self._episode = None
        if episode.any_is_back:
            connection = stream.connection
            back_s = (connection.server_time_s() if connection else None) or time.time()
            self._on_reconnect(episode.since_s, max(back_s, episode.since_s))

    def _fail(self, stream: Stream, error: TvDatafeedError) -> None:
        is_first = not stream.settled.is_set()
        stream.error = error
        self._show(stream, State.FAILED)
        self._is_accounted_for(stream)
        stream.settled.set()
        if not is_first:
            stream.listener.failed(error)

    def _has_no_token(self, batch: Batch, error: TvDatafeedError) -> None:
        for stream in batch.cancel_waiting():
            self._not_opened(stream, error)

    def _renew_token(self) -> float:
        """Sign in anew before the token ends; say when to look again, on the monotonic clock."""
        due = self._account.renewal_due()
        now = time.monotonic()
        if due is None:
            return math.inf
        wait_s = max(due - time.time(), self._no_renewal_before - now)
        if wait_s > 0:
            return now + min(wait_s, _TOKEN_LOOK_S)
        try:
            self._connections().sign_in(self._account.token())
        except TvDatafeedError as error:
            logger.warning("the token could not be renewed before its end: %s", error)
            self._no_renewal_before = now + _TOKEN_LOOK_S
        return now + _FIRST_RETRY_S

    @staticmethod
    def _show(stream: Stream, state: State) -> None:
        if stream.state is not state or state is State.STARTING:
            stream.state = state
            stream.listener.state(state)
