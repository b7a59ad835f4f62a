"""An account with too many connections is waited for, ever longer."""

import time

import pytest

from tests.loopback import impatient
from tests.network.clients import SYMBOL, assert_right
from tvDatafeed import RateLimitError, TvDatafeed, WebSocketError
from tvDatafeed.config import NetworkConfig
from tvDatafeed.network.health import ConnectionHealth
from tvDatafeed.testing import ProtocolErrorReply


@pytest.mark.parametrize(
    "reason", ["user connections limit reached", "USER_CONNECTIONS_LIMIT_REACHED"]
)
def test_an_answer_does_not_reset_the_wait(server, reason):
    """The fourth refusal waits 64 times as long as the first, with answers in between."""
    config = impatient(server, base_retry_delay=0.02, max_retry_delay=60.0)
    with TvDatafeed(config=config) as tv:
        for _ in range(4):
            tv.close()
            server.inject(ProtocolErrorReply(reason=reason, times=1))
            started = time.monotonic()
            assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))
    # 0.02, 0.08, 0.32 and 1.28 s, each at least half.
    assert time.monotonic() - started >= 0.64


def test_the_error_says_what_helps(server):
    """The server's reason and one next step."""
    server.inject(ProtocolErrorReply(reason="user connections limit reached"))
    with TvDatafeed(config=impatient(server, max_retries=0)) as tv:
        with pytest.raises(RateLimitError, match=r"limit reached\)\. .* Close other programs"):
            tv.get_hist(SYMBOL)


def test_another_fault_does_not_shorten_the_wait():
    """A connection that is lost meanwhile does not bring the next one forward."""
    health = ConnectionHealth(NetworkConfig())
    for _ in range(4):
        reason = "user connections limit reached"
        health.record_connection_failure(RateLimitError(reason=reason), has_answered=True)
    planned = health.no_try_before
    health.record_answer()
    health.record_connection_failure(WebSocketError("lost"), has_answered=True)
    assert health.no_try_before == planned
