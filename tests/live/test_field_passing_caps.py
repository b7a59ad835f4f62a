"""Series that are accepted after a refused one show that the server has no such limit."""

import pytest

from tests.feed import BTC, Calls, live, until
from tvDatafeed import Interval
from tvDatafeed.testing import SessionCap

INTERVALS = [interval for interval in Interval if interval.value.isdigit()][:8]


@pytest.fixture
def errors():
    """What a feed reports."""
    return Calls()


@pytest.fixture
def feed(server, errors):
    """A feed of eight series, which has lost them all."""
    with live(server, hooks={"on_error": errors}) as tvl:
        for interval in INTERVALS:
            assert tvl.new_seis(*BTC[:2], interval)
        yield tvl
    assert errors.calls == []


def test_one_refusal_of_many_series_is_no_limit(server, feed):
    """After a loss, two of eight are refused: the next loss needs one connection."""
    lose(server, SessionCap(limit=2, times=2))
    opened = server.connections_opened
    lose(server)
    assert server.connections_opened == opened + 1
    assert server.open_connections == 1


def test_a_limit_of_all_is_kept(server, feed):
    """Where all but two of each connection are refused, later ones begin with two."""
    lose(server, SessionCap(limit=2))
    assert server.open_connections == 4
    refused = feed.stats()["errors"]["RateLimitError"]
    lose(server)
    assert server.open_connections == 4
    assert feed.stats()["errors"]["RateLimitError"] == refused


def lose(server, *faults):
    """Drop all connections, and wait until the series are back."""
    server.inject(*faults)
    opened = server.connections_opened
    server.drop_connections()
    assert until(lambda: server.connections_opened > opened)
    assert until(lambda: len(server.open_sessions) == len(INTERVALS))
