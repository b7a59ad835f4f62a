"""Faults of plain HTTP: signing in, pages, the symbol search."""

import gzip
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from tvDatafeed.testing.faults.base import Fault
from tvDatafeed.testing.wire.actions import Action, Idle, Reset, SendForever, SendSlowly
from tvDatafeed.testing.wire.http11 import Reply, Request

_MEBIBYTE = 1 << 20
_HTML = b"<!DOCTYPE html>\n<html><head><title>TradingView</title></head><body>Hello</body></html>\n"
_GZIP = ("Content-Encoding", "gzip")


@dataclass(frozen=True)
class AtHttp(Fault, ABC):
    """A fault of HTTP.

    Parameters
    ----------
    path
        Apply only to requests of this path; ``"*"`` for all paths.
    """

    path: str = field(default="/accounts/signin/", kw_only=True)

    def on_http(self, request: Request, reply: Reply, /) -> Iterable[Action] | None:
        """Apply to each request of the path."""
        return self._apply(request, reply) if self.path in {"*", request.path} else None

    @abstractmethod
    def _apply(self, request: Request, reply: Reply, /) -> Iterable[Action]:
        """Return the actions to perform instead."""


@dataclass(frozen=True)
class HttpStatus(AtHttp):
    """The request is answered by another status; 429 and 5xx have different typed errors.

    Parameters
    ----------
    status
        The HTTP status, a number.
    body
        The content, as HTML.
    retry_after
        Seconds or an HTTP date.
    """

    status: int = 503
    body: bytes = b""
    retry_after: str | int | None = None

    def _apply(self, _request: Request, reply: Reply, /) -> Iterable[Action]:
        after = [] if self.retry_after is None else [("Retry-After", str(self.retry_after))]
        return [reply.instead(self.status, self.body, *after).encode()]


@dataclass(frozen=True)
class HttpHtml(AtHttp):
    """HTML is sent instead of JSON, as by a captive portal; the error says so.

    Parameters
    ----------
    body
        The HTML.
    """

    body: bytes = _HTML

    def _apply(self, _request: Request, reply: Reply, /) -> Iterable[Action]:
        return [reply.instead(200, self.body).encode()]


@dataclass(frozen=True)
class HttpHugeBody(AtHttp):
    """A body far above the limit is sent; it is rejected before it is held in memory.

    Parameters
    ----------
    size_bytes
        The size of the body in bytes.
    how
        ``"announced"`` with a content length, ``"endless"`` without one, ``"gzip"`` compressed.
    """

    size_bytes: int = 64 * _MEBIBYTE
    how: Literal["announced", "endless", "gzip"] = "announced"

    def _apply(self, _request: Request, reply: Reply, /) -> Iterable[Action]:
        if self.how == "gzip":
            return [reply.instead(200, gzip.compress(bytes(self.size_bytes)), _GZIP).encode()]
        length = self.size_bytes if self.how == "announced" else None
        return [reply.instead(200).head(length), SendForever(b"<p>no end</p>")]


@dataclass(frozen=True)
class HttpTruncatedGzip(AtHttp):
    """Half of a compressed body is sent with the right length; an error, not half a reply."""

    def _apply(self, _request: Request, reply: Reply, /) -> Iterable[Action]:
        body = gzip.compress(reply.body)
        half = Reply(reply.status, body[: len(body) // 2], reply.headers, reply.date)
        return [half.with_headers(_GZIP).encode()]


@dataclass(frozen=True)
class HttpDrip(AtHttp):
    """The reply is sent byte by byte; the deadline covers the whole reply.

    Parameters
    ----------
    bytes_per_s
        Bytes in a second.
    """

    bytes_per_s: float = 1.0

    def _apply(self, _request: Request, reply: Reply, /) -> Iterable[Action]:
        return [SendSlowly(reply.encode(), self.bytes_per_s)]


@dataclass(frozen=True)
class HttpStall(AtHttp):
    """Only the beginning of a reply is sent; it ends at the deadline.

    Parameters
    ----------
    after_bytes
        How many bytes of the reply are sent.
    """

    after_bytes: int = 0

    def _apply(self, _request: Request, reply: Reply, /) -> Iterable[Action]:
        return [reply.encode()[: self.after_bytes], Idle()]


@dataclass(frozen=True)
class HttpRedirect(AtHttp):
    """The request is redirected; three redirects are followed, and cookies stay on their site.

    Parameters
    ----------
    location
        The target; empty for the same URL, which is a loop.
    status
        The HTTP status, a number: 301, 302, 303, 307 or 308.
    """

    location: str = ""
    status: int = 302

    def _apply(self, request: Request, reply: Reply, /) -> Iterable[Action]:
        to = ("Location", self.location or request.target)
        return [reply.instead(self.status, b"", to).encode()]


@dataclass(frozen=True)
class HttpReset(AtHttp):
    """The connection is reset instead of a reply; an error, and passwords are not sent again."""

    def _apply(self, _request: Request, _reply: Reply, /) -> Iterable[Action]:
        return [Reset()]
