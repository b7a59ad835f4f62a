"""Blocks of bars: whatever the numbers are, they come back bit for bit."""

import itertools
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.store.bars import bars
from tvDatafeed.frames.rows import frame_to_bars
from tvDatafeed.store.blocks import (
    DECIMALS,
    RAW,
    ROW_BYTES,
    ZLIB,
    DamagedBlockError,
    make_block,
    read_block,
)

BARS = 900
TENTHS = st.integers(-(10**7), 10**7).map(lambda number: number / 10)
MICRO = st.integers(-(10**12), 10**12).map(lambda number: number / 10**8)
BITS = st.integers(0, 2**64 - 1).map(lambda bits: struct.unpack("d", struct.pack("Q", bits))[0])
ODD = st.sampled_from([0.0, -0.0, float("nan"), float("inf"), 1e300, 5e-324, 2.0**53, -(2.0**63)])
COLUMNS = st.sampled_from([TENTHS, MICRO, BITS, ODD, st.floats(), st.one_of(TENTHS, ODD)])


def packed_bars(count=BARS):
    """Return bars whose prices have three decimals."""
    return frame_to_bars(bars(count), 60.0).packed


@st.composite
def rows(draw):
    """Return packed rows whose columns are of any kind."""
    count = draw(st.integers(1, 80))
    kinds = draw(st.lists(COLUMNS, min_size=6, max_size=6))
    columns = [draw(st.lists(kind, min_size=count, max_size=count)) for kind in kinds]
    values = itertools.chain.from_iterable(zip(*columns, strict=True))
    return struct.pack(f"<{count * 6}d", *values)


@given(rows(), st.booleans())
def test_all_bits_come_back(packed, grows):
    """Decimals, any other number, NaN and -0.0: in each column, and in a block that grows."""
    assert read_block(make_block(packed, grows=grows)) == packed


def test_decimals_take_less():
    """Prices of few decimals are stored as whole numbers: in a quarter of the bytes or less."""
    packed = packed_bars()
    block = make_block(packed, grows=False)
    assert (block.codec, block.n) == (DECIMALS, BARS)
    assert len(block.data) * 4 < len(packed)


def test_other_numbers():
    """Prices with all the digits of a double are compressed once their block is full."""
    values = np.frombuffer(packed_bars()).reshape(-1, 6).copy()
    values[:, 1:5] /= 3.0
    packed = values.tobytes()
    assert make_block(packed, grows=False).codec == ZLIB
    assert make_block(packed, grows=True).codec == RAW


def test_missing_volume():
    """A missing volume does not make the prices larger."""
    values = np.frombuffer(packed_bars()).reshape(-1, 6).copy()
    values[:, 5] = np.nan
    block = make_block(values.tobytes(), grows=False)
    assert block.codec == DECIMALS
    assert read_block(block) == values.tobytes()


@pytest.mark.parametrize(
    ("change", "count"),
    [
        (lambda data: data[:-1], BARS),
        (lambda data: data + b"x", BARS),
        (lambda data: data[:10], BARS),
        (lambda data: b"\xff" + data[1:], BARS),
        (lambda data: data[:1] + b"\x03" + data[2:], BARS),
        (lambda data: data, BARS - 1),
        (lambda data: data, 10**12),
        (lambda data: data, 0),
    ],
)
def test_damage(change, count):
    """Data that are not those of the block's bars are damage, also where the checksum is right."""
    block = make_block(packed_bars(), grows=False)
    data = change(block.data)
    with pytest.raises(DamagedBlockError):
        read_block(block._replace(n=count, data=data, crc=zlib.crc32(data)))


def test_small_block_that_grows():
    """What a live feed appends bar by bar is not encoded each time."""
    packed = packed_bars(64)
    assert make_block(packed, grows=True).data == packed
    assert len(packed) == 64 * ROW_BYTES
