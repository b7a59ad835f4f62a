"""The pause between tries is short after a short outage, and grows with a long one."""

import threading
import time

import pytest

from tests.feed import BTC, live, until
from tests.loopback import impatient
from tests.network.clients import SYMBOL, assert_right
from tests.scale import AT_ONCE_S, PATIENCE_S, at_most, scaled
from tvDatafeed import RateLimitError, TvDatafeed
from tvDatafeed.testing import CloseCode, UpgradeStatus

OUTAGE_S = 2.0
PAUSES = {"base_retry_delay": 0.02, "max_retry_delay": 60.0}


@pytest.mark.slow
def test_a_feed_is_back_soon_after_an_outage(server):
    """A series is live again after at most a fifth of the time that its server was away."""
    with live(server, **PAUSES) as tvl:
        tvl.new_seis(*BTC)
        server.stop()
        threading.Event().wait(OUTAGE_S)  # the length of the outage
        server.start()
        with at_most(0.2 * OUTAGE_S + 0.6):
            assert until(lambda: {s.state for s in tvl.status()} == {"LIVE"})


@pytest.mark.slow
def test_a_long_outage_is_tried_less_and_less_often(server):
    """Half of the tries of a fault that stays are made in its first half."""
    with live(server, **PAUSES) as tvl:
        tvl.new_seis(*BTC)
        server.inject(CloseCode(1001))
        accepted = server.accepted
        server.drop_connections()
        started = time.monotonic()
        assert server.wait_until(lambda s: s.accepted - accepted >= 12)
        first_s = time.monotonic() - started
        assert server.wait_until(lambda s: s.accepted - accepted >= 24, PATIENCE_S)
        assert time.monotonic() - started >= 2 * first_s
        server.clear_faults()
        assert until(lambda: {s.state for s in tvl.status()} == {"LIVE"})


def test_the_longest_pause_still_counts(server):
    """No pause is longer than the setting, however old the outage is."""
    server.inject(CloseCode(1001, times=30))
    config = impatient(
        server,
        base_retry_delay=0.01,
        max_retry_delay=0.02,
        max_retries=40,
        failure_threshold=100,
        requests_per_minute=6000,
        burst_size=100,
    )
    with TvDatafeed(config=config) as tv, at_most(30 * 0.02 + AT_ONCE_S):
        assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))


def test_a_server_that_refuses_is_asked_ever_less_often(server):
    """The pause after each HTTP 429 is twice that before, although the first was just now."""
    server.inject(UpgradeStatus(429))
    config = impatient(server, base_retry_delay=0.05, max_retry_delay=60.0, max_retries=4)
    started = time.monotonic()
    with TvDatafeed(config=config) as tv, pytest.raises(RateLimitError):
        tv.get_hist(SYMBOL)
    # 0.05, 0.1, 0.2 and 0.4 s, each at least half.
    assert 0.375 <= time.monotonic() - started < 0.75 + scaled(AT_ONCE_S)
