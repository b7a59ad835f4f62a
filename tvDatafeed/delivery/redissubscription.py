"""One series that a `RedisFeed` follows: what waits for its callback, and its thread."""

import datetime as dt
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from tvDatafeed.common.deadline import WAIT_SLICE_S
from tvDatafeed.common.facts import facts
from tvDatafeed.delivery.redisentries import START, Entry, EntryId, read_entry
from tvDatafeed.exceptions import DeliveryError

# pandas is imported with this module, not at the first bar: a thread cannot import it after the
# main thread has ended.
from tvDatafeed.frames.bars import LiveRows
from tvDatafeed.frames.repeats import RepeatedHours
from tvDatafeed.interval import CustomInterval, Interval

if TYPE_CHECKING:
    import pandas as pd

logger: logging.Logger = logging.getLogger(__name__)

# Entries of a series that are read at once.
READ_COUNT = 100
# Entries of a series that wait in memory: with more than this, the rest waits in Redis.
_CAPACITY = 500
# Entries that were acknowledged and may come again when a group is made again.
_REMEMBERED = 1000
# A callback that always raises is logged once in this time; the errors between are counted.
_LOG_PAUSE_S = 60.0


@dataclass(frozen=True)
class RedisSeis:
    """A set of symbol, exchange and interval, as the `Seis` of a live feed has them.

    Parameters
    ----------
    symbol, exchange : str
        As TradingView has them, such as "AAPL" and "NASDAQ".
    interval : Interval
        The length of a bar.
    """

    symbol: str
    exchange: str
    interval: Interval | CustomInterval

    def __str__(self) -> str:
        return f"{self.full_symbol}|{self.interval.value}"

    @property
    def full_symbol(self) -> str:
        """The symbol as `TvDatafeed.get_hist` takes it: "NASDAQ:AAPL"."""
        return f"{self.exchange}:{self.symbol}"


OnGap: TypeAlias = Callable[[RedisSeis, dt.datetime, dt.datetime], object]
OnBar: TypeAlias = "Callable[[RedisSeis, pd.DataFrame], object]"


class Gap(NamedTuple):
    """Bars that were trimmed before they were read; seconds since 1970."""

    start_s: float
    end_s: float


class Mailbox:
    """A queue between the reader and the thread that handles bars, which bounds each series."""

    def __init__(self) -> None:
        # The condition is for waiting alone: only a plain lock is given back whenever Ctrl-C comes.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._items: deque[tuple[Subscription, Entry | Gap]] = deque()
        self._is_aborted = False

    def put(self, subscription: "Subscription", item: Entry | Gap) -> None:
        """Add an item; ignored after `abort`."""
        with self._lock:
            if not self._is_aborted:
                self._items.append((subscription, item))
                subscription.queued += 1
                self._changed.notify()

    def take(self) -> "tuple[Subscription, Entry | Gap] | None":
        """Wait for the oldest item and return it; None after `abort`."""
        with self._lock:
            while not self._items:
                if self._is_aborted:
                    return None
                self._changed.wait(WAIT_SLICE_S)
            subscription, item = self._items.popleft()
            subscription.queued -= 1
        subscription.notify_room()
        return subscription, item

    def abort(self) -> None:
        """Accept nothing more, and drop what waits."""
        with self._lock:
            self._is_aborted = True
            for subscription, _item in self._items:
                subscription.queued -= 1
            self._items.clear()
            self._changed.notify_all()


class Subscription:
    """A series that is followed.

    Parameters
    ----------
    seis
        The series.
    key
        The key of its stream.
    start
        After which entry reading begins; None for the newest entry of now, or with a group for
        where that left off.
    in_group
        Whether entries are acknowledged.
    callback
        Called with each bar; None for bars that a program iterates over.
    mailbox
        Where its bars wait.
    zone_name
        The zone of the index; None for local time.
    repeated_hours
        Warns where local time shows an hour twice.
    on_gap
        Called with each gap.
    wake
        Has the reader look whether there is room.

    Attributes
    ----------
    queued : int
        How many items wait; written under the lock of the mailbox.
    last : EntryId or None
        The entry that was handled last; written by the thread that handles bars, as are `handled`
        (EntryIds to be acknowledged), `delivered` and `gaps`.
    position : EntryId or None
        The entry that was read last; written by the reader's thread, as are those that follow.
    is_ready, is_broken, has_warned : bool
        Whether the stream (and the group) is there; whether another program uses its key; whether
        that was logged.
    cursor : EntryId or None
        How far the own entries of before, which were not acknowledged, are read; None: to the end.
    needs_check : bool
        Whether entries may have been trimmed before the group has read them.
    in_hand : set of EntryId
        What is not acknowledged yet.
    group_from : EntryId or None
        Where a group begins that has to be made again: all before it is acknowledged, by this
        reader or another one.
    again_until : EntryId
        Up to where a group that was made again brings bars that this reader has acknowledged.
    """

    def __init__(
        self,
        seis: RedisSeis,
        key: str,
        start: EntryId | None,
        *,
        in_group: bool,
        callback: "OnBar | None",
        mailbox: Mailbox,
        zone_name: str | dt.tzinfo | None,
        repeated_hours: RepeatedHours,
        on_gap: Callable[[RedisSeis, Gap], None],
        wake: Callable[[], object],
    ) -> None:
        self.seis = seis
        self.key = key
        self.start = start
        self.callback = callback
        self.mailbox = mailbox
        self._in_group = in_group
        self._zone_name = zone_name
        self._on_gap = on_gap
        self._wake = wake
        self._repeated_hours = repeated_hours
        self._quiet_until, self._unlogged = 0.0, 0
        self.queued: int = 0
        self.last: EntryId | None = None
        self.delivered: int = 0
        self.gaps: int = 0
        self.handled: deque[EntryId] = deque()
        self.position: EntryId | None = start
        self.is_ready: bool = False
        self.is_broken: bool = False
        self.is_ended: bool = False
        self.has_warned: bool = False
        self.cursor: EntryId | None = None
        self.needs_check: bool = False
        self.in_hand: set[EntryId] = set()
        self.group_from: EntryId | None = None
        self.again_until: EntryId = START
        # In the order in which they were acknowledged.
        self._acknowledged: dict[EntryId, None] = {}

    @property
    def has_room(self) -> bool:
        """Whether its entries may be read now."""
        is_open = not self.is_broken and not self.is_ended
        return is_open and self.queued <= _CAPACITY - READ_COUNT

    def notify_room(self) -> None:
        """Wake the reader when there is room again."""
        if self.queued == _CAPACITY - READ_COUNT:
            self._wake()

    def accept(self, entry_id: EntryId, fields: Sequence[bytes] | None) -> None:
        """Put an entry that was read into the mailbox; called by the reader alone."""
        if self._in_group:
            if entry_id in self.in_hand:
                return
            self.in_hand.add(entry_id)
            if entry_id <= self.again_until and entry_id in self._acknowledged:
                self.handled.append(entry_id)
                return
        if fields is None:
            # Trimmed before it was acknowledged.
            self.note_gap(Gap(entry_id.time_s, entry_id.time_s))
            self.handled.append(entry_id)
            return
        try:
            entry = read_entry(entry_id, fields)
        except DeliveryError as error:
            if not self.has_warned:
                logger.warning(
                    "%s: %s; others like it are not reported",
                    self.seis,
                    error,
                    extra=facts(self.seis, error=error),
                )
            self.has_warned = True
            self.handled.append(entry_id)
            return
        if not self._in_group:
            self._check(entry)
            self.position = entry_id
        self.mailbox.put(self, entry)

    def _check(self, entry: Entry) -> None:
        """Report a gap where the entry before this one was never read."""
        position, previous = self.position, entry.previous
        if position is not None and previous is not None and START < position < previous:
            self.note_gap(Gap(position.after_s, entry.id.time_s))

    def note_acknowledged(self, ids: Sequence[EntryId]) -> None:
        """Note that the server knows of bars that were handled; called by the reader alone."""
        self.in_hand.difference_update(ids)
        self._acknowledged.update(dict.fromkeys(ids))
        while len(self._acknowledged) > _REMEMBERED:
            del self._acknowledged[next(iter(self._acknowledged))]

    def note_new_group(self) -> None:
        """Note that the group was made again, and brings bars once more."""
        self.again_until = max(self._acknowledged, default=START)

    def note_gap(self, gap: Gap) -> None:
        """Put a gap into the mailbox, before the bars that follow it."""
        self.mailbox.put(self, gap)

    def run(self) -> None:
        """Call the callback with each bar, until the mailbox is aborted."""
        rows = self.rows()
        try:
            while (found := self.mailbox.take()) is not None:
                _subscription, item = found
                if isinstance(item, Gap):
                    self.report(item)
                else:
                    self._call(item, rows)
                    self.finish(item)
        except BaseException as error:  # noqa: BLE001 - sys.exit() in a callback ends this thread
            logger.error(  # noqa: TRY400 - the traceback is that of an exit
                "the subscription of %s has ended: its callback raised %s",
                self.seis,
                type(error).__name__,
                extra=facts(self.seis, error_type=type(error).__name__),
            )
            self.is_ended = True
            self.mailbox.abort()

    def _call(self, entry: Entry, rows: LiveRows) -> None:
        callback = self.callback
        assert callback is not None  # noqa: S101 - those without one have no thread
        try:
            callback(self.seis, self.frame(entry, rows))
        except Exception as error:  # noqa: BLE001 - whatever a program does here
            self._log(error)

    def _log(self, error: Exception) -> None:
        now = time.monotonic()
        if now < self._quiet_until:
            self._unlogged += 1
            return
        more = f" ({self._unlogged} more since then were not logged)" if self._unlogged else ""
        self._quiet_until, self._unlogged = now + _LOG_PAUSE_S, 0
        logger.error(
            "the callback of %s raised an exception%s",
            self.seis,
            more,
            exc_info=error,
            extra=facts(self.seis),
        )

    def rows(self) -> LiveRows:
        """Return what builds frames, for one thread."""
        return LiveRows(self.seis.full_symbol, self._repeated_hours)

    def frame(self, entry: Entry, rows: LiveRows) -> "pd.DataFrame":
        """Return the frame of a bar, as a live feed delivers it."""
        return rows.frame(
            entry.bar,
            is_closed=True,
            zone_name=self._zone_name,
            delay_s=entry.delay_s,
            # The publisher has filled it, or has chosen not to.
            fill_missing_volume="nan",
            last_volume=math.nan,
        )

    def finish(self, entry: Entry) -> None:
        """Record that a bar was handled; in a group, it is acknowledged next."""
        self.last = entry.id
        self.delivered += 1
        self.handled.append(entry.id)
        if not self._in_group:
            self.handled.clear()

    def report(self, gap: Gap) -> None:
        """Report a gap, in the thread that handles bars."""
        self.gaps += 1
        self._on_gap(self.seis, gap)


def moment(time_s: float) -> dt.datetime:
    """Return a moment, seconds since 1970, in UTC."""
    return dt.datetime.fromtimestamp(time_s, dt.timezone.utc)
