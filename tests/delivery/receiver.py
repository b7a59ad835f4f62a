"""A receiver of webhooks on loopback, which fails as it is asked to."""

import contextlib
import json
import socket
import struct
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook as Oracle

# Faults with which the receiver has accepted a message all the same.
_ACCEPTING = (None, "slow", "cut ok")
_CUT = {"cut": b"HTTP/1.1 500 No\r\n", "cut ok": b"HTTP/1.1 200 OK\r\n"}
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@dataclass(frozen=True)
class Request:
    """A request as it came."""

    path: str
    headers: dict
    body: bytes

    @property
    def id(self):
        """The id of the message."""
        return self.headers["webhook-id"]

    @property
    def message(self):
        """The body, after the oracle has verified its signature."""
        return Oracle(SECRET).verify(self.body, self.headers)


class Receiver:
    """Answers 200, unless `faults` has something else for the next requests.

    A fault is a status, or a pair of status and headers, or one of these words:

    - "drop", "reset": the connection ends without an answer, or is reset;
    - "cut", "cut ok": it ends in the body of a 500, or is reset in that of a 200;
    - "hang", "drip": the answer does not come, or byte by byte without an end;
    - "slow": the answer is 200, byte by byte.

    `rule` is called with a request that has no fault; it returns one, or None for 200. The next
    `resets` requests are not read to their end.
    """

    def __init__(self, port=0):
        self.requests = []
        self.faults = []
        self.rule = lambda _request: None
        self.resets = 0
        self.is_released = threading.Event()
        self.changed = threading.Condition()
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.receiver = self
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}/hook?v=1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.is_released.set()
        self._server.shutdown()
        self._server.end_connections()
        self._server.server_close()
        self._thread.join()

    @property
    def accepted(self):
        """The messages that were answered with 200, each once, in the order of their first time."""
        with self.changed:
            return list(dict.fromkeys(r.id for r, status in self.requests if status == 200))

    def bodies(self):
        """The decoded bodies of the accepted messages, each once."""
        with self.changed:
            found = {r.id: r for r, status in self.requests if status == 200}
        return [json.loads(found[i].body) for i in found]

    def wait_for(self, number, timeout):
        """Wait until `number` requests came."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.requests) >= number, timeout)

    def answer(self, request):
        """Return how a request is answered, and record it."""
        with self.changed:
            fault = self.faults.pop(0) if self.faults else self.rule(request)
            status = fault[0] if isinstance(fault, tuple) else fault
            self.requests.append((request, 200 if fault in _ACCEPTING else status))
            self.changed.notify_all()
        return fault


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True

    def server_bind(self):
        self.connections = set()
        super().server_bind()

    def process_request(self, request, client_address):
        self.connections.add(request)
        super().process_request(request, client_address)

    def end_connections(self):
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, *_args):
        """Connections may end at any time."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self):
        if self.server.receiver.resets:
            self.server.receiver.resets -= 1
            self.rfile.read(100)
            self.reset()
            return
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        fault = self.server.receiver.answer(Request(self.path, headers, body))
        if isinstance(fault, str):
            self.misbehave(fault)
            return
        status, more = fault if isinstance(fault, tuple) else (fault or 200, {})
        self.send_response(status)
        for name, value in more.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def misbehave(self, fault):
        """Answer partly, or not at all."""
        is_released = self.server.receiver.is_released
        self.close_connection = fault != "slow"
        if fault == "hang":
            is_released.wait()
        elif fault == "drip":
            with contextlib.suppress(OSError):
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
                while not is_released.wait(0.05):
                    self.wfile.write(b"x")
        elif fault == "slow":
            for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}":
                self.wfile.write(bytes([byte]))
                is_released.wait(0.005)
        elif fault in _CUT:
            self.wfile.write(_CUT[fault] + b"Content-Length: 100\r\n\r\nonly this")
        if fault in ("reset", "cut ok"):
            self.reset()

    def reset(self):
        """Reset the connection when it is closed, instead of ending it."""
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close_connection = True

    def log_message(self, *_args):
        """Write nothing."""
