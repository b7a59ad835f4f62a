"""Texts and numbers on their way into statements and back."""

import json
import math
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tvDatafeed.exceptions import StoreError
from tvDatafeed.protocol.series import EARLIEST_BAR_S, LATEST_BAR_S
from tvDatafeed.store import BarStore
from tvDatafeed.store.key import SeriesKey
from tvDatafeed.store.tdengine_rest import number, quoted
from tvDatafeed.testing import FakeTDengine
from tvDatafeed.testing.tdengine.statements import parse

HOSTILE = st.one_of(
    st.text(max_size=40),
    st.text("'\"\\`;%_-/*\n\r\tnx0é€😀 ", max_size=20),
    st.sampled_from(["'; DROP DATABASE tv; --", "\\'", "\\", "''", "\\%\\_\\x41", "NULL", "-- x"]),
)
NUMBERS = st.floats(allow_nan=True, allow_infinity=False)


@pytest.fixture(scope="module")
def tdengine():
    with FakeTDengine() as server:
        yield server


@pytest.fixture(scope="module")
def store(tdengine):
    with BarStore(tdengine.url) as store:
        yield store


@given(HOSTILE.filter(lambda text: "\0" not in text))
def test_literal_is_one_value(text):
    """A literal is read as its text, whatever it has, and nothing follows it."""
    insert = parse(f"INSERT INTO t VALUES (1, {quoted(text)})")
    assert [len(row) for row in insert.rows] == [2]
    # Outside of patterns TDengine leaves these three as they are, escaped or not.
    assert insert.rows[0][1] == text


def test_literal_ends_at_no_nul():
    """NUL ends a statement in TDengine's C code: refused before it is sent."""
    with pytest.raises(StoreError, match="NUL"):
        quoted("a\0b")


@given(NUMBERS)
def test_number_is_read_bit_for_bit(value):
    """A literal has all digits, and is a floating-point one."""
    insert = parse(f"INSERT INTO t VALUES (1, {number(value)})")
    found = insert.rows[0][1]
    if math.isnan(value):
        assert found is None
    else:
        assert isinstance(found, float)
        assert struct.pack("d", found) == struct.pack("d", value)


@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_infinite_number_is_refused(value):
    """TDengine has no literal for it."""
    with pytest.raises(StoreError, match="infinite"):
        number(value)


@settings(max_examples=40, deadline=None)
@given(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
def test_documents_of_any_name(store, symbol, data_type, timeframe, content):
    """A document comes back whatever its name and content are, and no other one does."""
    store.clear()
    store.write_cache(symbol, data_type, {"text": content}, timeframe)
    assert store.read_cache(symbol, data_type, timeframe) == {"text": content}
    assert store.read_cache(symbol + "x", data_type, timeframe) is None
    with store.archive.reading() as transaction:
        names = [(d.symbol, d.data_type, d.timeframe) for d in transaction.documents()]
    assert names == [(symbol, data_type, timeframe)]


ROWS = st.dictionaries(
    st.one_of(
        st.integers(EARLIEST_BAR_S, LATEST_BAR_S).map(float),
        st.integers(EARLIEST_BAR_S * 1000, LATEST_BAR_S * 1000).map(lambda ms: ms / 1000.0),
    ),
    st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS),
    min_size=1,
    max_size=8,
)


@settings(max_examples=40, deadline=None)
@given(HOSTILE, HOSTILE, ROWS)
def test_bars_of_any_series(store, symbol, name, rows):
    """Bars come back bit for bit, under any symbol and any name it was asked by."""
    key = SeriesKey(symbol, "1D", currency=name)
    canonical = math.nan
    packed = b"".join(
        struct.pack("6d", time, *(canonical if math.isnan(v) else v for v in rows[time]))
        for time in sorted(rows)
    )
    with store.archive.writing() as transaction:
        for series in transaction.all():
            transaction.remove(series)
    with store.archive.writing() as transaction:
        series = transaction.add(key)
        series.info.names.append(name)
        transaction.write(series, packed)
        transaction.set_spans(series, [(min(rows), max(rows))])
        transaction.save(series)
    with store.archive.reading() as transaction:
        (series,) = transaction.all()
        assert (series.key, series.info.names) == (key, [name])
        assert transaction.read(series, -math.inf, math.inf) == packed
        assert transaction.read(series, -math.inf, math.inf, newest=2) == packed[-96:]
        assert transaction.read(series, -math.inf, math.inf, oldest=2) == packed[:96]
        assert transaction.read(transaction.find(key), min(rows), min(rows)) == packed[:48]


def test_time_with_a_fraction_of_a_millisecond(store):
    """Such a time would come back as another one: refused."""
    with pytest.raises(StoreError, match="milliseconds"), store.archive.writing() as transaction:
        series = transaction.add(SeriesKey("X:Y", "1"))
        transaction.write(series, struct.pack("6d", 1.00000001, 1, 1, 1, 1, 1))


def test_no_symbol_stands_in_a_name(store, tdengine):
    """Names of tables are made of hashes; a symbol is a tag, cut and in ASCII."""
    key = SeriesKey("EXCHÄNGE:SYMBOL`'", "1D")
    with store.archive.writing() as transaction:
        transaction.write(transaction.add(key), struct.pack("6d", 0.0, 1, 1, 1, 1, 1))
    names = [name for (name,) in tdengine.run("SELECT DISTINCT TBNAME FROM tv.bars")]
    assert all(name.replace("_", "").isalnum() and "SYMBOL" not in name for name in names)
    assert "EXCH?NGE:SYMBOL`'" in [s for (s,) in tdengine.run("SELECT symbol FROM tv.bars")]


@pytest.mark.parametrize("size", [1, 19_000, 20_001, 1_500_000])
def test_documents_of_any_size(store, size):
    """What does not fit into one row is kept in parts."""
    text = json.dumps("\\'é" * size)[:size]
    store.write_cache("S", "long", text)
    assert store.read_cache("S", "long") == text
