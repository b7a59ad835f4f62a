"""Sockets whose every wait has an end, and whose bytes are counted."""

import base64
import functools
import http.client
import ipaddress
import select
import socket
import ssl
import threading
import time
from contextlib import suppress
from urllib.parse import unquote, urlsplit

import certifi

from tvDatafeed.utils import redact

# Large enough for a reply of 5000 bars in a few reads, small enough for any buffer.
RECEIVE_BYTES = 256 * 1024

_PROXY_PORT = 8080
_SHORTEST_TIMEOUT_S = 0.001


class ProxyError(OSError):
    """The proxy failed, not what lies behind it."""


class TooManyBytesError(OSError):
    """The peer sent more than this phase of the connection may hold."""


class DeadlineSocket:
    """A connected socket that waits until a moment, not for a span.

    One thread reads, others write: each direction has its own deadline, and a TLS object,
    which is not safe to use from two threads at once, is used by one at a time.

    Parameters
    ----------
    sock
        A connected socket; this object owns it from now on.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._turn = threading.Lock()
        self._received = b""
        self._taken = 0
        self.read_deadline: float | None = None
        self.write_deadline: float | None = None
        self.byte_budget: int | None = None

    def secure(self, context: ssl.SSLContext, hostname: str) -> None:
        """Put TLS on the connection, within both deadlines."""
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
                with self._turn:
                    sent = self._sock.send(view)
            except (BlockingIOError, ssl.SSLWantWriteError):
                self._wait(write=True, deadline=self.write_deadline)
            except ssl.SSLWantReadError:
                self._wait(write=False, deadline=self.write_deadline)
            else:
                view = view[sent:]
        return len(data)

    def gettimeout(self) -> None:
        """Tell websocket-client that there is no timeout for it to handle."""

    def settimeout(self, timeout: float | None) -> None:
        """Ignore websocket-client's timeout: the deadlines are what counts."""

    def fileno(self) -> int:
        """Give the descriptor."""
        return self._sock.fileno()

    def abort(self) -> None:
        """End the connection from any thread; a reader or writer wakes at once."""
        # The method of the plain class: that of an SSLSocket drops the TLS state, which
        # another thread may be using.
        with suppress(OSError):
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    shutdown = abort

    def close(self) -> None:
        """Free the descriptor; only the thread that reads may call this."""
        self._sock.close()

    def _read(self) -> bytes:
        while True:
            try:
                with self._turn:
                    data = self._sock.recv(RECEIVE_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError):
                self._wait(write=False, deadline=self.read_deadline)
            except ssl.SSLWantWriteError:
                self._wait(write=True, deadline=self.read_deadline)
            else:
                if self.byte_budget is not None:
                    self.byte_budget -= len(data)
                    if self.byte_budget < 0:
                        raise TooManyBytesError("too many bytes in the handshake")
                return data

    def _wait(self, *, write: bool, deadline: float | None) -> None:
        seconds = None if deadline is None else deadline - time.monotonic()
        if seconds is not None and seconds <= 0:
            raise TimeoutError("deadline passed")
        if not _is_ready(self._sock, write=write, seconds=seconds):
            raise TimeoutError("deadline passed")


def open_tcp(host: str, port: int, deadline: float) -> socket.socket:
    """Connect to the first address of a host that answers, all before one deadline.

    Raises
    ------
    OSError
        The refusal of the last address that was tried.
    """
    refusal: OSError | None = None
    for family, kind, protocol, _, address in socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM
    ):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(max(deadline - time.monotonic(), _SHORTEST_TIMEOUT_S))
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            sock.close()
            refusal = error
            if time.monotonic() >= deadline:
                break
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise refusal or OSError(f"no address for {host}")


def open_tunnel(proxy: str, host: str, port: int, deadline: float) -> socket.socket:
    """Connect to a host through an HTTP proxy (CONNECT).

    Raises
    ------
    ProxyError
        The proxy cannot be reached or refuses; the text has no credentials.
    TimeoutError
        The deadline passed.
    """
    parts = urlsplit(proxy)
    shown = f"http://{parts.hostname}:{parts.port or _PROXY_PORT}"
    headers = {}
    password = unquote(parts.password or "")
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{password}"
        headers["Proxy-Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    timeout_s = max(deadline - time.monotonic(), _SHORTEST_TIMEOUT_S)
    client = http.client.HTTPConnection(
        parts.hostname or "", parts.port or _PROXY_PORT, timeout=timeout_s
    )
    client.set_tunnel(host, port, headers)
    failure = None
    try:
        client.connect()
    except TimeoutError:
        client.close()
        raise
    except (OSError, http.client.HTTPException) as error:
        failure = redact(str(error), (password, *headers.values()))
    if failure is not None:
        client.close()
        # Outside of the handler: the original would keep the proxy's reply, and its socket, alive.
        raise ProxyError(f"the proxy {shown} failed: {failure}")
    sock: socket.socket = client.sock
    return sock


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, which no proxy may stand before."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@functools.cache
def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Give the TLS settings of every connection: certificates are verified.

    Parameters
    ----------
    ca_file
        Certificates of the authorities to trust; None for certifi's.
    """
    # 14 to 25 ms to build, so one serves every connection of the process.
    return ssl.create_default_context(cafile=ca_file or certifi.where())


def _is_ready(sock: socket.socket, *, write: bool, seconds: float | None) -> bool:
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(sock, select.POLLOUT if write else select.POLLIN)
        return bool(poll.poll(None if seconds is None else max(seconds * 1000, 1)))
    # Windows: select has no ceiling on descriptor numbers there.
    readers, writers = ([], [sock]) if write else ([sock], [])
    ready = select.select(readers, writers, readers or writers, seconds)
    return any(ready)
