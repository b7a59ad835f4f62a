"""The registry of a live feed: which Seises are listed, who consumes them, and how it all ends.

One lock guards what is listed. It is held for a change of that alone: never over a callback, the
network or a wait. Below it come the lock of a channel, and that of a mailbox.
"""

import datetime as dt
import logging
import os
import threading
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from tvDatafeed.common.deadline import WAIT_SLICE_S, Deadline
from tvDatafeed.config import TvDatafeedConfig
from tvDatafeed.exceptions import (
    LockTimeoutError,
    SlowConsumerError,
    ThreadingError,
    TvDatafeedError,
    WebSocketTimeoutError,
    own_copy,
)
from tvDatafeed.live.callbacks import Hooks, show_unheard
from tvDatafeed.live.fanout import Channel, Statuses
from tvDatafeed.live.livebar import LiveBar, Look
from tvDatafeed.live.mailbox import END, Mailbox, note_dropped
from tvDatafeed.live.seis import Consumer, Feed, OnError, Seis, State, WhichBars
from tvDatafeed.live.stream import Stream
from tvDatafeed.live.supervisor import Streams

if TYPE_CHECKING:
    import pandas as pd


logger: logging.Logger = logging.getLogger(__name__)

# Whoever waits for the registry looks so often.
_TURN_PAUSE_S = 0.0005


class Hooked(Protocol):
    """What a program wants to be told of; see `TvDatafeedLive`."""

    on_error: OnError | None
    on_gap: Callable[[Seis, dt.datetime, dt.datetime], object] | None
    on_reconnect: Callable[[dt.datetime, dt.datetime], object] | None
    on_state: Callable[[Seis, str], object] | None


@dataclass(eq=False)
class _Listing:
    """A Seis that is listed, and how many calls have asked for it."""

    seis: Seis
    channel: Channel
    stream: Stream
    claims: int = 0


class Registry:
    """What one live feed follows, and for whom.

    Parameters
    ----------
    feed
        What the Seises are listed in.
    hooked
        The same, as far as it has hooks.
    config
        The settings.
    streams
        Makes what keeps the series open, given the hooks and what to call after a reconnection.
    last_error
        Gives the last fault of a connection.
    process
        The id of the process that made the feed.
    """

    def __init__(
        self,
        feed: Feed,
        hooked: Hooked,
        config: TvDatafeedConfig,
        streams: Callable[[Hooks, Callable[[float, float], object]], Streams],
        last_error: Callable[[], TvDatafeedError | None],
        *,
        process: int,
    ) -> None:
        self._feed = feed
        self._hooked = hooked
        self._config = config
        self._last_error = last_error
        self._lock = threading.Lock()
        self._listings: dict[Seis, _Listing] = {}
        self._changed = threading.Condition()
        self._consumers: set[Consumer] = set()
        self._keeper: threading.Thread | None = None
        self._hooks = Hooks()
        self._streams = streams(self._hooks, self._tell_reconnect)
        # Those who are ending all this, and may wait for each other.
        self._enders: list[threading.Thread] = []
        self._process = process

    def await_turn(self, timeout: float | None) -> None:
        """Wait until no other thread holds the registry; then none will for more than a moment.

        The lock itself is taken with a plain "with", which alone gives it back whenever Ctrl-C may
        come.

        Parameters
        ----------
        timeout
            How long to wait, in seconds; None without end.

        Raises
        ------
        LockTimeoutError
            Another thread holds it for longer.
        ThreadingError
            This is another process than the one which made the feed.
        """
        self.check_process()
        if timeout is None:
            return
        until = Deadline(timeout)
        while self._lock.locked():
            if until.expired:
                raise LockTimeoutError(timeout, "the live feed")
            time.sleep(_TURN_PAUSE_S)

    def check_process(self) -> None:
        """Refuse to work in a forked child, whose threads are the parent's.

        Raises
        ------
        ThreadingError
            This is one.
        """
        if os.getpid() != self._process:
            raise ThreadingError(
                "this live feed was created before fork; make a TvDatafeedLive of its own in the "
                "child process"
            )

    def new_seis(self, wanted: Seis, timeout: float | None, response_s: float) -> Seis:
        """List a Seis, or give the one that is listed.

        Parameters
        ----------
        wanted
            One that is equal to it.
        timeout
            How long to wait for other threads, in seconds; None without end.
        response_s
            How long TradingView may take, in seconds.

        Raises
        ------
        LockTimeoutError
            Another thread takes longer.
        TvDatafeedError
            The Seis cannot be followed; it is not listed then.
        """
        until = Deadline(timeout)
        while True:
            self.await_turn(until.remaining())
            with self._lock:
                listing, is_ours = self._listings.get(wanted), False
                if listing is None:
                    listing, is_ours = self._list(wanted), True
                listing.claims += 1
            # Another thread is waited for as long as the caller likes.
            patience = Deadline(None) if is_ours else until
            try:
                if self._is_settled(listing, patience, response_s):
                    return listing.seis
            except BaseException as error:
                # It cannot be had; or Ctrl-C, and perhaps others have asked for it.
                is_refused = isinstance(error, TvDatafeedError)
                self._give_back(
                    listing, for_all=is_refused and not isinstance(error, LockTimeoutError)
                )
                raise

    def _list(self, seis: Seis) -> _Listing:
        """Enter a Seis and have its stream opened; the registry is held."""
        channel = Channel(
            seis,
            Look(seis, self._config.data),
            on_gap=self._tell_gap,
            on_state=self._tell_state,
            on_failure=self._tell_failure,
        )
        listing = _Listing(seis, channel, Stream(seis.full_symbol, seis.interval, channel))
        seis.tvdatafeed = self._feed
        self._listings[seis] = listing
        try:
            self._streams.want(listing.stream)
        except BaseException:
            self._remove(listing)
            raise
        return listing

    def _is_settled(self, listing: _Listing, patience: Deadline, response_s: float) -> bool:
        """Wait until a Seis has started; False when it was deleted meanwhile."""
        stream = listing.stream
        if stream.has_lived:
            # What has failed is tried again.
            self._streams.again(stream)
        limit = Deadline(response_s)
        while not stream.settled.wait(limit.clip(patience.clip(WAIT_SLICE_S))):
            if limit.expired:
                raise self._too_late(listing.seis, response_s)
            if patience.expired:
                raise LockTimeoutError(patience.seconds or 0.0, f"{listing.seis!r}")
        if stream.error is not None and not stream.has_lived:
            raise own_copy(stream.error)
        return stream.is_wanted

    def _too_late(self, seis: Seis, response_s: float) -> WebSocketTimeoutError:
        last_error = self._last_error()
        detail = "" if last_error is None else f"the last fault was: {last_error}"
        return WebSocketTimeoutError(f"start of {seis!r}", response_s, detail=detail)

    def _give_back(self, listing: _Listing, *, for_all: bool) -> None:
        with self._lock:
            listing.claims -= 1
            is_listed = self._listings.get(listing.seis) is listing
            if is_listed and (for_all or not listing.claims):
                self._remove(listing)

    def del_seis(self, seis: Seis, timeout: float | None) -> None:
        """Take a Seis out.

        Parameters
        ----------
        seis
            The one, or one that is equal to it.
        timeout
            How long to wait for other threads, in seconds; None without end.

        Raises
        ------
        LockTimeoutError
            Another thread takes longer.
        ValueError
            It is not listed.
        """
        self.await_turn(timeout)
        with self._lock:
            self._remove(self._listing_of(seis))

    def _remove(self, listing: _Listing) -> None:
        """Take a Seis out; the registry is held, and whoever is interrupted may do it again."""
        self._streams.unwant(listing.stream)
        # They end when they have had what waits for them.
        for receiver in listing.channel.receivers():
            receiver.put(None)
        del listing.seis.tvdatafeed
        self._listings.pop(listing.seis, None)
        with self._changed:
            self._changed.notify_all()

    def _listing_of(self, seis: Seis) -> _Listing:
        listing = self._listings.get(seis) if isinstance(seis, Seis) else None
        if listing is None:
            raise ValueError("Seis is not listed")
        return listing

    def add_consumer(self, consumer: Consumer, timeout: float | None, *, replay: bool) -> None:
        """Start a consumer and let it be told.

        Parameters
        ----------
        consumer
            Its Seis is the one that it is for, or one that is equal to it.
        timeout
            How long to wait for other threads, in seconds; None without end.
        replay
            Whether it begins with the bar that closed last.

        Raises
        ------
        LockTimeoutError
            Another thread takes longer.
        ValueError
            The Seis is not listed.
        ThreadingError
            The system gives no thread; nothing has changed.
        """
        self.await_turn(timeout)
        with self._lock:
            listing = self._listing_of(consumer.seis)
            consumer.seis = seis = listing.seis
            with self._changed:
                self._consumers.add(consumer)
            try:
                self._keep_alive()
                consumer.begin(self._has_ended)
                listing.channel.attach(consumer, lambda: seis.add_consumer(consumer), replay=replay)
            except BaseException:
                # No thread; or Ctrl-C, and nobody will ever ask for it.
                consumer.stop()
                self._has_ended(consumer)
                raise

    def del_consumer(self, consumer: Consumer, timeout: float | None) -> None:
        """Tell a consumer no more, and end it when its callback returns.

        Parameters
        ----------
        consumer
            The consumer.
        timeout
            How long to wait for other threads, in seconds; None without end.

        Raises
        ------
        LockTimeoutError
            Another thread takes longer.
        """
        self.await_turn(timeout)
        with self._lock:
            _detach(consumer)
            consumer.stop()

    def _has_ended(self, consumer: Consumer) -> None:
        _detach(consumer)
        with self._changed:
            self._consumers.discard(consumer)
            self._changed.notify_all()

    def _keep_alive(self) -> None:
        """Let the program live while there are consumers, unless it shall not."""
        with self._changed:
            if self._keeper is not None or self._config.threading.daemon:
                return
            keeper = threading.Thread(target=self._keep, name="tvDatafeed-keeper", daemon=False)
            try:
                keeper.start()
            except RuntimeError as error:
                raise ThreadingError(f"no thread for the live feed: {error}") from error
            self._keeper = keeper

    def _keep(self) -> None:
        with self._changed:
            while self._consumers:
                self._changed.wait()
            self._keeper = None

    def post(self, function: Callable[..., object], *arguments: Any) -> None:
        """Have a function called in the thread of the hooks."""
        self._hooks.post(function, *arguments)

    def call_on_error(self, who: Any, error: BaseException) -> None:
        """Call the hook for errors; without one they shall not go unseen."""
        hook = self._hooked.on_error or show_unheard
        hook(who, error)

    def iterate(
        self, seises: tuple[Seis, ...], bars: WhichBars, max_queue: int, *, replay: bool
    ) -> "Generator[tuple[Seis, pd.DataFrame]]":
        """Give bars as they come; see `TvDatafeedLive.stream`."""
        self.check_process()
        with self._lock:
            listings = [self._listing_of(s) for s in seises] or list(self._listings.values())
            tap = _Tap(max_queue, len(listings), wants_all=bars == "all", post=self._tell_slow)
            for listing in listings:
                listing.channel.tap(tap, replay=replay)
        return tap.bars()

    def status(self) -> Statuses:
        """Say how each Seis is doing."""
        self.check_process()
        with self._lock:
            return Statuses(listing.channel.status() for listing in self._listings.values())

    def try_again(self) -> None:
        """Open anew what has failed."""
        self.check_process()
        with self._lock:
            for listing in self._listings.values():
                self._streams.again(listing.stream)

    def wait(self, timeout: float | None) -> bool:
        """Wait until nothing is listed; False when the time is over before, in seconds."""
        deadline = Deadline(timeout)
        with self._changed:
            while self._listings:
                if deadline.expired:
                    return False
                self._changed.wait(deadline.clip(WAIT_SLICE_S))
        return True

    def end(self, deadline: Deadline, *, drain: bool) -> bool:
        """Take all Seises out, and wait for all threads but this one.

        Returns
        -------
        bool
            False when one has not ended in time.
        """
        self.check_process()
        me = threading.current_thread()
        with self._changed:
            self._enders.append(me)
        try:
            with self._lock:
                for listing in list(self._listings.values()):
                    self._remove(listing)
            with self._changed:
                consumers = list(self._consumers)
            for consumer in consumers:
                if drain:
                    consumer.put(None)
                else:
                    consumer.stop()
            has_ended = self._streams.join(deadline.remaining())
            for consumer in consumers:
                if consumer.ident is not None and self._may_wait_for(consumer):
                    consumer.join(deadline.remaining())
            if self._may_wait_for(self._hooks.thread):
                has_ended = self._hooks.join(deadline.remaining()) and has_ended
            late = [c for c in consumers if c.is_alive() and self._may_wait_for(c)]
            for consumer in late:
                logger.warning("the callback of %s still runs, and was left alone", consumer.name)
            self._forsake(late)
        except BaseException:
            # Ctrl-C once more: whoever is in a hurry does not wait for them either.
            self._forsake(list(self._consumers))
            raise
        finally:
            with self._changed:
                self._enders.remove(me)
        return has_ended and not late

    def _forsake(self, consumers: list[Consumer]) -> None:
        """Let the program end although these have not."""
        for consumer in consumers:
            consumer.stop()
        with self._changed:
            self._consumers.difference_update(consumers)
            self._changed.notify_all()

    def _may_wait_for(self, thread: threading.Thread | None) -> bool:
        """Whether it does not wait for this one: two callbacks may end the feed together."""
        me = threading.current_thread()
        if thread is None or thread is me:
            return False
        is_awaited = isinstance(me, Consumer) or me is self._hooks.thread
        return not (is_awaited and thread in self._enders)

    def _tell_failure(self, seis: Seis, error: TvDatafeedError) -> None:
        logger.warning("%r: %s", seis, error)
        self._hooks.post(self.call_on_error, seis, error)

    def _tell_slow(self, seis: Seis, waiting: int) -> None:
        what = (
            f"the loop over stream() is slower than the bars come: {waiting} wait, and of those "
            "beyond the oldest go; make it quicker, or raise max_queue"
        )
        self._hooks.post(self._call_slow, SlowConsumerError(what, seis))

    def _call_slow(self, error: SlowConsumerError) -> None:
        logger.warning("%s", error)
        self.call_on_error(error.seis, error)

    def _tell_gap(self, seis: Seis, start_s: float, end_s: float) -> None:
        # Logged there, since here a connection is locked.
        self._hooks.post(self._call_on_gap, seis, _moment(start_s), _moment(end_s))

    def _call_on_gap(self, seis: Seis, start: dt.datetime, end: dt.datetime) -> None:
        logger.warning("%r: bars from %s to %s were missed and cannot be had", seis, start, end)
        if self._hooked.on_gap is not None:
            self._hooked.on_gap(seis, start, end)

    def _tell_state(self, seis: Seis, state: State) -> None:
        self._hooks.post(self._hooked.on_state, seis, state.value)

    def _tell_reconnect(self, start_s: float, end_s: float) -> None:
        self._hooks.post(self._hooked.on_reconnect, _moment(start_s), _moment(end_s))


class _Tap:
    """Takes the bars of some Seises for an iterator.

    The channels do not hold it: with the iterator it is gone.
    """

    def __init__(
        self,
        max_queue: int,
        sources: int,
        *,
        wants_all: bool,
        post: Callable[[Seis, int], object],
    ) -> None:
        limit = max_queue * max(sources, 1)
        self._mailbox = Mailbox(limit, slow_at=limit, on_drop=note_dropped)
        self._limit = limit
        self._wants_all = wants_all
        self._post = post
        self._sources = sources
        self._lock = threading.Lock()
        if not sources:
            self._mailbox.end()

    def bars(self) -> "Generator[tuple[Seis, pd.DataFrame]]":
        """Give the bars until the last of the Seises has ended."""
        while (item := self._mailbox.get()) is not END:
            yield item.seis, item.frame()

    def offer(self, item: LiveBar) -> None:
        """Take a bar, if it is one that is wanted."""
        if (item.is_closed or self._wants_all) and self._mailbox.put(item):
            self._post(item.seis, self._limit)

    def make_room(self, count: int) -> None:
        """Expect so many bars at once."""
        self._mailbox.make_room(count)

    def put(self, _end: None) -> None:
        """Take the end of one of the Seises; with the last one the iteration ends."""
        with self._lock:
            self._sources -= 1
            is_last = self._sources <= 0
        if is_last:
            self._mailbox.end()


def _detach(consumer: Consumer) -> None:
    with suppress(NameError):
        consumer.seis.pop_consumer(consumer)


def _moment(time_s: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(time_s, dt.timezone.utc)
