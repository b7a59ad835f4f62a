"""TDengine's REST interface: statements, how texts and numbers are written in them, and errors.

Facts are from TDengine 3's documentation: "REST API", "Escape Characters", "Names & Limits" and
"Error Code Reference" (docs.tdengine.com). No server was at hand to try them.
"""

import base64
import math
import re
import time
from dataclasses import replace
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from tvDatafeed.common.redaction import masked_url
from tvDatafeed.config import NetworkConfig
from tvDatafeed.exceptions import ConfigurationError, NetworkError, StoreError
from tvDatafeed.network.http import HttpClient

DEFAULT_PORT = 6041
# The longest that TDengine allows; its default removes bars, and refuses them, after ten years.
KEEP_DAYS = 365000
# A statement has at most 1048576 characters; what is built here stays well below.
MAX_STATEMENT_BYTES = 900_000
# "Table does not exist", from the parser and from a vnode.
_NO_TABLE = frozenset({0x2603, 0x0600, 0x0618})
_NO_DATABASE = frozenset({0x0388, 0x0380, 0x2616})
_BAD_LOGIN = frozenset({0x0315, 0x0350, 0x0351, 0x0352, 0x0353, 0x0357, 0x0358})
_NO_RIGHT = frozenset({0x0303, 0x0512, 0x2644})
_TOO_OLD = frozenset({0x060B})
_NO_SPACE = frozenset({0x012B, 0x2208})
_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _UNAVAILABLE = 401, 403, 404, 503
_LONGEST_S = 86400.0
_MAX_SHOWN = 200
_DATABASE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
# Written without a point, which would be read as the whole number 0.
_NEGATIVE_ZERO = re.compile(rb"(?<=[\[,])-0(?=[,\]])")
_FORM = "must be tdengine://user:password@host:6041/database"
_ESCAPES = str.maketrans(
    {"\\": "\\\\", "'": "\\'", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
)


class Refused(StoreError):  # noqa: N818 - what the server has done
    """The server has answered a statement with an error.

    Attributes
    ----------
    code : int
        TDengine's code, without its leading 0x8000.
    """

    def __init__(self, message: str, code: int, *, hint: str = "") -> None:
        self.code = code
        super().__init__(message, hint=hint)

    @property
    def is_missing_table(self) -> bool:
        """Whether a table does not exist."""
        return self.code in _NO_TABLE

    @property
    def is_missing_database(self) -> bool:
        """Whether the database does not exist."""
        return self.code in _NO_DATABASE


class _Reply(msgspec.Struct):
    """The body of an answer."""

    code: int
    desc: str = ""
    data: list[list[Any]] = []


class _Bars(msgspec.Struct):
    """The body of an answer that has bars: the time in milliseconds, and five numbers."""

    code: int
    desc: str = ""
    data: list[
        tuple[int, float | None, float | None, float | None, float | None, float | None]
    ] = []


class TdengineRest:
    """Runs statements, each in a request of its own.

    Parameters
    ----------
    url
        ``tdengine://user:password@host:6041/database``; ``tdengine+https://`` uses TLS.
    timeout_s
        How long one statement may take.

    Raises
    ------
    ConfigurationError
        When the URL cannot be used.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        self.url: str = masked_url(url)
        try:
            parts = urlsplit(url)
            port = parts.port or DEFAULT_PORT
        except ValueError:
            raise ConfigurationError("store", self.url, _FORM) from None
        database = unquote(parts.path).strip("/")
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        if not (parts.hostname and user and password and _DATABASE.fullmatch(database)):
            raise ConfigurationError("store", self.url, _FORM)
        self.user = user
        # As TDengine does with a name that is not quoted.
        self.database: str = database.lower()
        self._timeout_s = min(timeout_s, _LONGEST_S)
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        scheme = "https" if parts.scheme.lower().endswith("+https") else "http"
        self._address = f"{scheme}://{host}:{port}/rest/sql"
        token = base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
        self._headers = {
            "Authorization": f"Basic {token}",
            "Content-Type": "text/plain; charset=utf-8",
        }
        # The proxy is the way to TradingView, not to a database; neither is that recorded.
        network = replace(NetworkConfig.from_env(), proxy=None, recv_timeout=-1.0, record=None)
        self._client = HttpClient(network)

    def __repr__(self) -> str:
        return f"<TdengineRest {self.url}>"

    def ask(self, statement: str) -> list[list[Any]]:
        """Run a statement; return its rows.

        Raises
        ------
        Refused
            When the server answers with an error.
        StoreError
            When it cannot be reached, or does not answer as TDengine does.
        """
        rows: list[list[Any]] = self._decoded(statement, _Reply).data
        return rows

    def ask_bars(self, statement: str) -> "list[tuple[Any, ...]]":
        """Run a statement whose rows are a time and five numbers; see `ask`."""
        return list(self._decoded(statement, _Bars).data)

    def table(self, name: str) -> str:
        """Return the quoted name of a table with its database, since requests have no session."""
        return f"`{self.database}`.`{name}`"

    def _decoded(self, statement: str, kind: Any) -> Any:
        deadline = time.monotonic() + self._timeout_s
        try:
            reply = self._client.send(
                self._address, statement.encode("utf-8"), headers=self._headers, deadline=deadline
            )
        except NetworkError as error:
            raise StoreError(
                f"the bar store {self.url} cannot be reached: {error}",
                hint=f"check that taosAdapter runs there (port {DEFAULT_PORT} unless changed)",
            ) from error
        problem = "its answer is not one of TDengine's"
        data = _NEGATIVE_ZERO.sub(b"-0.0", reply.body) if kind is _Bars else reply.body
        try:
            body = msgspec.json.decode(data, type=kind)
        except (msgspec.DecodeError, RecursionError, ValueError):
            body = None
        if body is not None:
            # Most errors come with HTTP status 200.
            if not body.code and reply.status == 200:  # noqa: PLR2004
                return body
            raise self._refused(reply.status, body.code & 0xFFFF, body.desc)
        if reply.status in {_UNAUTHORIZED, _FORBIDDEN, _UNAVAILABLE}:
            raise self._refused(reply.status, 0, "")
        raise StoreError(
            f"the bar store {self.url} cannot be used: {problem} (HTTP status {reply.status})",
            hint=f"check the host and the port; taosAdapter listens on {DEFAULT_PORT}",
        )

    def _refused(self, status: int, code: int, text: str) -> Refused:
        """Return the error for an answer: the one place where TDengine's codes become ours."""
        shown = "".join(c if c.isprintable() else "?" for c in text)[:_MAX_SHOWN]
        message = f"the bar store {self.url} has answered error 0x{code:04X}: {shown or status}"
        hint = "try again later"
        if status == _UNAUTHORIZED or code in _BAD_LOGIN:
            message = f"the bar store {self.url} refuses the user {self.user!r} or its password"
            hint = "correct the user and the password in the URL (TV_STORE_URL)"
        elif status == _FORBIDDEN or code in _NO_RIGHT:
            hint = f"let an administrator run: GRANT ALL ON {self.database}.* TO {self.user}"
        elif code in _NO_DATABASE:
            hint = f"let an administrator run: {self.create_database()}"
        elif code in _TOO_OLD:
            hint = f"keep older bars: ALTER DATABASE {self.database} KEEP {KEEP_DAYS}"
        elif code in _NO_SPACE:
            hint = "free some disk space there, or limit the store (TV_STORE_MAX_BARS)"
        return Refused(message, code, hint=hint)

    def create_database(self) -> str:
        """Return the statement that makes the database."""
        return f"CREATE DATABASE IF NOT EXISTS `{self.database}` PRECISION 'ms' KEEP {KEEP_DAYS}"


def quoted(text: str) -> str:
    """Return a text as a literal; the only function that puts text into a statement.

    Raises
    ------
    StoreError
        When it has a NUL character, which ends a statement.
    """
    if "\0" in text:
        raise StoreError("a text with a NUL character cannot be stored in TDengine")
    return f"'{text.translate(_ESCAPES)}'"


def number(value: float) -> str:
    """Return a number as a literal that is read back bit for bit; NaN is NULL.

    Raises
    ------
    StoreError
        When it is infinite.
    """
    if math.isnan(value):
        return "NULL"
    if math.isinf(value):
        raise StoreError("TDengine cannot store an infinite number")
    # With a point or an exponent, which makes it a floating-point literal.
    return repr(float(value))
