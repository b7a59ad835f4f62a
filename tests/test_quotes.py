"""Quotes and descriptions of symbols, as the market has them."""

import math

import pytest

from tests.loopback import NOW
from tvDatafeed import (
    DataError,
    DataValidationError,
    EntitlementError,
    SymbolInfo,
    SymbolNotFoundError,
    TvDatafeed,
    WebSocketTimeoutError,
)
from tvDatafeed.symbology.info import symbol_info
from tvDatafeed.testing import CriticalErrorReply, NoCompletion, Refusal
from tvDatafeed.testing.faults import Fault

COLUMNS = [
    "last",
    "change",
    "change_percent",
    "bid",
    "ask",
    "volume",
    "market_state",
    "description",
    "currency",
    "update_mode",
]


def test_quotes_are_those_of_the_market(server, tv):
    """Last, change and volume follow from the daily bars; a volume of 1e100 counts as missing."""
    quotes = tv.get_quotes(["AAPL", "SP:SPX", "binance:btcusdt"], "NASDAQ")
    assert list(quotes.columns) == COLUMNS
    assert list(quotes.index) == ["AAPL", "SP:SPX", "binance:btcusdt"]
    assert quotes.index.name == "symbol"
    for name, symbol in zip(
        quotes.index, ("NASDAQ:AAPL", "SP:SPX", "BINANCE:BTCUSDT"), strict=True
    ):
        before, today = server.market.bars(symbol, "1D", 2, NOW)
        row = quotes.loc[name]
        assert row["last"] == today.close
        assert row["change"] == pytest.approx(today.close - before.close)
        change_percent = 100 * (today.close - before.close) / before.close
        assert row["change_percent"] == pytest.approx(change_percent, abs=0.01)
        assert row["volume"] == (today.volume or pytest.approx(math.nan, nan_ok=True))
        assert row["description"] == server.market.find(symbol).description
        assert row["currency"] == server.market.find(symbol).currency
        assert row["update_mode"] == "streaming"
    assert (quotes["bid"] < quotes["ask"]).tolist() == [True, False, True]
    assert quotes.loc["SP:SPX", ["bid", "ask"]].isna().all()
    assert quotes["market_state"].tolist() == ["post_market", "out_of_session", "market"]
    assert {str(kind) for kind in quotes.dtypes[COLUMNS[:6]]} == {"float64"}
    assert server.connections_opened == 1


def test_fields_may_be_tradingviews_own(server, tv):
    """Any field can be requested, and what is not known is missing."""
    fields = ["lp", "last", "type", "no_such_field", "typespecs"]
    quotes = tv.get_quotes("SP:SPX", fields=fields)
    assert list(quotes.columns) == fields
    assert quotes["lp"].tolist() == quotes["last"].tolist()
    assert quotes["type"].tolist() == ["index"]
    assert quotes["no_such_field"].isna().all()
    assert quotes["typespecs"].tolist() == [["main", "cfd"]]
    (asked,) = [r.params for r in server.received if r.method == "quote_set_fields"]
    assert asked[1:] == ["lp", "type", "no_such_field", "typespecs"]


def test_delayed_quotes_say_so(server, tv):
    """A quarter of an hour's delay stands in update_mode."""
    server.delay("NASDAQ:AAPL", 900)
    quotes = tv.get_quotes("AAPL", "NASDAQ")
    assert quotes["update_mode"].tolist() == ["delayed_streaming_900"]


@pytest.mark.parametrize(
    ("symbol", "refusal", "error", "words"),
    [
        ("NASDAQ:NOPE", None, SymbolNotFoundError, "'NOPE' not found on NASDAQ"),
        (
            "NASDAQ:MSFT",
            Refusal("symbol_error", "permission denied", ("group", "paid")),
            EntitlementError,
            "Permission denied",
        ),
    ],
)
def test_a_symbol_that_is_refused_raises(server, tv, symbol, refusal, error, words):  # noqa: PLR0917
    """One that is unknown or not in the plan is named, with the reason."""
    server.refuse(symbol, refusal)
    with pytest.raises(error, match=words) as caught:
        tv.get_quotes(["NASDAQ:AAPL", symbol])
    assert type(caught.value) is error
    assert server.wait_until(lambda s: s.received[-1].method == "quote_delete_session")


def test_quotes_end_in_time(server):
    """Where no quote comes the deadline ends the wait, and a refusal is an error at once."""

    class Silence(Fault):
        def on_reply(self, command, _payloads):
            return [] if command.method == "quote_add_symbols" else None

    with TvDatafeed(config=server.config(max_response_time=0.3, max_retries=0)) as tv:
        server.inject(Silence(times=1))
        with pytest.raises(WebSocketTimeoutError, match="0 of 1 quotes had arrived"):
            tv.get_quotes("NASDAQ:AAPL")
        server.inject(CriticalErrorReply(method="quote_add_symbols", times=1))
        with pytest.raises(DataError, match="invalid parameters"):
            tv.get_quotes("NASDAQ:AAPL")
        assert len(tv.get_quotes("NASDAQ:AAPL")) == 1


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (([], "NASDAQ"), "symbols"),
        ((["A B"], "NASDAQ"), "symbol"),
        ((["AAPL"], "N Y"), "exchange"),
        ((["AAPL"], "NASDAQ", []), "fields"),
        ((["AAPL"], "NASDAQ", [""]), "fields"),
        ((["AAPL"], "NASDAQ", [5]), "fields"),
    ],
)
def test_arguments_that_cannot_be_right(server, tv, arguments, field):
    """Each is an error that names it, and nothing is sent."""
    with pytest.raises(DataValidationError) as caught:
        tv.get_quotes(*arguments)
    assert caught.value.field == field
    assert server.accepted == 0


def test_a_symbol_is_described(server, tv):
    """Hours, zone, tick and the rest of what TradingView says of a symbol."""
    info = tv.get_symbol_info("aapl", "NASDAQ")
    assert isinstance(info, SymbolInfo)
    assert (info.symbol, info.full_name, info.name) == ("NASDAQ:AAPL", "BATS:AAPL", "AAPL")
    assert (info.exchange, info.type, info.country) == ("NASDAQ", "stock", "US")
    assert (info.currency, info.timezone, info.session) == (
        "USD",
        "America/New_York",
        "0930-1600",
    )
    assert (info.tick_size, info.point_value) == (0.01, 1.0)
    assert (info.has_intraday, info.has_volume, info.subsession) == (True, True, "regular")
    assert "2026-12-25" in info.holidays
    assert info.raw["pricescale"] == 100
    assert "2026-12-25" not in repr(info)
    assert server.wait_until(lambda s: not s.open_sessions)
    assert [r.method for r in server.received if r.method == "create_series"] == []


def test_kinds_of_symbols(tv):
    """An index has no volume, a coin no holidays, a future its kind."""
    index, coin, future = (
        tv.get_symbol_info("SPX", "SP"),
        tv.get_symbol_info("BINANCE:BTCUSDT"),
        tv.get_symbol_info("NIFTY", "NSE", fut_contract=1),
    )
    assert (index.has_volume, index.type) == (False, "index")
    assert (coin.session, coin.holidays, coin.timezone) == ("24x7", (), "Etc/UTC")
    assert future.symbol == "NSE:NIFTY1!"
    assert "continuous" in future.typespecs


def test_an_unknown_symbol_is_not_described(server, tv):
    """The refusal is that of get_hist."""
    with pytest.raises(SymbolNotFoundError, match="'NOPE' not found on NASDAQ"):
        tv.get_symbol_info("NOPE", "NASDAQ")
    with pytest.raises(ValueError, match="not a valid contract"):
        tv.get_symbol_info("NIFTY", "NSE", fut_contract=0)
    server.inject(NoCompletion())
    assert tv.get_symbol_info("AAPL", "NASDAQ").name == "AAPL"


def test_a_description_with_little_in_it():
    """What TradingView leaves out is empty or None, and nothing fails."""
    info = symbol_info("A:B", {"minmov": True, "session_holidays": "20260101,soon,"})
    assert (info.name, info.tick_size, info.point_value) == ("", None, None)
    assert (info.holidays, info.typespecs, info.raw["minmov"]) == (("2026-01-01",), (), True)
