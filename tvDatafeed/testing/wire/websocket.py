"""The server's side of RFC 6455: the upgrade, frames, and a socket with deadlines.

Nothing here depends on TradingView. All functions return bytes, so that a fault can send any bytes.
"""

import base64
import contextlib
import hashlib
import selectors
import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Iterator

from tvDatafeed.testing.wire.http11 import Request

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA

# A client's largest message is a list of quote fields, about 2 kB.
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
# A client that does not receive anything for this long is considered gone.
SEND_TIMEOUT_S = 30.0
# How long a close waits for the client's FIN, so that a reset does not discard the last bytes.
DRAIN_S = 1.0

_ACCEPT_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_SLICE_S = 0.05
# System calls do not accept infinity.
_LONGEST_WAIT_S = 3600.0
_CONTINUATION = 0x0
_FIN, _RSV, _MASKED = 0x80, 0x70, 0x80
_LENGTH_16, _LENGTH_64 = 126, 127
_NOTHING_YET = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class AbortedError(ConnectionAbortedError):
    """The server is stopping or aborts this connection."""


class FrameError(Exception):
    """The client violated RFC 6455; ``code`` is the close code of the answer."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def upgrade_reply(request: Request) -> bytes:
    """Format the 101 response that turns the connection into a WebSocket."""
    key = request.headers["sec-websocket-key"].encode("latin-1")
    digest = hashlib.sha1(key + _ACCEPT_GUID, usedforsecurity=False).digest()
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
    )


def frame(opcode: int, payload: bytes, *, fin: bool = True, rsv: int = 0) -> bytes:
    """Format one frame as a server sends it: unmasked.

    Parameters
    ----------
    opcode
        0 to 15.
    payload
        The content of the frame.
    fin
        Whether this is the last frame of the message.
    rsv
        The three reserved bits; 4 is RSV1.
    """
    first = (_FIN if fin else 0) | rsv << 4 | opcode
    size = len(payload)
    if size < _LENGTH_16:
        return struct.pack("!BB", first, size) + payload
    if size < 1 << 16:
        return struct.pack("!BBH", first, _LENGTH_16, size) + payload
    return struct.pack("!BBQ", first, _LENGTH_64, size) + payload


def text_frame(text: str) -> bytes:
    """Format a text message of one frame."""
    return frame(TEXT, text.encode("utf-8", "surrogatepass"))


def close_frame(code: int, reason: str = "") -> bytes:
    """Format a close frame."""
    return frame(CLOSE, struct.pack("!H", code) + reason.encode())


class FrameReader:
    """Parse a client's bytes into messages; fragments are joined."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._fragments: list[bytes] = []
        self._opcode = 0

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Add bytes and yield (opcode, payload) of each message that is now complete."""
        self._buffer += data
        while (one := self._next_frame()) is not None:
            fin, opcode, payload = one
            if opcode >= CLOSE:
                yield opcode, payload
                continue
            if (opcode == _CONTINUATION) != bool(self._opcode):
                raise FrameError(1002, "continuation out of order")
            self._opcode = self._opcode or opcode
            self._fragments.append(payload)
            if sum(map(len, self._fragments)) > MAX_MESSAGE_BYTES:
                raise FrameError(1009, "message too big")
            if fin:
                whole = self._opcode, b"".join(self._fragments)
                self._opcode, self._fragments = 0, []
                yield whole

    def _next_frame(self) -> tuple[bool, int, bytes] | None:
        held = self._buffer
        if len(held) < 2:  # noqa: PLR2004 - the fixed part of a frame's header
            return None
        if held[0] & _RSV:
            raise FrameError(1002, "reserved bits without an extension")
        if not held[1] & _MASKED:
            raise FrameError(1002, "a client's frame must be masked")
        size, start = held[1] & 0x7F, 2
        if size >= _LENGTH_16:
            width = 2 if size == _LENGTH_16 else 8
            if len(held) < start + width:
                return None
            size, start = int.from_bytes(held[2 : 2 + width], "big"), 2 + width
        if size > MAX_MESSAGE_BYTES:
            raise FrameError(1009, "frame too big")
        end = start + 4 + size
        if len(held) < end:
            return None
        mask = bytes(held[start : start + 4]) * (size // 4 + 1)
        masked = int.from_bytes(held[start + 4 : end], "big")
        payload = (masked ^ int.from_bytes(mask[:size], "big")).to_bytes(size, "big")
        fin, opcode = bool(held[0] & _FIN), held[0] & 0x0F
        del held[:end]
        return fin, opcode, payload


class Wire:
    """The socket of one connection. One thread owns it; any thread can wake or abort it.

    After `abort`, every wait raises `AbortedError`.

    Parameters
    ----------
    sock
        The accepted socket.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = sock
        self._aborted = threading.Event()
        self._skips_drain = False
        self._wake_lock = threading.Lock()
        self._closed = False
        self._near, self._far = socket.socketpair()
        self._near.setblocking(False)
        self._far.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._near, selectors.EVENT_READ)
        self._selector.register(sock, selectors.EVENT_READ)

    def wake(self) -> None:
        """End the owner's `wait`; any thread may call it."""
        with self._wake_lock, contextlib.suppress(OSError):
            if not self._closed:
                self._far.send(b"\0")

    def abort(self, *, skip_drain: bool = False) -> None:
        """End all waits of the owner, with `skip_drain` also a drain; any thread may call it."""
        self._skips_drain |= skip_drain
        self._aborted.set()
        self.wake()

    def start_tls(self, context: ssl.SSLContext, timeout_s: float) -> None:
        """Perform the TLS handshake as a server."""
        deadline = time.monotonic() + timeout_s
        self._selector.unregister(self._socket)
        wrapped = context.wrap_socket(self._socket, server_side=True, do_handshake_on_connect=False)
        self._socket = wrapped
        self._selector.register(wrapped, selectors.EVENT_READ)
        while True:
            try:
                wrapped.do_handshake()
            except ssl.SSLWantReadError:
                self._until_ready(selectors.EVENT_READ, deadline)
            except ssl.SSLWantWriteError:
                self._until_ready(selectors.EVENT_WRITE, deadline)
            else:
                return

    def wait(self, timeout_s: float) -> None:
        """Wait until there is data to read, `wake` is called, or the time has passed."""
        self._check()
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            return
        self._selector.select(min(max(0.0, timeout_s), _LONGEST_WAIT_S))
        with contextlib.suppress(BlockingIOError):
            self._near.recv(4096)
        self._check()

    def receive(self) -> bytes | None:
        """Read the available bytes; None if there are none yet, empty bytes at the end."""
        try:
            return self._socket.recv(65536)
        except _NOTHING_YET:
            return None
        except OSError:
            return b""

    def stop_reading(self) -> None:
        """Stop reading, and make the kernel's receive buffer small so that it fills quickly."""
        self._selector.unregister(self._socket)
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

    def send(self, data: bytes) -> None:
        """Send all bytes within `SEND_TIMEOUT_S`."""
        deadline = time.monotonic() + SEND_TIMEOUT_S
        rest = memoryview(data)
        while rest:
            self._check()
            try:
                rest = rest[self._socket.send(rest) :]
            except ssl.SSLWantReadError:
                self._until_ready(selectors.EVENT_READ, deadline)
            except _NOTHING_YET:
                self._until_ready(selectors.EVENT_WRITE, deadline)

    def send_slowly(self, data: bytes, bytes_per_s: float) -> None:
        """Send at a limited rate, in pieces of at most a twentieth of a second."""
        step = max(1, int(bytes_per_s * _SLICE_S))
        for start in range(0, len(data), step):
            self.send(data[start : start + step])
            self.pause(step / bytes_per_s)

    def pause(self, seconds: float) -> None:
        """Wait without reading or sending."""
        self._aborted.wait(max(0.0, seconds))
        self._check()

    def freeze(self) -> None:
        """Wait without reading or sending until aborted."""
        self._aborted.wait()
        self._check()

    def idle(self) -> None:
        """Read and discard bytes until the client closes."""
        while self.receive() != b"":
            self.wait(SEND_TIMEOUT_S)

    def send_last(self, data: bytes) -> None:
        """Send as many bytes as possible without waiting, even after `abort`."""
        with contextlib.suppress(OSError):
            self._socket.send(data)

    def finish(self) -> None:
        """Send a FIN."""
        with contextlib.suppress(OSError):
            if isinstance(self._socket, ssl.SSLSocket):
                # This sends TLS's close_notify and does not wait for the answer.
                self._socket.unwrap()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def drain(self) -> None:
        """Read and discard bytes until the client has closed too, at most for `DRAIN_S`."""
        deadline = time.monotonic() + DRAIN_S
        with contextlib.suppress(OSError):
            while self.receive() != b"" and not self._skips_drain:
                self._until_ready(selectors.EVENT_READ, deadline, is_draining=True)

    def reset(self) -> None:
        """Make `close` send an RST instead of a FIN."""
        with contextlib.suppress(OSError):
            # On Windows, the two fields are short integers.
            linger = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    def close(self) -> None:
        """Release the socket and all resources."""
        with self._wake_lock:
            self._closed = True
            self._selector.close()
            self._near.close()
            self._far.close()
        self._socket.close()

    def _check(self) -> None:
        if self._aborted.is_set():
            raise AbortedError("the server closes this connection")

    def _until_ready(self, event: int, deadline: float, *, is_draining: bool = False) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, event)
            while not selector.select(_SLICE_S):
                if is_draining and self._skips_drain:
                    return
                if not is_draining:
                    self._check()
                if time.monotonic() > deadline:
                    raise TimeoutError("the client neither reads nor writes")
