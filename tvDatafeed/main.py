"""TvDatafeed: a question is checked, asked, and answered with a DataFrame."""

import dataclasses
import datetime as dt
import logging
import os
import sys
import time
import warnings
import weakref
import zoneinfo
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from tvDatafeed.config import ANONYMOUS_TOKEN, TvDatafeedConfig, validate_timeout
from tvDatafeed.exceptions import (
    AuthenticationError,
    ConfigurationError,
    DataError,
    DataNotFoundError,
    DataValidationError,
    InvalidIntervalError,
    NetworkError,
    WebSocketTimeoutError,
)
from tvDatafeed.interval import Interval, interval_len
from tvDatafeed.ratelimit import RateLimiter
from tvDatafeed.utils import (
    Deadline,
    generate_chart_session_id,
    generate_session_id,
    whole_number,
)
from tvDatafeed.validators import Validators

if TYPE_CHECKING:
    import pandas as pd
    from typing_extensions import Self

    from tvDatafeed.authenticator import Authenticator
    from tvDatafeed.network import WebSocketManager
    from tvDatafeed.protocol.events import History, SeriesRequest

__all__ = ["Interval", "TvDatafeed", "interval_len"]

logger = logging.getLogger(__name__)

# The zone's name that stands for "that of the symbol's exchange".
EXCHANGE_TIMEZONE = "exchange"
_VALIDATION_POLICIES = ("raise", "off")


class TvDatafeed:
    """Bars of TradingView as DataFrames.

    One object keeps one connection, opened at the first request and shared by all threads that
    use the object. Nothing is sent before that first request, but for a sign-in with a password.

    Who asks is decided by the first of these that is given: `auth_token`, the cookies, the token
    cache, `username` and `password`; the others serve to renew the token. None of them: anonymous,
    with what TradingView gives to anyone.

    Parameters
    ----------
    username, password : str, optional
        The account; both or neither. One attempt is made, at once.
    auth_token : str, optional
        The data token of an account (``window.user.auth_token`` in a signed-in browser).
    totp_secret : str, optional
        The secret of the authenticator app (base32), to have codes generated. Default:
        ``TV_TOTP_SECRET``.
    totp_code : str or callable, optional
        The current code of the second factor, or what gives it; asked only when it is needed.
        Default: ``TV_2FA_CODE``.
    ws_timeout : float, optional
        Seconds to wait for one message of an answer; -1 for no limit of its own. Default: 30,
        or ``TV_WS_TIMEOUT``.
    verbose : bool, optional
        Whether to log at INFO. Default: True, or ``TV_VERBOSE``.
    sessionid, sessionid_sign : str, optional
        The cookies of a signed-in browser; turned into a token at the first request.
    token_cache : str, path or False, optional
        The file that keeps logins; False for none. Default: one in the user's cache folder, for
        logins with a password, or ``TV_TOKEN_CACHE``.
    config : TvDatafeedConfig, optional
        All settings, credentials included. Default: those of the environment, without user,
        password, token and cookies: these only `from_env` takes from there.

    Attributes
    ----------
    token : str
        The token in use; may be assigned, and the next request uses it.
    ws_timeout, max_response_time : float
        Limits in seconds, of one message and of a whole request; may be assigned.
    ws_debug : bool
        Whether outgoing packets go to the log at DEBUG, the token redacted; may be assigned.
    verbose : bool
        Whether to log at INFO; may be assigned.
    session, chart_session : str
        Ids of this object.
    ws : None
        Kept for old programs; the connection is this library's own matter.

    Raises
    ------
    ConfigurationError
        When a parameter or a variable of the environment has a value that cannot be used, or only
        one of username and password is given.
    AuthenticationError
        When TradingView refuses the password; its subclasses say what is missing.
    ConnectionError, RateLimitError
        When the sign-in cannot be made.

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
    ) -> None:
        if auth_token:
            # The others serve to renew it, where they are any good; nobody looks at them now.
            username, password = _filled(username), _filled(password)
        self._config = _with_credentials(
            TvDatafeedConfig.from_env() if config is None else config,
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
        self.ws = None
        self.ws_debug = self._config.debug
        self.session = generate_session_id()
        self.chart_session = generate_chart_session_id()
        self.verbose = self._config.verbose if verbose is None else verbose
        self.ws_timeout = (
            network.recv_timeout
            if ws_timeout is None
            else validate_timeout(ws_timeout, "ws_timeout")
        )
        self.max_response_time = network.max_response_time
        self._manager: WebSocketManager | None = None
        self._made_managers: dict[str, WebSocketManager] = {}
        self._limiter = RateLimiter(network.requests_per_minute, network.burst_size)
        self._token: str = ANONYMOUS_TOKEN
        self._authenticator = self._sign_in()
        if self._authenticator is None:
            logger.warning("no account: TradingView limits what it gives to anonymous users")

    @classmethod
    def from_env(cls, dotenv_path: "str | os.PathLike[str] | None" = None) -> "Self":
        """Make an object with all settings of the environment, credentials included.

        Parameters
        ----------
        dotenv_path : str or path, optional
            A file of variables, such as ``.env``; those of the environment go first. Default:
            no file is read.

        Raises
        ------
        ConfigurationError
            When a variable has a value that cannot be used, or the file cannot be read.
        AuthenticationError, ConnectionError, RateLimitError
            As from the constructor.
        """
        return cls(config=TvDatafeedConfig.from_env(dotenv_path=dotenv_path, credentials=True))

    @property
    def token(self) -> str:
        """The data token in use; assign another one, and the next request uses it."""
        return self._token if self._authenticator is None else self._authenticator.token()

    @token.setter
    def token(self, token: str) -> None:
        if self._authenticator is None:
            self._token = token
        else:
            self._authenticator.set_token(token)
        if self._manager is not None and isinstance(token, str):
            self._manager.use_token(str(token))

    def __repr__(self) -> str:
        is_anonymous = self._authenticator is None and self._token == ANONYMOUS_TOKEN
        who = "anonymous" if is_anonymous else "with an account"
        return f"<{type(self).__name__} {who} {self._config.network.ws_url}>"

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
        """End the connection. A later request opens another one.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait for the connection's thread. Default: 10, or ``TV_SHUTDOWN_TIMEOUT``.

        Returns
        -------
        bool
            False when the thread has not ended in time.
        """
        if self._manager is None:
            return True
        limit_s = self._config.threading.shutdown_timeout if timeout is None else timeout
        return self._manager.close(limit_s)

    def stats(self) -> dict[str, Any]:
        """Count what has happened on this object's connections.

        Returns
        -------
        dict
            ``open_connections``, ``open_sessions`` (requests running now), ``connections`` (opened
            so far), ``reconnects`` (those opened
            after a fault), ``messages``, ``violations`` (of the protocol by the server),
            ``heartbeats``, ``requests`` (answered with bars), ``latency_p50_s`` and
            ``latency_p99_s`` (seconds of the last 1000 requests; None before the first), and
            ``errors`` (a count for each class of fault, passed ones included).
        """
        return self._connections().stats()

    def get_hist(  # noqa: PLR0917 - the positions that old programs use
        self,
        symbol: str,
        exchange: str | None = "NSE",
        interval: Interval = Interval.in_daily,
        n_bars: int | None = None,
        fut_contract: int | None = None,
        extended_session: bool = False,
        *,
        timezone: str | None = None,
        validate: Literal["raise", "off"] | None = None,
    ) -> "pd.DataFrame":
        """Get the last bars of a symbol.

        Parameters
        ----------
        symbol : str
            A symbol ("AAPL"), or exchange and symbol ("NASDAQ:AAPL"). Case does not matter.
        exchange : str, default "NSE"
            The exchange; ignored when `symbol` names one.
        interval : Interval, default Interval.in_daily
            The length of a bar.
        n_bars : int, optional
            How many bars, at least 1. The server may give fewer, and `DataFrame.attrs` tells.
            Default: 10, or ``TV_DEFAULT_BARS``.
        fut_contract : int, optional
            Continuous future: 1 for the front contract, 2 for the one after it.
        extended_session : bool, default False
            Whether bars outside the regular session are included.
        timezone : str, optional
            Zone of the index: "UTC", an IANA name, or "exchange" for the symbol's own. Default:
            ``TV_TIMEZONE``, else the machine's local time without a zone.
        validate : {"raise", "off"}, optional
            What to do about bars that contradict themselves. Default: one WARNING a call,
            unless ``TV_VALIDATE_DATA`` says no. Bars are never repaired.

        Returns
        -------
        pandas.DataFrame
            One row a bar, ascending. Columns symbol (object), open, high, low, close, volume
            (float64); index "datetime" (``datetime64[ns]``), when the bar opened. The last bar
            is still forming while the market is open: ``attrs["last_bar_closed"]``.
            ``attrs["delay_seconds"]`` stands for delayed data; ``requested``, ``received``,
            ``complete`` and ``reason`` when fewer bars came than were asked for.

        Raises
        ------
        DataValidationError, InvalidIntervalError, ConfigurationError, ValueError
            A parameter cannot be right; nothing was sent.
        SymbolNotFoundError, DataNotFoundError
            TradingView does not know the symbol, or has no bars of it.
        EntitlementError, DataError
            TradingView refuses, with its reason.
        WebSocketTimeoutError
            The answer did not come in time.
        WebSocketError, RateLimitError, AuthenticationError
            The connection failed, or was refused.
        """
        full_symbol = _full_symbol(symbol, exchange)
        zone_name = timezone or self._config.data.timezone
        zone = _zone(zone_name)
        if not isinstance(interval, Interval):
            raise InvalidIntervalError(interval, [str(member) for member in Interval])
        count = self._config.data.default_bars if n_bars is None else n_bars
        count = Validators.validate_n_bars(count, max_bars=sys.maxsize)
        if validate is not None and validate not in _VALIDATION_POLICIES:
            raise DataValidationError("validate", validate, "must be None, 'raise' or 'off'")
        full_symbol = _with_contract(full_symbol, symbol, fut_contract)
        started = time.monotonic()
        history = self._fetch(full_symbol, interval, count, extended=bool(extended_session))
        frame = self._frame(history, zone_name, zone, validate)
        if self.verbose:
            seconds = time.monotonic() - started
            logger.info("%s: %d bars in %.3f s", full_symbol, len(frame), seconds)
        return frame

    def search_symbol(
        self, text: str, exchange: str = "", *, raise_on_error: bool = False
    ) -> list[dict[str, Any]]:
        """Find symbols by name or description, at most the 50 that fit best.

        Parameters
        ----------
        text : str
            What to look for.
        exchange : str, default ""
            The exchange to look on; all of them when empty.
        raise_on_error : bool, default False
            Whether a search that fails raises. Otherwise it is a WARNING and an empty list.

        Returns
        -------
        list of dict
            As TradingView describes them, with at least symbol, description, exchange and type.

        Raises
        ------
        DataValidationError
            When text is blank, or exchange cannot be one.
        NetworkError, DataError
            With `raise_on_error`: the search cannot be reached, or answers no symbols.
        """
        if not isinstance(text, str) or not text.strip():
            raise DataValidationError("search_text", text, "must be a text that is not blank")
        wanted = Validators.validate_exchange(exchange) if exchange else ""
        from tvDatafeed.http import HttpClient  # noqa: PLC0415 - HTTP takes its time to import
        from tvDatafeed.search import search  # noqa: PLC0415

        network = self._config.network
        client = HttpClient(network, limiter=self._limiter)
        deadline = time.monotonic() + self.max_response_time
        try:
            return search(client, network.search_url, text.strip(), wanted, deadline)
        except (NetworkError, DataError) as error:
            if raise_on_error:
                raise
            logger.warning("the symbol search failed: %s", error)
            return []

    def _connections(self) -> "WebSocketManager":
        # Sockets, TLS and JSON are imported when they are first needed.
        from tvDatafeed.network import WebSocketManager  # noqa: PLC0415

        manager = self._manager
        if manager is None:
            signed_in = self._authenticator
            network = self._config.network if signed_in is None else signed_in.network()
            made = WebSocketManager(network, self._limiter)
            # The first of several threads wins, and no lock is needed that a fork could copy.
            manager = self._made_managers.setdefault("manager", made)
            if manager is made:
                # The manager does not know us, so that nothing but the program keeps us alive.
                weakref.finalize(self, _dropped, made, repr(self)).atexit = False
            self._manager = manager
        return manager

    def _fetch(self, symbol: str, interval: Interval, count: int, *, extended: bool) -> "History":
        from tvDatafeed.protocol.events import SeriesRequest  # noqa: PLC0415 - as above

        request = SeriesRequest(
            symbol=symbol,
            interval=interval.value,
            count=count,
            session="extended" if extended else "regular",
        )
        deadline = Deadline(self.max_response_time)
        token = self.token
        if not isinstance(token, str):
            raise ConfigurationError("token", token, "must be a text")
        try:
            return self._ask(request, token, deadline)
        except (AuthenticationError, WebSocketTimeoutError) as error:
            if not self._was_token_refused(token, error):
                raise
            # Refused in so many words, or expired and answered with heartbeats alone.
            try:
                renewed = self._renewed(token)
            except AuthenticationError as no_way:
                if isinstance(error, AuthenticationError):
                    # The server's own words come first, and then why they could not be helped.
                    raise error from no_way
                raise no_way from error
            if deadline.expired:
                raise
        return self._ask(request, renewed, deadline)

    def _ask(self, request: "SeriesRequest", token: str, deadline: Deadline) -> "History":
        return self._connections().fetch(
            request,
            token=str(token),
            response_timeout_s=deadline.remaining() or 0.0,
            message_timeout_s=self.ws_timeout,
            show_frames=self.ws_debug,
        )

    def _was_token_refused(self, token: str, error: Exception) -> bool:
        if isinstance(error, AuthenticationError):
            return self._authenticator is not None
        from tvDatafeed.tokens import expiry_of  # noqa: PLC0415 - rarely needed

        end = expiry_of(token)
        return end is not None and end <= time.time()

    def _renewed(self, token: str) -> str:
        if self._authenticator is None:
            raise AuthenticationError(
                "the token has expired, and TradingView answers it with heartbeats alone; "
                "assign a fresh one to token"
            )
        return self._authenticator.renew(token)

    def _get_totp_secret(self) -> str | None:
        """Give the secret of the second factor, as parameter or environment have it."""
        return self._config.auth.totp_secret

    def _get_totp_code(self) -> str | None:
        """Give a code: the one that was passed, else one of the secret, else None."""
        code = self._config.auth.two_factor_code
        if code is not None:
            return code() if callable(code) else code
        secret = self._get_totp_secret()
        if secret is None:
            return None
        from tvDatafeed.signin import totp_at  # noqa: PLC0415 - as above

        return totp_at(secret, time.time())

    def _sign_in(self) -> "Authenticator | None":
        """Make what signs in, where there are credentials, and sign in with a password."""
        auth = self._config.auth
        ways = (auth.auth_token, auth.sessionid, auth.username, auth.password, auth.token_cache)
        if not any(ways):
            return None
        # HTTP takes its time to import, and anonymous users need none.
        from tvDatafeed.authenticator import Authenticator  # noqa: PLC0415

        authenticator = Authenticator(self._config, limiter=self._limiter)
        if not auth.auth_token and auth.username is not None:
            authenticator.token()
        return authenticator

    def _frame(
        self,
        history: "History",
        zone_name: str | None,
        zone: dt.tzinfo | None,
        validate: Literal["raise", "off"] | None,
    ) -> "pd.DataFrame":
        from tvDatafeed.frames import history_to_frame  # noqa: PLC0415 - pandas takes its time

        if not history.bars:
            exchange, _, name = history.request.symbol.rpartition(":")
            raise DataNotFoundError(name, exchange)
        if zone_name == EXCHANGE_TIMEZONE:
            zone_name = str(history.info.get("timezone") or "UTC")
            zone = _get_timezone_object(zone_name)
        frame = history_to_frame(
            history,
            timezone=zone,
            fill_missing_volume=self._config.data.fill_missing_volume,
            validation=validate or ("warn" if self._config.data.validate_data else "off"),
        )
        if zone_name:
            frame.attrs["timezone"] = zone_name
        return frame


def _filled(text: str | None) -> str | None:
    return text if text and text.strip() else None


def _with_credentials(config: TvDatafeedConfig, given: dict[str, Any]) -> TvDatafeedConfig:
    """Put what was given as parameters into the settings, where it wins."""
    changes = {name: value for name, value in given.items() if value is not None}
    if not changes:
        return config
    return dataclasses.replace(config, auth=dataclasses.replace(config.auth, **changes))


def _dropped(manager: "WebSocketManager", who: str) -> None:
    """Close what a program let go without closing it."""
    if manager.is_open:
        # First closed, then told: a warning may be an error. Without locks, for the collector
        # may run in a thread that holds one.
        manager.abandon()
        warnings.warn(f"{who} was not closed; use 'with' or close()", ResourceWarning, stacklevel=2)


def _get_timezone_object(name: str) -> dt.tzinfo:
    """Look a timezone up by name.

    Parameters
    ----------
    name : str
        "UTC" in any case, or an IANA name.

    Raises
    ------
    ConfigurationError
        When there is no such zone.
    """
    if isinstance(name, str) and name.upper() == "UTC":
        return dt.timezone.utc
    try:
        return zoneinfo.ZoneInfo(name)
    # A name may also be a path that leads out of the zones, or to a folder of them.
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError, TypeError) as error:
        raise ConfigurationError(
            "timezone", name, "no such timezone; use 'UTC', 'exchange' or an IANA name"
        ) from error


def _zone(name: str | None) -> dt.tzinfo | None:
    if not name or name == EXCHANGE_TIMEZONE:
        return None
    return _get_timezone_object(name)


def _full_symbol(symbol: str, exchange: str | None) -> str:
    name = Validators.validate_symbol(symbol, allow_formatted=True)
    if ":" in name:
        return name
    return f"{Validators.validate_exchange(exchange or '')}:{name}"


def _with_contract(full_symbol: str, symbol: str, contract: Any) -> str:
    # A symbol that names its exchange is complete, as it always was.
    if contract is None or ":" in symbol:
        return full_symbol
    try:
        number = whole_number(contract)
    except TypeError:
        number = 0
    if number < 1:
        raise ValueError("not a valid contract")
    return f"{full_symbol}{number}!"
