"""The faults that can be injected into the loopback TradingView, one small class each.

A fault is a frozen dataclass. The server calls its hooks, performs the actions that they return,
and counts how often each fault was applied. A hook returns None if the fault does not apply, or the
actions that replace the usual behaviour.

Examples
--------
>>> parse_fault("drip:bytes_per_s=100,times=1")
Drip(times=1, symbol=None, bytes_per_s=100.0)
"""

import dataclasses
import inspect
import json
import re
import types
import typing
from collections.abc import Iterator
from typing import Any, Literal

from tvDatafeed.testing.faults.active import ActiveFaults
from tvDatafeed.testing.faults.answers import (
    CompletionFirst,
    CriticalErrorReply,
    EmptyHistory,
    ForeignSession,
    HeartbeatsOnly,
    HostileJson,
    LateReply,
    NoCompletion,
    ProtocolErrorReply,
    ReplaceBars,
    SessionCap,
    TruncatedJson,
    UnknownMessages,
)
from tvDatafeed.testing.faults.base import Fault, name_of
from tvDatafeed.testing.faults.frames import (
    BinaryFrame,
    CloseCode,
    CompressedFrame,
    Drip,
    EndlessFragments,
    FinMidFrame,
    GiantHeader,
    HalfOpen,
    InvalidUtf8,
    RstMidFrame,
)
from tvDatafeed.testing.faults.http import (
    HttpDrip,
    HttpHtml,
    HttpHugeBody,
    HttpRedirect,
    HttpReset,
    HttpStall,
    HttpStatus,
    HttpTruncatedGzip,
)
from tvDatafeed.testing.faults.opening import (
    ConnectSilence,
    HandshakeDrip,
    HandshakeStall,
    HeartbeatFlood,
    NeverRead,
    Redirect,
    Refuse,
    TlsGarbage,
    TlsStall,
    UpgradeGarbage,
    UpgradeStatus,
)
from tvDatafeed.testing.faults.packets import (
    BadHeader,
    GluedHeartbeat,
    LengthUnit,
    SplitPackets,
    WrongLength,
)

__all__ = [
    "FAULTS",
    "ActiveFaults",
    "BadHeader",
    "BinaryFrame",
    "CloseCode",
    "CompletionFirst",
    "CompressedFrame",
    "ConnectSilence",
    "CriticalErrorReply",
    "Drip",
    "EmptyHistory",
    "EndlessFragments",
    "Fault",
    "FinMidFrame",
    "ForeignSession",
    "GiantHeader",
    "GluedHeartbeat",
    "HalfOpen",
    "HandshakeDrip",
    "HandshakeStall",
    "HeartbeatFlood",
    "HeartbeatsOnly",
    "HostileJson",
    "HttpDrip",
    "HttpHtml",
    "HttpHugeBody",
    "HttpRedirect",
    "HttpReset",
    "HttpStall",
    "HttpStatus",
    "HttpTruncatedGzip",
    "InvalidUtf8",
    "LateReply",
    "LengthUnit",
    "NeverRead",
    "NoCompletion",
    "ProtocolErrorReply",
    "Redirect",
    "Refuse",
    "ReplaceBars",
    "RstMidFrame",
    "SessionCap",
    "SplitPackets",
    "TlsGarbage",
    "TlsStall",
    "TruncatedJson",
    "UnknownMessages",
    "UpgradeGarbage",
    "UpgradeStatus",
    "WrongLength",
    "parse_fault",
]


def _kinds_of(base: type[Fault]) -> Iterator[type[Fault]]:
    if not inspect.isabstract(base):
        yield base
    for kind in base.__subclasses__():
        yield from _kinds_of(kind)


FAULTS: dict[str, type[Fault]] = {
    name_of(kind): kind for kind in sorted(_kinds_of(Fault), key=name_of)
}
"""Every fault by the name that `parse_fault` knows it by."""

_FIELD = re.compile(r"(\w+)=(\[.*?\](?=,\w+=|\Z)|\"(?:[^\"\\]|\\.)*\"|[^,]*)(?:,|\Z)")


def parse_fault(text: str) -> Fault:
    """Parse the text form of a fault, as on a command line.

    Parameters
    ----------
    text
        ``name`` or ``name:field=value,field=value``. Values with a comma are in double quotes,
        rows are a JSON list. ``str(fault)`` returns this form.

    Raises
    ------
    ValueError
        If the fault or a field does not exist, or a value has the wrong type.

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
