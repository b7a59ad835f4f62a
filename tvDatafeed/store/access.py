"""Who may use the store's HTTP server: hosts, tokens and paths, without I/O."""

import hmac
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from tvDatafeed.common.hosts import is_loopback
from tvDatafeed.exceptions import ConfigurationError

Verdict = Literal["allowed", "no token", "wrong token", "wrong host"]

# Files without data: a browser has to load the page before it can ask for a token.
OPEN_PATHS = frozenset({"/", "/docs", "/page.css", "/page.js", "/docs.js"})
# A proxy on this machine sends them: the client is elsewhere then.
_FORWARDING = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip")
_READING = {"GET", "HEAD"}


@dataclass(frozen=True)
class Access:
    """The rules of one server.

    On this machine reading needs no token, as long as the ``Host`` header names this machine: a
    web page whose name was pointed to 127.0.0.1 (DNS rebinding) sends its own name. Everything
    else needs the token.

    Parameters
    ----------
    host
        The address that the server listens on.
    token
        What clients send; None when there is none.

    Raises
    ------
    ConfigurationError
        The host is not this machine, and there is no token.
    """

    host: str
    token: str | None

    def __post_init__(self) -> None:
        if self.token is None and not self.is_local:
            raise ConfigurationError(
                "host",
                self.host,
                "is not this machine, so that clients need a token: set TV_STORE_TOKEN",
            )

    def __repr__(self) -> str:
        return f"<Access {self.host}>"

    @property
    def is_local(self) -> bool:
        """Whether the server can be reached from this machine alone."""
        return is_loopback(self.host)

    def verdict(self, method: str, path: str, headers: dict[str, str]) -> Verdict:
        """Return whether a request is allowed.

        Parameters
        ----------
        method, path
            Of the request.
        headers
            Its headers, by their lower-case names.
        """
        if self.is_local and not is_loopback(_host_in(headers.get("host", ""))):
            return "wrong host"
        is_reading = method in _READING
        if is_reading and path in OPEN_PATHS:
            return "allowed"
        is_near = self.is_local and not any(name in headers for name in _FORWARDING)
        sent = headers.get("authorization")
        if sent is None:
            return "allowed" if is_near and is_reading else "no token"
        return "allowed" if self._is_right(sent) else "wrong token"

    def _is_right(self, header: str) -> bool:
        scheme, _, sent = header.strip().partition(" ")
        if self.token is None or scheme.lower() != "bearer":
            return False
        return hmac.compare_digest(sent.strip().encode(), self.token.encode())


def _host_in(header: str) -> str:
    """Return the host of a ``Host`` header, without its port."""
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""
