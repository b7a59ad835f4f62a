"""Entries of a stream: the form of a closed bar in Redis.

The fields are those of a webhook's data: texts as they are, numbers as JSON. Two more stand there
for the readers alone: ``previous``, the id of the entry before, by which a reader knows whether it
has missed one; and ``delay_s`` of delayed data.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from tvDatafeed.delivery.messages import ClosedBar
from tvDatafeed.exceptions import DeliveryError
from tvDatafeed.protocol.bars import Bar

_MILLISECONDS = 1000
_VALUES = ("open", "high", "low", "close", "volume")
# The largest second part of an id.
_LAST = 2**64 - 1


class EntryId(NamedTuple):
    """The id of an entry: when the bar opens, in milliseconds since 1970, and its revision."""

    time_ms: int
    revision: int

    def __str__(self) -> str:
        return f"{self.time_ms}-{self.revision}"

    @property
    def time_s(self) -> float:
        """When the bar opens, seconds since 1970."""
        return self.time_ms / _MILLISECONDS

    @property
    def before(self) -> "EntryId":
        """The last id before it."""
        if self.revision:
            return EntryId(self.time_ms, self.revision - 1)
        return EntryId(self.time_ms - 1, _LAST) if self.time_ms else START

    @property
    def after_s(self) -> float:
        """The moment from which on it applies: a requested moment, or its bar's open."""
        return (self.time_ms + (self.revision == _LAST)) / _MILLISECONDS


# Before every entry.
START = EntryId(0, 0)


def parse_id(text: bytes) -> EntryId:
    """Return the id that the server sent."""
    time_ms, _, revision = text.partition(b"-")
    return EntryId(int(time_ms), int(revision))


def before(time_s: float) -> EntryId:
    """Return the last id before a moment, seconds since 1970."""
    time_ms = math.ceil(time_s * _MILLISECONDS) - 1
    return EntryId(time_ms, _LAST) if time_ms >= 0 else START


def stream_key(prefix: str, full_symbol: str, interval: str) -> str:
    """Return the key of a series."""
    return f"{prefix}:bars:{full_symbol}:{interval}"


class Entry(NamedTuple):
    """A bar in a stream."""

    id: EntryId
    numbers: tuple[float | None, ...]
    previous: EntryId | None
    delay_s: int

    @property
    def bar(self) -> Bar:
        """The bar, with NaN where a value is missing."""
        values = (math.nan if value is None else value for value in self.numbers)
        return Bar(self.id.time_s, *values)


def fields_of(
    bar: ClosedBar, revision: int, previous: EntryId | None, delay_s: int
) -> list[str | bytes]:
    """Return the fields of a bar's entry, each name followed by its value."""
    data = bar.data(revision)
    fields: list[str | bytes] = []
    for name, value in data.items():
        fields += (name, value if isinstance(value, str) else msgspec.json.encode(value))
    if previous is not None:
        fields += ("previous", str(previous))
    if delay_s:
        fields += ("delay_s", str(delay_s))
    return fields


def read_entry(entry_id: EntryId, fields: Sequence[bytes]) -> Entry:
    """Return the bar of an entry.

    Raises
    ------
    DeliveryError
        Another program has written it.
    """
    found = dict(zip(fields[::2], fields[1::2], strict=False))
    try:
        values = tuple(_number(found[name.encode()]) for name in _VALUES)
        previous = found.get(b"previous")
        return Entry(
            entry_id,
            values,
            None if previous is None else parse_id(previous),
            int(found.get(b"delay_s", b"0")),
        )
    except (KeyError, ValueError, msgspec.MsgspecError) as error:
        raise DeliveryError(
            f"the entry {entry_id} is not a bar ({type(error).__name__}): another program uses "
            "this key; choose another prefix"
        ) from error


def _number(text: bytes) -> float | None:
    number: float | None = msgspec.json.decode(text, type=float | None)
    return number
