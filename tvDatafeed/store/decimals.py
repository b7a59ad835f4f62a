"""Bars as whole numbers: prices have few decimals, and change little from bar to bar.

Each column is multiplied by a power of ten, and the differences of the whole numbers are stored in
as few bytes as the largest needs. A column that would not come back bit for bit is stored as it is.
"""

import struct
from typing import Any

import numpy as np
import numpy.typing as npt

_COLUMNS = 6
_NUMBER = np.dtype("<f8")
# The same on all machines: exact up to 10**22.
_POWERS = np.array([float(10**exponent) for exponent in range(16)])
# How many bars are sampled for their decimals. The step between them is odd, since every other
# price may be whole.
_SAMPLES = 16
# Of each column: the exponent of its power, the bytes of a difference, and its first whole number.
# Without differences (0 bytes), its numbers are stored as they are.
_HEAD = struct.Struct("<" + "BBq" * _COLUMNS)
_DIFFERENCES: dict[int, "np.dtype[Any]"] = {size: np.dtype(f"<i{size}") for size in (1, 2, 4, 8)}


def encode(packed: bytes) -> bytes:
    """Return packed bars, at least one little-endian row, as whole numbers."""
    rows = np.frombuffer(packed, _NUMBER).reshape(-1, _COLUMNS)
    columns = np.ascontiguousarray(rows.T, np.float64)
    # A number beyond 64 bits comes back changed, so that its column is stored as it is.
    with np.errstate(all="ignore"):
        exponents = _exponents(columns[:, :: len(rows) // _SAMPLES | 1])
        powers = _POWERS[exponents, None]
        numbers = np.rint(columns * powers).astype(np.int64)
        same = (numbers / powers).view(np.int64) == columns.view(np.int64)
    is_exact = same.all(axis=1).tolist()
    # A difference beyond 64 bits wraps around, and back when the differences are added up.
    differences = numbers[:, 1:] - numbers[:, :-1]
    lowest, highest = differences.min(axis=1, initial=0), differences.max(axis=1, initial=0)
    widest = np.maximum(~lowest, highest).tolist()
    head: list[int] = []
    pieces = []
    for column in range(_COLUMNS):
        size = _size_of(widest[column]) if is_exact[column] else 0
        head += exponents[column], size, numbers[column, 0] if size else 0
        stored = differences[column] if size else columns[column]
        pieces.append(stored.astype(_DIFFERENCES.get(size, _NUMBER)).tobytes())
    return _HEAD.pack(*head) + b"".join(pieces)


def decode(data: bytes, count: int) -> bytes:
    """Return the packed bars that `encode` has stored.

    Raises
    ------
    ValueError
        The data are not those of `count` bars.
    """
    if count < 1 or len(data) < _HEAD.size + _COLUMNS * (count - 1):
        raise ValueError(f"it has {len(data)} bytes for {count} bars")
    head, start = _HEAD.unpack_from(data), _HEAD.size
    exponents, sizes, firsts = head[::3], head[1::3], head[2::3]
    numbers = np.zeros((_COLUMNS, count), np.int64)
    numbers[:, 0] = firsts
    as_they_are = {}
    for column, size in enumerate(sizes):
        if size:
            numbers[column, 1:] = np.frombuffer(data, _DIFFERENCES[size], count - 1, start)
            start += size * (count - 1)
        else:
            as_they_are[column] = np.frombuffer(data, _NUMBER, count, start)
            start += _NUMBER.itemsize * count
    if start != len(data):
        raise ValueError(f"it has {len(data)} bytes, not {start}")
    rows = np.empty((count, _COLUMNS), _NUMBER)
    np.cumsum(numbers, axis=1, out=numbers)
    np.divide(numbers.T, _POWERS[list(exponents)], out=rows)
    for column, values in as_they_are.items():
        rows[:, column] = values
    return rows.tobytes()


def _exponents(columns: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """Return the smallest exponent for each column with which its numbers are whole; else 0."""
    numbers = columns[:, :, None]
    is_whole = np.rint(numbers * _POWERS) / _POWERS == numbers
    exponents: npt.NDArray[np.intp] = is_whole.all(axis=1).argmax(axis=1)
    # Prices have the same decimals.
    exponents[1:5] = exponents[1:5].max()
    return exponents


def _size_of(widest: int) -> int:
    return next(size for size in _DIFFERENCES if widest < 1 << (size * 8 - 1))
