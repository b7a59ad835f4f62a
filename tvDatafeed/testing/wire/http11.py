"""HTTP/1.1 of the server: one request and one reply per connection."""

import email.policy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from email.parser import BytesParser
from urllib.parse import parse_qs, urlsplit

# A sign-in request has a few hundred bytes, including its cookies.
MAX_REQUEST_BYTES = 64 * 1024

_REASONS = {
    200: "OK",
    301: "Moved Permanently",
    302: "Found",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


@dataclass(frozen=True)
class Request:
    """One HTTP request. Its repr omits headers and body, which can contain secrets.

    Parameters
    ----------
    method
        The HTTP method.
    target
        Path and query as received.
    headers
        Header values by lower-case name.
    body
        The bytes after the head.
    """

    method: str
    target: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)

    @property
    def path(self) -> str:
        """The path without its query."""
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        """The first value of each query parameter, including empty ones."""
        return _pairs(urlsplit(self.target).query)

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies by name."""
        parts = (part.partition("=") for part in self.headers.get("cookie", "").split(";"))
        return {name.strip(): value.strip() for name, separator, value in parts if separator}

    @property
    def form(self) -> dict[str, str]:
        """The fields of a form, urlencoded or multipart; empty for any other body."""
        kind = self.headers.get("content-type", "")
        if kind.lower().startswith("application/x-www-form-urlencoded"):
            return _pairs(self.body.decode("latin-1"))
        if not kind.lower().startswith("multipart/form-data"):
            return {}
        head = f"Content-Type: {kind}\r\n\r\n".encode("latin-1")
        fields = {}
        for part in BytesParser(policy=email.policy.compat32).parsebytes(head + self.body).walk():
            name = part.get_param("name", header="content-disposition")
            content = part.get_payload(decode=True)
            if isinstance(name, str) and isinstance(content, bytes):
                fields[name] = content.decode("utf-8", "replace")
        return fields

    @property
    def is_upgrade(self) -> bool:
        """Whether the request asks for a WebSocket."""
        return (
            self.headers.get("upgrade", "").lower() == "websocket"
            and "sec-websocket-key" in self.headers
        )


@dataclass(frozen=True)
class Reply:
    """One HTTP response, after which the connection closes.

    Parameters
    ----------
    status
        The HTTP status.
    body
        The content.
    headers
        Names and values; names can repeat. Default: a content type of HTML.
    date
        The value of the Date header; without it, the header is omitted.
    """

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "text/html; charset=utf-8"),)
    date: str = ""

    def instead(self, status: int, body: bytes = b"", *headers: tuple[str, str]) -> "Reply":
        """Return another reply with the same date; HTML unless the headers have a content type."""
        return Reply(status, body, (*Reply.headers, *headers), self.date)

    def with_headers(self, *headers: tuple[str, str]) -> "Reply":
        """Return this reply with more headers."""
        return replace(self, headers=(*self.headers, *headers))

    def head(self, content_length: int | None) -> bytes:
        """Format the head of the reply, with or without a content length."""
        lines = [*self.headers, ("Connection", "close")]
        lines += [("Date", self.date)] if self.date else []
        lines += [] if content_length is None else [("Content-Length", str(content_length))]
        text = "".join(f"{name}: {value}\r\n" for name, value in lines)
        return (
            f"HTTP/1.1 {self.status} {_REASONS.get(self.status, 'Status')}\r\n{text}\r\n".encode()
        )

    def encode(self) -> bytes:
        """Format the whole reply."""
        return self.head(len(self.body)) + self.body


def request_in(data: bytes) -> tuple[Request, bytes] | None:
    """Parse the request at the start of the data, and the rest; None until it is complete.

    Raises
    ------
    ValueError
        If the data is not a request.
    """
    head, separator, rest = data.partition(b"\r\n\r\n")
    if not separator:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _version = first.split(" ")
    headers = {}
    for line in filter(None, lines):
        name, colon, value = line.partition(":")
        if not colon:
            raise ValueError(f"header without a colon: {line[:80]!r}")
        headers[name.strip().lower()] = value.strip()
    size = int(headers.get("content-length", "0"))
    if size < 0:
        raise ValueError(f"Content-Length is {size}")
    if len(rest) < size:
        return None
    return Request(method, target, headers, rest[:size]), rest[size:]


def http_reply(status: int, body: bytes = b"", **headers: str) -> bytes:
    """Format an HTTP response after which the connection closes.

    Header names have underscores instead of hyphens: ``retry_after="7"``.
    """
    lines = {"content_type": "text/html; charset=utf-8", **headers}
    named = tuple((name.replace("_", "-"), value) for name, value in lines.items())
    return Reply(status, body, named).encode()


def _pairs(text: str) -> dict[str, str]:
    pairs = parse_qs(text, keep_blank_values=True)
    return {name: values[0] for name, values in pairs.items()}
