"""Faults while a connection opens: TCP, TLS, the upgrade, the hello."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from tvDatafeed.testing.faults.base import AtOpen, AtUpgrade, Fault
from tvDatafeed.testing.wire.actions import (
    Action,
    Beat,
    Finish,
    Idle,
    Reset,
    SendSlowly,
    StopReading,
)
from tvDatafeed.testing.wire.http11 import http_reply
from tvDatafeed.testing.wire.payloads import to_json


@dataclass(frozen=True)
class Refuse(Fault):
    """TCP connects and is closed at once; retried with backoff. For a refusal, stop the server.

    Parameters
    ----------
    how
        How the connection is closed: ``"rst"`` or ``"fin"``.
    """

    how: Literal["rst", "fin"] = "rst"

    def on_accept(self) -> Iterable[Action]:
        """Close at once."""
        return [Reset() if self.how == "rst" else Finish()]


@dataclass(frozen=True)
class TlsStall(Fault):
    """The TLS handshake is never answered; it ends at the connect deadline."""

    def on_accept(self) -> Iterable[Action]:
        """Send nothing until the client closes."""
        return [Idle()]


@dataclass(frozen=True)
class TlsGarbage(Fault):
    """The TLS handshake is answered by plain text; an error, not a downgrade."""

    def on_accept(self) -> Iterable[Action]:
        """Answer like a server without TLS."""
        return [http_reply(400, b"plain"), Finish()]


@dataclass(frozen=True)
class ConnectSilence(AtUpgrade):
    """The upgrade is never answered; it ends at the connect deadline."""

    def _apply(self, _reply: bytes, /) -> Iterable[Action]:
        return [Idle()]


@dataclass(frozen=True)
class HandshakeDrip(AtUpgrade):
    """The upgrade is answered byte by byte; the connect deadline covers the whole answer.

    Parameters
    ----------
    bytes_per_s
        Bytes in a second.
    """

    bytes_per_s: float = 1.0

    def _apply(self, reply: bytes, /) -> Iterable[Action]:
        return [SendSlowly(reply, self.bytes_per_s)]


@dataclass(frozen=True)
class HandshakeStall(AtUpgrade):
    """Half of the answer to the upgrade is sent; it ends at the connect deadline."""

    def _apply(self, reply: bytes, /) -> Iterable[Action]:
        return [reply[: len(reply) // 2], Idle()]


@dataclass(frozen=True)
class UpgradeStatus(AtUpgrade):
    """The upgrade is answered by plain HTTP: 200, 401, 403 and 404 are final, 429 and 5xx are not.

    Parameters
    ----------
    status
        The HTTP status, a number.
    body
        The content; ``UpgradeStatus(200, b"<html>...")`` simulates a captive portal.
    retry_after
        Seconds or an HTTP date.
    location
        The target of a redirect.
    """

    status: int = 503
    body: bytes = b""
    retry_after: str | int | None = None
    location: str | None = None

    def _apply(self, _reply: bytes, /) -> Iterable[Action]:
        headers = {"retry_after": self.retry_after, "location": self.location}
        sent = {name: str(value) for name, value in headers.items() if value is not None}
        return [http_reply(self.status, self.body, **sent), Finish()]


@dataclass(frozen=True)
class UpgradeGarbage(AtUpgrade):
    """The upgrade is answered by bytes that are not HTTP; an error, not an endless read."""

    def _apply(self, _reply: bytes, /) -> Iterable[Action]:
        return [b"\x00\xff\x15\x03 no HTTP at all\r\n\r\n", Finish()]


@dataclass(frozen=True)
class Redirect(AtOpen):
    """The hello redirects to another host; the client connects there and repeats its requests.

    Parameters
    ----------
    host
        The other host, or ``"host:port"``.
    """

    host: str = "127.0.0.1"

    def _apply(self, _hello: str, /) -> Iterable[Action]:
        return [to_json({"redirect": self.host})]


@dataclass(frozen=True)
class NeverRead(AtOpen):
    """The server stops reading after the upgrade; it ends at the client's send deadline."""

    def _apply(self, hello: str, /) -> Iterable[Action]:
        return [hello, StopReading()]


@dataclass(frozen=True)
class HeartbeatFlood(AtOpen):
    """Heartbeats are sent in a flood; each is echoed once, and data still arrives.

    Parameters
    ----------
    per_s
        Heartbeats in a second.
    """

    per_s: float = 10_000.0

    def _apply(self, hello: str, /) -> Iterable[Action]:
        return [hello, Beat(1 / self.per_s)]
