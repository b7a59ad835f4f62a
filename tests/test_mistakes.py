"""Mistakes that people make, and the exact sentences that help them."""

import pandas as pd
import pytest

from tests.loopback import NOW
from tvDatafeed import (
    DataValidationError,
    Interval,
    InvalidIntervalError,
    SymbolNotFoundError,
    TvDatafeed,
    TvDatafeedLive,
    plot,
)
from tvDatafeed.testing import FakeTradingView, MarketClock

MEMBERS = ", ".join(str(member) for member in Interval)
NOT_LISTED = "Provided symbol and exchange combination is not listed in TradingView"


@pytest.fixture
def server():
    with FakeTradingView(clock=MarketClock(NOW, speed=0)) as running:
        yield running


@pytest.fixture
def tv(server):
    with TvDatafeed(config=server.config()) as client:
        yield client


@pytest.fixture
def tvl(server):
    with TvDatafeedLive(config=server.config()) as feed:
        yield feed


ONE_SYMBOL = (
    "must be one symbol such as 'NASDAQ:AAPL', not {}; get_hist_multi takes several, and new_seis "
    "follows them one by one"
)

# What somebody calls, the error, and its whole text.
HISTORY = {
    "several symbols": (
        lambda tv: tv.get_hist(["AAPL", "MSFT"]),
        DataValidationError,
        "Data validation failed for symbol='['AAPL', 'MSFT']': " + ONE_SYMBOL.format("list"),
    ),
    "a tuple of symbols": (
        lambda tv: tv.get_symbol_info(("AAPL",)),
        DataValidationError,
        "Data validation failed for symbol='('AAPL',)': " + ONE_SYMBOL.format("tuple"),
    ),
    "n_bars in the place of the interval": (
        lambda tv: tv.get_hist("AAPL", "NASDAQ", 100),
        InvalidIntervalError,
        (
            "Invalid interval: '100': pass an Interval or a text such as '5m' third, and n_bars "
            f"fourth. Supported intervals: {MEMBERS}"
        ),
    ),
    "n_bars as text": (
        lambda tv: tv.get_hist("AAPL", "NASDAQ", "1d", "10"),
        DataValidationError,
        "Data validation failed for n_bars='10': must be an int, not str",
    ),
    "no exchange": (
        lambda tv: tv.get_hist("AAPL"),
        SymbolNotFoundError,
        (
            "Symbol 'AAPL' not found on NSE, the exchange where none is given. "
            "Did you mean NASDAQ:AAPL?"
        ),
    ),
    "a currency by its name": (
        lambda tv: tv.get_hist("AAPL", "NASDAQ", currency="euro"),
        SymbolNotFoundError,
        (
            "Symbol 'AAPL' not found on NASDAQ with prices in 'EURO'. The symbol exists: use a "
            "code of a currency, such as 'USD' or 'EUR'."
        ),
    ),
    "a currency by its name, for several": (
        lambda tv: tv.get_hist_multi(["AAPL", "MSFT"], "NASDAQ", currency="euro"),
        SymbolNotFoundError,
        (
            "Symbol 'AAPL' not found on NASDAQ with prices in 'EURO'. Look its name and exchange "
            "up on TradingView."
        ),
    ),
    "a symbol that exists nowhere, with a currency": (
        lambda tv: tv.get_hist("QQQQQQQQ", "NASDAQ", currency="EUR"),
        SymbolNotFoundError,
        (
            "Symbol 'QQQQQQQQ' not found on NASDAQ with prices in 'EUR'. Look its name and "
            "exchange up on TradingView."
        ),
    ),
}


@pytest.mark.parametrize("name", HISTORY)
def test_history(tv, name):
    call, error, text = HISTORY[name]
    with pytest.raises(error) as caught:
        call(tv)
    assert str(caught.value) == text


KEYWORDS = [
    ("get_hist", "start", ": use start_date="),
    ("get_hist", "end", ": use end_date="),
    ("get_hist", "since", ": use start_date="),
    ("get_hist", "limit", ": use n_bars="),
    ("get_hist", "prepost", ": use extended_session="),
    ("get_hist", "tz", ": use timezone="),
    ("get_hist", "timeframe", ": use interval="),
    ("get_hist", "symbols", ": use symbol="),
    ("get_hist", "n_bar", ": did you mean n_bars=?"),
    ("get_hist", "quack", ""),
    ("get_hist_multi", "until", ": use end_date="),
    ("get_hist_multi", "tickers", ": use symbols="),
    ("get_hist_multi", "workers", ": use max_concurrent="),
    ("get_quotes", "symbol", ": use symbols="),
    ("get_symbol_info", "market", ": use exchange="),
]


@pytest.mark.parametrize(("method", "keyword", "advice"), KEYWORDS)
def test_names_of_other_libraries(tv, method, keyword, advice):
    """The name that is meant here, and nothing is sent."""
    with pytest.raises(TypeError) as caught:
        getattr(tv, method)("AAPL", **{keyword: "x"})
    said = f"TvDatafeed.{method}() got an unexpected keyword argument '{keyword}'{advice}"
    assert str(caught.value) == said


def test_names_of_other_libraries_live(tvl):
    """The same of a feed, whose zone is that of the whole object."""
    with pytest.raises(TypeError, match=r"'start': use start_date="):
        tvl.get_hist("AAPL", "NASDAQ", start="2024-01-01")
    for keyword, advice in {
        "since": ": use start=",
        "handler": ": use callback=",
        "tz": ": set it for the whole object: TvDatafeedLive(timezone=...)",
        "timezone": ": set it for the whole object: TvDatafeedLive(timezone=...)",
    }.items():
        with pytest.raises(TypeError) as caught:
            tvl.subscribe("AAPL", "NASDAQ", "1m", print, **{keyword: "x"})
        what = "TvDatafeedLive.subscribe() got an unexpected keyword argument"
        assert str(caught.value) == f"{what} {keyword!r}{advice}"


def test_live_symbol_that_does_not_exist(tvl):
    """The symbol names itself and its neighbours; the old sentence comes first."""
    with pytest.raises(ValueError, match="not listed") as caught:
        tvl.new_seis("BTCUSDX", "BINANCE", "1m")
    assert str(caught.value) == (
        f"{NOT_LISTED}: Symbol 'BTCUSDX' not found on BINANCE. "
        "Did you mean BINANCE:BTCUSDT or BITSTAMP:BTCUSD?"
    )
    assert isinstance(caught.value.__cause__, SymbolNotFoundError)


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (
            lambda bars: bars.drop(columns=["symbol", "open"]),
            "Data validation failed for bars='DataFrame': must have the columns symbol, open",
        ),
        (
            lambda bars: bars.iloc[:0],
            "Data validation failed for bars='0 bars': must be of one symbol, and they are none",
        ),
        (
            lambda bars: pd.concat([bars, bars.assign(symbol="X:Y")]),
            (
                "Data validation failed for bars='20 bars': must be of one symbol, and they are of "
                "2 symbols"
            ),
        ),
        (
            lambda _bars: {"frames": 3},
            (
                "Data validation failed for bars='dict': must have the columns symbol, open, high, "
                "low, close, volume"
            ),
        ),
    ],
)
def test_plot(tv, spoil, text):
    """No frame in the text of an error."""
    bars = tv.get_hist("AAPL", "NASDAQ")
    with pytest.raises(DataValidationError) as caught:
        plot(spoil(bars))
    assert str(caught.value) == text


def test_signatures_stay(tv):
    """Editors see the methods as they are, not what explains their mistakes."""
    import inspect  # noqa: PLC0415

    names = list(inspect.signature(TvDatafeed.get_hist).parameters)
    assert names[:5] == ["self", "symbol", "exchange", "interval", "n_bars"]
    assert TvDatafeed.get_hist.__doc__.startswith("Get bars")
