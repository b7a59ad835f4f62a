"""Settings: groups of checked values, which can come from environment variables.

A setting is a field of a dataclass that inherits from `Section`; the metadata of the field contains
the kind of value and the names of its variables.
"""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar, get_args
from urllib.parse import urlsplit

from tvDatafeed.common.hosts import is_loopback
from tvDatafeed.common.numbers import count, whole_number
from tvDatafeed.exceptions import ConfigurationError

if TYPE_CHECKING:
    from typing_extensions import Self

FillMissingVolume = Literal["zero", "nan", "forward", "interpolate"]
LiveMode = Literal["stream", "poll"]

_T = TypeVar("_T")

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# Headers that the sender sets itself: the length of a message, and the end of a connection.
_OWN_HEADERS = {"host", "content-length", "transfer-encoding", "connection"}
_COOKIE = re.compile(r"[!-:<-~]+")
_VISIBLE = re.compile(r"[!-~]+")
_BOT_TOKEN = re.compile(r"[0-9]+:[A-Za-z0-9_-]+")


def checked(check: Callable[[Any], _T], value: object, parameter: str) -> _T:
    """Return the checked value; add the name of the setting to an error."""
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


def timeout(value: Any) -> float:
    """Return a time limit in seconds: more than 0, or -1 for no limit."""
    number = _number(value)
    if number <= 0 and number != -1:
        raise ValueError("must be more than 0 seconds, or -1 for no limit")
    return number


def _count_in_text(text: str) -> int:
    try:
        return count(int(text))
    except ValueError:
        raise ValueError("must be a whole number of at least 1") from None


def _optional_count(value: Any) -> int | None:
    return None if value is None else count(value)


def days(value: Any) -> float:
    """Return a number of days of at least 0."""
    if isinstance(value, bool):
        raise TypeError("must be a number of days, not a bool")
    try:
        number = float(value)
    except (ValueError, TypeError, OverflowError):
        raise ValueError("must be a number of days") from None
    if not (math.isfinite(number) and number >= 0):
        raise ValueError("must be a number of days of at least 0")
    return number


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
    authority = re.match(r"[^/?#]*(//[^/?#]*)?", value)
    if authority and "@" in value[authority.end() :]:
        raise ValueError(
            "must have the characters / ? and # of a user and a password as %2F, %3F and %23"
        )
    try:
        parts = urlsplit(value)
        host, _port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("must be a URL with a valid host and port") from None
    if parts.scheme != "http" or not host:
        raise ValueError("must be the URL of an HTTP proxy: http://host:port")
    return value


def _expanded(path: str) -> str:
    """Return a path with ``~`` replaced by the home folder, since no shell has expanded it."""
    full = os.path.expanduser(path)  # noqa: PTH111 - pathlib raises RuntimeError without a home
    if full.startswith("~"):
        raise ValueError("begins with ~, and that home folder is not known: use a full path")
    return full


def _file(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str | os.PathLike):
        raise ValueError("must be the path of a file that exists")  # noqa: TRY004 - as below
    path = _expanded(os.fsdecode(value))
    if not Path(path).is_file():
        raise ValueError("must be the path of a file that exists")
    return path


def _zone(value: Any) -> str | tzinfo | None:
    if value is None or isinstance(value, tzinfo):
        return value
    if not isinstance(value, str):
        raise TypeError("must be the name of a timezone, a tzinfo, or None")
    return value.strip() or None


def _text(value: Any) -> str | None:
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise ValueError("must be a text that is not empty, or None")
    return value


def _cookie(value: Any) -> str | None:
    # A semicolon or a line break would start another cookie or header.
    if value is not None and not (isinstance(value, str) and _COOKIE.fullmatch(value)):
        raise ValueError("must be the value of a cookie, such as a browser shows it, or None")
    return value


def _bearer_token(value: Any) -> str | None:
    # Characters that a header can contain without quotes.
    if value is not None and not (isinstance(value, str) and _VISIBLE.fullmatch(value)):
        raise ValueError("must be a text of letters, digits and punctuation, or None")
    return value


def _bot_token(value: Any) -> str | None:
    if value is not None and not (isinstance(value, str) and _BOT_TOKEN.fullmatch(value)):
        raise ValueError(
            "must be the token of a bot, digits:letters, as Telegram shows it, or None"
        )
    return value


def _chat_id(value: Any) -> str | None:
    if value is None:
        return None
    text = str(value).strip() if isinstance(value, int | str) else ""
    if isinstance(value, bool) or not text or not text.isprintable():
        raise ValueError("must be the number of a chat or the @name of a channel, or None")
    return text


def _code(value: Any) -> str | Callable[[], str] | None:
    if value is not None and not callable(value) and not (isinstance(value, str) and value.strip()):
        raise ValueError("must be a text, since codes may begin with 0, or a callable, or None")
    return value  # type: ignore[no-any-return]  # as checked


def _cache(value: Any) -> str | Literal[False] | None:
    if value is None or value is False:
        return value
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise ValueError("must be the path of a file, False for no cache, or None")
    return _expanded(os.fsdecode(value))


def _cache_in_text(text: str) -> str | Literal[False]:
    return False if text.lower() == "off" else _expanded(text)


def _secrets(value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    secrets = (value,) if isinstance(value, str) else value
    if not isinstance(secrets, Sequence) or isinstance(secrets, bytes | bytearray):
        raise TypeError("must be a text or a sequence of texts")
    if not secrets or not all(isinstance(secret, str) and secret for secret in secrets):
        raise ValueError("must be a text that is not empty, or several")
    return tuple(secrets)


def _path(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise ValueError("must be the path of a file, or None")
    return _expanded(os.fsdecode(value))


def _optional_url(value: Any) -> str | None:
    return None if value is None else _url("http", "https")(value)


def _url(*schemes: str) -> Callable[[Any], str]:
    forms = " or ".join(f"{scheme}://" for scheme in schemes)

    def check(value: Any) -> str:
        # urlsplit silently drops line breaks and tabs.
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


def _redis_url(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value.isprintable() or " " in value:
        raise ValueError("must be a URL such as redis://user:password@host:6379/0")
    scheme, _, rest = value.partition("://")
    if scheme not in {"redis", "rediss", "unix"} or not rest:
        raise ValueError("must be a URL that starts with redis://, rediss:// or unix://")
    return value


def check_encrypted(url: str, parameter: str) -> None:
    """Raise a `ConfigurationError` for a URL without TLS, unless its host is this machine.

    Others in the network could read passwords, cookies and tokens.
    """
    parts = urlsplit(url)
    if parts.scheme in {"https", "wss"} or is_loopback(parts.hostname or ""):
        return
    raise ConfigurationError(
        parameter,
        url,
        f"must be a URL that starts with {parts.scheme}s://, since passwords, cookies and tokens "
        "could be read on the way; allow_insecure (TV_ALLOW_INSECURE=true) allows it",
    )


def check_https(url: str, parameter: str) -> None:
    """Raise a `ConfigurationError` for a URL without TLS, unless its host is this machine."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        host = parts.hostname
        raise ConfigurationError(
            parameter,
            f"{parts.scheme}://{host}",
            "must be a URL that starts with https://, since messages could be read on the way; "
            "http:// is for this machine alone",
        )


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
        # Any other header may be a cookie or a token.
        shown = {name: text if name == "Origin" else "***" for name, text in self._items.items()}
        return repr(shown)


def _headers(value: Any) -> Mapping[str, str]:
    if not isinstance(value, Mapping):
        raise TypeError("must map header names to texts")
    for name, text in value.items():
        if not isinstance(name, str) or not isinstance(text, str):
            raise TypeError("must map header names to texts")
        # A line break would split one header into two.
        if not name or not (name + text).isprintable():
            raise ValueError("must have header names and texts of printable characters")
    return _Headers(value)


def validated_headers(value: Any) -> Mapping[str, str]:
    """Return headers that can be sent, in printable ASCII, or raise `ConfigurationError`."""
    headers = checked(_headers, value, "headers")
    for name, text in headers.items():
        if not _HEADER_NAME.fullmatch(name) or not text.isascii():
            raise ConfigurationError("headers", None, "must have names and texts of ASCII")
        if name.lower() in _OWN_HEADERS:
            raise ConfigurationError("headers", name, "is set by the library")
    return headers


class _Kind(NamedTuple):
    """The kind of a setting: `check` checks any value, `read` reads the text of a variable."""

    check: Callable[[Any], Any]
    read: Callable[[str], Any]


def _choice(*choices: str) -> _Kind:
    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return value

    return _Kind(check, lambda text: check(text.lower()))


SECONDS = _Kind(_seconds, _seconds)
TIMEOUT = _Kind(timeout, timeout)
COUNT = _Kind(count, _count_in_text)
WHOLE = _Kind(_whole, _whole_in_text)
OPTIONAL_COUNT = _Kind(_optional_count, _count_in_text)
DAYS = _Kind(days, days)
FLAG = _Kind(_flag, _flag_in_text)
VOLUME_FILLING = _choice(*get_args(FillMissingVolume))
LIVE_MODE = _choice(*get_args(LiveMode))
ZONE = _Kind(_zone, _zone)
SOCKET_URL = _Kind(_url("ws", "wss"), _url("ws", "wss"))
HTTP_URL = _Kind(_url("http", "https"), _url("http", "https"))
HEADERS = _Kind(_headers, _headers)
PROXY = _Kind(_proxy, _proxy)
FILE = _Kind(_file, _file)
TEXT = _Kind(_text, _text)
CODE = _Kind(_code, _code)
COOKIE_VALUE = _Kind(_cookie, _cookie)
BEARER_TOKEN = _Kind(_bearer_token, _bearer_token)
CACHE = _Kind(_cache, _cache_in_text)
OPTIONAL_URL = _Kind(_optional_url, _optional_url)
SECRETS = _Kind(_secrets, lambda text: tuple(text.split()))
PATH = _Kind(_path, _path)
BOT_TOKEN = _Kind(_bot_token, _bot_token)
REDIS_URL = _Kind(_redis_url, _redis_url)
CHAT_ID = _Kind(_chat_id, _chat_id)


def seconds_between(low: float, high: float) -> _Kind:
    """Return the kind of a number of seconds within limits."""

    def check(value: Any) -> float:
        number = _number(value)
        if not low <= number <= high:
            raise ValueError(f"must be {low:g} to {high:g} seconds")
        return number

    return _Kind(check, check)


def whole_between(low: int, high: int | None, unit: str = "") -> _Kind:
    """Return the kind of a whole number within limits; None means there is no upper limit."""
    limits = f"at least {low}" if high is None else f"{low} to {high}"

    def check(value: Any) -> int:
        try:
            number = whole_number(value)
        except TypeError:
            raise TypeError(f"must be a whole number, {limits}{unit}") from None
        if number < low or (high is not None and number > high):
            raise ValueError(f"must be {limits}{unit}")
        return number

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise ValueError(f"must be a whole number, {limits}{unit}") from None
        return check(number)

    return _Kind(check, read)


class DefaultText(str):
    """The default text of a setting, distinct from the same text that a program has chosen."""

    __slots__ = ()


def setting(kind: _Kind, *variables: str) -> dict[str, Any]:
    """Return a field's metadata; if several variables are set, the first one is used."""
    return {"kind": kind, "variables": variables}


def credential(kind: _Kind, variable: str) -> dict[str, Any]:
    """Return the metadata of a field that is read from the environment only on request."""
    return {"kind": kind, "variables": (variable,), "credential": True}


class Section:
    """A group of settings, checked when it is created."""

    def __post_init__(self) -> None:
        for name, check in _checks_of(type(self)):
            # The class is frozen for all other code.
            object.__setattr__(self, name, checked(check, getattr(self, name), name))
        self._check_together()

    def _check_together(self) -> None:
        """Raise a `ConfigurationError` for values that are valid alone but not together."""

    @classmethod
    def _from_variables(cls, variables: Mapping[str, str], *, credentials: bool) -> Self:
        values: dict[str, Any] = {}
        variable_of: dict[str, str] = {}
        for field in _fields_of(cls):
            if "section" in field.metadata:
                section = field.metadata["section"]
                values[field.name] = section._from_variables(  # noqa: SLF001 - of this class
                    variables, credentials=credentials
                )
                continue
            if "credential" in field.metadata and not credentials:
                continue
            # All variables are checked, also unused ones, so that mistakes are reported.
            for variable in reversed(field.metadata["variables"]):
                text = variables.get(variable, "")
                if text.strip():
                    kind = field.metadata["kind"]
                    # A password may begin or end with a space.
                    text = text if kind is TEXT else text.strip()
                    values[field.name] = checked(kind.read, text, variable)
                    variable_of[field.name] = variable
        try:
            return cls(**values)
        except ConfigurationError as error:
            if error.parameter not in variable_of:
                raise
            variable = variable_of[error.parameter]
            raise ConfigurationError(variable, error.value, error.reason) from None


def variables_in_file(path: str | os.PathLike[str]) -> dict[str, str]:
    """Return the variables that a ``.env`` file sets.

    Raises
    ------
    ConfigurationError
        The file cannot be read.
    """
    import dotenv  # noqa: PLC0415 - only for a file

    full = checked(_expanded, os.fsdecode(path), "dotenv_path")
    try:
        # Editors on Windows write a byte order mark at the start of a file.
        with open(full, encoding="utf-8-sig") as file:  # noqa: PTH123 - a path of any kind
            # A password may contain "${".
            found = dotenv.dotenv_values(stream=file, interpolate=False)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ConfigurationError(
            "dotenv_path", full, f"must be a file that can be read: {reason}"
        ) from None
    return {name: text for name, text in found.items() if text is not None}


def _fields_of(section: type[Section]) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(section)  # type: ignore[arg-type]  # each subclass is a dataclass


def variables_of(section: type[Section]) -> Iterator[str]:
    """Yield the names of all variables of a section and the sections inside it."""
    for field in _fields_of(section):
        if "section" in field.metadata:
            yield from variables_of(field.metadata["section"])
        else:
            yield from field.metadata["variables"]


def _checks_of(section: type[Section]) -> Iterator[tuple[str, Callable[[Any], Any]]]:
    for field in _fields_of(section):
        if "section" in field.metadata:
            yield field.name, _instance_of(field.metadata["section"])
        else:
            yield field.name, field.metadata["kind"].check


def _instance_of(section: type[_T]) -> Callable[[Any], _T]:
    def check(value: Any) -> _T:
        if not isinstance(value, section):
            raise TypeError(f"must be a {section.__name__}")
        return value

    return check
