"""How bars of the made-up market are shown: adjustments, hours, currencies and contracts."""

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.testing.bars import intervals, ohlc_is_ordered, unhurried
from tvDatafeed.testing import LISTINGS, Market
from tvDatafeed.testing.market.listings import PriceOptions

NOW = 1_787_240_000  # 2026-08-20, a Thursday: 11:33 in New York
NEW_YORK = ZoneInfo("America/New_York")
MARKET = Market()

OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "adjustment": st.sampled_from(["splits", "dividends", "none"]),
        "session": st.sampled_from(["regular", "extended"]),
        "currency": st.sampled_from(["USD", "EUR", "VND", "JPY"]),
        "backadjusted": st.booleans(),
    },
)
SYMBOLS = st.sampled_from(MARKET.symbols)
MOMENTS = st.floats(0, 2_000_000_000)


def local(time, zone=NEW_YORK):
    return dt.datetime.fromtimestamp(time, zone)


def days(symbol, n=12_000, now=NOW, **options):
    """The daily bars by their date in the zone of the exchange."""
    zone = ZoneInfo(MARKET.find(symbol).timezone)
    bars = MARKET.bars(symbol, "1D", n, now, **options)
    return {local(bar.time, zone).date(): bar for bar in bars}


@settings(unhurried, max_examples=200)
@given(SYMBOLS, intervals, st.integers(1, 40), MOMENTS, OPTIONS)
def test_every_bar_is_possible(symbol, interval, n, now, options):
    """However bars are shown, times ascend and prices are ordered whole ticks."""
    listing = MARKET.find(symbol).in_currency(PriceOptions(**options))
    bars = MARKET.bars(symbol, interval, n, now, **options)
    times = [bar.time for bar in bars]
    assert times == sorted(set(times))
    assert all(time <= now for time in times)
    for bar in bars:
        assert ohlc_is_ordered(bar)
        for price in bar[1:5]:
            assert round(price * listing.pricescale) % listing.minmov == 0
        assert (bar.volume is None) == (listing.volume is None)
        assert bar.volume is None or bar.volume > 0


@unhurried
@given(SYMBOLS, intervals, st.integers(1, 20), st.integers(1, 40), MOMENTS, OPTIONS)
def test_fewer_bars_are_the_end_of_more(  # noqa: PLR0917
    symbol, interval, fewer, more, now, options
):
    """The last n bars do not depend on how many were requested, however they are shown."""
    bars = MARKET.bars(symbol, interval, fewer + more, now, **options)
    assert MARKET.bars(symbol, interval, fewer, now, **options) == bars[-fewer:]


def test_splits():
    """Raw prices before a split are a multiple of today's, and volumes a fraction."""
    adjusted, raw = days("NASDAQ:AAPL"), days("NASDAQ:AAPL", adjustment="none")
    for day, ratio in (
        (dt.date(2014, 6, 6), 28),
        (dt.date(2014, 6, 9), 4),
        (dt.date(2020, 8, 28), 4),
        (dt.date(2020, 8, 31), 1),
        (dt.date(2026, 8, 19), 1),
    ):
        assert raw[day].close == pytest.approx(adjusted[day].close * ratio, abs=0.01 * ratio)
        assert raw[day].volume == pytest.approx(adjusted[day].volume / ratio, rel=1e-3)
    month = MARKET.bars("NASDAQ:AAPL", "1M", 200, NOW, adjustment="none")
    (split,) = [bar for bar in month if local(bar.time).date() == dt.date(2020, 8, 3)]
    assert split.high / split.low > 3
    assert ohlc_is_ordered(split)


def test_dividends():
    """Each dividend scales what came before it, and nothing after it."""
    plain, adjusted = days("NASDAQ:MSFT"), days("NASDAQ:MSFT", adjustment="dividends")
    ex_date = dt.date(2026, 2, 9)
    before, after = dt.date(2026, 2, 6), dt.date(2026, 8, 19)
    next_ex_dates = [day for day, _ in MARKET.find("NASDAQ:MSFT").dividends if day > ex_date]
    assert len(next_ex_dates) == 3
    drop = 0.6 / plain[before].close
    ratios = {d: adjusted[d].close / plain[d].close for d in (before, ex_date, after)}
    assert ratios[before] == pytest.approx(ratios[ex_date] * (1 - drop), rel=1e-3)
    assert ratios[ex_date] < ratios[after] < 1
    assert MARKET.bars("NASDAQ:MSFT", "1D", 1, 1_800_000_000) == MARKET.bars(
        "NASDAQ:MSFT", "1D", 1, 1_800_000_000, adjustment="dividends"
    )
    first = min(plain)
    assert adjusted[first].close < plain[first].close
    assert adjusted[first].volume == plain[first].volume


def test_extended_hours():
    """From 04:00 to 20:00 in New York; daily bars and other exchanges stay as they are."""
    bars = MARKET.bars("NASDAQ:AAPL", "30", 200, NOW, session="extended")
    hours = {(local(bar.time).hour, local(bar.time).minute) for bar in bars}
    assert min(hours) == (4, 0)
    assert max(hours) == (19, 30)
    regular = MARKET.bars("NASDAQ:AAPL", "30", 50, NOW)
    assert {bar.time for bar in regular} <= {bar.time for bar in bars}
    assert [b for b in bars if b.time in {x.time for x in regular}] == regular
    for symbol, interval in (("NASDAQ:AAPL", "1D"), ("BINANCE:BTCUSDT", "60"), ("XETR:SAP", "5")):
        shown = MARKET.bars(symbol, interval, 50, NOW, session="extended")
        assert shown == MARKET.bars(symbol, interval, 50, NOW)
    info = MARKET.find("NASDAQ:AAPL").info(PriceOptions(session="extended"))
    assert (info["session"], info["subsession_id"]) == ("0400-2000", "extended")
    assert [s["id"] for s in info["subsessions"]] == [
        "premarket",
        "regular",
        "postmarket",
        "extended",
    ]


def test_currencies():
    """Prices are converted at one rate, volumes and times are not."""
    dollars = MARKET.bars("NASDAQ:AAPL", "1D", 5, NOW)
    euros = MARKET.bars("NASDAQ:AAPL", "1D", 5, NOW, currency="EUR")
    for one, other in zip(dollars, euros, strict=True):
        assert other.close == pytest.approx(one.close / 1.17, abs=0.01)
        assert (other.time, other.volume) == (one.time, one.volume)
    assert MARKET.bars("NASDAQ:AAPL", "1D", 5, NOW, currency="USD") == dollars
    info = MARKET.find("HOSE:VCB").info(PriceOptions(currency="USD"))
    assert (info["currency_code"], info["pricescale"]) == ("USD", 100)
    assert MARKET.converts("NASDAQ:AAPL", "EUR")
    assert MARKET.converts("NASDAQ:AAPL", None)
    assert not MARKET.converts("NASDAQ:AAPL", "DOUBLOON")
    assert not MARKET.converts("NASDAQ:NOPE", "EUR")
    with pytest.raises(KeyError):
        MARKET.bars("NASDAQ:AAPL", "1D", 5, NOW, currency="DOUBLOON")


def test_the_front_contract_goes_on():
    """NAME1! is the contract that expires next, and NAME2! the one after it, bar by bar."""
    front, second = days("CME_MINI:ES1!"), days("CME_MINI:ES2!")
    june, september, december = (days(f"CME_MINI:ES{code}2026") for code in ("M", "U", "Z"))
    # The 19th, a Friday, is a holiday: the session that opens on Wednesday evening is June's last.
    for evening, first, then in (
        (dt.date(2026, 6, 16), june, september),
        (dt.date(2026, 6, 17), june, september),
        (dt.date(2026, 6, 21), september, december),
        (dt.date(2026, 8, 18), september, december),
    ):
        assert front[evening] == first[evening]
        assert second[evening] == then[evening]
    assert front[dt.date(2026, 6, 17)] != second[dt.date(2026, 6, 17)]
    assert max(june) == dt.date(2026, 6, 17)


def test_back_adjusted_contracts_have_no_gap():
    """Earlier bars are shifted by what the contracts differed at each roll."""
    plain = days("CME_MINI:ES1!")
    joined = days("CME_MINI:ES1!", backadjusted=True)
    june, september = days("CME_MINI:ESM2026"), days("CME_MINI:ESU2026")
    assert joined[dt.date(2026, 8, 18)] == plain[dt.date(2026, 8, 18)]
    last = dt.date(2026, 6, 17)
    gap = september[last].close - june[last].close
    assert gap > 10
    assert joined[last].close - plain[last].close == pytest.approx(gap, rel=0.05)
    earlier = joined[dt.date(2026, 3, 2)].close - plain[dt.date(2026, 3, 2)].close
    assert earlier > gap * 1.5
    page = MARKET.bars("CME_MINI:ES1!", "1D", 5, 1_770_000_000, backadjusted=True, as_of=NOW)
    assert page[0] in joined.values()
    for single in ("CME_MINI:ESU2026", "NASDAQ:AAPL", "NSE:NIFTY1!"):
        bars = MARKET.bars(single, "1D", 30, NOW)
        assert MARKET.bars(single, "1D", 30, NOW, backadjusted=True) == bars


def test_futures_describe_themselves():
    """A continuous contract has other words for itself than a single month."""
    front = MARKET.find("NYMEX:CL1!").info()
    assert (front["type"], front["root"]) == ("futures", "CL")
    assert front["typespecs"] == ["continuous", "synthetic"]
    assert front["has_backadjustment"] is True
    single = MARKET.find("NYMEX:CLZ2026").info()
    assert (single["typespecs"], single["expiration"]) == ([], 20261120)
    assert single["has_backadjustment"] is False
    assert MARKET.find("CME_MINI:ES") is None


def test_sessions_that_open_the_evening_before():
    """Currencies open on Sunday at 17:00 in New York, for Monday."""
    bars = MARKET.bars("FX_IDC:EURUSD", "60", 200, NOW)
    assert {local(bar.time).weekday() for bar in bars} == {0, 1, 2, 3, 4, 6}
    sunday = [local(bar.time).hour for bar in bars if local(bar.time).weekday() == 6]
    assert min(sunday) == 17
    daily = MARKET.bars("FX_IDC:EURUSD", "1D", 10, NOW)
    assert {local(bar.time).hour for bar in daily} == {17}


def test_there_is_enough_to_choose_from():
    """Stocks of seven countries, indices, coins, currencies, metal and futures."""
    assert len({listing.symbol for listing in LISTINGS}) == len(LISTINGS)
    assert {x.type for x in LISTINGS} == {"stock", "index", "spot", "futures", "forex", "cfd"}
    stocks = {listing.country for listing in LISTINGS if listing.type == "stock"}
    assert stocks == {"US", "KR", "IN", "DE", "GB", "JP", "VN"}
