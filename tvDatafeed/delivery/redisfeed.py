"""RedisFeed: the closed bars that a `RedisPublisher` shares, in the shape of a live feed."""

import datetime as dt
import logging
import os
import secrets
import socket
import threading
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from tvDatafeed.common.deadline import WAIT_SLICE_S, Deadline
from tvDatafeed.common.facts import facts
from tvDatafeed.common.fork import call_in_forked_child
from tvDatafeed.common.functions import check_not_async
from tvDatafeed.config import RedisConfig, validate_timeout
from tvDatafeed.delivery.messages import check_name, rfc3339
from tvDatafeed.delivery.redisentries import START, EntryId, before, stream_key
from tvDatafeed.delivery.redispublisher import checked_prefix
from tvDatafeed.delivery.redisreader import RedisReader
from tvDatafeed.delivery.redisserver import RedisServer
from tvDatafeed.delivery.redissubscription import (
    Gap,
    Mailbox,
    OnGap,
    RedisSeis,
    Subscription,
    moment,
)
from tvDatafeed.exceptions import (
    ConfigurationError,
    DataValidationError,
    DeliveryError,
)
from tvDatafeed.frames.repeats import RepeatedHours
from tvDatafeed.interval import IntervalLike, as_interval
from tvDatafeed.query.dates import EXCHANGE_TIMEZONE, DateLike, moment_s, timezone_named
from tvDatafeed.query.symbols import full_symbol

if TYPE_CHECKING:
    import pandas as pd
    from typing_extensions import Self

__all__ = ["RedisFeed", "RedisSeis"]

logger: logging.Logger = logging.getLogger(__name__)

_CLOSE_S = 10.0
_MAX_NAME_LENGTH = 256
FIRST = "first"


class RedisFeed:
    """Reads the bars that a `RedisPublisher` publishes, and calls back with each of them.

    Each reader gets every bar, once and in the order of its series. With a group, each bar goes to
    one reader of the group: at least once, as it is acknowledged after the callback returned (also
    by an exception, which is logged). What a reader of the group did not acknowledge is taken over
    by another one after `claim_after_s`, so such bars may be older than the last one.

    Callbacks run in threads of their own. While one of them is slow, the bars of its series wait in
    Redis. Bars that were trimmed there before they were read are reported to `on_gap`. While the
    server is away, the feed connects again by itself.

    Parameters
    ----------
    url : str, optional
        ``redis://user:password@host:6379/0``; ``rediss://`` for TLS. Default: ``TV_REDIS_URL``.
    prefix : str, default "tvdatafeed"
        As for `RedisPublisher`.
    group : str, optional
        Readers with the same group share the bars. Default: this reader gets every bar.
    name : str, optional
        The name of this reader in its group, unique there. With the same name after a restart it
        continues at once with the bars that it did not acknowledge. Default: another one each time.
    timezone : str or tzinfo, optional
        The zone of the index: "UTC", an IANA name or a zone. Default: the machine's local time,
        without a zone.
    claim_after_s : float, default 60.0
        Seconds after which the bars of a silent reader are taken over.
    on_gap : callable, optional
        Called with ``(seis, start, end)``, aware datetimes in UTC, before the bar that follows:
        bars between these two opens were trimmed before they were read. If both are the same, that
        bar was trimmed before its reader acknowledged it.
    config : RedisConfig, optional
        Settings. Default: what the environment gives.

    Attributes
    ----------
    on_gap : callable or None
        As passed; may be assigned.

    Raises
    ------
    ConfigurationError
        A value cannot be used, or the package redis is not installed.

    Examples
    --------
    ::

        with RedisFeed("redis://localhost") as feed:
            feed.subscribe("BTCUSDT", "BINANCE", Interval.in_1_minute)
            for seis, bar in feed.stream():
                print(seis, bar["close"].iloc[0])
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        prefix: str = "tvdatafeed",
        group: str | None = None,
        name: str | None = None,
        timezone: str | dt.tzinfo | None = None,
        claim_after_s: float = 60.0,
        on_gap: OnGap | None = None,
        config: RedisConfig | None = None,
    ) -> None:
        self._prefix = checked_prefix(prefix)
        self._group = None if group is None else _checked_name("group", group)
        self._zone_name = timezone or None
        self._repeated_hours = RepeatedHours()
        if timezone == EXCHANGE_TIMEZONE:
            raise ConfigurationError(
                "timezone", timezone, "is not known here; use 'UTC' or an IANA name"
            )
        self._zone = timezone_named(timezone) if timezone else None
        claim_after_s = validate_timeout(claim_after_s, "claim_after_s")
        if claim_after_s < 0:
            raise ConfigurationError("claim_after_s", claim_after_s, "must be more than 0 seconds")
        check_not_async("on_gap", on_gap)
        self.on_gap: OnGap | None = on_gap
        self._server = RedisServer(url, config)
        made = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._reader = RedisReader(
            self._server,
            group=self._group,
            name=made if name is None else _checked_name("name", name),
            is_own_name=name is None,
            claim_after_s=claim_after_s,
        )
        self._prepare()
        call_in_forked_child(self._prepare)

    def _prepare(self) -> None:
        # Guards what is subscribed, and the threads. Those of its parent are not in a forked child.
        self._lock = threading.Lock()
        self._subscribed: set[str] = set()
        self._threads: list[threading.Thread] = []
        self._mailboxes: list[Mailbox] = []
        self._mailbox: Mailbox | None = None
        self._closed = threading.Event()

    def __repr__(self) -> str:
        group = "" if self._group is None else f", group {self._group!r}"
        return f"<RedisFeed of {self._server.shown}{group}>"

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def subscribe(
        self,
        symbol: str,
        exchange: str,
        interval: IntervalLike,
        callback: "Callable[[RedisSeis, pd.DataFrame], object] | None" = None,
        *,
        start: DateLike | None = None,
    ) -> RedisSeis:
        """Call a callback with each bar of a series.

        Parameters
        ----------
        symbol, exchange : str
            As for `TvDatafeedLive.subscribe`.
        interval : Interval or str
            The length of a bar.
        callback : callable, optional
            Called with ``(seis, data)``: a DataFrame of one row, as from a live feed. Default:
            `stream` yields the bars.
        start : datetime, date or str, optional
            From which moment on bars are read again, or "first" for all that Redis has. Default:
            what is published from now on; with a group, where it left off. An existing group always
            continues where it left off.

        Returns
        -------
        RedisSeis
            The series, as the callback gets it.

        Raises
        ------
        DataValidationError
            An argument cannot be used.
        DeliveryError
            The server refuses this client, the series is subscribed already, or the feed is
            closed. An unreachable server is not an error: the feed begins when it is back.
        """
        seis = _checked_seis(symbol, exchange, interval)
        if callback is not None and not callable(callback):
            raise DataValidationError("callback", callback, "must be callable as f(seis, data)")
        check_not_async("callback", callback)
        position = self._position(start)
        key = stream_key(self._prefix, seis.full_symbol, seis.interval.value)
        with self._lock:
            if self._closed.is_set():
                raise DeliveryError(f"{self!r} is closed: make another one")
            if key in self._subscribed:
                raise DeliveryError(f"{seis} is subscribed already: make another RedisFeed")
            self._subscribed.add(key)
            if callback is None and self._mailbox is None:
                self._mailbox = Mailbox()
                self._mailboxes.append(self._mailbox)
            mailbox = self._mailbox if callback is None else Mailbox()
            assert mailbox is not None  # noqa: S101 - as made
            if callback is not None:
                self._mailboxes.append(mailbox)
        subscription = Subscription(
            seis,
            key,
            position,
            in_group=self._group is not None,
            callback=callback,
            mailbox=mailbox,
            zone_name=self._zone_name,
            repeated_hours=self._repeated_hours,
            on_gap=self._report_gap,
            wake=self._reader.wake,
        )
        try:
            self._begin(subscription)
        except BaseException:
            with self._lock:
                self._subscribed.discard(key)
            if callback is not None:
                mailbox.abort()
            raise
        return seis

    def _begin(self, subscription: Subscription) -> None:
        if subscription.callback is not None:
            name = f"tvDatafeed-redis-{subscription.seis}"
            thread = threading.Thread(target=subscription.run, name=name, daemon=True)
        else:
            thread = None
        connection = None
        # While the server is known to be away, each call would wait for it.
        if self._reader.error is None:
            try:
                connection = self._server.connect()
                self._reader.make_ready(connection, subscription)
            except DeliveryError as error:
                if connection is not None:
                    connection.close()
                    connection = None
                if not error.retryable:
                    raise
        try:
            if thread is not None:
                thread.start()
                with self._lock:
                    self._threads.append(thread)
            self._reader.add(subscription)
            if connection is not None:
                self._reader.unblock(connection)
        finally:
            if connection is not None:
                connection.close()

    def stream(self) -> "Generator[tuple[RedisSeis, pd.DataFrame]]":
        """Yield the bars of the subscriptions without a callback, until the feed is closed.

        Ctrl-C while it waits closes the feed. With a group, a bar is acknowledged when the next one
        is requested.

        Yields
        ------
        tuple
            The `RedisSeis`, and a DataFrame of one row.

        Raises
        ------
        DeliveryError
            There is no such subscription.
        """
        mailbox = self._mailbox
        if mailbox is None:
            raise DeliveryError("no series is subscribed without a callback")
        return self._streaming(mailbox)

    def _streaming(self, mailbox: Mailbox) -> "Generator[tuple[RedisSeis, pd.DataFrame]]":
        rows: dict[str, Any] = {}
        try:
            while (found := mailbox.take()) is not None:
                subscription, item = found
                if isinstance(item, Gap):
                    subscription.report(item)
                    continue
                if subscription.key not in rows:
                    rows[subscription.key] = subscription.rows()
                yield subscription.seis, subscription.frame(item, rows[subscription.key])
                subscription.finish(item)
        except KeyboardInterrupt:
            self.close()
            raise

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the feed is closed.

        Ctrl-C closes the feed, and is raised.

        Parameters
        ----------
        timeout : float, optional
            Seconds. Default: without end.

        Returns
        -------
        bool
            False when the time is over before.
        """
        deadline = Deadline(None if timeout is None or timeout < 0 else timeout)
        try:
            while not self._closed.wait(deadline.clip(WAIT_SLICE_S)):
                if deadline.expired:
                    return False
        except KeyboardInterrupt:
            self.close()
            raise
        return True

    def close(self, timeout: float | None = None) -> bool:
        """End the feed: a call of a callback that runs is the last one.

        Parameters
        ----------
        timeout : float, optional
            Seconds in all. Default: 10.

        Returns
        -------
        bool
            Whether all threads have ended in time.
        """
        deadline = Deadline(_CLOSE_S if timeout is None else max(timeout, 0.0))
        with self._lock:
            self._closed.set()
            threads, mailboxes = tuple(self._threads), tuple(self._mailboxes)
        self._reader.finish()
        for mailbox in mailboxes:
            mailbox.abort()
        me = threading.current_thread()
        for thread in threads:
            if thread is not me:
                thread.join(deadline.remaining())
        self._reader.stop()
        has_ended = self._reader.join(deadline.remaining())
        return has_ended and not any(t.is_alive() for t in threads if t is not me)

    def status(self) -> dict[str, Any]:
        """Return how the feed is doing.

        Returns
        -------
        dict
            ``connected`` (bool); ``error``: why it is not, or None; ``series``: for each, ``last``
            (when the bar that was handled last opened, or None), ``delivered``, ``queued`` and
            ``gaps``.
        """
        return {
            "connected": self._reader.is_connected,
            "error": self._reader.error,
            "series": {
                str(s.seis): {
                    "last": None if s.last is None else rfc3339(s.last.time_s),
                    "delivered": s.delivered,
                    "queued": s.queued,
                    "gaps": s.gaps,
                }
                for s in self._reader.subscriptions
            },
        }

    def _position(self, start: DateLike | None) -> EntryId | None:
        if start is None:
            return None
        if start == FIRST:
            return START
        return before(moment_s("start", start, self._zone))

    def _report_gap(self, seis: RedisSeis, gap: Gap) -> None:
        start, end = moment(gap.start_s), moment(gap.end_s)
        logger.warning(
            "%s: bars from %s to %s were trimmed before they were read",
            seis,
            start,
            end,
            extra=facts(seis, start=start, end=end),
        )
        on_gap = self.on_gap
        if on_gap is None:
            return
        try:
            on_gap(seis, start, end)
        except Exception:
            logger.exception(
                "the hook on_gap raised an exception", extra=facts(seis, hook="on_gap")
            )


def _checked_seis(symbol: str, exchange: str, interval: IntervalLike) -> RedisSeis:
    checked = as_interval(interval)
    place, _, name = full_symbol(symbol, exchange).partition(":")
    return RedisSeis(name, place, checked)


def _checked_name(parameter: str, value: object) -> str:
    try:
        return check_name(parameter, value, _MAX_NAME_LENGTH)
    except DeliveryError as error:
        raise ConfigurationError(parameter, value, str(error)) from None
