"""Intervals as text, through every call that has an interval."""

import pandas as pd
import pytest

from tests.feed import Bars, LiveServer, live, until
from tests.loopback import NOW, expected, frame_of, impatient
from tvDatafeed import EntitlementError, Interval, InvalidIntervalError, Seis, TvDatafeed
from tvDatafeed.interval import CustomInterval, as_interval
from tvDatafeed.store import BarStore, StoreConsumer
from tvDatafeed.testing import Account, FakeTradingView

ALICE = Account("alice", "open sesame", plan="pro_premium")
CUSTOM = ["2m", "20m", "65m", "90m", "6h", "8h", "12h", "24h", "2D", "3D", "2W"]
NOT_TEXTS = ["1min", "7m", "15M", ""]
# The loopback market has a path of prices, and beside it each length has arithmetic of its own.
HOW = {"open": "first", "close": "last"}


@pytest.fixture
def paid():
    """A loopback TradingView with an account whose plan has every length of a bar."""
    with FakeTradingView(clock=lambda: NOW, accounts=(ALICE,)) as running:
        yield running


@pytest.fixture
def client(paid):
    """A client of that account."""
    with TvDatafeed(auth_token=paid.issue_token("alice"), config=impatient(paid)) as tv:
        yield tv


@pytest.fixture
def store(tmp_path):
    """An empty store."""
    with BarStore(tmp_path / "bars.db") as empty:
        yield empty


def asked(server):
    """The intervals that were requested from a server."""
    return [m.params[4] for m in server.received if m.method == "create_series"]


@pytest.mark.parametrize("text", ["1h", "60", "1H", "daily", "1mo", "15m"])
def test_a_text_gives_the_bars_of_its_member(server, tv, text):
    """In `get_hist` and `get_hist_multi`; what is sent is the member's value."""
    member = Interval(text)
    frame = tv.get_hist("AAPL", "NASDAQ", text, 20, timezone="UTC")
    pd.testing.assert_frame_equal(frame, expected(server, "NASDAQ:AAPL", member, 20))
    frames = tv.get_hist_multi(["AAPL"], "NASDAQ", text, 20, timezone="UTC")
    pd.testing.assert_frame_equal(frames["AAPL"], frame)
    assert asked(server) == [member.value, member.value]


@pytest.mark.parametrize("text", NOT_TEXTS)
def test_a_text_that_fits_nothing_is_refused(server, tv, store, text):
    """Every call refuses it with the nearest ones, before anything is sent."""
    calls = [
        lambda: tv.get_hist("AAPL", "NASDAQ", text),
        lambda: tv.get_hist_multi(["AAPL"], "NASDAQ", text, on_error="collect"),
        lambda: Seis("AAPL", "NASDAQ", text),
        lambda: store.read_bars("AAPL", "NASDAQ", text),
        lambda: store.coverage("AAPL", "NASDAQ", text),
        lambda: store.clear("AAPL", "NASDAQ", text),
        lambda: store.warm(tv, ["AAPL"], "NASDAQ", text),
        lambda: store.warm(tv, ["AAPL"], "NASDAQ", ["1h", text]),
    ]
    with live(server) as tvl:
        calls += [
            lambda: tvl.get_hist("AAPL", "NASDAQ", text),
            lambda: tvl.new_seis("AAPL", "NASDAQ", text),
            lambda: tvl.subscribe("AAPL", "NASDAQ", text, print),
        ]
        for call in calls:
            with pytest.raises(InvalidIntervalError) as caught:
                call()
            assert len(caught.value.nearest) == 3
    assert server.accepted == 0


@pytest.mark.parametrize("text", CUSTOM)
@pytest.mark.parametrize("symbol", ["BINANCE:BTCUSDT", "NASDAQ:MSFT", "NSE:TCS"])
@pytest.mark.slow
def test_a_length_without_a_member_gives_its_bars(paid, client, symbol, text):
    """The last bars, and those of a range, for markets with sessions and one without."""
    frame = client.get_hist(symbol, interval=text, n_bars=120, timezone="UTC")
    pd.testing.assert_frame_equal(frame, expected(paid, symbol, as_interval(text), 120))
    start, end = frame.index[10].to_pydatetime(), frame.index[-10].to_pydatetime()
    part = client.get_hist(symbol, interval=text, start_date=start, end_date=end, timezone="UTC")
    pd.testing.assert_frame_equal(part, frame[10:-9])
    closed = client.get_hist(symbol, interval=text, n_bars=5, timezone="UTC", closed_only=True)
    is_over = frame.attrs["last_bar_closed"]
    pd.testing.assert_frame_equal(closed, frame[-5:] if is_over else frame[-6:-1])


@pytest.mark.slow
def test_pages_of_a_length_without_a_member(paid, client):
    """The last bars, and those since a moment, over more than one page."""
    frame = client.get_hist("BTCUSDT", "BINANCE", "2m", 12_000, timezone="UTC")
    wanted = expected(paid, "BINANCE:BTCUSDT", as_interval("2m"), 12_000)
    pd.testing.assert_frame_equal(frame, wanted)
    assert frame.attrs["complete"]
    start = frame.index[1000].to_pydatetime()
    part = client.get_hist("BTCUSDT", "BINANCE", "2m", start_date=start, timezone="UTC")
    pd.testing.assert_frame_equal(part, frame[1000:])


def test_longer_bars_of_days_are_trading_days(client):
    """``dates="trading"`` and dates without a time mean what they mean for daily bars."""
    options = {"interval": "2D", "dates": "trading", "timezone": "UTC"}
    frame = client.get_hist("CME_MINI:ES1!", n_bars=5, **options)
    assert frame.index.tz is None
    assert (frame.index == frame.index.normalize()).all()
    day = f"{frame.index[2]:%Y-%m-%d}"
    one = client.get_hist("CME_MINI:ES1!", start_date=day, end_date=day, **options)
    pd.testing.assert_frame_equal(one, frame[2:3])


@pytest.mark.parametrize(
    ("long", "short", "rule"),
    [("6h", "1h", "6h"), ("8h", "1h", "8h"), ("12h", "4h", "12h"), ("2m", "1m", "2min")],
)
def test_long_bars_are_short_ones_taken_together(client, long, short, rule):
    """Where the market never closes, bars begin at midnight and contain the shorter ones."""
    bars = client.get_hist("BINANCE:BTCUSDT", interval=long, n_bars=20, timezone="UTC")
    parts = client.get_hist("BINANCE:BTCUSDT", interval=short, n_bars=400, timezone="UTC")
    together = parts.resample(rule).agg(HOW).loc[bars.index[0] :]
    pd.testing.assert_frame_equal(bars[list(HOW)], together, check_freq=False)


@pytest.mark.parametrize(
    ("long", "times"), [("6h", ["09:30", "15:30"]), ("8h", ["09:30"]), ("12h", ["09:30"])]
)
def test_long_bars_begin_with_the_session(client, long, times):
    """Where there are sessions, a bar begins when one opens and ends when it closes."""
    bars = client.get_hist("MSFT", "NASDAQ", long, 10, timezone="exchange")
    parts = client.get_hist("MSFT", "NASDAQ", "30m", 200, timezone="exchange")
    assert sorted({f"{time:%H:%M}" for time in bars.index}) == times
    parts = parts[parts.index >= bars.index[0]]
    begins = bars.index[bars.index.searchsorted(parts.index, "right") - 1]
    together = parts.groupby(begins).agg(HOW).loc[bars.index]
    pd.testing.assert_frame_equal(bars[list(HOW)], together, check_names=False, check_freq=False)


def test_a_plan_without_custom_lengths(server, tv):
    """TradingView's refusal is an EntitlementError with its reason; 2m is for everyone."""
    with pytest.raises(EntitlementError, match="custom_resolution"):
        tv.get_hist("BTCUSDT", "BINANCE", "6h")
    frame = tv.get_hist("BTCUSDT", "BINANCE", "2m", 5, timezone="UTC")
    pd.testing.assert_frame_equal(frame, expected(server, "BINANCE:BTCUSDT", as_interval("2m"), 5))


def test_a_seis_has_the_interval_of_its_text():
    """Equal Seises are equal however their interval was written; what is not a text is kept."""
    hour = Seis("AAPL", "NASDAQ", Interval.in_1_hour)
    assert {Seis("AAPL", "NASDAQ", text) for text in ("1h", "60", "1H")} == {hour}
    assert Seis("AAPL", "NASDAQ", "1h").interval is Interval.in_1_hour
    custom = Seis("AAPL", "NASDAQ", "6h")
    assert custom.interval == CustomInterval("360")
    assert (custom.interval.value, custom.interval.seconds) == ("360", 21600)
    assert repr(custom) == 'Seis("AAPL","NASDAQ","6h")'
    assert str(custom) == "symbol='AAPL',exchange='NASDAQ',interval='6h'"
    assert custom == Seis("AAPL", "NASDAQ", custom.interval) != hour


@pytest.mark.parametrize(
    ("symbol", "text", "step_s"),
    [
        ("BITSTAMP:BTCUSD", "2m", 60),
        ("BITSTAMP:BTCUSD", "6h", 7200),
        ("BITSTAMP:BTCUSD", "2D", 86400),
        ("NASDAQ:MSFT", "6h", 7200),
    ],
)
@pytest.mark.slow
def test_live_bars_of_a_length_without_a_member(store, symbol, text, step_s):
    """Each closed bar comes once and in order, by the clock too, and goes into a store."""
    exchange, name = symbol.split(":")
    interval = as_interval(text)
    with LiveServer(accounts=(ALICE,)) as server, live(server) as tvl:

        def closed():
            """The market's own bars that are over, from the first one that was delivered on."""
            market = server.market.bars(symbol, interval.value, 20, server.now)
            ends = [server.market.bar_close_time(symbol, interval.value, b.time) for b in market]
            is_over = [server.now > end + 1 for end in ends]
            return frame_of(market, symbol)[is_over].loc[bars.opens[0] :]

        tvl.token = server.issue_token("alice")
        bars = Bars()
        consumer = tvl.subscribe(name, exchange, text, bars)
        assert consumer.seis.interval == interval
        stored = tvl.new_consumer(consumer.seis, StoreConsumer(store))
        assert bars.wait(1)
        while len(closed()) < 6:
            server.move(step_s)
            assert bars.wait(len(closed()))
        assert until(lambda: stored.delivered == consumer.delivered)
        told, wanted = pd.concat(bars.frames), closed()
    pd.testing.assert_frame_equal(told, wanted)
    kept = store.read_bars(name, exchange, text, n_bars=99, timezone="UTC")
    pd.testing.assert_frame_equal(kept, wanted, check_freq=False)


def test_polling_of_a_length_without_a_member():
    """A series that is polled is requested again when its bar of two minutes is over."""
    threads = {"live_mode": "poll", "retry_sleep": 0.05}
    # A second before the end of a bar.
    with LiveServer(NOW - 1) as server, live(server, threads=threads) as tvl:
        bars = Bars()
        tvl.subscribe("BTCUSD", "BITSTAMP", "2m", bars)
        assert bars.wait(1)
        server.move(2)
        assert bars.wait(2)
        market = server.market.bars("BITSTAMP:BTCUSD", "2", 3, server.now)
    assert bars.opens == list(frame_of(market, "BITSTAMP:BTCUSD").index[:2])


@pytest.mark.parametrize("text", ["1h", "6h", "2D"])
def test_a_store_keeps_texts(paid, client, store, text):
    """Warm, read, write, coverage and clear; a second request asks for nothing that is there."""
    done = store.warm(client, "BTCUSDT", "BINANCE", text, 50)
    assert done["BTCUSDT"]["error"] is None
    (series,) = store.series()
    assert series.interval == as_interval(text).value
    frame = store.read_bars("BTCUSDT", "BINANCE", text, 20, timezone="UTC")
    whole = expected(paid, "BINANCE:BTCUSDT", as_interval(text), 21)
    pd.testing.assert_frame_equal(frame, whole[:-1])
    ((_first, last),) = store.coverage("BTCUSDT", "BINANCE", text)
    assert last >= frame.index[-1]
    assert store.write_bars(frame, "MINE", "OWN", text) == 20
    pd.testing.assert_index_equal(
        store.read_bars("MINE", "OWN", text, 20, timezone="UTC").index, frame.index
    )
    assert store.clear("MINE", "OWN", text) == 20
    assert store.clear("BTCUSDT", "BINANCE", "30m") == 0


def test_a_store_answers_for_a_length_without_a_member(paid, client, store):
    """What is stored is not asked for again, and the answer is the same."""
    tv = TvDatafeed(auth_token=client.token, config=impatient(paid), store=store)
    with tv:
        first = tv.get_hist("MSFT", "NASDAQ", "6h", 200, timezone="UTC")
        again = tv.get_hist("MSFT", "NASDAQ", "6h", 200, timezone="UTC")
        only = tv.get_hist("MSFT", "NASDAQ", "6h", 200, timezone="UTC", store="only")
    pd.testing.assert_frame_equal(first, expected(paid, "NASDAQ:MSFT", as_interval("6h"), 200))
    pd.testing.assert_frame_equal(again, first)
    pd.testing.assert_frame_equal(only, first)
    counts = [m.params[5] for m in paid.received if m.method == "create_series"]
    assert max(counts[1:], default=0) < 100
