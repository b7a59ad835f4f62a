"""The registry of a live feed: which Seises are listed, who consumes them, and how it all ends.

One lock guards what is listed. It is held for a change of that alone: never over a callback, the
network or a wait. Below it come the lock of a channel, and that of a mailbox.
"""

import datetime as dt
import logging
import os
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from tvDatafeed.channel import Channel, SeisStatus
from tvDatafeed.config import TvDatafeedConfig
from tvDatafeed.consumer import Consumer, OnError, WhichBars
from tvDatafeed.exceptions import (
    LockTimeoutError,
    ThreadingError,
    TvDatafeedError,
    WebSocketTimeoutError,
)
from tvDatafeed.hooks import Hooks
from tvDatafeed.liveframes import LiveBar, Look
from tvDatafeed.mailbox import END, Mailbox
from tvDatafeed.seis import Feed, Seis, State
from tvDatafeed.stream import Stream
from tvDatafeed.streams import Streams
from tvDatafeed.utils import WAIT_SLICE_S, Deadline, own_copy

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)


class Hooked(Protocol):
    """What a program wants to be told of; see `TvDatafeedLive`."""

    on_error: OnError | None
    on_gap: Callable[[Seis, dt.datetime, dt.datetime], object] | None
    on_reconnect: Callable[[dt.datetime, dt.datetime], object] | None
    on_state: Callable[[Seis, str], object] | None


@dataclass(frozen=True, eq=False)
class _Listing:
    """A Seis that is listed."""

    seis: Seis
    channel: Channel
    stream: Stream


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
    """

    def __init__(
        self,
        feed: Feed,
        hooked: Hooked,
        config: TvDatafeedConfig,
        streams: Callable[[Hooks, Callable[[float, float], object]], Streams],
        last_error: Callable[[], TvDatafeedError | None],
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
        self._process = os.getpid()

    @contextmanager
    def locked(self, timeout: float | None) -> Iterator[None]:
        """Hold the registry.

        Parameters
        ----------
        timeout
            How long to wait for it, in seconds; None without end.

        Raises
        ------
        LockTimeoutError
            Another thread holds it for longer.
        ThreadingError
            This is another process than the one which made the feed.
        """
        self.check_process()
        until = Deadline(timeout)
        while not self._lock.acquire(timeout=_lock_timeout(until)):
            if until.expired:
                raise LockTimeoutError(timeout or 0.0, "the live feed")
        try:
            yield
        finally:
            self._lock.release()

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
            with self.locked(until.remaining()):
                listing, is_ours = self._listings.get(wanted), False
                if listing is None:
                    listing, is_ours = self._list(wanted), True
            # Another thread is waited for as long as the caller likes.
            if self._is_settled(listing, Deadline(None) if is_ours else until, response_s):
                return listing.seis

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
        self._streams.want(listing.stream)
        seis.tvdatafeed = self._feed
        self._listings[seis] = listing
        return listing

    def _is_settled(self, listing: _Listing, patience: Deadline, response_s: float) -> bool:
        """Wait until a Seis has started; False when it was deleted meanwhile."""
        stream = listing.stream
        if stream.has_lived:
            # What has failed is tried again.
            self._streams.again(stream)
        limit = Deadline(response_s)
        try:
            while not stream.settled.wait(limit.clip(patience.clip(WAIT_SLICE_S))):
                if limit.expired or patience.expired:
                    break
        except BaseException:
            # Ctrl-C: nobody will ever ask for it.
            self._unlist(listing)
            raise
        error = stream.error
        if not stream.settled.is_set():
            if patience.expired and not limit.expired:
                raise LockTimeoutError(patience.seconds or 0.0, f"{listing.seis!r}")
            error = self._too_late(listing.seis, response_s)
        if error is not None and not stream.has_lived:
            self._unlist(listing)
            raise own_copy(error)
        return stream.is_wanted

    def _too_late(self, seis: Seis, response_s: float) -> WebSocketTimeoutError:
        last_error = self._last_error()
        detail = "" if last_error is None else f"the last fault was: {last_error}"
        return WebSocketTimeoutError(f"start of {seis!r}", response_s, detail=detail)

    def _unlist(self, listing: _Listing) -> None:
        with self.locked(None):
            if self._listings.get(listing.seis) is listing:
                self._remove(listing)

    def del_seis(self, seis: Seis) -> None:
        """Take a Seis out; the registry is held.

        Raises
        ------
        ValueError
            It is not listed.
        """
        self._remove(self._listing_of(seis))

    def _remove(self, listing: _Listing) -> None:
        del self._listings[listing.seis]
        del listing.seis.tvdatafeed
        self._streams.unwant(listing.stream)
        # They end when they have had what waits for them.
        for receiver in listing.channel.receivers():
            receiver.put(None)
        with self._changed:
            self._changed.notify_all()

    def _listing_of(self, seis: Seis) -> _Listing:
        listing = self._listings.get(seis) if isinstance(seis, Seis) else None
        if listing is None:
            raise ValueError("Seis is not listed")
        return listing

    def add_consumer(self, seis: Seis, consumer: Consumer, *, replay: bool) -> None:
        """Start a consumer and let it be told; the registry is held.

        Raises
        ------
        ValueError
            The Seis is not listed.
        ThreadingError
            The system gives no thread; nothing has changed.
        """
        listing = self._listing_of(seis)
        consumer.seis = listing.seis
        with self._changed:
            self._consumers.add(consumer)
        try:
            self._keep_alive()
            consumer.begin(self._has_ended)
        except ThreadingError:
            self._has_ended(consumer)
            raise
        listing.channel.attach(consumer, lambda: listing.seis.add_consumer(consumer), replay=replay)

    def del_consumer(self, consumer: Consumer) -> None:
        """Tell a consumer no more, and end it when its callback returns."""
        self._detach(consumer)
        consumer.stop()

    def _detach(self, consumer: Consumer) -> None:
        try:
            consumer.seis.pop_consumer(consumer)
        except NameError:
            return
        listing = self._listings.get(consumer.seis)
        if listing is not None and listing.seis is consumer.seis:
            listing.channel.note_dropped(consumer.dropped)

    def _has_ended(self, consumer: Consumer) -> None:
        self._detach(consumer)
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
        """Call the hook for errors, if there is one."""
        if self._hooked.on_error is not None:
            self._hooked.on_error(who, error)

    def iterate(
        self, seises: tuple[Seis, ...], bars: WhichBars, max_queue: int, *, replay: bool
    ) -> "Generator[tuple[Seis, pd.DataFrame]]":
        """Give bars as they come; see `TvDatafeedLive.stream`."""
        with self.locked(None):
            listings = [self._listing_of(s) for s in seises] or list(self._listings.values())
            limit = max_queue * max(len(listings), 1)
            tap = _Tap(Mailbox(limit, limit), wants_all=bars == "all", sources=len(listings))
            for listing in listings:
                listing.channel.tap(tap, replay=replay)
        return self._bars_of(tap, listings)

    @staticmethod
    def _bars_of(tap: "_Tap", listings: list[_Listing]) -> "Generator[tuple[Seis, pd.DataFrame]]":
        try:
            while (item := tap.mailbox.get()) is not END:
                yield item.seis, item.frame()
        finally:
            for listing in listings:
                listing.channel.untap(tap)

    def status(self) -> list[SeisStatus]:
        """Say how each Seis is doing."""
        with self.locked(None):
            return [listing.channel.status() for listing in self._listings.values()]

    def try_again(self) -> None:
        """Open anew what has failed."""
        with self.locked(None):
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
        with self.locked(None):
            for listing in list(self._listings.values()):
                self._remove(listing)
        with self._changed:
            consumers = list(self._consumers)
        if not drain:
            for consumer in consumers:
                consumer.stop()
        has_ended = self._streams.join(deadline.remaining())
        me = threading.current_thread()
        for consumer in consumers:
            if consumer is not me and consumer.ident is not None:
                consumer.join(deadline.remaining())
        has_ended = self._hooks.join(deadline.remaining()) and has_ended
        late = [c for c in consumers if c.is_alive() and c is not me]
        for consumer in late:
            consumer.stop()
            logger.warning("the callback of %s still runs, and was left alone", consumer.name)
        with self._changed:
            # The program may end although they have not.
            self._consumers.difference_update(late)
            self._changed.notify_all()
        return has_ended and not late

    def _tell_failure(self, seis: Seis, error: TvDatafeedError) -> None:
        logger.warning("%r: %s", seis, error)
        self._hooks.post(self._hooked.on_error, seis, error)

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
    """Takes the bars of some Seises for an iterator."""

    def __init__(self, mailbox: Mailbox, *, wants_all: bool, sources: int) -> None:
        self.mailbox = mailbox
        self._wants_all = wants_all
        self._sources = sources
        self._lock = threading.Lock()
        if not sources:
            mailbox.end()

    def offer(self, item: LiveBar) -> None:
        """Take a bar, if it is one that is wanted."""
        if item.is_closed or self._wants_all:
            self.mailbox.put(item)

    def put(self, _end: None) -> None:
        """Take the end of one of the Seises; with the last one the iteration ends."""
        with self._lock:
            self._sources -= 1
            is_last = self._sources <= 0
        if is_last:
            self.mailbox.end()


def _lock_timeout(until: Deadline) -> float:
    seconds = until.clip(WAIT_SLICE_S)
    return -1 if seconds is None else seconds


def _moment(time_s: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(time_s, dt.timezone.utc)
