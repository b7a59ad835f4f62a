"""The answer of an HTTP server: the reply, its cookies, and the redirects that are followed."""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

import msgspec

from tvDatafeed.common.hosts import is_loopback
from tvDatafeed.exceptions import NetworkError

__all__ = ["HttpReply", "cookies_set_by", "followed", "host_of", "retry_after_s"]

# A longer Retry-After is a mistake or a lock-out; the user must decide then.
MAX_RETRY_AFTER_S = 3600.0

# How many last labels of a host identify its site: tradingview.com.
_SITE_LABELS = 2
# No name is longer.
_SHOWN_HOST_LENGTH = 253


@dataclass(frozen=True)
class HttpReply:
    """The answer of a server, with any status.

    Attributes
    ----------
    status : int
        The status of the last answer; redirects were followed.
    headers : mapping of str to str
        By lower-case names, without those that set cookies.
    body : bytes
        The whole body, decompressed.
    url : str
        The URL of the last answer.
    cookies : mapping of str to str
        The cookies that were set by this answer and its redirects, without deleted ones.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str
    cookies: Mapping[str, str]

    def __repr__(self) -> str:
        # All other parts may contain a token or a cookie.
        return f"<HttpReply {self.status} {_without_query(self.url)}, {len(self.body)} bytes>"

    @property
    def text(self) -> str:
        """The body as text; invalid UTF-8 is replaced."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """Return the body as JSON.

        Raises
        ------
        ValueError
            If it is invalid.
        """
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, RecursionError, ValueError):
            reason = "the body is not JSON"
        # Raised outside of the handler, since the original error may repeat the body.
        raise ValueError(reason)

    @property
    def retry_after(self) -> float | None:
        """Seconds that the server asks the client to wait; None without a valid number."""
        return retry_after_s(self.headers.get("retry-after"))

    @property
    def date(self) -> float | None:
        """The server's clock as seconds since 1970, from the Date header; None without one."""
        try:
            return http_date_s(self.headers.get("date", ""))
        except ValueError:
            return None


def http_date_s(text: str) -> float:
    """Read an HTTP date as seconds since 1970.

    Raises
    ------
    ValueError
        If it is invalid.
    """
    try:
        return parsedate_to_datetime(text).timestamp()
    except (TypeError, OverflowError):
        # Python raises these for some invalid dates, and for years out of range.
        raise ValueError("no date") from None


def retry_after_s(header: str | None) -> float | None:
    """Read Retry-After, seconds or an HTTP date.

    Returns
    -------
    float or None
        Seconds from now, at least 0 and at most `MAX_RETRY_AFTER_S`; None when the header is
        invalid.
    """
    text = (header or "").strip()
    try:
        seconds = float(text) if text.isdecimal() else http_date_s(text) - time.time()
    except ValueError:
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)


def cookies_set_by(headers: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the cookies of a reply; deleted cookies have an empty value."""
    for header in headers:
        pair, *attributes = (part.strip() for part in header.split(";"))
        name, equals, value = pair.partition("=")
        if equals and name:
            has_ended = any(a.lower().replace(" ", "") == "max-age=0" for a in attributes)
            yield name.strip(), "" if has_ended else value.strip().strip('"')


def followed(url: str, location: str) -> str:
    """Return the target of a redirect; raise if cookies and forms must not go there."""
    try:
        target = urljoin(url, location)
        here, there = urlsplit(url), urlsplit(target)
        host, _port = there.hostname, there.port
    except ValueError:
        raise NetworkError(f"{host_of(url)} redirects to an invalid URL", retryable=False) from None
    if not is_same_site(here.hostname or "", host or ""):
        raise NetworkError(
            f"{host_of(url)} redirects to another site, {_shown(host)}: not followed",
            retryable=False,
        )
    is_plain_at_home = here.scheme == there.scheme == "http" and is_loopback(host or "")
    if there.scheme != "https" and not is_plain_at_home:
        raise NetworkError(
            f"{host_of(url)} redirects to {_shown(host)} without TLS: not followed",
            retryable=False,
        )
    return target


def is_same_site(here: str, there: str) -> bool:
    """Return whether two hosts belong to one site, so that both may receive the same secrets."""
    if here == there:
        return bool(here)
    labels, others = here.split("."), there.split(".")
    return (
        len(labels) >= _SITE_LABELS
        and labels[-_SITE_LABELS:] == others[-_SITE_LABELS:]
        # Parts of an IP address do not identify a site.
        and not (labels[-1].isdecimal() or ":" in here)
    )


def host_of(url: str) -> str:
    """Return the host of a URL in a form that is safe to print."""
    try:
        return _shown(urlsplit(url).hostname)
    except ValueError:
        return _shown(None)


def _shown(host: str | None) -> str:
    """Return a host, which a server may have invented, in a form that fits in one line."""
    text = "".join(c if c.isprintable() else "?" for c in host or "nowhere")
    return text[:_SHOWN_HOST_LENGTH]


def _without_query(url: str) -> str:
    return urlsplit(url)._replace(query="", fragment="").geturl()
