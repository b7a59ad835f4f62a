"""Messages: their bodies, and the ids that each of them keeps through retries and restarts."""

import base64
import datetime as dt
import hashlib
import json
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from tvDatafeed.exceptions import DeliveryError

BAR_CLOSED, BARS_CLOSED = "bar.closed", "bars.closed"
VERSION = 1

# 130 bits: no two messages have one id by chance.
_ID_CHARACTERS = 26
# Enough bytes for this number of characters; base32 encodes five bytes at a time.
_ID_BYTES = 20
_MAX_TYPE_LENGTH, _MAX_LANE_LENGTH = 256, 512
_DIGEST_BYTES = 16
_encode = json.JSONEncoder(ensure_ascii=False).encode
# Windows has no moments before it.
_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - written with a Z of its own


class ClosedBar(NamedTuple):
    """A closed bar of a live series.

    Parameters
    ----------
    symbol, exchange, interval
        Its series.
    key
        The key of the series.
    time_s
        When the bar opens, seconds since 1970.
    values
        Open, high, low, close and volume; None where one is missing.
    """

    symbol: str
    exchange: str
    interval: str
    key: str
    time_s: int
    values: tuple[float | None, ...]

    @property
    def digest(self) -> bytes:
        """What differs between a bar and its correction."""
        return hashlib.sha256(msgspec.json.encode(self.values)).digest()[:_DIGEST_BYTES]

    def id(self, revision: int) -> str:
        """Return the id of a revision of the bar."""
        return _id("bar_", BAR_CLOSED, self.key, self.time_s, revision)

    def data(self, revision: int) -> dict[str, Any]:
        """Return what a message says about a revision of the bar."""
        opened, high, low, close, volume = self.values
        return {
            "symbol": self.symbol,
            "exchange": self.exchange,
            "interval": self.interval,
            "time": rfc3339(self.time_s),
            "time_s": self.time_s,
            "open": opened,
            "high": high,
            "low": low,
            "close": close,
            "volume": volume,
            "revision": revision,
        }

    def body(self, revision: int, created_s: float) -> bytes:
        """Return the body of a revision of the bar."""
        return msgspec.json.encode(_envelope(BAR_CLOSED, self.data(revision), created_s))


def event_id(key: str | None) -> str:
    """Return the id of an event: from its key, or a random one."""
    if key is None:
        return "evt_" + _characters(os.urandom(_ID_BYTES))
    if not isinstance(key, str) or not key:
        raise DeliveryError(f"key must be a text that is not empty, not {key!r}")
    try:
        return _id("evt_", key)
    except UnicodeEncodeError:
        raise DeliveryError("key must be a text that UTF-8 can express") from None


def event_body(kind: str, data: Any, created_s: float) -> bytes:
    """Return the body of an event.

    Raises
    ------
    DeliveryError
        Its type is not a text, or its data cannot be expressed in JSON.
    """
    check_name("type", kind, _MAX_TYPE_LENGTH)
    try:
        text = json.dumps(
            _envelope(kind, data, created_s),
            allow_nan=False,
            ensure_ascii=False,
            separators=(",", ":"),
        )
        return text.encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        # The text of a UnicodeError repeats what was to be sent.
        reason = "a text in it is not Unicode" if isinstance(error, UnicodeError) else str(error)
    raise DeliveryError(f"the data of {kind!r} cannot be expressed in JSON: {reason}")


def lane_name(lane: str | None, kind: str) -> str:
    """Return the lane of an event; without one, the lane of its type."""
    return kind if lane is None else check_name("lane", lane, _MAX_LANE_LENGTH)


def check_name(parameter: str, value: object, max_length: int) -> str:
    """Return a text that is not empty, printable and short enough."""
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise DeliveryError(f"{parameter} must be a printable text that is not empty")
    if len(value) > max_length:
        raise DeliveryError(f"{parameter} must have at most {max_length} characters")
    return value


def joined(ids: Sequence[str], bodies: Sequence[bytes]) -> tuple[str, bytes]:
    """Join the bodies of bars into one message; return its id and its body.

    The same bars give the same message: its moment is that of the last one.
    """
    inner = [msgspec.json.decode(body, type=_RawBody) for body in bodies]
    body = msgspec.json.encode(
        {
            "type": BARS_CLOSED,
            "timestamp": inner[-1].timestamp,
            "version": VERSION,
            "data": {"bars": [one.data for one in inner]},
        }
    )
    return _id("bar_", BARS_CLOSED, ids[0], ids[-1]), body


class _RawBody(msgspec.Struct):
    timestamp: str
    data: msgspec.Raw


def rfc3339(time_s: float) -> str:
    """Return a moment as RFC 3339 has it: in UTC, and to the millisecond if it has a fraction."""
    moment = _EPOCH + dt.timedelta(milliseconds=round(time_s * 1000))
    precision = "milliseconds" if moment.microsecond else "seconds"
    return moment.isoformat(timespec=precision) + "Z"


def _envelope(kind: str, data: Any, created_s: float) -> dict[str, Any]:
    moment = rfc3339(created_s)
    return {"type": kind, "timestamp": moment, "version": VERSION, "data": data}


def _id(prefix: str, *parts: object) -> str:
    # The parts as JSON: whatever they hold, other parts make another text.
    text = _encode(parts).encode("utf-8")
    return prefix + _characters(hashlib.sha256(text).digest())


def _characters(data: bytes) -> str:
    return base64.b32encode(data[:_ID_BYTES]).decode("ascii")[:_ID_CHARACTERS]
