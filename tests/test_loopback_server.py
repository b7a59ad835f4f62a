"""The loopback TradingView answers like the recorded one, to a client that is not ours."""

import base64
import contextlib
import json
import math
import shutil
import socket
import ssl
import subprocess
import threading
import urllib.error
import urllib.request

import pytest
import websocket

from tests.scale import PATIENCE_S
from tvDatafeed.protocol.framing import encode
from tvDatafeed.testing import (
    EndlessFragments,
    FakeTradingView,
    HalfOpen,
    Refusal,
    load_packets,
)

ORIGIN = "https://www.tradingview.com"
# A Thursday in summer, 13:00 in New York: every market of the Americas is open.
NOW = 1_787_245_200.0


class Clock:
    def __init__(self, now=NOW):
        self.now = now

    def __call__(self):
        return self.now


class Client:
    """A plain WebSocket client with nothing of this library in it but the packet header."""

    def __init__(self, server, **options):
        options = {"origin": ORIGIN, "timeout": 5, **options}
        self.socket = websocket.create_connection(server.ws_url, **options)

    def send(self, *messages):
        self.socket.send("".join(encode(message) for message in messages))

    def say(self, method, *params):
        self.send(command(method, *params))

    def text(self):
        """Give the next message that is no heartbeat."""
        while True:
            text = self.socket.recv()
            if not text.startswith("~m~4~m~~h~"):
                return text

    def payloads(self):
        return load_packets(self.text())

    def messages(self):
        return [json.loads(payload) for payload in self.payloads()]

    def greet(self, session="cs_plain"):
        hello = self.messages()
        self.say("set_auth_token", "unauthorized_user_token")
        self.say("chart_create_session", session, "")
        return hello

    def resolve(self, symbol="NASDAQ:AAPL", session="cs_plain"):
        self.say("resolve_symbol", session, "sym_1", f'={{"symbol":"{symbol}"}}')

    def history(self, symbol="NASDAQ:AAPL", interval="1D", count=5, session="cs_plain", **more):
        self.resolve(symbol, session)
        wanted = more.get("range", "")
        self.say("create_series", session, "sds_1", "s1", "sym_1", interval, count, wanted)
        return self.messages()


def command(method, *params):
    return json.dumps({"m": method, "p": params}, separators=(",", ":"))


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def server(clock):
    with FakeTradingView(clock=clock) as running:
        yield running


@pytest.fixture
def connect():
    """Open clients that are closed when the test is over, whatever became of it."""
    with contextlib.ExitStack() as stack:

        def opened(server, **options):
            client = Client(server, **options)
            stack.enter_context(client.socket.sock)
            return client

        yield opened


@pytest.fixture
def client(connect, server):
    return connect(server)


def names(messages):
    return [message["m"] for message in messages]


def named(messages, name):
    (found,) = (message for message in messages if message["m"] == name)
    return found


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


def token(**claims):
    parts = [{"alg": "RS512"}, claims, "signature"]
    return ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts
    )


def get(url, **headers):
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - loopback only
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:  # noqa: S310
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


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
        """A token that is none gets the recorded protocol_error, and the server closes."""
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
        """Quote flags kill the quote session with the recorded error; the chart goes on."""
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
        """What is no sequence of whole packets is no recording."""
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
        """Who asks for bars before the recorded ones is told that history has ended."""
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


class TestHandshake:
    @pytest.mark.parametrize("origin", [ORIGIN, "https://data.tradingview.com"])
    def test_known_origins_and_any_query(self, server, origin):
        """Both of TradingView's origins are welcome, with whatever query the page appends."""
        url = f"{server.ws_url}?from=chart%2F&date=2026-05-06T09%3A00%3A22&type=chart"
        websocket.create_connection(url, origin=origin, timeout=PATIENCE_S).close()
        (handshake,) = server.handshakes
        assert handshake.headers["origin"] == origin
        assert handshake.query["type"] == "chart"

    def test_foreign_origin(self, connect, server):
        """Any other origin gets 403."""
        with pytest.raises(websocket.WebSocketBadStatusException) as caught:
            connect(server, origin="https://example.com")
        assert caught.value.status_code == 403
        assert server.connections_opened == 0

    def test_other_path(self, server):
        """An upgrade of another path gets 404."""
        url = server.ws_url.replace("socket.io", "elsewhere")
        with pytest.raises(websocket.WebSocketBadStatusException) as caught:
            websocket.create_connection(url, origin=ORIGIN, timeout=PATIENCE_S)
        assert caught.value.status_code == 404

    @pytest.mark.slow
    def test_tls(self, connect, clock, tmp_path):
        """With a context both URLs are secure and a client that trusts it is served."""
        openssl = shutil.which("openssl")
        if openssl is None:
            pytest.skip("no openssl to make a certificate with")
        key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
        subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
        files = ["-keyout", str(key), "-out", str(certificate)]
        subprocess.run(
            [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject, *files],
            check=True,
            capture_output=True,
        )
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate, key)
        trusting = ssl.create_default_context(cafile=str(certificate))
        with FakeTradingView(clock=clock, tls=tls) as server:
            assert server.ws_url.startswith("wss://")
            assert server.search_url.startswith("https://")
            client = connect(server, sslopt={"context": trusting})
            client.greet()
            (_, _, update, _) = client.history("BINANCE:BTCUSDT", "1", 3000)
            with pytest.raises(ssl.SSLCertVerificationError):
                connect(server)
        assert len(update["p"][1]["sds_1"]["s"]) == 3000


class TestSeries:
    def test_six_and_seven_parameters(self, client):
        """create_series works with the range and without it."""
        client.greet()
        client.resolve()
        client.say("create_series", "cs_plain", "sds_1", "s1", "sym_1", "1D", 3)
        assert names(client.messages())[-1] == "series_completed"
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
        assert names(pages[1]) == ["timescale_update", "series_completed"]
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
        """A range that is none kills the session."""
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


class TestRefusals:
    def test_study(self, client):
        """A study is refused by its name, and the chart it is for goes on."""
        client.greet()
        client.history()
        volume = "Volume@tv-basicstudies-246"
        client.say("create_study", "cs_plain", "st1", "st1", "sds_1", volume, {"length": 20})
        (error,) = client.messages()
        assert error["m"] == "study_error"
        assert error["p"][:4] == ["cs_plain", "st1", "st1", "Study not allowed in this connection"]
        client.say("request_more_data", "cs_plain", "sds_1", 5)
        assert names(client.messages()) == ["timescale_update", "series_completed"]

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
        """A count that is none kills the session."""
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
        """A session that nobody created gets a critical_error of its own, once."""
        client.greet()
        client.say("remove_series", "cs_unknown", "sds_1")
        (error,) = client.messages()
        assert error["p"][:2] == ["cs_unknown", "unknown_session_id"]

    @pytest.mark.parametrize(
        "text", ["nonsense", "~m~9~m~{}", "~m~2~m~[]", "~m~-1~m~x", "~m~1~m~{"]
    )
    def test_malformed_packet(self, client, text):
        """A packet that is none gets protocol_error, and the server closes."""
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


class TestQuotes:
    def test_fields_that_were_asked_for(self, client):
        """A quote holds the fields asked for, under the exact string asked with."""
        asked = '={"symbol":"NASDAQ:AAPL","session":"regular"}'
        client.text()
        client.say("quote_create_session", "qs_1")
        client.say("quote_set_fields", "qs_1", "lp", "volume", "no_such_field")
        client.say("quote_add_symbols", "qs_1", asked, "SP:SPX")
        stock, stock_done, index, index_done = client.messages()
        assert stock["p"][1]["n"] == asked
        assert stock["p"][1]["v"].keys() == {"lp", "volume"}
        assert stock_done["p"] == ["qs_1", asked]
        assert index["p"][1]["v"]["volume"] == 1e100
        assert index_done["p"] == ["qs_1", "SP:SPX"]

    def test_all_fields(self, client):
        """Without a choice of fields a quote holds them all, and agrees with the daily bar."""
        client.greet()
        client.say("quote_create_session", "qs_1")
        client.say("quote_add_symbols", "qs_1", "NASDAQ:AAPL")
        values = client.messages()[0]["p"][1]["v"]
        bar = named(client.history(), "timescale_update")["p"][1]["sds_1"]["s"][-1]["v"]
        assert {"ch", "chp", "short_name", "description", "timezone"} < values.keys()
        assert values["lp"] == bar[4]
        assert values["current_session"] == "market"

    def test_deleted_quote_session(self, client):
        """A deleted quote session is unknown."""
        client.text()
        client.say("quote_create_session", "qs_1")
        client.say("quote_delete_session", "qs_1")
        client.say("quote_add_symbols", "qs_1", "NASDAQ:AAPL")
        (error,) = client.messages()
        assert error["p"][:2] == ["qs_1", "unknown_session_id"]

    def test_unknown_commands(self, client):
        """Commands of newer clients are ignored."""
        client.greet()
        client.say("depth_create_session", "ds_1")
        client.say("modify_study", "cs_plain", "st1", "st1", {})
        client.say("set_locale", "en", "US")
        client.say("set_data_quality", "low")
        client.say("something_new")
        assert names(client.history())[-1] == "series_completed"


class TestConnection:
    def test_heartbeats(self, connect, clock):
        """Heartbeats count from 1 on each connection, and their echoes are counted."""
        with FakeTradingView(clock=clock, heartbeat_interval_s=0.01) as server:
            sockets = [connect(server).socket for _ in range(2)]
            for sock in sockets:
                sock.recv()
                assert [sock.recv() for _ in range(3)] == [
                    encode(f"~h~{number}") for number in (1, 2, 3)
                ]
                sock.send(encode("~h~1"))
            assert server.wait_until(lambda s: s.echoes == 2)

    def test_no_heartbeats(self, connect, clock):
        """Heartbeats may be switched off by an infinite interval."""
        with FakeTradingView(clock=clock, heartbeat_interval_s=math.inf) as server:
            client = connect(server)
            client.greet()
            assert names(client.history())[-1] == "series_completed"

    def test_heartbeats_without_an_echo(self, connect, clock):
        """A client that echoes nothing is dropped after a while."""
        beat = {"heartbeat_interval_s": 0.01, "echo_timeout_s": 0.05}
        with FakeTradingView(clock=clock, **beat) as server:
            connect(server)
            assert server.wait_until(lambda s: s.connections_opened and not s.open_connections)

    def test_received(self, connect, server, client):
        """What clients sent is on record, in order, with the connection it came on."""
        client.greet("cs_1")
        other = connect(server)
        other.greet("cs_2")
        assert server.wait_until(lambda s: s.open_sessions == {"cs_1", "cs_2"})
        assert [(r.connection, r.params[0]) for r in server.received if "chart" in r.method] == [
            (1, "cs_1"),
            (2, "cs_2"),
        ]
        other.socket.close()
        assert server.wait_until(lambda s: s.open_sessions == {"cs_1"})
        assert (server.connections_opened, server.open_connections) == (2, 1)
        assert server.peak_sessions == 2

    def test_deleted_session(self, server, client):
        """A deleted session is no longer open."""
        client.greet()
        client.say("chart_delete_session", "cs_plain")
        assert server.wait_until(
            lambda s: s.received[-1:] and s.received[-1].method[:12] == "chart_delete"
        )
        assert server.open_sessions == set()

    def test_wait_until_gives_up(self, server):
        """wait_until says no when its time is over."""
        assert not server.wait_until(lambda s: s.connections_opened == 1, timeout_s=0.01)

    def test_ping_and_fragments(self, client):
        """A ping is answered and a fragmented message is joined."""
        client.text()
        client.socket.ping("are you there")
        assert client.socket.recv_data(control_frame=True) == (
            websocket.ABNF.OPCODE_PONG,
            b"are you there",
        )
        packet = encode(command("set_auth_token", "garbage"))
        frame = websocket.ABNF.create_frame
        client.socket.send_frame(frame(packet[:9], websocket.ABNF.OPCODE_TEXT, fin=0))
        client.socket.send_frame(frame(packet[9:], websocket.ABNF.OPCODE_CONT, fin=1))
        assert "bad auth token" in client.text()

    def test_close_is_answered(self, server, client):
        """A client's close frame is answered by the same one."""
        client.text()
        client.socket.send_close(1001)
        opcode, data = client.socket.recv_data(control_frame=True)
        assert (opcode, int.from_bytes(data[:2], "big")) == (websocket.ABNF.OPCODE_CLOSE, 1001)
        assert server.wait_until(lambda s: s.open_connections == 0)

    def test_unmasked_frame(self, client):
        """A client that does not mask is told so by close code 1002."""
        client.text()
        client.socket.sock.sendall(b"\x81\x01x")
        opcode, data = client.socket.recv_data(control_frame=True)
        assert (opcode, int.from_bytes(data[:2], "big")) == (websocket.ABNF.OPCODE_CLOSE, 1002)

    def test_push(self, server, client):
        """A pushed payload is framed, raw text is not."""
        client.text()
        server.push('{"m":"du"}')
        server.send_raw("anything at all")
        assert client.text() == '~m~10~m~{"m":"du"}'
        assert client.text() == "anything at all"

    @pytest.mark.parametrize(
        ("how", "seen"),
        [
            ("fin", websocket.WebSocketConnectionClosedException),
            ("rst", ConnectionResetError),
        ],
    )
    def test_drop(self, connect, server, client, how, seen):
        """Connections end by FIN or RST at the test's word, and new ones are welcome."""
        client.text()
        server.drop_connections(how)
        assert server.open_connections == 0
        with pytest.raises(seen):
            client.text()
        again = connect(server)
        again.text()

    def test_drop_with_a_close_code(self, server, client):
        """Connections end with the close code of the test's choice."""
        client.text()
        server.drop_connections(1012)
        opcode, data = client.socket.recv_data(control_frame=True)
        assert (opcode, int.from_bytes(data[:2], "big")) == (websocket.ABNF.OPCODE_CLOSE, 1012)


class TestLifecycle:
    def test_restart_on_the_same_port(self, connect, clock):
        """A stopped server refuses connections and comes back on its port."""
        server = FakeTradingView(clock=clock)
        server.start()
        port, client = server.port, connect(server)
        server.stop()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        server.start()
        assert server.port == port
        again = connect(server)
        again.greet()
        assert names(again.history())[-1] == "series_completed"
        server.stop()
        client.socket.close()

    def test_start_and_stop_twice(self, connect, clock):
        """Both are idempotent, and no thread is left."""
        threads = threading.active_count()
        server = FakeTradingView(clock=clock)
        server.stop()
        for _ in range(2):
            server.start()
        connect(server)
        for _ in range(2):
            server.stop()
        assert threading.active_count() == threads

    @pytest.mark.parametrize("fault", [HalfOpen(), EndlessFragments()])
    def test_stop_ends_what_a_fault_began(self, connect, clock, fault):
        """A frozen or endlessly sending connection does not outlive the server."""
        threads = threading.active_count()
        with FakeTradingView(clock=clock, faults=[fault]) as server:
            client = connect(server)
            client.greet()
            client.resolve()
            client.say("create_series", "cs_plain", "sds_1", "s1", "sym_1", "1D", 5)
            assert server.wait_until(lambda s: s.received[-1:] and len(s.received) == 4)
        assert threading.active_count() == threads

    def test_taken_port(self, server):
        """A port that is taken is an error, and leaves nothing behind."""
        other = FakeTradingView(port=server.port)
        with pytest.raises(OSError, match=r"."):
            other.start()
        other.stop()

    def test_config(self, server):
        """The configuration points at the server and takes other network settings."""
        network = server.config(recv_timeout=0.5).network
        assert network.ws_url == server.ws_url
        assert network.base_url == server.base_url
        assert network.search_url == server.search_url
        assert network.recv_timeout == 0.5

    def test_repr_shows_state(self, server):
        """The repr tells where it listens and what is open."""
        assert f"{server.port} listening, 0 connections opened" in repr(server)


class TestHttp:
    def test_home_page_of_an_anonymous_visitor(self, server):
        """The home page is a 200 without an auth_token."""
        status, page = get(server.base_url + "/")
        assert status == 200
        assert "auth_token" not in page
        assert server.http_requests[-1].path == "/"

    def test_other_pages(self, server):
        """Everything else is 404."""
        assert get(server.base_url + "/accounts/")[0] == 404

    def test_search_needs_an_origin(self, server):
        """The search without TradingView's origin is 403."""
        assert get(server.search_url + "?text=AAPL")[0] == 403

    @pytest.mark.parametrize("path", ["/symbol_search/v3", "/symbol_search/v3/"])
    def test_search_with_or_without_its_last_slash(self, server, path):
        """The search is found under both of the paths that clients use."""
        status, body = get(f"{server.base_url}{path}?text=aapl", Origin=ORIGIN)
        assert (status, json.loads(body)["symbols"][0]["symbol"]) == (200, "AAPL")

    @pytest.mark.parametrize("path", ["/symbol_search", "/symbol_search/"])
    def test_older_search(self, server, path):
        """The older search gives a list of the same items, to TradingView's origin alone."""
        url = f"{server.base_url}{path}?text=aapl&hl=1&exchange=&lang=en&type=&domain=production"
        (found,) = json.loads(get(url, Origin=ORIGIN)[1])
        assert (found["symbol"], found["exchange"]) == ("<em>AAPL</em>", "NASDAQ")
        assert get(url)[0] == 403

    @pytest.mark.parametrize(
        ("name", "status"),
        [
            ("NASDAQ:AAPL", 200),
            ("NASDAQ%3AAAPL", 200),
            ("NASDAQ-AAPL/", 200),
            ("NSE:NIFTY1!", 200),
            ("NASDAQ:NOSUCH", 404),
            ("", 404),
        ],
    )
    def test_page_of_a_symbol(self, server, name, status):
        """A symbol has a page and what is none has not, as clients ask before they ask for bars."""
        assert get(f"{server.base_url}/symbols/{name}")[0] == status

    def test_garbage_instead_of_http(self, server):
        """A request that is none gets 400."""
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as sock:
            sock.sendall(b"HELLO\r\n\r\n")
            assert sock.recv(1000).startswith(b"HTTP/1.1 400 ")
