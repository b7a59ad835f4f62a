"""What the loopback TradingView refuses, and in which words."""

import pytest

from tests.testing.client import NOW, named, names, token
from tvDatafeed.testing import Refusal


class TestRefusals:
    def test_study(self, client):
        """A study is refused by its name, and the chart it is for continues."""
        client.greet()
        client.history()
        volume = "Volume@tv-basicstudies-246"
        client.say("create_study", "cs_plain", "st1", "st1", "sds_1", volume, {"length": 20})
        (error,) = client.messages()
        assert error["m"] == "study_error"
        assert error["p"][:4] == ["cs_plain", "st1", "st1", "Study not allowed in this connection"]
        client.say("request_more_data", "cs_plain", "sds_1", 5)
        assert names(client.messages())[-2:] == ["timescale_update", "series_completed"]

    @pytest.mark.parametrize(
        ("interval", "reason"),
        [
            ("5S", "seconds_not_entitled"),
            ("7", "custom_resolution"),
            ("10T", "ticks_not_entitled"),
            ("10R", "resolution_not_entitled"),
        ],
    )
    def test_plan(self, client, interval, reason):
        """What the free plan has not got ends in a series_error, after a good symbol."""
        client.greet()
        history = client.history(interval=interval)
        assert names(history) == ["series_loading", "symbol_resolved", "series_error"]
        assert history[-1]["p"][3] == reason

    def test_paid_plan(self, client):
        """A token of a paid plan opens seconds and odd minutes."""
        client.greet()
        client.say("set_auth_token", token(plan="pro_premium", exp=NOW + 60))
        completed = named(client.history("BINANCE:BTCUSDT", "7"), "series_completed")
        assert completed["p"][4] == {"rt_update_period": 0}

    @pytest.mark.parametrize("count", [0, -5, True, None, "300", 2.5, ["bar_count", 1]])
    def test_bad_count(self, client, count):
        """An invalid count kills the session."""
        client.greet()
        assert names(client.history(count=count)) == ["critical_error"]

    def test_bad_interval(self, client, server):
        """A bad interval kills the session in the literal words, and the others live on."""
        client.greet()
        client.say("chart_create_session", "cs_2", "")
        client.say("resolve_symbol", "cs_plain", "ser_1", "NASDAQ:AAPL")
        client.say("create_series", "cs_plain", "$prices", "s1", "ser_1", "XX", 100)
        (error,) = client.messages()
        assert error["p"] == [
            "cs_plain",
            "invalid parameters",
            'method: create_series. args: "[$prices, s1, ser_1, XX, 100]"',
        ]
        assert server.open_sessions == {"cs_2"}
        assert names(client.history(session="cs_2"))[-1] == "series_completed"

    def test_bad_timezone(self, client):
        """A bad time zone kills the session in the literal words."""
        client.greet()
        client.say("switch_timezone", "cs_plain", "exchange")
        client.say("switch_timezone", "cs_plain", "Nowhere/Nowhere")
        (error,) = client.messages()
        details = 'method: switch_timezone. args: "[Nowhere/Nowhere]"'
        assert error["p"] == ["cs_plain", "invalid timezone", details]

    def test_unknown_session(self, client):
        """A command of a session that was not created gets protocol_error and a close."""
        client.greet()
        client.say("remove_series", "cs_unknown", "sds_1")
        (error,) = client.messages()
        assert error["m"] == "protocol_error"
        assert error["p"][0].startswith('{unknown_session_id,<<"remove_series">>,<<"cs_unknown">>')
        assert client.socket.recv() == ""

    @pytest.mark.parametrize(
        "text", ["nonsense", "~m~9~m~{}", "~m~2~m~[]", "~m~-1~m~x", "~m~1~m~{"]
    )
    def test_malformed_packet(self, client, text):
        """An invalid packet gets protocol_error, and the server closes."""
        client.text()
        client.socket.send(text)
        assert client.payloads() == ['{"m":"protocol_error","p":["wrong data"]}']
        assert client.socket.recv() == ""

    @pytest.mark.parametrize(
        ("refusal", "answer"),
        [
            (
                Refusal("symbol_error", "permission denied", ("group", "economics_paid")),
                ["series_loading", "symbol_error", "series_error"],
            ),
            (
                Refusal("series_error", "resolution_not_entitled"),
                ["series_loading", "symbol_resolved", "series_error"],
            ),
            (Refusal("critical_error", "study_not_auth", ("x",)), ["critical_error"]),
        ],
    )
    def test_on_purpose(self, client, server, refusal, answer):
        """A refused symbol is refused in each of the three ways, until it is served again."""
        server.refuse("NYSE:IBM", refusal)
        client.greet()
        history = client.history("NYSE:IBM")
        assert names(history) == answer
        refused = named(history, refusal.message)
        assert refusal.reason in refused["p"]
        server.refuse("NYSE:IBM", None)
        client.say("chart_create_session", "cs_2", "")
        assert names(client.history("NYSE:IBM", session="cs_2"))[-1] == "series_completed"

    def test_quote_without_permission(self, client, server):
        """A symbol without permission has a quote that says so."""
        server.refuse("NYSE:IBM", Refusal("symbol_error", "permission denied", ("x", "paid")))
        client.text()
        client.say("quote_create_session", "qs_1")
        client.say("quote_add_symbols", "qs_1", "NYSE:IBM")
        quote, _done = client.messages()
        assert quote["p"][1] == {
            "n": "NYSE:IBM",
            "s": "permission_denied",
            "errmsg": "Permission denied",
            "v": {"alternative": "paid"},
        }

    @pytest.mark.parametrize(
        "bad", ["garbage", "a.b", token(plan="", exp=NOW - 1), "refused.by.name"]
    )
    def test_tokens(self, server, client, bad):
        """Garbage, an expired token and one that the test refuses end the connection."""
        server.bad_tokens.add("refused.by.name")
        client.text()
        client.say("set_auth_token", token(plan="", exp=NOW + 1))
        client.say("set_auth_token", "widget_user_token-customer")
        client.say("set_auth_token", bad)
        assert client.payloads() == ['{"m":"protocol_error","p":["bad auth token"]}']
