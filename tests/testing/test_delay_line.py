"""The loopback TradingView answers as late, and as slowly, as the link that it is given."""

import contextlib
import json
import math
import time
import urllib.request

import pytest
import websocket

from tests.loopback import NOW, impatient
from tests.scale import scaled
from tvDatafeed import TvDatafeed
from tvDatafeed.protocol.framing import encode
from tvDatafeed.testing import (
    CloseCode,
    Drip,
    FakeTradingView,
    FinMidFrame,
    HalfOpen,
    HeartbeatFlood,
    LateReply,
    ProtocolErrorReply,
    RstMidFrame,
    SplitPackets,
    UpgradeStatus,
    load_packets,
)
from tvDatafeed.testing.wire import delay_line
from tvDatafeed.testing.wire.actions import Finish
from tvDatafeed.testing.wire.delay_line import DelayLine, Link

# Delays are real time here.
pytestmark = pytest.mark.slow

ORIGIN = "https://www.tradingview.com"
ROUND_TRIP_S = 0.1
# How late a busy machine may be; what must not happen would take longer.
PATIENCE_S = scaled(4.0)


class Client:
    """A plain WebSocket client that knows when each message came."""

    def __init__(self, server):
        self.opened_at = time.monotonic()
        self.socket = websocket.create_connection(server.ws_url, origin=ORIGIN, timeout=scaled(5.0))

    def say(self, method, *params):
        self.socket.send(encode(json.dumps({"m": method, "p": params})))

    def greet(self):
        self.text()
        self.say("chart_create_session", "cs_1", "")

    def ask(self, name, count=5, symbol="NASDAQ:AAPL"):
        self.say("resolve_symbol", "cs_1", f"sym_{name}", symbol)
        self.say("create_series", "cs_1", name, "s1", f"sym_{name}", "1D", count, "")

    def text(self):
        """Return the next message that is not a heartbeat."""
        while (text := self.socket.recv()).startswith("~m~4~m~~h~"):
            pass
        return text

    def completed(self):
        """Return the names of the series that the next message completes."""
        messages = map(json.loads, load_packets(self.text()))
        return [message["p"][1] for message in messages if message["m"] == "series_completed"]


def has_series(server):
    """Whether the server has read a create_series."""
    return any(message.method == "create_series" for message in server.received)


@pytest.fixture
def serve():
    """Start servers that are stopped when the test is over."""
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(
            FakeTradingView(
                clock=lambda: NOW, **{"round_trip_s": ROUND_TRIP_S, "max_series": 100, **options}
            )
        )


@pytest.fixture
def connect():
    """Open clients that are closed when the test is over."""
    with contextlib.ExitStack() as stack:

        def opened(server):
            client = Client(server)
            stack.enter_context(client.socket.sock)
            return client

        yield opened


class TestLine:
    def test_delays_overlap_and_bytes_add_up(self):
        """Messages that enter together come together except for their bytes, which wait in turn."""
        line = DelayLine(Link(1.0, 100.0))
        line.put(bytes(50), 10.0)
        line.put(bytes(100), 10.0)
        line.put(bytes(100), 20.0)
        assert list(line.arrived(11.49)) == []
        assert line.due_at == 11.5
        assert list(line.arrived(11.5)) == [bytes(50)]
        assert list(line.arrived(30.0)) == [bytes(100), bytes(100)]
        assert line.due_at == math.inf

    def test_what_has_no_bytes_keeps_its_place(self):
        """The end of a connection comes behind the last byte before it."""
        line = DelayLine(Link(0.0, 100.0))
        line.put(b"x" * 100, 0.0)
        line.put(Finish(), 0.0)
        assert list(line.arrived(0.99)) == []
        assert list(line.arrived(1.0)) == [b"x" * 100, Finish()]

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"round_trip_s": -0.1}, "round_trip_s is -0.1: give seconds"),
            ({"round_trip_s": math.nan}, "round_trip_s is nan"),
            ({"round_trip_s": math.inf}, "round_trip_s is inf"),
            ({"bandwidth_bytes_per_s": 0}, "bandwidth_bytes_per_s is 0: give bytes"),
            ({"bandwidth_bytes_per_s": math.nan}, "bandwidth_bytes_per_s is nan"),
        ],
    )
    def test_impossible_links(self, options, message):
        """A link that cannot be is refused when the server is made."""
        with pytest.raises(ValueError, match=message):
            FakeTradingView(**options)


class TestRoundTrip:
    def test_an_answer_is_late(self, serve, connect):
        """An answer comes the round trip after its command, and the upgrade's answer too."""
        client = connect(serve())
        assert time.monotonic() - client.opened_at >= ROUND_TRIP_S
        client.greet()
        asked_at = time.monotonic()
        client.ask("one")
        assert client.completed() == ["one"]
        assert time.monotonic() - asked_at >= ROUND_TRIP_S

    def test_http_is_late(self, serve):
        """An HTTP reply comes the round trip after its request."""
        server = serve()
        asked_at = time.monotonic()
        request = urllib.request.Request(  # noqa: S310 - loopback only
            f"{server.search_url}?text=AAPL", headers={"Origin": ORIGIN}
        )
        with urllib.request.urlopen(request, timeout=scaled(5.0)) as reply:  # noqa: S310
            assert json.load(reply)["symbols"]
        assert time.monotonic() - asked_at >= ROUND_TRIP_S

    def test_delays_overlap_and_order_is_kept(self, serve, connect):
        """A hundred commands sent at once are answered in order, about one round trip later."""
        client = connect(serve())
        client.greet()
        names = [f"sds_{number}" for number in range(100)]
        asked_at = time.monotonic()
        for name in names:
            client.ask(name)
        answered = []
        while len(answered) < len(names):
            answered += client.completed()
        # One after the other they would take ten seconds.
        assert ROUND_TRIP_S <= time.monotonic() - asked_at < 2 * PATIENCE_S
        assert answered == names

    @pytest.mark.slow
    def test_commands_are_heard_while_answers_are_under_way(self, serve, connect):
        """The server takes a command before the answer to the one before has arrived."""
        server = serve(round_trip_s=1.0)
        client = connect(server)
        client.greet()
        asked_at = time.monotonic()
        client.ask("one")
        client.ask("two")
        assert server.wait_until(lambda s: len(s.received) == 5)
        assert time.monotonic() - asked_at < scaled(1.0)
        assert [*client.completed(), *client.completed()] == ["one", "two"]

    def test_heartbeats_are_late(self, serve, connect):
        """A heartbeat is under way for the round trip like everything else, and is echoed."""
        server = serve(heartbeat_interval_s=0.05)
        client = connect(server)
        client.text()
        upgraded_at = client.opened_at + ROUND_TRIP_S
        assert client.socket.recv() == encode("~h~1")
        assert time.monotonic() >= upgraded_at + 0.05
        client.socket.send(encode("~h~1"))
        assert server.wait_until(lambda s: s.echoes == 1)

    def test_pushes_are_late(self, serve, connect):
        """What a test pushes is under way for the round trip."""
        server = serve()
        client = connect(server)
        client.text()
        pushed_at = time.monotonic()
        server.push('{"m":"nothing"}')
        assert client.text() == encode('{"m":"nothing"}')
        assert time.monotonic() - pushed_at >= ROUND_TRIP_S

    def test_the_library_gets_its_bars(self, serve):
        """The library gets from a slow link what it gets from a quick one."""
        server = serve(bandwidth_bytes_per_s=1e6)
        with TvDatafeed(config=impatient(server)) as tv:
            started = time.monotonic()
            bars = tv.get_hist("AAPL", "NASDAQ", n_bars=1000)
        assert time.monotonic() - started >= 2 * ROUND_TRIP_S
        assert list(bars["close"]) == [
            bar.close for bar in server.market.bars("NASDAQ:AAPL", "1D", 1000, NOW)
        ]


class TestBandwidth:
    def test_bytes_take_their_time(self, serve, connect):
        """A message takes as long as its bytes need on the link."""
        client = connect(serve(round_trip_s=0.0, bandwidth_bytes_per_s=200_000))
        client.greet()
        asked_at = time.monotonic()
        client.ask("one", count=1000)
        size = len(client.text())
        taken_s = time.monotonic() - asked_at
        assert size / 200_000 <= taken_s < size / 200_000 + PATIENCE_S

    def test_a_small_message_waits_for_the_big_one_before(self, serve, connect):
        """What is said during a big message comes after it."""
        client = connect(serve(round_trip_s=0.0, bandwidth_bytes_per_s=200_000))
        client.greet()
        asked_at = time.monotonic()
        client.ask("big", count=1000)
        client.ask("small", count=1)
        assert client.completed() == ["big"]
        assert client.completed() == ["small"]
        assert time.monotonic() - asked_at >= 0.3

    def test_each_connection_is_a_link(self, serve, connect):
        """Two connections do not wait for each other."""
        server = serve(round_trip_s=0.0, bandwidth_bytes_per_s=20_000)
        slow, quick = connect(server), connect(server)
        slow.greet()
        quick.greet()
        asked_at = time.monotonic()
        slow.ask("big", count=10_000)
        assert server.wait_until(has_series)
        quick.ask("small", count=1)
        assert quick.completed() == ["small"]
        assert time.monotonic() - asked_at < scaled(10.0)

    def test_a_full_line_holds_the_server_up(self, serve, connect, monkeypatch):
        """A server whose line is full reads on when there is room again, and loses nothing."""
        monkeypatch.setattr(delay_line, "MAX_BYTES_UNDER_WAY", 1000)
        client = connect(serve())
        client.greet()
        asked_at = time.monotonic()
        for name in ("one", "two", "three"):
            client.ask(name)
        assert [client.completed() for _ in range(3)] == [["one"], ["two"], ["three"]]
        assert time.monotonic() - asked_at >= 3 * ROUND_TRIP_S


class TestFaults:
    @pytest.mark.parametrize("cut", [FinMidFrame, RstMidFrame])
    def test_a_cut_comes_after_what_was_sent_before(self, serve, connect, cut):
        """A connection that is cut at the second answer delivers the first, and both are late."""
        server = serve()
        client = connect(server)
        client.greet()
        server.inject(cut(symbol="NYSE:IBM"))
        asked_at = time.monotonic()
        client.ask("one")
        client.ask("two", symbol="NYSE:IBM")
        assert client.completed() == ["one"]
        with pytest.raises((websocket.WebSocketConnectionClosedException, ConnectionResetError)):
            client.text()
        assert ROUND_TRIP_S <= time.monotonic() - asked_at < ROUND_TRIP_S + PATIENCE_S

    def test_a_close_frame_is_late(self, serve, connect):
        """A close frame is a message like any other."""
        server = serve()
        client = connect(server)
        client.greet()
        server.inject(CloseCode(1001))
        asked_at = time.monotonic()
        client.ask("one")
        opcode, data = client.socket.recv_data()
        assert (opcode, int.from_bytes(data[:2], "big")) == (websocket.ABNF.OPCODE_CLOSE, 1001)
        assert time.monotonic() - asked_at >= ROUND_TRIP_S

    def test_an_error_that_ends_the_connection_arrives(self, serve, connect):
        """What the server says last is heard before the end."""
        server = serve()
        client = connect(server)
        client.greet()
        server.inject(ProtocolErrorReply("bad auth token"))
        client.ask("one")
        assert "bad auth token" in client.text()
        assert client.socket.recv_data()[0] == websocket.ABNF.OPCODE_CLOSE

    def test_split_packets_stay_in_order(self, serve, connect):
        """A message that a fault cuts into pieces arrives piece by piece."""
        server = serve(bandwidth_bytes_per_s=1e6)
        client = connect(server)
        client.greet()
        server.inject(SplitPackets(500))
        client.ask("one")
        text = ""
        while "series_completed" not in text:
            text += client.text()
        assert load_packets(text)

    def test_a_drip_begins_when_the_message_arrives(self, serve, connect):
        """Data that drips holds up what comes behind it."""
        server = serve()
        client = connect(server)
        client.greet()
        server.inject(Drip(50_000.0, times=1))
        asked_at = time.monotonic()
        client.ask("one", count=100)
        client.ask("two", count=1)
        assert client.completed() == ["one"]
        assert client.completed() == ["two"]
        assert time.monotonic() - asked_at >= ROUND_TRIP_S + 0.1

    def test_late_reply_is_later_still(self, serve, connect):
        """A late answer has the round trip before it too, and others overtake it."""
        server = serve()
        client = connect(server)
        client.greet()
        server.inject(LateReply(0.2, symbol="NYSE:IBM"))
        asked_at = time.monotonic()
        client.ask("late", symbol="NYSE:IBM")
        client.ask("one")
        assert client.completed() == ["one"]
        assert client.completed() == ["late"]
        assert time.monotonic() - asked_at >= ROUND_TRIP_S + 0.2

    def test_a_refused_upgrade_is_late_and_final(self, serve):
        """A refused upgrade counts as no connection, and is reported after the round trip."""
        server = serve(faults=[UpgradeStatus(503)])
        started = time.monotonic()
        with pytest.raises(websocket.WebSocketBadStatusException):
            Client(server)
        assert time.monotonic() - started >= ROUND_TRIP_S
        assert server.connections_opened == 0

    def test_a_flood_of_heartbeats_does_not_keep_data_away(self, serve, connect):
        """Heartbeats by the thousand leave room on the line."""
        client = connect(serve(faults=[HeartbeatFlood(2000.0)]))
        client.greet()
        client.ask("one")
        text = ""
        while "series_completed" not in text:
            text = client.socket.recv()


class TestClosing:
    def test_stop_leaves_nothing(self, serve, connect):
        """A server stops at once, whatever is under way."""
        server = serve(round_trip_s=0.2, bandwidth_bytes_per_s=1000)
        client = connect(server)
        client.greet()
        client.ask("one", count=1000)
        assert server.wait_until(has_series)
        started = time.monotonic()
        server.stop()
        assert time.monotonic() - started < PATIENCE_S
        with pytest.raises(websocket.WebSocketConnectionClosedException):
            client.text()

    def test_a_client_that_leaves_is_noticed(self, serve, connect):
        """A client that leaves while messages are under way ends its connection."""
        server = serve(bandwidth_bytes_per_s=1000)
        client = connect(server)
        client.greet()
        client.ask("one", count=1000)
        assert server.wait_until(has_series)
        client.socket.sock.close()
        assert server.wait_until(lambda s: s.open_connections == 0)

    def test_a_client_that_leaves_before_the_end_is_noticed(self, serve, connect):
        """A connection whose end is under way does not wait for it when the client has left."""
        server = serve(bandwidth_bytes_per_s=1000)
        client = connect(server)
        client.greet()
        server.inject(FinMidFrame())
        client.ask("one", count=1000)
        assert server.wait_until(has_series)
        client.socket.sock.close()
        assert server.wait_until(lambda s: s.open_connections == 0)

    def test_a_vanished_server_stops(self, serve, connect):
        """A frozen connection ends with its server."""
        server = serve()
        client = connect(server)
        client.greet()
        server.inject(HalfOpen())
        client.ask("one")
        assert server.wait_until(has_series)
        server.stop()

    def test_dropped_connections_lose_what_is_under_way(self, serve, connect):
        """A dropped connection ends at once, without what was still under way."""
        server = serve(round_trip_s=0.5)
        client = connect(server)
        client.greet()
        client.ask("one")
        assert server.wait_until(has_series)
        server.drop_connections()
        with pytest.raises(websocket.WebSocketConnectionClosedException):
            client.text()
