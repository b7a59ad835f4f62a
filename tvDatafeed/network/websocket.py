"""Transport: one WebSocket on a socket with a deadline for every wait.

Only this module uses ``websocket``, and it maps its exceptions to ours. The TCP connection, TLS and
every read use `DeadlineSocket`, because the timeouts of websocket-client are per read: a peer that
sends a byte now and then never exceeds them.
"""

import enum
import functools
import http
import logging
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

import websocket

from tvDatafeed.common.facts import facts
from tvDatafeed.common.redaction import redact
from tvDatafeed.config import NetworkConfig
from tvDatafeed.exceptions import (
    ConfigurationError,
    ProtocolError,
    RateLimitError,
    TvDatafeedError,
    WebSocketError,
    WebSocketTimeoutError,
)
from tvDatafeed.network.replies import retry_after_s
from tvDatafeed.network.sockets import (
    DeadlineSocket,
    HostNameError,
    ProxyError,
    StoppedError,
    TooManyBytesError,
    certificate_problem,
    is_not_tls,
    look_up_problem,
    open_stream,
    plain_text_problem,
    tls_advice,
)

logger: logging.Logger = logging.getLogger(__name__)

if not hasattr(websocket, "WebSocketProtocolException"):
    # Another package is named websocket; the required one is websocket-client.
    raise ConfigurationError(
        "websocket",
        getattr(websocket, "__file__", None),
        "this is not websocket-client but another package of that name; run: "
        "pip uninstall --yes websocket websocket-client && pip install websocket-client",
    )

# A reply of 40 000 bars is 4 MB; all other messages of TradingView are smaller.
MAX_MESSAGE_BYTES = 64 * 1024 * 1024
# A message of 4 MB in fragments of 4 KB; endless tiny fragments burn CPU, not memory.
MAX_FRAGMENTS = 1024
# A handshake's headers are 1 KB; an error page may follow.
MAX_HANDSHAKE_BYTES = 256 * 1024

_SHOWN_BODY_BYTES = 200
_LONGEST_WORD = 32
_SETTING = "TV_WS_URL"


class ReceiveResult(enum.Enum):
    """The results of `Transport.receive` without a text."""

    DEADLINE = "deadline"


@dataclass(frozen=True)
class Ping:
    """A ping of the peer, which expects a pong with the same payload."""

    payload: bytes


@dataclass(frozen=True)
class Pong:
    """The peer's answer to a ping, with the same payload."""

    payload: bytes


class Tape(Protocol):
    """Records one connection; see `tvDatafeed.network.recording`."""

    def record_open(self) -> None:
        """Record that the handshake was answered."""

    def record_refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Record that the handshake was refused."""

    def record_sent(self, text: str) -> None:
        """Record a message of the client."""

    def record_received(self, text: str) -> None:
        """Record a message of the server."""

    def record_close(self, code: int | None, reason: str) -> None:
        """Record a close frame of the server."""

    def record_end(self, what: str, *, is_ours: bool) -> None:
        """Record the end of the connection, or that it could not be opened."""


class Transport:
    """One open WebSocket: texts in, texts out.

    Built by `dial`. One thread calls `receive` and, at the end, `close`; any thread may call
    `abort`, and `send` while no other thread is sending.
    """

    def __init__(
        self, sock: DeadlineSocket, ws: websocket.WebSocket, url: str, tape: Tape | None = None
    ) -> None:
        self._sock = sock
        self._incoming = ws.frame_buffer
        self._url = url
        self._tape = tape
        self._is_aborted = False
        self._fragments: list[bytes] = []
        self._fragment_bytes = 0

    @property
    def is_in_a_message(self) -> bool:
        """Whether a message has begun to arrive and is not complete yet."""
        return bool(self._fragments) or not self._incoming.needs_header()

    def receive(self, deadline: float | None) -> str | Ping | Pong | ReceiveResult:
        """Return the next text message, ping or pong.

        Parameters
        ----------
        deadline
            When to stop waiting, on the monotonic clock; None for no limit.

        Returns
        -------
        str, Ping, Pong or ReceiveResult
            `ReceiveResult.DEADLINE` when the deadline came first; the next call continues a message
            of which a part has arrived.

        Raises
        ------
        WebSocketError
            The connection has ended: closed, broken, or its bytes are not a WebSocket message.
        """
        if self._tape is None:
            return self._receive(deadline)
        try:
            received = self._receive(deadline)
        except TvDatafeedError as error:
            self._tape.record_end(str(error), is_ours=self._is_aborted)
            raise
        if isinstance(received, str):
            self._tape.record_received(received)
        return received

    def _receive(self, deadline: float | None) -> str | Ping | Pong | ReceiveResult:
        self._sock.read_deadline = deadline
        with _mapped_errors("receive", self._url):
            while True:
                try:
                    frame = self._read_frame()
                except TimeoutError:
                    return ReceiveResult.DEADLINE
                if frame.opcode == websocket.ABNF.OPCODE_PONG:
                    return Pong(bytes(frame.data))
                if frame.opcode == websocket.ABNF.OPCODE_PING:
                    return Ping(bytes(frame.data))
                payload = self._add_fragment(frame)
                if payload is not None:
                    # The decoding is the validation that websocket-client does 200 times slower.
                    return payload.decode("utf-8")

    def send(self, texts: Iterable[str], control_frames: Iterable[bytes], deadline: float) -> None:
        """Send each text as a separate message, then control frames, all before the deadline.

        Raises
        ------
        WebSocketError
            Some bytes may have been sent: the connection cannot be used any more.
        """
        texts = list(texts)
        if self._tape is not None:
            # Recorded before they are sent, so that they precede their answers.
            for text in texts:
                self._tape.record_sent(text)
        frames = (websocket.ABNF.create_frame(t, websocket.ABNF.OPCODE_TEXT) for t in texts)
        data = b"".join([*(frame.format() for frame in frames), *control_frames])
        limit_s = max(deadline - time.monotonic(), 0.0)
        with _mapped_errors("send", self._url, timeout_s=limit_s):
            self._sock.write_deadline = deadline
            self._sock.send(data)

    def abort(self) -> None:
        """End the connection from any thread; a blocked `receive` or `send` raises at once."""
        self._is_aborted = True
        self._sock.abort()

    def close(self) -> None:
        """End the connection and free the descriptor."""
        self._sock.abort()
        self._sock.close()

    def release(self) -> None:
        """Free the descriptor in a forked child; the parent's connection stays open."""
        self._sock.close()

    def _read_frame(self) -> websocket.ABNF:
        incoming = self._incoming
        if incoming.needs_header():
            incoming.recv_header()
        if incoming.needs_length():
            incoming.recv_length()
        # The header contains the length, so that no part of a huge message is buffered.
        if incoming.length + self._fragment_bytes > MAX_MESSAGE_BYTES:
            raise websocket.WebSocketProtocolException(
                f"a message of more than {MAX_MESSAGE_BYTES} bytes"
            )
        # websocket-client reads at most 16 KiB at a time, and copies each part.
        missing = incoming.length - sum(map(len, incoming.recv_buffer))
        while missing > 0:
            data = _receive_some(self._sock, missing)
            incoming.recv_buffer.append(data)
            missing -= len(data)
        return incoming.recv_frame()

    def _add_fragment(self, frame: websocket.ABNF) -> bytes | None:
        """Return the payload of a text message that is now complete; None while it is not."""
        abnf = websocket.ABNF
        if frame.opcode == abnf.OPCODE_CLOSE:
            code, reason = _close_reason(frame.data)
            if self._tape is not None:
                self._tape.record_close(code, reason)
            raise _closed_by_peer(code, reason, self._url)
        if (frame.opcode == abnf.OPCODE_CONT) != bool(self._fragments):
            raise websocket.WebSocketProtocolException("a fragment out of place")
        if frame.opcode == abnf.OPCODE_BINARY:
            raise websocket.WebSocketProtocolException("a binary message, TradingView sends text")
        if frame.fin and not self._fragments:
            return bytes(frame.data)
        self._fragments.append(frame.data)
        self._fragment_bytes += len(frame.data)
        if len(self._fragments) > MAX_FRAGMENTS:
            raise websocket.WebSocketProtocolException(
                f"a message of more than {MAX_FRAGMENTS} fragments"
            )
        if not frame.fin:
            return None
        payload = b"".join(self._fragments)
        self._fragments, self._fragment_bytes = [], 0
        return payload


@dataclass(frozen=True)
class Outgoing:
    """The packets that one thread sends at a time; the last ones if the connection is closing."""

    transport: Transport
    packets: list[str]
    control_frames: list[bytes]
    is_closing: bool


def ping_frame(payload: bytes) -> bytes:
    """Return a ping; the peer answers it with a pong that has the same payload."""
    frame = websocket.ABNF.create_frame(payload, websocket.ABNF.OPCODE_PING)
    return bytes(frame.format())


def pong_frame(payload: bytes) -> bytes:
    """Return the answer to a ping."""
    frame = websocket.ABNF.create_frame(payload, websocket.ABNF.OPCODE_PONG)
    return bytes(frame.format())


def close_frame() -> bytes:
    """Return the frame that closes a connection."""
    status = struct.pack("!H", websocket.STATUS_NORMAL)
    return bytes(websocket.ABNF.create_frame(status, websocket.ABNF.OPCODE_CLOSE).format())


def dial(network: NetworkConfig, url: str, deadline: float, stop: Callable[[], bool]) -> Transport:
    """Open a WebSocket: name lookup, proxy, TCP, TLS and upgrade, with one deadline.

    Parameters
    ----------
    network
        Which headers, proxy and certificates to use.
    url
        The URL to connect to.
    deadline
        On the monotonic clock, seconds.
    stop
        Called during the attempt: True ends it within a tenth of a second.

    Raises
    ------
    WebSocketError
        The server is not reachable or not a WebSocket endpoint, or its certificate is invalid.
    WebSocketTimeoutError
        The deadline passed.
    RateLimitError
        The server answers 429.
    """
    if network.record is None:
        return _dial(network, url, deadline, stop, None)
    # Imported here, since few programs use recordings.
    from tvDatafeed.network.recording import recorder_of  # noqa: PLC0415

    tape = recorder_of(network).connection(url)
    try:
        transport = _dial(network, url, deadline, stop, tape)
    except TvDatafeedError as error:
        tape.record_end(str(error), is_ours=stop())
        raise
    tape.record_open()
    return transport


def _dial(
    network: NetworkConfig,
    url: str,
    deadline: float,
    stop: Callable[[], bool],
    tape: Tape | None,
) -> Transport:
    parts = urlsplit(url)
    host = parts.hostname or ""
    secure = parts.scheme == "wss"
    port = parts.port or (443 if secure else 80)
    with _mapped_errors("connect", url, timeout_s=network.connect_timeout):
        sock = open_stream(
            host,
            port,
            deadline,
            stop,
            proxy=network.proxy,
            secure=secure,
            ca_file=network.ca_file,
        )
        try:
            ws = _upgrade(sock, network, url, tape)
        except BaseException:
            sock.close()
            raise
    return Transport(sock, ws, url, tape)


def _upgrade(
    sock: DeadlineSocket, network: NetworkConfig, url: str, tape: Tape | None
) -> websocket.WebSocket:
    headers = {name.title(): value for name, value in network.ws_headers.items()}
    origin = headers.pop("Origin", None)
    ws = websocket.WebSocket(skip_utf8_validation=True, enable_multithread=False)
    # Its own method would create a reference cycle with its buffer, which only the collector frees.
    ws.frame_buffer.recv = functools.partial(_receive_some, sock)
    sock.byte_budget = MAX_HANDSHAKE_BYTES
    try:
        ws.connect(
            url,
            socket=sock,
            origin=origin,
            header=[f"{name}: {value}" for name, value in headers.items()],
            redirect_limit=0,
        )
    except websocket.WebSocketBadStatusException as error:
        if tape is not None:
            headers, body = error.resp_headers or {}, error.resp_body or b""
            tape.record_refusal(error.status_code, headers, body)
        raise
    except (ValueError, LookupError) as error:
        # websocket-client does not check status line and headers for garbage.
        raise websocket.WebSocketException("the answer is not HTTP") from error
    if ws.getstatus() != http.HTTPStatus.SWITCHING_PROTOCOLS:
        raise websocket.WebSocketException(f"status {ws.getstatus()}")
    sock.byte_budget = sock.stop = None
    return ws


def _receive_some(sock: DeadlineSocket, size: int) -> bytes:
    data = sock.recv(size)
    if not data:
        raise websocket.WebSocketConnectionClosedException("the end of the stream")
    return data


def _close_reason(data: bytes) -> tuple[int | None, str]:
    if len(data) < struct.calcsize("!H"):
        return None, ""
    (code,) = struct.unpack_from("!H", data)
    return code, data[2:].decode("utf-8", "replace")


def _closed_by_peer(code: int | None, reason: str, url: str) -> WebSocketError:
    if code is None:
        return WebSocketError("TradingView closed the connection", url)
    # A reason is a few words; a longer text may be what we sent.
    words = ("***" if len(w) > _LONGEST_WORD else w for w in redact(reason, ()).split(" "))
    shown = "".join(c if c.isprintable() else " " for c in " ".join(words))
    message = f"TradingView closed the connection: {code} {shown}".rstrip()
    return WebSocketError(message, url, close_code=code)


@contextmanager
def _mapped_errors(operation: str, url: str, timeout_s: float = 0) -> Iterator[None]:
    """Map the exceptions of sockets, TLS and websocket-client to this library's errors."""
    try:
        yield
    except websocket.WebSocketBadStatusException as error:
        raise _bad_status(error, url) from websocket.WebSocketException(
            # The original's text contains the response's headers with cookies.
            f"the handshake was answered with status {error.status_code}"
        )
    except (TimeoutError, websocket.WebSocketTimeoutException) as error:
        raise WebSocketTimeoutError(operation, round(timeout_s, 3)) from error
    except websocket.WebSocketConnectionClosedException as error:
        advice = tls_advice(url, _SETTING) if operation == "connect" else ""
        message = f"TradingView ended the connection without a reason{advice}"
        raise WebSocketError(message, url) from error
    except (websocket.WebSocketProtocolException, UnicodeDecodeError) as error:
        raise ProtocolError(f"TradingView broke the WebSocket protocol: {error}", url) from error
    except websocket.WebSocketException as error:
        raise _no_websocket(error, url) from error
    except OSError as error:
        raise _network_error(error, operation, url) from error


def _network_error(error: OSError, operation: str, url: str) -> WebSocketError:
    """Return the error of this library for an error of the system, of TLS or of our sockets."""
    match error:
        case StoppedError() | HostNameError() | ProxyError():
            return WebSocketError(str(error), retryable=isinstance(error, ProxyError))
        case TooManyBytesError():
            return _no_websocket(error, url)
        case ssl.SSLCertVerificationError():
            message = f"the server's certificate is not valid: {certificate_problem(error)}"
            return WebSocketError(message, url, retryable=False)
        case socket.gaierror():
            host = urlsplit(url).hostname
            reason = look_up_problem(error)
            return WebSocketError(f"the name {host} cannot be looked up: {reason}", url)
    if is_not_tls(error):
        message = f"{operation} failed: {plain_text_problem(_SETTING)}"
        return WebSocketError(message, url, retryable=False)
    is_reset = operation == "connect" and isinstance(error, ConnectionResetError)
    advice = tls_advice(url, _SETTING) if is_reset else ""
    return WebSocketError(f"{operation} failed: {error.strerror or error}{advice}", url)


def _no_websocket(error: Exception, url: str) -> WebSocketError:
    advice = tls_advice(url, _SETTING)
    return WebSocketError(f"not a WebSocket endpoint: {error}{advice}", url, retryable=False)


def _bad_status(
    error: websocket.WebSocketBadStatusException, url: str
) -> WebSocketError | RateLimitError:
    status = error.status_code
    body = (error.resp_body or b"")[:_SHOWN_BODY_BYTES]
    logger.debug(
        "the handshake was answered with status %s: %r",
        status,
        body,
        extra=facts(url=url, status=status),
    )
    if status == http.HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimitError(
            None,
            retry_after=retry_after_s((error.resp_headers or {}).get("retry-after")),
            reason="the WebSocket handshake was answered with status 429",
        )
    if status >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
        return WebSocketError(f"TradingView is not available: status {status}", url)
    if status >= http.HTTPStatus.BAD_REQUEST:
        # The answers of servers to plain HTTP on a port that uses TLS.
        advice = tls_advice(url, _SETTING) if status == http.HTTPStatus.BAD_REQUEST else ""
        message = f"TradingView refused the handshake: status {status}{advice}"
        return WebSocketError(message, url, retryable=False)
    return WebSocketError(f"not a WebSocket endpoint: status {status}", url, retryable=False)


def upgrade(sock: DeadlineSocket, network: NetworkConfig, url: str) -> Transport:
    """Open a WebSocket on a connected socket, as the last step of `dial`, within its deadlines."""
    return Transport(sock, _upgrade(sock, network, url, None), url)


@contextmanager
def connect_errors(url: str, timeout_s: float) -> Iterator[None]:
    """Map the errors of one step of `dial` to this library's, as `dial` does.

    Parameters
    ----------
    url
        The URL of the connection.
    timeout_s
        How long the step may take.
    """
    with _mapped_errors("connect", url, timeout_s=timeout_s):
        yield
