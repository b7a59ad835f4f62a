"""A program that was written for tvDatafeed 2.1 runs unchanged."""

import json

import pytest

from tests.programs import run
from tvDatafeed.testing import Account, FakeTradingView, MarketClock

# What its README shows: history, futures, search and live, with every call's own style.
PROGRAM = """
from tvDatafeed import TvDatafeed, Interval
import tvDatafeed, logging, json
logging.basicConfig(level=logging.ERROR)

username = 'alice'
password = 'open sesame'

tv = TvDatafeed(username, password)

# index
nifty_index_data = tv.get_hist(symbol='NIFTY',exchange='NSE',interval=Interval.in_1_hour,n_bars=1000)

# futures continuous contract
nifty_futures_data = tv.get_hist(symbol='NIFTY',exchange='NSE',interval=Interval.in_1_hour,n_bars=1000,fut_contract=1)

# extended hours
extended_price_data = tv.get_hist(symbol="AAPL",exchange="NASDAQ",interval=Interval.in_1_hour,n_bars=500, fut_contract=None, extended_session=True)

positional = tv.get_hist('BTCUSDT', 'BINANCE', Interval.in_daily, 100)
found = tv.search_symbol('AAPL','NASDAQ')

from tvDatafeed import TvDatafeedLive, Interval, Seis, Consumer
from queue import Queue

tvl = TvDatafeedLive(username, password)
seis = tvl.new_seis('BTCUSDT', 'BINANCE', Interval.in_1_minute)
again = tvl.new_seis('BTCUSDT', 'BINANCE', Interval.in_1_minute)
received = Queue()

def consumer_func1(seis, data):
    received.put((seis.symbol, seis.exchange, seis.interval.name, list(data.columns), len(data)))

consumer1 = tvl.new_consumer(seis, consumer_func1)
consumer2 = seis.new_consumer(lambda seis, data: received.put(None))
told = [received.get(timeout=30) for _ in range(6)]
consumers = [type(c).__name__ for c in seis.get_consumers()]
consumer1.del_consumer()
seis.del_consumer(consumer2)
hist = seis.get_hist(n_bars=5)
seis.del_seis()
tvl.del_tvdatafeed()

print(json.dumps({
    "columns": list(nifty_index_data.columns),
    "index": nifty_index_data.index.name,
    "symbols": [f["symbol"].iloc[0] for f in (nifty_index_data, nifty_futures_data, extended_price_data, positional)],
    "lengths": [len(f) for f in (nifty_index_data, nifty_futures_data, extended_price_data, positional, hist)],
    "found": found[0]["symbol"],
    "same": seis is again,
    "told": [t for t in told if t][0],
    "consumers": consumers,
    "naive": nifty_index_data.index.tz is None,
}))
"""


@pytest.mark.slow
def test_program_of_2_1():
    """Nothing is changed in it but where the endpoints are."""
    alice = Account("alice", "open sesame")
    clock = MarketClock(speed=600.0)
    with FakeTradingView(accounts=[alice], clock=clock, tick_interval_s=0.02) as server:
        done = run("-c", PROGRAM, server=server)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {
        "columns": ["symbol", "open", "high", "low", "close", "volume"],
        "index": "datetime",
        "symbols": ["NSE:NIFTY", "NSE:NIFTY1!", "NASDAQ:AAPL", "BINANCE:BTCUSDT"],
        "lengths": [1000, 1000, 500, 100, 5],
        "found": "AAPL",
        "same": True,
        "told": [
            "BTCUSDT",
            "BINANCE",
            "in_1_minute",
            ["symbol", "open", "high", "low", "close", "volume"],
            1,
        ],
        "consumers": ["Consumer", "Consumer"],
        "naive": True,
    }


@pytest.mark.parametrize(
    "name", ["tvDatafeed.main", "tvDatafeed.datafeed", "tvDatafeed.seis", "tvDatafeed.consumer"]
)
@pytest.mark.slow
def test_modules_of_2_1(name):
    """Programs import from where things stood."""
    done = run("-W", "error", "-c", f"import {name}")
    assert (done.returncode, done.stderr) == (0, "")
