"""One WebSocket connection that is opened layer by layer, to find the layer that fails.

Each step calls the functions that `network.websocket.dial` calls at that point.
"""

import socket
import ssl
import time
from contextlib import AbstractContextManager, suppress
from urllib.parse import urlsplit

from tvDatafeed.common.hosts import is_loopback
from tvDatafeed.config import NetworkConfig
from tvDatafeed.exceptions import ProtocolError, WebSocketError, WebSocketTimeoutError
from tvDatafeed.network.certificates import issuer_of
from tvDatafeed.network.pool import MAX_REDIRECTS, redirected_url
from tvDatafeed.network.sockets import (
    Address,
    DeadlineSocket,
    Stop,
    look_up,
    open_tcp,
    open_tunnel,
    tls_context,
)
from tvDatafeed.network.websocket import (
    Ping,
    Pong,
    ReceiveResult,
    Transport,
    connect_errors,
    dial,
    ping_frame,
    pong_frame,
    upgrade,
)
from tvDatafeed.protocol.framing import PacketDecoder, Violation
from tvDatafeed.protocol.messages import Hello, Redirect, decode

_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_PING = b"doctor"


class LayeredConnection:
    """A connection to TradingView's WebSocket, opened by one method after the other.

    Each method takes a deadline on the monotonic clock in seconds, and raises a `WebSocketError`
    when its layer fails. Call them in this order: `look_up` and
    `connect`, or with a proxy `open_tunnel`; then `secure`, `shake_hands`, `receive_hello`, `ping`.

    Parameters
    ----------
    network
        The URL, and how to connect.
    stop
        Called during each step: True ends the step within a tenth of a second.

    Attributes
    ----------
    url : str
        The URL of the connection; another one after a redirect.
    host : str
        The host of the settings.
    port : int
        Its port.
    proxy : str or None
        The proxy in use, with its credentials; None for loopback hosts and without a proxy.
    is_secure : bool
        Whether TLS is used.
    """

    def __init__(self, network: NetworkConfig, stop: Stop) -> None:
        parts = urlsplit(network.ws_url)
        self.url: str = network.ws_url
        self.host: str = parts.hostname or ""
        self.is_secure: bool = parts.scheme == "wss"
        self.port: int = parts.port or (443 if self.is_secure else 80)
        self.proxy: str | None = None if is_loopback(self.host) else network.proxy
        self._network = network
        self._stop = stop
        self._addresses: list[Address] = []
        self._sock: DeadlineSocket | None = None
        self._transport: Transport | None = None

    def look_up(self, deadline: float) -> dict[int, list[str]]:
        """Look the host up, IPv4 and IPv6 separately; at least one result has addresses.

        Returns
        -------
        dict
            The addresses by the version of IP, 4 and 6.
        """
        found: dict[int, list[str]] = {}
        failure: WebSocketError | None = None
        for version, family in _FAMILIES.items():
            addresses: list[Address] = []
            try:
                with self._errors(deadline):
                    addresses += look_up(self.host, self.port, family)
            except WebSocketError as error:
                failure = failure or error
            self._addresses += addresses
            found[version] = list(dict.fromkeys(str(address[4][0]) for address in addresses))
        if failure is not None and not self._addresses:
            raise failure
        return found

    def connect(self, deadline: float) -> str:
        """Connect to one of the addresses, and return it; empty if it is lost at once."""
        with self._errors(deadline):
            sock = open_tcp(self._addresses, deadline, self._stop)
        self._sock = DeadlineSocket(sock)
        with suppress(OSError):
            return str(sock.getpeername()[0])
        return ""

    def open_tunnel(self, deadline: float) -> None:
        """Connect through the proxy."""
        with self._errors(deadline):
            self._sock = open_tunnel(self.proxy or "", (self.host, self.port), deadline, self._stop)

    def secure(self, deadline: float) -> str:
        """Start TLS on the connection, and return the issuer of the certificate."""
        sock = self._armed(deadline)
        with self._errors(deadline):
            sock.secure(tls_context(self._network.ca_file), self.host)
        return issuer_of(sock.peer_certificate() or b"")

    def is_private_authority(self, deadline: float) -> bool:
        """Return whether the certificate is trusted only because of ``TV_CA_FILE``."""
        try:
            self._handshake(tls_context(None), deadline)
        except ssl.SSLCertVerificationError:
            return True
        except OSError:
            return False
        return False

    def unverified_issuer(self, deadline: float) -> str:
        """Return the issuer of a certificate that cannot be verified; empty if that fails.

        Only the handshake is sent on that connection.
        """
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with suppress(OSError):
            return issuer_of(self._handshake(context, deadline))
        return ""

    def shake_hands(self, deadline: float) -> None:
        """Upgrade the connection to a WebSocket."""
        with self._errors(deadline):
            self._transport = upgrade(self._armed(deadline), self._network, self.url)

    def receive_hello(self, deadline: float) -> tuple[Hello, float]:
        """Return the server's first message, and its time on the wall clock, epoch seconds.

        If the message contains another host, as TradingView sends to move its clients, connect
        there.
        """
        for _ in range(MAX_REDIRECTS):
            packet = self._first_packet(deadline)
            came_at = time.time()
            if isinstance(packet, Hello):
                return packet, came_at
            if not isinstance(packet, Redirect):
                what = packet.what if isinstance(packet, Violation) else "another message"
                raise ProtocolError(f"the first message is not a hello: {what}")
            self._follow(packet.host, deadline)
        raise WebSocketError(f"more than {MAX_REDIRECTS} hosts redirect to each other")

    def ping(self, deadline: float) -> None:
        """Send a ping, and wait for its answer."""
        transport, started = self._opened(), time.monotonic()
        transport.send((), [ping_frame(_PING)], deadline)
        while True:
            received = transport.receive(deadline)
            if received == Pong(_PING):
                return
            if isinstance(received, Ping):
                transport.send((), [pong_frame(received.payload)], deadline)
            if received is ReceiveResult.DEADLINE:
                raise WebSocketTimeoutError("ping", round(deadline - started, 3))

    def close(self) -> None:
        """Free the descriptor."""
        if self._transport is not None:
            self._transport.close()
        elif self._sock is not None:
            self._sock.close()
        self._transport = self._sock = None

    def _first_packet(self, deadline: float) -> object:
        transport, started, decoder = self._opened(), time.monotonic(), PacketDecoder()
        while True:
            received = transport.receive(deadline)
            if received is ReceiveResult.DEADLINE:
                raise WebSocketTimeoutError("hello", round(deadline - started, 3))
            packets = decoder.feed(received) if isinstance(received, str) else []
            if packets:
                first = packets[0]
                return first if isinstance(first, Violation) else decode(first)

    def _follow(self, host: str, deadline: float) -> None:
        url = redirected_url(self.url, host)
        if url is None:
            raise WebSocketError(
                f"the server redirects its clients to {host}, which is another site: the token is "
                "not sent there",
                retryable=False,
            )
        self.close()
        self.url = url
        try:
            self._transport = dial(self._network, url, deadline, self._stop)
        except WebSocketError as error:
            raise WebSocketError(
                f"the server redirects its clients to {host}, and there: {error}"
            ) from error

    def _handshake(self, context: ssl.SSLContext, deadline: float) -> bytes:
        """Make a TLS handshake on a connection of its own, and return the certificate."""
        if self.proxy is None:
            sock = DeadlineSocket(open_tcp(self._addresses, deadline, self._stop))
        else:
            sock = open_tunnel(self.proxy, (self.host, self.port), deadline, self._stop)
        try:
            sock.read_deadline = sock.write_deadline = deadline
            sock.stop = self._stop
            sock.secure(context, self.host)
            return sock.peer_certificate() or b""
        finally:
            sock.close()

    def _errors(self, deadline: float) -> AbstractContextManager[None]:
        limit_s = round(max(deadline - time.monotonic(), 0.0), 3)
        return connect_errors(self.url, limit_s)

    def _armed(self, deadline: float) -> DeadlineSocket:
        assert self._sock is not None  # noqa: S101 - the order of the steps
        self._sock.read_deadline = self._sock.write_deadline = deadline
        self._sock.stop = self._stop
        return self._sock

    def _opened(self) -> Transport:
        assert self._transport is not None  # noqa: S101 - the order of the steps
        return self._transport
