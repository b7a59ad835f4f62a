"""Faults in the ``~m~`` packets of a text message."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from tvDatafeed.protocol.framing import encode
from tvDatafeed.testing.faults.base import AtData
from tvDatafeed.testing.wire.actions import Action, Message


@dataclass(frozen=True)
class WrongLength(AtData):
    """Each packet declares a wrong length; the decoder resumes at the next header.

    Parameters
    ----------
    delta
        The difference to the right length, in characters.
    """

    delta: int = 1

    def _apply(self, message: Message, /) -> Iterable[Action]:
        return ["".join(_packet(_units(p) + self.delta, p) for p in message.payloads)]


@dataclass(frozen=True)
class LengthUnit(AtData):
    """Lengths count code points or UTF-8 bytes; they are decoded correctly.

    Parameters
    ----------
    unit
        The unit of the lengths.
    """

    unit: Literal["code_points", "bytes"] = "bytes"

    def _apply(self, message: Message, /) -> Iterable[Action]:
        size = len if self.unit == "code_points" else lambda text: len(text.encode())
        return ["".join(_packet(size(p), p) for p in message.payloads)]


@dataclass(frozen=True)
class BadHeader(AtData):
    """A broken header such as ``~m~-5~m~`` is sent before the data; skipped and counted.

    Parameters
    ----------
    text
        The text before the data.
    """

    text: str = "~m~-5~m~"

    def _apply(self, message: Message, /) -> Iterable[Action]:
        return [self.text + message.text]


@dataclass(frozen=True)
class SplitPackets(AtData):
    """Packets are split over several messages; the events are the same.

    Parameters
    ----------
    size
        The largest message, in characters.
    """

    size: int = 100

    def _apply(self, message: Message, /) -> Iterable[Action]:
        text, size = message.text, max(1, self.size)
        return [text[start : start + size] for start in range(0, len(text), size)]


@dataclass(frozen=True)
class GluedHeartbeat(AtData):
    """A heartbeat and data are sent in one message; both are handled.

    Parameters
    ----------
    number
        The number of the heartbeat.
    """

    number: int = 1000

    def _apply(self, message: Message, /) -> Iterable[Action]:
        return [encode(f"~h~{self.number}") + message.text]


def _units(payload: str) -> int:
    return int(encode(payload).split("~m~", 2)[1])


def _packet(declared: int, payload: str) -> str:
    return f"~m~{declared}~m~{payload}"
