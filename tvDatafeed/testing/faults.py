"""What can go wrong on the way from TradingView, one small class each.

A fault is a frozen description. The server counts how often it struck and does what it returns:
each hook gives None where the fault has nothing to do, or what happens instead of the usual.

Examples
--------
>>> parse_fault("drip:bytes_per_s=100,times=1")
Drip(times=1, symbol=None, bytes_per_s=100.0)
"""

import dataclasses
import json
import re
import threading
import types
import typing
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from tvDatafeed.protocol.framing import encode
from tvDatafeed.testing.websocket import (
    BINARY,
    TEXT,
    close_frame,
    frame,
    http_reply,
    text_frame,
)

_BAR_COMMANDS = frozenset({"create_series", "modify_series", "request_more_data"})
_TEBIBYTE = 1 << 40


@dataclass(frozen=True)
class Slowly:
    """Send bytes at a pace."""

    data: bytes
    bytes_per_s: float


@dataclass(frozen=True)
class Forever:
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
class Later:
    """Send this answer after a delay, while the conversation goes on."""

    delay_s: float


@dataclass(frozen=True)
class EndSession:
    """Make a chart session dead."""

    session: str


# Bytes are sent as they are; a str is one text message, which later faults may strike as well.
Action = (
    bytes
    | str
    | Slowly
    | Forever
    | Finish
    | Reset
    | Freeze
    | Idle
    | StopReading
    | Mute
    | Beat
    | Later
    | EndSession
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


@dataclass(frozen=True)
class Fault:
    """A fault that does nothing: the base of all.

    Parameters
    ----------
    times
        How often it strikes; None for always. What a strike is depends on the hook: a connection,
        a command or a message.
    symbol
        Strike only what concerns this ``"EXCHANGE:NAME"``; None for everything. It has no meaning
        for faults of the connection.
    """

    times: int | None = field(default=None, kw_only=True)
    symbol: str | None = field(default=None, kw_only=True)

    def on_accept(self) -> Iterable[Action] | None:
        """Act on a TCP connection before anything is read."""
        return None

    def on_upgrade(self, _reply: bytes, /) -> Iterable[Action] | None:
        """Act instead of sending the 101 reply to an upgrade request."""
        return None

    def on_open(self, _hello: str, /) -> Iterable[Action] | None:
        """Act instead of sending the hello: every str of the result is a payload."""
        return None

    def on_reply(self, _command: Command, _payloads: list[str], /) -> Iterable[Action] | None:
        """Act on the payloads that answer a command: every str of the result is a payload."""
        return None

    def on_message(self, _message: Message, /) -> Iterable[Action] | None:
        """Act on a text message: every str of the result is a text message."""
        return None

    def __str__(self) -> str:
        changed = [
            f"{f.name}={_written(getattr(self, f.name))}"
            for f in dataclasses.fields(self)
            if getattr(self, f.name) != f.default
        ]
        name = _snake(type(self).__name__)
        return f"{name}:{','.join(changed)}" if changed else name


class FaultBox:
    """The faults that are active, each with the number of strikes it has left."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._lock = threading.Lock()
        self._left: list[tuple[Fault, list[int]]] = []
        self.inject(*faults)

    @property
    def active(self) -> tuple[Fault, ...]:
        """The faults that still strike, in the order of their injection."""
        with self._lock:
            return tuple(fault for fault, left in self._left if left != [0])

    def inject(self, *faults: Fault) -> None:
        """Add faults; the same one twice is two faults."""
        with self._lock:
            self._left += [(f, [] if f.times is None else [max(0, f.times)]) for f in faults]

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._left.clear()

    def connection(self, hook: Callable[[Fault], Iterable[Action] | None]) -> list[Action] | None:
        """Return what the first fault that acts at this stage of a connection does."""
        for fault, left in self._snapshot():
            actions = hook(fault)
            if actions is not None and self._count(left):
                return list(actions)
        return None

    def reply(self, command: Command, payloads: list[str]) -> tuple[list[str], list[Action]]:
        """Let each fault change an answer: its payloads, and what the server does besides."""
        extra: list[Action] = []
        for fault, left in self._snapshot(command.symbol):
            actions = fault.on_reply(command, payloads)
            if actions is not None and self._count(left):
                done = list(actions)
                payloads = [action for action in done if isinstance(action, str)]
                extra += [action for action in done if not isinstance(action, str)]
        return payloads, extra

    def message(self, message: Message) -> list[Action]:
        """Let each fault change a text message into what is sent instead."""
        actions: list[Action] = [message.text]
        for fault, left in self._snapshot(message.symbol):
            changed: list[Action] = []
            for action in actions:
                one = dataclasses.replace(message, text=action) if isinstance(action, str) else None
                instead = fault.on_message(one) if one else None
                changed += instead if instead is not None and self._count(left) else [action]
            actions = changed
        return actions

    def _snapshot(self, symbol: str | None = None) -> list[tuple[Fault, list[int]]]:
        with self._lock:
            return [x for x in self._left if x[0].symbol in (None, symbol) and x[1] != [0]]

    def _count(self, left: list[int]) -> bool:
        with self._lock:
            if left == [0]:
                return False
            left[:] = [count - 1 for count in left]
            return True


class _AtUpgrade(Fault):
    """A fault of the handshake."""

    def on_upgrade(self, reply: bytes, /) -> Iterable[Action] | None:
        return self._strike(reply)

    def _strike(self, reply: bytes, /) -> Iterable[Action]:
        raise NotImplementedError


class _AtOpen(Fault):
    """A fault of a connection from its hello on."""

    def on_open(self, hello: str, /) -> Iterable[Action] | None:
        return self._strike(hello)

    def _strike(self, hello: str, /) -> Iterable[Action]:
        raise NotImplementedError


class _AtCommand(Fault):
    """A fault of the protocol that strikes commands, whether they have an answer or not."""

    def on_reply(self, command: Command, _payloads: list[str], /) -> Iterable[Action] | None:
        return self._strike(command)

    def _strike(self, command: Command, /) -> Iterable[Action] | None:
        raise NotImplementedError


class _AtData(Fault):
    """A fault of the wire that strikes replies and pushes."""

    def on_message(self, message: Message, /) -> Iterable[Action] | None:
        return self._strike(message) if message.kind in {"reply", "push"} else None

    def _strike(self, message: Message, /) -> Iterable[Action]:
        raise NotImplementedError


class _AtAnswer(Fault):
    """A fault of the protocol that strikes answers which are not empty."""

    def on_reply(self, command: Command, payloads: list[str], /) -> Iterable[Action] | None:
        return self._strike(command, payloads) if payloads else None

    def _strike(self, command: Command, payloads: list[str], /) -> Iterable[Action] | None:
        raise NotImplementedError


@dataclass(frozen=True)
class Refuse(Fault):
    """TCP connects and ends at once; retried with backoff. A stopped server refuses truly."""

    how: Literal["rst", "fin"] = "rst"

    def on_accept(self) -> Iterable[Action]:
        """Close at once."""
        return [Reset() if self.how == "rst" else Finish()]


@dataclass(frozen=True)
class ConnectSilence(_AtUpgrade):
    """The upgrade is never answered; the connect deadline ends it."""

    def _strike(self, _reply: bytes, /) -> Iterable[Action]:
        return [Idle()]


@dataclass(frozen=True)
class HandshakeDrip(_AtUpgrade):
    """The upgrade is answered byte by byte; the connect deadline covers all of it."""

    bytes_per_s: float = 1.0

    def _strike(self, reply: bytes, /) -> Iterable[Action]:
        return [Slowly(reply, self.bytes_per_s)]


@dataclass(frozen=True)
class HandshakeStall(_AtUpgrade):
    """Half the upgrade's answer comes and then nothing; the connect deadline ends it."""

    def _strike(self, reply: bytes, /) -> Iterable[Action]:
        return [reply[: len(reply) // 2], Idle()]


@dataclass(frozen=True)
class UpgradeStatus(_AtUpgrade):
    """The upgrade is answered by plain HTTP: 401, 403, 404 and 200 are final, 429 and 5xx are not.

    Parameters
    ----------
    status
        The HTTP status.
    body
        The page; a captive portal is ``UpgradeStatus(200, b"<html>...")``.
    retry_after
        Seconds or an HTTP date.
    location
        Where a 302 leads.
    """

    status: int = 503
    body: bytes = b""
    retry_after: str | int | None = None
    location: str | None = None

    def _strike(self, _reply: bytes, /) -> Iterable[Action]:
        headers = {"retry_after": self.retry_after, "location": self.location}
        sent = {name: str(value) for name, value in headers.items() if value is not None}
        return [http_reply(self.status, self.body, **sent), Finish()]


@dataclass(frozen=True)
class UpgradeGarbage(_AtUpgrade):
    """The upgrade is answered by bytes that are no HTTP; an error, not an endless read."""

    def _strike(self, _reply: bytes, /) -> Iterable[Action]:
        return [b"\x00\xff\x15\x03 no HTTP at all\r\n\r\n", Finish()]


@dataclass(frozen=True)
class Redirect(_AtOpen):
    """The hello names another host; the client moves there and repeats its requests."""

    host: str = "127.0.0.1"

    def _strike(self, _hello: str, /) -> Iterable[Action]:
        return [_json({"redirect": self.host})]


@dataclass(frozen=True)
class NeverRead(_AtOpen):
    """The server stops reading after the upgrade; the client's send deadline ends it."""

    def _strike(self, hello: str, /) -> Iterable[Action]:
        return [hello, StopReading()]


@dataclass(frozen=True)
class HeartbeatFlood(_AtOpen):
    """Heartbeats come in a flood; each is echoed once and data still arrives."""

    per_s: float = 10_000.0

    def _strike(self, hello: str, /) -> Iterable[Action]:
        return [hello, Beat(1 / self.per_s)]


@dataclass(frozen=True)
class HeartbeatsOnly(_AtCommand):
    """No command is answered and heartbeats go on, as with an expired token."""

    def _strike(self, _command: Command, /) -> Iterable[Action]:
        return [Mute()]


@dataclass(frozen=True)
class FinMidFrame(_AtData):
    """The connection closes inside a frame; requests in flight are asked again elsewhere."""

    def _strike(self, message: Message, /) -> Iterable[Action]:
        return [_half(text_frame(message.text)), Finish()]


@dataclass(frozen=True)
class RstMidFrame(_AtData):
    """The connection is reset inside a frame; requests in flight are asked again elsewhere."""

    def _strike(self, message: Message, /) -> Iterable[Action]:
        return [_half(text_frame(message.text)), Reset()]


@dataclass(frozen=True)
class CloseCode(_AtData):
    """A close frame comes instead of data; its code and reason stand in the error."""

    code: int = 1001
    reason: str = ""

    def _strike(self, _message: Message, /) -> Iterable[Action]:
        return [close_frame(self.code, self.reason), Finish()]


@dataclass(frozen=True)
class HalfOpen(Fault):
    """The server vanishes without a FIN at its next message; the silence limit notices."""

    def on_message(self, message: Message, /) -> Iterable[Action] | None:
        """Vanish at whatever comes after the hello."""
        return None if message.kind == "hello" else [Freeze()]


@dataclass(frozen=True)
class Drip(_AtData):
    """Data comes byte by byte; the deadline of a message ends it."""

    bytes_per_s: float = 1.0

    def _strike(self, message: Message, /) -> Iterable[Action]:
        return [Slowly(text_frame(message.text), self.bytes_per_s)]


@dataclass(frozen=True)
class GiantHeader(_AtData):
    """A frame of 1 TiB is announced; it is refused before it is buffered."""

    def _strike(self, _message: Message, /) -> Iterable[Action]:
        return [bytes([0x80 | TEXT, 127]) + _TEBIBYTE.to_bytes(8, "big") + bytes(1024), Idle()]


@dataclass(frozen=True)
class EndlessFragments(_AtData):
    """A message of ever more fragments never ends; a cap or the deadline ends it."""

    size: int = 1

    def _strike(self, _message: Message, /) -> Iterable[Action]:
        piece = b"x" * self.size
        return [frame(TEXT, piece, fin=False), Forever(frame(0, piece, fin=False))]


@dataclass(frozen=True)
class InvalidUtf8(_AtData):
    """A text frame is not UTF-8; the connection is broken, with a cause."""

    def _strike(self, message: Message, /) -> Iterable[Action]:
        data = message.text.encode()
        return [frame(TEXT, _half(data) + b"\xff\xfe" + data[len(data) // 2 :])]


@dataclass(frozen=True)
class BinaryFrame(_AtData):
    """Data comes in a binary frame; handled or counted as a violation, never a crash."""

    def _strike(self, message: Message, /) -> Iterable[Action]:
        return [frame(BINARY, message.text.encode())]


@dataclass(frozen=True)
class CompressedFrame(_AtData):
    """Data comes compressed without having been negotiated; never decoded as text by luck."""

    def _strike(self, message: Message, /) -> Iterable[Action]:
        deflate = zlib.compressobj(wbits=-15)
        data = deflate.compress(message.text.encode()) + deflate.flush(zlib.Z_SYNC_FLUSH)
        return [frame(TEXT, data.removesuffix(b"\x00\x00\xff\xff"), rsv=4)]


@dataclass(frozen=True)
class WrongLength(_AtData):
    """Each packet declares a length that is off; the decoder finds the next header again."""

    delta: int = 1

    def _strike(self, message: Message, /) -> Iterable[Action]:
        return ["".join(_packet(_units(p) + self.delta, p) for p in message.payloads)]


@dataclass(frozen=True)
class LengthUnit(_AtData):
    """Lengths count code points or UTF-8 bytes; decoded right all the same."""

    unit: Literal["code_points", "bytes"] = "bytes"

    def _strike(self, message: Message, /) -> Iterable[Action]:
        size = len if self.unit == "code_points" else lambda text: len(text.encode())
        return ["".join(_packet(size(p), p) for p in message.payloads)]


@dataclass(frozen=True)
class BadHeader(_AtData):
    """A broken header such as ``~m~-5~m~`` stands before the data; skipped and counted."""

    text: str = "~m~-5~m~"

    def _strike(self, message: Message, /) -> Iterable[Action]:
        return [self.text + message.text]


@dataclass(frozen=True)
class SplitPackets(_AtData):
    """Packets are spread over several messages; the same events as in one."""

    size: int = 100

    def _strike(self, message: Message, /) -> Iterable[Action]:
        text, size = message.text, max(1, self.size)
        return [text[start : start + size] for start in range(0, len(text), size)]


@dataclass(frozen=True)
class GluedHeartbeat(_AtData):
    """A heartbeat stands before data in one message; echoed, and the data is not lost."""

    number: int = 1000

    def _strike(self, message: Message, /) -> Iterable[Action]:
        return [encode(f"~h~{self.number}") + message.text]


@dataclass(frozen=True)
class TruncatedJson(_AtAnswer):
    """The largest payload is cut in half, its length right; dropped, and the request times out."""

    def _strike(self, _command: Command, payloads: list[str], /) -> Iterable[Action]:
        largest = max(payloads, key=len)
        return [p[: len(p) // 2] if p is largest else p for p in payloads]


@dataclass(frozen=True)
class HostileJson(_AtAnswer):
    """A payload that strains a JSON parser comes before the answer; counted, answer intact."""

    kind: Literal["nan", "infinity", "long_number", "deep", "lone_surrogate"] = "nan"

    def _strike(self, command: Command, payloads: list[str], /) -> Iterable[Action]:
        number = {"nan": "NaN", "infinity": "Infinity", "long_number": "9" * 400}.get(self.kind)
        value = number or {"deep": "[" * 10_000 + "]" * 10_000}.get(self.kind, '"\\ud800"')
        session = _json(command.params[:1])[1:-1]
        hostile = f'{{"m":"du","p":[{session},{{"sds_1":{{"s":[{{"i":0,"v":[{value}]}}]}}}}]}}'
        return [hostile, *payloads]


@dataclass(frozen=True)
class UnknownMessages(_AtAnswer):
    """Messages that nobody knows, or without sense, come first; ignored and counted."""

    PAYLOADS: ClassVar[tuple[str, ...]] = (
        '{"m":"brand_new_message","p":["x",{}],"extra":[1]}',
        '{"m":"du"}',
        '{"m":"series_completed","p":"text"}',
        '{"p":[]}',
        '{"m":null,"p":null}',
        "[]",
        "17",
    )

    def _strike(self, _command: Command, payloads: list[str], /) -> Iterable[Action]:
        return [*self.PAYLOADS, *payloads]


@dataclass(frozen=True)
class NoCompletion(_AtAnswer):
    """series_completed never comes; the request's deadline ends it."""

    def _strike(self, _command: Command, payloads: list[str], /) -> Iterable[Action] | None:
        kept = [p for p in payloads if _name(p) != "series_completed"]
        return kept if len(kept) < len(payloads) else None


@dataclass(frozen=True)
class CompletionFirst(_AtAnswer):
    """series_completed comes before the bars; the result is empty and late bars are dropped."""

    def _strike(self, _command: Command, payloads: list[str], /) -> Iterable[Action] | None:
        done = [p for p in payloads if _name(p) == "series_completed"]
        return [*done, *(p for p in payloads if p not in done)] if done else None


@dataclass(frozen=True)
class ForeignSession(_AtAnswer):
    """The answer comes first under a session nobody opened, with other bars; dropped by id."""

    session: str = "cs_nobodyknows"

    def _strike(self, command: Command, payloads: list[str], /) -> Iterable[Action] | None:
        if command.method not in _BAR_COMMANDS:
            return None
        own, foreign = _json(command.params[0]), _json(self.session)
        # A leading 9 moves each bar 250 years ahead, so that a mix-up cannot stay unseen.
        strange = [re.sub(r'"v":\[\d', '"v":[9', p.replace(own, foreign)) for p in payloads]
        return [*strange, *payloads]


@dataclass(frozen=True)
class LateReply(_AtAnswer):
    """The answer comes late and later commands are answered before it; dropped if given up."""

    delay_s: float = 1.0

    def _strike(self, _command: Command, payloads: list[str], /) -> Iterable[Action]:
        return [*payloads, Later(self.delay_s)]


@dataclass(frozen=True)
class SessionCap(_AtCommand):
    """One chart session too many on a connection gets critical_error; the others live on.

    The real server's limit and wording are not known.
    """

    limit: int = 10
    reason: str = "session limit reached"

    def _strike(self, command: Command, /) -> Iterable[Action] | None:
        if command.method != "chart_create_session" or command.open_sessions <= self.limit:
            return None
        session = command.params[0]
        text = f'method: {command.method}. args: "[]"'
        return [
            _json({"m": "critical_error", "p": [session, self.reason, text]}),
            EndSession(session),
        ]


@dataclass(frozen=True)
class ProtocolErrorReply(_AtCommand):
    """A command is answered by protocol_error, and the server closes."""

    reason: str = "wrong data"
    method: str = "create_series"

    def _strike(self, command: Command, /) -> Iterable[Action] | None:
        if command.method != self.method:
            return None
        error = _json({"m": "protocol_error", "p": [self.reason]})
        return [error, close_frame(1000), Finish()]


@dataclass(frozen=True)
class CriticalErrorReply(_AtCommand):
    """A command is answered by critical_error; its session is dead, the others live on."""

    reason: str = "invalid parameters"
    details: str = ""
    method: str = "create_series"

    def _strike(self, command: Command, /) -> Iterable[Action] | None:
        if command.method != self.method:
            return None
        session = command.params[0]
        error = _json({"m": "critical_error", "p": [session, self.reason, self.details]})
        return [error, EndSession(session)]


@dataclass(frozen=True)
class ReplaceBars(_AtAnswer):
    """Chosen rows come instead of the bars: duplicates, nulls, strings, bad times.

    Parameters
    ----------
    rows
        The rows, each ``(time, open, high, low, close, volume)`` or anything else, or a function
        from the true rows to those that are sent.
    """

    rows: Sequence[Any] | Callable[[list[Any]], Sequence[Any]] = ()

    def _strike(self, _command: Command, payloads: list[str], /) -> Iterable[Action] | None:
        if not any(_name(p) == "timescale_update" for p in payloads):
            return None
        return [self._replaced(p) if _name(p) == "timescale_update" else p for p in payloads]

    def _replaced(self, payload: str) -> str:
        message = json.loads(payload)
        for series in message["p"][1].values():
            true = [item["v"] for item in series["s"]]
            rows = list(self.rows(true) if callable(self.rows) else self.rows)
            series["s"] = [{"i": index, "v": row} for index, row in enumerate(rows)]
            message["p"][2]["changes"] = [row[0] for row in rows if isinstance(row, list | tuple)]
        return _json(message)


@dataclass(frozen=True)
class EmptyHistory(ReplaceBars):
    """There are no bars at all; an error, never an empty result."""


def _faults(kind: type[Fault]) -> dict[str, type[Fault]]:
    found = {} if kind.__name__.startswith("_") else {_snake(kind.__name__): kind}
    for special in kind.__subclasses__():
        found |= _faults(special)
    return found


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


FAULTS: dict[str, type[Fault]] = dict(sorted(_faults(Fault).items()))
"""Every fault by the name that `parse_fault` knows it by."""

_FIELD = re.compile(r"(\w+)=(\[.*?\](?=,\w+=|\Z)|\"(?:[^\"\\]|\\.)*\"|[^,]*)(?:,|\Z)")


def parse_fault(text: str) -> Fault:
    """Read a fault from a command line.

    Parameters
    ----------
    text
        ``name`` or ``name:field=value,field=value``. Text with a comma in it stands in double
        quotes, rows are a JSON list. ``str(fault)`` is this form.

    Raises
    ------
    ValueError
        If there is no such fault or field, or a value is of the wrong kind.

    Examples
    --------
    >>> parse_fault("upgrade_status:status=429,retry_after=7,times=1").retry_after
    '7'
    """
    name, _separator, rest = text.partition(":")
    kind = FAULTS.get(name.strip().replace("-", "_"))
    if kind is None:
        raise ValueError(f"no fault is named {name!r}: use one of {', '.join(FAULTS)}")
    if _FIELD.sub("", rest):
        raise ValueError(f"cannot read {rest!r}: write field=value,field=value")
    hints = typing.get_type_hints(kind)
    known = {f.name for f in dataclasses.fields(kind)}
    values = {}
    for field_name, written in _FIELD.findall(rest):
        if field_name not in known:
            raise ValueError(f"{name} has no field {field_name!r}: use {', '.join(sorted(known))}")
        values[field_name] = _read(written, hints[field_name], f"{name}:{field_name}")
    return kind(**values)


def _read(written: str, hint: Any, where: str) -> Any:
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    choices = typing.get_args(hint) if typing.get_origin(hint) is Literal else (written,)
    if written not in choices:
        raise ValueError(f"{where} cannot be {written!r}: use one of {', '.join(choices)}")
    try:
        if written.startswith(("[", '"')):
            value = json.loads(written)
            return tuple(value) if isinstance(value, list) else value
        if str not in kinds and (number := {int, float}.intersection(kinds)):
            return number.pop()(written)
    except ValueError:
        raise ValueError(f"{where} cannot be {written!r}") from None
    return written.encode() if bytes in kinds else written


def _written(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode()
    if isinstance(value, str):
        return _json(value) if re.search(r'[,"\[]', value) else value
    return _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _name(payload: str) -> str:
    found = re.match(r'\{"m":"(\w+)"', payload)
    return found[1] if found else ""


def _half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _units(payload: str) -> int:
    return int(encode(payload).split("~m~", 2)[1])


def _packet(declared: int, payload: str) -> str:
    return f"~m~{declared}~m~{payload}"
