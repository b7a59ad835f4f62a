"""Every setting, its default, and the environment variable that changes it.

This is the only module that reads the environment. A variable that is not set, or is empty,
leaves the default; a variable with a value that cannot be used is a `ConfigurationError` whose
``parameter`` is the variable's name. A constructor's bad value names the field instead.

A new setting is one line in its class: the field's metadata holds the variables and the kind
of value, and everything else follows from that.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from tvDatafeed.common.settings import (
    BEARER_TOKEN,
    BOT_TOKEN,
    CACHE,
    CHAT_ID,
    CODE,
    COOKIE_VALUE,
    COUNT,
    DAYS,
    FILE,
    FLAG,
    HEADERS,
    HTTP_URL,
    LIVE_MODE,
    OPTIONAL_COUNT,
    OPTIONAL_URL,
    PATH,
    PROXY,
    REDIS_URL,
    SECONDS,
    SECRETS,
    SOCKET_URL,
    TEXT,
    TIMEOUT,
    VOLUME_FILLING,
    WHOLE,
    ZONE,
    DefaultText,
    FillMissingVolume,
    LiveMode,
    Section,
    check_encrypted,
    check_https,
    checked,
    credential,
    seconds_between,
    setting,
    timeout,
    variables_in_file,
    variables_of,
    whole_between,
)

if TYPE_CHECKING:
    from datetime import tzinfo

    from typing_extensions import Self


__all__ = [
    "DEFAULT_CONFIG",
    "AuthConfig",
    "DataConfig",
    "DeliveryConfig",
    "FillMissingVolume",
    "LiveMode",
    "NetworkConfig",
    "RedisConfig",
    "StoreConfig",
    "TelegramConfig",
    "ThreadingConfig",
    "TvDatafeedConfig",
    "environment_variables",
    "notify_socket",
    "terminal_is_dumb",
    "validate_timeout",
    "watchdog_s",
]


def validate_timeout(value: Any, parameter: str = "timeout") -> float:
    """Return a timeout in seconds, or say why it is none.

    Parameters
    ----------
    value : float
        Seconds, more than 0; or -1 for no limit. Anything `float` takes, except bool.
    parameter : str, default "timeout"
        Name of the value in an error.

    Returns
    -------
    float
        The timeout in seconds; -1.0 means no limit.

    Raises
    ------
    ConfigurationError
        When it is no number, not finite, 0, or negative and not -1.
    """
    return checked(timeout, value, parameter)


def environment_variables() -> tuple[str, ...]:
    """Return the names of all environment variables that this library reads."""
    sections = (TvDatafeedConfig, DeliveryConfig, TelegramConfig, RedisConfig)
    # Some are read by both.
    return tuple(dict.fromkeys(name for section in sections for name in variables_of(section)))


def terminal_is_dumb() -> bool:
    """Whether the terminal says of itself that it can only write line after line."""
    return os.environ.get("TERM") == "dumb"


def notify_socket() -> str | None:
    """Return the socket of the service manager that has started this process, if one has."""
    return os.environ.get("NOTIFY_SOCKET") or None


def watchdog_s() -> float | None:
    """Return after how many seconds without a sign of life the service manager acts, if it does."""
    usec, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not (usec.isascii() and usec.isdecimal()) or int(usec) == 0:
        return None
    # Otherwise it was set for a process that has started this one.
    return int(usec) / 1e6 if pid in {"", str(os.getpid())} else None


@contextmanager
def recording_to(path: str) -> Iterator[None]:
    """Set ``TV_RECORD`` for the settings that are read inside, and for programs started there."""
    before = os.environ.get("TV_RECORD")
    os.environ["TV_RECORD"] = path
    try:
        yield
    finally:
        del os.environ["TV_RECORD"]
        if before is not None:
            os.environ["TV_RECORD"] = before


class _ConfigSection(Section):
    """A group of settings that the environment can change."""

    @classmethod
    def from_env(cls) -> Self:
        """Return the settings that the environment gives, and defaults for the rest.

        Raises
        ------
        ConfigurationError
            When a variable has a value that cannot be used; ``parameter`` is its name.
        """
        return cls._from_variables(os.environ, credentials=True)


@dataclass(frozen=True, kw_only=True)
class NetworkConfig(_ConfigSection):
    """How to reach TradingView, and how long to wait for it.

    Attributes
    ----------
    ws_url : str, default "wss://data.tradingview.com/socket.io/websocket"
        The WebSocket that gives bars and quotes. The default is replaced by the host for paid
        plans where the token is of such a plan; a URL that is given always stays
        (``TV_WS_URL``).
    base_url : str, default "https://www.tradingview.com"
        The site, for sign-in and pages (``TV_BASE_URL``).
    search_url : str, default "https://symbol-search.tradingview.com/symbol_search/v3/"
        The symbol search (``TV_SEARCH_URL``).
    ws_headers : mapping of str to str, default {"Origin": "https://data.tradingview.com"}
        Headers of the WebSocket's handshake. It is copied and cannot be changed.
    connect_timeout : float, default 10.0
        Seconds for the whole of TCP, TLS and handshake (``TV_CONNECT_TIMEOUT``).
    send_timeout : float, default 5.0
        Seconds for sending one message (``TV_SEND_TIMEOUT``).
    recv_timeout : float, default 30.0
        Seconds to wait for one message; -1 means no limit (``TV_WS_TIMEOUT``, else
        ``TV_RECV_TIMEOUT``).
    max_response_time : float, default 60.0
        Seconds for a whole request, however many messages its answer has; for each page of one
        with many bars, and for each symbol of many (``TV_MAX_RESPONSE_TIME``).
    max_retries : int, default 3
        How often a request is asked again after a fault that may pass (``TV_MAX_RETRIES``).
    base_retry_delay, max_retry_delay : float, default 2.0 and 60.0
        Seconds before another connection is tried: the first doubles with each failure up to
        the second, and between half and all of it is waited (``TV_BASE_RETRY_DELAY``,
        ``TV_MAX_RETRY_DELAY``). A live feed waits no longer than the first, or a fifth of the
        outage so far. Where an account has too many connections the pause grows fourfold, up to
        ten times the second, and an answer does not reset it.
    requests_per_minute, burst_size : int, default 60 and 10
        How many handshakes and HTTP requests are made: in the long run, and at once
        (``TV_REQUESTS_PER_MINUTE``, ``TV_BURST_SIZE``).
    failure_threshold : int, default 5
        After so many failed connections in a row none is tried for `recovery_timeout`
        (``TV_FAILURE_THRESHOLD``).
    recovery_timeout : float, default 60.0
        Seconds (``TV_RECOVERY_TIMEOUT``).
    silence_timeout, ping_timeout : float, default 20.0 and 5.0
        Seconds without a message before the server is asked for a sign of life, and seconds
        that it has to give one (``TV_SILENCE_TIMEOUT``, ``TV_PING_TIMEOUT``).
    idle_timeout : float, default 60.0
        Seconds after which a connection without requests is closed (``TV_IDLE_TIMEOUT``).
    max_connection_age : float, default 300.0
        Seconds after which a connection is closed as soon as it has no requests
        (``TV_MAX_CONNECTION_AGE``).
    max_sessions : int, default 100
        Requests that one connection carries at a time; more open another
        (``TV_MAX_SESSIONS``).
    proxy : str, optional
        URL of an HTTP proxy, ``http://user:password@host:port``; never used for this machine.
        The variables of other programs are not asked (``TV_PROXY``).
    ca_file : str, optional
        File of the authorities whose certificates are trusted, instead of certifi's
        (``TV_CA_FILE``).
    allow_insecure : bool, default False
        Whether URLs without TLS, ``http://`` and ``ws://``, are allowed for hosts other than this
        machine: a password, cookies or a token can be read on the way (``TV_ALLOW_INSECURE``).
    reuse_connections : bool, default True
        Whether requests share connections. False: each request has a connection of its own, which
        is closed after the answer and counts as a handshake; live feeds keep theirs
        (``TV_REUSE_CONNECTIONS``).
    record : str, optional
        A new file that gets all WebSocket messages, and HTTP requests with their answers, secrets
        replaced; see `tvDatafeed.network.recording`. Default: no recording (``TV_RECORD``).
    record_max_bytes : int, default 104857600
        Bytes that the file may have, at least 10 kB; the recording ends there
        (``TV_RECORD_MAX_BYTES``).
    """

    ws_url: str = field(
        default=DefaultText("wss://data.tradingview.com/socket.io/websocket"),
        metadata=setting(SOCKET_URL, "TV_WS_URL"),
    )
    base_url: str = field(
        default="https://www.tradingview.com", metadata=setting(HTTP_URL, "TV_BASE_URL")
    )
    search_url: str = field(
        default="https://symbol-search.tradingview.com/symbol_search/v3/",
        metadata=setting(HTTP_URL, "TV_SEARCH_URL"),
    )
    ws_headers: Mapping[str, str] = field(
        default_factory=lambda: {"Origin": "https://data.tradingview.com"},
        metadata=setting(HEADERS),
    )
    connect_timeout: float = field(default=10.0, metadata=setting(SECONDS, "TV_CONNECT_TIMEOUT"))
    send_timeout: float = field(default=5.0, metadata=setting(SECONDS, "TV_SEND_TIMEOUT"))
    recv_timeout: float = field(
        default=30.0, metadata=setting(TIMEOUT, "TV_WS_TIMEOUT", "TV_RECV_TIMEOUT")
    )
    max_response_time: float = field(
        default=60.0, metadata=setting(SECONDS, "TV_MAX_RESPONSE_TIME")
    )
    max_retries: int = field(default=3, metadata=setting(WHOLE, "TV_MAX_RETRIES"))
    base_retry_delay: float = field(default=2.0, metadata=setting(SECONDS, "TV_BASE_RETRY_DELAY"))
    max_retry_delay: float = field(default=60.0, metadata=setting(SECONDS, "TV_MAX_RETRY_DELAY"))
    requests_per_minute: int = field(default=60, metadata=setting(COUNT, "TV_REQUESTS_PER_MINUTE"))
    burst_size: int = field(default=10, metadata=setting(COUNT, "TV_BURST_SIZE"))
    failure_threshold: int = field(default=5, metadata=setting(COUNT, "TV_FAILURE_THRESHOLD"))
    recovery_timeout: float = field(default=60.0, metadata=setting(SECONDS, "TV_RECOVERY_TIMEOUT"))
    silence_timeout: float = field(default=20.0, metadata=setting(SECONDS, "TV_SILENCE_TIMEOUT"))
    ping_timeout: float = field(default=5.0, metadata=setting(SECONDS, "TV_PING_TIMEOUT"))
    idle_timeout: float = field(default=60.0, metadata=setting(SECONDS, "TV_IDLE_TIMEOUT"))
    max_connection_age: float = field(
        default=300.0, metadata=setting(SECONDS, "TV_MAX_CONNECTION_AGE")
    )
    max_sessions: int = field(default=100, metadata=setting(COUNT, "TV_MAX_SESSIONS"))
    # It may hold a password.
    proxy: str | None = field(default=None, repr=False, metadata=setting(PROXY, "TV_PROXY"))
    ca_file: str | None = field(default=None, metadata=setting(FILE, "TV_CA_FILE"))

    allow_insecure: bool = field(default=False, metadata=setting(FLAG, "TV_ALLOW_INSECURE"))
    reuse_connections: bool = field(default=True, metadata=setting(FLAG, "TV_REUSE_CONNECTIONS"))
    record: str | None = field(default=None, metadata=setting(PATH, "TV_RECORD"))
    record_max_bytes: int = field(
        default=100 * 1024 * 1024,
        metadata=setting(whole_between(10_000, None, " bytes"), "TV_RECORD_MAX_BYTES"),
    )

    def _check_together(self) -> None:
        if not self.allow_insecure:
            for name in ("ws_url", "base_url", "search_url"):
                check_encrypted(getattr(self, name), name)

    @property
    def follows_plan(self) -> bool:
        """Whether the plan of the account decides the host, since `ws_url` was not chosen."""
        return isinstance(self.ws_url, DefaultText)


@dataclass(frozen=True, kw_only=True)
class AuthConfig(_ConfigSection):
    """Who signs in, and how.

    Of several ways the first of these is gone: `auth_token`, the cookies, the token cache,
    `username` and `password`. The others serve to renew the token. None of them: anonymous.

    Attributes
    ----------
    username, password : str, optional
        The account (``TV_USERNAME``, ``TV_PASSWORD``).
    two_factor_code : str or callable, optional
        The current code of the second factor, or what gives it when it is asked for
        (``TV_2FA_CODE``).
    totp_secret : str, optional
        The secret of the authenticator app, to have codes generated (``TV_TOTP_SECRET``).
    auth_token : str, optional
        A data token (``TV_AUTH_TOKEN``).
    sessionid, sessionid_sign : str, optional
        The cookies of a signed-in browser (``TV_SESSIONID``, ``TV_SESSIONID_SIGN``).
    token_cache : str or False, optional
        The file that keeps logins; False for none. Default: a file in the user's cache folder,
        for logins with a password (``TV_TOKEN_CACHE``, a path or ``off``).
    sign_in_url : str, optional
        Where username and password are sent. Default: ``/accounts/signin/`` at
        `NetworkConfig.base_url`.
    signin_headers : mapping of str to str, default {"Referer": "https://www.tradingview.com"}
        Headers of all requests of a sign-in. It is copied and cannot be changed.
    """

    username: str | None = field(default=None, metadata=credential(TEXT, "TV_USERNAME"))
    password: str | None = field(default=None, repr=False, metadata=credential(TEXT, "TV_PASSWORD"))
    two_factor_code: str | Callable[[], str] | None = field(
        default=None, repr=False, metadata=setting(CODE, "TV_2FA_CODE")
    )
    totp_secret: str | None = field(
        default=None, repr=False, metadata=setting(TEXT, "TV_TOTP_SECRET")
    )
    auth_token: str | None = field(
        default=None, repr=False, metadata=credential(TEXT, "TV_AUTH_TOKEN")
    )
    sessionid: str | None = field(
        default=None, repr=False, metadata=credential(COOKIE_VALUE, "TV_SESSIONID")
    )
    sessionid_sign: str | None = field(
        default=None, repr=False, metadata=credential(COOKIE_VALUE, "TV_SESSIONID_SIGN")
    )
    token_cache: str | Literal[False] | None = field(
        default=None, metadata=setting(CACHE, "TV_TOKEN_CACHE")
    )
    sign_in_url: str | None = field(default=None, metadata=setting(OPTIONAL_URL))
    signin_headers: Mapping[str, str] = field(
        default_factory=lambda: {"Referer": "https://www.tradingview.com"},
        metadata=setting(HEADERS),
    )


@dataclass(frozen=True, kw_only=True)
class DataConfig(_ConfigSection):
    """What to make of the bars that come.

    Attributes
    ----------
    max_bars : int, default 5000
        Bars to ask for at a time; more come page by page (``TV_MAX_BARS``).
    default_bars : int, default 10
        Bars to ask for when neither a number nor dates are given (``TV_DEFAULT_BARS``).
    validate_data : bool, default True
        Whether to check the prices of bars and warn once per call about those that
        contradict each other (``TV_VALIDATE_DATA``).
    fill_missing_volume : {"zero", "nan", "forward", "interpolate"}, default "zero"
        The volume of a bar that comes without one (``TV_FILL_MISSING_VOLUME``).
    timezone : str or tzinfo, optional
        Timezone of the index: an IANA name, "exchange", or a tzinfo. Default: no timezone, the
        local time of the machine (``TV_TIMEZONE``).
    """

    max_bars: int = field(default=5000, metadata=setting(COUNT, "TV_MAX_BARS"))
    default_bars: int = field(default=10, metadata=setting(COUNT, "TV_DEFAULT_BARS"))
    validate_data: bool = field(default=True, metadata=setting(FLAG, "TV_VALIDATE_DATA"))
    fill_missing_volume: FillMissingVolume = field(
        default="zero", metadata=setting(VOLUME_FILLING, "TV_FILL_MISSING_VOLUME")
    )
    timezone: str | tzinfo | None = field(default=None, metadata=setting(ZONE, "TV_TIMEZONE"))


@dataclass(frozen=True, kw_only=True)
class ThreadingConfig(_ConfigSection):
    """How threads start and end.

    Attributes
    ----------
    shutdown_timeout : float, default 10.0
        Seconds for all threads to end when the client is closed (``TV_SHUTDOWN_TIMEOUT``).
    live_mode : {"stream", "poll"}, default "stream"
        Whether a live feed is told of bars, or asks for them when one is due (``TV_LIVE_MODE``).
    retry_sleep : float, default 0.1
        Seconds between two polls for a bar that is due (``TV_RETRY_SLEEP``).
    retry_limit : int, default 50
        After so many polls without a new bar the pause doubles with each further one, up to five
        minutes (``TV_RETRY_LIMIT``).
    stop_consumer_on_error : bool, default False
        Whether a consumer ends at the first exception of its callback
        (``TV_STOP_CONSUMER_ON_ERROR``).
    daemon : bool, default False
        Whether the program may end while there are consumers (``TV_DAEMON``).
    """

    shutdown_timeout: float = field(default=10.0, metadata=setting(SECONDS, "TV_SHUTDOWN_TIMEOUT"))
    live_mode: LiveMode = field(default="stream", metadata=setting(LIVE_MODE, "TV_LIVE_MODE"))
    retry_sleep: float = field(default=0.1, metadata=setting(SECONDS, "TV_RETRY_SLEEP"))
    retry_limit: int = field(default=50, metadata=setting(COUNT, "TV_RETRY_LIMIT"))
    stop_consumer_on_error: bool = field(
        default=False, metadata=setting(FLAG, "TV_STOP_CONSUMER_ON_ERROR")
    )
    daemon: bool = field(default=False, metadata=setting(FLAG, "TV_DAEMON"))


@dataclass(frozen=True, kw_only=True)
class StoreConfig(_ConfigSection):
    """Where bars are kept between runs; see `tvDatafeed.store`.

    Attributes
    ----------
    url : str, optional
        The store: a file, ``sqlite:///...``, ``postgresql://...`` or ``tdengine://...``. Default:
        none is used (``TV_STORE_URL``).
    max_bars : int, optional
        How many bars are kept; beyond that the series that was used least recently is removed.
        Default: all (``TV_STORE_MAX_BARS``).
    recheck_days : float, default 7.0
        Days after which the oldest bars of a series are compared with TradingView's again; 0
        for every request (``TV_STORE_RECHECK_DAYS``).
    timeout : float, default 30.0
        Seconds to wait for other programs that use the store, or for its server
        (``TV_STORE_TIMEOUT``).
    token : str, optional
        What clients of ``tvdatafeed store serve`` send as ``Authorization: Bearer``: letters,
        digits and punctuation (``TV_STORE_TOKEN``).
    """

    # It may hold a password.
    url: str | None = field(default=None, repr=False, metadata=setting(TEXT, "TV_STORE_URL"))
    max_bars: int | None = field(
        default=None, metadata=setting(OPTIONAL_COUNT, "TV_STORE_MAX_BARS")
    )
    recheck_days: float = field(default=7.0, metadata=setting(DAYS, "TV_STORE_RECHECK_DAYS"))
    timeout: float = field(default=30.0, metadata=setting(SECONDS, "TV_STORE_TIMEOUT"))
    token: str | None = field(
        default=None, repr=False, metadata=credential(BEARER_TOKEN, "TV_STORE_TOKEN")
    )


@dataclass(frozen=True, kw_only=True)
class TvDatafeedConfig(_ConfigSection):
    """All settings of a client.

    Attributes
    ----------
    network : NetworkConfig
        How to reach TradingView.
    auth : AuthConfig
        Who signs in.
    data : DataConfig
        What to make of the bars.
    threading : ThreadingConfig
        How threads start and end.
    store : StoreConfig
        Where bars are kept between runs.
    debug : bool, default False
        Whether to log every frame sent at DEBUG, without secrets (``TV_DEBUG``).
    verbose : bool, default True
        Whether to log at INFO; warnings and errors are logged in any case (``TV_VERBOSE``).

    Examples
    --------
    >>> config = TvDatafeedConfig(network=NetworkConfig(recv_timeout=5))
    >>> config.network.recv_timeout, config.data.default_bars
    (5.0, 10)
    """

    network: NetworkConfig = field(
        default_factory=NetworkConfig, metadata={"section": NetworkConfig}
    )
    auth: AuthConfig = field(default_factory=AuthConfig, metadata={"section": AuthConfig})
    data: DataConfig = field(default_factory=DataConfig, metadata={"section": DataConfig})
    threading: ThreadingConfig = field(
        default_factory=ThreadingConfig, metadata={"section": ThreadingConfig}
    )
    store: StoreConfig = field(default_factory=StoreConfig, metadata={"section": StoreConfig})
    debug: bool = field(default=False, metadata=setting(FLAG, "TV_DEBUG"))
    verbose: bool = field(default=True, metadata=setting(FLAG, "TV_VERBOSE"))

    def _check_together(self) -> None:
        if self.auth.sign_in_url is not None and not self.network.allow_insecure:
            check_encrypted(self.auth.sign_in_url, "sign_in_url")

    @classmethod
    def from_env(
        cls, *, dotenv_path: str | os.PathLike[str] | None = None, credentials: bool = False
    ) -> Self:
        """Return the settings that the environment gives, and defaults for the rest.

        Parameters
        ----------
        dotenv_path : str or path, optional
            A file of variables; those of the environment overrule it. Default: none.
        credentials : bool, default False
            Whether user, password, token and cookies are taken from there too.

        Raises
        ------
        ConfigurationError
            When a variable has a value that cannot be used, ``parameter`` being its name, or
            when the file cannot be read.
        """
        variables: Mapping[str, str] = os.environ
        if dotenv_path is not None:
            variables = {**variables_in_file(dotenv_path), **os.environ}
        return cls._from_variables(variables, credentials=credentials)

    @classmethod
    def default(cls) -> Self:
        """Return the defaults; the environment is not asked."""
        return cls()


@dataclass(frozen=True, kw_only=True)
class DeliveryConfig(_ConfigSection):
    """Where messages are sent, and what happens while they cannot be; see `tvDatafeed.delivery`.

    Attributes
    ----------
    url : str, optional
        Where a webhook posts (``TV_WEBHOOK_URL``).
    secret : str or sequence of str, optional
        What signs messages; of several the first is the newest (``TV_WEBHOOK_SECRET``, separated
        by spaces).
    producer_id : str, optional
        The sender in the scheme "canonical" (``TV_WEBHOOK_PRODUCER_ID``).
    timeout : float, default 30.0
        Seconds for one attempt, 1 to 300 (``TV_WEBHOOK_TIMEOUT``).
    max_body_bytes : int, default 65536
        The largest message, 1 kB to 10 MB (``TV_WEBHOOK_MAX_BODY_BYTES``).
    give_up_s : float, default 259200.0
        Seconds after which a message that cannot be delivered is kept as dead
        (``TV_WEBHOOK_GIVE_UP_S``).
    connections : int, default 8
        Messages that are sent side by side, 1 to 64 (``TV_WEBHOOK_CONNECTIONS``).
    outbox : str, optional
        The file of messages that wait. Default: one in the user's data folder (``TV_OUTBOX``).
    outbox_max_bytes : int, default 268435456
        Bytes that the file may have, at least 256 kB (``TV_OUTBOX_MAX_BYTES``).
    proxy, ca_file : str, optional
        As in `NetworkConfig` (``TV_PROXY``, ``TV_CA_FILE``).

    Examples
    --------
    >>> DeliveryConfig(timeout=5).timeout
    5.0
    """

    # Many receivers put a token into it.
    url: str | None = field(
        default=None, repr=False, metadata=setting(OPTIONAL_URL, "TV_WEBHOOK_URL")
    )
    secret: str | Sequence[str] | None = field(
        default=None, repr=False, metadata=setting(SECRETS, "TV_WEBHOOK_SECRET")
    )
    producer_id: str | None = field(default=None, metadata=setting(TEXT, "TV_WEBHOOK_PRODUCER_ID"))
    timeout: float = field(
        default=30.0, metadata=setting(seconds_between(1, 300), "TV_WEBHOOK_TIMEOUT")
    )
    max_body_bytes: int = field(
        default=64 * 1024,
        metadata=setting(
            whole_between(1000, 10 * 1024 * 1024, " bytes"), "TV_WEBHOOK_MAX_BODY_BYTES"
        ),
    )
    give_up_s: float = field(default=259200.0, metadata=setting(SECONDS, "TV_WEBHOOK_GIVE_UP_S"))
    connections: int = field(
        default=8, metadata=setting(whole_between(1, 64), "TV_WEBHOOK_CONNECTIONS")
    )
    outbox: str | None = field(default=None, metadata=setting(PATH, "TV_OUTBOX"))
    outbox_max_bytes: int = field(
        default=256 * 1024 * 1024,
        metadata=setting(whole_between(256_000, None, " bytes"), "TV_OUTBOX_MAX_BYTES"),
    )
    # It may hold a password.
    proxy: str | None = field(default=None, repr=False, metadata=setting(PROXY, "TV_PROXY"))
    ca_file: str | None = field(default=None, metadata=setting(FILE, "TV_CA_FILE"))

    def _check_together(self) -> None:
        if self.url is not None:
            check_https(self.url, "url")


@dataclass(frozen=True, kw_only=True)
class TelegramConfig(_ConfigSection):
    """The Telegram bot that sends alerts to the operator; see `tvDatafeed.delivery`.

    Attributes
    ----------
    token : str, optional
        The bot's token, as Telegram's BotFather shows it (``TV_TELEGRAM_TOKEN``).
    chat_id : str, optional
        The number of the chat, or the ``@name`` of a channel (``TV_TELEGRAM_CHAT_ID``).
    url : str, default "https://api.telegram.org"
        The server of the bot API (``TV_TELEGRAM_URL``).
    """

    token: str | None = field(
        default=None, repr=False, metadata=credential(BOT_TOKEN, "TV_TELEGRAM_TOKEN")
    )
    chat_id: str | None = field(
        default=None, repr=False, metadata=credential(CHAT_ID, "TV_TELEGRAM_CHAT_ID")
    )
    url: str = field(
        default="https://api.telegram.org", metadata=setting(HTTP_URL, "TV_TELEGRAM_URL")
    )

    def _check_together(self) -> None:
        check_encrypted(self.url, "url")


@dataclass(frozen=True, kw_only=True)
class RedisConfig(_ConfigSection):
    """The Redis or Valkey server through which machines share a feed; see `tvDatafeed.delivery`.

    Attributes
    ----------
    url : str, optional
        ``redis://user:password@host:6379/0``, ``rediss://`` for TLS, or ``unix://`` and the path of
        a socket (``TV_REDIS_URL``).
    """

    # It may hold a password.
    url: str | None = field(default=None, repr=False, metadata=setting(REDIS_URL, "TV_REDIS_URL"))


DEFAULT_CONFIG = TvDatafeedConfig.default()
