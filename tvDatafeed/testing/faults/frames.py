"""Faults in the bytes of a connection: its close, its rate, its WebSocket frames."""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from tvDatafeed.testing.faults.base import AtData, Fault
from tvDatafeed.testing.wire.actions import (
    Action,
    Finish,
    Freeze,
    Idle,
    Message,
    Reset,
    SendForever,
    SendSlowly,
)
from tvDatafeed.testing.wire.websocket import BINARY, TEXT, close_frame, frame, text_frame

_TEBIBYTE = 1 << 40


@dataclass(frozen=True)
class FinMidFrame(AtData):
    """The connection is closed inside a frame; requests in flight are sent again elsewhere."""

    def _apply(self, message: Message, /) -> Iterable[Action]:
        return [_half(text_frame(message.text)), Finish()]


@dataclass(frozen=True)
class RstMidFrame(AtData):
    """The connection is reset inside a frame; requests in flight are sent again elsewhere."""

    def _apply(self, message: Message, /) -> Iterable[Action]:
        return [_half(text_frame(message.text)), Reset()]


@dataclass(frozen=True)
class CloseCode(AtData):
    """A close frame is sent instead of data; its code and reason are part of the error.

    Parameters
    ----------
    code
        The code of the close frame, a number of RFC 6455 or 4000 and above.
    reason
        The text of the close frame.
    """

    code: int = 1001
    reason: str = ""

    def _apply(self, _message: Message, /) -> Iterable[Action]:
        return [close_frame(self.code, self.reason), Finish()]


@dataclass(frozen=True)
class HalfOpen(Fault):
    """The server freezes without a FIN at its next message; the silence limit detects it."""

    def on_message(self, message: Message, /) -> Iterable[Action] | None:
        """Freeze at the first message after the hello."""
        return None if message.kind == "hello" else [Freeze()]


@dataclass(frozen=True)
class Drip(AtData):
    """Data is sent byte by byte; it ends at the deadline of a message.

    Parameters
    ----------
    bytes_per_s
        Bytes in a second.
    """

    bytes_per_s: float = 1.0

    def _apply(self, message: Message, /) -> Iterable[Action]:
        return [SendSlowly(text_frame(message.text), self.bytes_per_s)]


@dataclass(frozen=True)
class GiantHeader(AtData):
    """A frame of 1 TiB is announced; it is rejected before it is buffered."""

    def _apply(self, _message: Message, /) -> Iterable[Action]:
        return [bytes([0x80 | TEXT, 127]) + _TEBIBYTE.to_bytes(8, "big") + bytes(1024), Idle()]


@dataclass(frozen=True)
class EndlessFragments(AtData):
    """A message of endless fragments is sent; it ends at the size limit or the deadline.

    Parameters
    ----------
    size
        Bytes of a fragment.
    """

    size: int = 1

    def _apply(self, _message: Message, /) -> Iterable[Action]:
        piece = b"x" * self.size
        return [frame(TEXT, piece, fin=False), SendForever(frame(0, piece, fin=False))]


@dataclass(frozen=True)
class InvalidUtf8(AtData):
    """A text frame is not UTF-8; the connection fails, and the error has a cause."""

    def _apply(self, message: Message, /) -> Iterable[Action]:
        data = message.text.encode()
        return [frame(TEXT, _half(data) + b"\xff\xfe" + data[len(data) // 2 :])]


@dataclass(frozen=True)
class BinaryFrame(AtData):
    """Data is sent in a binary frame; handled or counted as a violation, never a crash."""

    def _apply(self, message: Message, /) -> Iterable[Action]:
        return [frame(BINARY, message.text.encode())]


@dataclass(frozen=True)
class CompressedFrame(AtData):
    """Data is sent compressed without negotiation; it is never decoded as text."""

    def _apply(self, message: Message, /) -> Iterable[Action]:
        deflate = zlib.compressobj(wbits=-15)
        data = deflate.compress(message.text.encode()) + deflate.flush(zlib.Z_SYNC_FLUSH)
        return [frame(TEXT, data.removesuffix(b"\x00\x00\xff\xff"), rsv=4)]


def _half(data: bytes) -> bytes:
    return data[: len(data) // 2]
