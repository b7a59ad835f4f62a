"""A connection that carries heartbeats alone is not among the open ones."""

import pytest

from tests.loopback import NOW, impatient
from tests.network.clients import SYMBOL, assert_right
from tvDatafeed import TvDatafeed, WebSocketTimeoutError
from tvDatafeed.testing import FakeTradingView, HeartbeatsOnly


def test_unresponsive_connection_does_not_count_as_open():
    """`stats()` counts the connections that answer; the next request opens another one."""
    with FakeTradingView(clock=lambda: NOW, heartbeat_interval_s=0.05) as server:
        config = impatient(server, max_retries=0, max_response_time=0.5)
        with TvDatafeed(config=config) as tv:
            tv.get_hist(SYMBOL)
            assert tv.stats()["open_connections"] == 1
            server.inject(HeartbeatsOnly(times=1))
            with pytest.raises(WebSocketTimeoutError):
                tv.get_hist(SYMBOL)
            assert tv.stats()["open_connections"] == 0
            assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))
            assert tv.stats()["open_connections"] == 1
