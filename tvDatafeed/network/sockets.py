"""Sockets with a deadline for every wait and a limit on the number of bytes."""

import _socket
import base64
import errno
import functools
import itertools
import math
import os
import re
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeAlias
from urllib.parse import SplitResult, unquote, urlsplit

import certifi

from tvDatafeed.common.causes import causes_of
from tvDatafeed.common.hosts import is_loopback

# Large enough for a reply of 5000 bars in a few reads, small enough for any buffer.
RECEIVE_BYTES = 256 * 1024
# The size of a read while little data arrives. Each read allocates a block and shrinks it to the
# received size: large blocks of many threads leave holes in the heap.
_SMALL_RECEIVE_BYTES = 4 * 1024

Stop: TypeAlias = Callable[[], bool]
Address: TypeAlias = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]

_PROXY_PORT = 8080
_PROXY_ADVICE = "check TV_PROXY"
# A proxy's answer to CONNECT is a few lines.
_MAX_TUNNEL_BYTES = 64 * 1024
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})\b")
_PROXY_AUTHENTICATION_REQUIRED = b"407"
# OpenSSL's numbers of certificate errors (X509_V_ERR_...).
_NOT_YET_VALID, _EXPIRED = 9, 10
_AUTHORITY_NOT_KNOWN = frozenset({18, 19, 20, 21})
# OpenSSL's names of these errors.
_REASONS_OF_PLAIN_TEXT = frozenset(
    {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG"}
)
_NOT_CONNECTED = frozenset({errno.ECONNREFUSED, errno.ENETUNREACH, errno.EHOSTUNREACH})
# How long an address is tried alone before the next one is tried too (RFC 8305, 5).
_NEXT_ADDRESS_S = 0.25
# How often an attempt to connect checks whether it is still wanted.
_STOP_SLICE_S = 0.1
# poll() accepts at most 24 days.
_LONGEST_WAIT_S = 3600.0


class HostNameError(OSError):
    """The text is not a valid host name."""


class StoppedError(OSError):
    """The program stopped the attempt."""


class ProxyError(OSError):
    """The proxy failed, not the server behind it."""


class TooManyBytesError(OSError):
    """The peer sent more bytes than this phase of the connection allows."""


class DeadlineSocket:
    """A connected socket whose waits have a deadline instead of a timeout.

    One thread reads, others write: each direction has its own deadline. Two threads must not use a
    TLS object at the same time, so a lock guards it.

    Parameters
    ----------
    sock
        A connected socket; this object owns it from now on.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._tls_lock = threading.Lock()
        self._received = b""
        self._taken = 0
        self._read_bytes = _SMALL_RECEIVE_BYTES
        self.read_deadline: float | None = None
        self.write_deadline: float | None = None
        self.byte_budget: int | None = None
        self.stop: Stop | None = None

    def secure(self, context: ssl.SSLContext, hostname: str) -> None:
        """Start TLS on the connection, within both deadlines."""
        secured = context.wrap_socket(
            self._sock, server_hostname=hostname, do_handshake_on_connect=False
        )
        self._sock = secured
        while True:
            try:
                secured.do_handshake()
            except ssl.SSLWantReadError:
                self._wait(write=False, deadline=self.read_deadline)
            except ssl.SSLWantWriteError:
                self._wait(write=True, deadline=self.write_deadline)
            else:
                return

    def recv(self, size: int) -> bytes:
        """Read 1 to ``size`` bytes; empty at the end of the stream."""
        if self._taken == len(self._received):
            self._received, self._taken = self._read(), 0
        taken = self._taken
        self._taken = min(taken + size, len(self._received))
        return self._received[taken : self._taken]

    def send(self, data: bytes) -> int:
        """Write all of ``data``."""
        view = memoryview(data)
        while view:
            try:
                with self._tls_lock:
                    sent = self._sock.send(view)
            except (BlockingIOError, ssl.SSLWantWriteError):
                self._wait(write=True, deadline=self.write_deadline)
            except ssl.SSLWantReadError:
                self._wait(write=False, deadline=self.write_deadline)
            else:
                view = view[sent:]
        return len(data)

    def gettimeout(self) -> None:
        """Return None: websocket-client has no timeout to handle."""

    def settimeout(self, timeout: float | None) -> None:
        """Ignore websocket-client's timeout: the deadlines apply."""

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._sock.fileno()

    def peer_certificate(self) -> bytes | None:
        """Return the certificate of the peer in DER; None without TLS."""
        sock = self._sock
        return sock.getpeercert(binary_form=True) if isinstance(sock, ssl.SSLSocket) else None

    def abort(self) -> None:
        """End the connection from any thread; a reader or writer wakes at once."""
        # The method of the plain class: an SSLSocket's own method drops the TLS state, which
        # another thread may be using. eventlet's sockets have another class.
        with suppress(OSError):
            sock: object = self._sock
            if isinstance(sock, _socket.socket):
                _socket.socket.shutdown(sock, socket.SHUT_RDWR)
            else:
                self._sock.shutdown(socket.SHUT_RDWR)

    shutdown = abort

    def close(self) -> None:
        """Free the descriptor; only the thread that reads may call this."""
        self._sock.close()

    def _read(self) -> bytes:
        while True:
            try:
                with self._tls_lock:
                    data = self._sock.recv(self._read_bytes)
            except (BlockingIOError, ssl.SSLWantReadError):
                self._wait(write=False, deadline=self.read_deadline)
            except ssl.SSLWantWriteError:
                self._wait(write=True, deadline=self.read_deadline)
            else:
                if self.byte_budget is not None:
                    self.byte_budget -= len(data)
                    if self.byte_budget < 0:
                        raise TooManyBytesError("too many bytes in the handshake")
                is_much = len(data) >= _SMALL_RECEIVE_BYTES
                self._read_bytes = RECEIVE_BYTES if is_much else _SMALL_RECEIVE_BYTES
                return data

    def _wait(self, *, write: bool, deadline: float | None) -> None:
        wait_until_ready(self._sock, write=write, deadline=deadline, stop=self.stop)


def open_stream(
    host: str,
    port: int,
    deadline: float,
    stop: Stop,
    *,
    proxy: str | None = None,
    secure: bool,
    ca_file: str | None = None,
) -> DeadlineSocket:
    """Open a connection to a server: name lookup, proxy, TCP and TLS, with one deadline.

    The returned socket keeps `stop` and the deadlines until the caller changes them.

    Parameters
    ----------
    host, port
        The server; the name is checked against its certificate.
    deadline
        On the monotonic clock, seconds.
    stop
        Called during the attempt: True ends it within a tenth of a second.
    proxy
        URL of an HTTP proxy; None for a direct connection. Loopback hosts never use it.
    secure
        Whether to use TLS.
    ca_file
        Certificates of the authorities to trust; None for certifi's.

    Raises
    ------
    ProxyError
        The proxy cannot be reached or refuses; the text has no credentials.
    TimeoutError
        The deadline passed.
    StoppedError
        ``stop()`` is true.
    OSError
        The name is unknown, the server cannot be reached, or TLS fails.
    """
    if proxy is None or is_loopback(host):
        sock = DeadlineSocket(open_tcp(look_up(host, port), deadline, stop))
    else:
        sock = open_tunnel(proxy, (host, port), deadline, stop)
    try:
        sock.read_deadline = sock.write_deadline = deadline
        sock.stop = stop
        if secure:
            sock.secure(tls_context(ca_file), host)
    except BaseException:
        sock.close()
        raise
    return sock


def look_up(
    host: str, port: int, family: socket.AddressFamily = socket.AF_UNSPEC
) -> Sequence[Address]:
    """Look up the addresses of a host; the system decides how long that takes.

    Parameters
    ----------
    host, port
        The host.
    family
        The kind of addresses. Default: all kinds of the system.

    Raises
    ------
    OSError
        The name is unknown or invalid.
    """
    try:
        return socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label that is empty or too long for the name service
        raise HostNameError(f"{host!r} is not a host name") from error


def open_tcp(addresses: Sequence[Address], deadline: float, stop: Stop) -> socket.socket:
    """Connect to the first address that answers, with one deadline.

    If an address does not answer for a quarter of a second, the next one is tried too (RFC 8305,
    5), and the families alternate (4), so that an address that drops packets costs only this time.
    Addresses of a family that the system does not have are skipped. Setting ``stop`` ends the
    attempt within a tenth of a second.

    Raises
    ------
    OSError
        The last refusal, if all addresses refuse.
    TimeoutError
        The deadline passed while an address did not answer.
    """
    waiting = _in_turns(addresses)
    connecting: list[socket.socket] = []
    next_at = -math.inf
    refusal: OSError | None = None
    no_socket: OSError = OSError("no address")
    try:
        while waiting or connecting:
            now = time.monotonic()
            _check_patience(now, deadline, stop)
            if waiting and (now >= next_at or not connecting):
                family, kind, protocol, _, address = waiting.pop(0)
                try:
                    sock = socket.socket(family, kind, protocol)
                except OSError as error:  # such as an IPv6 address on a kernel without IPv6
                    no_socket = error
                    continue
                connecting.append(sock)
                next_at = now + _NEXT_ADDRESS_S
                problem = _begin_to_connect(sock, address)
                ready = [] if isinstance(problem, BlockingIOError) else [(sock, problem)]
            else:
                seconds = min(deadline - now, _STOP_SLICE_S)
                if waiting:
                    seconds = min(seconds, next_at - now)
                ready = [
                    (sock, _problem_of(sock))
                    for sock in _ready_ones(connecting, write=True, seconds=seconds)
                ]
            for sock, problem in ready:
                connecting.remove(sock)
                if problem is None:
                    return sock
                sock.close()
                refusal = problem
    finally:
        for sock in connecting:
            sock.close()
    raise refusal or no_socket


def _in_turns(addresses: Sequence[Address]) -> list[Address]:
    """Return the addresses with alternating families, each family in its own order."""
    families = list(dict.fromkeys(address[0] for address in addresses))
    of_family = [[a for a in addresses if a[0] == family] for family in families]
    rows = itertools.zip_longest(*of_family)
    return [address for row in rows for address in row if address is not None]


def _begin_to_connect(sock: socket.socket, address: Any) -> OSError | None:
    """Return a `BlockingIOError` while connecting, another error if failed, None if connected."""
    sock.setblocking(False)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect(address)
    except OSError as error:
        return error
    return None


def _problem_of(sock: socket.socket) -> OSError | None:
    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    return OSError(code, os.strerror(code)) if code else None


def certificate_problem(error: ssl.SSLCertVerificationError) -> str:
    """Return the problem of a certificate, and the next step."""
    reason = error.verify_message
    if error.verify_code in {_NOT_YET_VALID, _EXPIRED}:
        now = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
        return f"{reason}; check the clock of this machine, which says {now} UTC"
    if error.verify_code in _AUTHORITY_NOT_KNOWN:
        return (
            f"{reason}; if a proxy or a virus scanner inspects TLS here, "
            "name the file of its authority in TV_CA_FILE"
        )
    return f"{reason}; if this network needs a proxy or a sign-in, set TV_PROXY or sign in"


def is_not_tls(error: OSError) -> bool:
    """Whether a TLS handshake was answered by something else, such as plain HTTP."""
    return isinstance(error, ssl.SSLError) and error.reason in _REASONS_OF_PLAIN_TEXT


def plain_text_problem(settings: str) -> str:
    """Return the problem after a TLS handshake got a plain-text answer, and the next step."""
    return (
        f"the answer is not TLS; check the port in {settings}, "
        "or set TV_PROXY if this network needs a proxy"
    )


def tls_advice(url: str, settings: str) -> str:
    """Return the next step after a port did not understand a request without TLS."""
    scheme = urlsplit(url).scheme
    if scheme not in {"ws", "http"}:
        return ""
    return f"; if this port uses TLS, write {scheme}s:// in {settings}"


def was_never_connected(error: BaseException | None) -> bool:
    """Return whether an error means that there was no connection, so that nothing was sent."""
    return any(
        isinstance(cause, socket.gaierror)
        or (isinstance(cause, OSError) and cause.errno in _NOT_CONNECTED)
        for cause in causes_of(error)
    )


def look_up_problem(error: socket.gaierror) -> str:
    """Return why a name cannot be looked up, and the next step."""
    return f"{error.strerror}; check the network, or set TV_PROXY if it needs a proxy"


def open_tunnel(proxy: str, target: tuple[str, int], deadline: float, stop: Stop) -> DeadlineSocket:
    """Connect to a host and port through an HTTP proxy (CONNECT).

    Raises
    ------
    ProxyError
        The proxy cannot be reached or refuses; the text has no credentials.
    TimeoutError
        The deadline passed.
    """
    parts = urlsplit(proxy)
    host, port = parts.hostname or "", parts.port or _PROXY_PORT
    failed = f"the proxy http://{host}:{port} failed"
    try:
        tcp = open_tcp(look_up(host, port), deadline, stop)
    except (StoppedError, TimeoutError):
        raise
    except OSError as error:
        raise ProxyError(f"{failed}: {error.strerror or error}; {_PROXY_ADVICE}") from error
    sock = DeadlineSocket(tcp)
    try:
        sock.read_deadline = sock.write_deadline = deadline
        sock.byte_budget = _MAX_TUNNEL_BYTES
        sock.stop = stop
        sock.send(_connect_request(parts, *target))
        refusal = _refusal_of_tunnel(sock)
    except BaseException:
        sock.close()
        raise
    if refusal:
        sock.close()
        raise ProxyError(f"{failed}: {refusal}; {_PROXY_ADVICE}")
    sock.byte_budget = None
    return sock


def _refusal_of_tunnel(sock: DeadlineSocket) -> str | None:
    """Read a proxy's answer to CONNECT; None when the tunnel is open."""
    reply = b""
    while not reply.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        if not byte:
            return "it closed the connection"
        reply += byte
    status = _STATUS_LINE.match(reply)
    if status is None:
        return "its answer is not HTTP"
    if status[1] == b"200":
        return None
    advice = "; set user and password" if status[1] == _PROXY_AUTHENTICATION_REQUIRED else ""
    return f"status {status[1].decode()}{advice}"


def _connect_request(proxy: SplitResult, host: str, port: int) -> bytes:
    name = f"[{host}]" if ":" in host else host
    lines = [f"CONNECT {name}:{port} HTTP/1.1", f"Host: {name}:{port}"]
    if proxy.username is not None:
        pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        lines.append(f"Proxy-Authorization: Basic {base64.b64encode(pair.encode()).decode()}")
    return "\r\n".join([*lines, "", ""]).encode()


@functools.cache
def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Return the TLS settings of every connection: certificates are verified.

    Parameters
    ----------
    ca_file
        Certificates of the authorities to trust; None for certifi's.
    """
    # 14 to 25 ms to build, so one serves every connection of the process.
    return ssl.create_default_context(cafile=ca_file or certifi.where())


def wait_until_ready(
    sock: socket.socket, *, write: bool, deadline: float | None, stop: Stop | None
) -> None:
    """Wait until a socket can be read or written.

    Raises
    ------
    TimeoutError
        The deadline came first.
    StoppedError
        ``stop()`` is true.
    """
    while True:
        now = time.monotonic()
        _check_patience(now, deadline, stop)
        left_s = math.inf if deadline is None else deadline - now
        slice_s = min(left_s, _LONGEST_WAIT_S if stop is None else _STOP_SLICE_S)
        if _ready_ones([sock], write=write, seconds=slice_s):
            return


def _check_patience(now: float, deadline: float | None, stop: Stop | None) -> None:
    if stop is not None and stop():
        raise StoppedError("the connection attempt was stopped")
    if deadline is not None and now >= deadline:
        raise TimeoutError("deadline passed")


def _ready_ones(
    socks: Sequence[socket.socket], *, write: bool, seconds: float
) -> list[socket.socket]:
    """Return the sockets that can be read or written; empty after a timeout."""
    if hasattr(select, "poll"):
        poll = select.poll()
        for sock in socks:
            poll.register(sock, select.POLLOUT if write else select.POLLIN)
        ready = {descriptor for descriptor, _event in poll.poll(max(seconds * 1000, 1))}
        return [sock for sock in socks if sock.fileno() in ready]
    # Windows: select has no limit on descriptor numbers there, and reports a failed connect as
    # exceptional.
    readers, writers = ([], socks) if write else (socks, [])
    found = select.select(readers, writers, socks, max(seconds, 0.0))
    return [sock for sock in socks if any(sock in ones for ones in found)]
