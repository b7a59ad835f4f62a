"""Bars: one in the form of the wire, and many packed as numbers."""

import math
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

from msgspec import Struct

_ROW = struct.Struct("6d")


class Bar(Struct, array_like=True, frozen=True, gc=False):
    """One bar in the form of the wire: ``[time, open, high, low, close, volume]``.

    ``time`` is the bar's open in epoch seconds UTC. A cell without a number is NaN: indices have no
    volume (five cells), and null and text have been seen instead of numbers.
    """

    time: float
    open: float
    high: float
    low: float
    close: float
    volume: float = math.nan


class Bars(Sequence[Bar]):
    """Bars packed as numbers: 48 bytes each.

    Parameters
    ----------
    packed
        Rows of six doubles in this machine's byte order: time, open, high, low, close, volume.
    """

    __slots__ = ("packed",)

    def __init__(self, packed: bytes = b"") -> None:
        self.packed: bytes = packed

    @classmethod
    def of(cls, bars: Iterable[Bar]) -> "Bars":
        """Pack some bars."""
        pack = _ROW.pack
        rows = [pack(b.time, b.open, b.high, b.low, b.close, b.volume) for b in bars]
        return cls(b"".join(rows))

    @property
    def times(self) -> "memoryview[float]":
        """The opens of the bars, epoch seconds UTC; a view of `packed`."""
        return memoryview(self.packed).cast("d")[:: len(Bar.__struct_fields__)]

    def __len__(self) -> int:
        return len(self.packed) // _ROW.size

    def __iter__(self) -> Iterator[Bar]:
        return (Bar(*row) for row in _ROW.iter_unpack(self.packed))

    @overload
    def __getitem__(self, index: int) -> Bar: ...
    @overload
    def __getitem__(self, index: slice) -> "Bars": ...
    def __getitem__(self, index: int | slice) -> "Bar | Bars":
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step == 1:
                return Bars(self.packed[start * _ROW.size : max(start, stop) * _ROW.size])
            return Bars.of(list(self)[index])
        position = range(len(self))[index] * _ROW.size
        return Bar(*_ROW.unpack_from(self.packed, position))

    def __repr__(self) -> str:
        return f"<{len(self)} bars>"
