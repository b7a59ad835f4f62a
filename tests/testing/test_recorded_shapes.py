"""The loopback TradingView answers with the shapes of recorded frames."""

import json

import pytest

from tests.testing.client import command, named, names
from tvDatafeed.testing import FakeTradingView, load_packets


def shape(value):
    """Keys and kinds all the way down, a list standing for its first item."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value[:1]]
    return type(value).__name__


def recorded(captures, name):
    texts = json.loads((captures / name).read_text(encoding="utf-8"))
    return [[json.loads(payload) for payload in load_packets(text)] for text in texts]


def literal(captures, name):
    return (captures / name).read_text(encoding="utf-8")


class TestRecordedShapes:
    def test_hello(self, client, captures):
        """The hello comes first, alone, with the keys and kinds of the recorded one."""
        real = recorded(captures, "2026-08-history-ok.json")[0]
        assert shape(client.messages()) == shape(real)

    def test_history_is_one_message_in_the_recorded_order(self, client, captures):
        """A history is the four recorded packets in one message."""
        client.greet()
        real = recorded(captures, "2026-08-history-ok.json")[1]
        assert names(client.history()) == names(real)

    def test_history_has_the_recorded_shapes(self, client, captures):
        """Every packet of a history but the listing's facts has the recorded shape."""
        client.greet()
        ours = client.history()
        real = recorded(captures, "2026-08-history-ok.json")[1]
        for name in ("series_loading", "timescale_update", "series_completed"):
            assert shape(named(ours, name)) == shape(named(real, name))

    def test_listing_has_no_invented_facts(self, client, captures):
        """The facts of a listing are among those recorded, of the recorded kinds."""
        client.greet()
        ours = named(client.history(), "symbol_resolved")
        real = named(recorded(captures, "2026-08-history-ok.json")[1], "symbol_resolved")
        assert ours.keys() == real.keys()
        facts, real_facts = shape(ours["p"][2]), shape(real["p"][2])
        common = facts.keys() & real_facts.keys()
        assert len(common) > 35
        assert {key: facts[key] for key in common if facts[key] != []} == {
            key: real_facts[key] for key in common if facts[key] != []
        }

    def test_numbers_are_written_as_recorded(self, client, captures):
        """Times and prices are written as floats, and nothing is spaced or escaped."""
        client.greet()
        client.resolve()
        client.say("create_series", "cs_plain", "sds_1", "s1", "sym_1", "1D", 5, "")
        update = client.payloads()[2]
        real = load_packets(json.loads(literal(captures, "2026-08-history-ok.json"))[1])[2]
        row = r'{"i":0,"v":['
        assert update[: update.index(row)].count(" ") == 0
        assert real.split(row)[1].split(",")[0].endswith(".0")
        assert update.split(row)[1].split(",")[0].endswith(".0")

    def test_unknown_symbol(self, client, captures):
        """A bad symbol gets exactly the recorded packets, and no series_completed."""
        client.greet("cs_urdpo2")
        ours = client.history("NASDAQ:NOSUCH", session="cs_urdpo2")
        real = recorded(captures, "2026-08-history-error.json")[1]
        for message in ours + real:
            message["t"] = message["t_ms"] = 0
        ours[-1]["p"][-1] = real[-1]["p"][-1]
        assert ours == real

    def test_bad_token(self, client, captures):
        """An invalid token gets the recorded protocol_error, and the server closes."""
        client.text()
        client.say("set_auth_token", "sessionid_of_a_browser")
        assert client.payloads() == [literal(captures, "2023-11-protocol-error-bad-token.json")]
        assert client.socket.recv() == ""

    def test_quote_of_an_unknown_symbol(self, client, captures):
        """A quote without a symbol gets the recorded error, and is complete."""
        client.text()
        asked = '={"adjustment":"splits","currency-id":"USD"}'
        client.say("quote_create_session", "qs_ihvygdwgggms")
        client.say("quote_add_symbols", "qs_ihvygdwgggms", asked)
        quote, done = client.payloads()
        assert quote == literal(captures, "2024-08-qsd-no-such-symbol.json")
        assert json.loads(done) == {"m": "quote_completed", "p": ["qs_ihvygdwgggms", asked]}

    def test_quote_flags(self, client, captures):
        """Quote flags kill the quote session with the recorded error; the chart continues."""
        client.greet()
        client.say("quote_create_session", "qs_vtnztfvikwom")
        flags = {"flags": ["force_permission"]}
        client.say("quote_add_symbols", "qs_vtnztfvikwom", "NASDAQ:AAPL", flags)
        assert client.payloads() == [literal(captures, "2025-03-critical-error-quote-flags.json")]
        client.say("quote_add_symbols", "qs_vtnztfvikwom", "NASDAQ:AAPL")
        assert names(client.history())[-1] == "series_completed"

    def test_quote_in_another_script(self, client, captures):
        """Text is raw, and lengths count UTF-16 units: the recorded 99 for 113 bytes."""
        client.text()
        client.say("quote_create_session", "qs_vvg85v09ah13")
        client.say("quote_set_fields", "qs_vvg85v09ah13", "local_description")
        client.say("quote_add_symbols", "qs_vvg85v09ah13", "KRX:005930")
        real = literal(captures, "undated-qsd-nonascii-99-chars.json")
        assert client.text().startswith(f"~m~99~m~{real}~m~")

    def test_limit_of_the_plan(self, connect, clock, captures):
        """A request beyond the plan's limit gets the limit's bars and the recorded word for it."""
        with FakeTradingView(clock=clock, max_bars_per_reply=7) as server:
            client = connect(server)
            client.greet()
            ours = client.history(count=100)
        real = json.loads(literal(captures, "2026-01-series-completed-limit.json"))
        assert shape(named(ours, "series_completed")) == shape(real)
        assert named(ours, "series_completed")["p"][4]["data_completed"] == "limit"
        assert len(named(ours, "timescale_update")["p"][1]["sds_1"]["s"]) == 7

    def test_live_update(self, client, server, clock, captures):
        """A tick of the last bar is a du of the recorded shape, with the bar's own index."""
        client.greet()
        client.history("BINANCE:BTCUSDT", "1", 300)
        clock.now += 5
        server.tick()
        (update,) = client.messages()
        real = json.loads(literal(captures, "2022-09-du-live-bar.json"))
        real["p"][1] = {"sds_1": real["p"][1]["s1"]}
        assert shape(update) == shape(real)
        assert update["p"][1]["sds_1"]["s"][0]["i"] == 299

    def test_symbol_of_a_recorded_client(self, client, captures):
        """What a recorded browser sent to resolve a future is understood."""
        client.greet("cs_WfJmeH9kKLeI")
        client.send(literal(captures, "undated-resolve-symbol-future.json"))
        (answer,) = client.messages()
        assert answer["m"] == "symbol_resolved"
        assert answer["p"][:2] == ["cs_WfJmeH9kKLeI", "sds_sym_5"]
        assert answer["p"][2]["pro_name"] == "CME_MINI:ES1!"

    def test_replay_is_verbatim_under_the_same_ids(self, server, client, captures):
        """A recording comes back byte for byte to a client that uses the recorded ids."""
        real = json.loads(literal(captures, "2026-08-history-ok.json"))
        server.replay("NASDAQ:AAPL", load_packets("".join(real)))
        client.greet("cs_m4euhx")
        client.resolve(session="cs_m4euhx")
        client.say("create_series", "cs_m4euhx", "sds_1", "s1", "sym_1", "1D", 5, "")
        assert client.text() == real[1]

    def test_replay_takes_the_clients_ids(self, server, client, captures):
        """A recording is served under the client's session, symbol, series and turnaround."""
        real = json.loads(literal(captures, "2026-08-history-ok.json"))
        server.replay("MY:OWN", load_packets("".join(real)))
        client.greet("cs_mine")
        client.say("resolve_symbol", "cs_mine", "s1", "MY:OWN")
        client.say("create_series", "cs_mine", "s1", "turn", "s1", "1D", 5)
        loading, resolved, update, completed = client.messages()
        assert loading["p"] == ["cs_mine", "s1", "turn"]
        assert resolved["p"][:2] == ["cs_mine", "s1"]
        assert update["p"][0] == "cs_mine"
        assert update["p"][1].keys() == {"s1"}
        assert update["p"][1]["s1"]["t"] == "turn"
        assert completed["p"][:4] == ["cs_mine", "s1", "streaming", "turn"]

    @pytest.mark.parametrize("text", ["nonsense", "~m~3~m~{}", "~m~2~m~{}rest"])
    def test_broken_recording(self, text):
        """What is not a sequence of whole packets is not a recording."""
        with pytest.raises(ValueError, match="not a sequence of whole packets"):
            load_packets(text)

    def test_recording_without_a_chart(self, server):
        """A recording without a chart session cannot be served."""
        with pytest.raises(ValueError, match="no message of a chart session"):
            server.replay("NASDAQ:AAPL", ['{"session_id":"x"}', "~h~1"])

    def test_replay_without_a_series(self, server, client, captures):
        """A recorded symbol resolves as recorded for a client that opens no series."""
        real = json.loads(literal(captures, "2026-08-history-ok.json"))
        server.replay("MY:OWN", load_packets("".join(real)))
        client.greet()
        client.resolve("MY:OWN")
        (resolved,) = client.messages()
        assert resolved["p"][:2] == ["cs_plain", "sym_1"]
        assert resolved["p"][2]["full_name"] == "BATS:AAPL"

    def test_replay_serves_the_main_series(self, server, client):
        """Of a recorded chart with more in it, the first series comes and the rest does not."""
        server.replay(
            "MY:OWN",
            [
                command("symbol_resolved", "cs_a", "sym_a", {"name": "MAIN"}),
                command("symbol_resolved", "cs_a", "sym_b", {"name": "OTHER"}),
                command("series_loading", "cs_a", "sds_a", "s1"),
                command("series_loading", "cs_a", "sds_b", "s1"),
                command(
                    "timescale_update",
                    "cs_a",
                    {"sds_a": {"s": [], "t": "s1"}, "sds_b": {"s": []}, "st1": {"st": []}},
                    {"changes": [], "last_session_switches": {"sds_a": {}, "sds_b": {}}},
                ),
                command("du", "cs_a", {"st1": {"st": []}}),
                command("series_completed", "cs_a", "sds_b", "streaming", "s1"),
                command("timescale_update", "cs_a", {}, {"changes": [60.0]}),
                command("series_completed", "cs_a", "sds_a", "streaming", "s1"),
            ],
        )
        client.greet()
        resolved, loading, update, marks, completed = client.history("MY:OWN")
        assert resolved["p"] == ["cs_plain", "sym_1", {"name": "MAIN"}]
        assert loading["p"] == ["cs_plain", "sds_1", "s1"]
        assert update["p"][1:] == [
            {"sds_1": {"s": [], "t": "s1"}},
            {"changes": [], "last_session_switches": {"sds_1": {}}},
        ]
        assert marks["p"] == ["cs_plain", {}, {"changes": [60.0]}]
        assert completed["p"] == ["cs_plain", "sds_1", "streaming", "s1"]

    @pytest.mark.parametrize("symbol", ["MY:OWN", "NASDAQ:AAPL"])
    def test_nothing_is_older_than_a_replay(self, server, client, captures, symbol):
        """A client that requests bars before the recorded ones gets the end of history."""
        real = json.loads(literal(captures, "2026-08-history-ok.json"))
        server.replay(symbol, load_packets("".join(real)))
        client.greet()
        client.history(symbol)
        client.say("request_more_data", "cs_plain", "sds_1", 100)
        (completed,) = client.messages()
        assert completed["m"] == "series_completed"
        assert completed["p"][1:4] == ["sds_1", "streaming", "s1"]
        assert completed["p"][4]["data_completed"] == "end"

    def test_browser_page_is_cut_into_its_packets(self, captures):
        """The recorded browser page is 42 packets, each of them JSON."""
        packets = load_packets(literal(captures, "2023-06-browser-page.txt"))
        assert len(packets) == 42
        assert all("m" in json.loads(packet) for packet in packets)
