"""What a fault may make the server do, and what it sees of the traffic it strikes."""

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class SendSlowly:
    """Send bytes at a pace."""

    data: bytes
    bytes_per_s: float


@dataclass(frozen=True)
class SendForever:
    """Send the same bytes until the client leaves."""

    data: bytes


@dataclass(frozen=True)
class Finish:
    """Close with a FIN."""


@dataclass(frozen=True)
class Reset:
    """Close with an RST."""


@dataclass(frozen=True)
class Freeze:
    """Neither read nor send any more, and keep the socket."""


@dataclass(frozen=True)
class Idle:
    """Send nothing any more, and notice when the client leaves."""


@dataclass(frozen=True)
class StopReading:
    """Read nothing any more, and go on sending."""


@dataclass(frozen=True)
class Mute:
    """Answer no command any more; heartbeats go on."""


@dataclass(frozen=True)
class Beat:
    """Send heartbeats at another interval."""

    interval_s: float


@dataclass(frozen=True)
class SendLater:
    """Send this answer after a delay, while the conversation goes on."""

    delay_s: float


@dataclass(frozen=True)
class AbortSession:
    """Make a chart session dead."""

    session: str


# Bytes are sent as they are; a str is one text message, which later faults may strike as well.
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
    """One client message, as faults see it.

    Parameters
    ----------
    method, params
        The message.
    symbol
        The ``"EXCHANGE:NAME"`` it is about, if it is about one.
    open_sessions
        How many chart sessions this connection now has.
    """

    method: str
    params: list[Any]
    symbol: str | None
    open_sessions: int


@dataclass(frozen=True)
class Message:
    """One text message on its way to the client, as faults see it.

    Parameters
    ----------
    kind
        Why it is sent.
    text
        The packets, or what an earlier fault made of them.
    payloads
        What the packets held to begin with.
    symbol
        The ``"EXCHANGE:NAME"`` it is about, if it is about one.
    """

    kind: Literal["hello", "heartbeat", "reply", "push"]
    text: str
    payloads: tuple[str, ...]
    symbol: str | None = None
