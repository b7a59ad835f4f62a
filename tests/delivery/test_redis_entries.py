"""How a bar stands in a stream."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tvDatafeed.delivery.messages import ClosedBar
from tvDatafeed.delivery.redisentries import (
    START,
    EntryId,
    before,
    fields_of,
    parse_id,
    read_entry,
    stream_key,
)
from tvDatafeed.exceptions import DeliveryError

numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False)
ids = st.builds(EntryId, st.integers(1, 2**62), st.integers(0, 2**64 - 1))


def as_sent(fields):
    """Return fields as the server sends them."""
    return [field.encode() if isinstance(field, str) else field for field in fields]


@given(st.tuples(*[numbers] * 5), st.integers(1, 2**33), st.none() | ids, st.integers(0, 10**6))
def test_fields_read_back(values, time_s, previous, delay_s):
    """Each number reads back to the same double, and a missing one is missing still."""
    bar = ClosedBar("S", "X", "1", "X:S|1", time_s, values)
    entry_id = EntryId(time_s * 1000, 3)
    fields = as_sent(fields_of(bar, 3, previous, delay_s))
    entry = read_entry(parse_id(str(entry_id).encode()), fields)
    assert entry == (entry_id, values, previous, delay_s)
    assert [math.copysign(1, n) for n in entry.numbers if n == 0] == [
        math.copysign(1, n) for n in values if n == 0
    ]
    assert entry.bar.time == time_s


@given(ids, ids)
def test_ids_are_ordered_as_in_redis(one, other):
    """Ids are compared as numbers, and not as texts."""
    assert (one < other) == ((one.time_ms, one.revision) < (other.time_ms, other.revision))
    assert parse_id(str(one).encode()) == one


@pytest.mark.parametrize(
    ("time_s", "first"), [(0.0, 0), (1.0, 1000), (1.0005, 1001), (1.001, 1001), (-5.0, 0)]
)
def test_before_a_moment(time_s, first):
    """What follows the id before a moment opened at that moment or later."""
    position = before(time_s)
    assert position < EntryId(max(first, 1), 0)
    assert position == START or position > EntryId(first - 1, 10**9)


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [b"open", b"1"],
        [b"a"],
        [p for n in ("open", "high", "low", "close", "volume") for p in (n.encode(), b"x")],
        [p for n in ("open", "high", "low", "close", "volume") for p in (n.encode(), b'"1"')],
    ],
)
def test_other_entries_are_errors(fields):
    """An entry that another program has written raises one error."""
    with pytest.raises(DeliveryError, match="another prefix"):
        read_entry(START, fields)


def test_key():
    """The key of a series is what is documented."""
    assert stream_key("p", "NASDAQ:AAPL", "1H") == "p:bars:NASDAQ:AAPL:1H"
