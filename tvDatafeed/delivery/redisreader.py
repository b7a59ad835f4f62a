"""The reader of a `RedisFeed`: one thread with one connection, which reads all its streams.

A series whose bars wait in memory already is left out of the next read: the rest waits in Redis,
and a slow callback delays no other.

With a group, each step acknowledges what was handled, then reads: first the own entries of before
that were never acknowledged, then what dead readers have left, then what is new. An entry that is
in hand is not handed out a second time, whichever way it comes.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from tvDatafeed.common.backoff import backoff_s
from tvDatafeed.common.facts import facts
from tvDatafeed.common.fork import call_in_forked_child
from tvDatafeed.delivery.redisentries import START, EntryId, parse_id, read_entry
from tvDatafeed.delivery.redisserver import Command, RedisConnection, RedisServer, RefusedError
from tvDatafeed.delivery.redissubscription import READ_COUNT, Gap, Subscription
from tvDatafeed.exceptions import DeliveryError

logger: logging.Logger = logging.getLogger(__name__)

# How long one read waits in the server. What comes ends it at once; this bounds how late a change
# here is noticed where the server does not allow CLIENT UNBLOCK.
_BLOCK_MS = 500
# The same while bars are in hand: how late they are acknowledged, or their series read again.
_BUSY_BLOCK_MS = 20
# While no series has room.
_LOOK_S = 0.5
_RETRY_BASE_S, _RETRY_MAX_S = 0.25, 15.0
# Entries that are kept alive, and claimed, three times before another reader would claim them.
_CLAIMS_PER_TIME = 3
_MILLISECONDS = 1000
# Commands that are sent at once.
_PIPELINE = 200
# Answers that mean: the group, or the stream, is gone.
_GONE = ("NOGROUP", "UNBLOCKED", "WRONGTYPE")


class RedisReader:
    """Reads the streams of subscriptions.

    Parameters
    ----------
    server
        The server.
    group, name
        The consumer group, and the name of this reader in it; None for no group.
    is_own_name
        Whether the name was made for this reader alone, and is removed with it.
    claim_after_s
        After which time entries of a silent reader are taken over.
    """

    def __init__(
        self,
        server: RedisServer,
        *,
        group: str | None,
        name: str,
        is_own_name: bool,
        claim_after_s: float,
    ) -> None:
        self._server = server
        self._group = group
        self._name = name
        self._is_own_name = is_own_name
        self._claim_after_s = claim_after_s
        self._prepare()
        call_in_forked_child(self._prepare)

    def _prepare(self) -> None:
        # Guards the list of subscriptions, and the thread.
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self.subscriptions: tuple[Subscription, ...] = ()
        self._awake = threading.Event()
        self._is_finishing = self._is_stopping = False
        # Written by the thread alone.
        self.error: str | None = None
        self.is_connected: bool = False
        self._connection: RedisConnection | None = None
        self._client_id: int | None = None
        self._claim_at_s = 0.0

    def add(self, subscription: Subscription) -> None:
        """Read a stream from now on."""
        with self._lock:
            self.subscriptions = (*self.subscriptions, subscription)
            thread = None
            if self._thread is None:
                name = "tvDatafeed-redis-reader"
                thread = threading.Thread(target=self._run, name=name, daemon=True)
                self._thread = thread
        if thread is not None:
            try:
                thread.start()
            except BaseException:
                with self._lock:
                    self._thread = None
                raise

    def wake(self) -> None:
        """Wake the thread, unless it waits in the server."""
        self._awake.set()

    def unblock(self, connection: RedisConnection) -> None:
        """End the present wait in the server, by means of another connection."""
        self.wake()
        if self._client_id is not None:
            with contextlib.suppress(RefusedError):
                connection.execute("CLIENT", "UNBLOCK", self._client_id)

    def finish(self) -> None:
        """Stop reading; handled entries are still acknowledged."""
        self._is_finishing = True
        self.wake()

    def stop(self) -> None:
        """Acknowledge what was handled, then end."""
        self._is_stopping = True
        self.wake()
        if self.is_connected and self._thread is not threading.current_thread():
            with contextlib.suppress(DeliveryError):
                connection = self._server.connect()
                try:
                    self.unblock(connection)
                finally:
                    connection.close()

    def join(self, timeout_s: float | None) -> bool:
        """Wait for the end of the thread; return whether it has ended."""
        thread = self._thread
        if thread is None or thread is threading.current_thread():
            return True
        thread.join(timeout_s)
        return not thread.is_alive()

    def make_ready(self, connection: RedisConnection, subscription: Subscription) -> None:
        """Find where a subscription begins, so that nothing is missed that comes from now on."""
        self._make_ready(connection, [subscription])

    def _run(self) -> None:
        failures = 0
        while not self._is_stopping:
            try:
                if self._connection is None:
                    self._connect()
                self._step()
                self._note_success()
                failures = 0
            except Exception as error:  # noqa: BLE001 - it is logged there
                failures += 1
                self._disconnect()
                self._note_failure(error)
                self._pause(backoff_s(failures, _RETRY_BASE_S, _RETRY_MAX_S))
        self._end()

    def _pause(self, seconds: float) -> None:
        until_s = time.monotonic() + seconds
        while not self._is_stopping and (left_s := until_s - time.monotonic()) > 0:
            self._awake.wait(left_s)
            self._awake.clear()

    def _connect(self) -> None:
        self._connection = connection = self._server.connect()
        for subscription in self.subscriptions:
            subscription.is_ready = subscription.is_broken = False
        with contextlib.suppress(RefusedError):
            self._client_id = int(connection.execute("CLIENT", "ID"))

    def _disconnect(self) -> None:
        connection, self._connection, self._client_id = self._connection, None, None
        if connection is not None:
            connection.close()

    def _end(self) -> None:
        """Acknowledge what was handled at last, and leave no trace of this reader."""
        try:
            if self._connection is not None:
                self._acknowledge(self._connection)
                if self._group is not None and self._is_own_name:
                    self._leave(self._connection)
        except DeliveryError as error:
            logger.debug("the last bars are not acknowledged: %s", error, extra=facts(error=error))
        finally:
            self._disconnect()
            self.is_connected = False

    def _step(self) -> None:
        connection = self._connection
        assert connection is not None  # noqa: S101 - as connected
        subscriptions = self.subscriptions
        self._acknowledge(connection)
        new = [s for s in subscriptions if not s.is_ready and not s.is_broken]
        if new:
            self._make_ready(connection, new)
        self.is_connected = True
        readable = [] if self._is_finishing else [s for s in subscriptions if s.has_room]
        if not readable:
            # Acknowledgements are not late either.
            is_busy = self._is_finishing or any(s.in_hand for s in subscriptions)
            self._awake.wait(_BUSY_BLOCK_MS / _MILLISECONDS if is_busy else _LOOK_S)
            self._awake.clear()
            return
        if self._group is None:
            self._read(connection, readable, len(readable) < len(subscriptions))
        else:
            self._read_group(connection, readable, len(readable) < len(subscriptions))

    def _make_ready(self, connection: RedisConnection, new: Sequence[Subscription]) -> None:
        commands = [("XREVRANGE", s.key, "+", "-", "COUNT", 1) for s in new]
        for subscription, answer in zip(new, _all(connection, commands), strict=True):
            if isinstance(answer, RefusedError):
                if "WRONGTYPE" not in answer.reason:
                    raise answer
                if not subscription.has_warned:
                    extra = facts(subscription, error=answer)
                    logger.warning("%s is not read: %s", subscription.seis, answer, extra=extra)
                subscription.is_broken = subscription.has_warned = True
                continue
            newest = parse_id(answer[0][0]) if answer else START
            if subscription.position is None:
                subscription.position = newest
            if self._group is None:
                subscription.is_ready = True
        if self._group is not None:
            self._make_groups(connection, [s for s in new if not s.is_broken])

    def _make_groups(self, connection: RedisConnection, new: Sequence[Subscription]) -> None:
        commands: list[Command] = []
        for subscription in new:
            begin = subscription.group_from or subscription.position
            # Without MKSTREAM the first bar of a series would be missed.
            commands.append(
                ("XGROUP", "CREATE", subscription.key, self._group or "", str(begin), "MKSTREAM")
            )
        present: list[Subscription] = []
        for subscription, answer in zip(new, _all(connection, commands), strict=True):
            if isinstance(answer, RefusedError):
                if "BUSYGROUP" not in answer.reason:
                    raise answer
                present.append(subscription)
            elif subscription.group_from is None:
                subscription.group_from = subscription.position
            else:
                subscription.note_new_group()
        self._learn_floors(connection, present)
        for subscription in new:
            subscription.cursor = START
            subscription.needs_check = True
            subscription.is_ready = True

    def _learn_floors(
        self, connection: RedisConnection, subscriptions: Sequence[Subscription]
    ) -> None:
        """Learn up to where all readers together have acknowledged everything.

        What is not acknowledged was either delivered after this, or is among what is pending.
        """
        group = self._group or ""
        known = self._each(connection, subscriptions, lambda s: ("XINFO", "GROUPS", s.key))
        delivered = {s.key: self._last_delivered(answer) for s, answer in known}
        rest = [s for s, _answer in known]
        pending = self._each(connection, rest, lambda s: ("XPENDING", s.key, group))
        for subscription, (count, first, *_rest) in pending:
            floor = delivered[subscription.key]
            if count:
                floor = min(floor, parse_id(first).before)
            subscription.group_from = max(floor, subscription.group_from or START)

    def _last_delivered(self, groups: Sequence[Sequence[Any]]) -> EntryId:
        group = (self._group or "").encode()
        for pairs in groups:
            found = dict(zip(pairs[::2], pairs[1::2], strict=False))
            if found.get(b"name") == group:
                return parse_id(found[b"last-delivered-id"])
        return START

    def _read(
        self, connection: RedisConnection, readable: Sequence[Subscription], some_wait: bool
    ) -> None:
        block_ms = _BUSY_BLOCK_MS if some_wait else _BLOCK_MS
        by_key = {s.key.encode(): s for s in readable}
        answer = self._answer_of(
            connection,
            readable,
            "XREAD",
            *("COUNT", READ_COUNT, "BLOCK", block_ms, "STREAMS"),
            *(s.key for s in readable),
            *(str(s.position) for s in readable),
        )
        for key, entries in answer:
            for entry_id, fields in entries:
                by_key[key].accept(parse_id(entry_id), fields)

    def _read_group(
        self, connection: RedisConnection, readable: Sequence[Subscription], some_wait: bool
    ) -> None:
        assert self._group is not None  # noqa: S101 - as called
        if time.monotonic() >= self._claim_at_s:
            self._claim(connection, [s for s in readable if s.is_ready])
            self._claim_at_s = time.monotonic() + self._claim_after_s / _CLAIMS_PER_TIME
        old = [s for s in readable if s.cursor is not None]
        for subscription, answer in self._each(
            connection, old, lambda s: self._xreadgroup(s, str(s.cursor))
        ):
            entries = answer[0][1] if answer else []
            for entry_id, fields in entries:
                subscription.cursor = parse_id(entry_id)
                subscription.accept(subscription.cursor, fields)
            if len(entries) < READ_COUNT:
                subscription.cursor = None
        unchecked = [s for s in readable if s.cursor is None and s.needs_check and s.has_room]
        self._read_checked(connection, unchecked)
        quiet = [s for s in readable if s.cursor is None and not s.needs_check and s.is_ready]
        if not quiet or len(quiet) < len(readable):
            return
        is_busy = some_wait or any(s.in_hand for s in self.subscriptions)
        by_key = {s.key.encode(): s for s in quiet}
        answer = self._answer_of(
            connection,
            quiet,
            *("XREADGROUP", "GROUP", self._group, self._name, "COUNT", READ_COUNT),
            *("BLOCK", self._block_ms(is_busy), "STREAMS"),
            *(s.key for s in quiet),
            *(">" for _subscription in quiet),
        )
        for key, entries in answer:
            subscription = by_key[key]
            for entry_id, fields in entries:
                subscription.accept(parse_id(entry_id), fields)
            subscription.needs_check = len(entries) >= READ_COUNT
        for subscription in self.subscriptions:
            # By the time that it is read again, entries may have been trimmed.
            subscription.needs_check = subscription.needs_check or not subscription.has_room

    def _block_ms(self, is_busy: bool) -> int:
        left_ms = int((self._claim_at_s - time.monotonic()) * _MILLISECONDS)
        # 0 would be without end.
        return max(min(_BUSY_BLOCK_MS if is_busy else _BLOCK_MS, left_ms), 1)

    def _xreadgroup(self, subscription: Subscription, after: str) -> Command:
        group = self._group or ""
        head = ("XREADGROUP", "GROUP", group, self._name, "COUNT", READ_COUNT)
        return (*head, "STREAMS", subscription.key, after)

    def _read_checked(self, connection: RedisConnection, unchecked: list[Subscription]) -> None:
        """Read new entries, and in the same moment whether older ones were trimmed before.

        Of all readers of the group one finds the gap: the next one finds the group behind it.
        """
        steps = 5
        commands: list[Command] = []
        for subscription in unchecked:
            commands += (
                ("MULTI",),
                ("XINFO", "GROUPS", subscription.key),
                ("XRANGE", subscription.key, "-", "+", "COUNT", 1),
                self._xreadgroup(subscription, ">"),
                ("EXEC",),
            )
        answers = _all(connection, commands)[steps - 1 :: steps]
        for subscription, answer in zip(unchecked, answers, strict=True):
            if isinstance(answer, RefusedError):
                self._forget([subscription], answer)
                continue
            groups, first, read = answer
            position = self._last_delivered(groups)
            if first and position > START:
                _check(subscription, position, *first[0])
            entries = read[0][1] if read else []
            for entry_id, fields in entries:
                subscription.accept(parse_id(entry_id), fields)
            subscription.needs_check = len(entries) >= READ_COUNT

    def _claim(self, connection: RedisConnection, ready: Sequence[Subscription]) -> None:
        """Keep entries in work from other readers, and claim the entries of dead readers."""
        group, idle_ms = self._group or "", max(int(self._claim_after_s * _MILLISECONDS), 1)
        commands: list[Command] = [
            (*("XCLAIM", s.key, group, self._name, 0), *map(str, sorted(s.in_hand)), "JUSTID")
            for s in self.subscriptions
            if s.in_hand and s.is_ready
        ]
        for answer in _all(connection, commands):
            if isinstance(answer, RefusedError) and not answer.reason.startswith(_GONE):
                raise answer
        self._learn_floors(connection, [s for s in self.subscriptions if s.is_ready])
        for subscription, answer in self._each(
            connection,
            ready,
            lambda s: ("XAUTOCLAIM", s.key, group, self._name, idle_ms, "0-0", "COUNT", READ_COUNT),
        ):
            # What was trimmed meanwhile is listed apart since Redis 7, and nil before.
            _next, entries, *deleted = answer
            for entry in entries:
                if entry is not None:
                    subscription.accept(parse_id(entry[0]), entry[1])
            for entry_id in deleted[0] if deleted else ():
                time_s = parse_id(entry_id).time_s
                subscription.note_gap(Gap(time_s, time_s))

    def _acknowledge(self, connection: RedisConnection) -> None:
        if self._group is None:
            return
        for subscription in self.subscriptions:
            handled = subscription.handled
            count = len(handled)
            if not count:
                continue
            ids = [handled[number] for number in range(count)]
            connection.execute("XACK", subscription.key, self._group, *map(str, ids))
            for _id in ids:
                handled.popleft()
            subscription.note_acknowledged(ids)

    def _leave(self, connection: RedisConnection) -> None:
        """Remove this reader from the group where nothing is left to be claimed from it."""
        ready = [s for s in self.subscriptions if s.is_ready]
        group, name = self._group or "", self._name.encode()
        for subscription, answer in self._each(
            connection, ready, lambda s: ("XINFO", "CONSUMERS", s.key, group)
        ):
            for pairs in answer:
                found = dict(zip(pairs[::2], pairs[1::2], strict=False))
                if found.get(b"name") == name and not found.get(b"pending"):
                    connection.execute("XGROUP", "DELCONSUMER", subscription.key, group, self._name)

    def _each(
        self,
        connection: RedisConnection,
        subscriptions: Sequence[Subscription],
        command: Callable[[Subscription], Command],
    ) -> list[tuple[Subscription, Any]]:
        """Send a command for each subscription; those whose group is gone are left out."""
        answers = _all(connection, [command(s) for s in subscriptions])
        found = []
        for subscription, answer in zip(subscriptions, answers, strict=True):
            if isinstance(answer, RefusedError):
                self._forget([subscription], answer)
            else:
                found.append((subscription, answer))
        return found

    def _answer_of(
        self, connection: RedisConnection, of: Sequence[Subscription], *command: Any
    ) -> Any:
        try:
            return connection.execute(*command) or []
        except RefusedError as error:
            self._forget(of, error)
            return []

    @staticmethod
    def _forget(subscriptions: Sequence[Subscription], refusal: RefusedError) -> None:
        """Look for the stream and the group again where they are gone; else raise the refusal."""
        if not any(word in refusal.reason for word in _GONE):
            raise refusal
        for subscription in subscriptions:
            subscription.is_ready = False

    def _note_failure(self, error: Exception) -> None:
        is_first, self.error, self.is_connected = self.error is None, str(error), False
        extra = facts(error=error, url=self._server.shown)
        if not isinstance(error, DeliveryError):
            logger.error("the reader of %s failed", extra["url"], exc_info=error, extra=extra)
        elif is_first:
            logger.warning("bars cannot be read for now: %s", error, extra=extra)

    def _note_success(self) -> None:
        was_failing, self.error = self.error is not None, None
        if was_failing:
            shown = self._server.shown
            logger.info("bars are read from %s again", shown, extra=facts(url=shown))


def _all(connection: RedisConnection, commands: Sequence[Command]) -> list[Any]:
    answers: list[Any] = []
    for first in range(0, len(commands), _PIPELINE):
        answers += connection.execute_all(commands[first : first + _PIPELINE])
    return answers


def _check(
    subscription: Subscription, position: EntryId, entry_id: bytes, fields: Sequence[bytes]
) -> None:
    """Report a gap where the first entry of a stream follows one that the group never read."""
    first = parse_id(entry_id)
    if first <= position:
        return
    with contextlib.suppress(DeliveryError):
        previous = read_entry(first, fields).previous
        if previous is not None and previous > position:
            subscription.note_gap(Gap(position.after_s, first.time_s))
