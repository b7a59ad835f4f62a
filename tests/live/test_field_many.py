"""Six hundred series on six connections come back together after an outage."""

import dataclasses
import threading
import time

import pytest

from tests.feed import MINUTE, LiveServer, live_config, until
from tests.scale import scaled
from tvDatafeed import TvDatafeedLive
from tvDatafeed.testing import Market

SERIES = 600
CONNECTIONS = 6
# Five seconds are the aim. The server is in this process here, and other tests are beside it.
BACK_S = 10.0


def market():
    """A market of coins, which trade around the clock."""
    bitcoin = Market().find("BITSTAMP:BTCUSD")
    names = (f"BITSTAMP:C{number:03}" for number in range(SERIES))
    return Market(tuple(dataclasses.replace(bitcoin, symbol=name) for name in names))


@pytest.fixture
def feed():
    """A server, and a feed of many series on it that pauses for two seconds at most."""
    with LiveServer(market=market()) as server:
        pauses = {"base_retry_delay": 0.5, "max_retry_delay": 2.0}
        config = live_config(server, max_sessions=SERIES // CONNECTIONS, **pauses)
        with TvDatafeedLive(config=config) as tvl:
            listing = [
                threading.Thread(target=list_series, args=(tvl, first)) for first in range(8)
            ]
            for thread in listing:
                thread.start()
            for thread in listing:
                thread.join()
            assert len(server.open_sessions) == SERIES
            assert server.open_connections == CONNECTIONS
            yield server, tvl


def list_series(tvl, first):
    for number in range(first, SERIES, 8):
        tvl.new_seis(f"C{number:03}", "BITSTAMP", MINUTE)


def are_live(server, tvl):
    return len(server.open_sessions) == SERIES and {s.state for s in tvl.status()} == {"LIVE"}


def seconds_until_live(server, tvl):
    """Return how long it takes until each series is live on the server again."""
    started = time.monotonic()
    assert until(lambda: are_live(server, tvl))
    return time.monotonic() - started


@pytest.mark.slow
@pytest.mark.parametrize("how", ["fin", "rst"])
def test_cut_of_all_connections(feed, how):
    """With the server up, each series is live again within seconds."""
    server, tvl = feed
    server.drop_connections(how)
    assert until(lambda: not server.open_sessions or server.connections_opened > CONNECTIONS)
    seconds = seconds_until_live(server, tvl)
    assert seconds < scaled(BACK_S)
    assert server.open_connections == CONNECTIONS


@pytest.mark.slow
def test_server_that_was_away(feed):
    """After ten seconds without a server, each series is live within seconds of its return."""
    server, tvl = feed
    server.stop()
    threading.Event().wait(10.0)  # the length of the outage
    server.start()
    seconds = seconds_until_live(server, tvl)
    assert seconds < scaled(BACK_S)
