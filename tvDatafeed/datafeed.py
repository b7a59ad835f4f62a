"""TvDatafeedLive: a TvDatafeed that also follows symbols and calls a function with each bar."""

import datetime as dt
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, Literal, overload

from tvDatafeed.common.deadline import Deadline
from tvDatafeed.common.functions import HOOKS, check_not_async
from tvDatafeed.config import DEFAULT_CONFIG, TvDatafeedConfig
from tvDatafeed.exceptions import (
    DataValidationError,
    LockTimeoutError,
    SymbolNotFoundError,
)
from tvDatafeed.interval import Interval, IntervalLike, as_interval
from tvDatafeed.live.seis import (
    DEFAULT_QUEUE_SIZE,
    Callback,
    Consumer,
    Feed,
    OnError,
    OnSlow,
    Seis,
    WhichBars,
)
from tvDatafeed.main import TvDatafeed
from tvDatafeed.query.dates import (
    EXCHANGE_TIMEZONE,
    DateLike,
    date_or_moment,
    moment_s,
    timezone_named,
)
from tvDatafeed.query.mistakes import explains_names
from tvDatafeed.query.symbols import full_symbol
from tvDatafeed.store.choice import StoreLike
from tvDatafeed.validators import check_count

if TYPE_CHECKING:
    import pandas as pd

    from tvDatafeed.live.callbacks import CallbackThread
    from tvDatafeed.live.feedlock import FeedLock
    from tvDatafeed.live.health import Health
    from tvDatafeed.live.recorder import Recorder
    from tvDatafeed.live.registry import Registry
    from tvDatafeed.live.status import Statuses
    from tvDatafeed.protocol.bars import Bars
    from tvDatafeed.store.barstore import BarStore  # noqa: F401 - of StoreLike, in the reference


__all__ = ["CONSUMER_STOP_TIMEOUT", "RETRY_LIMIT", "SHUTDOWN_TIMEOUT", "TvDatafeedLive"]

#: After this many polls without a new bar, the pause between polls grows.
RETRY_LIMIT = DEFAULT_CONFIG.threading.retry_limit
#: Seconds for all threads to end.
SHUTDOWN_TIMEOUT = DEFAULT_CONFIG.threading.shutdown_timeout
#: Seconds to wait for a running callback when its consumer is ended.
CONSUMER_STOP_TIMEOUT = 5.0

# The forming bar, and some bars that close during the request.
_SPARE_BARS = 5
_NOT_LISTED = "Provided symbol and exchange combination is not listed in TradingView"

OnGap = Callable[[Seis, dt.datetime, dt.datetime], object]
OnReconnect = Callable[[dt.datetime, dt.datetime], object]
OnState = Callable[[Seis, str], object]


@explains_names("new_seis", "new_consumer", "subscribe", "stream")
class TvDatafeedLive(TvDatafeed, Feed):
    """A `TvDatafeed` that also follows symbols live, and calls a function with each closed bar.

    Each callback receives each closed bar exactly once and in order, also across reconnections:
    missed bars are requested, and bars that the server does not have are reported to `on_gap`. A
    closed or quiet market is not an error. Each callback runs in a thread of its own; its errors
    and delays do not affect other callbacks.

    Threads: one keeps the series open, one reads each connection, one calls the hooks, and each
    consumer has its own. The process stays alive while consumers exist, unless ``TV_DAEMON`` is
    set; `close`, `with` and `del_tvdatafeed` end the feed.

    Parameters
    ----------
    username, password, auth_token, totp_secret, totp_code, ws_timeout, verbose
        As for `TvDatafeed`.
    sessionid, sessionid_sign, token_cache, config, store, timezone
        As for `TvDatafeed`; live bars are in that zone too.
    on_error : callable, optional
        Called with ``(consumer_or_seis, exception)`` when a callback raises (in its own thread),
        when a Seis fails, when a consumer is too slow, and once for all Seises when the account has
        too many connections.
    on_gap : callable, optional
        Called with ``(seis, start, end)``, aware datetimes in UTC: bars between these two opens
        were missed, and the server does not have them.
    on_reconnect : callable, optional
        Called with ``(gap_start, gap_end)``, aware datetimes in UTC, when all series that were lost
        with a connection are open again and their missed bars are delivered.
    on_state : callable, optional
        Called with ``(seis, state)``: "STARTING", "LIVE", "RECONNECTING", "FAILED", "STOPPED".

    Attributes
    ----------
    on_error, on_gap, on_reconnect, on_state : callable or None
        The hooks; may be assigned. They are called one after the other in a thread of their own. If
        a hook raises, the error is logged and the feed continues.

    Raises
    ------
    DataValidationError
        A hook is a coroutine function; also when one is assigned.
    TvDatafeedError
        As from `TvDatafeed`.

    Examples
    --------
    >>> from tvDatafeed import Interval, TvDatafeedLive
    >>> from tvDatafeed.testing import FakeTradingView
    >>> with FakeTradingView() as server, TvDatafeedLive(config=server.config()) as tvl:
    ...     seis = tvl.new_seis("BTCUSD", "BITSTAMP", Interval.in_1_minute)
    ...     for seis, bar in tvl.stream(seis, replay_last=True):
    ...         break
    >>> bar["symbol"].iloc[0], len(bar)
    ('BITSTAMP:BTCUSD', 1)
    """

    def __init__(  # noqa: PLR0917 - the positions of the base class
        self,
        username: str | None = None,
        password: str | None = None,
        auth_token: str | None = None,
        totp_secret: str | None = None,
        totp_code: str | Callable[[], str] | None = None,
        ws_timeout: float | None = None,
        verbose: bool | None = None,
        *,
        sessionid: str | None = None,
        sessionid_sign: str | None = None,
        token_cache: "str | os.PathLike[str] | Literal[False] | None" = None,
        config: TvDatafeedConfig | None = None,
        store: StoreLike = None,
        timezone: str | dt.tzinfo | None = None,
        on_error: OnError | None = None,
        on_gap: OnGap | None = None,
        on_reconnect: OnReconnect | None = None,
        on_state: OnState | None = None,
    ) -> None:
        # Hooks are checked first, so that an invalid one leaves nothing behind.
        self.on_error = on_error
        self.on_gap = on_gap
        self.on_reconnect = on_reconnect
        self.on_state = on_state
        super().__init__(
            username,
            password,
            auth_token,
            totp_secret,
            totp_code,
            ws_timeout,
            verbose,
            sessionid=sessionid,
            sessionid_sign=sessionid_sign,
            token_cache=token_cache,
            config=config,
            store=store,
            timezone=timezone,
        )
        self._process = os.getpid()
        self._made_registries: dict[str, Registry] = {}

    def __setattr__(self, name: str, value: object) -> None:
        if name in HOOKS:
            check_not_async(name, value)
        super().__setattr__(name, value)

    @property
    def _registry(self) -> "Registry":
        """The registry; created at first use, since sockets and JSON are slow to import."""
        from tvDatafeed.live.registry import Registry  # noqa: PLC0415 - as said
        from tvDatafeed.live.supervisor import StreamSupervisor  # noqa: PLC0415 - as said

        made = self._made_registries.get("registry")
        if made is not None:
            return made

        def make_supervisor(
            callbacks: "Sequence[CallbackThread]",
            on_reconnect: Callable[[float, float], object],
            feed: "FeedLock",
        ) -> StreamSupervisor:
            return StreamSupervisor(
                self._connections,
                self._account,
                self._limits,
                network=self._config.network,
                threads=self._config.threading,
                max_bars=self._config.data.max_bars,
                callbacks=callbacks,
                on_reconnect=on_reconnect,
                feed=feed,
            )

        registry = Registry(
            self,
            self,
            self._config,
            make_supervisor,
            lambda: self._connections().last_error,
            get_bars=self._closed_bars,
            process=self._process,
            repeated_hours=self._repeated_hours,
            make_recorder=None if self.store is None else self._make_recorder,
        )
        # The first of several threads wins; a lock could be copied by a fork.
        return self._made_registries.setdefault("registry", registry)

    def _closed_bars(self, seis: Seis, start_s: float, until_s: float) -> "tuple[Bars, bool]":
        """Return the bars that open between two moments, and whether none is missing."""
        from tvDatafeed.protocol.bars import Bars  # noqa: PLC0415 - as above
        from tvDatafeed.protocol.events import SeriesRequest  # noqa: PLC0415 - JSON takes its time

        # Includes bars that may have closed since.
        count = int((until_s - start_s) / seis.interval.seconds) + _SPARE_BARS
        request = SeriesRequest(
            seis.full_symbol,
            seis.interval.value,
            count=None,
            page_size=min(self._config.data.max_bars, count),
            since_s=start_s,
            until_s=until_s,
            is_live=True,
        )
        history = self._only(self._histories([request], self._store_for("use"), "use"))
        bars = Bars.of(bar for bar in history.bars if start_s <= bar.time <= until_s)
        return bars, history.data_completed != "limit" or history.bars[0].time <= start_s

    def _make_recorder(self, seis: Seis, queue: Callable[..., object]) -> "Recorder":
        from tvDatafeed.live.recorder import Recorder  # noqa: PLC0415 - with a store alone

        assert self.store is not None  # noqa: S101 - only feeds with a store have recorders
        account = self._account.fingerprint(self._config.auth)
        return Recorder(self.store.archive, account, seis, queue)

    @overload
    def new_seis(self, symbol: str, exchange: str, interval: IntervalLike) -> Seis: ...

    @overload
    def new_seis(
        self, symbol: str, exchange: str, interval: IntervalLike, timeout: float
    ) -> Seis | Literal[False]: ...

    def new_seis(
        self, symbol: str, exchange: str, interval: IntervalLike, timeout: float = -1
    ) -> Seis | Literal[False]:
        """Follow a symbol.

        Parameters
        ----------
        symbol, exchange : str
            As for `TvDatafeed.get_hist`.
        interval : Interval or str
            The length of a bar, as for `TvDatafeed.get_hist`.
        timeout : float, default -1
            Seconds to wait for another thread that opens the same Seis; -1: no limit, 0: no wait.

        Returns
        -------
        Seis
            The registered Seis, if there is one; False when another thread takes longer to open it.

        Raises
        ------
        ValueError
            TradingView does not know the symbol, or the timeout is negative and not -1.
        DataValidationError, InvalidIntervalError
            A parameter is invalid; nothing was sent.
        EntitlementError, DataError, AuthenticationError
            TradingView refused.
        NetworkError
            TradingView cannot be reached.
        ThreadingError
            The system cannot start a thread, or this object was made before a fork.
        """
        wanted = _checked_seis(symbol, exchange, interval)
        limit_s = _checked_timeout(timeout)
        try:
            return self._registry.new_seis(wanted, limit_s, self.max_response_time)
        except LockTimeoutError:
            return False
        except SymbolNotFoundError as error:
            found = self._with_suggestions(error)
            raise ValueError(f"{_NOT_LISTED}: {found}") from found

    def del_seis(self, seis: Seis, timeout: float = -1) -> bool:
        """Stop following a Seis; its consumers end after the bars that wait for them.

        Parameters
        ----------
        seis : Seis
            The Seis, or an equal one.
        timeout : float, default -1
            Seconds; checked but not used, for old programs: this call does not wait.

        Returns
        -------
        bool
            Always True; an unknown Seis is a ValueError.

        Raises
        ------
        ValueError
            It is not listed.
        """
        _checked_timeout(timeout)
        self._registry.del_seis(seis)
        return True

    def new_consumer(
        self,
        seis: Seis,
        callback: Callback,
        timeout: float = -1,
        *,
        on_error: OnError | None = None,
        bars: WhichBars = "closed",
        max_queue: int = DEFAULT_QUEUE_SIZE,
        on_slow: OnSlow = "drop_oldest",
        replay_last: bool = True,
        start: DateLike | None = None,
    ) -> Consumer:
        """Call a function with each bar of a Seis, in a thread of its own.

        Parameters
        ----------
        seis : Seis
            A listed Seis.
        callback : callable
            Called with ``(seis, data)``; data is a DataFrame of one row as from
            `TvDatafeed.get_hist`, which the callback may change. ``attrs["closed"]`` is False if
            the bar can still change. Without a zone its index is local time, which in autumn, when
            clocks are set back, repeats an hour and runs backwards.
            ``TvDatafeedLive(timezone="UTC")`` avoids it.
        timeout : float, default -1
            Seconds; checked but not used, for old programs: this call does not wait.
        on_error : callable, optional
            Called with ``(consumer, exception)`` instead of the feed's own `on_error`.
        bars : {"closed", "all"}, default "closed"
            Whether the callback also receives the forming bar, at each change.
        max_queue : int, default 1000
            How many bars wait for the callback at most.
        on_slow : {"drop_oldest", "block"}, default "drop_oldest"
            What happens to more bars: "drop_oldest" drops and counts the oldest bar; "block" does
            so only after twice as many wait. The feed and other consumers never wait.
        replay_last : bool, default True
            Whether the callback begins with the last closed bar.
        start : datetime, date or str, optional
            The callback begins with the closed bars since this moment, in order and each once, and
            continues with live bars; the first bar opens at this moment or later. A datetime
            without a zone is in the zone of the feed; with timezone="exchange" it needs its own.
            The bars come from the store if there is one,
            else from TradingView; missing bars are reported to `on_gap`, errors to `on_error`.
            Default: `replay_last` decides.

        Returns
        -------
        Consumer
            The thread, running.

        Raises
        ------
        ValueError
            The Seis is not listed.
        DataValidationError
            An option is invalid.
        ThreadingError
            The system cannot start a thread.
        """
        if not isinstance(seis, Seis):
            raise ValueError("Seis is not listed")  # noqa: TRY004 - as for one that is not
        _checked_timeout(timeout)
        start_s = self._checked_start(start)
        consumer = self._made_consumer(
            seis, callback, on_error=on_error, bars=bars, max_queue=max_queue, on_slow=on_slow
        )
        self._registry.add_consumer(consumer, replay=replay_last, start_s=start_s)
        return consumer

    def _checked_start(self, start: DateLike | None) -> float | None:
        """Return a moment as epoch seconds UTC."""
        if start is None:
            return None
        name = self._config.data.timezone
        if name == EXCHANGE_TIMEZONE:
            moment = date_or_moment("start", start)
            # The exchange of the symbol is not known yet.
            if not isinstance(moment, dt.datetime) or moment.tzinfo is None:
                needs = 'needs a zone, such as "2026-01-31T09:30Z", where timezone="exchange"'
                raise DataValidationError("start", start, needs)
        zone = timezone_named(name) if name and name != EXCHANGE_TIMEZONE else None
        return moment_s("start", start, zone)

    def _made_consumer(
        self,
        seis: Seis,
        callback: Callback,
        *,
        on_error: OnError | None,
        **options: Any,
    ) -> Consumer:
        """Create a consumer after a check of its options; its thread does not run yet."""
        registry = self._registry
        return Consumer(
            seis,
            callback,
            on_error=on_error or registry.call_on_error,
            stop_on_error=self._config.threading.stop_consumer_on_error,
            queue_call=registry.queue_call,
            **options,
        )

    def del_consumer(self, consumer: Consumer, timeout: float = -1) -> bool:
        """End a consumer. Its callback is not called again, but may still be running.

        Parameters
        ----------
        consumer : Consumer
            The consumer.
        timeout : float, default -1
            Seconds; checked but not used, for old programs: this call does not wait.

        Returns
        -------
        bool
            Always True, also if it had already ended.
        """
        _checked_timeout(timeout)
        self._registry.del_consumer(consumer)
        return True

    def subscribe(
        self,
        symbol: str,
        exchange: str,
        interval: IntervalLike,
        callback: Callback,
        timeout: float = -1,
        *,
        on_error: OnError | None = None,
        bars: WhichBars = "closed",
        max_queue: int = DEFAULT_QUEUE_SIZE,
        on_slow: OnSlow = "drop_oldest",
        replay_last: bool = True,
        start: DateLike | None = None,
    ) -> Consumer:
        """Follow a symbol and call a function with its bars: `new_seis` and `new_consumer` in one.

        Parameters
        ----------
        symbol, exchange, interval
            As for `new_seis`.
        callback, on_error, bars, max_queue, on_slow, replay_last, start
            As for `new_consumer`.
        timeout : float, default -1
            As for `new_seis`, in seconds.

        Returns
        -------
        Consumer
            The thread, running; its ``seis`` is the Seis.

        Raises
        ------
        LockTimeoutError
            The timeout has passed.
        TvDatafeedError, ValueError
            As from `new_seis` and `new_consumer`; the feed is unchanged then.
        """
        wanted = _checked_seis(symbol, exchange, interval)
        # Checked before anything is sent.
        start_s = self._checked_start(start)
        consumer = self._made_consumer(
            wanted, callback, on_error=on_error, bars=bars, max_queue=max_queue, on_slow=on_slow
        )
        seis = self.new_seis(symbol, exchange, interval, timeout)
        if not seis:
            raise LockTimeoutError(timeout, "the live feed")
        try:
            self._registry.add_consumer(consumer, replay=replay_last, start_s=start_s)
        except BaseException:
            # The thread did not start, or Ctrl-C came.
            self._registry.give_back(seis)
            raise
        return consumer

    def stream(
        self,
        *seises: Seis,
        bars: WhichBars = "closed",
        max_queue: int = DEFAULT_QUEUE_SIZE,
        replay_last: bool = False,
    ) -> "Generator[tuple[Seis, pd.DataFrame]]":
        """Iterate over bars as they arrive, until the Seises are deleted or the feed is closed.

        Ctrl-C during a wait closes the feed. Leave the loop, or close the iterator, to stop.

        Parameters
        ----------
        *seises : Seis
            Listed Seises; without arguments, all that are listed now.
        bars : {"closed", "all"}, default "closed"
            As for `new_consumer`.
        max_queue : int, default 1000
            How many bars of each Seis wait at most; if more come, the oldest are dropped.
        replay_last : bool, default False
            Whether to begin with the last closed bar of each Seis.

        Yields
        ------
        tuple
            The Seis, and a DataFrame of one row, as for `new_consumer`.

        Raises
        ------
        ValueError
            A Seis is not listed.
        """
        if bars not in {"closed", "all"}:
            raise DataValidationError("bars", bars, "must be 'closed' or 'all'")
        size = check_count("max_queue", max_queue)
        return self._streaming(self._registry.iterate(seises, bars, size, replay=replay_last))

    def _streaming(
        self, coming: "Generator[tuple[Seis, pd.DataFrame]]"
    ) -> "Generator[tuple[Seis, pd.DataFrame]]":
        try:
            with closing(coming):
                yield from coming
        except KeyboardInterrupt:
            self.close()
            raise

    def status(self) -> "Statuses":
        """Return the status of each Seis.

        Returns
        -------
        list of SeisStatus
            One record per Seis, in the order of their registration; notebooks show it as a table.
        """
        return self._registry.status()

    def health(self) -> "Health":
        """Return whether all Seises are followed as they should be; quick, and without the network.

        Returns
        -------
        Health
            ``ok``, ``connected``, ``heard_s`` and ``seises``.

        Examples
        --------
        >>> from tvDatafeed import Interval, TvDatafeedLive
        >>> from tvDatafeed.testing import FakeTradingView
        >>> with FakeTradingView() as server, TvDatafeedLive(config=server.config()) as tvl:
        ...     seis = tvl.new_seis("BTCUSD", "BITSTAMP", Interval.in_1_minute)
        ...     health = tvl.health()
        >>> health.ok, health.seises[0].is_market_open
        (True, True)
        """
        return self._registry.health()

    def is_responsive(self, timeout: float = 5.0) -> bool:
        """Check that the feed's own thread works, as a watchdog does.

        An outage of TradingView does not count: `health` has that.

        Parameters
        ----------
        timeout : float, default 5.0
            Seconds for the thread that keeps the series open to answer.

        Returns
        -------
        bool
            False when it does not answer in time, and this process should be restarted.
        """
        return self._registry.is_responsive(_checked_timeout(timeout))

    def get_hist(  # type: ignore[override]  # noqa: PLR0917 - timeout stands where it always stood
        self,
        symbol: str,
        exchange: str | None = "NSE",
        interval: IntervalLike = Interval.in_daily,
        n_bars: int | None = 10,
        fut_contract: int | None = None,
        extended_session: bool = False,
        timeout: float = -1,
        *,
        start_date: DateLike | None = None,
        end_date: DateLike | None = None,
        timezone: str | dt.tzinfo | None = None,
        **options: Any,
    ) -> "pd.DataFrame":
        """Get bars, as `TvDatafeed.get_hist` does; a running feed is not affected.

        Parameters
        ----------
        symbol, exchange, interval, fut_contract, extended_session
            As for `TvDatafeed.get_hist`.
        n_bars : int, default 10
            As for `TvDatafeed.get_hist`; with `start_date` or `period`, 10 counts as not passed.
        timeout : float, default -1
            Seconds; checked but not used, for old programs: this call does not wait.
        start_date, end_date, timezone, **options
            As for `TvDatafeed.get_hist`.

        Returns
        -------
        pandas.DataFrame
            As for `TvDatafeed.get_hist`.

        Raises
        ------
        TvDatafeedError, ValueError
            As for `TvDatafeed.get_hist`.
        """
        _checked_timeout(timeout)
        is_range = start_date is not None or options.get("period") is not None
        if is_range and n_bars == 10:  # noqa: PLR2004 - the documented default
            n_bars = None
        return super().get_hist(
            symbol,
            exchange,
            interval,
            n_bars,
            fut_contract,
            extended_session,
            start_date,
            end_date,
            timezone,
            **options,
        )

    def hist_of(self, seis: Seis, n_bars: int, timeout: float) -> "pd.DataFrame":
        """Get the last bars of a Seis.

        Parameters
        ----------
        seis : Seis
            The series.
        n_bars : int
            How many bars.
        timeout : float
            As for `new_seis`, in seconds.
        """
        return self.get_hist(seis.full_symbol, None, seis.interval, n_bars, timeout=timeout)

    def _try_again(self) -> None:
        registry = self._made_registries.get("registry")
        if registry is not None and os.getpid() == self._process:
            registry.try_all_again()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the feed has ended: no Seis is listed any more.

        Ctrl-C closes the feed, and KeyboardInterrupt is raised.

        Parameters
        ----------
        timeout : float, optional
            How long to wait, in seconds. Default: no limit.

        Returns
        -------
        bool
            False when the timeout has passed before.
        """
        limit_s = _checked_timeout(timeout)
        self._registry.check_process()
        try:
            return self._registry.wait(limit_s)
        except KeyboardInterrupt:
            self.close()
            raise

    def close(self, timeout: float | None = None, drain: bool = True) -> bool:
        """End the feed and the connections. A later `new_seis` or `get_hist` starts it again.

        Parameters
        ----------
        timeout : float, optional
            Seconds in all. Default: 10, or ``TV_SHUTDOWN_TIMEOUT``.
        drain : bool, default True
            Whether callbacks receive the bars that wait for them, within the timeout.

        Returns
        -------
        bool
            False when a thread has not ended in time; a WARNING names the callback.
        """
        registry = self._made_registries.get("registry")
        if registry is None or os.getpid() != self._process:
            return super().close(timeout)
        limit_s = self._config.threading.shutdown_timeout
        deadline = Deadline(limit_s if timeout is None else _checked_timeout(timeout))
        has_ended = registry.close(deadline, drain=drain)
        return super().close(deadline.remaining()) and has_ended

    def del_tvdatafeed(self) -> None:
        """End the feed: all Seises and consumers. A later `new_seis` starts it again."""
        registry = self._made_registries.get("registry")
        if registry is not None:
            registry.close(Deadline(self._config.threading.shutdown_timeout), drain=True)


def _checked_seis(symbol: str, exchange: str, interval: IntervalLike) -> Seis:
    length = as_interval(interval)
    place, _, name = full_symbol(symbol, exchange).partition(":")
    return Seis(name, place, length)


def _checked_timeout(timeout: float | None) -> float | None:
    if timeout is None or timeout == -1:
        return None
    if timeout < 0:
        raise ValueError("timeout value must be a non-negative number")
    return float(timeout)
