"""The limit of sessions that an open connection has learned is tried again after a while."""

import threading

import pytest

from tests.feed import Calls, live
from tvDatafeed import Interval
from tvDatafeed.testing import SessionCap

MEMORY_S = 0.3
INTERVALS = [
    Interval.in_1_minute,
    Interval.in_3_minute,
    Interval.in_5_minute,
    Interval.in_15_minute,
    Interval.in_30_minute,
    Interval.in_45_minute,
]


@pytest.fixture
def errors():
    """What the feed has reported."""
    return Calls()


@pytest.fixture
def feed(server, errors):
    """A feed of four series, on a server that accepts two on a connection."""
    server.inject(SessionCap(limit=2))
    with live(server, max_connection_age=MEMORY_S, hooks={"on_error": errors}) as tvl:
        add(tvl, INTERVALS[:4])
        assert server.open_connections == 2
        # What passes here is how long a limit is believed.
        threading.Event().wait(MEMORY_S * 1.2)
        yield tvl
    assert errors.calls == []


def add(tvl, intervals):
    """Add a series of each interval."""
    for interval in intervals:
        assert tvl.new_seis("BTCUSD", "BITSTAMP", interval)


def test_the_limit_of_an_open_connection_rises(server, feed):
    """Series that come after the limit was raised find room on the connections there are."""
    server.clear_faults()
    add(feed, INTERVALS[4:])
    assert server.connections_opened == 2


def test_a_limit_that_stays_is_learned_again(server, feed):
    """Where the limit is what it was, the next series are refused once and placed elsewhere."""
    add(feed, INTERVALS[4:5])
    assert server.connections_opened == 3
    add(feed, INTERVALS[5:])
    assert server.connections_opened == 3
    assert server.open_connections == 3


def test_requests_find_room_there_too(server, feed):
    """A request for history goes to a connection of the feed whose limit has risen."""
    server.clear_faults()
    assert len(feed.get_hist("AAPL", "NASDAQ", n_bars=1)) == 1
    assert server.connections_opened == 2
