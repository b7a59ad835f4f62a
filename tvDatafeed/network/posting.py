"""Posts to one URL over a kept connection, without redirects, cookies and system proxies."""

import builtins
import http.client
import time
from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import urlsplit

from tvDatafeed.config import NetworkConfig
from tvDatafeed.exceptions import (
    ConnectionError,  # noqa: A004 - our own
    NetworkError,
)
from tvDatafeed.network.http import HttpStream, Limits, mapped_error, open_http
from tvDatafeed.network.replies import HttpReply

__all__ = ["DroppedError", "Poster", "request_target"]

# The answer of a receiver is kept only to help people find a mistake.
_MAX_BODY_BYTES = 64 * 1024
_MAX_REPLY_BYTES = _MAX_BODY_BYTES + 256 * 1024
_PORTS = {"http": 80, "https": 443}


class DroppedError(ConnectionError):
    """A kept connection ended before an answer came; a new one may work."""


def request_target(url: str) -> str:
    """Return the path and query of a URL, as a request contains them."""
    parts = urlsplit(url)
    query = f"?{parts.query}" if parts.query else ""
    return _ascii(f"{parts.path or '/'}{query}")


def _ascii(text: str) -> str:
    # As requests does: other characters than ASCII are percent-encoded UTF-8; the rest is
    # unchanged.
    return "".join(c if c.isascii() else "".join(f"%{b:02X}" for b in c.encode()) for c in text)


class Poster:
    """Posts to one URL; used by one thread.

    Parameters
    ----------
    url
        Where.
    network
        Limits, proxy and certificates.
    settings
        The setting that names the URL, for errors.
    """

    def __init__(self, url: str, network: NetworkConfig, *, settings: str) -> None:
        parts = urlsplit(url)
        self._url = url
        self._network = network
        self._settings = settings
        self._is_secure = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port or _PORTS[parts.scheme]
        shown = f"[{self._host}]" if ":" in self._host else _idna(self._host)
        port = "" if parts.port in {None, _PORTS[parts.scheme]} else f":{parts.port}"
        self._start = f"POST {request_target(url)} HTTP/1.1\r\nHost: {shown}{port}\r\n"
        self._stream: HttpStream | None = None

    def post(self, body: bytes, headers: Mapping[str, str], *, deadline: float) -> HttpReply:
        """Post a body.

        Parameters
        ----------
        body
            The body.
        headers
            Headers besides Host and Content-Length; printable ASCII.
        deadline
            The deadline of the whole answer, on the monotonic clock.

        Returns
        -------
        HttpReply
            The answer, with any status.

        Raises
        ------
        DroppedError
            The connection of an earlier post ended.
        NetworkError
            No answer, or one that is not HTTP.
        """
        fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        request = f"{self._start}{fields}Content-Length: {len(body)}\r\n\r\n"
        data = request.encode("ascii") + body
        limits = Limits(self._network, deadline)
        failure: NetworkError
        cause: Exception
        if self._stream is not None and self._stream.is_dropped:
            self.close()
        is_kept = self._stream is not None
        try:
            return self._exchange(data, limits)
        except (http.client.HTTPException, OSError, ValueError, LookupError) as error:
            failure, cause = mapped_error(
                error, self._url, limits, self._settings, max_bytes=_MAX_REPLY_BYTES
            )
            if is_kept and isinstance(error, builtins.ConnectionError):
                failure = DroppedError(str(failure))
        raise failure from cause

    def close(self) -> None:
        """Close the connection."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def _exchange(self, data: bytes, limits: Limits) -> HttpReply:
        if self._stream is None:
            self._stream = open_http(self._host, self._port, limits, secure=self._is_secure)
        stream = self._stream
        is_reusable = False
        try:
            stream.begin(limits, _MAX_REPLY_BYTES)
            stream.sendall(data)
            # http.client calls only makefile.
            response = http.client.HTTPResponse(stream, method="POST")  # type: ignore[arg-type]
            try:
                response.begin()
                body = response.read(_MAX_BODY_BYTES)
                is_reusable = response.isclosed() and not response.will_close
            finally:
                response.close()
        finally:
            if not is_reusable:
                self.close()
        if time.monotonic() > limits.deadline:
            raise TimeoutError
        found = {name.lower(): value for name, value in response.getheaders()}
        return HttpReply(
            response.status, MappingProxyType(found), body, self._url, MappingProxyType({})
        )


def _idna(host: str) -> str:
    return host if host.isascii() else host.encode("idna").decode("ascii")
