"""Splits, dividends and corrections of the loopback market while it runs."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.testing.client import Client, named, names, received
from tvDatafeed import Interval, TvDatafeed
from tvDatafeed.testing import LISTINGS, FakeTradingView, Market, MarketClock, PriceOptions
from tvDatafeed.testing.market import restatements as restatements_module

NOW = 1_787_245_200.0  # 2026-08-20, a Thursday: 13:00 in New York
OPEN = 1_787_232_600  # of that day
STOCK, COIN = "NASDAQ:AAPL", "BINANCE:BTCUSDT"
DAY_S = 86_400
MARKET = Market()
INTERVALS = ("1", "5", "60", "1D", "1W", "1M")


@pytest.fixture
def clock():
    return MarketClock(NOW, speed=0)


@pytest.fixture
def server(clock):
    with FakeTradingView(clock=clock, max_series=10) as running:
        yield running


@pytest.fixture
def client(server):
    """A client that has greeted and has the chart session cs_plain."""
    client = Client(server)
    with client.socket.sock:
        client.greet()
        yield client


def rows_of(update, name="sds_1"):
    """Return the rows of the bars of a message by their index."""
    return {item["i"]: tuple(item["v"]) for item in update["p"][1][name]["s"]}


def fetched(server, symbol=STOCK, interval="1D", count=20, **options):
    """Return the rows of a new series of another client."""
    client = Client(server)
    with client.socket.sock:
        client.greet()
        spec = json.dumps({"symbol": symbol, **options})
        client.say("resolve_symbol", "cs_plain", "sym_1", f"={spec}")
        client.say("create_series", "cs_plain", "sds_1", "s1", "sym_1", interval, count, "")
        return list(rows_of(named(client.messages(), "timescale_update")).values())


def market_rows(symbol=STOCK, interval="1D", count=20, now=NOW, **options):
    bars = MARKET.bars(symbol, interval, count, now, **options)
    return [tuple(map(float, bar)) for bar in bars]


def cents(price):
    """Return a price in whole ticks; half a tick goes to the even one, as in numpy."""
    return float(np.round(price, 2))


def split(rows, ratio, before=OPEN):
    """Return rows as they are after a split, from the definition of a split."""
    return [
        (time, *(cents(price / ratio) for price in prices), volume * ratio)
        if time < before
        else (time, *prices, volume)
        for time, *prices, volume in rows
    ]


def paid(rows, factor, before=OPEN):
    """Return rows as they are after a dividend."""
    return [
        (time, *(cents(price * factor) for price in prices), volume)
        if time < before
        else (time, *prices, volume)
        for time, *prices, volume in rows
    ]


class TestSplits:
    @pytest.mark.parametrize("interval", INTERVALS)
    def test_bars_before_it(self, server, interval):
        """Bars of every interval that opened earlier are restated, later ones are not."""
        before = MARKET.bars(STOCK, interval, 5, NOW)[0].time
        server.split(STOCK, 4, before=before)
        rows = fetched(server, interval=interval)
        assert rows == split(market_rows(interval=interval), 4, before)
        assert rows[-6] != market_rows(interval=interval)[-6]
        assert rows[-5:] == market_rows(interval=interval)[-5:]

    @pytest.mark.parametrize("ratio", [1.5, 3, 7, 0.1])
    def test_ratios(self, server, ratio):
        """Reverse and uneven splits have prices in ticks and volumes in shares."""
        server.split(STOCK, ratio, before=OPEN)
        rows, wanted = fetched(server), split(market_rows(), ratio)
        for row, want in zip(rows, wanted, strict=True):
            assert row[1:5] == pytest.approx(want[1:5], abs=0.0101)
            assert row[5] == pytest.approx(want[5], abs=0.51)
            assert [round(price, 2) for price in row[1:5]] == list(row[1:5])
            assert row[5] == int(row[5])
            assert row[3] <= min(row[1], row[4]) <= max(row[1], row[4]) <= row[2]

    def test_at_a_moment(self, server, clock):
        """A split that was announced takes effect when its moment comes."""
        server.split(STOCK, 2, before=OPEN, at=NOW + 60)
        assert fetched(server) == market_rows()
        clock.step(59)
        assert fetched(server) == market_rows(now=NOW + 59)
        clock.step(1)
        assert fetched(server) == split(market_rows(now=NOW + 60), 2)

    def test_cached_texts(self, server):
        """A reply that the server has formatted before is formatted again."""
        first = fetched(server)
        assert fetched(server) == first
        server.split(STOCK, 2, before=OPEN)
        second = fetched(server)
        assert second == split(first, 2)
        server.split(STOCK, 2, before=OPEN)
        assert fetched(server) == split(first, 4)

    def test_by_default_now(self, server, clock):
        """Without moments, the split is now, and the bar that forms is restated too."""
        server.split(STOCK, 2)
        clock.step(DAY_S)
        rows = fetched(server, count=3)
        assert rows == split(market_rows(count=3, now=NOW + DAY_S), 2, NOW)
        assert rows[-1] == market_rows(count=1, now=NOW + DAY_S)[0]

    def test_adjustments(self, server):
        """A split changes prices adjusted for splits and dividends, and no raw prices."""
        server.split(STOCK, 2, before=OPEN)
        assert fetched(server, adjustment="none") == market_rows(adjustment="none")
        rows = fetched(server, adjustment="dividends")
        assert rows == split(market_rows(adjustment="dividends"), 2)

    def test_other_options(self, server):
        """Other hours and other currencies are restated with it."""
        server.split(STOCK, 2, before=OPEN)
        rows = fetched(server, interval="60", session="extended")
        assert rows == split(market_rows(interval="60", session="extended"), 2)
        rows = fetched(server, **{"currency-id": "EUR"})
        assert rows == split(market_rows(currency="EUR"), 2)

    def test_other_symbols(self, server):
        """Other symbols do not change."""
        server.split(STOCK, 2)
        assert fetched(server, "NASDAQ:MSFT") == market_rows("NASDAQ:MSFT")

    def test_without_volume(self, server):
        """A listing without volume has none afterwards, one with fractions keeps them."""
        server.split("SP:SPX", 2)
        assert [len(row) for row in fetched(server, "SP:SPX")] == [5] * 20
        server.split(COIN, 2)
        rows, before = fetched(server, COIN, "1"), market_rows(COIN, "1")
        assert [row[5] for row in rows[:-1]] == pytest.approx([2 * row[5] for row in before[:-1]])

    def test_older_pages_and_ranges(self, server, client):
        """Older pages and single ranges are restated, even those of a series from before."""
        client.history(STOCK, "1D", 5)
        server.split(STOCK, 2, before=OPEN)
        client.say("request_more_data", "cs_plain", "sds_1", 5)
        page = rows_of(named(client.messages(), "timescale_update"))
        assert list(page.values()) == split(market_rows(count=10), 2)[:5]
        start, end = (int(row[0]) for row in (market_rows(count=8)[0], market_rows(count=4)[0]))
        for count in (["from_to", start, end], ["bar_count", end, 5]):
            client.say("create_series", "cs_plain", "sds_1", "s3", "sym_1", "1D", count, "")
            found = rows_of(named(client.messages(), "timescale_update"))
            assert list(found.values()) == split(market_rows(count=8), 2)[:5]

    def test_open_series(self, server, client):
        """No message announces a split; the last bar has the new values at the next update."""
        client.history(STOCK, "1D", 5)
        server.split(STOCK, 2)
        assert received(client) == []
        server.tick()
        (update,) = received(client)
        assert update["m"] == "du"
        assert rows_of(update) == {4: split(market_rows(count=1), 2, NOW)[0]}

    def test_open_series_of_later_bars(self, server, client):
        """The bars since the split continue as if it had not been."""
        client.history(STOCK, "1D", 5)
        server.split(STOCK, 2, before=OPEN)
        server.step(60)
        (update,) = received(client)
        assert rows_of(update) == {4: market_rows(count=1, now=NOW + 60)[0]}

    def test_quotes(self, server, client):
        """The close of the day before is restated, and so is the change since."""
        client.say("quote_create_session", "qs_1")
        client.say("quote_set_fields", "qs_1", "lp", "ch", "prev_close_price")
        client.say("quote_add_symbols", "qs_1", STOCK)
        client.messages()
        server.split(STOCK, 2, before=OPEN)
        server.tick()
        (update,) = received(client)
        yesterday, today = split(market_rows(count=2), 2)
        assert update["p"][1]["v"] == {
            "prev_close_price": yesterday[4],
            "ch": pytest.approx(today[4] - yesterday[4]),
        }


class TestDividends:
    @pytest.fixture
    def factor(self):
        """What a dividend of 2.5 multiplies earlier prices by."""
        return 1 - 2.5 / market_rows(count=2)[0][4]

    def test_bars_before_it(self, server, factor):
        """Only prices adjusted for dividends fall, and no volume grows."""
        server.dividend(STOCK, 2.5, before=OPEN)
        for interval in ("1", "60", "1D"):
            rows = fetched(server, interval=interval, count=400, adjustment="dividends")
            wanted = market_rows(interval=interval, count=400, adjustment="dividends")
            assert rows == paid(wanted, factor)
            assert rows[0] != wanted[0]
        for adjustment in ("splits", "none"):
            assert fetched(server, adjustment=adjustment) == market_rows(adjustment=adjustment)

    def test_in_another_currency(self, server, factor):
        """The factor does not depend on the currency."""
        server.dividend(STOCK, 2.5, before=OPEN)
        options = {"adjustment": "dividends", "currency-id": "EUR"}
        wanted = market_rows(adjustment="dividends", currency="EUR")
        assert fetched(server, **options) == paid(wanted, factor)

    def test_after_a_split(self, server):
        """The amount is in prices of its day: after a split, it is a larger part of them."""
        server.split(STOCK, 2, before=OPEN - DAY_S)
        earlier = split(market_rows(), 2, OPEN - DAY_S)
        server.dividend(STOCK, 2.5, before=OPEN - DAY_S)
        factor = 1 - 2.5 / earlier[-3][4]
        rows = fetched(server, adjustment="dividends")
        wanted = market_rows(adjustment="dividends")
        for row, want in zip(rows[:-2], wanted[:-2], strict=True):
            assert row[1:5] == pytest.approx([price * factor / 2 for price in want[1:5]], abs=0.006)
            assert row[5] == want[5] * 2
        assert rows[-2:] == wanted[-2:]


class TestTogether:
    def test_correction_before_a_split(self, server):
        """A corrected bar is restated as any other."""
        time = int(market_rows(count=3)[0][0])
        server.correct(STOCK, "1D", time, close=400, volume=1000)
        server.split(STOCK, 4, before=OPEN)
        row = fetched(server, count=3)[0]
        assert (row[4], row[5]) == (100.0, 4000.0)

    def test_correction_after_a_split(self, server):
        """A correction of a restated bar is in new prices; what it omits is restated."""
        time = int(market_rows(count=3)[0][0])
        server.split(STOCK, 4, before=OPEN)
        restated = fetched(server, count=3)[0]
        server.correct(STOCK, "1D", time, close=restated[4] + 0.01)
        row = fetched(server, count=3)[0]
        assert row[4] == restated[4] + 0.01
        assert (row[0], row[1], row[5]) == (restated[0], restated[1], restated[5])

    def test_between_two_splits(self, server):
        """Each change applies to what the earlier ones have left."""
        time = int(market_rows(count=3)[0][0])
        server.split(STOCK, 2, before=OPEN)
        server.correct(STOCK, "1D", time, close=300, volume=50)
        server.split(STOCK, 3, before=OPEN)
        server.correct(STOCK, "1D", time, low=1)
        row = fetched(server, count=3)[0]
        assert (row[3], row[4], row[5]) == (1.0, 100.0, 150.0)

    def test_before_an_announced_split(self, server, clock):
        """A correction made before a split's moment is restated when it comes."""
        time = int(market_rows(count=3)[0][0])
        server.split(STOCK, 2, before=OPEN, at=NOW + 60)
        server.correct(STOCK, "1D", time, close=300)
        assert fetched(server, count=3)[0][4] == 300.0
        clock.step(60)
        assert fetched(server, count=3)[0][4] == 150.0

    def test_correction_of_a_restated_forming_bar(self, server, clock):
        """The bar that forms continues from its correction, in new prices."""
        server.split(STOCK, 2)
        server.correct(STOCK, "1D", OPEN, high=1000)
        clock.step(600)
        row = fetched(server, count=1)[0]
        now = split(market_rows(count=1, now=NOW + 600), 2, NOW)[0]
        assert (row[1], row[2], row[3], row[4], row[5]) == (now[1], 1000.0, *now[3:])

    @settings(max_examples=20, deadline=None)
    @given(st.lists(st.sampled_from([2, 4, 5, 10, 0.5, 0.25]), min_size=1, max_size=4))
    def test_splits_multiply(self, ratios):
        """Several splits at once are one split by their product, rounded once."""
        product = 1.0
        for ratio in ratios:
            product *= ratio
        with FakeTradingView(clock=MarketClock(NOW, speed=0)) as server:
            for ratio in ratios:
                server.split(STOCK, ratio, before=OPEN)
            for row, want in zip(fetched(server), split(market_rows(), product), strict=True):
                assert row[1:5] == pytest.approx(want[1:5], abs=0.0101)
                assert row[5] == pytest.approx(want[5], abs=0.51)


class TestCorrections:
    @pytest.mark.parametrize("interval", INTERVALS)
    def test_last_bars(self, server, client, interval):
        """The last bars of any interval can be corrected, with the one that forms."""
        known = rows_of(named(client.history(STOCK, interval, 6), "timescale_update"))
        for index in (3, 4, 5):
            time, _open, high = known[index][:3]
            server.correct(STOCK, interval, int(time), high=high + 1 + index)
        updates = received(client)
        assert names(updates) == ["du"] * 3
        changed = {index: row for update in updates for index, row in rows_of(update).items()}
        assert {index: row[2] for index, row in changed.items()} == {
            index: known[index][2] + 1 + index for index in (3, 4, 5)
        }
        assert fetched(server, interval=interval, count=6) == list((known | changed).values())

    @pytest.mark.parametrize(
        ("options", "fields"),
        [
            (PriceOptions(adjustment="none"), {"adjustment": "none"}),
            (PriceOptions(adjustment="dividends"), {"adjustment": "dividends"}),
            (PriceOptions(session="extended"), {"session": "extended"}),
            (PriceOptions(currency="EUR"), {"currency-id": "EUR"}),
        ],
    )
    def test_options(self, server, client, options, fields):
        """A bar with other options is corrected on its own, and its series alone get it."""
        client.history(STOCK, "60", 5)
        spec = json.dumps({"symbol": STOCK, **fields})
        client.say("resolve_symbol", "cs_plain", "sym_2", f"={spec}")
        client.say("create_series", "cs_plain", "sds_2", "s1", "sym_2", "60", 5, "")
        rows = rows_of(named(client.messages(), "timescale_update"), "sds_2")
        server.correct(STOCK, "60", int(rows[3][0]), high=5000, options=options)
        (update,) = received(client)
        assert rows_of(update, "sds_2")[3][2] == 5000.0
        assert fetched(server, interval="60", count=5, **fields)[3][2] == 5000.0
        assert fetched(server, interval="60", count=5) == market_rows(interval="60", count=5)

    def test_hours_of_days(self, server):
        """Days have no extended hours, so that their correction is for both sessions."""
        options = PriceOptions(session="extended", currency="USD")
        server.correct(STOCK, "1D", OPEN, high=5000, options=options)
        assert fetched(server, count=1)[0][2] == 5000.0

    def test_unknown_currency(self, server):
        """A price that cannot be converted cannot be corrected."""
        with pytest.raises(ValueError, match="cannot be converted to ZZZ"):
            server.correct(STOCK, "1D", OPEN, high=1, options=PriceOptions(currency="ZZZ"))


class TestMistakes:
    @pytest.mark.parametrize("ratio", [0, -1, float("nan"), float("inf")])
    def test_ratio(self, server, ratio):
        """A ratio that is not a positive number splits nothing."""
        with pytest.raises(ValueError, match="ratio must be a finite number above 0"):
            server.split(STOCK, ratio)
        assert fetched(server) == market_rows()

    @pytest.mark.parametrize("amount", [0, -1, 100_000, float("nan")])
    def test_amount(self, server, amount):
        """A dividend is less than the price."""
        with pytest.raises(ValueError, match="amount must be above 0 and below the close"):
            server.dividend(STOCK, amount, before=OPEN)

    def test_symbol(self, server):
        """The symbol must be in the market."""
        for mistake in (server.split, server.dividend):
            with pytest.raises(ValueError, match="There is no NO:SUCH"):
                mistake("NO:SUCH", 2)

    def test_moments(self, server):
        """The past cannot be restated in the past, and a dividend needs a close before it."""
        with pytest.raises(ValueError, match="at must not be before the server's time"):
            server.split(STOCK, 2, at=NOW - 1)
        with pytest.raises(ValueError, match="before must be a finite number"):
            server.split(STOCK, 2, before=float("nan"))
        with pytest.raises(ValueError, match="has no daily bar before 0"):
            server.dividend(STOCK, 1, before=0)

    def test_too_many(self, server, monkeypatch):
        """The server keeps a limited number of them."""
        monkeypatch.setattr(restatements_module, "_MAX_RESTATEMENTS", 2)
        server.split(STOCK, 2)
        server.dividend(STOCK, 1)
        with pytest.raises(ValueError, match="There have been 2 splits and dividends"):
            server.split(STOCK, 2)


class TestThroughTheLibrary:
    def test_get_hist(self, server):
        """A program that asks before and after a split gets old and new prices."""
        with TvDatafeed(config=server.config()) as tv:
            before = tv.get_hist("AAPL", "NASDAQ", Interval.in_daily, 50, timezone="UTC")
            server.split(STOCK, 4, before=OPEN)
            after = tv.get_hist("AAPL", "NASDAQ", Interval.in_daily, 50, timezone="UTC")
            raw = tv.get_hist("AAPL", "NASDAQ", Interval.in_daily, 50, adjustment="none")
        wanted = before.copy()
        wanted.iloc[:-1, 1:5] = (wanted.iloc[:-1, 1:5] / 4).round(2)
        wanted.iloc[:-1, 5] *= 4
        pd.testing.assert_frame_equal(after, wanted)
        assert raw["close"].tolist() == [row[4] for row in market_rows(count=50, adjustment="none")]

    def test_dividend(self, server):
        """A dividend restates adjustment="dividends" alone."""
        with TvDatafeed(config=server.config()) as tv:
            asked = {"n_bars": 50, "adjustment": "dividends"}
            before = tv.get_hist("AAPL", "NASDAQ", **asked)
            plain = tv.get_hist("AAPL", "NASDAQ", n_bars=50)
            server.dividend(STOCK, 2.5, before=OPEN)
            after = tv.get_hist("AAPL", "NASDAQ", **asked)
            pd.testing.assert_frame_equal(tv.get_hist("AAPL", "NASDAQ", n_bars=50), plain)
        factor = 1 - 2.5 / plain["close"].iloc[-2]
        assert after["close"].iloc[:-1].tolist() == pytest.approx(
            (before["close"].iloc[:-1] * factor).round(2).tolist()
        )
        assert after.iloc[-1].tolist() == before.iloc[-1].tolist()


def test_every_listing_can_be_split():
    """Whatever a listing's ticks and units are, a restated bar is one of its bars."""
    with FakeTradingView(clock=MarketClock(NOW, speed=0)) as server:
        for listing in LISTINGS:
            server.split(listing.symbol, 3)
            for row in fetched(server, listing.symbol, count=5):
                for price in row[1:5]:
                    ticks = price * listing.pricescale / listing.minmov
                    assert ticks == pytest.approx(round(ticks))
                assert row[3] <= min(row[1], row[4]) <= max(row[1], row[4]) <= row[2]
