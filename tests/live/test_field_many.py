"""Six hundred series on six connections come back together after an outage."""

import dataclasses
import threading

import pytest

from tests.feed import MINUTE, LiveServer
from tests.scale import PATIENCE_S, at_most
from tvDatafeed import TvDatafeedLive
from tvDatafeed.testing import Market

SERIES = 600
CONNECTIONS = 6
# After the server's return: two seconds of pause at most, and the opening of all series.
BACK_S = 5.0
# The server is in this process here, and other tests are beside it.
BACK_AFTER_CUT_S = 10.0


def market():
    """A market of coins, which trade around the clock."""
    bitcoin = Market().find("BITSTAMP:BTCUSD")
    names = (f"BITSTAMP:C{number:03}" for number in range(SERIES))
    return Market(tuple(dataclasses.replace(bitcoin, symbol=name) for name in names))


class States:
    """A hook that notices when each series has been lost and is live again."""

    def __init__(self):
        self.forget()

    def forget(self):
        self.are_back = threading.Event()
        self._lost, self._back = set(), set()

    def __call__(self, seis, state):
        if state == "RECONNECTING":
            self._lost.add(seis)
        elif state == "LIVE" and seis in self._lost:
            self._back.add(seis)
            if len(self._back) == SERIES:
                self.are_back.set()


@pytest.fixture
def feed():
    """A server, and a feed of many series on it that has the default settings."""
    with LiveServer(market=market()) as server:
        states = States()
        with TvDatafeedLive(config=server.config(), on_state=states) as tvl:
            listing = [
                threading.Thread(target=list_series, args=(tvl, first)) for first in range(8)
            ]
            for thread in listing:
                thread.start()
            for thread in listing:
                thread.join()
            assert len(server.open_sessions) == SERIES
            assert server.open_connections == CONNECTIONS
            states.forget()
            yield server, states


def list_series(tvl, first):
    for number in range(first, SERIES, 8):
        tvl.new_seis(f"C{number:03}", "BITSTAMP", MINUTE)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["fin", "rst"])
def test_cut_of_all_connections(feed, how):
    """With the server up, each series is live again within seconds."""
    server, states = feed
    server.drop_connections(how)
    with at_most(BACK_AFTER_CUT_S):
        assert states.are_back.wait(PATIENCE_S)
    assert len(server.open_sessions) == SERIES
    assert server.open_connections == CONNECTIONS


@pytest.mark.slow
def test_server_that_was_away(feed):
    """After ten seconds without a server, each series is live within seconds of its return."""
    server, states = feed
    server.stop()
    threading.Event().wait(10.0)  # the length of the outage
    server.start()
    with at_most(BACK_S):
        assert states.are_back.wait(PATIENCE_S)
    assert len(server.open_sessions) == SERIES
