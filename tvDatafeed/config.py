"""Every setting, its default, and the environment variable that changes it.

This is the only module that reads the environment. A variable that is not set, or is empty,
leaves the default; a variable with a value that cannot be used is a `ConfigurationError` whose
``parameter`` is the variable's name. A constructor's bad value names the field instead.

A new setting is one line in its class: the field's metadata holds the variables and the kind
of value, and everything else follows from that.
"""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar, get_args
from urllib.parse import urlsplit

from tvDatafeed.exceptions import ConfigurationError
from tvDatafeed.utils import whole_number

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "DEFAULT_CONFIG",
    "AuthConfig",
    "DataConfig",
    "FillMissingVolume",
    "LiveMode",
    "NetworkConfig",
    "ThreadingConfig",
    "TvDatafeedConfig",
    "environment_variables",
    "terminal_is_dumb",
    "validate_timeout",
]

FillMissingVolume = Literal["zero", "nan", "forward", "interpolate"]
LiveMode = Literal["stream", "poll"]

_T = TypeVar("_T")

_COOKIE = re.compile(r"[!-:<-~]+")


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
    return _checked(_timeout, value, parameter)


def environment_variables() -> tuple[str, ...]:
    """Return the names of all environment variables that this library reads."""
    return tuple(_variables_of(TvDatafeedConfig))


def terminal_is_dumb() -> bool:
    """Whether the terminal says of itself that it can only write line after line."""
    return os.environ.get("TERM") == "dumb"


def _checked(check: Callable[[Any], _T], value: object, parameter: str) -> _T:
    """Return what a check makes of a value; put a name to its complaint."""
    try:
        return check(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise ConfigurationError(parameter, value, str(error)) from None


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError("must be a number of seconds, not a bool")
    try:
        number = float(value)
    except (ValueError, TypeError, OverflowError):
        raise ValueError("must be a number of seconds") from None
    if not math.isfinite(number):
        raise ValueError("must be a finite number of seconds")
    return number


def _seconds(value: Any) -> float:
    number = _number(value)
    if number <= 0:
        raise ValueError("must be more than 0 seconds")
    return number


def _timeout(value: Any) -> float:
    number = _number(value)
    if number <= 0 and number != -1:
        raise ValueError("must be more than 0 seconds, or -1 for no limit")
    return number


def _count(value: Any) -> int:
    try:
        count = whole_number(value)
    except TypeError:
        raise TypeError("must be a whole number") from None
    if count < 1:
        raise ValueError("must be at least 1")
    return count


def _count_in_text(text: str) -> int:
    try:
        return _count(int(text))
    except ValueError:
        raise ValueError("must be a whole number of at least 1") from None


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("must be True or False")
    return value


def _flag_in_text(text: str) -> bool:
    word = text.lower()
    if word in {"true", "1", "yes", "on"}:
        return True
    if word in {"false", "0", "no", "off"}:
        return False
    raise ValueError("must be one of true, 1, yes, on, false, 0, no, off")


def _whole(value: Any) -> int:
    try:
        number = whole_number(value)
    except TypeError:
        raise TypeError("must be a whole number") from None
    if number < 0:
        raise ValueError("must not be negative")
    return number


def _whole_in_text(text: str) -> int:
    try:
        return _whole(int(text))
    except ValueError:
        raise ValueError("must be a whole number of at least 0") from None


def _proxy(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value.isprintable() or " " in value:
        raise ValueError("must be a URL such as http://user:password@host:8080")
    try:
        parts = urlsplit(value)
        host, _port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("must be a URL with a valid host and port") from None
    if parts.scheme != "http" or not host:
        raise ValueError("must be the URL of an HTTP proxy: http://host:port")
    return value


def _file(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str | os.PathLike) or not Path(value).is_file():
        raise ValueError("must be the path of a file that exists")
    return str(value)


def _zone_name(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError("must be the name of a timezone, or None")
    return (value and value.strip()) or None


def _text(value: Any) -> str | None:
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise ValueError("must be a text that is not empty, or None")
    return value


def _cookie(value: Any) -> str | None:
    # A semicolon or a line break would begin another cookie or header.
    if value is not None and not (isinstance(value, str) and _COOKIE.fullmatch(value)):
        raise ValueError("must be the value of a cookie, such as a browser shows it, or None")
    return value


def _code(value: Any) -> str | Callable[[], str] | None:
    if value is not None and not callable(value) and not (isinstance(value, str) and value.strip()):
        raise ValueError("must be a text, since codes may begin with 0, or a callable, or None")
    return value  # type: ignore[no-any-return]  # as checked


def _cache(value: Any) -> str | Literal[False] | None:
    if value is None or value is False:
        return value
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise ValueError("must be the path of a file, False for no cache, or None")
    return os.fsdecode(value)


def _cache_in_text(text: str) -> str | Literal[False]:
    return False if text.lower() == "off" else text


def _optional_url(value: Any) -> str | None:
    return None if value is None else _url("http", "https")(value)


def _url(*schemes: str) -> Callable[[Any], str]:
    forms = " or ".join(f"{scheme}://" for scheme in schemes)

    def check(value: Any) -> str:
        # urlsplit drops line breaks and tabs without a word.
        if not isinstance(value, str) or not value.isprintable() or " " in value:
            raise ValueError(f"must be a URL that starts with {forms}, without spaces")
        try:
            parts = urlsplit(value)
            host, _port = parts.hostname, parts.port
        except ValueError:
            raise ValueError("must be a URL with a valid host and port") from None
        if parts.scheme not in schemes:
            raise ValueError(f"must be a URL that starts with {forms}")
        if not host:
            raise ValueError("must be a URL with a host")
        if "@" in parts.netloc:
            raise ValueError("must be a URL without user and password, which would not be sent")
        return value

    return check


class _Headers(Mapping[str, str]):
    """HTTP headers that cannot change, so that a config can be shared, hashed and pickled."""

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, str]) -> None:
        self._items = dict(items)

    def __getitem__(self, name: str) -> str:
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        # Any header but this one may be a cookie or a token.
        shown = {name: text if name == "Origin" else "***" for name, text in self._items.items()}
        return repr(shown)


def _headers(value: Any) -> Mapping[str, str]:
    if not isinstance(value, Mapping):
        raise TypeError("must map header names to texts")
    for name, text in value.items():
        if not isinstance(name, str) or not isinstance(text, str):
            raise TypeError("must map header names to texts")
        # A line break would let one header become two.
        if not name or not (name + text).isprintable():
            raise ValueError("must have header names and texts of printable characters")
    return _Headers(value)


class _Kind(NamedTuple):
    """What values a setting takes: `check` any value, `read` the text of a variable."""

    check: Callable[[Any], Any]
    read: Callable[[str], Any]


def _choice(*choices: str) -> _Kind:
    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return value

    return _Kind(check, lambda text: check(text.lower()))


_SECONDS = _Kind(_seconds, _seconds)
_TIMEOUT = _Kind(_timeout, _timeout)
_COUNT = _Kind(_count, _count_in_text)
_WHOLE = _Kind(_whole, _whole_in_text)
_FLAG = _Kind(_flag, _flag_in_text)
_VOLUME_FILLING = _choice(*get_args(FillMissingVolume))
_LIVE_MODE = _choice(*get_args(LiveMode))
_ZONE_NAME = _Kind(_zone_name, _zone_name)
_SOCKET_URL = _Kind(_url("ws", "wss"), _url("ws", "wss"))
_HTTP_URL = _Kind(_url("http", "https"), _url("http", "https"))
_HEADERS = _Kind(_headers, _headers)
_PROXY = _Kind(_proxy, _proxy)
_FILE = _Kind(_file, _file)
_TEXT = _Kind(_text, _text)
_CODE = _Kind(_code, _code)
_COOKIE_VALUE = _Kind(_cookie, _cookie)
_CACHE = _Kind(_cache, _cache_in_text)
_OPTIONAL_URL = _Kind(_optional_url, _optional_url)


def _setting(kind: _Kind, *variables: str) -> dict[str, Any]:
    """Return a field's metadata; of several variables the first that is set wins."""
    return {"kind": kind, "variables": variables}


def _credential(kind: _Kind, variable: str) -> dict[str, Any]:
    """Return the metadata of a field that the environment gives only when asked for it."""
    return {"kind": kind, "variables": (variable,), "credential": True}


class _Section:
    """A group of settings, checked when it is made."""

    def __post_init__(self) -> None:
        for name, check in _checks_of(type(self)):
            # The class is frozen for everyone else.
            object.__setattr__(self, name, _checked(check, getattr(self, name), name))

    @classmethod
    def from_env(cls) -> Self:
        """Return the settings that the environment gives, and defaults for the rest.

        Raises
        ------
        ConfigurationError
            When a variable has a value that cannot be used; ``parameter`` is its name.
        """
        return cls._from_variables(os.environ, credentials=True)

    @classmethod
    def _from_variables(cls, variables: Mapping[str, str], *, credentials: bool) -> Self:
        values: dict[str, Any] = {}
        for setting in _fields_of(cls):
            if "section" in setting.metadata:
                section = setting.metadata["section"]
                values[setting.name] = section._from_variables(  # noqa: SLF001 - of this class
                    variables, credentials=credentials
                )
                continue
            if "credential" in setting.metadata and not credentials:
                continue
            # All are checked, also those that another one overrules: a mistake stays a mistake.
            for variable in reversed(setting.metadata["variables"]):
                text = variables.get(variable, "")
                if text.strip():
                    kind = setting.metadata["kind"]
                    # A password may begin or end with a space.
                    text = text if kind is _TEXT else text.strip()
                    values[setting.name] = _checked(kind.read, text, variable)
        return cls(**values)


def _variables_in_file(path: str | os.PathLike[str]) -> dict[str, str]:
    import dotenv  # noqa: PLC0415 - where a file is asked for

    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - a path of any kind
            found = dotenv.dotenv_values(stream=file)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise ConfigurationError(
            "dotenv_path", os.fspath(path), f"must be a file that can be read: {reason}"
        ) from None
    return {name: text for name, text in found.items() if text is not None}


def _fields_of(section: type[_Section]) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(section)  # type: ignore[arg-type]  # each subclass is a dataclass


def _variables_of(section: type[_Section]) -> Iterator[str]:
    for setting in _fields_of(section):
        if "section" in setting.metadata:
            yield from _variables_of(setting.metadata["section"])
        else:
            yield from setting.metadata["variables"]


def _checks_of(section: type[_Section]) -> Iterator[tuple[str, Callable[[Any], Any]]]:
    for setting in _fields_of(section):
        if "section" in setting.metadata:
            yield setting.name, _instance_of(setting.metadata["section"])
        else:
            yield setting.name, setting.metadata["kind"].check


def _instance_of(section: type[_T]) -> Callable[[Any], _T]:
    def check(value: Any) -> _T:
        if not isinstance(value, section):
            raise TypeError(f"must be a {section.__name__}")
        return value

    return check


@dataclass(frozen=True, kw_only=True)
class NetworkConfig(_Section):
    """How to reach TradingView, and how long to wait for it.

    Attributes
    ----------
    ws_url : str, default "wss://data.tradingview.com/socket.io/websocket"
        The WebSocket that gives bars and quotes (``TV_WS_URL``).
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
        ``TV_MAX_RETRY_DELAY``).
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
    """

    ws_url: str = field(
        default="wss://data.tradingview.com/socket.io/websocket",
        metadata=_setting(_SOCKET_URL, "TV_WS_URL"),
    )
    base_url: str = field(
        default="https://www.tradingview.com", metadata=_setting(_HTTP_URL, "TV_BASE_URL")
    )
    search_url: str = field(
        default="https://symbol-search.tradingview.com/symbol_search/v3/",
        metadata=_setting(_HTTP_URL, "TV_SEARCH_URL"),
    )
    ws_headers: Mapping[str, str] = field(
        default_factory=lambda: {"Origin": "https://data.tradingview.com"},
        metadata=_setting(_HEADERS),
    )
    connect_timeout: float = field(default=10.0, metadata=_setting(_SECONDS, "TV_CONNECT_TIMEOUT"))
    send_timeout: float = field(default=5.0, metadata=_setting(_SECONDS, "TV_SEND_TIMEOUT"))
    recv_timeout: float = field(
        default=30.0, metadata=_setting(_TIMEOUT, "TV_WS_TIMEOUT", "TV_RECV_TIMEOUT")
    )
    max_response_time: float = field(
        default=60.0, metadata=_setting(_SECONDS, "TV_MAX_RESPONSE_TIME")
    )
    max_retries: int = field(default=3, metadata=_setting(_WHOLE, "TV_MAX_RETRIES"))
    base_retry_delay: float = field(default=2.0, metadata=_setting(_SECONDS, "TV_BASE_RETRY_DELAY"))
    max_retry_delay: float = field(default=60.0, metadata=_setting(_SECONDS, "TV_MAX_RETRY_DELAY"))
    requests_per_minute: int = field(
        default=60, metadata=_setting(_COUNT, "TV_REQUESTS_PER_MINUTE")
    )
    burst_size: int = field(default=10, metadata=_setting(_COUNT, "TV_BURST_SIZE"))
    failure_threshold: int = field(default=5, metadata=_setting(_COUNT, "TV_FAILURE_THRESHOLD"))
    recovery_timeout: float = field(
        default=60.0, metadata=_setting(_SECONDS, "TV_RECOVERY_TIMEOUT")
    )
    silence_timeout: float = field(default=20.0, metadata=_setting(_SECONDS, "TV_SILENCE_TIMEOUT"))
    ping_timeout: float = field(default=5.0, metadata=_setting(_SECONDS, "TV_PING_TIMEOUT"))
    idle_timeout: float = field(default=60.0, metadata=_setting(_SECONDS, "TV_IDLE_TIMEOUT"))
    max_connection_age: float = field(
        default=300.0, metadata=_setting(_SECONDS, "TV_MAX_CONNECTION_AGE")
    )
    max_sessions: int = field(default=100, metadata=_setting(_COUNT, "TV_MAX_SESSIONS"))
    # It may hold a password.
    proxy: str | None = field(default=None, repr=False, metadata=_setting(_PROXY, "TV_PROXY"))
    ca_file: str | None = field(default=None, metadata=_setting(_FILE, "TV_CA_FILE"))


@dataclass(frozen=True, kw_only=True)
class AuthConfig(_Section):
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

    username: str | None = field(default=None, metadata=_credential(_TEXT, "TV_USERNAME"))
    password: str | None = field(
        default=None, repr=False, metadata=_credential(_TEXT, "TV_PASSWORD")
    )
    two_factor_code: str | Callable[[], str] | None = field(
        default=None, repr=False, metadata=_setting(_CODE, "TV_2FA_CODE")
    )
    totp_secret: str | None = field(
        default=None, repr=False, metadata=_setting(_TEXT, "TV_TOTP_SECRET")
    )
    auth_token: str | None = field(
        default=None, repr=False, metadata=_credential(_TEXT, "TV_AUTH_TOKEN")
    )
    sessionid: str | None = field(
        default=None, repr=False, metadata=_credential(_COOKIE_VALUE, "TV_SESSIONID")
    )
    sessionid_sign: str | None = field(
        default=None, repr=False, metadata=_credential(_COOKIE_VALUE, "TV_SESSIONID_SIGN")
    )
    token_cache: str | Literal[False] | None = field(
        default=None, metadata=_setting(_CACHE, "TV_TOKEN_CACHE")
    )
    sign_in_url: str | None = field(default=None, metadata=_setting(_OPTIONAL_URL))
    signin_headers: Mapping[str, str] = field(
        default_factory=lambda: {"Referer": "https://www.tradingview.com"},
        metadata=_setting(_HEADERS),
    )


@dataclass(frozen=True, kw_only=True)
class DataConfig(_Section):
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
    timezone : str, optional
        Timezone of the index: an IANA name, or "exchange". Default: no timezone, the local
        time of the machine (``TV_TIMEZONE``).
    """

    max_bars: int = field(default=5000, metadata=_setting(_COUNT, "TV_MAX_BARS"))
    default_bars: int = field(default=10, metadata=_setting(_COUNT, "TV_DEFAULT_BARS"))
    validate_data: bool = field(default=True, metadata=_setting(_FLAG, "TV_VALIDATE_DATA"))
    fill_missing_volume: FillMissingVolume = field(
        default="zero", metadata=_setting(_VOLUME_FILLING, "TV_FILL_MISSING_VOLUME")
    )
    timezone: str | None = field(default=None, metadata=_setting(_ZONE_NAME, "TV_TIMEZONE"))


@dataclass(frozen=True, kw_only=True)
class ThreadingConfig(_Section):
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

    shutdown_timeout: float = field(
        default=10.0, metadata=_setting(_SECONDS, "TV_SHUTDOWN_TIMEOUT")
    )
    live_mode: LiveMode = field(default="stream", metadata=_setting(_LIVE_MODE, "TV_LIVE_MODE"))
    retry_sleep: float = field(default=0.1, metadata=_setting(_SECONDS, "TV_RETRY_SLEEP"))
    retry_limit: int = field(default=50, metadata=_setting(_COUNT, "TV_RETRY_LIMIT"))
    stop_consumer_on_error: bool = field(
        default=False, metadata=_setting(_FLAG, "TV_STOP_CONSUMER_ON_ERROR")
    )
    daemon: bool = field(default=False, metadata=_setting(_FLAG, "TV_DAEMON"))


@dataclass(frozen=True, kw_only=True)
class TvDatafeedConfig(_Section):
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
    debug: bool = field(default=False, metadata=_setting(_FLAG, "TV_DEBUG"))
    verbose: bool = field(default=True, metadata=_setting(_FLAG, "TV_VERBOSE"))

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
            variables = {**_variables_in_file(dotenv_path), **os.environ}
        return cls._from_variables(variables, credentials=credentials)

    @classmethod
    def default(cls) -> Self:
        """Return the defaults; the environment is not asked."""
        return cls()


DEFAULT_CONFIG = TvDatafeedConfig.default()
