"""The loopback market lives: its clock is stepped, bars are corrected, and open series hear it."""

import itertools
import json
import threading
from datetime import datetime, timezone
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.testing.client import Client, named, names, received
from tvDatafeed.testing import LISTINGS, Account, FakeTradingView, Market, MarketClock
from tvDatafeed.testing.market import clock as clock_module
from tvDatafeed.testing.market import corrections as corrections_module

NOW = 1_787_245_200.0  # 2026-08-20, a Thursday: 13:00 in New York
COIN, STOCK = "BINANCE:BTCUSDT", "NASDAQ:AAPL"
MARKET = Market()


def moment(text):
    """Epoch seconds of a moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp()


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


def opened(client, symbol=COIN, interval="1", count=10):
    """Open a series and give its bars as the client knows them from now on, by index."""
    update = named(client.history(symbol, interval, count), "timescale_update")
    return {item["i"]: tuple(item["v"]) for item in update["p"][1]["sds_1"]["s"]}


def items(messages):
    """Return what updates of one bar each say: the message's name, the index and the row."""
    found = []
    for message in messages:
        (item,) = message["p"][1]["sds_1"]["s"]
        found.append((message["m"], item["i"], tuple(item["v"])))
    return found


def stepped(server, client, seconds):
    """Step the market and return the client's messages about it."""
    server.step(seconds)
    return received(client)


def rows(bars):
    """Return bars of the market as rows of a series."""
    return [tuple(map(float, bar[: 6 if bar.volume is not None else 5])) for bar in bars]


def latest(server, symbol=COIN, interval="1", count=10):
    """Ask for bars on a connection of its own, and give their rows."""
    other = Client(server)
    with other.socket.sock:
        other.greet("cs_other")
        update = named(other.history(symbol, interval, count, "cs_other"), "timescale_update")
    return [tuple(item["v"]) for item in update["p"][1]["sds_1"]["s"]]


class TestClock:
    @pytest.fixture
    def elapse(self, monkeypatch):
        """Stop the machine's time, and advance it by a call."""
        now = [1000.0]
        machine = SimpleNamespace(time=lambda: NOW, monotonic=lambda: now[0])
        monkeypatch.setattr(clock_module, "time", machine)

        def elapsed(seconds):
            now[0] += seconds

        return elapsed

    def test_goes_like_any_other(self, elapse):
        """A clock without arguments starts now, and its second takes a second."""
        clock = MarketClock()
        assert clock() == NOW
        elapse(2.5)
        assert clock() == NOW + 2.5

    def test_speed(self, elapse):
        """At another speed the time continues from where it is."""
        clock = MarketClock(0.0, speed=60)
        elapse(2)
        clock.speed = 0
        elapse(5)
        assert (clock(), clock.speed) == (120.0, 0.0)
        clock.speed = 0.5
        elapse(2)
        assert clock() == 121.0

    def test_steps(self, elapse):
        """Steps add to what goes by, and a moment that is set takes its place."""
        clock = MarketClock(100.0)
        elapse(1)
        clock.step(10)
        elapse(1)
        assert clock() == 112.0
        clock.set(7)
        elapse(1)
        assert clock() == 8.0

    def test_repr(self):
        """The repr shows the moment and the speed."""
        assert repr(MarketClock(5, speed=0)) == "MarketClock(5.0, speed=0.0)"

    @pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
    def test_impossible(self, seconds):
        """Time neither goes backwards by itself, nor to where no number is; nothing has changed."""
        clock = MarketClock(5, speed=0)
        for mistake in (
            lambda: MarketClock(speed=seconds),
            lambda: clock.step(seconds),
            lambda: setattr(clock, "speed", seconds),
            lambda: clock.set(seconds * float("inf")),
            lambda: MarketClock(seconds * float("inf")),
        ):
            with pytest.raises(ValueError, match="must be a finite number"):
                mistake()
        assert (clock(), clock.speed) == (5.0, 0.0)

    def test_threads(self):
        """No step is lost, however many threads step at once."""
        clock = MarketClock(0, speed=0)
        threads = [
            threading.Thread(target=lambda: [clock.step(1) for _ in range(500)]) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert clock() == 4000.0


class TestSteps:
    def test_long_step(self, server, client):
        """The bar that was reported ends as a du, and each one since comes by itself, ascending."""
        known = opened(client)
        messages = stepped(server, client, 3600)
        assert names(messages) == ["du"] + ["timescale_update"] * 60
        heard = items(messages)
        assert [index for _name, index, _row in heard] == list(range(9, 70))
        bars = MARKET.bars(COIN, "1", 61, NOW + 3600)
        assert [row for _name, _index, row in heard] == rows(bars)
        assert heard[0][2][0] == known[9][0]
        ends = [message["p"][1]["sds_1"]["lbs"]["bar_close_time"] for message in messages]
        assert ends == [bar.time + 60 for bar in bars]

    def test_each_step_is_told(self, server, client):
        """The changes of a step are reported as of then, though the clock runs on."""
        opened(client)
        moments = [NOW + 5 * step for step in range(1, 20)]
        for _moment in moments:
            server.step(5)
        heard = [row for _name, _index, row in items(received(client))]
        bars = [MARKET.bars(COIN, "1", 2, moment) for moment in moments]
        wanted = [bar for (before, bar) in bars for bar in (before, bar)]
        # A bar that ends is reported once more before the next one, if it has changed.
        assert set(heard) <= set(rows(wanted))
        assert [row for row in heard if row[0] == NOW + 60] == rows(
            [bar for (_before, bar) in bars if bar.time == NOW + 60]
        )

    def test_time_of_messages(self, server, client):
        """A new bar's message has the market's own time."""
        opened(client)
        update = named(stepped(server, client, 60.25), "timescale_update")
        assert (update["t"], update["t_ms"]) == (int(NOW) + 60, int(NOW) * 1000 + 60_250)

    def test_nothing_before_a_tick(self, server, client, clock):
        """A stepped clock notifies no client; the next tick does."""
        opened(client)
        clock.step(60)
        assert received(client) == []
        server.tick()
        assert names(received(client)) == ["du", "timescale_update"]

    def test_clock_that_is_set_back(self, server, client, clock):
        """A market of yesterday has no news for a series, which continues when today returns."""
        opened(client)
        clock.set(NOW - 86_400)
        server.tick()
        assert received(client) == []
        clock.set(NOW + 60)
        server.tick()
        assert names(received(client)) == ["du", "timescale_update"]

    def test_other_clocks(self):
        """Only a clock of the market's can be stepped."""
        with pytest.raises(TypeError, match=r"give FakeTradingView\(clock=MarketClock"):
            FakeTradingView(clock=lambda: NOW).step(1)

    def test_fast_clock(self):
        """A fast market brings new bars by itself."""
        clock = MarketClock(NOW, speed=6000)
        with FakeTradingView(clock=clock, tick_interval_s=0.01) as server:
            client = Client(server)
            with client.socket.sock:
                client.greet()
                first = opened(client)[9][0]
                times = []
                while len(times) < 5:
                    update = client.messages()[0]
                    if update["m"] == "timescale_update":
                        times.append(update["p"][1]["sds_1"]["s"][0]["v"][0])
        assert times == [first + 60 * step for step in range(1, 6)]

    def test_quotes(self, server, client):
        """Quotes get each step too."""
        client.say("quote_create_session", "qs_1")
        client.say("quote_set_fields", "qs_1", "lp", "lp_time")
        client.say("quote_add_symbols", "qs_1", COIN)
        client.messages()
        (update,) = stepped(server, client, 3600)
        assert update["p"][1]["v"]["lp_time"] == NOW + 3600
        assert update["p"][1]["v"]["lp"] == MARKET.bars(COIN, "1D", 1, NOW + 3600)[0].close


class TestSessions:
    @pytest.mark.parametrize("interval", ["1", "1D"])
    def test_weekend_and_holiday(self, server, client, clock, interval):
        """Over a close, a weekend and Labor Day nothing is new until the next open."""
        clock.set(moment("2026-09-04 19:59:30"))
        opened(client, STOCK, interval)
        ((name, index, row),) = items(stepped(server, client, 60))
        (last,) = MARKET.bars(STOCK, interval, 1, moment("2026-09-04 20:00:00"))
        assert (name, index, row) == ("du", 9, rows([last])[0])
        for text in ("2026-09-05 14:00:00", "2026-09-07 15:00:00", "2026-09-08 13:29:59"):
            assert stepped(server, client, moment(text) - clock()) == []
        ((name, index, row),) = items(stepped(server, client, 1.5))
        assert (name, index, row[0]) == ("timescale_update", 10, moment("2026-09-08 13:30:00"))

    def test_step_over_all_of_it(self, server, client, clock):
        """A step over a close and an open reports the end of the old bar and the new ones."""
        clock.set(moment("2026-09-04 19:58:30"))
        opened(client, STOCK)
        heard = items(stepped(server, client, moment("2026-09-08 13:31:30") - clock()))
        times = ["2026-09-04 19:58:00", "2026-09-04 19:59:00"]
        times += ["2026-09-08 13:30:00", "2026-09-08 13:31:00"]
        assert [row[0] for _name, _index, row in heard] == list(map(moment, times))
        assert [index for _name, index, _row in heard] == [9, 10, 11, 12]

    def test_delayed(self, server, client):
        """A delayed symbol's updates are the market's of a quarter of an hour ago."""
        server.delay(COIN, 900)
        client.say("quote_create_session", "qs_1")
        client.say("quote_set_fields", "qs_1", "lp", "update_mode")
        client.say("quote_add_symbols", "qs_1", COIN)
        quote = named(client.messages(), "qsd")["p"][1]["v"]
        assert quote["update_mode"] == "delayed_streaming_900"
        history = client.history(COIN, "1", 10)
        assert named(history, "series_completed")["p"][2] == "delayed_streaming_900"
        messages = stepped(server, client, 60)
        late = MARKET.bars(COIN, "1", 2, NOW - 840)
        assert [row for _n, _i, row in items(messages[:2])] == rows(late)
        assert named(messages, "timescale_update")["t"] == NOW + 60
        assert named(messages, "qsd")["p"][1]["v"] == {"lp": late[1].close}

    def test_delay_that_begins(self, server, client):
        """A series whose symbol becomes late hears nothing until the market has caught up."""
        opened(client)
        server.delay(COIN, 900)
        assert stepped(server, client, 840) == []
        assert names(stepped(server, client, 120)) == ["du", "timescale_update"]


class TestCorrections:
    def test_finished_bar(self, server, client):
        """A client with the bar gets a du with its index, and a later request contains it too."""
        known = opened(client)
        time = int(known[4][0])
        server.correct(COIN, "1", time, close=70_000, volume=2)
        ((name, index, row),) = items(received(client))
        assert (name, index) == ("du", 4)
        opening, high, low = known[4][1:4]
        assert row == (time, opening, max(high, 70_000.0), min(low, 70_000.0), 70_000.0, 2.0)
        assert latest(server)[4] == row
        assert stepped(server, client, 1)[0]["m"] == "du"
        assert latest(server)[4] == row

    def test_forming_bar(self, server, client):
        """From a bar that is forming the market continues, and its correction stays."""
        known = opened(client)
        server.step(30)
        received(client)
        time = int(known[9][0])
        (bar,) = MARKET.bars(COIN, "1", 1, NOW + 30)
        server.correct(COIN, "1", time, high=bar.high + 100, volume=bar.volume + 5)
        ((name, index, row),) = items(received(client))
        assert (name, index) == ("du", 9)
        assert row == (time, bar.open, bar.high + 100, bar.low, bar.close, bar.volume + 5)
        server.tick()
        assert received(client) == []
        (_name, index, row), (_new, following, _row) = items(stepped(server, client, 30))
        final = MARKET.bars(COIN, "1", 2, NOW + 60)[0]
        assert (index, following) == (9, 10)
        assert row[1:5] == (final.open, bar.high + 100, final.low, final.close)
        assert row[5] == pytest.approx(final.volume + 5)
        assert latest(server)[-2] == row

    def test_widest_prices_count(self, server, client):
        """Beyond a corrected high and low the market still goes."""
        opened(client)
        (bar,) = MARKET.bars(COIN, "1", 1, NOW)
        price = bar.open
        server.correct(COIN, "1", bar.time, open=price, high=price, low=price, close=price)
        ((_name, _index, row),) = items(stepped(server, client, 59))
        (final,) = MARKET.bars(COIN, "1", 1, NOW + 59)
        assert row[1:5] == (price, final.high, final.low, final.close)

    def test_older_page(self, server, client):
        """The index counts from the first page: an older bar has a negative one."""
        first = opened(client)[0][0]
        client.say("request_more_data", "cs_plain", "sds_1", 20)
        client.messages()
        server.step(180)
        received(client)
        server.correct(COIN, "1", int(first) - 600, low=1)
        ((_name, index, row),) = items(received(client))
        assert (index, row[0], row[3]) == (-10, first - 600, 1.0)
        server.correct(COIN, "1", int(first), low=1)
        assert items(received(client))[0][1] == 0

    def test_pages_that_are_asked_for_later(self, server, client):
        """Older pages, ranges and single moments show what was corrected."""
        first = int(opened(client)[0][0])
        server.correct(COIN, "1", first - 60, close=5)
        server.correct(COIN, "1", first, close=6)
        received(client)
        client.say("request_more_data", "cs_plain", "sds_1", 3)
        page = named(client.messages(), "timescale_update")["p"][1]["sds_1"]["s"]
        assert page[-1]["v"][4] == 5.0
        for count in (["bar_count", first, 2], ["from_to", first - 60, first]):
            client.say("modify_series", "cs_plain", "sds_1", "s2", "sym_1", "1", "")
            client.messages()
            client.say("create_series", "cs_plain", "sds_1", "s3", "sym_1", "1", count, "")
            bars = named(client.messages(), "timescale_update")["p"][1]["sds_1"]["s"]
            assert [item["v"][4] for item in bars] == [5.0, 6.0]

    def test_who_is_not_told(self, server, client):
        """Series of other bars, other intervals, other symbols and the past are not notified."""
        known = opened(client, count=3)
        for name, interval, count in [("b", "3", 9), ("c", "1", ["bar_count", NOW - 600, 9])]:
            client.say("create_series", "cs_plain", name, "s1", "sym_1", interval, count, "")
            client.messages()
        client.say("resolve_symbol", "cs_plain", "sym_2", "BITSTAMP:BTCUSD")
        client.say("create_series", "cs_plain", "d", "s1", "sym_2", "1", 9, "")
        client.messages()
        server.correct(COIN, "1", int(known[0][0]) - 60, low=1)
        assert received(client) == []
        server.correct(COIN, "1", int(known[0][0]), low=1)
        assert [list(message["p"][1]) for message in received(client)] == [["sds_1"]]

    def test_bar_that_is_not_told_yet(self, server, client, clock):
        """A bar that a series has not heard of comes corrected when it comes."""
        opened(client)
        clock.step(90)
        server.correct(COIN, "1", int(NOW) + 60, low=1)
        assert received(client) == []
        server.tick()
        _du, (_name, index, row) = items(received(client))
        assert (index, row[3]) == (10, 1.0)

    def test_names_of_an_interval(self, server, client):
        """An hour is 60 and 1H, and a day is D and 1D."""
        known = opened(client, COIN, "60")
        server.correct(COIN, "1H", int(known[3][0]), low=1)
        assert items(received(client))[0][1] == 3
        server.correct(COIN, "D", MARKET.bars(COIN, "1D", 1, NOW)[0].time, low=1)
        assert latest(server, COIN, "1D", 1)[0][3] == 1.0

    def test_corrected_twice(self, server, client):
        """A second correction changes what the first one left."""
        known = opened(client)
        time = int(known[4][0])
        server.correct(COIN, "1", time, low=1)
        server.correct(COIN, "1", time, volume=2)
        first, second = items(received(client))
        assert (first[2][3], second[2][3], second[2][5]) == (1.0, 1.0, 2.0)

    def test_quotes(self, server, client):
        """The day's bar and its quote agree."""
        client.say("quote_create_session", "qs_1")
        client.say("quote_set_fields", "qs_1", "lp", "high_price")
        client.say("quote_add_symbols", "qs_1", COIN)
        client.messages()
        server.correct(COIN, "1D", MARKET.bars(COIN, "1D", 1, NOW)[0].time, close=99_999)
        server.tick()
        (update,) = received(client)
        assert update["p"][1]["v"] == {"lp": 99_999.0, "high_price": 99_999.0}

    @pytest.mark.parametrize(
        ("options", "is_corrected"),
        [
            ({}, True),
            ({"adjustment": "splits", "currency-id": "USD"}, True),
            ({"session": "extended"}, True),
            ({"adjustment": "none"}, False),
            ({"currency-id": "EUR"}, False),
        ],
    )
    def test_ways_to_show_it(self, server, client, options, is_corrected):
        """What is corrected is the bar by default; prices shown otherwise are what they were."""
        spec = "=" + json.dumps({"symbol": STOCK, **options})
        client.say("resolve_symbol", "cs_plain", "sym_1", spec)
        client.say("create_series", "cs_plain", "sds_1", "s1", "sym_1", "1D", 5, "")
        assert names(client.messages())[-1] == "series_completed"
        day = MARKET.bars(STOCK, "1D", 2, NOW)[0].time
        server.correct(STOCK, "1D", day, low=1)
        assert names(received(client)) == ["du"] * is_corrected

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"symbol": "NO:SUCH"}, "There is no NO:SUCH in this market"),
            ({"interval": "XX"}, "XX"),
            ({"time": int(NOW) + 60}, "no bar of interval 1 that begins at"),
            ({"time": int(NOW) + 1}, "no bar of interval 1 that begins at"),
            ({"time": 0}, "no bar of interval 1 that begins at"),
            ({"low": None}, "Nothing to correct"),
            ({"high": 1}, "do not go together"),
            ({"low": 1e9}, "do not go together"),
            ({"close": float("nan")}, "close must be a finite number"),
            ({"volume": -1}, "volume must be a finite number"),
            ({"symbol": "SP:SPX", "volume": 5}, "this listing has none"),
        ],
    )
    def test_impossible(self, server, changes, words):
        """What cannot be corrected is an error that says why, and nothing has changed."""
        before = latest(server)
        wanted = {"symbol": COIN, "interval": "1", "time": int(NOW), "low": 1, **changes}
        with pytest.raises(ValueError, match=words):
            server.correct(**wanted)
        assert latest(server) == before

    def test_too_many(self, server, monkeypatch):
        """There is a limit to what is kept, and what is kept can still be changed."""
        monkeypatch.setattr(corrections_module, "_MAX_CORRECTIONS", 2)
        for time in (int(NOW), int(NOW) - 60, int(NOW)):
            server.correct(COIN, "1", time, low=1)
        with pytest.raises(ValueError, match="2 bars have been corrected"):
            server.correct(COIN, "1", int(NOW) - 120, low=1)


class TestExpiry:
    @pytest.fixture
    def server(self, clock):
        with FakeTradingView(clock=clock, accounts=[Account("alice", "secret")]) as running:
            running.auth_clock = clock
            yield running

    @pytest.fixture
    def client(self, server):
        client = Client(server)
        with client.socket.sock:
            client.messages()
            client.say("set_auth_token", server.issue_token("alice"))
            client.say("chart_create_session", "cs_plain", "")
            yield client

    def test_end(self, server, client):
        """A live series ends with its connection when the token does."""
        opened(client)
        assert names(stepped(server, client, 60)) == ["du", "timescale_update"]
        server.expire_tokens(now=True)
        server.step(60)
        assert client.messages() == [{"m": "protocol_error", "p": ["bad auth token"]}]
        assert client.socket.recv() == ""

    def test_silence(self, server, client):
        """Or a live series hears nothing more, until a new token brings what it has missed."""
        server.expired_token_is = "silent"
        known = opened(client)
        server.expire_tokens(now=True)
        for _ in range(3):
            server.step(60)
        server.correct(COIN, "1", int(known[3][0]), low=1)
        # A heartbeat is all that comes before the answer to what is said next.
        client.say("set_auth_token", server.issue_token("alice"))
        assert received(client) == []
        messages = stepped(server, client, 60)
        assert [index for _name, index, _row in items(messages)] == [9, 10, 11, 12, 13]


class TestMarket:
    """What makes live series cheap changes nothing of what they show."""

    @settings(deadline=None)
    @given(
        symbol=st.sampled_from(MARKET.symbols),
        interval=st.sampled_from(["1S", "1", "7", "60", "4H", "1D", "1W", "12M"]),
        session=st.sampled_from(["regular", "extended"]),
        moment=st.floats(1_500_000_000, 2_000_000_000),
        steps=st.lists(st.floats(-90_000, 90_000), max_size=4),
    )
    def test_last_bars(self, symbol, interval, session, moment, steps):
        """The last bars are the same alone and among many, whatever was requested before."""
        for now in itertools.accumulate(steps, initial=moment):
            many = MARKET.bars(symbol, interval, 20, now, session=session)
            for n in (1, 2):
                assert MARKET.bars(symbol, interval, n, now, session=session) == many[-n:]
            ends = [MARKET.bar_close_time(symbol, interval, b.time, session) for b in many[-3:]]
            anew = Market()
            assert ends == [
                anew.bar_close_time(symbol, interval, b.time, session) for b in many[-3:]
            ]

    def test_joined_contracts(self):
        """A future whose contracts are joined is the same as well, before and after a roll."""
        for day in range(0, 200, 3):
            now = NOW + day * 86_400
            many = MARKET.bars("CME_MINI:ES1!", "60", 20, now, backadjusted=True)
            assert MARKET.bars("CME_MINI:ES1!", "60", 2, now, backadjusted=True) == many[-2:]

    @pytest.mark.parametrize(
        ("now", "opens"),
        [
            ("2026-09-04 13:30:00", "2026-09-04 13:30:00"),
            ("2026-09-04 13:30:01", "2026-09-08 13:30:00"),
            ("2026-12-31 22:00:00", "2027-01-04 14:30:00"),
        ],
    )
    def test_next_open(self, now, opens):
        """A market opens at a moment or later, weekends, holidays and new years in between."""
        (listing,) = (listing for listing in LISTINGS if listing.symbol == STOCK)
        assert listing.next_open("1", moment(now)) == moment(opens)

    def test_contract_that_has_ended(self):
        """A single contract opens no more after its last day."""
        contract = next(listing for listing in LISTINGS if len(listing.expirations) == 1)
        assert contract.next_open("1", NOW + 4e8) == float("inf")
