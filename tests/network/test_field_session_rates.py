"""A connection opens a limited number of sessions in its lifetime, and then another one serves."""

from collections import Counter

import pytest

from tests.loopback import impatient
from tests.network.clients import SYMBOL, ask_in_threads, assert_right
from tvDatafeed import Interval, TvDatafeed
from tvDatafeed.testing import ProtocolErrorReply

LIMIT = 150


def most_sessions(server):
    """Count the sessions of the connection that has opened the most."""
    created = (c for c in server.received if c.method.endswith("_create_session"))
    return max(Counter(c.connection for c in created).values())


def test_a_connection_is_left_before_it_has_opened_too_many_sessions(server, tv):
    """Requests one after the other continue over another connection, and each has its bars."""
    for _ in range(LIMIT + 10):
        assert len(tv.get_hist(SYMBOL, n_bars=1)) == 1
    assert most_sessions(server) < LIMIT
    assert server.connections_opened == 2
    assert tv.stats()["errors"] == {}


def test_sessions_that_are_open_together_count_too(server):
    """Many symbols at a time, and quotes after them, keep to the same number."""
    with TvDatafeed(config=impatient(server, max_sessions=1000)) as tv:
        for _ in range(4):
            tv.get_hist_multi([SYMBOL, "NYSE:IBM"] * 30, interval=Interval.in_daily, n_bars=1)
            ask_in_threads(tv, [SYMBOL] * 60, n_bars=1)
            tv.get_quotes([SYMBOL])
    assert most_sessions(server) < LIMIT


@pytest.mark.parametrize(
    "reason", ["max sessions rate reached", "Max state sessions reached", "MAX_SESSIONS_RATE"]
)
def test_too_many_sessions_are_a_rate_limit(server, reason):
    """It is waited for, and never counted as a broken protocol."""
    fault = ProtocolErrorReply(reason=reason, method="chart_create_session", times=4)
    server.inject(fault)
    with TvDatafeed(config=impatient(server, max_retries=4)) as tv:
        assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))
        assert tv.stats()["errors"] == {"RateLimitError": 4}
