"""Clients with different feeds: real-time data for some accounts, delayed data for the others."""

import pandas as pd
import pytest

from tests.loopback import frame_of
from tests.testing.client import named, received, token
from tvDatafeed import Interval, TvDatafeed
from tvDatafeed.testing import Account, FakeTradingView, Market, MarketClock
from tvDatafeed.testing.accounts.tokens import claims_of

NOW = 1_787_245_200.0  # 2026-08-20, a Thursday: 13:00 in New York
STOCK, OTHER, COIN = "NASDAQ:AAPL", "NYSE:IBM", "BINANCE:BTCUSDT"
MARKET = Market()
PAID = Account("ann", "opensesame", plan="pro", realtime=("NASDAQ", COIN), id=1)
FREE = Account("bob", "opensesame", id=2)


@pytest.fixture
def clock():
    return MarketClock(NOW, speed=0)


@pytest.fixture
def server(clock):
    with FakeTradingView(clock=clock, accounts=[PAID, FREE]) as running:
        for exchange in ("NASDAQ", "NYSE", "BINANCE"):
            running.delay(exchange, 900)
        yield running


@pytest.fixture
def signed_in(connect, server):
    """Open a client with the token of an account, or an anonymous one."""

    def opened(account):
        client = connect(server)
        client.greet()
        if account is not None:
            client.say("set_auth_token", server.issue_token(account))
        return client

    return opened


def rows(messages):
    update = named(messages, "timescale_update")
    return [tuple(item["v"]) for item in update["p"][1]["sds_1"]["s"]]


def market_rows(symbol, interval, count, now):
    return [tuple(map(float, bar)) for bar in MARKET.bars(symbol, interval, count, now)]


def mode(messages):
    return named(messages, "series_completed")["p"][2]


@pytest.mark.parametrize(
    ("account", "symbol", "delay_s"),
    [
        (PAID, STOCK, 0),
        (PAID, COIN, 0),
        (PAID, OTHER, 900),
        (PAID, "BINANCE:DOGEUSDT", 900),
        (FREE, STOCK, 900),
        (FREE, COIN, 900),
        (None, STOCK, 900),
        (None, "BITSTAMP:BTCUSD", 0),
    ],
)
def test_history(signed_in, account, symbol, delay_s):
    """An account gets what it has paid for at once; the others get it as it was earlier."""
    messages = signed_in(account).history(symbol, "1", 5)
    assert mode(messages) == (f"delayed_streaming_{delay_s}" if delay_s else "streaming")
    assert rows(messages) == market_rows(symbol, "1", 5, NOW - delay_s)


def test_live_series(server, signed_in):
    """Two clients of one symbol get the updates of two moments."""
    paid, free = signed_in(PAID), signed_in(FREE)
    for client in (paid, free):
        client.history(COIN, "1", 5)
    server.step(60)
    for client, now in ((paid, NOW + 60), (free, NOW - 840)):
        updates = [message["p"][1]["sds_1"]["s"][0]["v"] for message in received(client)]
        assert tuple(updates[-1]) == market_rows(COIN, "1", 1, now)[0]


def test_quotes(signed_in):
    """Quotes have the delay of the client's feed, in the first answer and afterwards."""
    for account, delay_s, update_mode in (
        (PAID, 0, "streaming"),
        (FREE, 900, "delayed_streaming_900"),
    ):
        client = signed_in(account)
        client.say("quote_create_session", "qs_1")
        client.say("quote_set_fields", "qs_1", "lp", "lp_time", "update_mode")
        client.say("quote_add_symbols", "qs_1", STOCK)
        now = NOW - delay_s
        assert named(client.messages(), "qsd")["p"][1]["v"] == {
            "lp": MARKET.bars(STOCK, "1D", 1, now)[0].close,
            "lp_time": int(now),
            "update_mode": update_mode,
        }


def test_source(signed_in):
    """Those with real-time data get a stock from its own exchange, the others from elsewhere."""
    for account, source in ((PAID, "NASDAQ"), (FREE, "BATS"), (None, "BATS")):
        client = signed_in(account)
        info = named(client.history(STOCK), "symbol_resolved")["p"][2]
        assert (info["full_name"], info["source_id"]) == (f"{source}:AAPL", source)
        assert (info["pro_name"], info["listed_exchange"]) == (STOCK, "NASDAQ")
        assert info["pro_perm"] == "nasdaq"
        client.say("quote_create_session", "qs_1")
        client.say("quote_set_fields", "qs_1", "original_name")
        client.say("quote_add_symbols", "qs_1", STOCK)
        quote = named(client.messages(), "qsd")["p"][1]["v"]
        assert quote == {"original_name": f"{source}:AAPL"}


def test_delay_of_one_symbol(server, signed_in):
    """A symbol's own delay, which may be none, goes before that of its exchange."""
    server.delay(STOCK, 0)
    server.delay("NASDAQ:MSFT", 600)
    client = signed_in(FREE)
    assert mode(client.history(STOCK, "1")) == "streaming"
    client.say("remove_series", "cs_plain", "sds_1")
    assert mode(client.history("NASDAQ:MSFT", "1")) == "delayed_streaming_600"


def test_another_token(server, signed_in):
    """A token with other rights changes the feed of what is requested from then on."""
    client = signed_in(FREE)
    assert mode(client.history(STOCK, "1")) == "delayed_streaming_900"
    client.say("set_auth_token", server.issue_token(PAID))
    client.say("create_series", "cs_plain", "sds_1", "s2", "sym_1", "1", 5, "")
    assert mode(client.messages()) == "streaming"


def test_tokens_name_the_exchanges(server):
    """The tokens of an account have its exchanges as TradingView's do."""
    assert claims_of(server.issue_token(PAID))["perm"] == "nasdaq,binance:btcusdt"
    assert claims_of(server.issue_token(FREE))["perm"] == ""


def test_made_up_token(connect, clock):
    """A server without accounts reads the rights from any token."""
    with FakeTradingView(clock=clock) as server:
        server.delay("NASDAQ", 900)
        for perm, wanted in (("nse,nasdaq", "streaming"), ("nse", "delayed_streaming_900")):
            client = connect(server)
            client.greet()
            client.say("set_auth_token", token(user_id=1, perm=perm))
            assert mode(client.history(STOCK, "1")) == wanted


def test_corrections_reach_both(server, signed_in):
    """A bar that delayed clients do not have yet can be corrected; they get it corrected later."""
    paid, free = signed_in(PAID), signed_in(FREE)
    for client in (paid, free):
        client.history(COIN, "1", 5)
    (time, *_values) = market_rows(COIN, "1", 3, NOW)[0]
    server.correct(COIN, "1", int(time), low=1)
    assert received(paid)[0]["p"][1]["sds_1"]["s"][0]["v"][3] == 1.0
    assert received(free) == []
    server.step(900)
    updates = [message["p"][1]["sds_1"]["s"][0]["v"] for message in received(free)]
    assert next(row for row in updates if row[0] == time)[3] == 1.0


def test_splits_reach_both(server, signed_in):
    """A split takes effect for all clients at once."""
    (before,) = MARKET.bars(STOCK, "1D", 1, NOW)
    server.split(STOCK, 2, before=before.time)
    closes = {rows(signed_in(account).history(STOCK, "1D", 2))[0][4] for account in (PAID, FREE)}
    assert closes == {round(MARKET.bars(STOCK, "1D", 2, NOW)[0].close / 2, 2)}


@pytest.mark.parametrize("realtime", ["NASDAQ", ("NASDAQ,NYSE",)])
def test_mistakes(realtime):
    """A text instead of a tuple is not taken for the names of its letters."""
    with pytest.raises(ValueError, match="realtime must be a tuple"):
        Account("ann", "opensesame", realtime=realtime)


def test_repr():
    """The repr of an account is as before."""
    assert repr(PAID) == "Account(username='ann', second_factor=None, plan='pro', id=1)"


def test_get_hist(server):
    """The frames of two accounts say which feed they are from, and have its bars."""
    for account, delay_s in ((PAID, 0), (FREE, 900)):
        config = server.config()
        with TvDatafeed(auth_token=server.issue_token(account), config=config) as tv:
            frame = tv.get_hist("AAPL", "NASDAQ", Interval.in_1_minute, 5, timezone="UTC")
            quotes = tv.get_quotes("AAPL", "NASDAQ")
        bars = MARKET.bars(STOCK, "1", 5, NOW - delay_s)
        pd.testing.assert_frame_equal(frame, frame_of(bars, frame["symbol"].iloc[0]))
        assert frame.attrs.get("delay_seconds", 0) == delay_s
        (today,) = MARKET.bars(STOCK, "1D", 1, NOW - delay_s)
        assert quotes["last"].tolist() == [today.close]


def test_signing_in(server):
    """An account that signs in by its password has its feed."""
    with TvDatafeed("ann", "opensesame", config=server.config()) as tv:
        assert "delay_seconds" not in tv.get_hist("AAPL", "NASDAQ", n_bars=2).attrs
    with TvDatafeed("bob", "opensesame", config=server.config()) as tv:
        assert tv.get_hist("AAPL", "NASDAQ", n_bars=2).attrs["delay_seconds"] == 900
