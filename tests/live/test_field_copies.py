"""What belongs to a live feed is not copied, and says what to do instead."""

import copy
import functools
import pickle

import pytest

from tests.feed import BTC, Bars, live
from tests.loopback import impatient
from tvDatafeed import Interval, Seis
from tvDatafeed.network import WebSocketManager

WAYS = [
    pytest.param(pickle.dumps, id="pickle"),
    pytest.param(lambda thing: pickle.dumps(thing, 0), id="old pickle"),
    pytest.param(copy.copy, id="copy"),
    pytest.param(copy.deepcopy, id="deepcopy"),
]


@pytest.mark.parametrize("make_copy", WAYS)
def test_seis_and_consumer(server, make_copy):
    """Both name the class of the feed to make in another process, and continue."""
    with live(server) as tvl:
        seis = tvl.new_seis(*BTC)
        bars = Bars()
        consumer = seis.new_consumer(bars)
        for thing in (seis, consumer):
            name = type(thing).__name__
            with pytest.raises(TypeError, match=rf"a {name} .* one TvDatafeedLive per process"):
                make_copy(thing)
        assert bars.wait(1)


def test_what_holds_them(server):
    """A status, a task and a Seis without a feed lead to the same sentence."""
    alone = Seis("AAPL", "NASDAQ", Interval.in_daily)
    with live(server) as tvl:
        seis = tvl.new_seis(*BTC)
        for thing in (alone, tvl.status()[0], functools.partial(len, seis), seis.get_hist):
            with pytest.raises(TypeError, match="one TvDatafeedLive per process"):
                pickle.dumps(thing)


@pytest.mark.parametrize("make_copy", WAYS)
def test_pool_of_connections(server, make_copy):
    """A manager that is used alone says the same of itself."""
    manager = WebSocketManager(impatient(server).network)
    with pytest.raises(TypeError, match="make one WebSocketManager per process"):
        make_copy(manager)
