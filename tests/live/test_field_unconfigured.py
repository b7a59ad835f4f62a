"""A program that does not configure logging has WARNINGs on stderr, one line an episode."""

import pytest

from tests.loopback import NOW
from tests.programs import NO_ACCOUNT, run, start
from tests.scale import PATIENCE_S
from tvDatafeed.testing import FakeTradingView, FinMidFrame, HttpStatus, MarketClock, UpgradeStatus

QUICK = {"TV_BASE_RETRY_DELAY": "0.05", "TV_MAX_RETRY_DELAY": "0.2", "TV_BURST_SIZE": "200"}
# It says when all of its series are live, and again after an outage; a line of stdin ends it.
FEED = """
import itertools, sys, threading
from tvDatafeed import TvDatafeedLive

SYMBOLS = (("BTCUSD", "BITSTAMP"), ("BTCUSDT", "BINANCE"), ("AAPL", "NASDAQ"), ("NIFTY", "NSE"))
SERIES = list(itertools.product(SYMBOLS, ("1m", "5m", "15m", "1h", "1d", "1w")))
states, was_live = {}, False

def on_state(seis, state):
    global was_live
    states[seis] = state
    is_live = list(states.values()).count("LIVE") == len(SERIES)
    if is_live and not was_live:
        print("live", flush=True)
    was_live = is_live

tvl = TvDatafeedLive(on_state=on_state)
for (symbol, exchange), interval in SERIES:
    tvl.subscribe(symbol, exchange, interval, lambda seis, bar: None)
sys.stdin.readline()
tvl.close()
"""
HISTORY = """
from tvDatafeed import TvDatafeed, TvDatafeedLive

for _ in range(3):
    with TvDatafeed() as tv:
        tv.get_hist_multi(["NASDAQ:AAPL", "NASDAQ:MSFT", "NYSE:IBM"], n_bars=5)
TvDatafeedLive().close()
"""


@pytest.fixture
def market():
    """A market whose time stands still."""
    with FakeTradingView(clock=MarketClock(NOW, speed=0)) as server:
        yield server


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["stream", "poll"])
def test_outages_of_a_feed(market, mode):
    """Each outage of a feed with many series is one line, however often it tries again."""
    settings = QUICK | {"TV_LIVE_MODE": mode}
    with start("-c", FEED, server=market, stdin=-1, **settings) as program:
        for outage in range(3):
            assert program.stdout.readline() == "live\n", program.stderr.read()
            if outage < 2:
                market.inject(UpgradeStatus(status=503, times=4))
                market.drop_connections("rst")
                if mode == "poll":
                    market.step(60)
        _out, err = program.communicate("\n", timeout=PATIENCE_S)
    first, *outages = err.splitlines(keepends=True)
    assert (program.returncode, first) == (0, NO_ACCOUNT)
    assert len(outages) == 2, err
    assert all(" is requested again: " in line for line in outages)


@pytest.mark.slow
def test_questions(market):
    """Without an outage there is the notice of a missing account, once, and nothing at INFO."""
    done = run("-c", HISTORY, server=market)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", NO_ACCOUNT)


@pytest.mark.slow
def test_outage_of_questions(market):
    """Three symbols whose connection breaks are one more line."""
    market.inject(FinMidFrame(times=2))
    done = run("-c", HISTORY, server=market)
    assert done.returncode == 0
    notice, line = done.stderr.splitlines(keepends=True)
    assert notice == NO_ACCOUNT
    assert " is requested again: " in line


@pytest.mark.slow
def test_search_that_fails(market):
    """A search that answers no error is one line, however often it was tried."""
    market.inject(HttpStatus(path="*", status=503, times=9))
    program = "from tvDatafeed import TvDatafeed\nprint(TvDatafeed().search_symbol('apple'))"
    done = run("-c", program, server=market)
    assert (done.returncode, done.stdout) == (0, "[]\n")
    notice, line = done.stderr.splitlines(keepends=True)
    assert notice == NO_ACCOUNT
    assert line.startswith("the symbol search failed: ")


@pytest.mark.slow
def test_level_of_the_library_counts(market):
    """A program that wants nothing says so by the level of one logger."""
    quiet = "import logging; logging.getLogger('tvDatafeed').setLevel(logging.CRITICAL)"
    done = run("-c", quiet + HISTORY, server=market)
    assert (done.returncode, done.stderr) == (0, "")
