"""The HTTP server of the loopback TDengine, in the role of taosAdapter."""

import base64
import json
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Literal

from tvDatafeed.testing.tdengine import errors
from tvDatafeed.testing.tdengine.database import Result, Server
from tvDatafeed.testing.tdengine.errors import SqlError

FaultKind = Literal["error", "status", "stall", "drop", "cut", "garbage"]

_PATH = "/rest/sql"
_POLL_S = 0.01
_NO_AUTH_INFO, _NO_SQL = 0x1105, 0x1109
_LEAST_PLAIN, _MOST_PLAIN = 1e-6, 1e21
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass
class TdengineFault:
    """What `FakeTDengine` does instead of answering.

    Parameters
    ----------
    kind
        "error" answers with `code` and HTTP status 200, without running the statement; "status"
        answers with an HTTP status and no JSON; "stall" does not answer until the server stops or
        `clear_faults` is called; "drop" closes the connection without running the statement;
        "cut" runs it and closes the connection in the middle of the answer; "garbage" runs it and
        answers what is not JSON.
    code
        TDengine's code for "error", the HTTP status for "status".
    text
        The description for "error".
    times
        The number of statements that it is applied to; None for all.
    containing
        Only for statements that contain this text.
    after
        How many of those statements are answered as usual before the first fault.
    """

    kind: FaultKind
    code: int = errors.SYNTAX
    text: str = "injected"
    times: int | None = 1
    containing: str = ""
    after: int = 0


class FakeTDengine:
    """A server that answers ``POST /rest/sql`` as TDengine 3's documentation says.

    It understands the statements that this library sends, keeps rows in memory, and refuses what a
    TDengine refuses: other statements, statements of more than 1 MB, reserved words as names, rows
    older than KEEP, and wrong credentials. It was written from the documentation, and was not
    compared with a real server.

    Parameters
    ----------
    user, password
        The credentials.
    database
        The database in `url`; it does not exist before it is made.
    version
        What ``SERVER_VERSION()`` answers.
    can_create
        Whether the user may make databases.
    clock
        Returns the time in epoch seconds, for KEEP.

    Examples
    --------
    >>> from tvDatafeed.testing import FakeTDengine
    >>> with FakeTDengine() as server:
    ...     server.run("SELECT SERVER_VERSION()")
    [['3.3.6.0']]
    """

    def __init__(
        self,
        *,
        user: str = "root",
        password: str = "taosdata",  # noqa: S107 - TDengine's own default
        database: str = "tv",
        version: str = "3.3.6.0",
        can_create: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.user = user
        self.password = password
        self.database = database
        # Whether errors have the HTTP statuses of `httpCodeServerError`.
        self.uses_statuses = False
        self._server = Server(version, can_create=can_create, clock=clock)
        self._faults: list[TdengineFault] = []
        self._statements: list[str] = []
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._port = 0
        self._http: _Http | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "FakeTDengine":  # noqa: PYI034 - Self needs Python 3.11
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        state = "stopped" if self._http is None else "listening"
        return f"<FakeTDengine 127.0.0.1:{self._port} {state}, {len(self._statements)} statements>"

    @property
    def url(self) -> str:
        """The URL for `BarStore`, with the password."""
        return f"tdengine://{self.user}:{self.password}@127.0.0.1:{self._port}/{self.database}"

    @property
    def statements(self) -> list[str]:
        """The statements that were received, in order."""
        with self._lock:
            return list(self._statements)

    @property
    def version(self) -> str:
        """What ``SERVER_VERSION()`` answers; it can be changed."""
        return self._server.version

    @version.setter
    def version(self, version: str) -> None:
        self._server.version = version

    @property
    def can_create(self) -> bool:
        """Whether the user may make databases; it can be changed."""
        return self._server.can_create

    @can_create.setter
    def can_create(self, can_create: bool) -> None:
        self._server.can_create = can_create

    @property
    def row_limit(self) -> int | None:
        """How many rows an answer has at most (``restfulRowLimit``); it can be changed."""
        return self._server.row_limit

    @row_limit.setter
    def row_limit(self, row_limit: int | None) -> None:
        self._server.row_limit = row_limit

    def start(self) -> None:
        """Start to listen; the port stays the same after a restart."""
        if self._http is not None:
            return
        self._released.clear()
        self._http = _Http(self, self._port)
        self._port = self._http.server_address[1]
        self._thread = threading.Thread(
            target=self._http.serve_forever, args=(_POLL_S,), name="FakeTDengine", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop listening; the rows stay, and connections are refused until `start`."""
        if self._http is None or self._thread is None:
            return
        self._released.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
        self._http = self._thread = None

    def inject(self, *faults: TdengineFault) -> None:
        """Add faults."""
        with self._lock:
            self._faults += faults

    def clear_faults(self) -> None:
        """Remove all faults; stalled requests are dropped."""
        with self._lock:
            self._faults.clear()
        released, self._released = self._released, threading.Event()
        released.set()

    def run(self, sql: str) -> list[list[Any]]:
        """Run a statement without HTTP.

        Parameters
        ----------
        sql
            The statement.

        Returns
        -------
        list of list
            Its rows.

        Raises
        ------
        SqlError
            When it is refused.
        """
        with self._lock:
            return self._server.run(sql).rows

    def answer(self, handler: "_Handler", sql: str) -> None:
        """Answer one request; for the server's own use."""
        with self._lock:
            self._statements.append(sql)
            fault = self._next_fault(sql)
            released = self._released
            status, body = 200, b""
            if fault is None or fault.kind in {"cut", "garbage"}:
                try:
                    body = _body(self._server.run(sql))
                except SqlError as error:
                    status, body = self._status(error), _error(error.code, error.text)
        if fault is None:
            handler.reply(status, body)
        elif fault.kind == "error":
            handler.reply(200, _error(fault.code, fault.text))
        elif fault.kind == "status":
            handler.reply(fault.code, b"unavailable")
        elif fault.kind == "garbage":
            handler.reply(200, b"<html>")
        elif fault.kind == "cut":
            handler.reply(200, body, cut=len(body) // 2)
        else:
            if fault.kind == "stall":
                released.wait()
            handler.drop()

    def _next_fault(self, sql: str) -> TdengineFault | None:
        for fault in self._faults:
            if fault.containing not in sql:
                continue
            if fault.after > 0:
                fault.after -= 1
                continue
            if fault.times is not None:
                fault.times -= 1
                if not fault.times:
                    self._faults.remove(fault)
            return fault
        return None

    def _status(self, error: SqlError) -> int:
        if not self.uses_statuses:
            return 200
        return 400 if error.code in {errors.SYNTAX, errors.OUT_OF_RANGE} else 500


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = True

    def __init__(self, owner: FakeTDengine, port: int) -> None:
        self.owner = owner
        super().__init__(("127.0.0.1", port), _Handler)

    def handle_error(self, *_request: object) -> None:
        """Ignore clients that have gone."""


class _Handler(BaseHTTPRequestHandler):
    server: _Http
    timeout: ClassVar[float] = 30.0

    def do_POST(self) -> None:
        """Answer a statement."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        owner = self.server.owner
        if self.path.partition("?")[0].rstrip("/") != _PATH:
            self.reply(404, b"404 page not found")
            return
        given = self.headers.get("Authorization", "")
        if not given:
            self.reply(401, _error(_NO_AUTH_INFO, "no auth info input"))
            return
        token = base64.b64encode(f"{owner.user}:{owner.password}".encode()).decode("ascii")
        if given != f"Basic {token}":
            self.reply(401, _error(errors.AUTHENTICATION, errors.TEXTS[errors.AUTHENTICATION]))
            return
        sql = body.decode("utf-8", "replace").strip()
        if not sql:
            self.reply(400, _error(_NO_SQL, "no sql input"))
            return
        owner.answer(self, sql)

    def reply(self, status: int, body: bytes, *, cut: int | None = None) -> None:
        """Send an answer, or its beginning."""
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body if cut is None else body[:cut])
        self.close_connection: bool = True

    def drop(self) -> None:
        """Close the connection without an answer."""
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_message: object) -> None:
        """Log nothing."""


def _body(result: Result) -> bytes:
    is_time = [kind == "TIMESTAMP" for _name, kind, _size in result.columns]
    rows = (
        ",".join(_cell(value, is_time=t) for value, t in zip(row, is_time, strict=True))
        for row in result.rows
    )
    data = ",".join(f"[{row}]" for row in rows)
    head = json.dumps(result.columns)
    return f'{{"code":0,"column_meta":{head},"data":[{data}],"rows":{len(result.rows)}}}'.encode()


def _cell(value: Any, *, is_time: bool) -> str:
    if is_time and value is not None:
        moment = _EPOCH + timedelta(milliseconds=value)
        text = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return json.dumps(text)
    if isinstance(value, float):
        # As Go writes them: the shortest text, without a point for whole numbers.
        is_plain = not value or _LEAST_PLAIN <= abs(value) < _MOST_PLAIN
        text = format(Decimal(repr(value)), "f") if is_plain else repr(value)
        return text.removesuffix(".0")
    return json.dumps(value)


def _error(code: int, text: str) -> bytes:
    return json.dumps({"code": code, "desc": text}).encode("utf-8")
