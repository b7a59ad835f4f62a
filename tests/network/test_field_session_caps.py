"""The limit of sessions that a server shows by its refusals is learned as it is."""

import datetime as dt
import threading

from tests.feed import Bars, live, until
from tests.loopback import impatient
from tests.network.clients import SYMBOL, ask_in_threads, assert_right
from tests.scale import PATIENCE_S
from tvDatafeed import Interval, TvDatafeed
from tvDatafeed.testing import FakeTradingView, LateReply, Listing, Market, SessionCap

NAMES = [f"S{n:03}" for n in range(100)]


def market():
    """A market of a hundred symbols."""
    day = dt.date(2020, 1, 1)
    return Market([Listing(f"NASDAQ:{name}", f"Stock {name}", 100.0, day) for name in NAMES])


def quick(server, **limits):
    """The configuration of a client that may open many connections."""
    return impatient(server, **{"requests_per_minute": 6000, "burst_size": 100, **limits})


def test_a_cap_of_ten_is_learned_as_ten():
    """A hundred symbols at a time need ten connections, each with ten of them."""
    with FakeTradingView(market=market()) as server:
        server.inject(SessionCap(limit=10))
        with TvDatafeed(config=quick(server, max_retries=1)) as tv:
            frames = tv.get_hist_multi(NAMES, "NASDAQ", max_concurrent=100)
            assert len(frames) == 100
            assert server.connections_opened <= 10
            # Afterwards ten at a time have room on one connection.
            server.clear_faults()
            opened = server.connections_opened
            tv.close()
            server.inject(LateReply(delay_s=0.2))
            for frame in ask_in_threads(tv, NAMES[:10], exchange="NASDAQ"):
                assert len(frame) == 10
            assert server.connections_opened == opened + 1


def test_answers_between_refusals_do_not_lower_the_limit(server):
    """Sessions that were answered meanwhile count: three are accepted on later connections too."""
    server.inject(SessionCap(limit=3))
    with TvDatafeed(config=quick(server)) as tv:
        for frame in ask_in_threads(tv, [SYMBOL] * 30):
            assert_right(server, frame)
        server.inject(LateReply(delay_s=0.2))
        opened = server.connections_opened
        tv.close()
        for frame in ask_in_threads(tv, [SYMBOL] * 3):
            assert_right(server, frame)
    assert server.connections_opened == opened + 1


def test_a_learned_limit_may_rise_again(server):
    """After the life of a connection the limit is not believed any more."""
    server.inject(SessionCap(limit=1), LateReply(delay_s=0.1))
    with TvDatafeed(config=quick(server, max_connection_age=0.3)) as tv:
        for frame in ask_in_threads(tv, [SYMBOL] * 4):
            assert_right(server, frame)
        server.clear_faults()
        server.inject(LateReply(delay_s=0.2))
        # What passes here is the life of a connection.
        threading.Event().wait(0.4)
        opened = server.connections_opened
        for frame in ask_in_threads(tv, [SYMBOL] * 4):
            assert_right(server, frame)
    assert server.connections_opened == opened + 1


def test_series_that_are_opened_again_keep_to_the_limit():
    """After a loss, forty series need no more connections than before it."""
    with FakeTradingView(market=market()) as server:
        server.inject(SessionCap(limit=10))
        config = {"requests_per_minute": 6000, "burst_size": 100}
        with live(server, **config) as tvl:
            for name in NAMES[:40]:
                tvl.subscribe(name, "NASDAQ", Interval.in_1_minute, Bars())
            assert until(lambda: len(server.open_sessions) == 40)
            assert server.open_connections <= 5
            server.drop_connections()
            assert server.wait_until(lambda s: len(s.open_sessions) == 40, PATIENCE_S)
            assert server.open_connections <= 5
