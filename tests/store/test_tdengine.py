"""The public API on TDengine: the loopback stand-in answers as its documentation says."""

import time

import pandas as pd
import pytest

from tests.loopback import NOW
from tvDatafeed import Interval, TvDatafeed
from tvDatafeed.exceptions import ConfigurationError, DataNotFoundError, StoreError
from tvDatafeed.store import BarStore
from tvDatafeed.testing import FakeTDengine, FakeTradingView, MarketClock

DAY_S = 86400.0


@pytest.fixture
def market():
    with FakeTradingView(clock=MarketClock(NOW, speed=0)) as server:
        yield server


@pytest.fixture
def tdengine():
    with FakeTDengine() as server:
        yield server


@pytest.fixture
def store(tdengine):
    with BarStore(tdengine.url) as store:
        yield store


@pytest.fixture
def tv(market, store):
    with TvDatafeed(config=market.config(), store=store) as client:
        yield client


def frame(times, price=10.0):
    """Closed daily bars."""
    index = pd.DatetimeIndex(pd.to_datetime(times, unit="s", utc=True))
    values = {"open": price, "high": price + 1, "low": price - 1, "close": price, "volume": 5.0}
    return pd.DataFrame(values, index=index)


def test_frame_is_the_one_without_a_store(market, tv):
    """A frame from TDengine equals the one from the network, attributes included."""
    with TvDatafeed(config=market.config(), store=False) as plain:
        expected = plain.get_hist("AAPL", "NASDAQ", Interval.in_1_hour, n_bars=300)
    tv.get_hist("AAPL", "NASDAQ", Interval.in_1_hour, n_bars=300)
    found = tv.get_hist("AAPL", "NASDAQ", Interval.in_1_hour, n_bars=300)
    pd.testing.assert_frame_equal(found, expected)
    assert found.attrs.keys() == expected.attrs.keys()


def test_stored_bars_are_read_offline(tv, tdengine):
    """Another store on the same database reads what the first one has written."""
    written = tv.get_hist("AAPL", "NASDAQ", n_bars=50)
    with BarStore(tdengine.url) as other:
        read = other.read_bars("AAPL", "NASDAQ", n_bars=50)
        assert other.coverage("AAPL", "NASDAQ")
    pd.testing.assert_frame_equal(read, written, check_freq=False)


def test_new_bars_are_appended(market, tv):
    """After a day only the tail is requested from TradingView, and the new bar is stored."""
    tv.get_hist("AAPL", "NASDAQ", n_bars=300)
    market.step(3 * DAY_S)
    tail = tv.get_hist("AAPL", "NASDAQ", n_bars=300)
    with TvDatafeed(config=market.config(), store=False) as plain:
        pd.testing.assert_frame_equal(tail, plain.get_hist("AAPL", "NASDAQ", n_bars=300))
    (series,) = tv.store.series()
    assert series.bars > 300


def test_restatement_makes_another_table(market, tv, tdengine):
    """Where the oldest bar of the overlap differs, all bars are stored again."""
    before = tv.get_hist("AAPL", "NASDAQ", n_bars=20)
    market.correct("NASDAQ:AAPL", "1D", int(before.index[0].timestamp()), volume=12345.0)
    after = tv.get_hist("AAPL", "NASDAQ", n_bars=20)
    assert after["volume"].iloc[0] == 12345.0
    (series,) = tv.store.series()
    assert series.generation == 1
    stored = tv.store.read_bars("AAPL", "NASDAQ", n_bars=20)
    pd.testing.assert_frame_equal(stored, after, check_freq=False)
    tables = tdengine.run("SELECT DISTINCT TBNAME FROM tv.bars")
    assert len(tables) == 2  # the old one stays for its readers


def test_replaced_table_goes_after_a_minute(market, tv, tdengine, monkeypatch):
    """The next write removes the old table, when no reader can still need it."""
    before = tv.get_hist("AAPL", "NASDAQ", n_bars=20)
    market.correct("NASDAQ:AAPL", "1D", int(before.index[0].timestamp()), volume=12345.0)
    tv.get_hist("AAPL", "NASDAQ", n_bars=20)
    later_s = time.time() + 61.0
    monkeypatch.setattr(time, "time", lambda: later_s)
    after = tv.get_hist("AAPL", "NASDAQ", n_bars=30)
    assert len(tdengine.run("SELECT DISTINCT TBNAME FROM tv.bars")) == 1
    stored = tv.store.read_bars("AAPL", "NASDAQ", n_bars=30)
    pd.testing.assert_frame_equal(stored, after, check_freq=False)


def test_correction_replaces_a_bar(market, tv):
    """A correction of a newer bar is written over it; the generation stays."""
    before = tv.get_hist("AAPL", "NASDAQ", n_bars=20)
    market.correct("NASDAQ:AAPL", "1D", int(before.index[-3].timestamp()), volume=777.0)
    after = tv.get_hist("AAPL", "NASDAQ", n_bars=20)
    assert after["volume"].iloc[-3] == 777.0
    assert tv.store.read_bars("AAPL", "NASDAQ", n_bars=3)["volume"].iloc[0] == 777.0
    assert [series.generation for series in tv.store.series()] == [0]


def test_written_range_replaces_what_was_there(store):
    """Bars that a written frame does not have are removed from its range."""
    days = [1.6e9 + n * DAY_S for n in range(10)]
    store.write_bars(frame(days), "X", "MINE")
    store.write_bars(frame([days[2], days[5]], 20.0), "X", "MINE")
    read = store.read_bars("X", "MINE", n_bars=100)
    assert read["close"].tolist() == [10.0] * 2 + [20.0] * 2 + [10.0] * 4
    (series,) = store.series()
    assert series.bars == 8


def test_documents(store):
    """Documents are kept, listed, counted and removed; long ones in parts."""
    data = {"text": "é'\\\"\n" * 20_000, "list": [1, 2.5, None]}
    store.write_cache("NASDAQ:AAPL", "quote", data, "1D")
    store.write_cache("NASDAQ:AAPL", "quote", {"short": True})
    assert store.read_cache("NASDAQ:AAPL", "quote", "1D") == data
    store.write_cache("NASDAQ:AAPL", "quote", data | {"more": 1}, "1D")
    assert store.read_cache("NASDAQ:AAPL", "quote", "1D") == data | {"more": 1}
    assert store.read_cache("NASDAQ:AAPL", "quote") == {"short": True}
    assert store.read_cache("NASDAQ:AAPL", "nothing") is None
    assert store.stats().documents == 2
    assert store.clear("AAPL", "NASDAQ") == 2
    assert store.read_cache("NASDAQ:AAPL", "quote", "1D") is None


def test_removed_series_leave_no_tables(tv, tdengine):
    """`clear` and `evict` drop the tables of bars and of the record."""
    tv.get_hist("AAPL", "NASDAQ", n_bars=20)
    tv.get_hist("MSFT", "NASDAQ", n_bars=20)
    assert tv.store.clear("AAPL", "NASDAQ") == 20
    assert len(tdengine.run("SELECT DISTINCT TBNAME FROM tv.bars")) == 1
    assert tv.store.evict(0) == 20
    assert tdengine.run("SELECT DISTINCT TBNAME FROM tv.bars") == []
    assert tdengine.run("SELECT DISTINCT TBNAME FROM tv.series") == []
    with pytest.raises(DataNotFoundError):
        tv.store.read_bars("AAPL", "NASDAQ")


def test_many_bars_go_in_several_statements(store, tdengine):
    """Each statement stays below TDengine's limit of 1 MB, and each answer below ours of 8."""
    times = [1.5e9 + n * 60.0 for n in range(45_000)]
    assert store.write_bars(frame(times), "X", "MINE", Interval.in_1_minute) == len(times)
    assert max(map(len, tdengine.statements)) < 1_048_576
    read = store.read_bars("X", "MINE", Interval.in_1_minute, n_bars=len(times))
    assert [moment.timestamp() for moment in read.index] == times


def test_answers_may_be_cut_short_by_the_server(store, tdengine):
    """A limit on the rows of an answer (restfulRowLimit) makes no hole."""
    times = [1.6e9 + n * DAY_S for n in range(100)]
    store.write_bars(frame(times), "X", "MINE")
    tdengine.row_limit = 7
    assert len(store.read_bars("X", "MINE", n_bars=60)) == 60
    start, end = pd.Timestamp(times[3], unit="s"), pd.Timestamp(times[80], unit="s")
    read = store.read_bars("X", "MINE", start_date=start, end_date=end, timezone="UTC")
    assert len(read) >= 77


def test_bars_from_before_1970(store):
    """Times are signed: the oldest bar that a frame can hold is stored."""
    times = [-9_214_560_000.0, -86400.0, 0.0, 86400.0]
    store.write_bars(frame(times), "X", "MINE")
    read = store.read_bars("X", "MINE", n_bars=10)
    assert [moment.timestamp() for moment in read.index] == times


def test_health_names_the_server(store):
    """`health_check` and `stats` say where the bars are, without the password."""
    health, stats = store.health_check(), store.stats()
    assert health.ok
    assert health.server_version == "3.3.6.0"
    assert (stats.engine, health.engine) == ("tdengine", "tdengine")
    assert stats.size_bytes > 0
    assert "taosdata" not in f"{health} {stats} {store!r} {store.url}"


@pytest.mark.parametrize(
    "url",
    [
        "tdengine://root:taosdata@host:6041",
        "tdengine://root:taosdata@host:6041/a-b",
        "tdengine://root:taosdata@host:6041/x`; DROP",
        "tdengine://host/tv",
        "tdengine://root@host/tv",
        "tdengine://root:taosdata@host:port/tv",
    ],
)
def test_url_that_cannot_be_used(url):
    """A URL needs a user, a password, a host, and a database of letters and digits."""
    with pytest.raises(ConfigurationError) as caught:
        BarStore(url)
    assert "taosdata" not in str(caught.value)


def test_damaged_store_is_not_moved(store):
    """A server's database stays where it is: the error says what to do."""
    with pytest.raises(StoreError, match="TV_STORE_URL"):
        store.archive.engine.move_aside(StoreError("made up"))
