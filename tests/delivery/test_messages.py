"""Bodies and ids: the same message is the same bytes."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tvDatafeed.delivery.messages import ClosedBar, event_body, event_id, joined, rfc3339
from tvDatafeed.exceptions import DeliveryError

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


def closed(time_s=60, values=(1.0, 2.0, 0.5, 1.5, None), key="E:S|1"):
    return ClosedBar("S", "E", "1", key, time_s, values)


def test_id_of_a_bar_is_stable():
    """The id depends on series, moment and revision alone; it is the same in each release."""
    assert closed().id(0) == "bar_" + "RGCZRRL4PFZJZCG2UOZ67OGSD5"
    assert closed(values=(9.0,) * 5).id(0) == closed().id(0)
    others = {closed().id(1), closed(time_s=120).id(0), closed(key="E:S|5").id(0)}
    assert len(others | {closed().id(0)}) == 4


def test_id_of_an_event():
    """A key gives one id; without one each id is new."""
    assert event_id("order 7") == event_id("order 7") != event_id("order 8")
    assert event_id(None) != event_id(None)
    for bad in ("", 7, b"x", "\ud800"):
        with pytest.raises(DeliveryError):
            event_id(bad)


@given(st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS))
def test_prices_read_back_to_the_same_double(values):
    """JSON has each price to its last bit."""
    data = json.loads(closed(values=values).body(0, 0.0))["data"]
    read = [data[name] for name in ("open", "high", "low", "close", "volume")]
    assert list(map(math.copysign, read, values)) == read
    assert read == list(values)


@given(st.lists(NUMBERS, min_size=1, max_size=5))
def test_joined_bars_are_those_of_their_messages(closes):
    """A joined message has the bars as they were, and the moment of the last one."""
    bars = [closed(60 * n, (1.0, 1.0, 1.0, close, 0.0)) for n, close in enumerate(closes)]
    bodies = [bar.body(0, float(n)) for n, bar in enumerate(bars)]
    _id, body = joined([bar.id(0) for bar in bars], bodies)
    message, single = json.loads(body), [json.loads(one) for one in bodies]
    assert message["data"] == {"bars": [one["data"] for one in single]}
    assert message["timestamp"] == single[-1]["timestamp"]


def test_moments():
    """Moments are in UTC, with milliseconds only where there are any."""
    assert rfc3339(0) == "1970-01-01T00:00:00Z"
    assert rfc3339(-86400) == "1969-12-31T00:00:00Z"
    assert rfc3339(1786744800.25) == "2026-08-14T22:00:00.250Z"
    assert json.loads(event_body("a.b", None, 0.5))["timestamp"] == "1970-01-01T00:00:00.500Z"
