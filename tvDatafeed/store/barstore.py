"""BarStore: bars and documents that are kept between runs."""

import json
import math
import os
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, tzinfo
from types import TracebackType
from typing import TYPE_CHECKING, Any

from tvDatafeed.common.numbers import whole_number
from tvDatafeed.common.settings import checked
from tvDatafeed.common.settings import days as days_number
from tvDatafeed.common.settings import timeout as checked_timeout
from tvDatafeed.config import DataConfig, StoreConfig
from tvDatafeed.exceptions import (
    DataNotFoundError,
    DataValidationError,
    StoreCorruptError,
    StoreError,
)
from tvDatafeed.frames.repeats import RepeatedHours
from tvDatafeed.interval import Interval, IntervalLike, as_interval, bar_seconds
from tvDatafeed.protocol.bars import Bars
from tvDatafeed.protocol.events import History, SeriesRequest
from tvDatafeed.protocol.series import EARLIEST_BAR_S
from tvDatafeed.query.dates import DateLike
from tvDatafeed.query.history import (
    Adjustment,
    Dates,
    FrameOptions,
    HistoryQuery,
    RangeOptions,
    SeriesOptions,
    StoreUse,
)
from tvDatafeed.query.periods import Period
from tvDatafeed.query.symbols import contract_symbol, full_symbol
from tvDatafeed.store.archive import Archive
from tvDatafeed.store.engine import Transaction
from tvDatafeed.store.key import FEEDS, Feed, SeriesKey, checked_feed
from tvDatafeed.store.locations import make_engine
from tvDatafeed.store.offline import stored_answer
from tvDatafeed.store.records import (
    Document,
    SeriesInfo,
    SeriesNotes,
    StoreCheck,
    StoredSeries,
    StoreHealth,
    StoreStats,
)
from tvDatafeed.store.removal import clear, clear_unused
from tvDatafeed.store.reports import moment, series_of, stats_of
from tvDatafeed.store.requests import key_query
from tvDatafeed.store.spans import just_after

if TYPE_CHECKING:
    import pandas as pd
    from typing_extensions import Self

    from tvDatafeed.exceptions import TvDatafeedError
    from tvDatafeed.network.dispatcher import Dispatcher

_DAY_S = 86400.0


class BarStore:
    """Bars of TradingView, kept between runs and shared between programs.

    Nothing is opened before the first use. All methods may be called from any thread.

    Parameters
    ----------
    url : str or path, optional
        A file, ``sqlite:///relative.db``, ``sqlite:////absolute/path.db``,
        ``postgresql://user:password@host/database`` or ``tdengine://user:password@host:6041/db``.
        Default: ``TV_STORE_URL``, else ``bars.db`` in the user's data folder.
    max_bars : int, optional
        How many bars are kept; beyond that the series that was used least recently is removed.
        Default: all.
    recheck_days : float, default 7.0
        Days after which the oldest bars of a series are compared with TradingView's again;
        0 for every request.
    timeout : float, default 30.0
        Seconds to wait for other programs, or for the server.

    Raises
    ------
    ConfigurationError
        When an argument cannot be used.

    Examples
    --------
    >>> import tempfile
    >>> from tvDatafeed import TvDatafeed
    >>> from tvDatafeed.store import BarStore
    >>> from tvDatafeed.testing import FakeTradingView
    >>> with tempfile.TemporaryDirectory() as folder, FakeTradingView() as server:
    ...     with BarStore(f"{folder}/bars.db") as store:
    ...         with TvDatafeed(config=server.config(), store=store) as tv:
    ...             bars = tv.get_hist("AAPL", "NASDAQ", n_bars=50)
    ...         offline = store.read_bars("AAPL", "NASDAQ", n_bars=20)
    >>> len(offline)
    20
    """

    def __init__(
        self,
        url: "str | os.PathLike[str] | None" = None,
        *,
        max_bars: int | None = None,
        recheck_days: float = 7.0,
        timeout: float = 30.0,
    ) -> None:
        place = StoreConfig.from_env().url if url is None else url
        timeout_s = checked(checked_timeout, timeout, "timeout")
        engine = make_engine(place, math.inf if timeout_s < 0 else timeout_s)
        self._repeated_hours = RepeatedHours()
        self._archive = Archive(
            engine,
            max_bars=None if max_bars is None else checked(_positive, max_bars, "max_bars"),
            recheck_days=checked(days_number, recheck_days, "recheck_days"),
        )

    def __repr__(self) -> str:
        return f"<BarStore {self.url}>"

    def __enter__(self) -> "Self":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Where the store is, without its password."""
        return self._archive.engine.url

    @property
    def engine(self) -> str:
        """The kind of store: "sqlite", "postgresql" or "tdengine"."""
        return self._archive.engine.name

    @property
    def archive(self) -> Archive:
        """The parts below this class, for the library's own use."""
        return self._archive

    def connect(self) -> "BarStore":
        """Open the store, and create it if it does not exist; the first use does this too.

        Raises
        ------
        StoreError
            When it cannot be reached or made.
        """
        self._archive.engine.open()
        return self

    def initialize(self) -> None:
        """Make what the store needs: its file, tables and version.

        Raises
        ------
        StoreError
            As from `connect`.
        """
        self.connect()

    def close(self) -> None:
        """Close all connections; a later call opens them again."""
        try:
            self._archive.write_uses()
        except StoreError as error:
            self._archive.warn(error)
        self._archive.engine.close()

    def health_check(self) -> StoreHealth:
        """Return whether the store answers; never raises."""
        engine, started = self._archive.engine, time.perf_counter()
        driver = server = ""
        try:
            engine.open()
            driver, server = engine.versions()
            with self._archive.reading() as transaction:
                transaction.documents()
        except StoreError as error:
            is_ok, detail = False, str(error)
        except Exception as error:  # noqa: BLE001 - as promised
            is_ok, detail = False, f"{type(error).__name__}: {error}"
        else:
            is_ok, detail = True, engine.url
        latency_ms = (time.perf_counter() - started) * 1000.0
        return StoreHealth(is_ok, engine.name, driver, server, latency_ms, detail)

    def read_bars(
        self,
        symbol: str,
        exchange: str | None = "NSE",
        interval: IntervalLike = Interval.in_daily,
        n_bars: int | None = None,
        *,
        start_date: DateLike | None = None,
        end_date: DateLike | None = None,
        days: float | None = None,
        timezone: str | tzinfo | None = None,
        period: Period | None = None,
        extended_session: bool = False,
        fut_contract: int | None = None,
        adjustment: Adjustment = "splits",
        currency: str | None = None,
        backadjusted: bool = False,
        dates: Dates = "open",
        feed: str | None = None,
    ) -> "pd.DataFrame":
        """Return stored bars; no network is used.

        Parameters
        ----------
        symbol, exchange, interval, n_bars, start_date, end_date, timezone, period
            As for `TvDatafeed.get_hist`.
        days : float, optional
            The days back from now whose bars are returned, instead of `n_bars` and dates.
        extended_session, fut_contract, adjustment, currency, backadjusted, dates
            As for `TvDatafeed.get_hist`.
        feed : {"realtime", "delayed"}, optional
            Whose bars. Default: real-time ones where there are any.

        Returns
        -------
        pandas.DataFrame
            As from `TvDatafeed.get_hist`; all bars are closed. ``attrs["complete"]`` is False
            where the store has only a part.

        Raises
        ------
        DataNotFoundError
            When there are no such bars in the store.
        DataValidationError, InvalidIntervalError, ConfigurationError, ValueError
            An argument cannot be right.
        StoreError
            The store cannot be read.
        """
        if days is not None:
            if any(other is not None for other in (n_bars, start_date, end_date, period)):
                raise DataValidationError("days", days, "cannot go with n_bars, period or dates")
            since_s = time.time() - checked(days_number, days, "days") * _DAY_S
            start_date = moment(max(since_s, EARLIEST_BAR_S))
        full = contract_symbol(full_symbol(symbol, exchange), fut_contract)
        query = HistoryQuery(
            RangeOptions(interval, n_bars, start_date, end_date, timezone, period),
            SeriesOptions(extended_session, adjustment, currency, backadjusted),
            FrameOptions(dates, closed_only=False, validate=None),
            DataConfig(),
        )
        history = self.answer(query.request(full), checked_feed(feed))
        from tvDatafeed.frames.history import history_to_frame  # noqa: PLC0415 - slow

        return history_to_frame(history, query.view(), self._repeated_hours)

    def answer(self, request: SeriesRequest, feed: Feed | None = None) -> History:
        """Return the stored bars that a request asks for.

        Raises
        ------
        DataNotFoundError
            When nothing of the series is stored.
        StoreError
            The store cannot be read.
        """
        with self._found(request, feed) as (transaction, series):
            history, key = stored_answer(transaction, series, request), series.key
        self._archive.touch(key, is_hit=True)
        return history

    def answers(
        self,
        dispatcher: "Dispatcher",
        requests: Sequence[SeriesRequest],
        account: str,
        use: StoreUse,
        window: int,
    ) -> "Generator[tuple[int, History | TvDatafeedError]]":
        """Answer requests from the store, and from TradingView where it lacks bars.

        See `store.readthrough.answers`; with "only" nothing is asked.
        """
        if use != "only":
            from tvDatafeed.store.readthrough import answers, conversation  # noqa: PLC0415

            refresh = use == "refresh"
            yield from answers(
                dispatcher,
                [conversation(self._archive, one, account, refresh=refresh) for one in requests],
                window,
            )
            return
        for index, request in enumerate(requests):
            try:
                yield index, self.answer(request)
            except DataNotFoundError as error:
                yield index, error

    def write_bars(
        self,
        df: "pd.DataFrame",
        symbol: str | None = None,
        exchange: str | None = "NSE",
        interval: IntervalLike = Interval.in_daily,
        *,
        extended_session: bool = False,
        fut_contract: int | None = None,
        adjustment: Adjustment = "splits",
        currency: str | None = None,
        backadjusted: bool = False,
        feed: str | None = None,
    ) -> int:
        """Store the closed bars of a frame; it is stored as a whole or not at all.

        The range from its first to its last bar counts as answered: bars that are stored there and
        are not in the frame are removed.

        Parameters
        ----------
        df : pandas.DataFrame
            As from `TvDatafeed.get_hist` with ``dates="open"``. A naive index is local time.
        symbol, exchange : str, optional
            The symbol. Default: the one in the frame's column.
        interval, extended_session, fut_contract, adjustment, currency, backadjusted
            What the bars are, as for `TvDatafeed.get_hist`.
        feed : {"realtime", "delayed"}, optional
            Whose bars. Default: delayed where ``attrs["delay_seconds"]`` says so, else what the
            store has of that symbol, else real-time.

        Returns
        -------
        int
            How many bars were written.

        Raises
        ------
        DataValidationError, InvalidIntervalError, ConfigurationError, ValueError
            The last bar is still forming, the index is not ascending and unique, or a price is
            missing or infinite; or another argument cannot be right.
        StoreError
            The store cannot be written.
        """
        from tvDatafeed.frames.rows import frame_to_bars, symbol_of  # noqa: PLC0415 - slow

        full = full_symbol(symbol_of(df) if symbol is None else symbol, exchange)
        full = contract_symbol(full, fut_contract)
        query = key_query(
            interval, SeriesOptions(extended_session, adjustment, currency, backadjusted)
        )
        bars = frame_to_bars(df, as_interval(interval).seconds)
        wanted = checked_feed(feed) or ("delayed" if df.attrs.get("delay_seconds") else None)
        return self.write_packed(query.request(full), bars, wanted)

    def write_packed(
        self,
        request: SeriesRequest,
        bars: Bars,
        feed: Feed | None,
        *,
        since_s: float | None = None,
        notes: SeriesNotes | None = None,
    ) -> int:
        """Store closed bars of the series that a request is for.

        Parameters
        ----------
        request
            Names the series.
        bars
            Ascending by time.
        feed
            Whose; None as for `write_bars`.
        since_s
            From when on there are no other bars; None: from the first one.
        notes
            What was heard beside the bars.
        """
        if not bars:
            return 0
        first_s, last_s = bars[0].time, bars[-1].time
        length_s = bar_seconds(request.interval, default=0.0)
        with self._archive.reading() as transaction:
            keys = _keys(transaction, request, feed)
            series = next(filter(None, map(transaction.find, keys)), None)
            if series is not None and since_s is None:
                # A bar that opens at the end of the last stored one leaves nothing between.
                ends = [
                    hi for _lo, hi in transaction.spans(series) if hi < first_s <= hi + length_s
                ]
                since_s = just_after(ends[-1]) if ends else None
        key = keys[0] if series is None else series.key
        span = (first_s if since_s is None else since_s, last_s)
        self._archive.append(key, request.symbol, bars.packed, span, notes or SeriesNotes())
        return len(bars)

    def coverage(
        self,
        symbol: str,
        exchange: str | None = "NSE",
        interval: IntervalLike = Interval.in_daily,
        *,
        extended_session: bool = False,
        fut_contract: int | None = None,
        adjustment: Adjustment = "splits",
        currency: str | None = None,
        backadjusted: bool = False,
        feed: str | None = None,
    ) -> list[tuple[datetime, datetime]]:
        """Return the ranges of which the store knows all bars, also where there are none.

        Parameters
        ----------
        symbol, exchange, interval, extended_session, fut_contract, adjustment, currency, \
backadjusted, feed
            As for `read_bars`.

        Returns
        -------
        list of (datetime, datetime)
            Aware, UTC; disjoint and ascending. Empty when nothing is stored.
        """
        full = contract_symbol(full_symbol(symbol, exchange), fut_contract)
        query = key_query(
            interval, SeriesOptions(extended_session, adjustment, currency, backadjusted)
        )
        try:
            with self._found(query.request(full), checked_feed(feed)) as (transaction, series):
                spans = transaction.spans(series)
        except DataNotFoundError:
            return []
        first = series.first
        shown = [
            (first if lo <= EARLIEST_BAR_S and first is not None and first <= hi else lo, hi)
            for lo, hi in spans
        ]
        return [(moment(lo), moment(hi)) for lo, hi in shown]

    def write_cache(self, symbol: str, data_type: str, data: Any, timeframe: str = "") -> None:
        """Store a JSON document: quotes, a symbol's description, a calendar.

        Parameters
        ----------
        symbol, data_type, timeframe : str
            Its name; a document of the same name is replaced.
        data
            Whatever `json.dumps` accepts.

        Raises
        ------
        DataValidationError
            When it cannot be written as JSON.
        StoreError
            The store cannot be written.
        """
        try:
            text = json.dumps(data, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise DataValidationError(
                "data", type(data).__name__, f"must be JSON: {error}"
            ) from error
        now_s = time.time()
        document = Document(symbol, data_type, timeframe, now_s, now_s, 0, text)
        with self._archive.writing() as transaction:
            before = transaction.document(symbol, data_type, timeframe)
            hits = before.hits if before else 0
            transaction.put_document(replace(document, hits=hits))

    def read_cache(
        self, symbol: str, data_type: str, timeframe: str = "", *, days: float | None = None
    ) -> Any | None:
        """Return a document.

        Parameters
        ----------
        symbol, data_type, timeframe : str
            Its name.
        days : float, optional
            How old it may be. Default: any age.

        Returns
        -------
        object or None
            None when there is none, or it is older.

        Raises
        ------
        StoreError
            The store cannot be read.
        """
        with self._archive.reading() as transaction:
            found = transaction.document(symbol, data_type, timeframe)
        now_s = time.time()
        if found is None or (days is not None and now_s - found.stored_s > days * _DAY_S):
            return None
        try:
            data = json.loads(found.data)
        except ValueError as error:
            raise StoreCorruptError(
                f"the document {data_type} of {symbol} is damaged", hint="write it again"
            ) from error
        with self._archive.writing() as transaction:
            transaction.put_document(replace(found, used_s=now_s, hits=found.hits + 1))
        return data

    def description(
        self,
        symbol: str,
        session: str,
        account: str,
        ask: Callable[[], dict[str, Any]] | None,
        *,
        use: StoreUse,
    ) -> dict[str, Any]:
        """Return TradingView's description of a symbol, from the store for a day.

        Parameters
        ----------
        symbol, session
            As for `protocol.events.SymbolRequest`.
        account
            Who asks.
        ask
            Asks TradingView; None to use no network, whatever the age of what is stored.
        use
            As for `TvDatafeed.get_hist`.

        Raises
        ------
        DataNotFoundError
            It is not stored, and TradingView is not asked.
        StoreError
            The store fails, and TradingView is not asked.
        TvDatafeedError
            As from `ask`.
        """
        name = symbol, "symbol_info", f"{session} {account}"
        try:
            found = None
            if use != "refresh":
                found = self.read_cache(*name, days=None if ask is None else 1)
            if isinstance(found, dict):
                return found
        except StoreError as error:
            if ask is None:
                raise
            self._archive.warn(error)
        if ask is None:
            exchange, _, short = symbol.rpartition(":")
            raise DataNotFoundError(short, exchange, reason=f"not in the store {self.url}")
        description = ask()
        try:
            self.write_cache(symbol, "symbol_info", description, name[2])
            self._archive.works()
        except StoreError as error:
            self._archive.warn(error)
        return description

    def clear(
        self,
        symbol: str | None = None,
        exchange: str | None = None,
        interval: IntervalLike | None = None,
    ) -> int:
        """Remove bars and documents.

        Parameters
        ----------
        symbol : str, optional
            Only of this symbol, by any requested name. Default: of all.
        exchange : str, optional
            Its exchange. Default: any.
        interval : Interval or str, optional
            Of this interval alone. Default: of all.

        Returns
        -------
        int
            How many bars and documents were removed.

        Raises
        ------
        InvalidIntervalError
            The interval does not exist.
        StoreError
            The store cannot be written.
        """
        text = None if interval is None else as_interval(interval).value
        return clear(self._archive, symbol, exchange, text)

    def clear_expired_cache(self, days: float = 7) -> int:
        """Remove series and documents that were not used for some days.

        Returns
        -------
        int
            How many bars and documents were removed.

        Raises
        ------
        StoreError
            The store cannot be written.
        """
        oldest_s = time.time() - checked(days_number, days, "days") * _DAY_S
        return clear_unused(self._archive, oldest_s)

    def evict(self, max_bars: int) -> int:
        """Remove whole series, least recently used first, until at most `max_bars` are left.

        Returns
        -------
        int
            How many bars were removed.

        Raises
        ------
        StoreError
            The store cannot be written.
        """
        return self._archive.evict(checked(_whole, max_bars, "max_bars"))

    def stats(self) -> StoreStats:
        """Return what the store holds and how it is used.

        Raises
        ------
        StoreError
            The store cannot be read.
        """
        return stats_of(self._archive)

    def get_cache_stats(self) -> StoreStats:
        """Return the same as `stats`."""
        return self.stats()

    def series(self) -> list[SeriesInfo]:
        """Return all series, by symbol and interval.

        Raises
        ------
        StoreError
            The store cannot be read.
        """
        return series_of(self._archive)

    def verify(self) -> list[StoreCheck]:
        """Check thirteen things that a store needs, with series of its own that it removes again.

        Returns
        -------
        list of StoreCheck
            One for each, with a hint where it failed.
        """
        from tvDatafeed.store.verify import verify  # noqa: PLC0415 - needed by few

        return verify(self)

    def warm(
        self,
        tv: Any,
        symbols: str | Sequence[str],
        exchange: str | None = "NSE",
        intervals: IntervalLike | Sequence[IntervalLike] = Interval.in_daily,
        n_bars: int = 5000,
        *,
        progress: "bool | Callable[[int, int, str], None]" = False,
    ) -> dict[str, dict[str, Any]]:
        """Fetch bars into the store, and compare the oldest stored ones.

        Parameters
        ----------
        tv : TvDatafeed
            What asks.
        symbols : str or sequence of str
            As for `TvDatafeed.get_hist_multi`.
        exchange : str, default "NSE"
            The exchange of those that name none.
        intervals : Interval or str, or sequence of them
            One series of each symbol for each.
        n_bars : int, default 5000
            How many bars of each.
        progress : bool or callable, default False
            As for `TvDatafeed.get_hist_multi`.

        Returns
        -------
        dict
            For each symbol as it was written: ``bars`` (int, of all intervals) and ``error``
            (the first `TvDatafeedError`, or None).
        """
        from tvDatafeed.store.warming import warm  # noqa: PLC0415 - needed by few

        return warm(self, tv, symbols, exchange, intervals, n_bars, progress)

    @contextmanager
    def _found(
        self, request: SeriesRequest, feed: Feed | None
    ) -> Generator[tuple[Any, StoredSeries]]:
        with self._archive.reading() as transaction:
            for key in _keys(transaction, request, feed):
                series = transaction.find(key)
                if series is not None and series.bars:
                    yield transaction, series
                    return
        exchange, _, name = request.symbol.rpartition(":")
        raise DataNotFoundError(name, exchange, reason=f"not in the store {self.url}")


def _keys(transaction: Transaction, request: SeriesRequest, feed: Feed | None) -> list[SeriesKey]:
    """Return the keys that a request may be stored under, the likeliest first."""
    known = transaction.resolved(request.symbol, "")
    symbols = list(dict.fromkeys([*(one.symbol for one in known), request.symbol]))
    return [
        SeriesKey.of(request, symbol, one)
        for one in FEEDS
        if feed in (None, one)
        for symbol in symbols
    ]


def _positive(value: Any) -> int:
    number = whole_number(value)
    if number < 1:
        raise ValueError("must be at least 1")
    return number


def _whole(value: Any) -> int:
    number = whole_number(value)
    if number < 0:
        raise ValueError("must not be negative")
    return number
