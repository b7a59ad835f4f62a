"""What every store does, whatever keeps its bars: the public API, reading through, and faults."""

import threading
from datetime import datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest

from tests.loopback import NOW, expected, impatient
from tests.store.bars import FIRST_S, MINUTE_S, assert_stored, bars
from tvDatafeed import DataNotFoundError, DataValidationError, Interval, TvDatafeed
from tvDatafeed.store import BarStore
from tvDatafeed.testing import FakeTradingView, MarketClock, ReplaceBars

MINUTE = Interval.in_1_minute
DAILY = Interval.in_daily
SYMBOL = "NASDAQ:AAPL"


def moment(minutes):
    """When a made-up bar opens."""
    return datetime.fromtimestamp(FIRST_S + minutes * MINUTE_S, timezone.utc)


def write(store, frame, symbol="TEST:A", interval=MINUTE, **key):
    return store.write_bars(frame, symbol, interval=interval, **key)


def read(store, symbol="TEST:A", interval=MINUTE, **how):
    return store.read_bars(symbol, interval=interval, timezone="UTC", **how)


@pytest.fixture
def market():
    """A loopback TradingView whose market moves by steps."""
    with FakeTradingView(clock=MarketClock(NOW, speed=0)) as running:
        yield running


@pytest.fixture
def client(market, store):
    """A client of it with a store."""
    with TvDatafeed(config=impatient(market), store=store) as tv:
        yield tv


class Questions:
    """The requests of a server since the last call."""

    def __init__(self, server):
        self._server, self._seen = server, 0

    def __call__(self):
        received = self._server.received[self._seen :]
        self._seen += len(received)
        return [m.params[5] for m in received if m.method == "create_series"]


@pytest.fixture
def questions(market):
    return Questions(market)


# Bars


@pytest.mark.parametrize("count", [1, 1023, 1024, 1025, 5000])
def test_what_is_written_is_read(store, count):
    """Each number comes back bit for bit, whatever the number of blocks."""
    frame = bars(count)
    assert write(store, frame) == count
    assert_stored(read(store, n_bars=count), frame)
    assert_stored(read(store, n_bars=1), frame[-1:])


def test_numbers_keep_their_bits(store):
    """Extreme prices, a missing volume and an early year survive."""
    frame = bars(4)
    frame["open"] = [5e-324, 1e14, 0.1 + 0.2, 1 / 3]
    frame["low"] = [0.0, -1e14, -37.63, 1e-9]
    frame["volume"] = [np.nan, 0.0, 2.0**53 + 2, 1e18]
    frame.index = frame.index - pd.Timedelta(days=365 * 54)
    write(store, frame)
    stored = read(store, n_bars=4)
    for column in ("open", "high", "low", "close"):
        assert stored[column].to_numpy().tobytes() == frame[column].to_numpy().tobytes()
    assert list(stored["volume"])[1:] == list(frame["volume"])[1:]


def test_range_is_read(store):
    """Dates select bars, both ends included; `days` counts back from now."""
    write(store, bars(3000))
    stored = read(store, start_date=moment(1000), end_date=moment(2047))
    assert_stored(stored, bars(1048, 1000))
    assert stored.attrs.get("complete", True)
    with pytest.raises(DataNotFoundError):
        read(store, days=1)


def test_append_grows_a_series(store):
    """Bars that are written one by one read as those that are written at once."""
    for first in range(20):
        write(store, bars(1, first))
    write(store, bars(2100, 20))
    write(store, bars(1, 2120))
    assert_stored(read(store, n_bars=9999), bars(2121))


def test_overlapping_writes_merge(store):
    """Earlier, later and overlapping pieces become one series; the newest values win."""
    write(store, bars(1000, 3000))
    write(store, bars(1000, 1000))
    write(store, bars(1500, 1750, number=7))
    stored = read(store, n_bars=9999)
    whole = pd.concat([bars(750, 1000), bars(1500, 1750, number=7), bars(750, 3250)])
    assert_stored(stored, whole)


def test_bars_missing_in_a_frame_are_removed(store):
    """From its first to its last bar a frame is all there is."""
    write(store, bars(100))
    thin = bars(100)[::3]
    write(store, thin)
    assert_stored(read(store, n_bars=999), thin)


def test_coverage_has_holes(store):
    """Ranges are disjoint, ascending and in UTC; what connects them makes one of them."""
    assert store.coverage("TEST:A", interval=MINUTE) == []
    write(store, bars(10))
    write(store, bars(10, 20))
    expected_ranges = [(moment(0), moment(9)), (moment(20), moment(29))]
    assert store.coverage("TEST:A", interval=MINUTE) == expected_ranges
    stored = read(store, n_bars=15)
    assert len(stored) == 15
    assert not stored.attrs["complete"]
    write(store, bars(12, 9))
    assert store.coverage("TEST:A", interval=MINUTE) == [(moment(0), moment(29))]
    assert read(store, n_bars=15).attrs.get("complete", True)


def test_keys_separate_series(store):
    """No field of the key mixes its bars with those of another."""
    keys = [
        {},
        {"extended_session": True},
        {"adjustment": "dividends"},
        {"currency": "EUR"},
        {"backadjusted": True},
        {"fut_contract": 1},
        {"feed": "delayed"},
    ]
    for number, key in enumerate(keys):
        write(store, bars(5, number=number), **key)
    for number, key in enumerate(keys):
        assert_stored(read(store, n_bars=9, **key), bars(5, number=number))
    assert len(store.series()) == len(keys)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda frame: frame[::-1],
        lambda frame: pd.concat([frame, frame[-1:]]),
        lambda frame: frame.assign(open=np.nan),
        lambda frame: frame.assign(close=np.inf),
        lambda frame: frame.set_axis(
            frame.index[:-1].append(pd.DatetimeIndex([pd.Timestamp.now("UTC")])), axis=0
        ),
    ],
    ids=["unsorted", "duplicate", "missing price", "infinite price", "forming"],
)
def test_refused_frame_changes_nothing(store, spoil):
    """Nothing of a frame that is refused is stored."""
    write(store, bars(10))
    with pytest.raises(DataValidationError):
        write(store, spoil(bars(2000, number=5)))
    assert_stored(read(store, n_bars=9999), bars(10))


# Documents


def test_documents(store):
    """A document is JSON by name, replaced by the next one, and too old after some days."""
    document = {"ä": [1, 2.5, None, True], "empty": {}}
    assert store.read_cache("TEST:A", "quote") is None
    store.write_cache("TEST:A", "quote", [1])
    store.write_cache("TEST:A", "quote", document)
    store.write_cache("TEST:A", "quote", "of a day", timeframe="1D")
    assert store.read_cache("TEST:A", "quote") == document
    assert store.read_cache("TEST:A", "quote", "1D") == "of a day"
    assert store.read_cache("TEST:A", "quote", days=1) == document
    assert store.read_cache("TEST:A", "quote", days=0) is None
    assert store.read_cache("TEST:A", "calendar") is None
    assert store.stats().documents == 2


@pytest.mark.parametrize("text", ["'; DROP TABLE series; --", "%s ? %% {0}", "ключ 株", 'a\\b"c'])
def test_names_are_values(store, text):
    """No text in a name is read as SQL or as a place for a value."""
    store.write_cache(text, text, text, timeframe=text)
    assert store.read_cache(text, text, text) == text
    assert store.clear() == 1


# Removal


def test_clear(store):
    """Bars and documents of a symbol, an exchange, an interval or all are removed and counted."""
    for symbol in ("TEST:A", "TEST:B", "OTHER:A"):
        write(store, bars(10), symbol)
        write(store, bars(5), symbol, interval=Interval.in_5_minute)
        store.write_cache(symbol, "quote", 1)
    assert store.clear("TEST:A", interval=Interval.in_5_minute) == 5
    assert store.clear("A", "TEST") == 11
    with pytest.raises(DataNotFoundError):
        read(store, "TEST:A")
    assert store.clear(exchange="OTHER") == 16
    assert store.clear() == 16
    assert store.stats().total_records == 0
    write(store, bars(3))
    assert_stored(read(store, n_bars=9), bars(3))


def test_expire(store):
    """What was used since stays; nothing has not been used for no days."""
    write(store, bars(10))
    store.write_cache("TEST:A", "quote", 1)
    assert store.clear_expired_cache(days=7) == 0
    assert store.clear_expired_cache(days=0) == 11
    assert store.stats().total_records == 0


def test_evict_takes_what_was_used_least_recently(store):
    """Whole series go, the one that was used least recently first."""
    for symbol in ("TEST:A", "TEST:B", "TEST:C"):
        write(store, bars(100), symbol)
    read(store, "TEST:A", n_bars=1)
    assert store.evict(200) == 100
    assert {info.symbol for info in store.series()} == {"TEST:A", "TEST:C"}
    assert store.evict(200) == 0
    assert store.evict(0) == 200


def test_limit_of_bars(store_url):
    """With `max_bars` a write removes others; the series that is written stays."""
    with BarStore(store_url, max_bars=150) as store:
        for symbol in ("TEST:A", "TEST:B", "TEST:C"):
            write(store, bars(100), symbol)
        assert [info.symbol for info in store.series()] == ["TEST:C"]
        write(store, bars(500), "TEST:D")
        assert [(info.symbol, info.bars) for info in store.series()] == [("TEST:D", 500)]


# What a store says of itself


def test_stats(store):
    """Records, symbols and size are those of what was written; hits are those of documents too."""
    write(store, bars(2000), "TEST:A")
    write(store, bars(10), "TEST:B")
    store.write_cache("TEST:B", "quote", 1)
    for _ in range(3):
        read(store, "TEST:A", n_bars=5)
    store.read_cache("TEST:B", "quote")
    stats = store.stats()
    assert (stats.total_records, stats.unique_symbols) == (2011, 2)
    assert (stats.series, stats.documents) == (2, 1)
    assert stats.hits == 4
    assert stats.hot_symbols == [("TEST:A", 3), ("TEST:B", 1)]
    assert stats.size_bytes > 0
    assert (stats.engine, stats.url) == (store.engine, store.url)


def test_series(store):
    """A series lists its key, its range, its bars and its uses."""
    write(store, bars(1500), adjustment="dividends")
    read(store, adjustment="dividends")
    (info,) = store.series()
    assert (info.symbol, info.interval, info.adjustment) == ("TEST:A", "1", "dividends")
    assert (info.first, info.last, info.bars) == (moment(0), moment(1499), 1500)
    assert (info.hits, info.misses, info.generation) == (1, 0, 0)
    assert datetime.now(timezone.utc) - info.last_used < timedelta(minutes=10)


def test_health(store):
    """A store that answers says what answers."""
    health = store.health_check()
    assert health.ok, health.detail
    assert health.engine == store.engine
    assert health.driver_version
    assert health.server_version


def test_another_client_sees_what_is_written(store, store_url):
    """A second store on the same place reads at once what the first has written."""
    with BarStore(store_url) as other:
        write(store, bars(10))
        assert_stored(read(other, n_bars=99), bars(10))
        write(other, bars(10, 10))
        assert_stored(read(store, n_bars=99), bars(20))


def test_store_reopens_after_close(store):
    """A closed store opens again at its next use."""
    write(store, bars(10))
    store.close()
    assert_stored(read(store, n_bars=99), bars(10))


def test_threads_share_a_store(store):
    """Threads read whole frames while others write, and nothing is lost."""
    errors, found = [], []

    def work(number):
        try:
            for step in range(10):
                write(store, bars(100, step * 100, number), f"TEST:S{number}")
                seen = read(store, f"TEST:S{number}", n_bars=99999)
                found.append((seen, bars((step + 1) * 100, 0, number)))
                write(store, bars(10, number * 10), "TEST:SHARED")
        except BaseException as error:  # noqa: BLE001 - shown by the thread that waits
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    # Here, as pandas' own comparison changes the warnings of all threads.
    for seen, written in found:
        assert_stored(seen, written)
    assert_stored(read(store, "TEST:SHARED", n_bars=99), bars(40))


def test_store_is_closed_while_others_use_it(store):
    """A close disturbs no thread that reads or writes: each continues with another connection."""
    errors, found, stopped = [], [], threading.Event()

    def work(number):
        try:
            while not stopped.is_set():
                write(store, bars(10), f"TEST:S{number}")
                found.append(read(store, f"TEST:S{number}", n_bars=99))
        except BaseException as error:  # noqa: BLE001 - shown by the thread that waits
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(30):
        store.close()
        store.series()
    stopped.set()
    for thread in threads:
        thread.join()
    assert errors == []
    for seen in found:
        assert_stored(seen, bars(10))


# Reading through


def test_second_call_asks_for_the_tail(market, client, questions):
    """A second identical call asks for the newest bars alone, and returns the same frame."""
    first = client.get_hist(SYMBOL, n_bars=300, timezone="UTC")
    assert questions() == [300]
    second = client.get_hist(SYMBOL, n_bars=300, timezone="UTC")
    (tail,) = questions()
    assert tail < 30
    pd.testing.assert_frame_equal(first, second)
    pd.testing.assert_frame_equal(second, expected(market, SYMBOL, DAILY, 300))
    assert first.attrs == second.attrs


def test_new_bars_come_with_the_tail(market, client, questions):
    """After some days the tail brings the new bars, and one question is enough."""
    client.get_hist(SYMBOL, n_bars=300)
    market.step(7 * 86400)
    questions()
    frame = client.get_hist(SYMBOL, n_bars=300, timezone="UTC")
    assert len(questions()) == 1
    with TvDatafeed(config=impatient(market)) as plain:
        pd.testing.assert_frame_equal(frame, plain.get_hist(SYMBOL, n_bars=300, timezone="UTC"))


def test_hole_is_filled(market, client, questions):
    """Bars between two stored ranges are requested once, and then known."""
    client.get_hist(SYMBOL, n_bars=50)
    client.get_hist(
        SYMBOL, start_date="2026-01-05", end_date="2026-02-05", timezone="America/New_York"
    )
    frame = client.get_hist(SYMBOL, n_bars=300, timezone="UTC")
    pd.testing.assert_frame_equal(frame, expected(market, SYMBOL, DAILY, 300))
    assert len(client.store.coverage(SYMBOL)) == 1
    questions()
    again = client.get_hist(SYMBOL, n_bars=300, timezone="UTC")
    assert len(questions()) == 1
    pd.testing.assert_frame_equal(again, frame)


def test_correction_is_stored(market, client):
    """A bar that TradingView has corrected since replaces the stored one."""
    frame = client.get_hist(SYMBOL, n_bars=300, timezone="UTC")
    corrected = int(frame.index[-3].timestamp())
    market.correct(SYMBOL, "1D", corrected, close=float(frame["close"].iloc[-3]) + 0.25)
    again = client.get_hist(SYMBOL, n_bars=300, timezone="UTC")
    assert again["close"].iloc[-3] == frame["close"].iloc[-3] + 0.25
    pd.testing.assert_frame_equal(client.store.read_bars(SYMBOL, n_bars=300, timezone="UTC"), again)
    (info,) = client.store.series()
    assert info.generation == 0


def test_restatement_makes_another_generation(market, client):
    """After a split all bars are those of today, offline too."""
    before = client.get_hist(SYMBOL, n_bars=300, timezone="UTC")
    market.inject(ReplaceBars(_halved, times=None))
    after = client.get_hist(SYMBOL, n_bars=300, timezone="UTC")
    assert np.allclose(after["close"], before["close"] / 2)
    stored = client.store.read_bars(SYMBOL, n_bars=300, timezone="UTC")
    pd.testing.assert_frame_equal(stored, after)
    (info,) = client.store.series()
    assert (info.generation, info.bars) == (1, 300)


def test_restatement_in_a_shallow_call_forgets_what_is_deeper(market, client):
    """No bar of before a split is ever returned beside one of after it."""
    client.get_hist(SYMBOL, n_bars=300)
    market.inject(ReplaceBars(_halved, times=None))
    client.get_hist(SYMBOL, n_bars=50)
    with TvDatafeed(config=impatient(market)) as plain:
        right = plain.get_hist(SYMBOL, n_bars=300, timezone="UTC")
    frame = client.get_hist(SYMBOL, n_bars=300, timezone="UTC")
    pd.testing.assert_frame_equal(frame, right)


def _halved(rows):
    return [[row[0], *(price / 2 for price in row[1:5]), *row[5:]] for row in rows]


def test_feeds_are_kept_apart(market, client):
    """Bars of a delayed account are another series than those of a real-time one."""
    client.get_hist(SYMBOL, n_bars=100)
    market.delay(SYMBOL, 900)
    delayed = client.get_hist(SYMBOL, n_bars=100, timezone="UTC")
    assert delayed.attrs["delay_seconds"] == 900
    assert sorted(info.feed for info in client.store.series()) == ["delayed", "realtime"]
    assert len(client.store.read_bars(SYMBOL, n_bars=100, feed="delayed")) > 90


def test_offline(market, client, questions):
    """With "only" nothing is asked, and what is not stored is an error."""
    frame = client.get_hist(SYMBOL, n_bars=100, timezone="UTC")
    questions()
    stored = client.get_hist(SYMBOL, n_bars=100, timezone="UTC", store="only")
    pd.testing.assert_frame_equal(stored, frame)
    with pytest.raises(DataNotFoundError):
        client.get_hist("BINANCE:BTCUSDT", n_bars=10, store="only")
    assert questions() == []


def test_refresh_and_off(client, questions):
    """ "refresh" asks for all bars and stores them; "off" leaves the store alone."""
    client.get_hist(SYMBOL, n_bars=100, store="off")
    assert client.store.series() == []
    client.get_hist(SYMBOL, n_bars=100, store="refresh")
    client.get_hist(SYMBOL, n_bars=100, store="refresh")
    assert questions() == [100, 100, 100]
    assert client.store.series()[0].bars == 100


def test_many_symbols_at_once(market, client, questions):
    """A second batch asks for tails alone."""
    names = ["NASDAQ:AAPL", "BINANCE:BTCUSDT", "SP:SPX"]
    first = client.get_hist_multi(names, n_bars=200, timezone="UTC")
    questions()
    second = client.get_hist_multi(names, n_bars=200, timezone="UTC")
    assert all(count < 110 for count in questions())
    for name in names:
        pd.testing.assert_frame_equal(first[name], second[name])
