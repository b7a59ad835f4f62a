"""What goes over the wire when a store answers, counted by the loopback server."""

import pandas as pd
import pytest

from tests.loopback import NOW
from tests.store.requests import requested
from tvDatafeed import Interval, TvDatafeed
from tvDatafeed.exceptions import ConfigurationError, DataNotFoundError, NetworkError
from tvDatafeed.store import BarStore
from tvDatafeed.testing import FakeTradingView

AAPL = ("AAPL", "NASDAQ")
DAY_S = 86400.0
SYMBOLS = ["NASDAQ:AAPL", "NASDAQ:MSFT", "NSE:RELIANCE", "BITSTAMP:BTCUSD"]


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def server(clock):
    with FakeTradingView(clock=clock) as running:
        yield running


@pytest.fixture
def tv(server, tmp_path):
    with TvDatafeed(config=server.config(), store=tmp_path / "bars.db") as client:
        yield client


def asked(server, call):
    """Return the sizes of the pages that a call asks for, and its frame."""
    before = len(requested(server))
    frame = call()
    return [size_of(command) for command in requested(server, since=before)], frame


def resolved(server):
    return sum(command.method == "resolve_symbol" for command in server.received)


def size_of(command):
    """Return how many bars a command asks for."""
    if command.method == "request_more_data":
        return command.params[-1]
    count = command.params[-2]
    return count[2] if isinstance(count, list) else count


def test_second_call_asks_for_the_tail(server, tv):
    """The same call again costs one request, for the bars that may have changed."""
    first, frame = asked(server, lambda: tv.get_hist(*AAPL, n_bars=500, timezone="UTC"))
    second, again = asked(server, lambda: tv.get_hist(*AAPL, n_bars=500, timezone="UTC"))
    assert first == [500]
    assert len(second) == 1
    assert second[0] <= 25
    pd.testing.assert_frame_equal(frame, again)


def test_tail_grows_with_the_time_that_passed(server, clock, tv):
    """After ten days one request brings what is new, and the frame is as without a store."""
    tv.get_hist(*AAPL, n_bars=500, timezone="UTC")
    clock.now += 10 * DAY_S
    pages, frame = asked(server, lambda: tv.get_hist(*AAPL, n_bars=500, timezone="UTC"))
    assert len(pages) <= 2
    assert sum(pages) < 60
    plain = tv.get_hist(*AAPL, n_bars=500, timezone="UTC", store="off")
    pd.testing.assert_frame_equal(frame, plain)


def test_answered_weekend_is_never_asked_for_again(server, clock, tv):
    """A range that had no bars is known to have none."""
    clock.now += 3 * DAY_S
    weekend = {"start_date": "2026-08-15", "end_date": "2026-08-16T23:00", "timezone": "UTC"}
    hours = (*AAPL, Interval.in_1_hour)
    tv.get_hist(*hours, n_bars=50, timezone="UTC")
    before = len(requested(server))
    with pytest.raises(DataNotFoundError):
        tv.get_hist(*hours, **weekend)
    assert requested(server, since=before) == []


def test_hole_alone_is_asked_for(server, tv):
    """Of a range that is known except for its middle, the middle is requested."""
    early = {"start_date": "2024-01-02", "end_date": "2024-06-28", "timezone": "UTC"}
    late = {"start_date": "2025-09-01", "end_date": "2026-02-27", "timezone": "UTC"}
    whole = {"start_date": "2024-01-02", "end_date": "2026-02-27", "timezone": "UTC"}
    tv.get_hist(*AAPL, **early)
    tv.get_hist(*AAPL, **late)
    # What is stored apart is compared once; then all is known of both.
    tv.get_hist(*AAPL, **early)
    pages, frame = asked(server, lambda: tv.get_hist(*AAPL, **whole))
    plain = tv.get_hist(*AAPL, **whole, store="off")
    pd.testing.assert_frame_equal(frame, plain)
    assert frame.attrs == plain.attrs
    assert len(pages) == 1
    assert pages[0] < len(plain)
    assert asked(server, lambda: tv.get_hist(*AAPL, **whole))[0] == []


def test_many_symbols_ask_for_their_tails(server, tv):
    """`get_hist_multi` asks for one tail a symbol."""
    first = tv.get_hist_multi(SYMBOLS, None, n_bars=300, timezone="UTC")
    pages, again = asked(
        server, lambda: tv.get_hist_multi(SYMBOLS, None, n_bars=300, timezone="UTC")
    )
    assert len(pages) == 4
    assert max(pages) <= 25
    for symbol in SYMBOLS:
        pd.testing.assert_frame_equal(first[symbol], again[symbol])


def test_store_only_uses_no_network(server, tv):
    """Offline bars come from the store; what is not there is a DataNotFoundError."""
    tv.get_hist(*AAPL, n_bars=30, timezone="UTC")
    pages, frame = asked(
        server, lambda: tv.get_hist(*AAPL, n_bars=30, timezone="UTC", store="only")
    )
    assert pages == []
    assert len(frame) == 30
    with pytest.raises(DataNotFoundError, match="store"):
        tv.get_hist("MSFT", "NASDAQ", store="only")
    more = tv.get_hist(*AAPL, n_bars=40, timezone="UTC", store="only")
    assert (len(more), more.attrs["complete"], more.attrs["requested"]) == (30, False, 40)


def test_refresh_asks_for_everything(server, tv):
    """`store="refresh"` asks TradingView for all bars, and stores them."""
    tv.get_hist(*AAPL, n_bars=100)
    pages, _frame = asked(server, lambda: tv.get_hist(*AAPL, n_bars=100, store="refresh"))
    assert pages == [100]


def test_unknown_use_is_refused(tv):
    """A word that means nothing is refused before anything is sent."""
    with pytest.raises(ConfigurationError, match="use, refresh, off, only"):
        tv.get_hist(*AAPL, store="always")


def test_only_needs_a_store(server):
    """Without a store there is nothing offline."""
    with (
        TvDatafeed(config=server.config(), store=False) as tv,
        pytest.raises(ConfigurationError, match="TV_STORE_URL"),
    ):
        tv.get_hist(*AAPL, store="only")


def test_symbol_info_for_a_day(server, tv):
    """A description is requested once a day."""
    first = tv.get_symbol_info(*AAPL)
    assert tv.get_symbol_info(*AAPL) == first
    assert tv.get_symbol_info(*AAPL, store="only") == first
    assert resolved(server) == 1
    tv.get_symbol_info(*AAPL, store="refresh")
    assert resolved(server) == 2


def test_no_network_is_an_error_with_a_store_too(server, tv):
    """The newest bars are not available without the server: the error is that of the network."""
    tv.get_hist(*AAPL, n_bars=20)
    tv.close()
    server.stop()
    with pytest.raises(NetworkError):
        tv.get_hist(*AAPL, n_bars=20)
    assert len(tv.get_hist(*AAPL, n_bars=20, store="only")) == 20


def test_store_given_as_an_object_stays_open(server, tmp_path):
    """A client closes the store that it has made, and not one that it was given."""
    with BarStore(tmp_path / "bars.db") as store:
        with TvDatafeed(config=server.config(), store=store) as tv:
            assert tv.store is store
            tv.get_hist(*AAPL, n_bars=20)
        assert len(store.read_bars(*AAPL, n_bars=20)) == 20
