"""RedisPublisher: a callback that publishes closed bars, for any number of readers."""

import logging
import threading
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tvDatafeed.common.backoff import backoff_s
from tvDatafeed.common.deadline import WAIT_SLICE_S, Deadline
from tvDatafeed.common.facts import facts
from tvDatafeed.common.fork import call_in_forked_child
from tvDatafeed.common.numbers import whole_number
from tvDatafeed.config import RedisConfig, validate_timeout
from tvDatafeed.delivery.bars import Series, closed_bars, series_key
from tvDatafeed.delivery.messages import check_name, rfc3339
from tvDatafeed.delivery.redisentries import EntryId, parse_id, stream_key
from tvDatafeed.delivery.redisserver import RedisConnection, RedisServer, RefusedError
from tvDatafeed.delivery.redisstreams import Item, Stream
from tvDatafeed.exceptions import ConfigurationError, DeliveryError

if TYPE_CHECKING:
    import pandas as pd
    from typing_extensions import Self

__all__ = ["RedisPublisher"]

logger: logging.Logger = logging.getLogger(__name__)

# Bars that are sent at once: what a connection holds in its buffers, and what is sent again when it
# breaks.
_BATCH = 500
# Bars that are remembered, to publish them again on a server that lost its data: of one series, and
# of all of them (600 bytes each).
_REMEMBERED_PER_SERIES = 1000
_REMEMBERED = 50_000
# How soon an idle publisher notices that the server was restarted.
_PING_S = 5.0
_RETRY_BASE_S, _RETRY_MAX_S = 0.25, 15.0
# For `close` without a time, while the server answers.
_CLOSE_S = 10.0
_MAX_PREFIX_LENGTH = 128


class RedisPublisher:
    """Publishes closed bars to a stream of Redis (or Valkey) for each series.

    A call never waits for the network: one thread publishes. While the server is away, up to
    `maxlen` bars wait in memory; beyond that the oldest are dropped, and readers hear of the gap. A
    server that lost its data is given the last bars of each series again.

    Each bar is published once, also by a publisher that was restarted, and by several publishers:
    the id of its entry is when it opens, and its revision. A correction (the same bar with other
    numbers) is the next revision. It can be published until a newer bar of its series is: a stream
    grows at its end alone. A correction that came later is counted (``late`` in `stats`).

    Parameters
    ----------
    url : str, optional
        ``redis://user:password@host:6379/0``; ``rediss://`` for TLS. Default: ``TV_REDIS_URL``.
    prefix : str, default "tvdatafeed"
        The streams are ``<prefix>:bars:<EXCHANGE:SYMBOL>:<interval>``.
    maxlen : int, default 100000
        How many bars a stream keeps, about; and how many wait in memory at most.
    config : RedisConfig, optional
        Settings. Default: what the environment gives.

    Raises
    ------
    ConfigurationError
        A value cannot be used, or the package redis is not installed.

    Examples
    --------
    ::

        with RedisPublisher("redis://localhost") as publisher, TvDatafeedLive() as tvl:
            tvl.subscribe("BTCUSDT", "BINANCE", Interval.in_1_minute, publisher)
            tvl.wait()
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        prefix: str = "tvdatafeed",
        maxlen: int = 100_000,
        config: RedisConfig | None = None,
    ) -> None:
        self._prefix = checked_prefix(prefix)
        self._maxlen = _checked_maxlen(maxlen)
        self._server = RedisServer(url, config)
        self.__name__ = "RedisPublisher"
        self._prepare()
        call_in_forked_child(self._prepare)
        self._start()

    def _prepare(self) -> None:
        # Guards what waits, the counts and the thread. The condition waits and notifies alone.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._waiting: deque[Item] = deque()
        self._in_flight = 0
        self._thread: threading.Thread | None = None
        self._is_closed = getattr(self, "_is_closed", False)
        self._is_stopping = self._is_closed
        self._error: str | None = None
        self._is_connected = False
        self._is_dropping = False
        # When the last bar of each series opened; each is written by the thread of its consumer.
        self._last_s: dict[str, float] = {}
        # Bars that were dropped, until the thread looks: the newest of each stream.
        self._holes: dict[str, EntryId] = {}
        self._counts = dict.fromkeys(
            ("published", "already", "repeated", "late", "refused", "dropped", "republished"), 0
        )
        self._reconnects = 0
        # Of the thread alone; `status` reads a copy of it.
        self._streams: dict[str, Stream] = {}
        self._looked_up: set[str] = set()
        self._connection: RedisConnection | None = None
        self._failures = 0

    def __repr__(self) -> str:
        return f"<RedisPublisher to {self._server.shown}>"

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, kind: object, *_error: object) -> None:
        self.close(None if kind is None else 0.0)

    def __call__(self, seis: Series, data: "pd.DataFrame") -> None:
        """Publish the closed bars of a frame; for `new_consumer` and `subscribe`.

        Parameters
        ----------
        seis : Seis
            The series.
        data : pandas.DataFrame
            Bars; one that still forms is left out. A bar that was published before is published
            again only when its numbers differ.

        Raises
        ------
        DeliveryError
            The data are not bars, or the publisher is closed.
        """
        if self._is_closed:
            raise DeliveryError(f"{self!r} is closed: make another one")
        name = series_key(seis)
        bars = closed_bars(seis, data, self._last_s.get(name, float("-inf")))
        if not bars:
            return
        if bars[0].time_s <= 0:
            raise DeliveryError("a bar that opened before 1970 cannot be published")
        self._last_s[name] = max(bars[-1].time_s, self._last_s.get(name, float("-inf")))
        key = stream_key(self._prefix, f"{seis.exchange}:{seis.symbol}", seis.interval.value)
        delay_s = int(data.attrs.get("delay_seconds", 0))
        items = [Item(key, bar, delay_s) for bar in bars]
        with self._lock:
            self._waiting.extend(items)
            begins_to_drop = self._drop_oldest()
            self._changed.notify_all()
        if begins_to_drop:
            logger.warning(
                "%s is away, and %d bars wait: the oldest are dropped from now on, and their "
                "readers will hear of a gap; a larger maxlen keeps more",
                self._server.shown,
                self._maxlen,
                extra=facts(url=self._server.shown, bars=self._maxlen),
            )
        # In a forked child it does not run yet.
        self._start()

    def _drop_oldest(self) -> bool:
        """Drop bars above the limit; return whether this is the first drop of an episode."""
        dropped = 0
        while len(self._waiting) > self._maxlen:
            item = self._waiting.popleft()
            dropped += 1
            lost = item.id or EntryId(item.bar.time_s * 1000, 0)
            self._holes[item.key] = max(lost, self._holes.get(item.key, lost))
        self._counts["dropped"] += dropped
        begins, self._is_dropping = bool(dropped) and not self._is_dropping, self._is_dropping
        self._is_dropping = self._is_dropping or begins
        return begins

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until no bar waits.

        Parameters
        ----------
        timeout : float, optional
            Seconds. Default: no limit.

        Returns
        -------
        bool
            Whether no bar waits any more.
        """
        return self._wait(Deadline(_seconds(timeout)))

    def close(self, timeout: float | None = None) -> bool:
        """Publish what waits, then stop.

        Parameters
        ----------
        timeout : float, optional
            Seconds. Default: 10, and no longer than the server answers.

        Returns
        -------
        bool
            Whether no bar waits any more; those that do are lost.
        """
        deadline = Deadline(_CLOSE_S if timeout is None else _seconds(timeout))
        self._is_closed = True
        try:
            self._wait(deadline, unless_failing=timeout is None)
        finally:
            with self._lock:
                self._is_stopping = True
                self._changed.notify_all()
                thread = self._thread
            if thread is not None and thread is not threading.current_thread():
                thread.join(deadline.remaining())
        with self._lock:
            return not self._waiting and not self._in_flight

    def stats(self) -> dict[str, Any]:
        """Return figures.

        Returns
        -------
        dict
            ``waiting``: bars in memory; ``published``; ``already``: there before, by another
            publisher or before a restart; ``repeated``: the same bar again; ``late``: corrections
            that came after a newer bar, and cannot be published; ``refused``: by the server for
            good; ``dropped``: since too many waited; ``republished``: after the server lost its
            data; ``reconnects``.
        """
        with self._lock:
            waiting = len(self._waiting) + self._in_flight
            return {"waiting": waiting, **self._counts, "reconnects": self._reconnects}

    def status(self) -> dict[str, Any]:
        """Return how the publisher is doing.

        Returns
        -------
        dict
            ``connected`` (bool); ``error``: why it is not, or None; ``waiting`` (int); ``series``:
            for each, when the last published bar opened, and its revision.
        """
        series = {
            stream.name: {
                "last": rfc3339(stream.confirmed.time_s),
                "revision": stream.confirmed.revision,
            }
            for stream in tuple(self._streams.values())
            if stream.confirmed is not None
        }
        with self._lock:
            return {
                "connected": self._is_connected,
                "error": self._error,
                "waiting": len(self._waiting) + self._in_flight,
                "series": series,
            }

    def _wait(self, deadline: Deadline, *, unless_failing: bool = False) -> bool:
        with self._lock:
            while self._waiting or self._in_flight:
                if deadline.expired or self._is_stopping or (unless_failing and self._error):
                    return False
                self._changed.wait(deadline.clip(WAIT_SLICE_S))
            return True

    def _start(self) -> None:
        """Start the thread, where it does not run; called without locks."""
        # Of threads that are started side by side one serves, so that no lock is held meanwhile.
        if self._thread is None and not self._is_stopping:
            threading.Thread(target=self._run, name="tvDatafeed-redis", daemon=True).start()

    def _run(self) -> None:
        with self._lock:
            if self._thread is not None or self._is_stopping:
                return
            self._thread = threading.current_thread()
        while self._has_work():
            try:
                self._work()
            except Exception as error:  # noqa: BLE001 - it is logged there
                self._disconnect()
                self._failures += 1
                self._note_failure(error)
                self._pause(backoff_s(self._failures, _RETRY_BASE_S, _RETRY_MAX_S))
        self._disconnect()

    def _has_work(self) -> bool:
        """Wait for bars, or until it is time to ask for a sign of life; False at the end."""
        with self._lock:
            if not self._waiting and not self._is_stopping and self._connection is not None:
                self._changed.wait(_PING_S)
            return not self._is_stopping

    def _pause(self, seconds: float) -> None:
        deadline = Deadline(seconds)
        with self._lock:
            while not self._is_stopping and not deadline.expired:
                self._changed.wait(deadline.remaining())

    def _work(self) -> None:
        connection = self._connection
        if connection is None:
            connection = self._connection = self._server.connect()
            self._looked_up.clear()
            self._look_up(connection, list(self._streams))
            self._note_success()
        batch = self._next_batch()
        if not batch:
            connection.execute("PING")
            return
        try:
            self._publish(connection, batch)
        finally:
            with self._lock:
                self._waiting.extendleft(reversed(batch))
                self._in_flight = 0
                self._is_dropping = self._is_dropping and bool(self._waiting)
                self._changed.notify_all()
        self._note_success()

    def _next_batch(self) -> list[Item]:
        with self._lock:
            count = min(len(self._waiting), _BATCH)
            batch = [self._waiting.popleft() for _item in range(count)]
            self._in_flight = count
            holes, self._holes = self._holes, {}
        for key, lost in holes.items():
            if key in self._streams:
                stream = self._streams[key]
                stream.hole = max(lost, stream.hole or lost)
            else:
                self._streams[key] = Stream(_name_of(key), hole=lost)
        return batch

    def _publish(self, connection: RedisConnection, batch: list[Item]) -> None:
        """Publish bars; those that remain in the list must be sent again."""
        for item in batch:
            if item.key not in self._streams:
                self._streams[item.key] = Stream(item.bar.key)
        unknown = dict.fromkeys(i.key for i in batch if i.key not in self._looked_up)
        self._look_up(connection, list(unknown))
        batch[:] = [item for item in batch if self._is_new(item)]
        if not batch:
            return
        answers = connection.execute_all([item.command(self._maxlen) for item in batch])
        left: list[Item] = []
        refusal: RefusedError | None = None
        for item, answer in zip(batch, answers, strict=True):
            if not isinstance(answer, RefusedError):
                self._confirm(item, "published")
            elif not self._settles(item, answer):
                left.append(item)
                refusal = refusal or answer
        batch[:] = left
        if refusal is not None:
            # The server takes no bars for now: it is full, or a replica.
            raise refusal

    def _settles(self, item: Item, refusal: RefusedError) -> bool:
        """Whether a refusal is the end of the way of a bar."""
        stream = self._streams[item.key]
        if "equal or smaller" in refusal.reason:
            assert item.id is not None  # noqa: S101 - as assigned
            is_lost = stream.confirmed is not None and item.id < stream.confirmed
            self._confirm(item, "late" if is_lost else "already")
            return True
        if "WRONGTYPE" not in refusal.reason:
            return False
        if not stream.is_refused:
            logger.warning(
                "%s: bars of %s: %s",
                self._server.shown,
                stream.name,
                refusal,
                extra=facts(error=refusal, url=self._server.shown, stream=stream.name),
            )
        stream.is_refused = True
        self._count("refused")
        return True

    def _is_new(self, item: Item) -> bool:
        """Assign an id to a bar; return whether to publish it."""
        share = _REMEMBERED // len(self._streams)
        limit = max(min(_REMEMBERED_PER_SERIES, share), 1)
        outcome = self._streams[item.key].assign(item, limit)
        if outcome is not None:
            self._count(outcome)
        return outcome is None

    def _confirm(self, item: Item, outcome: str) -> None:
        self._count(outcome)
        if outcome != "late":
            self._streams[item.key].confirm(item)

    def _look_up(self, connection: RedisConnection, keys: Sequence[str]) -> None:
        """Learn the newest entry of streams; publish again what the server has lost of them."""
        lost: list[Item] = []
        for first in range(0, len(keys), _BATCH):
            part = keys[first : first + _BATCH]
            answers = connection.execute_all([("XREVRANGE", k, "+", "-", "COUNT", 1) for k in part])
            for key, answer in zip(part, answers, strict=True):
                stream = self._streams[key]
                if isinstance(answer, RefusedError):
                    if "WRONGTYPE" not in answer.reason:
                        raise answer
                    continue
                lost += stream.lost(parse_id(answer[0][0]) if answer else None)
                if answer:
                    stream.learn(*answer[0])
        self._publish_again(connection, lost)
        self._looked_up.update(keys)

    def _publish_again(self, connection: RedisConnection, lost: Sequence[Item]) -> None:
        for first in range(0, len(lost), _BATCH):
            part = lost[first : first + _BATCH]
            for answer in connection.execute_all([item.command(self._maxlen) for item in part]):
                if not isinstance(answer, RefusedError):
                    self._count("republished")
                elif "equal or smaller" not in answer.reason:
                    raise answer
        if lost:
            logger.warning(
                "%s has lost data: the last %d bars of %d series were published again",
                self._server.shown,
                len(lost),
                len({item.key for item in lost}),
                extra=facts(
                    url=self._server.shown, bars=len(lost), series=len({item.key for item in lost})
                ),
            )

    def _count(self, name: str) -> None:
        with self._lock:
            self._counts[name] += 1

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _note_failure(self, error: Exception) -> None:
        with self._lock:
            is_first, self._error = self._error is None, str(error)
            self._is_connected = False
            self._changed.notify_all()
        if not isinstance(error, DeliveryError):
            logger.error(
                "the publisher to %s failed",
                self._server.shown,
                exc_info=error,
                extra=facts(url=self._server.shown),
            )
        elif is_first:
            logger.warning(
                "bars cannot be published for now, and wait in memory (up to %d): %s",
                self._maxlen,
                error,
                extra=facts(error=error, url=self._server.shown),
            )

    def _note_success(self) -> None:
        self._failures = 0
        with self._lock:
            if self._is_connected:
                return
            self._is_connected = True
            was_failing, self._error = self._error is not None, None
            self._reconnects += was_failing
        if was_failing:
            logger.info(
                "bars are published to %s again",
                self._server.shown,
                extra=facts(url=self._server.shown),
            )


def checked_prefix(prefix: object) -> str:
    """Return the prefix of streams, or raise a `ConfigurationError`."""
    try:
        return check_name("prefix", prefix, _MAX_PREFIX_LENGTH)
    except DeliveryError as error:
        raise ConfigurationError("prefix", prefix, str(error)) from None


def _checked_maxlen(maxlen: object) -> int:
    try:
        number = whole_number(maxlen)
    except TypeError:
        number = 0
    if number < 1:
        raise ConfigurationError("maxlen", maxlen, "must be a whole number of at least 1")
    return number


def _seconds(timeout: float | None) -> float | None:
    if timeout is None or timeout == 0:
        return timeout
    seconds = validate_timeout(timeout)
    return None if seconds < 0 else seconds


def _name_of(key: str) -> str:
    return key.partition(":bars:")[2]
