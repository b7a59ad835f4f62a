"""The door to Redis: connections whose every error is a `DeliveryError` with a next step.

A connection here is one socket that ends with its first failure: nothing is tried again in it, and
nothing connects by itself. What was lost with a connection is for its owner to find out.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import parse_qs, quote, unquote, urlsplit

from tvDatafeed.common.redaction import masked_url, redact
from tvDatafeed.config import RedisConfig
from tvDatafeed.exceptions import ConfigurationError, DeliveryError

# The server answers in milliseconds; a firewall that drops packets is noticed after this time.
CONNECT_TIMEOUT_S = 5.0
# For one answer, beyond what a command itself waits for.
SOCKET_TIMEOUT_S = 5.0

_NAME_THE_SERVER = "the URL, such as redis://host:6379/0 (TV_REDIS_URL)"
_PACKAGE = 'needs the package redis: pip install "tvdatafeed[redis]"'

Argument: TypeAlias = str | bytes | int
Command: TypeAlias = Sequence[Argument]


class RefusedError(DeliveryError):
    """An error that the server answered a command with; the connection continues."""

    @property
    def reason(self) -> str:
        """The server's own words."""
        return self._reason

    def __init__(self, message: str, reason: str = "", *, retryable: bool | None = None) -> None:
        super().__init__(message, retryable=retryable)
        self._reason = reason


class _Problem(NamedTuple):
    """An error of the server: names of its class, words of its text, and what to do."""

    classes: tuple[str, ...]
    words: tuple[str, ...]
    hint: str
    retryable: bool = True


# The first that applies.
_PROBLEMS = (
    _Problem(
        ("AuthenticationError", "AuthenticationWrongNumberOfArgsError"),
        ("NOAUTH", "WRONGPASS", "invalid password"),
        f"check the user and the password in {_NAME_THE_SERVER}",
        retryable=False,
    ),
    _Problem(
        ("NoPermissionError",),
        ("NOPERM",),
        "allow the user of TV_REDIS_URL the keys and the commands of streams (ACL SETUSER)",
        retryable=False,
    ),
    _Problem((), ("max number of clients",), "close other clients, or raise maxclients"),
    _Problem(("BusyLoadingError",), ("LOADING",), "the server loads its data: wait for it"),
    _Problem(
        ("ReadOnlyError",),
        ("READONLY",),
        "name the primary server (TV_REDIS_URL): a replica cannot be written",
    ),
    _Problem(
        ("OutOfMemoryError",),
        ("OOM",),
        "raise maxmemory of the server, or publish with a smaller maxlen",
    ),
    _Problem((), ("MISCONF",), "the server cannot save its data: free disk space there"),
    _Problem(
        ("MovedError", "AskError", "ClusterCrossSlotError", "ClusterDownError"),
        ("MOVED", "ASK ", "CROSSSLOT"),
        "name a single server (TV_REDIS_URL): a cluster is not supported",
        retryable=False,
    ),
    _Problem(
        (),
        ("unknown command", "syntax error", "wrong number of arguments"),
        "Redis 6.2 or Valkey 7.2, or newer, is needed (TV_REDIS_URL)",
        retryable=False,
    ),
    _Problem(
        (),
        ("WRONGTYPE",),
        "another program uses this key: choose another prefix",
        retryable=False,
    ),
    _Problem(
        (), ("DB index is out of range",), f"name a database that exists in {_NAME_THE_SERVER}"
    ),
    _Problem(
        ("TimeoutError",), (), f"check that the server can be reached, and {_NAME_THE_SERVER}"
    ),
)
# Options that a URL may have for other programs: nothing is tried again here, nor decoded.
_NOT_FOR_URLS = (
    "decode_responses",
    "health_check_interval",
    "max_connections",
    "retry_on_error",
    "retry_on_timeout",
    "timeout",
)
_UNREACHABLE = f"check that the server runs and can be reached, and {_NAME_THE_SERVER}"


class RedisServer:
    """A server, as its URL names it; nothing is opened yet.

    Parameters
    ----------
    url
        ``redis://``, ``rediss://`` or ``unix://``; None for that of the settings.
    config
        Settings; None for those of the environment.

    Attributes
    ----------
    shown : str
        The URL without its password.

    Raises
    ------
    ConfigurationError
        There is no URL, it cannot be used, or the package redis is not installed.
    """

    def __init__(self, url: str | None, config: RedisConfig | None) -> None:
        if url is None:
            url = (RedisConfig.from_env() if config is None else config).url
        if url is None:
            raise ConfigurationError("url", None, "must be given (TV_REDIS_URL)")
        checked = RedisConfig(url=url).url
        assert checked is not None  # noqa: S101 - as given
        self._url = checked
        self.shown: str = masked_url(checked)
        self._secrets = _secrets_of(checked)
        try:
            import redis  # noqa: PLC0415 - an extra
            from redis.connection import parse_url  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise ConfigurationError("url", self.shown, _PACKAGE) from error
        self._redis: Any = redis
        self._parse_url: Any = parse_url
        # A URL that the package cannot read is an error now, and not in a thread.
        self._connection()

    @property
    def package(self) -> Any:
        """The package redis."""
        return self._redis

    def __repr__(self) -> str:
        return f"<RedisServer {self.shown}>"

    def connect(self) -> "RedisConnection":
        """Open a connection.

        Raises
        ------
        DeliveryError
            The server cannot be reached, or refuses this client.
        """
        connection = self._connection()
        with self.mapped():
            try:
                connection.connect()
            except BaseException:
                connection.disconnect()
                raise
        return RedisConnection(self, connection)

    def _connection(self) -> Any:
        try:
            options = self._parse_url(self._url)
            kind = options.pop("connection_class", self._redis.Connection)
            for name in _NOT_FOR_URLS:
                options.pop(name, None)
            times = {
                "socket_connect_timeout": CONNECT_TIMEOUT_S,
                "socket_timeout": SOCKET_TIMEOUT_S,
            }
            # Answers are read as bytes, in the protocol that all servers have.
            return kind(**{**times, **options, "protocol": 2})
        except (ValueError, TypeError, self._redis.RedisError):
            # The text of the error may repeat a part of the password.
            raise ConfigurationError(
                "url", self.shown, "must be like redis://host:6379/0 (TV_REDIS_URL)"
            ) from None

    @contextlib.contextmanager
    def mapped(self) -> Iterator[None]:
        """Raise a `DeliveryError` for an error of the package."""
        try:
            yield
        except (self._redis.RedisError, OSError, UnicodeError) as error:
            found = self.error_of(error)
        else:
            return
        # Not chained: the frames of the package hold the password.
        raise found from None

    def error_of(self, error: BaseException) -> DeliveryError:
        """Return the `DeliveryError` for an error of the package."""
        text = (
            redact(" ".join(str(error).split()).rstrip("."), self._secrets) or type(error).__name__
        )
        names = {cls.__name__ for cls in type(error).__mro__}
        problem = next(
            (p for p in _PROBLEMS if names & set(p.classes) or any(w in text for w in p.words)),
            None,
        )
        message = f"the Redis server {self.shown}: {text}"
        if isinstance(error, self._redis.ResponseError):
            hint, retryable = (problem.hint, problem.retryable) if problem else ("", True)
            return RefusedError(
                f"{message}; {hint}" if hint else message, text, retryable=retryable
            )
        hint, retryable = (problem.hint, problem.retryable) if problem else (_UNREACHABLE, True)
        return DeliveryError(f"{message}; {hint}", retryable=retryable)


class RedisConnection:
    """One connection, of one thread. After a `DeliveryError` other than a refusal it is closed."""

    def __init__(self, server: RedisServer, connection: Any) -> None:
        self._server = server
        self._connection = connection

    def execute(self, *command: Argument) -> Any:
        """Send a command and return its answer.

        Raises
        ------
        RefusedError
            The server answered with an error.
        DeliveryError
            The connection is lost.
        """
        (answer,) = self.execute_all([command])
        if isinstance(answer, RefusedError):
            raise answer
        return answer

    def execute_all(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands at once and return their answers; a refusal is a `RefusedError` there.

        Raises
        ------
        DeliveryError
            The connection is lost: what the server has done of it is not known.
        """
        with self._server.mapped():
            try:
                self._connection.send_packed_command(
                    self._connection.pack_commands(commands), check_health=False
                )
                return [self._answer() for _command in commands]
            except BaseException:
                self._connection.disconnect()
                raise

    def _answer(self) -> Any:
        errors = self._server.package
        try:
            answer = self._connection.read_response()
        except errors.ResponseError as error:
            # Errors that end a connection are not ResponseErrors.
            return self._server.error_of(error)
        if isinstance(answer, list):
            # Of a transaction: an error among its answers.
            for part in answer:
                if isinstance(part, errors.ResponseError):
                    return self._server.error_of(part)
        return answer

    def close(self) -> None:
        """Close the connection."""
        self._connection.disconnect()


def _secrets_of(url: str) -> list[str]:
    """Return what must not be shown of a URL: passwords, quoted and not."""
    try:
        parts = urlsplit(url)
        found = [parts.password or "", *parse_qs(parts.query).get("password", [])]
    except ValueError:
        found = []
    # A password that was not quoted may hold any character.
    found.append(url.partition("://")[2].rpartition("@")[0].partition(":")[2])
    return [text for one in found if one for text in (one, unquote(one), quote(unquote(one)))]
