"""What a market does to its past: splits, corrections, other feeds; with the loopback server."""

import pandas as pd
import pytest

from tests.loopback import NOW
from tests.store.requests import requested
from tvDatafeed import Interval, TvDatafeed
from tvDatafeed.store import BarStore
from tvDatafeed.testing import Account, FakeTradingView, MarketClock

AAPL = ("AAPL", "NASDAQ")
ALICE, BOB = Account("alice", "alice's", id=1, realtime=("NASDAQ",)), Account("bob", "bob's", id=2)


@pytest.fixture
def server():
    with FakeTradingView(
        clock=MarketClock(NOW, speed=0), accounts=[ALICE, BOB], round_trip_s=0.0
    ) as running:
        yield running


@pytest.fixture
def store(tmp_path):
    with BarStore(tmp_path / "bars.db") as made:
        yield made


@pytest.fixture
def alice(server, store):
    with TvDatafeed(
        auth_token=server.issue_token(ALICE), config=server.config(), store=store
    ) as tv:
        yield tv


@pytest.fixture
def bob(server, store):
    with TvDatafeed(auth_token=server.issue_token(BOB), config=server.config(), store=store) as tv:
        yield tv


def assert_as_without(tv, *args, **options):
    """Hold the frame with a store to the one without, attrs included."""
    frame = tv.get_hist(*args, timezone="UTC", **options)
    plain = tv.get_hist(*args, timezone="UTC", store="off", **options)
    pd.testing.assert_frame_equal(frame, plain)
    assert frame.attrs == plain.attrs
    return frame


def test_split_makes_another_generation(server, store, alice):
    """After a split every price comes as TradingView has it now, at the cost of one full answer."""
    before = assert_as_without(alice, *AAPL, n_bars=300)
    server.split("NASDAQ:AAPL", 4)
    after = assert_as_without(alice, *AAPL, n_bars=300)
    assert after["close"].iloc[0] == pytest.approx(before["close"].iloc[0] / 4, abs=0.01)
    assert store.series()[0].generation == 1
    asked = len(requested(server))
    alice.get_hist(*AAPL, n_bars=300, timezone="UTC")
    assert len(requested(server, since=asked)) == 1


def test_split_in_a_shallow_call_forgets_what_is_deeper(server, store, alice):
    """A call for fewer bars keeps those alone; the deeper ones are requested again."""
    assert_as_without(alice, *AAPL, n_bars=300)
    server.split("NASDAQ:AAPL", 2)
    assert_as_without(alice, *AAPL, n_bars=50)
    assert store.series()[0].bars == 50
    assert_as_without(alice, *AAPL, n_bars=300)


def test_correction_overwrites(server, store, alice):
    """A corrected bar of the tail is overwritten, and the generation stays."""
    frame = assert_as_without(alice, *AAPL, n_bars=300)
    time_s = int(frame.index[-3].timestamp())
    server.correct("NASDAQ:AAPL", "1D", time_s, high=999.0)
    assert assert_as_without(alice, *AAPL, n_bars=300)["high"].iloc[-3] == 999.0
    assert store.series()[0].generation == 0


def test_correction_far_back_is_found_by_a_recheck(server, tmp_path):
    """With `recheck_days=0` the oldest stored bars are compared in every call."""
    with (
        BarStore(tmp_path / "checked.db", recheck_days=0) as store,
        TvDatafeed(auth_token=server.issue_token(ALICE), config=server.config(), store=store) as tv,
    ):
        frame = assert_as_without(tv, *AAPL, n_bars=300)
        server.correct("NASDAQ:AAPL", "1D", int(frame.index[0].timestamp()), high=999.0)
        assert_as_without(tv, *AAPL, n_bars=300)


def test_two_feeds_do_not_mix(server, store, alice, bob):
    """Accounts with real-time and delayed data have series of their own in one store."""
    server.delay("NASDAQ", 900)
    minutes = (*AAPL, Interval.in_1_minute)
    for tv in (alice, bob, alice, bob):
        assert_as_without(tv, *minutes, n_bars=100)
    assert {info.feed for info in store.series()} == {"realtime", "delayed"}
    offline = store.read_bars(*minutes, n_bars=100, timezone="UTC", feed="delayed")
    assert offline.attrs["delay_seconds"] == 900


def test_account_that_becomes_real_time(server, store, bob):
    """When a reply shows another feed than before, its own series is used from then on."""
    server.delay("NASDAQ", 900)
    minutes = (*AAPL, Interval.in_1_minute)
    assert_as_without(bob, *minutes, n_bars=100)
    server.delay("NASDAQ", 0)
    assert_as_without(bob, *minutes, n_bars=100)
    assert_as_without(bob, *minutes, n_bars=100)


@pytest.mark.parametrize("adjustment", ["splits", "dividends", "none"])
def test_dividend_restates_its_own_series(server, alice, adjustment):
    """A dividend changes what is adjusted for dividends, and nothing else."""
    options = {"n_bars": 100, "adjustment": adjustment}
    assert_as_without(alice, *AAPL, **options)
    server.dividend("NASDAQ:AAPL", 5.0)
    assert_as_without(alice, *AAPL, **options)
