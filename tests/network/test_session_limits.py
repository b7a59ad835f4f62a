"""Requests beyond the session limit of a connection open another connection."""

import pytest

from tests.loopback import impatient
from tests.network.clients import SYMBOL, ask_in_threads, assert_right
from tests.scale import AT_ONCE_S, at_most
from tvDatafeed import RateLimitError, TvDatafeed
from tvDatafeed.testing import FinMidFrame, LateReply, RstMidFrame, SessionCap


def test_more_requests_than_places_open_another_connection(server):
    """Beyond the cap of sessions a further connection serves, and no cap is exceeded."""
    server.inject(LateReply(delay_s=0.2))
    with TvDatafeed(config=impatient(server, max_sessions=4)) as tv:
        frames = ask_in_threads(tv, [SYMBOL] * 10)
    for frame in frames:
        assert_right(server, frame)
    assert server.connections_opened == 3


def test_session_cap_of_the_server_is_worked_around(server):
    """A session that is one too many is requested on another connection; the others live on."""
    server.inject(SessionCap(limit=3), LateReply(delay_s=0.1))
    with TvDatafeed(config=impatient(server)) as tv:
        frames = ask_in_threads(tv, [SYMBOL] * 8)
    for frame in frames:
        assert_right(server, frame)
    assert 2 <= server.connections_opened <= 8


def test_session_cap_of_nothing_is_a_rate_limit(server):
    """A server that lets no session in at all is a RateLimitError in the end."""
    server.inject(SessionCap(limit=0))
    with TvDatafeed(config=impatient(server)) as tv, at_most(AT_ONCE_S):
        with pytest.raises(RateLimitError):
            tv.get_hist(SYMBOL)


@pytest.mark.slow
def test_forty_threads_survive_disconnects(server):
    """Forty symbols on one object while connections are cut: each frame is its own symbol's."""
    symbols = [s for s in server.market.symbols if s not in {"SP:SPX", "TVC:RUT", "NSE:NIFTY"}]
    asked = [symbols[n % len(symbols)] for n in range(40)]
    config = impatient(
        server, max_retries=20, failure_threshold=50, requests_per_minute=6000, burst_size=100
    )
    server.inject(FinMidFrame(times=4), RstMidFrame(times=4), LateReply(delay_s=0.02))
    with TvDatafeed(config=config) as tv, at_most(60):
        for _ in range(3):
            frames = ask_in_threads(tv, asked, n_bars=300)
            for symbol, frame in zip(asked, frames, strict=True):
                assert_right(server, frame, symbol, 300)
    assert tv.stats()["requests"] == 120
    assert server.wait_until(lambda s: not s.open_sessions)
