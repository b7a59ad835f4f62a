"""Messages: payloads of the server as typed values, and messages of the client as payloads.

The envelope is ``{"m": method, "p": [...]}``. Each known method has a class whose ``p`` names the
parameters; additional parameters are ignored, so that the server may add some. A payload that fits
no class is `Other`; an unreadable payload is a `Violation`.
"""

import math
from typing import Any, TypeAlias, get_args

import msgspec
from msgspec import Struct

from tvDatafeed.protocol.bars import Bar
from tvDatafeed.protocol.framing import Violation


class BarItem(Struct, frozen=True, gc=False):
    """An item with a bar; its index ``i`` is not read, since only times are stable."""

    v: Bar


class LastBarState(Struct, frozen=True):
    """``lbs``: when the last bar of the update closes, epoch seconds UTC."""

    bar_close_time: float | None = None


class SeriesUpdate(Struct, frozen=True):
    """The update of one series: bars ``s``, turnaround ``t``."""

    s: list[BarItem] = []
    t: str | None = None
    lbs: LastBarState | None = None


class SeriesInfo(Struct, frozen=True):
    """The last parameter of series_completed.

    ``data_completed`` is "end" when no older bars exist and "limit" at the plan's limit;
    ``rt_update_period`` is in seconds.
    """

    rt_update_period: float | None = None
    data_completed: str | None = None


class QuoteState(Struct, frozen=True):
    """A quote: symbol ``n`` as it was requested, status ``s``, values ``v``."""

    n: str
    s: str
    v: dict[str, Any] = {}
    errmsg: str | None = None


class _Parameters(Struct, array_like=True, frozen=True):
    """The ``p`` of a message: an array, whose first items are named.

    Parameters that this library does not read have no type, so that the server may change them.
    """


class SeriesParameters(_Parameters, frozen=True):
    """``[session, series_id, turnaround]``."""

    session: str
    series_id: Any = None
    turnaround: Any = None


class SymbolParameters(_Parameters, frozen=True):
    """``[session, symbol_id, info]``; info is the description of the symbol."""

    session: str
    symbol_id: Any
    info: dict[str, Any]


class UpdateParameters(_Parameters, frozen=True):
    """``[session, {series_id: update}]``; the timeline that follows is not read."""

    session: str
    series: dict[str, SeriesUpdate]


class TimeframeParameters(_Parameters, frozen=True):
    """``[session, series_id, turnaround, from_index, to_index, range, ready]``."""

    session: str
    series_id: Any = None
    turnaround: Any = None
    from_index: Any = None
    to_index: Any = None
    range: Any = None
    ready: Any = None


class CompletedParameters(_Parameters, frozen=True):
    """``[session, series_id, update_mode, turnaround, info]``; old frames have no info."""

    session: str
    series_id: Any
    update_mode: str
    turnaround: str | None = None
    info: SeriesInfo | None = None


class SymbolErrorParameters(_Parameters, frozen=True):
    """``[session, symbol_id, reason, detail, subject]``."""

    session: str
    symbol_id: Any = None
    reason: Any = None
    detail: Any = None
    subject: Any = None


class SeriesErrorParameters(_Parameters, frozen=True):
    """``[session, series_id, turnaround, reason, node]``; reason is a text or an object."""

    session: str
    series_id: Any = None
    turnaround: Any = None
    reason: Any = None
    node: Any = None


class CriticalErrorParameters(_Parameters, frozen=True):
    """``[session, reason, details]``."""

    session: str
    reason: Any = None
    details: Any = None


class ProtocolErrorParameters(_Parameters, frozen=True):
    """``[reason]``."""

    reason: Any = None


class QuoteParameters(_Parameters, frozen=True):
    """``[session, quote]``."""

    session: str
    quote: QuoteState


class QuoteSymbolParameters(_Parameters, frozen=True):
    """``[session, symbol]``."""

    session: str
    symbol: str


class _Message(Struct, frozen=True, tag_field="m"):
    """A message with a known method; ``t_ms`` is the server's clock, epoch milliseconds UTC."""

    t_ms: float | None = None


class SeriesLoading(_Message, frozen=True, kw_only=True, tag="series_loading"):
    """A series is on its way."""

    p: SeriesParameters


class SymbolResolved(_Message, frozen=True, kw_only=True, tag="symbol_resolved"):
    """The symbol exists; it comes before or after the data of other sessions."""

    p: SymbolParameters


class TimescaleUpdate(_Message, frozen=True, kw_only=True, tag="timescale_update"):
    """Bars together with a change of the time scale: history, an older page, a new live bar."""

    p: UpdateParameters


class DataUpdate(_Message, frozen=True, kw_only=True, tag="du"):
    """New values of bars that the time scale already has."""

    p: UpdateParameters


class SeriesTimeframe(_Message, frozen=True, kw_only=True, tag="series_timeframe"):
    """Which bars of the series are in the requested range."""

    p: TimeframeParameters


class SeriesCompleted(_Message, frozen=True, kw_only=True, tag="series_completed"):
    """The answer is complete; later messages are live."""

    p: CompletedParameters


class SymbolError(_Message, frozen=True, kw_only=True, tag="symbol_error"):
    """The symbol was refused."""

    p: SymbolErrorParameters


class SeriesError(_Message, frozen=True, kw_only=True, tag="series_error"):
    """The series was refused; no series_completed follows."""

    p: SeriesErrorParameters


class CriticalError(_Message, frozen=True, kw_only=True, tag="critical_error"):
    """A request was refused and its session has ended."""

    p: CriticalErrorParameters


class ProtocolErrorReply(_Message, frozen=True, kw_only=True, tag="protocol_error"):
    """The connection was refused; the server closes it next."""

    p: ProtocolErrorParameters


class QuoteData(_Message, frozen=True, kw_only=True, tag="qsd"):
    """Values of a quote: first all requested ones, later the changed ones."""

    p: QuoteParameters


class QuoteCompleted(_Message, frozen=True, kw_only=True, tag="quote_completed"):
    """The first values of a quote are complete."""

    p: QuoteSymbolParameters


class Heartbeat(Struct, frozen=True):
    """``~h~<n>``: the client sends it back unchanged."""

    payload: str


class Hello(Struct, frozen=True):
    """The server's first message: its session and its clock in epoch milliseconds UTC."""

    session_id: str
    timestamp_ms: float | None = None


class Redirect(Struct, frozen=True):
    """A hello with another host to connect to."""

    host: str


class Other(Struct, frozen=True):
    """An unknown message; ``parameters`` is raw JSON, empty without any."""

    method: str
    parameters: bytes = b""


# Messages of one session, whose id is their first parameter.
SessionMessage: TypeAlias = (
    SeriesLoading
    | SymbolResolved
    | TimescaleUpdate
    | DataUpdate
    | SeriesTimeframe
    | SeriesCompleted
    | SymbolError
    | SeriesError
    | CriticalError
    | QuoteData
    | QuoteCompleted
)
ServerMessage: TypeAlias = SessionMessage | ProtocolErrorReply
Message: TypeAlias = ServerMessage | Heartbeat | Hello | Redirect | Other
SESSION_MESSAGES: tuple[type, ...] = get_args(SessionMessage)


_LATEST_MS = 1e15
_BAR_METHODS = frozenset({"timescale_update", "du"})


class _Envelope(Struct):
    m: Any = None
    p: msgspec.Raw = msgspec.Raw(b"")
    session_id: Any = None
    timestamp: Any = None
    timestamp_ms: Any = msgspec.field(default=None, name="timestampMs")
    redirect: Any = None


# One pass over the text: the tag picks the class while the bars are being read.
_known = msgspec.json.Decoder(ServerMessage)
_envelope = msgspec.json.Decoder(_Envelope)
_methods = frozenset(str(member.__struct_config__.tag) for member in get_args(ServerMessage))


def decode(payload: str) -> Message | Violation:
    """Read one payload.

    Parameters
    ----------
    payload
        The payload of one packet.

    Returns
    -------
    Message or Violation
        The typed message; a `Violation` when the payload cannot be read, or when a known method has
        parameters of the wrong kind. Input of the server never raises.
    """
    if payload.startswith("~h~"):
        digits = payload[3:]
        if digits.isascii() and digits.isdigit():
            return Heartbeat(payload)
        return Violation("heartbeat without a number")
    # The official decoder knows this prefix for JSON; it was never seen on the wire.
    document = payload.removeprefix("~j~")
    try:
        known: ServerMessage = _known.decode(document)
    except msgspec.ValidationError as mismatch:
        return _decode_unknown(document, str(mismatch))
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        return _unreadable(f"payload is not JSON ({type(error).__name__})", payload)
    return known


def encode(method: str, *parameters: object) -> str:
    """Write one client message: ``{"m": method, "p": [parameters]}`` without spaces."""
    return msgspec.json.encode({"m": method, "p": parameters}).decode()


def encode_symbol(symbol: str, **options: object) -> str:
    """Write the symbol parameter of resolve_symbol: ``={...}``; an option of None is left out."""
    given = {name: value for name, value in options.items() if value is not None}
    return "=" + msgspec.json.encode({"symbol": symbol, **given}).decode()


def _decode_unknown(document: str, mismatch: str) -> Message | Violation:
    try:
        envelope = _envelope.decode(document)
    except msgspec.ValidationError:
        return Violation("payload is not an object", document, is_whole=True)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return _unreadable("payload is not JSON", document)
    if isinstance(envelope.m, str):
        return _decode_method(envelope.m, bytes(envelope.p), document, mismatch)
    if isinstance(envelope.redirect, str):
        return Redirect(envelope.redirect)
    if isinstance(envelope.session_id, str):
        return Hello(envelope.session_id, _milliseconds(envelope))
    return Other("", bytes(envelope.p))


def _decode_method(
    method: str, parameters: bytes, document: str, mismatch: str
) -> Message | Violation:
    mended = _decode_without_numbers(document) if method in _BAR_METHODS else None
    if mended is not None:
        return mended
    if method in _methods and parameters.startswith(b"["):
        return Violation(f"malformed {method}: {mismatch}", document, is_whole=True)
    return Other(method, parameters)


def _decode_without_numbers(document: str) -> Message | None:
    """Read bars that have null or text instead of a number; such cells become NaN."""
    try:
        message = msgspec.json.decode(document)
        for update in message["p"][1].values():
            for item in update.get("s", ()):
                time, *cells = item["v"]
                known = (math.nan if c is None or isinstance(c, str) else c for c in cells)
                item["v"] = [time, *known]
        mended: Message = msgspec.convert(message, ServerMessage)
    except (msgspec.DecodeError, RecursionError, ArithmeticError, LookupError):
        return None
    except (AttributeError, TypeError, ValueError):  # for example a list instead of an object
        return None
    return mended


def _unreadable(what: str, payload: str) -> Violation:
    return Violation(what, payload)


def _milliseconds(hello: _Envelope) -> float | None:
    for value, milliseconds in ((hello.timestamp_ms, 1), (hello.timestamp, 1000)):
        # A JSON integer has no limit, and may become infinite as a float here.
        if isinstance(value, int | float) and abs(value) < _LATEST_MS:
            return float(value) * milliseconds
    return None
