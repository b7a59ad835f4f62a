"""Blocks: how the bars of a series lie in a table, up to 1024 of them in a row.

A block holds whole numbers where prices have few decimals, else it is compressed; the last ones of
a series, which still grow, may hold the bars as they are. A CRC-32 beside each finds what a disk
has changed. Bars are rows of six little-endian doubles, as `protocol.bars.Bars` has them.
"""

import sys
import zlib
from array import array
from bisect import bisect_left, bisect_right
from typing import NamedTuple

from tvDatafeed.protocol.bars import Bars
from tvDatafeed.store import decimals

# About 10 KB as whole numbers, 25 KB compressed: one row of a table.
BLOCK_BARS = 1024
# What a live feed appends bar by bar is rewritten each time: 3 KB at most, one page of SQLite. When
# it is full, it joins the block before.
SMALL_BLOCK_BARS = 64
ROW_BYTES = 48
_ROW_NUMBERS = 6

RAW, ZLIB, DECIMALS = 0, 1, 2
# The fastest level: higher ones win 3 % of size for twice the time.
_LEVEL = 1
# Of the bars' size. Bars that are larger than this as whole numbers are compressed instead.
_LARGEST_SHARE = 0.6


class Block(NamedTuple):
    """One row of the table: the open times of its first and last bar, and its bars."""

    first: float
    last: float
    n: int
    codec: int
    crc: int
    data: bytes


class DamagedBlockError(ValueError):
    """A block whose bytes are not those that were written."""


def times_in(packed: bytes) -> "memoryview[float]":
    """Return the open times of packed bars, epoch seconds UTC, without a copy."""
    return Bars(packed).times


def make_block(packed: bytes, *, grows: bool) -> Block:
    """Return the block of some packed bars.

    Parameters
    ----------
    packed
        At least one bar, at most `BLOCK_BARS`, ascending by time.
    grows
        Whether bars will be appended to it soon, so that compressing it is wasted work.
    """
    times = times_in(packed)
    codec, data = _encoded(_little_endian(packed), len(times), grows=grows)
    return Block(times[0], times[-1], len(times), codec, zlib.crc32(data), data)


def _encoded(packed: bytes, count: int, *, grows: bool) -> tuple[int, bytes]:
    """Return the codec that suits some bars, and their bytes."""
    if grows and count <= SMALL_BLOCK_BARS:
        return RAW, packed
    data = decimals.encode(packed)
    if len(data) <= len(packed) * _LARGEST_SHARE:
        return DECIMALS, data
    if grows:
        return RAW, packed
    return ZLIB, zlib.compress(_by_column(packed), _LEVEL)


def read_block(block: Block) -> bytes:
    """Return the packed bars of a block.

    Raises
    ------
    DamagedBlockError
        When its checksum, its codec or its length is wrong.
    """
    if zlib.crc32(block.data) != block.crc:
        raise DamagedBlockError("its checksum is wrong")
    try:
        if block.codec == DECIMALS:
            data = decimals.decode(block.data, block.n)
        elif block.codec == ZLIB:
            data = _by_row(zlib.decompress(block.data))
        elif block.codec == RAW:
            data = bytes(block.data)
        else:
            raise DamagedBlockError(f"its codec {block.codec} is not known")
    except (zlib.error, ArithmeticError, LookupError, ValueError) as error:
        raise DamagedBlockError(str(error)) from error
    if len(data) != block.n * ROW_BYTES:
        raise DamagedBlockError(f"it has {len(data)} bytes, not {block.n * ROW_BYTES}")
    return _little_endian(data)


def make_blocks(packed: bytes, *, is_newest: bool) -> list[Block]:
    """Cut packed bars into blocks; the last one grows where it is the newest of its series."""
    size = BLOCK_BARS * ROW_BYTES
    pieces = [packed[start : start + size] for start in range(0, len(packed), size)]
    return [
        make_block(piece, grows=is_newest and piece is pieces[-1] and len(piece) < size)
        for piece in pieces
    ]


def merged(old: bytes, new: bytes) -> bytes:
    """Return the bars of both, ascending and unique by time; the new ones win."""
    if not old or not new:
        return old or new
    old_times, new_times = times_in(old), times_in(new)
    lo = bisect_left(old_times, new_times[0])
    hi = bisect_right(old_times, new_times[-1])
    between = new
    if not set(old_times[lo:hi]) <= set(new_times):
        rows = {**_rows(old[lo * ROW_BYTES : hi * ROW_BYTES]), **_rows(new)}
        between = b"".join(rows[time] for time in sorted(rows))
    view = memoryview(old)
    return b"".join((view[: lo * ROW_BYTES], between, view[hi * ROW_BYTES :]))


def between(packed: bytes, lo: float, hi: float) -> bytes:
    """Return those packed bars that open in a range, both ends included."""
    times = times_in(packed)
    first, beyond = bisect_left(times, lo), bisect_right(times, hi)
    return packed[first * ROW_BYTES : max(first, beyond) * ROW_BYTES]


def _rows(packed: bytes) -> dict[float, bytes]:
    starts = range(0, len(packed), ROW_BYTES)
    rows = (packed[start : start + ROW_BYTES] for start in starts)
    return dict(zip(times_in(packed), rows, strict=True))


def _little_endian(packed: bytes) -> bytes:
    if sys.byteorder == "little":
        return packed
    numbers = array("d", packed)
    numbers.byteswap()
    return numbers.tobytes()


def _by_column(packed: bytes) -> bytes:
    """Return the numbers of packed bars column after column, which compresses better."""
    numbers = array("d", packed)
    return b"".join(numbers[column::_ROW_NUMBERS].tobytes() for column in range(_ROW_NUMBERS))


def _by_row(columns: bytes) -> bytes:
    if len(columns) % ROW_BYTES:
        raise DamagedBlockError(f"it has {len(columns)} bytes")
    numbers = array("d", columns)
    count = len(numbers) // _ROW_NUMBERS
    packed = array("d", bytes(len(columns)))
    for column in range(_ROW_NUMBERS):
        packed[column::_ROW_NUMBERS] = numbers[column * count : (column + 1) * count]
    return packed.tobytes()
