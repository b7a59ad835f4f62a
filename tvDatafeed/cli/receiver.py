"""A small HTTP server for signed messages, with limits on bytes, time and connections."""

import contextlib
import socket
import sys
import threading
import time
from collections.abc import Callable
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tvDatafeed import __version__
from tvDatafeed.cli.console import CommandError

__all__ = ["MessageServer", "listen"]

# A sender has at most 64 connections; each needs a thread here.
_MAX_CONNECTIONS = 200
# For each read of a connection, so that an idle connection is closed.
_IDLE_S = 60.0
_BODY_S = 30.0
_CHUNK_BYTES = 65536
# How much of a too large body is read, so that the sender gets an answer instead of a reset.
_DRAINED_BYTES, _DRAIN_S = 10 * 1024 * 1024, 2.0


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 means a free port.

    Raises
    ------
    CommandError
        The address cannot be used.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CommandError(
            f"cannot listen on {host} port {port}: {reason}; choose another --port, or 0 for a "
            "free one"
        ) from error


class MessageServer(ThreadingHTTPServer):
    """Answers each POST; `serve_forever` raises what `handle` raises.

    Parameters
    ----------
    listener
        A listening socket. It is closed with the server.
    handle
        Returns the status and the text of the answer to a request: called with its path, headers
        and body, in a thread for each connection.
    max_body_bytes
        The maximum size of a body in bytes.
    """

    daemon_threads = False

    def __init__(
        self,
        listener: socket.socket,
        handle: Callable[[str, Message, bytes], tuple[int, str]],
        max_body_bytes: int,
    ) -> None:
        super().__init__(listener.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.handle = handle
        self.max_body_bytes = max_body_bytes
        #: Set when the server ends: `handle` should not wait any longer.
        self.is_ending: threading.Event = threading.Event()
        # Adding, removing and copying are atomic.
        self._connections: set[socket.socket] = set()
        self._failure: BaseException | None = None

    @property
    def url(self) -> str:
        """The URL that receives messages."""
        host, port = self.server_address[:2]
        text = host.decode() if isinstance(host, bytes | bytearray) else str(host)
        return f"http://{f'[{text}]' if ':' in text else text}:{port}/"

    def server_close(self) -> None:
        """End all connections, and wait for their threads."""
        self.is_ending.set()
        for connection in tuple(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        super().server_close()

    def verify_request(self, request: object, _address: object) -> bool:
        """Accept a connection unless there are too many."""
        if len(self._connections) >= _MAX_CONNECTIONS:
            return False
        assert isinstance(request, socket.socket)  # noqa: S101 - of TCP
        self._connections.add(request)
        return True

    def shutdown_request(self, request: object) -> None:
        """Close a connection."""
        self._connections.discard(request)
        super().shutdown_request(request)  # type: ignore[arg-type]

    def handle_error(self, _request: object, _address: object) -> None:
        """Keep an error for `serve_forever`, unless only the connection broke."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            self._failure = error

    def service_actions(self) -> None:
        """Raise the error of a thread."""
        if self._failure is not None:
            raise self._failure


class _Handler(BaseHTTPRequestHandler):
    """Reads a request within the limits, and answers it."""

    server: MessageServer
    protocol_version = "HTTP/1.1"
    server_version = f"tvDatafeed/{__version__}"
    sys_version = ""
    timeout = _IDLE_S
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """Answer a message."""
        body = self._body()
        if isinstance(body, bytes):
            self._answer(*self.server.handle(self.path, self.headers, body))
            return
        # The following bytes are not the next request.
        self.close_connection = True
        status, _text = body
        self._answer(*body)
        if status == 413:  # noqa: PLR2004 - as in HTTP
            self._drain()

    def do_GET(self) -> None:
        """Refuse requests other than POST."""
        self.close_connection = True
        self._answer(405, "post signed messages here", Allow="POST")

    def _body(self) -> bytes | tuple[int, str]:
        """Return the body, or else the status and the text of the answer."""
        text = self.headers.get("Content-Length", "")
        if "Transfer-Encoding" in self.headers or not (text.isascii() and text.isdecimal()):
            return 411, "a message needs a Content-Length"
        limit = self.server.max_body_bytes
        if len(text) > len(str(limit)) or int(text) > limit:
            what = f"the message has {text[:20]} bytes, and {limit} are allowed"
            return 413, f"{what} (TV_WEBHOOK_MAX_BODY_BYTES of the receiver)"
        body, left = bytearray(), int(text)
        deadline = time.monotonic() + _BODY_S
        while left:
            chunk = self._read(left, deadline)
            if not chunk:
                return 408, "the message did not come in time, or not completely"
            body += chunk
            left -= len(chunk)
        return bytes(body)

    def _read(self, size: int, deadline: float) -> bytes:
        """Return some bytes; empty at the end of the connection or after the timeout."""
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            return b""
        self.connection.settimeout(left_s)
        try:
            return self.rfile.read1(min(size, _CHUNK_BYTES))
        except TimeoutError:
            return b""
        finally:
            self.connection.settimeout(_IDLE_S)

    def _drain(self) -> None:
        left, deadline = _DRAINED_BYTES, time.monotonic() + _DRAIN_S
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            while left > 0 and (chunk := self._read(left, deadline)):
                left -= len(chunk)

    def _answer(self, status: int, text: str, **headers: str) -> None:
        content = f"{text}\n".encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_arguments: object) -> None:
        """Write nothing: `handle` does."""
