"""The set of fields in a quote of the loopback TradingView that is not limited to some fields."""

import pytest

from tests.testing.client import NOW
from tvDatafeed import TvDatafeed
from tvDatafeed.testing import FakeTradingView

EXTENDED = {"rch", "rchp", "rtc", "rtc_time"}
# What a public client expects of a quote of all fields of a coin.
OF_A_COIN = (
    "ask bid format volume update_mode type timezone short_name rtc_time rtc rchp ch rch "
    "provider_id pro_name pricescale prev_close_price original_name lp open_price minmove2 minmov "
    "lp_time low_price is_tradable high_price fractional exchange description current_session "
    "currency_code chp currency-logoid base-currency-logoid"
)


def quote(client, symbol, *fields):
    client.text()
    client.say("quote_create_session", "qs_1")
    if fields:
        client.say("quote_set_fields", "qs_1", *fields)
    client.say("quote_add_symbols", "qs_1", symbol)
    return client.messages()[0]["p"][1]["v"]


def test_fields_of_a_coin(client):
    """A quote of all fields has those that a public client expects, both logos too."""
    values = quote(client, "BINANCE:BTCUSDT")
    assert values.keys() >= set(OF_A_COIN.split())
    assert values["base-currency-logoid"] == "crypto/XTVCBTC"
    assert values["currency-logoid"] == "crypto/XTVCUSDT"


@pytest.mark.parametrize(
    ("symbol", "currency", "base"),
    [
        ("NASDAQ:AAPL", "country/US", None),
        ("NSE:RELIANCE", "country/IN", None),
        ("SP:SPX", "country/US", None),
        ("BITSTAMP:BTCUSD", "country/US", "crypto/XTVCBTC"),
        ("FX_IDC:EURUSD", "country/US", "country/EU"),
    ],
)
def test_logos(client, symbol, currency, base):
    """A currency has the logo of its country or its coin; only pairs have a base currency."""
    values = quote(client, symbol)
    assert values["currency-logoid"] == currency
    assert values.get("base-currency-logoid") == base
    assert ("base-currency-logoid" in values) is (base is not None)


def test_price_outside_the_session(client):
    """The fields of the price in extended hours are null: the market has no such price."""
    values = quote(client, "NASDAQ:AAPL", "lp", *EXTENDED, "logoid")
    assert values.keys() == {"lp", *EXTENDED}
    assert {name for name, value in values.items() if value is None} == EXTENDED


def test_null_is_no_value_to_the_client():
    """The client returns a field without a value as a missing one."""
    with FakeTradingView(clock=lambda: NOW) as server, TvDatafeed(config=server.config()) as tv:
        quotes = tv.get_quotes(["NASDAQ:AAPL"], fields=["last", "rtc", "currency-logoid"])
    row = quotes.iloc[0]
    assert row.isna().tolist() == [False, True, False]
    assert row["currency-logoid"] == "country/US"
