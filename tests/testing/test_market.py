"""The made-up market: what holds for every bar, and a few numbers that must never drift."""

import time
from datetime import date, datetime, timezone
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.testing.bars import intervals, ohlc_is_ordered, unhurried
from tvDatafeed.testing.market.market import LISTINGS, Listing, Market, MarketBar

NOW = 1_787_240_000  # 2026-08-20, a Thursday: 11:33 in New York
MARKET = Market()

symbols = st.sampled_from(MARKET.symbols)
counts = st.integers(1, 60)
moments = st.floats(-250_000_000, 2_200_000_000)


@pytest.mark.parametrize(
    ("symbol", "interval", "now", "expected"),
    [
        (
            "NASDAQ:AAPL",
            "1D",
            NOW,
            [
                (1787146200, 221.03, 221.29, 219.74, 221.13, 16613460.0),
                (1787232600, 221.33, 221.72, 221.0, 221.72, 9898019.0),
            ],
        ),
        (
            "BINANCE:BTCUSDT",
            "1",
            NOW,
            [
                (1787239920, 68690.79, 68703.63, 68629.58, 68632.94, 15.98285432),
                (1787239980, 68632.94, 68645.19, 68632.94, 68645.19, 4.04668422),
            ],
        ),
        ("SP:SPX", "1W", -200_000_000, [(-200399400, 5355.86, 5374.01, 5288.74, 5290.98, None)]),
        (
            "NSE:NIFTY1!",
            "1M",
            1_700_000_000,
            [(1698810300, 18960.15, 19091.75, 18241.45, 18241.45, 49888807.0)],
        ),
        (
            "KRX:005930",
            "45",
            1_700_000_000,
            [(1699941600, 103204.0, 103232.0, 103122.0, 103157.0, 1584826.0)],
        ),
    ],
)
def test_pinned_numbers(symbol, interval, now, expected):
    """These bars are the same to the last bit on every machine, forever."""
    assert MARKET.bars(symbol, interval, len(expected), now) == expected


@unhurried
@given(symbols, intervals, counts, moments)
def test_every_bar_is_possible(symbol, interval, n, now):
    """Times ascend, nothing lies in the future, prices are ordered whole ticks."""
    listing = MARKET.find(symbol)
    bars = MARKET.bars(symbol, interval, n, now)
    times = [bar.time for bar in bars]
    assert len(bars) <= n
    assert times == sorted(set(times))
    assert all(second <= now for second in times)
    for bar in bars:
        assert isinstance(bar, MarketBar)
        assert ohlc_is_ordered(bar)
        for price in bar[1:5]:
            assert price == round(price * listing.pricescale) / listing.pricescale
            assert round(price * listing.pricescale) % listing.minmov == 0
        if listing.volume is None:
            assert bar.volume is None
        else:
            assert bar.volume > 0
            assert bar.volume == round(bar.volume, 8 if listing.volume == "fractional" else 0)


@unhurried
@given(symbols, intervals, counts, counts, moments)
def test_fewer_bars_are_the_end_of_more(symbol, interval, fewer, more, now):
    """The last n bars do not depend on how many were requested."""
    fewer, more = sorted((fewer, more))
    bars = MARKET.bars(symbol, interval, more, now)
    assert MARKET.bars(symbol, interval, fewer, now) == bars[-fewer:]


@unhurried
@given(symbols, intervals, counts, moments, st.floats(0, 20))
def test_closed_bars_never_change(symbol, interval, n, now, bars_later):
    """A bar that has closed is the same at any later time."""
    bars = MARKET.bars(symbol, interval, n, now)
    if not bars:
        return
    end = MARKET.bar_close_time(symbol, interval, bars[-1].time) + 1
    closed = bars if end <= now else bars[:-1]
    later_s = bars_later * (end - bars[-1].time - 1)
    later = MARKET.bars(symbol, interval, n + 25, now + later_s)
    assert set(closed) <= set(later)


@unhurried
@given(symbols, intervals, moments, st.lists(st.floats(0, 1), min_size=2, max_size=12))
def test_a_forming_bar_only_widens(symbol, interval, now, parts):
    """While a bar forms its open stays, high, low and volume only grow, up to the closed bar."""
    bars = MARKET.bars(symbol, interval, 1, now)
    if not bars:
        return
    begin = bars[0].time
    end = MARKET.bar_close_time(symbol, interval, begin) + 1
    moments = [begin, *sorted(begin + part * (end - begin) for part in parts)]
    states = [MARKET.bars(symbol, interval, 1, moment)[0] for moment in moments if moment < end - 1]
    # A second after its end the bar is closed, whatever has begun since.
    final = [bar for bar in MARKET.bars(symbol, interval, 3, end) if bar.time == begin]
    states += final
    assert final
    if len(states) > 1:
        assert states[0].open == states[0].high == states[0].low == states[0].close
    for earlier, later in pairwise(states):
        assert (later.time, later.open) == (earlier.time, earlier.open)
        assert later.high >= earlier.high
        assert later.low <= earlier.low
        assert (later.volume or 0) >= (earlier.volume or 0)


@unhurried
@given(intervals, moments)
def test_bars_without_a_pause_join(interval, now):
    """Around the clock each bar opens at the price at which the one before it closed."""
    bars = MARKET.bars("BITSTAMP:BTCUSD", interval, 30, now)
    for earlier, later in pairwise(bars):
        assert later.open == earlier.close
        assert MARKET.bar_close_time("BITSTAMP:BTCUSD", interval, earlier.time) == later.time


@unhurried
@given(symbols, intervals, moments)
def test_a_bar_ends_after_it_begins(symbol, interval, now):
    """A bar closes after its open, and not after the next one opens."""
    bars = MARKET.bars(symbol, interval, 5, now)
    closes = [MARKET.bar_close_time(symbol, interval, bar.time) for bar in bars]
    assert all(bar.time <= close for bar, close in zip(bars, closes, strict=True))
    assert all(a <= b.time for a, b in zip(closes, bars[1:], strict=False))


@unhurried
@given(symbols, moments)
def test_the_price_is_one_on_all_intervals(symbol, now):
    """Bars that end at the same moment close at the same price."""
    listing = MARKET.find(symbol)
    days = MARKET.bars(symbol, "1D", 2, now)
    if len(days) == 2 and listing.session != "24x7":
        closed = MARKET.bar_close_time(symbol, "1D", days[0].time) + 1
        closes = {MARKET.bars(symbol, each, 1, closed)[0].close for each in ("1", "5", "15", "1D")}
        assert closes == {days[0].close}


@pytest.mark.parametrize(
    ("symbol", "interval", "bar_time", "closes"),
    [
        # Recorded: AAPL's day and SPX's day end a second early, RUT's minute does not.
        ("NASDAQ:AAPL", "1D", 1787232600, 1787255999),
        ("SP:SPX", "1D", 1686317400, 1686341399),
        ("TVC:RUT", "1", 1686340740, 1686340800),
        ("NASDAQ:AAPL", "1", 1787255940, 1787255999),
        ("NASDAQ:AAPL", "2H", 1787254200, 1787255999),
        ("NASDAQ:AAPL", "2H", 1787232600, 1787239800),
        ("BINANCE:BTCUSDT", "1", 1663050540, 1663050600),
        ("BINANCE:BTCUSDT", "1D", 1787184000, 1787270400),
        # The week of the 20th ends on Friday the 21st at 16:00 in New York.
        ("NASDAQ:AAPL", "1W", 1786973400, 1787342399),
    ],
)
def test_bar_close_time(symbol, interval, bar_time, closes):
    """A bar ends with the next one's first second, or with the session's last."""
    assert MARKET.bar_close_time(symbol, interval, bar_time) == closes


def test_the_recorded_week_has_the_recorded_times():
    """AAPL's daily bars stand where TradingView put them on 2026-08-21."""
    assert [bar.time for bar in MARKET.bars("NASDAQ:AAPL", "1D", 5, NOW)] == [
        1786714200,
        1786973400,
        1787059800,
        1787146200,
        1787232600,
    ]


def test_a_closed_market_shows_its_last_session():
    """On a Saturday the last bar of a stock is Friday's, complete, and stays as it is."""
    saturday = datetime(2026, 8, 22, 12, tzinfo=timezone.utc).timestamp()
    for interval in ("1", "2H", "1D", "1W"):
        bars = MARKET.bars("NASDAQ:AAPL", interval, 2, saturday)
        assert bars == MARKET.bars("NASDAQ:AAPL", interval, 2, saturday + 86_400)
    assert MARKET.bars("NASDAQ:AAPL", "1D", 1, saturday)[0].time == 1787319000


def test_the_night_does_not_move_a_weekly_bar():
    """A week that is not over stands still while the market is closed."""
    evening, night = (
        datetime(2026, 8, 20, hour, tzinfo=timezone.utc).timestamp() for hour in (21, 23)
    )
    assert MARKET.bars("NYSE:IBM", "1W", 1, evening) == MARKET.bars("NYSE:IBM", "1W", 1, night)


def test_history_has_a_beginning():
    """Asking for more than there is gives everything since the first day."""
    bars = MARKET.bars("NASDAQ:AAPL", "1D", 20_000, NOW)
    holidays = sorted(MARKET.find("NASDAQ:AAPL").holidays)
    assert len(bars) == np.busday_count("1980-12-12", "2026-08-21", holidays=holidays)
    assert bars[0].time == datetime(1980, 12, 12, 14, 30, tzinfo=timezone.utc).timestamp()
    assert MARKET.bars("NASDAQ:AAPL", "1D", 5, bars[0].time - 1) == []
    with pytest.raises(LookupError, match="NASDAQ:AAPL has no 1D bar"):
        MARKET.bar_close_time("NASDAQ:AAPL", "1D", bars[0].time - 1)


@pytest.mark.parametrize("n", [0, -3])
def test_no_bars_asked_for(n):
    """A count below one gives no bars."""
    assert MARKET.bars("NASDAQ:AAPL", "1D", n, NOW) == []


def test_each_listing_has_numbers_of_its_own():
    """Two listings of one calendar and base price do not move together."""
    market = Market(
        (Listing("A:B", "", 100.0, date(2020, 1, 1)), Listing("A:C", "", 100.0, date(2020, 1, 1)))
    )
    first, second = (market.bars(symbol, "1H", 50, NOW) for symbol in market.symbols)
    assert not set(first) & set(second)


def test_a_market_moves_believably():
    """AAPL moves 2 to 10 percent in a typical month and trades near its base price in 2026."""
    bars = MARKET.bars("NASDAQ:AAPL", "1M", 400, NOW)
    moves = sorted(abs(bar.close / bar.open - 1) for bar in bars)
    assert 0.02 < moves[len(moves) // 2] < 0.1
    newest = MARKET.bars(
        "NASDAQ:AAPL", "1D", 1, datetime(2026, 1, 1, tzinfo=timezone.utc).timestamp()
    )
    assert newest[0].close == pytest.approx(270, rel=0.05)


def test_unknown_symbols_and_intervals_are_refused():
    """A symbol is matched as a whole, an interval by TradingView's grammar."""
    assert MARKET.find("AAPL") is None
    assert MARKET.find("nasdaq:aapl") is None
    with pytest.raises(KeyError):
        MARKET.bars("NASDAQ:NOPE", "1D", 1, NOW)
    with pytest.raises(ValueError, match="Invalid interval '15m'"):
        MARKET.bars("NASDAQ:AAPL", "15m", 1, NOW)


def test_the_shipped_listings():
    """The market trades these symbols and finds each by its name."""
    market = Market()
    assert set(market.symbols) >= {
        "BINANCE:BTCUSDT",
        "BINANCE:DOGEUSDT",
        "BITSTAMP:BTCUSD",
        "KRX:005930",
        "NASDAQ:AAPL",
        "NASDAQ:MSFT",
        "NSE:NIFTY",
        "NSE:NIFTY1!",
        "NSE:RELIANCE",
        "NYSE:BRK.B",
        "NYSE:IBM",
        "SP:SPX",
        "TVC:RUT",
    }
    assert [market.find(symbol) for symbol in market.symbols] == list(LISTINGS)


@pytest.mark.parametrize("listing", LISTINGS, ids=lambda listing: listing.symbol)
def test_every_listing_describes_itself(listing):
    """The description of a symbol agrees with its bars."""
    info = listing.info()
    assert (info["pro_name"], info["description"]) == (listing.symbol, listing.description)
    assert info["full_name"].endswith(":" + info["name"])
    assert ("session_holidays" in info) == (info["session"] != "24x7")
    bar = Market().bars(listing.symbol, "1D", 1, NOW)[0]
    assert info["visible_plots_set"] == ("ohlc" if bar.volume is None else "ohlcv")
    assert listing.info() == info
    assert listing.info() is not info


def test_a_stock_is_described_as_recorded():
    """AAPL comes from another feed, with holidays from 2000 on, as in the recording."""
    info = MARKET.find("NASDAQ:AAPL").info()
    recorded = {
        "currency_code": "USD",
        "source_id": "BATS",
        "subsession_id": "regular",
        "country": "US",
        "pro_perm": "nasdaq",
        "allowed_adjustment": "any",
        "name": "AAPL",
        "full_name": "BATS:AAPL",
        "pro_name": "NASDAQ:AAPL",
        "base_name": ["NASDAQ:AAPL"],
        "pricescale": 100,
        "minmov": 1,
        "session": "0930-1600",
        "type": "stock",
        "typespecs": ["common"],
        "listed_exchange": "NASDAQ",
        "legs": ["BATS:AAPL"],
        "timezone": "America/New_York",
        "has_adjustment": True,
        "visible_plots_set": "ohlcv",
    }
    assert {key: info[key] for key in recorded} == recorded
    assert info["session_holidays"].startswith("20000117,20000221,20000421,20000529,20000704")


def test_a_coin_is_described_as_recorded():
    """A pair of currencies names its base and trades around the clock."""
    info = MARKET.find("BITSTAMP:BTCUSD").info()
    assert (info["base_currency"], info["base_currency_id"]) == ("BTC", "XTVCBTC")
    assert (info["type"], info["session"], info["timezone"]) == ("spot", "24x7", "Etc/UTC")
    assert info["volume_type"] == "base"


@pytest.mark.parametrize(("n", "limit_s"), [(5_000, 0.6), (40_000, 4.0)])
@pytest.mark.slow
def test_charts_are_quick(n, limit_s):
    """A chart takes a small part of these times of the processor."""
    begin = time.process_time()
    assert len(Market().bars("BINANCE:BTCUSDT", "1", n, NOW)) == n
    assert time.process_time() - begin < limit_s


@pytest.mark.parametrize(("interval", "days"), [("2D", 2), ("3D", 3), ("2W", 14)])
def test_several_days_are_one_bar(interval, days):
    """Each holds the days of the calendar that it spans, whatever the moment it is asked at."""
    longer = MARKET.bars("NASDAQ:AAPL", interval, 30, NOW)
    daily = MARKET.bars("NASDAQ:AAPL", "1D", 30 * days, NOW)
    for bar, following in pairwise(longer):
        inside = [day for day in daily if bar.time <= day.time < following.time]
        assert 1 <= len(inside) <= days
        assert (bar.open, bar.close) == (inside[0].open, inside[-1].close)
        assert following.time - bar.time < (days + 4) * 86_400
    assert MARKET.bars("NASDAQ:AAPL", interval, 10, longer[-3].time)[-1].time == longer[-3].time
