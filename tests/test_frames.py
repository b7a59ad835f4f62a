"""Frames of many symbols in one, and calls with an exchange for each symbol."""

import pandas as pd
import pytest

from tests.loopback import NOW, expected
from tvDatafeed import DataValidationError, Interval, SymbolNotFoundError, TvDatafeed
from tvDatafeed.frames.many import Frames
from tvDatafeed.testing import FakeTradingView, MarketClock

FIELDS = ["open", "high", "low", "close", "volume"]
BOTH = {"AAPL": "NASDAQ", "BTCUSD": "BITSTAMP"}


@pytest.fixture
def server():
    with FakeTradingView(clock=MarketClock(NOW, speed=0)) as running:
        yield running


@pytest.fixture
def tv(server):
    with TvDatafeed(config=server.config(), timezone="UTC") as client:
        yield client


def test_exchange_of_each(server, tv):
    """A mapping gives the exchange; a symbol with its own keeps it."""
    frames = tv.get_hist_multi({**BOTH, "NASDAQ:MSFT": "NYSE"}, n_bars=5)
    assert list(frames) == ["AAPL", "BTCUSD", "NASDAQ:MSFT"]
    for name, full in {"BTCUSD": "BITSTAMP:BTCUSD", "NASDAQ:MSFT": "NASDAQ:MSFT"}.items():
        pd.testing.assert_frame_equal(
            frames[name], expected(server, full, Interval.in_daily, 5), check_freq=False
        )
    quotes = tv.get_quotes(BOTH, fields=["last"])
    assert list(quotes.index) == list(BOTH)


def test_mapping_without_an_exchange(tv):
    """None stands for the exchange of the call."""
    assert list(tv.get_hist_multi({"AAPL": None}, "NASDAQ")) == ["AAPL"]
    with pytest.raises(DataValidationError, match="exchange"):
        tv.get_hist_multi({"AAPL": 3}, "NASDAQ")


def test_long(tv):
    """A row for each bar of each symbol, as the frames have them."""
    frames = tv.get_hist_multi(BOTH, n_bars=7)
    whole = frames.to_frame()
    assert whole.index.names == ["symbol", "datetime"]
    assert list(whole.columns) == FIELDS
    assert len(whole) == 14
    for name, frame in frames.items():
        pd.testing.assert_frame_equal(whole.loc[name], frame[FIELDS], check_freq=False)
    # No column clashes with a level.
    assert list(whole.reset_index().columns) == ["symbol", "datetime", *FIELDS]
    pd.testing.assert_frame_equal(whole, frames.to_frame(layout="long"))


def test_wide(tv):
    """A row for each moment; NaN where a symbol has no bar."""
    frames = tv.get_hist_multi(BOTH, n_bars=7)
    wide = frames.to_frame("wide")
    assert wide.columns.names == ["field", "symbol"]
    assert list(wide.columns) == [(field, name) for field in FIELDS for name in BOTH]
    assert wide.index.is_monotonic_increasing
    assert wide.index.is_unique
    assert wide.index.name == "datetime"
    for name, frame in frames.items():
        column = wide["close"][name].dropna()
        pd.testing.assert_series_equal(column, frame["close"], check_names=False, check_freq=False)
    assert wide["close"].isna().to_numpy().any()


def test_frames_in_different_zones(tv):
    """Times of exchanges are joined in UTC."""
    frames = tv.get_hist_multi(BOTH, n_bars=5, timezone="exchange")
    for layout in ("long", "wide"):
        index = frames.to_frame(layout).index
        times = index if layout == "wide" else index.get_level_values("datetime")
        assert str(times.tz) == "UTC"


@pytest.mark.parametrize("layout", ["long", "wide"])
def test_no_frames(layout):
    """Empty, with the same names."""
    whole = Frames().to_frame(layout)
    assert len(whole) == 0
    assert whole.index.names == (["symbol", "datetime"] if layout == "long" else ["datetime"])


def test_one_frame_and_wrong_layouts(tv):
    frames = tv.get_hist_multi(["NASDAQ:AAPL"], n_bars=3)
    assert frames.to_frame("wide").shape == (3, 5)
    with pytest.raises(DataValidationError, match="'long' or 'wide'"):
        frames.to_frame("tall")


def test_table_in_a_notebook(tv):
    """Each symbol with its bars, and each error."""
    frames = tv.get_hist_multi(["NASDAQ:AAPL", "NASDAQ:NOPE"], n_bars=3, on_error="collect")
    shown = frames._repr_html_()
    assert shown.startswith("<table")
    assert "NASDAQ:AAPL" in shown
    assert "not found on NASDAQ" in shown
    assert "<script>" not in Frames(errors={"<script>": ValueError("x")})._repr_html_()
    assert Frames()._repr_html_().startswith("<table")


def test_good_quotes_beside_bad_ones(tv):
    """The good ones have rows, and `attrs` has the errors of the others."""
    names = ["NASDAQ:AAPL", "NASDAQ:NOPE", "NASDAQ:MSFT"]
    quotes = tv.get_quotes(names, fields=["last", "currency"], on_error="collect")
    assert list(quotes.index) == ["NASDAQ:AAPL", "NASDAQ:MSFT"]
    assert list(quotes.attrs["errors"]) == ["NASDAQ:NOPE"]
    assert isinstance(quotes.attrs["errors"]["NASDAQ:NOPE"], SymbolNotFoundError)
    assert quotes["last"].dtype == "float64"
    assert "errors" not in tv.get_quotes(names[:1], on_error="collect").attrs


def test_only_bad_quotes(tv):
    quotes = tv.get_quotes("NASDAQ:NOPE", on_error="collect")
    assert len(quotes) == 0
    assert list(quotes.attrs["errors"]) == ["NASDAQ:NOPE"]
    with pytest.raises(SymbolNotFoundError):
        tv.get_quotes("NASDAQ:NOPE")
    with pytest.raises(DataValidationError, match="on_error"):
        tv.get_quotes("NASDAQ:AAPL", on_error="ignore")
