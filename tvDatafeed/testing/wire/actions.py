"""The actions that a fault can return, and the traffic that it receives."""

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class SendSlowly:
    """Send bytes at a limited rate."""

    data: bytes
    bytes_per_s: float


@dataclass(frozen=True)
class SendForever:
    """Send the same bytes until the client closes."""

    data: bytes


@dataclass(frozen=True)
class Finish:
    """Close with a FIN."""


@dataclass(frozen=True)
class Reset:
    """Close with an RST."""


@dataclass(frozen=True)
class Freeze:
    """Stop reading and sending, and keep the socket open."""


@dataclass(frozen=True)
class Idle:
    """Stop sending, and wait until the client closes."""


@dataclass(frozen=True)
class StopReading:
    """Stop reading, and keep sending."""


@dataclass(frozen=True)
class Mute:
    """Stop answering commands; heartbeats continue."""


@dataclass(frozen=True)
class Beat:
    """Send heartbeats at another interval."""

    interval_s: float


@dataclass(frozen=True)
class SendLater:
    """Send this answer after a delay, while the conversation continues."""

    delay_s: float


@dataclass(frozen=True)
class AbortSession:
    """Abort a chart session; its later commands are ignored."""

    session: str


# Bytes are sent unchanged; a str is one text message, which later faults can change as well.
Action = (
    bytes
    | str
    | SendSlowly
    | SendForever
    | Finish
    | Reset
    | Freeze
    | Idle
    | StopReading
    | Mute
    | Beat
    | SendLater
    | AbortSession
)


@dataclass(frozen=True)
class Command:
    """One client message, as passed to faults.

    Parameters
    ----------
    method, params
        The message.
    symbol
        The ``"EXCHANGE:NAME"`` that the message is about, or None.
    open_sessions
        How many chart sessions this connection has now.
    """

    method: str
    params: list[Any]
    symbol: str | None
    open_sessions: int


@dataclass(frozen=True)
class Message:
    """One text message to the client, as passed to faults.

    Parameters
    ----------
    kind
        The reason for sending it.
    text
        The packets, possibly changed by an earlier fault.
    payloads
        The original payloads of the packets.
    symbol
        The ``"EXCHANGE:NAME"`` that the message is about, or None.
    """

    kind: Literal["hello", "heartbeat", "reply", "push"]
    text: str
    payloads: tuple[str, ...]
    symbol: str | None = None
