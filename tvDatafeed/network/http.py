"""HTTP requests with a limit on time and size, each to one site.

Only this module uses ``requests`` and ``urllib3``, and it maps their exceptions to ours. TCP, TLS
and every read use `DeadlineSocket`, because the timeouts of these libraries are per read: a server
that sends a byte now and then never exceeds them. Each request opens its own connection, so that no
connection can leak, be shared or be stale: a password is never sent on a connection that the server
has closed.
"""

import dataclasses
import http.client
import io
import logging
import socket
import ssl
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode, urlsplit

import requests
import requests.adapters
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util.wait import wait_for_read

from tvDatafeed.common.causes import causes_of
from tvDatafeed.common.redaction import redact
from tvDatafeed.config import NetworkConfig
from tvDatafeed.exceptions import (
    ConnectionError,  # noqa: A004 - our own
    NetworkError,
)
from tvDatafeed.network.replies import HttpReply, cookies_set_by, followed, host_of
from tvDatafeed.network.sockets import (
    DeadlineSocket,
    HostNameError,
    ProxyError,
    TooManyBytesError,
    certificate_problem,
    is_not_tls,
    look_up_problem,
    open_stream,
    plain_text_problem,
    tls_advice,
    was_never_connected,
)
from tvDatafeed.ratelimit import RateLimiter

__all__ = ["HttpClient", "HttpReply", "new_session"]

logger: logging.Logger = logging.getLogger(__name__)

# TradingView's home page is about 1 MB; all other answers are much smaller.
MAX_BODY_BYTES = 8 * 1024 * 1024
# TradingView localises its home page with one redirect; more than three are a loop.
MAX_REDIRECTS = 3

# http.client accepts 100 header lines of at most 64 KB; a real reply's headers are 10 KB.
_MAX_HEADERS_BYTES = 256 * 1024
_CHUNK_BYTES = 64 * 1024
_GZIP_WINDOW_BITS = 16 + zlib.MAX_WBITS
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# These two repeat the request unchanged; after other redirects a form is not sent again.
_REPEATING_REDIRECTS = frozenset({307, 308})
_USER_AGENT = "tvDatafeed"
# If an error wraps others, the first of these classes that it contains is the reason.
_TELLING = (
    ssl.SSLCertVerificationError,
    ProxyError,
    TooManyBytesError,
    TimeoutError,
    socket.gaierror,
    HostNameError,
    http.client.IncompleteRead,
    OSError,
    Exception,
)
_SETTINGS = "TV_BASE_URL and TV_SEARCH_URL"
_HIDDEN_HEADERS = frozenset({"set-cookie", "set-cookie2"})


class HttpClient:
    """HTTP requests with limits on time and size, which keep their secrets to one site.

    Any number of threads may use it. Requests share nothing: no cookies and no connections.

    Parameters
    ----------
    network : NetworkConfig
        Limits, proxy and certificates. Proxy variables of other programs are ignored.
    limiter : RateLimiter, optional
        Limits the requests, redirects included. Default: no limit.
    user_agent : str, default "tvDatafeed"
        The User-Agent header of the requests.

    Attributes
    ----------
    session : requests.Session
        The session that sends the requests.
    """

    def __init__(
        self,
        network: NetworkConfig,
        *,
        limiter: RateLimiter | None = None,
        user_agent: str = _USER_AGENT,
    ) -> None:
        self._network = network
        self._limiter = limiter
        self.session: requests.Session = new_session(network)
        self.session.headers["User-Agent"] = user_agent

    def __repr__(self) -> str:
        return f"<HttpClient {self._network.base_url}>"

    def get(
        self,
        url: str,
        *,
        cookies: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        deadline: float | None = None,
    ) -> HttpReply:
        """Get a page.

        Parameters
        ----------
        url : str
            Where.
        cookies : mapping of str to str, optional
            Cookies that are sent only to the URL's site.
        headers : mapping of str to str, optional
            Additional headers.
        deadline : float, optional
            The deadline of the whole answer, redirects included, on the monotonic clock. Default:
            `NetworkConfig.max_response_time` from now.

        Returns
        -------
        HttpReply
            The answer, whatever its status.

        Raises
        ------
        ConnectionError
            The server is not reachable, ended the connection, or exceeded the deadline; or its
            certificate is invalid, which is not ``retryable``.
        NetworkError
            The answer is not HTTP, exceeds `MAX_BODY_BYTES`, has more than `MAX_REDIRECTS`, or
            redirects to another site.
        RateLimitError
            The limiter has no slot before the deadline.
        """
        return self._exchange("GET", url, None, cookies, headers, deadline)

    def send(
        self,
        url: str,
        body: bytes,
        *,
        headers: Mapping[str, str] | None = None,
        deadline: float | None = None,
    ) -> HttpReply:
        """Post bytes unchanged.

        Parameters
        ----------
        url, headers, deadline
            As for `get`; the content type is among the headers.
        body : bytes
            The body.

        Returns
        -------
        HttpReply
            As for `get`.

        Raises
        ------
        NetworkError
            As for `get`.
        """
        return self._exchange("POST", url, body, None, headers, deadline)

    def post(
        self,
        url: str,
        *,
        form: Mapping[str, str],
        cookies: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        deadline: float | None = None,
    ) -> HttpReply:
        """Send a form, urlencoded as UTF-8.

        Parameters
        ----------
        url, cookies, headers, deadline
            As for `get`.
        form : mapping of str to str
            The fields, in order.

        Returns
        -------
        HttpReply
            As for `get`.

        Raises
        ------
        NetworkError
            As for `get`.
        """
        return self._exchange("POST", url, form, cookies, headers, deadline)

    def _exchange(  # noqa: PLR0917 - the two verbs above are what callers see
        self,
        method: str,
        url: str,
        form: Mapping[str, str] | bytes | None,
        cookies: Mapping[str, str] | None,
        headers: Mapping[str, str] | None,
        deadline: float | None,
    ) -> HttpReply:
        if deadline is None:
            deadline = time.monotonic() + self._network.max_response_time
        sent = dict(cookies or {})
        received: dict[str, str] = {}
        for _hop in range(MAX_REDIRECTS + 1):
            reply = self._once(method, url, form, sent, headers, deadline)
            for name, value in reply.cookies.items():
                sent.pop(name, None)
                received.pop(name, None)
                if value:
                    sent[name] = received[name] = value
            location = reply.headers.get("location")
            if reply.status not in _REDIRECTS or not location:
                return dataclasses.replace(reply, cookies=MappingProxyType(received))
            url = followed(reply.url, location)
            if reply.status not in _REPEATING_REDIRECTS:
                method, form = "GET", None
        raise NetworkError(
            f"{host_of(url)} redirects more than {MAX_REDIRECTS} times", retryable=False
        )

    def _once(  # noqa: PLR0917
        self,
        method: str,
        url: str,
        form: Mapping[str, str] | bytes | None,
        cookies: Mapping[str, str],
        headers: Mapping[str, str] | None,
        deadline: float,
    ) -> HttpReply:
        if self._limiter is not None:
            self._limiter.acquire(timeout=max(deadline - time.monotonic(), 0.0))
        fields = {**(headers or {}), "Accept-Encoding": "gzip", "Connection": "close"}
        if cookies:
            fields["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
        data = form if isinstance(form, bytes) else None
        if form is not None and not isinstance(form, bytes):
            fields["Content-Type"] = "application/x-www-form-urlencoded"
            data = urlencode(form, encoding="utf-8").encode("ascii")
        if self._network.record is None:
            return self._send(method, url, fields, data, deadline)
        # Imported here, since few programs use recordings.
        from tvDatafeed.network.recording import recorded_exchange  # noqa: PLC0415

        with recorded_exchange(self._network, method, url, fields, data) as record_answer:
            return record_answer(self._send(method, url, fields, data, deadline))

    def _send(
        self,
        method: str,
        url: str,
        fields: Mapping[str, str],
        data: bytes | None,
        deadline: float,
    ) -> HttpReply:
        limits = Limits(self._network, deadline)
        failure: NetworkError
        cause: Exception
        try:
            request = requests.Request(method, url, headers=fields, data=data)
            prepared = self.session.prepare_request(request)
            # Not the session's own send, which would follow redirects, read bodies and keep
            # cookies.
            with _applied(limits):
                response = self.session.get_adapter(url).send(prepared, stream=True)
            with closing(response):
                return _reply(response, url, deadline)
        except NetworkError:
            raise
        except (
            requests.RequestException,
            urllib3.exceptions.HTTPError,
            http.client.HTTPException,
            zlib.error,
            OSError,
            # The answer has garbage instead of a number or a header.
            ValueError,
            LookupError,
        ) as error:
            failure, cause = mapped_error(error, url, limits)
        if self._limiter is not None and was_never_connected(cause):
            self._limiter.put_back()
        # Raised outside of the handler: the original error contains the request with cookie and
        # form.
        raise failure from cause


def new_session(network: NetworkConfig) -> requests.Session:
    """Return a session whose requests follow a configuration.

    Parameters
    ----------
    network : NetworkConfig
        Limits, proxy and certificates.

    Returns
    -------
    requests.Session
        A session that reads neither the environment nor ``.netrc``, and keeps no connection open.
    """
    session = requests.Session()
    session.trust_env = False
    adapter = _Adapter(network)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


@dataclass(frozen=True)
class Limits:
    """The limits of one request."""

    network: NetworkConfig
    deadline: float
    started: float = field(default_factory=time.monotonic)

    def next_byte(self) -> float:
        """Return the deadline of the next byte in either direction."""
        patience = self.network.recv_timeout
        return self.deadline if patience < 0 else min(self.deadline, time.monotonic() + patience)

    def connected(self) -> float:
        """Return the deadline of the connection, TLS included."""
        return min(self.deadline, time.monotonic() + self.network.connect_timeout)


# Passes a request's limits to the connection that urllib3 creates for it in the same thread.
_limits: ContextVar[Limits] = ContextVar("_limits")


@contextmanager
def _applied(limits: Limits) -> Iterator[None]:
    token = _limits.set(limits)
    try:
        yield
    finally:
        _limits.reset(token)


class HttpStream:
    """A `DeadlineSocket` as http.client uses a socket: for one request and its reply."""

    def __init__(self, sock: DeadlineSocket, limits: Limits) -> None:
        self._sock = sock
        self._limits = limits
        self._readers = 0
        self._is_given_up = False

    def begin(self, limits: Limits, max_bytes: int) -> None:
        """Start another request, whose reply may have `max_bytes`."""
        self._limits = limits
        self._sock.byte_budget = max_bytes

    @property
    def is_dropped(self) -> bool:
        """Whether the server has ended the connection, or has sent unexpected bytes."""
        return wait_for_read(self._sock, 0.0)  # type: ignore[arg-type]  # a descriptor is enough

    def sendall(self, data: bytes) -> None:
        """Write all of ``data``."""
        self._sock.write_deadline = self._limits.next_byte()
        self._sock.send(data)

    def read(self, size: int) -> bytes:
        """Read 1 to ``size`` bytes; empty at the end of the stream."""
        self._sock.read_deadline = self._limits.next_byte()
        return self._sock.recv(size)

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return the stream as a file, which keeps the socket open until the file is closed."""
        assert mode == "rb"  # noqa: S101 - http.client reads replies and nothing else
        self._readers += 1
        return io.BufferedReader(_Reader(self))

    def settimeout(self, timeout: float | None) -> None:
        """Ignore urllib3's timeout: the deadlines apply."""

    def shutdown(self, _how: int) -> None:
        """End the connection."""
        self._sock.abort()

    def close(self) -> None:
        """Free the descriptor as soon as no file is open."""
        self._is_given_up = True
        if not self._readers:
            self._sock.close()

    def end_reader(self) -> None:
        """Record that a file was closed."""
        self._readers -= 1
        if self._is_given_up:
            self.close()


class _Reader(io.RawIOBase):
    def __init__(self, stream: HttpStream) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._stream.end_reader()
        super().close()


def open_http(host: str, port: int, limits: Limits, *, secure: bool) -> HttpStream:
    """Open a connection for a request within its limits."""
    network = limits.network
    sock = open_stream(
        host,
        port,
        limits.connected(),
        _never,
        proxy=network.proxy,
        secure=secure,
        ca_file=network.ca_file,
    )
    sock.stop = None
    sock.byte_budget = MAX_BODY_BYTES + _MAX_HEADERS_BYTES
    return HttpStream(sock, limits)


def _never() -> bool:
    return False


class _HttpConnection(HTTPConnection):
    # http.client's debug output, if a program enables it, would print cookies and passwords.
    debuglevel = 0

    def connect(self) -> None:
        self.sock = open_http(self.host, self.port, _limits.get(), secure=False)


class _HttpsConnection(HTTPSConnection):
    debuglevel = 0

    def connect(self) -> None:
        self.sock = open_http(self.host, self.port or 443, _limits.get(), secure=True)
        self.is_verified = True


class _HttpPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _HttpConnection

    def _put_conn(self, conn: Any) -> None:
        if conn is not None:
            conn.close()


class _HttpsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _HttpsConnection

    def _put_conn(self, conn: Any) -> None:
        if conn is not None:
            conn.close()


class _Adapter(requests.adapters.HTTPAdapter):
    """An adapter that creates the connections of a session with this module."""

    def __init__(self, network: NetworkConfig) -> None:
        self._network = network
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Create the pools."""
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}

    def send(
        self, request: requests.PreparedRequest, stream: bool = False, *_others: Any, **_more: Any
    ) -> requests.Response:
        """Send a request with the timeouts, certificates and proxy of the configuration."""
        limits = _limits.get(None)
        if limits is None:
            deadline = time.monotonic() + self._network.max_response_time
            with _applied(Limits(self._network, deadline)):
                return super().send(request, stream)
        return super().send(request, stream)


def _reply(response: requests.Response, url: str, deadline: float) -> HttpReply:
    raw = response.raw
    headers = {name.lower(): value for name, value in raw.headers.items()}
    cookies = dict(cookies_set_by(raw.headers.getlist("Set-Cookie")))
    body = _body(raw, headers.get("content-encoding", "identity"), url, deadline)
    shown = {name: value for name, value in headers.items() if name not in _HIDDEN_HEADERS}
    return HttpReply(
        response.status_code, MappingProxyType(shown), body, url, MappingProxyType(cookies)
    )


def _body(raw: Any, encoding: str, url: str, deadline: float) -> bytes:
    """Read a body within the limits of size and time; raise if it ends too early."""
    # urllib3 would decompress a whole chunk, whatever the size of the result.
    decoder = zlib.decompressobj(_GZIP_WINDOW_BITS)
    is_compressed = encoding.strip().lower() in {"gzip", "x-gzip"}
    if not is_compressed and encoding.strip().lower() not in {"identity", ""}:
        raise NetworkError(
            f"{host_of(url)} sent an encoding that was not requested", retryable=False
        )
    body = bytearray()
    for piece in raw.stream(_CHUNK_BYTES, decode_content=False):
        room = MAX_BODY_BYTES + 1 - len(body)
        body += decoder.decompress(piece, room) if is_compressed else piece
        if len(body) > MAX_BODY_BYTES:
            raise TooManyBytesError
        if time.monotonic() >= deadline:
            raise TimeoutError
    # A reply without a body may still have an encoding.
    if is_compressed and body and not decoder.eof:
        raise http.client.IncompleteRead(b"")
    return bytes(body)


def mapped_error(
    error: Exception,
    url: str,
    limits: Limits,
    settings: str = _SETTINGS,
    *,
    max_bytes: int = MAX_BODY_BYTES,
) -> tuple[NetworkError, Exception]:
    """Return our error for a foreign one, with a cause that contains nothing of the request."""
    host = host_of(url)
    # All errors of requests are also OSErrors.
    causes = [c for c in causes_of(error) if not isinstance(c, requests.RequestException)]
    telling = (c for kind in _TELLING for c in causes if isinstance(c, kind))
    mapped: NetworkError
    cause: Exception
    match next(telling, error):
        case ssl.SSLCertVerificationError(verify_message=reason) as invalid:
            text = f"the certificate of {host} is not valid: {certificate_problem(invalid)}"
            mapped, cause = ConnectionError(text, retryable=False), ssl.SSLError(reason)
        case ProxyError() as failure:
            text = _without_credentials(str(failure), limits.network)
            mapped, cause = ConnectionError(text), ProxyError(text)
        case TooManyBytesError():
            text = f"{host} sent more than {max_bytes} bytes"
            mapped, cause = NetworkError(text, retryable=False), TooManyBytesError(text)
        case TimeoutError():
            seconds = time.monotonic() - limits.started
            text = f"{host} did not answer in time ({seconds:.1f} s)"
            mapped, cause = ConnectionError(text), TimeoutError(text)
        case socket.gaierror(errno=number, strerror=reason) as unknown:
            text = f"the name {host} cannot be looked up: {look_up_problem(unknown)}"
            mapped, cause = ConnectionError(text), socket.gaierror(number, reason)
        case HostNameError() as failure:
            mapped = ConnectionError(f"{host} is not a host name", retryable=False)
            cause = HostNameError(str(failure))
        case (
            http.client.IncompleteRead()
            | http.client.RemoteDisconnected()
            # Without a cause, it means that a chunked body ended too early; garbage has a cause.
            | urllib3.exceptions.ProtocolError(args=(str(),)) as broken
        ):
            advice = tls_advice(url, settings)
            mapped = ConnectionError(f"{host} ended its answer early{advice}")
            cause = http.client.HTTPException(type(broken).__name__)
        case OSError() as failure if is_not_tls(failure):
            reason = plain_text_problem(settings)
            mapped = ConnectionError(f"{host} cannot be reached: {reason}", retryable=False)
            cause = OSError(reason)
        case OSError(strerror=strerror) as failure:
            reason = strerror or type(failure).__name__
            advice = tls_advice(url, settings) if isinstance(failure, ConnectionResetError) else ""
            mapped = ConnectionError(f"{host} cannot be reached: {reason}{advice}")
            cause = OSError(failure.errno, reason) if failure.errno else OSError(reason)
        case other:
            # The texts of these errors may contain headers and lines of the body.
            advice = tls_advice(url, settings)
            mapped = NetworkError(f"{host} did not answer as HTTP does{advice}", retryable=False)
            cause = http.client.HTTPException(type(other).__name__)
    return mapped, cause


def _without_credentials(text: str, network: NetworkConfig) -> str:
    parts = urlsplit(network.proxy or "")
    return redact(text, [parts.password or "", parts.username or ""])
