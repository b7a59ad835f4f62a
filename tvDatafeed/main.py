"""TvDatafeed: check the arguments, send the request, return a DataFrame."""

import concurrent.futures.thread  # noqa: F401
import datetime as dt
import functools
import logging
import os
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar, cast, get_args, overload

from tvDatafeed.auth.account import (
    Account,
    code_of,
    make_authenticator,
    none_if_blank,
    with_credentials,
)
from tvDatafeed.common.copies import refuse_copy
from tvDatafeed.common.facts import facts
from tvDatafeed.common.listing import ListsPublicNames
from tvDatafeed.common.progress import Report, reporting
from tvDatafeed.config import TvDatafeedConfig, validate_timeout
from tvDatafeed.exceptions import (
    ConfigurationError,
    SymbolNotFoundError,
    TvDatafeedError,
)
from tvDatafeed.frames.many import Frames, results_of
from tvDatafeed.frames.repeats import RepeatedHours
from tvDatafeed.interval import Interval, IntervalLike, interval_len
from tvDatafeed.network.lazy import LazyConnections
from tvDatafeed.query.dates import DateLike, legacy_problems, with_timezone
from tvDatafeed.query.dates import timezone_named as _get_timezone_object
from tvDatafeed.query.history import (
    Adjustment,
    Dates,
    FrameOptions,
    HistoryQuery,
    RangeOptions,
    SeriesOptions,
    StoreUse,
    Validation,
    check_on_error,
)
from tvDatafeed.query.mistakes import explains_names
from tvDatafeed.query.periods import Period
from tvDatafeed.query.quotes import QuotesQuery
from tvDatafeed.query.search import SearchQuery
from tvDatafeed.query.symbols import SymbolsLike, contract_symbol, full_symbol, named_symbols
from tvDatafeed.ratelimit import RateLimiter
from tvDatafeed.store.choice import StoreLike, open_store
from tvDatafeed.symbology.info import SymbolInfo, symbol_info
from tvDatafeed.symbology.results import format_search_results
from tvDatafeed.utils import generate_chart_session_id, generate_session_id
from tvDatafeed.validators import check_count

if TYPE_CHECKING:
    import pandas as pd
    from typing_extensions import Self

    from tvDatafeed.network.dispatcher import Dispatcher
    from tvDatafeed.network.outcomes import Limits
    from tvDatafeed.network.pool import WebSocketManager
    from tvDatafeed.protocol.events import Answer, History, Request, SeriesRequest
    from tvDatafeed.store.barstore import BarStore


# Imported before the main thread ends: pandas is imported late and needs it, and a later import
# fails.


__all__ = ["Interval", "TvDatafeed", "_get_timezone_object", "interval_len"]

logger: logging.Logger = logging.getLogger(__name__)

_A = TypeVar("_A")

# With a store, one request fetches its tail and its oldest page at the same time.
_STORE_WINDOW = 4


@explains_names("get_hist", "get_hist_multi", "get_quotes", "get_symbol_info")
class TvDatafeed(ListsPublicNames):
    """Bars of TradingView as DataFrames.

    One object keeps one connection, opened at the first request and shared by all threads that
    use the object. Nothing is sent before that first request, except a sign-in with a password.

    If several credentials are set, the first of these is used: `auth_token`, the cookies, the
    token cache, `username` with `password`. If TradingView refuses it, or it has to be renewed, the
    next one is tried. Without any, requests are anonymous, with what TradingView gives to anyone.

    Parameters
    ----------
    username, password : str, optional
        The account; both or neither. One attempt is made, at once.
    auth_token : str, optional
        The data token of an account (``window.user.auth_token`` in a signed-in browser).
    totp_secret : str, optional
        The secret of the authenticator app (base32), from which codes are generated. Default:
        ``TV_TOTP_SECRET``.
    totp_code : str or callable, optional
        The current code of the second factor, or a callable that returns it; called only when
        TradingView requires a code. Default: ``TV_2FA_CODE``.
    ws_timeout : float, optional
        Seconds to wait for one message of an answer; -1 for no such limit. Default: 30, or
        ``TV_WS_TIMEOUT``.
    verbose : bool, optional
        Whether to log at INFO. Default: True, or ``TV_VERBOSE``.
    sessionid, sessionid_sign : str, optional
        The cookies of a signed-in browser; the first request exchanges them for a token.
    token_cache : str, path or False, optional
        The file that keeps logins; False for none. Default: one in the user's cache folder, for
        logins with a password, or ``TV_TOKEN_CACHE``.
    config : TvDatafeedConfig, optional
        All settings, credentials included. Default: the settings of the environment without user,
        password, token and cookies, which only `from_env` reads.
    store : str, path, BarStore or bool, optional
        Where bars are kept between runs: a URL, a file, a `tvDatafeed.store.BarStore`, or True for
        the default file. False: none. Default: ``TV_STORE_URL`` if set, else none.
    timezone : str or tzinfo, optional
        The zone of the index if a call has no `timezone`: "UTC", an IANA name, "exchange" for the
        symbol's own, or a tzinfo. An empty text: the machine's local time without a zone, also if
        ``TV_TIMEZONE`` is set. Default: the zone of `config`, or ``TV_TIMEZONE``, else local time.

    Attributes
    ----------
    token : str
        The token in use; may be assigned, and open connections get it at once. If the plan of the
        new token has another host, new requests go to that host, running requests end on the old
        one, and a live feed moves its open series at once: it opens each again and continues after
        the last closed bar. A host that is set in ``TV_WS_URL`` or in the settings stays.
    ws_timeout, max_response_time : float
        Limits in seconds, of one message and of a whole request; may be assigned.
    ws_debug : bool
        Whether outgoing packets are logged at DEBUG, with the token redacted; may be assigned.
    verbose : bool
        Whether to log at INFO; may be assigned.
    session, chart_session : str
        Ids of this object.
    ws : None
        Kept for old programs; the connection is not public.

    Raises
    ------
    ConfigurationError
        When a parameter or an environment variable has an invalid value, or only one of username
        and password is given.
    AuthenticationError
        When TradingView refuses the password; subclasses name the reason.
    ConnectionError, RateLimitError
        When the sign-in gets no answer, or is rate limited.

    Examples
    --------
    >>> from tvDatafeed import Interval, TvDatafeed
    >>> from tvDatafeed.testing import FakeTradingView
    >>> with FakeTradingView() as server, TvDatafeed(config=server.config()) as tv:
    ...     bars = tv.get_hist("AAPL", "NASDAQ", Interval.in_daily, n_bars=5)
    >>> list(bars.columns)
    ['symbol', 'open', 'high', 'low', 'close', 'volume']
    """

    def __init__(  # noqa: PLR0917 - the positions that old programs use
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
        store: "StoreLike" = None,
        timezone: str | dt.tzinfo | None = None,
    ) -> None:
        if auth_token:
            # The other credentials only renew the token, so they are not checked now.
            username, password = none_if_blank(username), none_if_blank(password)
        self._config = with_credentials(
            with_timezone(config or TvDatafeedConfig.from_env(), timezone),
            {
                "username": username,
                "password": password,
                "auth_token": auth_token or None,
                "totp_secret": totp_secret,
                "two_factor_code": totp_code,
                "sessionid": sessionid,
                "sessionid_sign": sessionid_sign,
                "token_cache": token_cache,
            },
        )
        network = self._config.network
        self.ws: None = None
        self.ws_debug: bool = self._config.debug
        self.session: str = generate_session_id()
        self.chart_session: str = generate_chart_session_id()
        self.verbose: bool = self._config.verbose if verbose is None else verbose
        timeout = network.recv_timeout if ws_timeout is None else ws_timeout
        self.ws_timeout: float = validate_timeout(timeout, "ws_timeout")
        self.max_response_time: float = network.max_response_time
        self._limiter = RateLimiter(network.requests_per_minute, network.burst_size)
        self._account = Account(make_authenticator(self._config, self._limiter))
        self._lazy = LazyConnections(
            self, network, self._limiter, functools.partial(self._account.network, network)
        )
        self._account.log_anonymous(logger)
        self._repeated_hours = RepeatedHours()
        self._store, self._owns_store = open_store(store, self._config.store)

    @classmethod
    def from_env(cls, dotenv_path: "str | os.PathLike[str] | None" = None) -> "Self":
        """Create an object with all settings of the environment, credentials included.

        Parameters
        ----------
        dotenv_path : str or path, optional
            A file of variables, such as ``.env``; variables of the environment take precedence.
            Default: no file is read.

        Raises
        ------
        ConfigurationError
            When a variable has an invalid value, or the file cannot be read.
        AuthenticationError, ConnectionError, RateLimitError
            As from the constructor.
        """
        return cls(config=TvDatafeedConfig.from_env(dotenv_path=dotenv_path, credentials=True))

    @property
    def token(self) -> str:
        """The data token in use; open connections get an assigned token at once."""
        return self._account.token()

    @token.setter
    def token(self, token: str) -> None:
        self._account.assign(token)
        if self._lazy.present is not None and isinstance(token, str):
            self._lazy.present.sign_in(str(token))
            self._try_again()

    def _try_again(self) -> None:
        """React to a new token; here nothing waits for one."""

    @property
    def store(self) -> "BarStore | None":
        """The store that keeps bars between runs; None without a store."""
        return self._store

    def __repr__(self) -> str:
        who = "anonymous" if self._account.is_anonymous else "with an account"
        network = self._account.network(self._config.network)
        return f"<{type(self).__name__} {who} {network.ws_url}>"

    def __reduce__(self) -> NoReturn:
        """Raise on pickling and copying: two objects cannot share connections and threads."""
        refuse_copy(self)

    def __enter__(self) -> "Self":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self, timeout: float | None = None) -> bool:
        """Close the connection. A later request opens another one.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait for the connection's thread. Default: 10, or ``TV_SHUTDOWN_TIMEOUT``.

        Returns
        -------
        bool
            False when the thread has not ended in time.
        """
        if self._store is not None and self._owns_store:
            self._store.close()
        limit_s = self._config.threading.shutdown_timeout if timeout is None else timeout
        return self._lazy.close(limit_s)

    def stats(self) -> dict[str, Any]:
        """Return counters of this object's connections.

        Returns
        -------
        dict
            ``open_connections`` (those on which the server is known to answer),
            ``open_sessions`` (requests running now), ``connections`` (opened
            so far), ``reconnects`` (those opened
            after a fault), ``messages``, ``ignored`` (unreadable or unknown messages that belong to
            no request), ``violations`` (of the protocol by the server), ``heartbeats``,
            ``requests`` (answered), ``latency_p50_s`` and ``latency_p99_s`` (seconds of the last
            1000 requests; None before the first), and ``errors`` (a count for each class of fault,
            passed ones included).
        """
        return self._connections().stats()

    def get_hist(  # noqa: PLR0917 - the positions that old programs use
        self,
        symbol: str,
        exchange: str | None = "NSE",
        interval: IntervalLike = Interval.in_daily,
        n_bars: int | None = None,
        fut_contract: int | None = None,
        extended_session: bool = False,
        start_date: DateLike | None = None,
        end_date: DateLike | None = None,
        timezone: str | dt.tzinfo | None = None,
        *,
        adjustment: Adjustment = "splits",
        currency: str | None = None,
        backadjusted: bool = False,
        dates: Dates = "open",
        closed_only: bool = False,
        validate: Validation | None = None,
        period: Period | None = None,
        store: StoreUse = "use",
    ) -> "pd.DataFrame":
        """Get bars of a symbol: the last n, the last n up to a moment, or all bars of a range.

        Parameters
        ----------
        symbol : str
            A symbol ("AAPL"), or exchange and symbol ("NASDAQ:AAPL"). Case does not matter.
        exchange : str, default "NSE"
            The exchange; ignored when `symbol` names one.
        interval : Interval or str, default Interval.in_daily
            The length of a bar; text such as "1h", "15m" or "daily" stands for the member. ``m`` is
            minutes and ``M`` months.
        n_bars : int, optional
            How many bars, at least 1, without an upper limit; more than ``TV_MAX_BARS`` are fetched
            page by page. If fewer exist, `DataFrame.attrs` contains the reason. Default: all of the
            range, or without dates 10 (``TV_DEFAULT_BARS``).
        fut_contract : int, optional
            Continuous future: 1 for the front contract, 2 for the next contract. `symbol` is then
            the root of the contracts, with or without its exchange.
        extended_session : bool, default False
            Whether bars outside the regular session are included.
        start_date, end_date : datetime, date, pandas.Timestamp, str, numpy.datetime64 or \
float, optional
            The range, both ends included; texts are ISO 8601, and numbers epoch seconds UTC.
            Without `end_date` the range ends now. `end_date` requires `start_date`, `period` or
            `n_bars` (the last bars up to it). A datetime is compared with the open of a bar. A
            datetime without a zone is in the zone of `timezone`, else in the machine's local time;
            in an hour that is repeated it means the first one, with ``fold=1`` the second. A date,
            or a text without a time, is a whole day, and for daily and longer bars a trading day of
            the exchange.
        timezone : str or tzinfo, optional
            Zone of the index: "UTC", an IANA name, or "exchange" for the symbol's own. Default: the
            zone of the object, else the machine's local time without a zone; an empty text also
            means local time. In autumn, when clocks are set back, that naive index repeats an hour
            and runs backwards; each object logs one WARNING about it. ``timezone="UTC"`` avoids it.
        adjustment : {"splits", "dividends", "none"}, default "splits"
            What earlier prices are adjusted for: splits, dividends and splits, or nothing.
        currency : str, optional
            The currency that prices are converted to, such as "USD". Default: the symbol's own.
        backadjusted : bool, default False
            Whether the contracts of a continuous future are joined without gaps.
        dates : {"open", "trading"}, default "open"
            What the index of daily and longer bars contains: the time when the bar opened, or
            midnight of its trading day without a zone. They differ if a session opens the evening
            before.
        closed_only : bool, default False
            Whether the bar that is still forming is left out.
        validate : {"raise", "off"}, optional
            What happens if a bar contradicts itself (such as high below low). Default: one WARNING
            per call, unless ``TV_VALIDATE_DATA`` is off. Bars are never repaired.
        period : {"1d", "5d", "1mo", "3mo", "6mo", "1y", "2y", "5y", "10y", "ytd", "max"}, optional
            Instead of `n_bars` and `start_date`: a length of time up to now, or up to `end_date`.
            "1d" and "5d" are the last trading days that have bars (for weekly and longer bars the
            last bar), "max" is everything the account has access to, page by page. The others begin
            with a whole day: that number of months before the last day, or the 1st of January. Days
            are in the zone of `timezone`, or for local time in the zone of the exchange.
        store : {"use", "refresh", "off", "only"}, default "use"
            With a store: "use" requests only missing bars from TradingView, "refresh" requests and
            stores everything, "off" does not use the store, "only" uses no network.

        Returns
        -------
        pandas.DataFrame
            One row per bar, ascending. Columns symbol (object), open, high, low, close, volume
            (float64); index "datetime" (``datetime64[ns]``), the time when the bar opened. The last
            bar is still forming while the market is open: ``attrs["last_bar_closed"]``.
            ``attrs["delay_seconds"]`` is set for delayed data; ``requested``, ``received``,
            ``complete`` and ``reason`` are set if fewer bars came than requested, for a range, and
            for more than one page.

        Raises
        ------
        DataValidationError, InvalidIntervalError, ConfigurationError, ValueError
            A parameter is invalid; nothing was sent.
        SymbolNotFoundError, DataNotFoundError
            TradingView does not know the symbol, or has no such bars.
        EntitlementError, DataError
            TradingView refused; the message contains its reason.
        WebSocketTimeoutError
            The answer did not arrive in time.
        WebSocketError, RateLimitError, AuthenticationError
            The connection failed or was refused.

        Examples
        --------
        >>> from tvDatafeed import TvDatafeed
        >>> from tvDatafeed.testing import FakeTradingView
        >>> with FakeTradingView() as server, TvDatafeed(config=server.config()) as tv:
        ...     bars = tv.get_hist("NASDAQ:AAPL", start_date="2024-01-02", end_date="2024-01-31")
        >>> len(bars)
        21
        """
        full = full_symbol(symbol, exchange)
        query = HistoryQuery(
            RangeOptions(interval, n_bars, start_date, end_date, timezone, period),
            SeriesOptions(extended_session, adjustment, currency, backadjusted),
            FrameOptions(dates, closed_only, validate),
            self._config.data,
        )
        full = contract_symbol(full, fut_contract)
        kept = self._store_for(store)
        started = time.monotonic()
        history = self._only(self._histories([query.request(full)], kept, store))
        from tvDatafeed.frames.history import history_to_frame  # noqa: PLC0415 - slow

        frame = history_to_frame(history, query.view(), self._repeated_hours)
        if self.verbose:
            seconds = time.monotonic() - started
            extra = facts(history.request, bars=len(frame), seconds=seconds)
            logger.info("%s: %d bars in %.3f s", full, len(frame), seconds, extra=extra)
        return frame

    def get_hist_multi(  # noqa: PLR0917 - the positions of get_hist
        self,
        symbols: SymbolsLike,
        exchange: str | None = "NSE",
        interval: IntervalLike = Interval.in_daily,
        n_bars: int | None = None,
        fut_contract: int | None = None,
        extended_session: bool = False,
        start_date: DateLike | None = None,
        end_date: DateLike | None = None,
        timezone: str | dt.tzinfo | None = None,
        *,
        max_concurrent: int = 10,
        progress: bool | Report = False,
        on_error: Literal["raise", "collect"] = "raise",
        adjustment: Adjustment = "splits",
        currency: str | None = None,
        backadjusted: bool = False,
        dates: Dates = "open",
        closed_only: bool = False,
        validate: Validation | None = None,
        period: Period | None = None,
        store: StoreUse = "use",
    ) -> Frames:
        """Get bars of many symbols, several at a time over one connection.

        Ctrl-C stops at once and leaves nothing running.

        Parameters
        ----------
        symbols : iterable of str, or mapping of str to str
            The symbols; duplicates are requested once. A mapping has the exchange of each symbol:
            ``{"AAPL": "NASDAQ"}``.
        exchange, interval, n_bars, fut_contract, extended_session
            As for `get_hist`, for each symbol.
        start_date, end_date, timezone
            As for `get_hist`. Without a zone, each index is local time, which in autumn repeats an
            hour and runs backwards. ``timezone="UTC"`` avoids it.
        max_concurrent : int, default 10
            How many symbols are requested at the same time.
        progress : bool or callable, default False
            True shows a progress bar (``pip install "tvdatafeed[progress]"``); a callable is called
            with ``(done, total, symbol)`` after each symbol, in this thread.
        on_error : {"raise", "collect"}, default "raise"
            "raise": the first failure is raised and the other requests are cancelled. "collect":
            failed symbols are in ``errors`` of the result.
        adjustment, currency, backadjusted, dates, closed_only, validate, period, store
            As for `get_hist`.

        Returns
        -------
        Frames
            A dict from each symbol, as it was passed and in that order, to the frame that
            `get_hist` returns; ``errors`` is a dict of the failures.

        Raises
        ------
        TvDatafeedError, ValueError
            As from `get_hist`: invalid arguments, and with ``on_error="raise"`` the first failure
            of a symbol.

        Examples
        --------
        >>> from tvDatafeed import TvDatafeed
        >>> from tvDatafeed.testing import FakeTradingView
        >>> with FakeTradingView() as server, TvDatafeed(config=server.config()) as tv:
        ...     frames = tv.get_hist_multi(["AAPL", "NOPE"], "NASDAQ", on_error="collect")
        >>> list(frames), list(frames.errors)
        (['AAPL'], ['NOPE'])
        """
        query = HistoryQuery(
            RangeOptions(interval, n_bars, start_date, end_date, timezone, period),
            SeriesOptions(extended_session, adjustment, currency, backadjusted),
            FrameOptions(dates, closed_only, validate),
            self._config.data,
        )
        window = check_count("max_concurrent", max_concurrent)
        check_on_error(on_error)
        named = named_symbols(symbols, exchange, fut_contract)
        started = time.monotonic()
        results: dict[str, pd.DataFrame | TvDatafeedError] = {}
        kept = self._store_for(store)
        coming = results_of(
            named,
            query,
            lambda requests: self._histories(requests, kept, store, window=window),
            self._repeated_hours,
        )
        # Leaving early (Ctrl-C, a failure, a callable that raises) cancels the remaining requests.
        with closing(coming), reporting(progress, len(named)) as report:
            for name, result in coming:
                if isinstance(result, TvDatafeedError) and len(named) == 1:
                    result = self._with_suggestions(result)  # noqa: PLW2901 - the same, and more
                if isinstance(result, TvDatafeedError) and on_error == "raise":
                    raise result
                results[name] = result
                report(len(results), len(named), name)
        frames = Frames.of({name: results[name] for name in named})
        if self.verbose:
            seconds = time.monotonic() - started
            extra = facts(answered=len(frames), symbols=len(named), seconds=seconds)
            logger.info("%d of %d symbols in %.3f s", *extra.values(), extra=extra)
        return frames

    def get_symbol_info(
        self,
        symbol: str,
        exchange: str | None = "NSE",
        *,
        fut_contract: int | None = None,
        extended_session: bool = False,
        store: StoreUse = "use",
    ) -> SymbolInfo:
        """Get TradingView's description of a symbol: its hours, zone, currency, tick and kind.

        Parameters
        ----------
        symbol, exchange, fut_contract, extended_session
            As for `get_hist`.
        store : {"use", "refresh", "off", "only"}, default "use"
            As for `get_hist`; a stored description is used for a day.

        Returns
        -------
        SymbolInfo
            The description.

        Raises
        ------
        DataValidationError, ValueError
            A parameter is invalid; nothing was sent.
        SymbolNotFoundError, EntitlementError, DataError
            TradingView does not know the symbol, or refuses it.
        NetworkError, AuthenticationError
            As from `get_hist`.

        Examples
        --------
        >>> from tvDatafeed import TvDatafeed
        >>> from tvDatafeed.testing import FakeTradingView
        >>> with FakeTradingView() as server, TvDatafeed(config=server.config()) as tv:
        ...     info = tv.get_symbol_info("AAPL", "NASDAQ")
        >>> info.timezone, info.session, info.tick_size
        ('America/New_York', '0930-1600', 0.01)
        """
        full = contract_symbol(full_symbol(symbol, exchange), fut_contract)
        kept, session = self._store_for(store), "extended" if extended_session else "regular"
        if kept is None:
            return symbol_info(full, self._described(full, session))
        ask = None if store == "only" else functools.partial(self._described, full, session)
        account = self._account.fingerprint(self._config.auth)
        return symbol_info(full, kept.description(full, session, account, ask, use=store))

    def _described(self, full: str, session: str) -> dict[str, Any]:
        """Request TradingView's description of a symbol."""
        from tvDatafeed.protocol.events import SymbolRequest  # noqa: PLC0415 - as above

        return cast("dict[str, Any]", self._answer(SymbolRequest(full, session)).info)

    def get_quotes(
        self,
        symbols: SymbolsLike,
        exchange: str | None = "NSE",
        fields: Iterable[str] | None = None,
        *,
        on_error: Literal["raise", "collect"] = "raise",
    ) -> "pd.DataFrame":
        """Get the current quotes of some symbols.

        Parameters
        ----------
        symbols : str, iterable of str, or mapping of str to str
            The symbols, with or without their exchanges; a mapping has the exchange of each.
        exchange : str, default "NSE"
            The exchange of symbols without one.
        fields : iterable of str, optional
            TradingView's own fields, such as "lp" or "market_cap_basic", or the columns below.
            Default: the columns below.
        on_error : {"raise", "collect"}, default "raise"
            "raise": the error of the first refused symbol is raised. "collect": the other symbols
            have their rows, and ``attrs["errors"]`` is a dict of the errors by symbol.

        Returns
        -------
        pandas.DataFrame
            One row per symbol, named as it was passed and in that order; index "symbol". Columns
            last, change (in `currency`), change_percent, bid, ask, volume, market_state ("market",
            "out_of_session", "pre_market", "post_market"), description, currency, update_mode
            ("streaming", or "delayed_streaming_900" for data that is 15 minutes old). A missing
            number is NaN, a missing text None.

        Raises
        ------
        DataValidationError
            A symbol or a field is invalid; nothing was sent.
        SymbolNotFoundError, EntitlementError, DataError
            TradingView does not know one of the symbols, or refuses it.
        NetworkError, AuthenticationError
            As from `get_hist`.

        Examples
        --------
        >>> from tvDatafeed import TvDatafeed
        >>> from tvDatafeed.testing import FakeTradingView
        >>> with FakeTradingView() as server, TvDatafeed(config=server.config()) as tv:
        ...     quotes = tv.get_quotes(["AAPL", "MSFT"], "NASDAQ", fields=["last", "currency"])
        >>> quotes["currency"].tolist()
        ['USD', 'USD']
        """
        query = QuotesQuery(symbols, exchange, fields, on_error)
        quotes = query.checked(self._answer(query.request()))
        from tvDatafeed.frames.quotes import quotes_to_frame  # noqa: PLC0415 - as above

        return quotes_to_frame(quotes, query.rows, query.columns)

    @staticmethod
    def is_valid_date_range(start: DateLike, end: DateLike) -> bool:
        """Check a range as older versions did; `get_hist` itself accepts more ranges.

        Parameters
        ----------
        start, end : datetime, date, str, numpy.datetime64 or float
            Datetimes without a zone are in the machine's local time; numbers are epoch seconds UTC.

        Returns
        -------
        bool
            Whether start is before end, and both are after 1999 and not in the future. Each broken
            rule is logged as a WARNING.
        """
        problems = legacy_problems(start, end)
        for problem in problems:
            logger.warning("invalid date range: %s", problem, extra=facts(reason=problem))
        return not problems

    @overload
    def search_symbol(
        self,
        text: str,
        exchange: str = "",
        *,
        search_type: str = "",
        limit: int = 50,
        raise_on_error: bool = False,
        as_frame: Literal[False] = False,
    ) -> list[dict[str, Any]]: ...
    @overload
    def search_symbol(
        self,
        text: str,
        exchange: str = "",
        *,
        search_type: str = "",
        limit: int = 50,
        raise_on_error: bool = False,
        as_frame: Literal[True],
    ) -> "pd.DataFrame": ...
    def search_symbol(
        self,
        text: str,
        exchange: str = "",
        *,
        search_type: str = "",
        limit: int = 50,
        raise_on_error: bool = False,
        as_frame: bool = False,
    ) -> "list[dict[str, Any]] | pd.DataFrame":
        """Find symbols by name or description; the best matches come first.

        Parameters
        ----------
        text : str
            The text to search for; "NASDAQ:AAPL" searches for AAPL on NASDAQ.
        exchange : str, default ""
            The exchange to search; empty for all.
        search_type : str, default ""
            The kind: "stock", "funds", "futures", "forex", "crypto", "index", "bond", "economic",
            "options" or "cfd"; empty for all.
        limit : int, default 50
            The maximum number of results; more than 50 are fetched page by page.
        raise_on_error : bool, default False
            Whether a failed search raises. Otherwise it logs a WARNING and returns the results so
            far.
        as_frame : bool, default False
            Whether to return a DataFrame.

        Returns
        -------
        list of dict, or pandas.DataFrame
            The symbols as TradingView describes them, with at least symbol, description, exchange,
            type and full_name, which `get_hist` accepts. For futures, the root (not tradable by
            itself) is followed by its contracts. A DataFrame has one row per symbol and no columns
            of lists.

        Raises
        ------
        DataValidationError
            When text is blank, or another argument is invalid.
        NetworkError, DataError
            With `raise_on_error`: the search cannot be reached, or its answer has no symbols.
        """
        query = SearchQuery(text, exchange, search_type, limit)
        from tvDatafeed.symbology.search import find  # noqa: PLC0415 - HTTP takes its time to import

        limits = self._config.network, self._limiter, self.max_response_time
        found = find(query, *limits, raise_on_error=raise_on_error)
        if not as_frame:
            return found
        from tvDatafeed.frames.search import search_to_frame  # noqa: PLC0415 - as above

        return search_to_frame(found)

    @staticmethod
    def format_search_results(
        results: "Iterable[dict[str, Any]] | pd.DataFrame", max_results: int = 10
    ) -> str:
        """Format the results of `search_symbol` as a table of text.

        Parameters
        ----------
        results : list of dict, or DataFrame
            The results.
        max_results : int, default 10
            How many results are shown.

        Returns
        -------
        str
            One line per result, and how to use it.
        """
        return format_search_results(results, max_results)

    def _connections(self) -> "WebSocketManager":
        manager = self._lazy.get()
        manager.show_frames(self.ws_debug)
        return manager

    def _ask(
        self, requests: "Sequence[Request]", *, window: int = 1
    ) -> "Generator[tuple[int, Answer | TvDatafeedError]]":
        """Send requests; yield each answer or error as it arrives, with its index."""
        # These requests never contain streams.
        results = self._dispatcher(window).run(requests)
        return cast("Generator[tuple[int, Answer | TvDatafeedError]]", results)

    def _dispatcher(self, window: int) -> "Dispatcher":
        from tvDatafeed.network.dispatcher import Dispatcher  # noqa: PLC0415 - as above

        return Dispatcher(self._connections(), self._account, self._limits(), window=window)

    def _limits(self) -> "Limits":
        """Return the present limits on the time of a request."""
        from tvDatafeed.network.outcomes import Limits  # noqa: PLC0415 - as above

        return Limits(
            response_s=self.max_response_time,
            message_s=None if self.ws_timeout < 0 else self.ws_timeout,
        )

    def _answer(self, request: "Request") -> Any:
        """Send one request; return its answer or raise its error."""
        return self._only(self._ask([request]))

    def _only(self, answers: "Iterable[tuple[int, _A | TvDatafeedError]]") -> "_A":
        """Return the only answer, or raise its error."""
        ((_index, result),) = answers
        if not isinstance(result, TvDatafeedError):
            return result
        try:
            raise self._with_suggestions(result)
        finally:
            # Its traceback refers to this frame: a cycle that would keep this client.
            del result

    def _store_for(self, use: StoreUse) -> "BarStore | None":
        """Return the store that a request uses, if any."""
        if use not in get_args(StoreUse):
            choices = ", ".join(get_args(StoreUse))
            raise ConfigurationError("store", use, f"must be one of {choices}")
        if use == "only" and self._store is None:
            raise ConfigurationError(
                "store", use, "needs a store: pass store=True, or set TV_STORE_URL"
            )
        return None if use == "off" else self._store

    def _histories(
        self,
        requests: "Sequence[SeriesRequest]",
        store: "BarStore | None",
        use: StoreUse,
        *,
        window: int = 1,
    ) -> "Generator[tuple[int, History | TvDatafeedError]]":
        """Yield the bars of some symbols as they arrive, from a store and from TradingView."""
        if store is None:
            return cast(
                "Generator[tuple[int, History | TvDatafeedError]]",
                self._ask(requests, window=window),
            )
        account = self._account.fingerprint(self._config.auth)
        dispatcher = self._dispatcher(max(window, _STORE_WINDOW))
        return store.answers(dispatcher, requests, account, use, window)

    def _with_suggestions(self, error: TvDatafeedError) -> TvDatafeedError:
        """Add similar symbols to an error, if the search finds some quickly."""
        if not isinstance(error, SymbolNotFoundError):
            return error
        from tvDatafeed.symbology.search import with_suggestions  # noqa: PLC0415 - as above

        return with_suggestions(error, self._config.network, self._limiter, self.max_response_time)

    def _get_totp_secret(self) -> str | None:
        """Return the secret of the second factor, from the parameter or the environment."""
        return self._config.auth.totp_secret

    def _get_totp_code(self) -> str | None:
        """Return a code: the one that was passed, else one made from the secret, else None."""
        return code_of(self._config.auth)
