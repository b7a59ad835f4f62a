"""The series of a chart session: symbols, ranges, older bars, time zones and live updates."""

import pytest

from tests.testing.client import NOW, command, named, names, token
from tvDatafeed.testing import FakeTradingView


class TestSeries:
    def test_six_and_seven_parameters(self, client):
        """create_series works with the range and without it."""
        client.greet()
        client.resolve()
        client.say("create_series", "cs_plain", "sds_1", "s1", "sym_1", "1D", 3)
        assert names(client.messages())[-1] == "series_completed"
        client.say("remove_series", "cs_plain", "sds_1")
        client.say("create_series", "cs_plain", "sds_2", "s1", "sym_1", "1D", 3, "")
        assert names(client.messages()) == [
            "series_loading",
            "timescale_update",
            "series_completed",
        ]

    def test_several_packets_in_one_message(self, client):
        """A client may send all its commands in one message."""
        client.text()
        client.send(
            command("set_auth_token", "unauthorized_user_token"),
            command("chart_create_session", "cs_1", ""),
            command("resolve_symbol", "cs_1", "sym_1", "NASDAQ:AAPL"),
            command("create_series", "cs_1", "sds_1", "s1", "sym_1", "1D", 2, ""),
        )
        assert len(client.messages()) == 4

    @pytest.mark.parametrize(
        "spec",
        [
            "NASDAQ:AAPL",
            '={"symbol":"NASDAQ:AAPL","adjustment":"splits","session":"regular"}',
            '={"symbol":{"symbol":"NASDAQ:AAPL"},"type":"BarSetHeikenAshi@tv-basicstudies-60!"}',
            '={"symbol":"={\\"symbol\\":\\"NASDAQ:AAPL\\"}"}',
        ],
    )
    def test_ways_to_name_a_symbol(self, client, spec):
        """A symbol alone, as JSON, and wrapped once more all resolve, without a series too."""
        client.greet()
        client.say("resolve_symbol", "cs_plain", "sym_1", spec)
        (resolved,) = client.messages()
        assert resolved["m"] == "symbol_resolved"
        assert resolved["p"][2]["pro_name"] == "NASDAQ:AAPL"

    def test_no_volume_no_column(self, client):
        """Bars of an index have five columns."""
        client.greet()
        update = named(client.history("SP:SPX"), "timescale_update")
        assert {len(item["v"]) for item in update["p"][1]["sds_1"]["s"]} == {5}

    def test_fewer_than_asked(self, client):
        """More bars than there are gets all there are, and the word that this is the end."""
        client.greet()
        history = client.history("NSE:NIFTY1!", "1M", 5000)
        assert named(history, "series_completed")["p"][4]["data_completed"] == "end"
        assert len(named(history, "timescale_update")["p"][1]["sds_1"]["s"]) < 1000

    def test_pages_continue_each_other(self, client):
        """Pages going back and one large request give the same bars."""
        client.greet()
        pages = [client.history(interval="60", count=50)]
        for _ in range(3):
            client.say("request_more_data", "cs_plain", "sds_1", 50)
            pages.append(client.messages())
        assert names(pages[1]) == ["series_loading", "timescale_update", "series_completed"]
        bars = [
            item["v"]
            for page in reversed(pages)
            for item in named(page, "timescale_update")["p"][1]["sds_1"]["s"]
        ]
        whole = named(client.history(interval="60", count=200), "timescale_update")
        assert bars == [item["v"] for item in whole["p"][1]["sds_1"]["s"]]

    def test_pages_end(self, client):
        """Where history begins a page says so, and one more page holds nothing."""
        client.greet()
        client.history("NSE:NIFTY1!", "1M", 200)
        client.say("request_more_data", "cs_plain", "sds_1", 1000)
        first = client.messages()
        client.say("request_more_data", "cs_plain", "sds_1", 1000)
        second = client.messages()
        assert named(first, "series_completed")["p"][4]["data_completed"] == "end"
        assert names(second) == ["series_completed"]

    def test_modify(self, client):
        """modify_series clears the series and serves it again under the new turnaround."""
        client.greet()
        client.history()
        client.say("modify_series", "cs_plain", "sds_1", "s2", "sym_1", "60", "")
        loading, cleared, update, completed = client.messages()
        assert loading["p"][2] == completed["p"][3] == "s2"
        assert cleared["p"][1] == {"sds_1": {"s": [], "ns": {"d": "", "indexes": []}, "t": "s2"}}
        assert update["p"][1]["sds_1"]["t"] == "s2"

    @pytest.mark.parametrize("unit", [1, 1000])
    def test_range(self, client, unit):
        """A range, in seconds or milliseconds, is found among bars which go up to now."""
        client.greet()
        start, end = int(NOW) - 20 * 86400, int(NOW) - 10 * 86400
        history = client.history(count=2, range=f"r,{start * unit}:{end * unit}")
        first, last = named(history, "series_timeframe")["p"][3:5]
        times = [b["v"][0] for b in named(history, "timescale_update")["p"][1]["sds_1"]["s"]]
        assert times[first] >= start
        assert times[last] <= end < times[last + 1]
        assert times[-1] > end

    @pytest.mark.parametrize("unit", [1, 1000])
    def test_anchored_count(self, client, unit):
        """A count may be anchored at a moment in the past."""
        client.greet()
        moment = int(NOW) - 100 * 86400
        update = named(client.history(count=["bar_count", moment * unit, 4]), "timescale_update")
        times = [bar["v"][0] for bar in update["p"][1]["sds_1"]["s"]]
        assert len(times) == 4
        assert moment - 4 * 86400 < times[-1] <= moment

    @pytest.mark.parametrize(
        ("period", "days"),
        [("5D", 5), ("12M", 336), ("YTD", 232), ("LASTSESSION", 1), ("ALL", 20_000)],
    )
    def test_period(self, client, period, days):
        """A period back from now shows at most its days, and more than half of the sessions."""
        client.greet()
        history = client.history(count=2, range=period)
        first, last, text, is_ready = named(history, "series_timeframe")["p"][3:]
        assert (text, is_ready) == (period, True)
        assert days * 5 / 7 * 0.5 < last - first + 1 <= days

    @pytest.mark.parametrize(
        "count",
        [
            ["bar_count", int(NOW) - 7 * 86400, -3],
            ["from_to", int(NOW) - 3 * 86400],
            ["from_to", int(NOW) - 3 * 86400, int(NOW)],
            ["from_to", (int(NOW) - 3 * 86400) * 1000, int(NOW) * 1000],
            f"r,{int(NOW) - 3 * 86400}:{int(NOW)}",
        ],
    )
    def test_other_counts(self, client, count):
        """Counts after a moment, and ranges in the place of a count, get the bars since then."""
        client.greet()
        update = named(client.history("BITSTAMP:BTCUSD", count=count), "timescale_update")
        assert len(update["p"][1]["sds_1"]["s"]) == 3

    @pytest.mark.parametrize(
        "asked",
        [
            {"count": ["from_to", int(NOW) + 86400, int(NOW) + 2 * 86400]},
            {"count": ["from_to", int(NOW), int(NOW) - 86400]},
            {"range": f"r,{int(NOW) + 86400}:{int(NOW) + 2 * 86400}"},
            {"range": "r,1:2"},
        ],
    )
    def test_range_without_bars(self, client, asked):
        """It is completed all the same, and the session lives on."""
        client.greet()
        assert names(client.history(**asked))[-1] == "series_completed"
        assert names(client.history())[-1] == "series_completed"

    @pytest.mark.parametrize("wanted", ["yesterday", "r,1", "0D"])
    def test_bad_range(self, client, wanted):
        """An invalid range kills the session."""
        client.greet()
        assert names(client.history(range=wanted)) == ["critical_error"]

    @pytest.mark.parametrize(
        ("method", "arguments"),
        [
            ("resolve_symbol", ["sym_1"]),
            ("create_series", ["sds_1", "s1", "never_resolved", "1D", 5]),
            ("modify_series", ["never_created", "s1", "sym_1", "1D", ""]),
            ("request_more_data", ["never_created", 5]),
            ("create_study", ["st1", "st1"]),
            ("request_more_tickmarks", ["sds_1", "ten"]),
        ],
    )
    def test_bad_arguments(self, client, method, arguments):
        """Wrong arguments kill the session, with the method's name in the reason's details."""
        client.greet()
        client.say(method, "cs_plain", *arguments)
        (error,) = client.messages()
        assert error["p"][1] == "invalid parameters"
        assert error["p"][2].startswith(f"method: {method}. args: ")

    def test_marks_follow_the_time_zone(self, client):
        """Marks of intraday bars are in the chart's time zone, bar times never are."""
        client.greet()
        before = named(client.history(interval="60"), "timescale_update")["p"]
        client.say("switch_timezone", "cs_plain", "Asia/Ho_Chi_Minh")
        after = named(client.history(interval="60"), "timescale_update")["p"]
        assert before[1]["sds_1"]["s"] == after[1]["sds_1"]["s"]
        for utc, local in zip(before[2]["marks"], after[2]["marks"], strict=True):
            assert local[1] - utc[1] == 25200

    def test_bars_come_again_in_another_time_zone(self, client):
        """A chart that changes its zone gets all of its bars once more, older pages included."""
        client.greet()
        client.history(interval="60", count=20)
        client.say("request_more_data", "cs_plain", "sds_1", 15)
        client.messages()
        client.say("switch_timezone", "cs_plain", "Asia/Kolkata")
        (update,) = client.messages()
        assert len(update["p"][1]["sds_1"]["s"]) == len(update["p"][2]["marks"]) == 35

    def test_tickmarks(self, client):
        """request_more_tickmarks gets a timescale_update without a series."""
        client.greet()
        client.history()
        client.say("request_more_tickmarks", "cs_plain", "sds_1", 10)
        (update,) = client.messages()
        assert update["p"][1] == {}
        assert len(update["p"][2]["changes"]) == 10

    def test_new_bar(self, client, server, clock):
        """When a bar is over its last state comes as a du and its successor as a new item."""
        client.greet()
        client.history("BINANCE:BTCUSDT", "1", 10)
        clock.now += 60
        server.tick()
        last, successor = client.messages() + client.messages()
        assert (last["m"], last["p"][1]["sds_1"]["s"][0]["i"]) == ("du", 9)
        assert successor["m"] == "timescale_update"
        assert successor["p"][1]["sds_1"]["s"][0]["i"] == 10

    def test_ticks_by_themselves(self, connect, clock):
        """With a tick interval a series is updated without being asked to."""
        with FakeTradingView(clock=clock, tick_interval_s=0.01) as server:
            client = connect(server)
            client.greet()
            client.history("BINANCE:BTCUSDT", "1", 10)
            clock.now += 5
            assert names(client.messages()) == ["du"]

    def test_removed_series_is_silent(self, client, server, clock):
        """A removed series gets no updates, another one on the connection does."""
        client.greet()
        client.say("set_auth_token", token(plan="", exp=NOW + 60))
        client.history("BINANCE:BTCUSDT", "1", 10)
        client.say("create_series", "cs_plain", "sds_2", "s1", "sym_1", "1", 10, "")
        client.messages()
        client.say("remove_series", "cs_plain", "sds_1")
        assert server.wait_until(lambda s: s.received[-1].method == "remove_series")
        clock.now += 5
        server.tick()
        (update,) = client.messages()
        assert update["p"][1].keys() == {"sds_2"}

    def test_delayed_symbol(self, client, server):
        """A delayed symbol says so and shows the market of a quarter of an hour ago."""
        server.delay("BINANCE:BTCUSDT", 900)
        client.greet()
        history = client.history("BINANCE:BTCUSDT", "1", 2)
        assert named(history, "series_completed")["p"][2] == "delayed_streaming_900"
        assert named(history, "timescale_update")["p"][1]["sds_1"]["s"][-1]["v"][0] == NOW - 900
