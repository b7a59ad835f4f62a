"""A live feed with a store writes each closed bar, and begins where the store ends."""

import pandas as pd
import pytest

from tests.feed import BTC, MINUTE, Bars, LiveServer, live, until
from tests.loopback import NOW
from tests.store.requests import requested
from tvDatafeed import TvDatafeed
from tvDatafeed.store import BarStore, StoreConsumer

NAME = ("BTCUSD", "BITSTAMP", MINUTE)


@pytest.fixture
def server():
    with LiveServer() as running:
        yield running


@pytest.fixture
def store(tmp_path):
    with BarStore(tmp_path / "bars.db") as made:
        yield made


def stored(store, count=100):
    return list(store.read_bars(*NAME, n_bars=count, timezone="UTC").index)


def follow(tvl, server, minutes):
    """Follow a symbol for a number of minutes, with a consumer that has received each."""
    bars = Bars()
    tvl.new_consumer(tvl.new_seis(*BTC), bars)
    for _minute in range(minutes):
        server.move()
        (newest,) = server.closed()
        assert until(lambda newest=newest: bars.opens[-1:] == [newest])
    return bars


def test_each_closed_bar_is_stored(server, store):
    """What a consumer receives is in the store when the feed is closed, bit for bit."""
    with live(server, hooks={"store": store}) as tvl:
        bars = follow(tvl, server, 4)
    frame = store.read_bars(*NAME, n_bars=len(bars.frames), timezone="UTC")
    assert list(frame.index) == bars.opens
    received = pd.concat(bars.frames)
    assert frame["close"].tolist() == received["close"].tolist()


def test_a_feed_begins_where_the_store_ends(server, store):
    """Bars that closed while no feed ran are stored at the next start, and not delivered."""
    with live(server, hooks={"store": store}) as tvl:
        follow(tvl, server, 2)
    server.move(600, tick=False)
    with live(server, hooks={"store": store}) as tvl:
        bars = follow(tvl, server, 1)
    assert bars.opens[0] >= pd.Timestamp(NOW + 11 * 60, unit="s", tz="UTC")
    assert stored(store) == server.closed(count=14)
    assert len(store.coverage(*NAME)) == 1


def test_history_asks_for_the_tail_after_a_feed(server, store):
    """A request that begins inside what a feed has stored asks for no more than its tail."""
    with live(server, hooks={"store": store}) as tvl:
        follow(tvl, server, 30)
    with TvDatafeed(config=server.config(), store=store) as tv:
        before = len(requested(server))
        frame = tv.get_hist(*NAME, n_bars=25, timezone="UTC")
        with_store = requested(server, since=before)
        plain = tv.get_hist(*NAME, n_bars=25, timezone="UTC", store="off")
    pd.testing.assert_frame_equal(frame, plain)
    assert len(with_store) == 1


def test_a_store_that_fails_delays_no_bar(server, store, tmp_path, caplog):
    """The bars come although the store cannot be written, and one WARNING says so."""
    (tmp_path / "bars.db").mkdir()
    with live(server, hooks={"store": store}) as tvl:
        follow(tvl, server, 3)
    said = [record for record in caplog.records if "bar store" in record.message]
    assert len([record for record in said if record.levelname == "WARNING"]) == 1


def test_store_consumer(server, store):
    """`StoreConsumer` stores the closed bars of any Seis, consecutive ones as one range."""
    with live(server, hooks={"store": False}) as tvl:
        bars = Bars()
        seis = tvl.new_seis(*BTC)
        tvl.new_consumer(seis, bars)
        tvl.new_consumer(seis, StoreConsumer(store))
        for _minute in range(3):
            server.move()
        (newest,) = server.closed()
        assert until(lambda: bars.opens[-1:] == [newest])
        tvl.close(drain=True)
    assert stored(store) == bars.opens
    assert len(store.coverage(*NAME)) == 1
