"""The loopback TradingView's quotes, asked for by a plain client and checked with plain json."""

import dataclasses
import json

import pytest

from tests.testing.client import Client, names, received
from tvDatafeed.testing import FakeTradingView, Market, Refusal
from tvDatafeed.testing.market.market import LISTINGS

# A Thursday in summer in New York.
NOON = 1_787_241_600.0
HOUR_S = 3600
WRAPPED = '={"adjustment":"splits","session":"regular","symbol":"NASDAQ:AAPL"}'


class Clock:
    """A clock that stands until it is set."""

    def __init__(self):
        self.now = NOON

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def server(clock):
    """A loopback TradingView where Apple alone has extended hours, and time stands still."""
    with FakeTradingView(clock=clock, market=Market(tuple(map(_extended, LISTINGS)))) as running:
        yield running


def _extended(listing):
    hours = "0400-2000" if listing.symbol == "NASDAQ:AAPL" else ""
    if hasattr(listing, "extended"):
        return dataclasses.replace(listing, extended=hours)
    kind = dataclasses.make_dataclass(
        "Extended", [("extended", str, hours)], bases=(type(listing),), frozen=True
    )
    fields = dataclasses.fields(listing)
    return kind(**{field.name: getattr(listing, field.name) for field in fields})


@pytest.fixture
def client(server):
    """A client with the quote session qs_1."""
    client = Client(server)
    with client.socket.sock:
        client.text()
        client.say("quote_create_session", "qs_1")
        yield client


def quote(client, *symbols, fields=()):
    """Add symbols to qs_1, and give their values by the string that each was requested with."""
    if fields:
        client.say("quote_set_fields", "qs_1", *fields)
    client.say("quote_add_symbols", "qs_1", *symbols)
    quotes = [message["p"][1] for message in client.messages() if message["m"] == "qsd"]
    return {quote["n"]: quote["v"] for quote in quotes}


def heard(server, client):
    """Make the server tick, and return the client's messages about it."""
    server.tick()
    return received(client)


def changes(messages):
    """Return the quotes among messages by their names."""
    assert set(names(messages)) <= {"qsd"}
    return {message["p"][1]["n"]: message["p"][1]["v"] for message in messages}


class TestSnapshot:
    def test_documented_fields(self, client):
        """A quote of a stock has the fields of the documented list that a market can know."""
        values = quote(client, "NASDAQ:AAPL")["NASDAQ:AAPL"]
        fields = (
            "ch chp current_session description local_description language exchange fractional "
            "is_tradable lp lp_time minmov minmove2 original_name pricescale pro_name short_name "
            "type update_mode volume currency_code currency_id format listed_exchange typespecs "
            "bid ask bid_size ask_size open_price high_price low_price prev_close_price timezone "
            "country_code provider_id"
        )
        assert values.keys() >= set(fields.split())
        assert (values["description"], values["currency_code"]) == ("Apple Inc.", "USD")
        assert (values["original_name"], values["pro_name"]) == ("BATS:AAPL", "NASDAQ:AAPL")

    @pytest.mark.parametrize("symbol", ["NASDAQ:AAPL", "BINANCE:BTCUSDT", "KRX:005930", "SP:SPX"])
    def test_prices_are_those_of_the_daily_bars(self, server, client, symbol):
        """Last price, day and change agree with the daily bars of the same moment."""
        before, today = server.market.bars(symbol, "1D", 2, NOON)
        values = quote(client, symbol)[symbol]
        day = [values[name] for name in ("open_price", "high_price", "low_price", "lp")]
        assert day == [today.open, today.high, today.low, today.close]
        assert values["prev_close_price"] == before.close
        assert values["ch"] == pytest.approx(today.close - before.close)
        assert values["chp"] == pytest.approx(100 * values["ch"] / before.close, abs=0.005)
        assert values["volume"] == (1e100 if today.volume is None else today.volume)

    @pytest.mark.parametrize("symbol", ["NASDAQ:AAPL", "BINANCE:BTCUSDT", "NSE:RELIANCE"])
    def test_bid_and_ask_stand_around_the_price(self, server, client, symbol):
        """The bid is a tick below the last price and the ask a tick above it, for some units."""
        listing, values = server.market.find(symbol), quote(client, symbol)[symbol]
        tick = listing.minmov / listing.pricescale
        assert values["lp"] - values["bid"] == pytest.approx(tick)
        assert values["ask"] - values["lp"] == pytest.approx(tick)
        assert min(values["bid_size"], values["ask_size"]) > 0

    def test_index_has_no_offers(self, client):
        """An index has no bids."""
        assert quote(client, "SP:SPX")["SP:SPX"].keys().isdisjoint({"bid", "ask", "bid_size"})

    def test_names_are_echoed(self, client):
        """Each quote and its completion bear the exact string that was requested."""
        client.say("quote_set_fields", "qs_1", "lp")
        client.say("quote_add_symbols", "qs_1", WRAPPED, "NASDAQ:AAPL", "={}")
        wrapped, first, bare, second, unknown, third = client.messages()
        assert [m["p"][1]["n"] for m in (wrapped, bare, unknown)] == [WRAPPED, "NASDAQ:AAPL", "={}"]
        assert [m["p"][1] for m in (first, second, third)] == [WRAPPED, "NASDAQ:AAPL", "={}"]
        assert wrapped["p"][1]["v"] == bare["p"][1]["v"]
        assert unknown["p"][1] == {"n": "={}", "s": "error", "errmsg": "no_such_symbol", "v": {}}

    @pytest.mark.parametrize(
        ("refusal", "answer"),
        [
            (
                Refusal("symbol_error", "permission denied", ("group", "economics_paid")),
                {
                    "s": "permission_denied",
                    "errmsg": "Permission denied",
                    "v": {"alternative": "economics_paid"},
                },
            ),
            (
                Refusal("symbol_error", "invalid symbol"),
                {"s": "error", "errmsg": "no_such_symbol", "v": {}},
            ),
        ],
    )
    def test_refused_symbols(self, server, client, refusal, answer):
        """A refused symbol is refused in the words that are on record, and completed."""
        server.refuse("NYSE:IBM", refusal)
        client.say("quote_add_symbols", "qs_1", "NYSE:IBM")
        refused, completed = client.messages()
        assert refused["p"] == ["qs_1", {"n": "NYSE:IBM", **answer}]
        assert completed["m"] == "quote_completed"

    def test_recorded_refusal(self, client, captures):
        """An unknown symbol is refused as it was recorded."""
        text = (captures / "2024-08-qsd-no-such-symbol.json").read_text(encoding="utf-8")
        asked = json.loads(text)["p"][1]["n"]
        client.say("quote_add_symbols", "qs_1", asked)
        assert client.messages()[0]["p"][1] == json.loads(text)["p"][1]

    def test_recorded_fields(self, client, captures):
        """All recorded fields of a stock but its logo are there, and values of their kinds."""
        text = (captures / "2023-06-browser-page-small.jsonl").read_text(encoding="utf-8")
        recorded = next(
            json.loads(line)["p"][1]["v"]
            for line in text.splitlines()
            if '"qsd"' in line and '"NASDAQ:AAPL"' in line
        )
        values = quote(client, "NASDAQ:AAPL")["NASDAQ:AAPL"]
        assert recorded.keys() - values.keys() == {"logoid"}
        for name in recorded.keys() - {"logoid"}:
            assert type(values[name]) is type(recorded[name]), name

    def test_before_its_first_day(self, clock, client):
        """A listing without a past yet has a quote without prices."""
        clock.now = 0.0
        values = quote(client, "NASDAQ:MSFT", fields=["lp", "description", "current_session"])
        assert values["NASDAQ:MSFT"] == {
            "description": "Microsoft Corporation",
            "current_session": "out_of_session",
        }


@pytest.mark.parametrize(
    ("hour", "stock", "extended"),
    [
        (3.5, "out_of_session", "out_of_session"),
        (4.0, "out_of_session", "pre_market"),
        (9.4, "out_of_session", "pre_market"),
        (9.5, "market", "market"),
        (15.9, "market", "market"),
        (16.0, "out_of_session", "post_market"),
        (19.9, "out_of_session", "post_market"),
        (20.0, "out_of_session", "out_of_session"),
        (2 * 24 + 12.0, "out_of_session", "out_of_session"),
    ],
)
def test_current_session(clock, client, hour, stock, extended):
    """The part of the day follows the regular hours, and extended ones if there are any."""
    clock.now = NOON + (hour - 12) * HOUR_S
    symbols = "NYSE:IBM", "NASDAQ:AAPL", "BINANCE:BTCUSDT"
    values = quote(client, *symbols, fields=["current_session"])
    assert [values[symbol]["current_session"] for symbol in symbols] == [stock, extended, "market"]


def test_time_of_the_last_price(clock, client):
    """When a market is closed, its last price is of the last second that it was open."""
    clock.now = NOON + 12 * HOUR_S
    values = quote(client, "NYSE:IBM", "BINANCE:BTCUSDT", fields=["lp_time"])
    assert values["NYSE:IBM"]["lp_time"] == NOON + 4 * HOUR_S - 1
    assert values["BINANCE:BTCUSDT"]["lp_time"] == clock.now


class TestUpdates:
    def test_only_what_has_changed(self, clock, server, client):
        """A tick sends the changed fields among those asked for, which complete the snapshot."""
        fields = "lp", "volume", "description", "open_price"
        first = quote(client, WRAPPED, "NYSE:IBM", fields=fields)
        clock.now += HOUR_S
        sparse = changes(heard(server, client))
        assert sparse.keys() == {WRAPPED, "NYSE:IBM"}
        for name, values in sparse.items():
            assert values.keys() == {"lp", "volume"}
            symbol = "NASDAQ:AAPL" if name == WRAPPED else name
            today = server.market.bars(symbol, "1D", 1, clock.now)[0]
            merged = first[name] | values
            assert (merged["lp"], merged["volume"]) == (today.close, today.volume)

    def test_nothing_has_changed(self, clock, server, client):
        """A symbol of which nothing has changed is not mentioned."""
        assert heard(server, client) == []
        quote(client, "NYSE:IBM", "BINANCE:BTCUSDT")
        assert heard(server, client) == []
        clock.now += 12 * HOUR_S
        assert changes(heard(server, client)).keys() == {"NYSE:IBM", "BINANCE:BTCUSDT"}
        clock.now += HOUR_S
        assert changes(heard(server, client)).keys() == {"BINANCE:BTCUSDT"}

    def test_close_of_the_market(self, clock, server, client):
        """The end of a session is reported as a change of it."""
        quote(client, "NASDAQ:AAPL", fields=["current_session", "type"])
        clock.now += 4 * HOUR_S
        assert changes(heard(server, client)) == {"NASDAQ:AAPL": {"current_session": "post_market"}}

    def test_server_that_ticks_by_itself(self, clock):
        """With an interval the server sends updates unasked."""
        with FakeTradingView(clock=clock, tick_interval_s=0.01) as server:
            client = Client(server)
            with client.socket.sock:
                client.text()
                client.say("quote_create_session", "qs_1")
                quote(client, "NASDAQ:AAPL", fields=["lp_time"])
                clock.now += 5
                assert changes(client.messages()) == {"NASDAQ:AAPL": {"lp_time": NOON + 5}}

    def test_removed_symbols(self, clock, server, client):
        """A symbol that was removed, by the string it was added by, is not reported any more."""
        quote(client, WRAPPED, "NASDAQ:AAPL", "NYSE:IBM", fields=["lp"])
        client.say("quote_remove_symbols", "qs_1", WRAPPED, "NYSE:IBM", "NASDAQ:MSFT")
        assert received(client) == []
        clock.now += HOUR_S
        assert changes(heard(server, client)).keys() == {"NASDAQ:AAPL"}

    def test_hibernation(self, clock, server, client):
        """A hibernating session gets changes, as a public client expects."""
        quote(client, "NASDAQ:AAPL", fields=["lp_time"])
        client.say("quote_fast_symbols", "qs_1", "NASDAQ:AAPL")
        client.say("quote_hibernate_all", "qs_1")
        assert received(client) == []
        clock.now += 60
        assert changes(heard(server, client)) == {"NASDAQ:AAPL": {"lp_time": NOON + 60}}

    def test_sessions_have_fields_of_their_own(self, clock, server, client):
        """Two sessions get one symbol, each its own fields."""
        quote(client, "NASDAQ:AAPL", fields=["lp_time"])
        client.say("quote_create_session", "qs_2")
        client.say("quote_set_fields", "qs_2", "volume")
        client.say("quote_add_symbols", "qs_2", "NASDAQ:AAPL")
        client.messages()
        clock.now += 60
        first, second = heard(server, client)
        assert (first["p"][0], [*first["p"][1]["v"]]) == ("qs_1", ["lp_time"])
        assert (second["p"][0], [*second["p"][1]["v"]]) == ("qs_2", ["volume"])

    def test_refusal_and_its_end(self, server, client):
        """A symbol that is refused from now on is reported, and so is the end of the refusal."""
        first = quote(client, "NYSE:IBM", fields=["lp"])
        server.refuse("NYSE:IBM", Refusal("symbol_error", "permission denied"))
        (refused,) = heard(server, client)
        assert refused["p"][1]["s"] == "permission_denied"
        server.refuse("NYSE:IBM", None)
        assert changes(heard(server, client)) == first


class TestSessions:
    @pytest.mark.parametrize("method", ["add", "remove", "fast"])
    def test_flags_are_refused(self, server, client, method):
        """What is not a symbol among symbols ends the quote session, and it alone."""
        client.say(f"quote_{method}_symbols", "qs_1", "NASDAQ:AAPL", {"flags": ["anything"]})
        (error,) = client.messages()
        assert (error["m"], error["p"][:2]) == ("critical_error", ["qs_1", "invalid_parameters"])
        assert server.open_quote_sessions == set()
        client.say("quote_add_symbols", "qs_1", "NASDAQ:AAPL")
        assert received(client) == []

    def test_open_quote_sessions(self, server, client):
        """The server knows the open quote sessions, and counts them among no chart sessions."""
        client.say("quote_create_session", "qs_2")
        assert server.wait_until(lambda s: s.open_quote_sessions == {"qs_1", "qs_2"})
        client.say("quote_delete_session", "qs_1")
        assert server.wait_until(lambda s: s.open_quote_sessions == {"qs_2"})
        assert (server.open_sessions, server.peak_sessions) == (set(), 0)
        client.socket.close()
        assert server.wait_until(lambda s: not s.open_quote_sessions)
