"""Each fault of the loopback TradingView does on the wire what it says."""

import contextlib
import dataclasses
import json
import socket
import struct
import threading
import time
import zlib
from typing import NamedTuple

import pytest

from tests.scale import PATIENCE_S, scaled
from tvDatafeed.protocol.framing import PacketDecoder, encode
from tvDatafeed.testing import (
    FAULTS,
    BadHeader,
    BinaryFrame,
    CloseCode,
    CompletionFirst,
    CompressedFrame,
    ConnectSilence,
    CriticalErrorReply,
    Drip,
    EmptyHistory,
    EndlessFragments,
    FakeTradingView,
    Fault,
    FinMidFrame,
    ForeignSession,
    GiantHeader,
    GluedHeartbeat,
    HalfOpen,
    HandshakeDrip,
    HandshakeStall,
    HeartbeatFlood,
    HeartbeatsOnly,
    HostileJson,
    HttpDrip,
    HttpHtml,
    HttpHugeBody,
    HttpRedirect,
    HttpReset,
    HttpStall,
    HttpStatus,
    HttpTruncatedGzip,
    InvalidUtf8,
    LateReply,
    LengthUnit,
    NeverRead,
    NoCompletion,
    ProtocolErrorReply,
    Redirect,
    Refuse,
    ReplaceBars,
    RstMidFrame,
    SessionCap,
    SplitPackets,
    TlsGarbage,
    TlsStall,
    TruncatedJson,
    UnknownMessages,
    UpgradeGarbage,
    UpgradeStatus,
    WrongLength,
    load_packets,
    parse_fault,
)

NOW = 1_787_245_200.0
TEXT, BINARY, CLOSE = 1, 2, 8
HISTORY = ["series_loading", "symbol_resolved", "timescale_update", "series_completed"]

# One of each, none of them the default where there is a choice.
EXAMPLES = [
    BadHeader("~m~~m~"),
    BinaryFrame(times=2),
    CloseCode(4001, "so long, client"),
    CompletionFirst(symbol="NASDAQ:AAPL"),
    CompressedFrame(),
    TlsStall(),
    TlsGarbage(times=1),
    ConnectSilence(times=1),
    CriticalErrorReply("invalid parameters", "details", method="resolve_symbol"),
    Drip(0.5, times=1, symbol="NYSE:BRK.B"),
    EmptyHistory(),
    EndlessFragments(7),
    FinMidFrame(),
    ForeignSession("cs_other"),
    GiantHeader(),
    GluedHeartbeat(12),
    HalfOpen(),
    HandshakeDrip(20.0),
    HandshakeStall(),
    HeartbeatFlood(500.0),
    HeartbeatsOnly(),
    HostileJson("deep"),
    InvalidUtf8(),
    LateReply(0.25),
    LengthUnit("code_points"),
    NeverRead(),
    NoCompletion(times=3),
    ProtocolErrorReply("banned by ip", method="set_auth_token"),
    Redirect("127.0.0.1:1"),
    Refuse("fin"),
    ReplaceBars(([1787232600, 1, 2, 0.5, 1.5, None], [1787232600, "x", 2, 0.5, 1.5])),
    RstMidFrame(),
    SessionCap(3, "no, thank you"),
    SplitPackets(17),
    TruncatedJson(),
    UnknownMessages(),
    UpgradeGarbage(),
    UpgradeStatus(429, b"slow down", retry_after="7"),
    WrongLength(-2),
    HttpDrip(20.0, times=1),
    HttpHtml(b"<html>", path="/"),
    HttpHugeBody(1000, "gzip"),
    HttpRedirect("http://localhost:1/", 307),
    HttpReset(path="*"),
    HttpStall(12),
    HttpStatus(429, b"slow down", retry_after="7"),
    HttpTruncatedGzip(),
]


class Frame(NamedTuple):
    opcode: int
    payload: bytes
    fin: bool
    rsv: int


class Client:
    """A client on a bare socket, that shows frames as they are."""

    def __init__(self, server):
        self.sock = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S)
        self.buffer = b""

    def ask_for_upgrade(self):
        self.sock.sendall(
            b"GET /socket.io/websocket?type=chart HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            b"Origin: https://www.tradingview.com\r\n\r\n"
        )

    def upgrade(self):
        self.ask_for_upgrade()
        head = self.until(b"\r\n\r\n")
        assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
        return head

    def open(self):
        """Upgrade and read the hello."""
        self.upgrade()
        return json.loads(load_packets(self.text())[0])

    def take(self, size):
        while len(self.buffer) < size:
            self.more()
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    def more(self):
        data = self.sock.recv(65536)
        if not data:
            raise EOFError(f"{len(self.buffer)} bytes are left")
        self.buffer += data

    def until(self, end):
        while end not in self.buffer:
            self.more()
        return self.take(self.buffer.index(end) + len(end))

    def rest(self):
        with contextlib.suppress(EOFError):
            while True:
                self.more()
        return self.take(len(self.buffer))

    def frame(self):
        first, second = self.take(2)
        size = second & 0x7F
        if size > 125:
            size = int.from_bytes(self.take(2 if size == 126 else 8), "big")
        return Frame(first & 0x0F, self.take(size), bool(first & 0x80), first >> 4 & 7)

    def text(self):
        frame = self.frame()
        assert frame.opcode == TEXT
        return frame.payload.decode()

    def names(self):
        return names(load_packets(self.text()))

    def send(self, text):
        data = text.encode()
        mask = b"abcd"
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))
        self.sock.sendall(struct.pack("!BBH", 0x81, 0x80 | 126, len(data)) + mask + masked)

    def say(self, method, *params):
        self.send(encode(json.dumps({"m": method, "p": params})))

    def ask(self, symbol="NASDAQ:AAPL", session="cs_1"):
        self.say("chart_create_session", session, "")
        self.say("resolve_symbol", session, "sym_1", symbol)
        self.say("create_series", session, "sds_1", "s1", "sym_1", "1D", 5, "")


def names(payloads):
    return [json.loads(payload)["m"] for payload in payloads]


@pytest.fixture
def server():
    with FakeTradingView(clock=lambda: NOW) as running:
        yield running


@pytest.fixture
def connect(server):
    """Open bare clients that are closed when the test is over."""
    with contextlib.ExitStack() as stack:

        def opened(to=server):
            client = Client(to)
            stack.enter_context(client.sock)
            return client

        yield opened


@pytest.fixture
def client(connect):
    return connect()


class TestByName:
    def test_every_fault_has_an_example(self):
        """The table of examples has one of each fault, the plain one aside."""
        assert {type(fault) for fault in EXAMPLES} | {Fault} == set(FAULTS.values())

    @pytest.mark.parametrize("fault", EXAMPLES, ids=lambda fault: type(fault).__name__)
    def test_text_and_back(self, fault):
        """A fault's text is parsed to an equal fault."""
        assert parse_fault(str(fault)) == fault

    @pytest.mark.parametrize("name", FAULTS)
    def test_name_alone(self, name):
        """A name alone is the fault with its defaults."""
        assert parse_fault(name) == FAULTS[name]()
        assert parse_fault(name.replace("_", "-")) == FAULTS[name]()

    def test_values_are_of_their_kinds(self):
        """Numbers become numbers of the field's kind, bodies become bytes."""
        assert parse_fault("drip:bytes_per_s=100,times=1") == Drip(100.0, times=1)
        assert parse_fault("upgrade_status:status=200,body=<html>") == UpgradeStatus(200, b"<html>")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("nonsense", "no fault is named 'nonsense': use one of bad_header,"),
            ("drip:speed=1", "drip has no field 'speed': use bytes_per_s, symbol, times"),
            ("drip:bytes_per_s", "cannot read 'bytes_per_s'"),
            ("drip:times=often", "drip:times cannot be 'often'"),
            (
                "length_unit:unit=words",
                "length_unit:unit cannot be 'words': use one of code_points",
            ),
            ("replace_bars:rows=[1", "replace_bars:rows cannot be '\\[1'"),
        ],
    )
    def test_errors_say_what_to_write(self, text, message):
        """What cannot be read is a ValueError that names the choices."""
        with pytest.raises(ValueError, match=message):
            parse_fault(text)

    @pytest.mark.parametrize("fault", EXAMPLES, ids=lambda fault: type(fault).__name__)
    def test_says_what_to_expect(self, fault):
        """Every fault is documented and frozen."""
        assert len(type(fault).__doc__) > 30
        with pytest.raises(dataclasses.FrozenInstanceError):
            fault.times = 5


class TestCounting:
    def test_times(self, server, connect):
        """A fault strikes as often as it says, then it is gone, and injected again it is back."""
        fault = NoCompletion(times=2)
        server.inject(fault)
        client = connect()
        client.open()
        for complete in (False, False, True):
            client.ask(session=f"cs_{complete}")
            assert (client.names()[-1] == "series_completed") is complete
        assert server.faults == ()
        server.inject(fault)
        assert server.faults == (fault,)

    def test_clear(self, server, client):
        """Cleared faults strike no more."""
        server.inject(NoCompletion(), Drip(1.0))
        server.clear_faults()
        client.open()
        client.ask()
        assert client.names() == HISTORY

    def test_one_symbol(self, server, client):
        """A fault of one symbol leaves the others alone, and counts only its own."""
        server.inject(NoCompletion(symbol="NYSE:IBM", times=1))
        client.open()
        client.ask("NASDAQ:AAPL", "cs_1")
        assert client.names() == HISTORY
        client.ask("NYSE:IBM", "cs_2")
        assert client.names() == HISTORY[:-1]

    def test_composition(self, server, client):
        """Faults of the protocol and of the wire strike the same answer, in their order."""
        server.inject(NoCompletion(), UnknownMessages(), GluedHeartbeat(7), SplitPackets(5000))
        client.open()
        client.ask()
        decoder, payloads = PacketDecoder(), [""]
        while not payloads[-1].startswith('{"m":"timescale_update"'):
            payloads += decoder.feed(client.text())
        assert payloads[1] == "~h~7"
        assert tuple(payloads[2:9]) == UnknownMessages.PAYLOADS
        assert names(payloads[9:]) == HISTORY[:-1]

    def test_plain_fault_does_nothing(self, server, client):
        """The base class changes nothing and is never used up."""
        server.inject(Fault(times=1))
        client.open()
        client.ask()
        assert client.names() == HISTORY
        assert server.faults == (Fault(times=1),)


class TestHandshakeFaults:
    def test_refuse_by_reset(self, server, connect):
        """Refuse resets a connection that TCP had accepted, and the next one is welcome."""
        server.inject(Refuse(times=1))
        client = connect()
        assert server.wait_until(lambda s: s.accepted == 1)
        with pytest.raises(ConnectionError):
            client.upgrade()
        assert "session_id" in connect().open()

    def test_refuse_by_fin(self, server, connect):
        """Refuse with FIN ends a connection in good order, with not a byte sent."""
        server.inject(Refuse("fin"))
        assert connect().rest() == b""

    def test_connect_silence(self, server, client):
        """ConnectSilence takes the request and answers nothing, until the client leaves."""
        server.inject(ConnectSilence())
        client.ask_for_upgrade()
        assert server.wait_until(lambda s: len(s.handshakes) == 1)
        client.sock.settimeout(0.05)
        with pytest.raises(TimeoutError):
            client.more()
        assert server.connections_opened == 0

    def test_handshake_drip(self, server, client):
        """HandshakeDrip answers at its pace, and the connection is good afterwards."""
        server.inject(HandshakeDrip(2000.0))
        begun = time.monotonic()
        size = len(client.upgrade())
        assert time.monotonic() - begun > size / 2000.0 * 0.5
        assert "session_id" in client.text()

    def test_handshake_stall(self, server, client):
        """HandshakeStall sends the first half of a good answer."""
        server.inject(HandshakeStall(times=1))
        client.ask_for_upgrade()
        assert client.until(b"websocket").startswith(b"HTTP/1.1 101 ")
        client.sock.settimeout(0.05)
        with pytest.raises(TimeoutError):
            client.until(b"\r\n\r\n")

    @pytest.mark.parametrize("status", [200, 401, 403, 404, 429, 500, 503])
    def test_upgrade_status(self, server, client, status):
        """UpgradeStatus answers by plain HTTP and closes."""
        server.inject(UpgradeStatus(status, b"<html>portal</html>", retry_after=7))
        client.ask_for_upgrade()
        head, body = client.rest().split(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert b"\r\nretry-after: 7\r\n" in head
        assert body == b"<html>portal</html>"

    def test_upgrade_redirect(self, server, client):
        """UpgradeStatus 302 names the place."""
        server.inject(UpgradeStatus(302, location="https://example.com/"))
        client.ask_for_upgrade()
        assert b"\r\nlocation: https://example.com/\r\n" in client.rest()

    def test_upgrade_garbage(self, server, client):
        """UpgradeGarbage answers by something that is no HTTP."""
        server.inject(UpgradeGarbage())
        client.ask_for_upgrade()
        assert not client.rest().startswith(b"HTTP")

    def test_redirect(self, server, client):
        """Redirect sends a hello that names another host."""
        server.inject(Redirect("127.0.0.1:1"))
        assert client.open() == {"redirect": "127.0.0.1:1"}


class TestWireFaults:
    @pytest.fixture
    def ask(self, server, client):
        """Have a fault strike the answer of one request."""

        def asked(*faults):
            client.open()
            server.inject(*faults)
            client.ask()
            return client

        return asked

    def test_fin_mid_frame(self, ask):
        """FinMidFrame sends half a frame and a FIN."""
        client = ask(FinMidFrame())
        declared = struct.unpack("!BBH", client.take(4))[2]
        assert 0 < len(client.rest()) < declared

    def test_rst_mid_frame(self, ask):
        """RstMidFrame sends an RST within a frame."""
        with pytest.raises(ConnectionResetError):
            ask(RstMidFrame()).frame()

    def test_close_code(self, ask):
        """CloseCode sends the close frame in place of data, then a FIN."""
        client = ask(CloseCode(4001, "maintenance"))
        assert client.frame() == (CLOSE, struct.pack("!H", 4001) + b"maintenance", True, 0)
        assert client.rest() == b""

    def test_half_open(self, ask, server):
        """HalfOpen sends nothing and reads nothing, and the connection stays."""
        client = ask(HalfOpen())
        client.say("something")
        client.sock.settimeout(0.05)
        with pytest.raises(TimeoutError):
            client.more()
        assert server.open_connections == 1
        assert "something" not in [received.method for received in server.received]

    def test_drip(self, ask):
        """Drip sends a whole message at its pace."""
        begun = time.monotonic()
        assert ask(Drip(50_000.0)).names() == HISTORY
        assert time.monotonic() - begun > 0.05

    def test_drip_of_single_bytes_ends_with_the_server(self, ask, server):
        """A slow drip does not hold up the server's end."""
        client = ask(Drip(1.0))
        client.take(1)
        begun = time.monotonic()
        server.stop()
        assert time.monotonic() - begun < scaled(4.0)

    def test_giant_header(self, ask):
        """GiantHeader announces a frame of a tebibyte."""
        assert ask(GiantHeader()).take(10) == b"\x81\x7f" + (1 << 40).to_bytes(8, "big")

    def test_endless_fragments(self, ask, server):
        """EndlessFragments goes on without an end of the message, until the client leaves."""
        client = ask(EndlessFragments(3))
        assert client.frame() == (TEXT, b"xxx", False, 0)
        assert {client.frame() for _ in range(5000)} == {(0, b"xxx", False, 0)}
        client.sock.close()
        assert server.wait_until(lambda s: s.open_connections == 0)

    def test_invalid_utf8(self, ask):
        """InvalidUtf8 sends a text frame that is not UTF-8."""
        frame = ask(InvalidUtf8()).frame()
        assert frame.opcode == TEXT
        with pytest.raises(UnicodeDecodeError):
            frame.payload.decode()

    def test_binary_frame(self, ask):
        """BinaryFrame sends the right packets in a binary frame."""
        frame = ask(BinaryFrame()).frame()
        assert frame.opcode == BINARY
        assert names(load_packets(frame.payload.decode())) == HISTORY

    def test_compressed_frame(self, ask):
        """CompressedFrame sets RSV1 over deflated packets."""
        frame = ask(CompressedFrame()).frame()
        assert frame.rsv == 4
        plain = zlib.decompressobj(wbits=-15).decompress(frame.payload + b"\x00\x00\xff\xff")
        assert names(load_packets(plain.decode())) == HISTORY

    @pytest.mark.parametrize("delta", [-3, 5])
    def test_wrong_length(self, ask, delta):
        """WrongLength is off by its delta in every packet."""
        text = ask(WrongLength(delta)).text()
        loading = text.split("~m~")[2]
        assert text.startswith(f"~m~{len(loading) + delta}~m~")
        assert text.count('~m~{"m":"series_') == 2

    @pytest.mark.parametrize(("unit", "extra"), [("code_points", -1), ("bytes", 2)])
    def test_length_unit(self, server, client, unit, extra):
        """LengthUnit counts an emoji as one code point or as four bytes, not as two units."""
        client.open()
        server.inject(LengthUnit(unit))
        client.ask("BINANCE:DOGEUSDT")
        packets = client.text().split("~m~")[1:]
        declared, resolved = int(packets[2]), packets[3]
        assert "🐕" in resolved
        emojis = resolved.count("🐕")
        assert declared == len(resolved) + emojis * (1 + extra)

    @pytest.mark.parametrize("text", ["~m~-5~m~", "~m~~m~", f"~m~{'9' * 40}~m~"])
    def test_bad_header(self, ask, text):
        """BadHeader puts its text before good packets."""
        assert ask(BadHeader(text)).text().startswith(f"{text}~m~")

    def test_split_packets(self, ask):
        """SplitPackets spreads packets over messages of its size."""
        client = ask(SplitPackets(100))
        decoder, payloads, sizes = PacketDecoder(), [], []
        while len(payloads) < 4:
            text = client.text()
            sizes.append(len(text))
            payloads += decoder.feed(text)
        assert names(payloads) == HISTORY
        assert set(sizes[:-1]) == {100}

    def test_glued_heartbeat(self, ask):
        """GluedHeartbeat puts a heartbeat before the data of one message."""
        payloads = load_packets(ask(GluedHeartbeat(77)).text())
        assert payloads[0] == "~h~77"
        assert names(payloads[1:]) == HISTORY

    def test_never_read(self, server, connect):
        """NeverRead leaves what a client sends in the buffers, until they are full."""
        server.inject(NeverRead())
        client = connect()
        client.open()
        client.sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.sock.sendall(bytes(1 << 26))
        assert server.received == []

    def test_heartbeat_flood(self, server, connect):
        """HeartbeatFlood sends heartbeats in order at its pace, and data all the same."""
        server.inject(HeartbeatFlood(2000.0))
        client = connect()
        client.open()
        client.ask()
        beats, found = [], None
        while len(beats) < 100 or found is None:
            (payload, *more) = load_packets(client.text())
            if payload.startswith("~h~"):
                beats.append(int(payload[3:]))
            else:
                found = names([payload, *more])
        assert beats == list(range(1, len(beats) + 1))
        assert found == HISTORY

    def test_pushes_are_struck_and_hellos_are_not(self, server, client):
        """A fault of data strikes a push, but neither a hello nor a heartbeat."""
        server.inject(BinaryFrame())
        client.open()
        server.push("{}")
        assert client.frame() == (BINARY, b"~m~2~m~{}", True, 0)


class TestProtocolFaults:
    @pytest.fixture
    def ask(self, server, client):
        """Have a fault strike the answer of one request."""

        def asked(*faults):
            server.inject(*faults)
            client.open()
            client.ask()
            return client

        return asked

    def test_truncated_json(self, ask):
        """TruncatedJson cuts the largest payload, with a right length."""
        payloads = load_packets(ask(TruncatedJson()).text())
        assert len(payloads) == 4
        with pytest.raises(json.JSONDecodeError):
            json.loads(payloads[1])
        assert names(payloads[:1] + payloads[2:]) == [HISTORY[0], *HISTORY[2:]]

    @pytest.mark.parametrize(
        ("kind", "sign"),
        [
            ("nan", "[NaN]"),
            ("infinity", "[Infinity]"),
            ("long_number", "9" * 400),
            ("deep", "[" * 10_000),
            ("lone_surrogate", r"\ud800"),
        ],
    )
    def test_hostile_json(self, ask, kind, sign):
        """HostileJson puts a payload before the answer, in the client's own session."""
        hostile, *payloads = load_packets(ask(HostileJson(kind)).text())
        assert sign in hostile
        assert '"cs_1"' in hostile
        assert names(payloads) == HISTORY

    def test_unknown_messages(self, ask):
        """UnknownMessages come before an intact answer."""
        payloads = load_packets(ask(UnknownMessages()).text())
        assert tuple(payloads[:-4]) == UnknownMessages.PAYLOADS
        assert names(payloads[-4:]) == HISTORY

    def test_heartbeats_only(self, connect):
        """HeartbeatsOnly answers nothing and keeps beating."""
        with FakeTradingView(heartbeat_interval_s=0.01, faults=[HeartbeatsOnly(times=1)]) as server:
            client = connect(server)
            client.open()
            client.ask()
            assert server.wait_until(lambda s: len(s.received) == 3)
            assert [client.text() for _ in range(3)] == [encode(f"~h~{n}") for n in (1, 2, 3)]
            assert server.faults == ()

    def test_no_completion(self, ask):
        """NoCompletion leaves series_completed out."""
        assert ask(NoCompletion()).names() == HISTORY[:-1]

    def test_completion_first(self, ask):
        """CompletionFirst puts series_completed before everything else."""
        assert ask(CompletionFirst()).names() == [HISTORY[-1], *HISTORY[:-1]]

    def test_foreign_session(self, ask):
        """ForeignSession sends the answer with other bars under another session first."""
        messages = [json.loads(p) for p in load_packets(ask(ForeignSession("cs_other")).text())]
        assert [m["p"][0] for m in messages] == ["cs_other"] * 4 + ["cs_1"] * 4
        first, second = (m["p"][1]["sds_1"]["s"][0]["v"] for m in (messages[2], messages[6]))
        assert first[0] > second[0] + 1e9

    def test_late_reply(self, ask):
        """LateReply lets later commands be answered first."""
        client = ask(LateReply(0.1, symbol="NASDAQ:AAPL"))
        client.ask("NYSE:IBM", "cs_2")
        first, second = client.text(), client.text()
        assert '"cs_2"' in first
        assert '"cs_1"' in second

    def test_session_cap(self, ask, server):
        """SessionCap refuses one session too many, and the others live on."""
        client = ask(SessionCap(1))
        assert client.names() == HISTORY
        client.say("chart_create_session", "cs_2", "")
        (error,) = map(json.loads, load_packets(client.text()))
        assert (error["m"], error["p"][0]) == ("critical_error", "cs_2")
        assert server.open_sessions == {"cs_1"}
        client.ask("NASDAQ:MSFT", "cs_1")
        assert client.names() == HISTORY

    def test_protocol_error_reply(self, ask):
        """ProtocolErrorReply answers by protocol_error and closes."""
        client = ask(ProtocolErrorReply("user connections limit reached"))
        assert client.text().endswith(
            '{"m":"protocol_error","p":["user connections limit reached"]}'
        )
        assert client.frame().opcode == CLOSE
        assert client.rest() == b""

    def test_protocol_error_reply_to_a_silent_command(self, server, client):
        """ProtocolErrorReply strikes the command it names, even one without an answer."""
        server.inject(ProtocolErrorReply("banned", method="set_auth_token"))
        client.open()
        client.say("set_auth_token", "unauthorized_user_token")
        assert "banned" in client.text()

    def test_critical_error_reply(self, ask, server):
        """CriticalErrorReply kills the session it answers in, and no other."""
        client = ask(CriticalErrorReply("no_such_thing", "details", times=1))
        (error,) = map(json.loads, load_packets(client.text()))
        assert error == {"m": "critical_error", "p": ["cs_1", "no_such_thing", "details"]}
        assert server.open_sessions == set()
        client.ask(session="cs_2")
        assert client.names() == HISTORY

    def test_replace_bars(self, ask):
        """ReplaceBars sends the rows it was given, whatever they are."""
        rows = ([1787232600.0, 1, 2, 0.5, 1.5, None], [1787232600.0, "x", 2, 0.5, 1.5], None)
        update = json.loads(load_packets(ask(ReplaceBars(rows)).text())[2])
        assert [item["v"] for item in update["p"][1]["sds_1"]["s"]] == list(rows)

    def test_replace_bars_by_a_function(self, ask):
        """ReplaceBars with a function makes its rows from the true ones."""
        client = ask(ReplaceBars(lambda rows: [*rows, rows[-1]]))
        update = json.loads(load_packets(client.text())[2])
        rows = [item["v"] for item in update["p"][1]["sds_1"]["s"]]
        assert len(rows) == 6
        assert rows[-1] == rows[-2]

    def test_empty_history(self, ask):
        """EmptyHistory completes a series without bars."""
        payloads = load_packets(ask(EmptyHistory()).text())
        assert names(payloads) == HISTORY
        update = json.loads(payloads[2])
        assert update["p"][1]["sds_1"]["s"] == update["p"][2]["changes"] == []


@pytest.mark.parametrize("fault", EXAMPLES, ids=lambda fault: type(fault).__name__)
def test_no_fault_keeps_the_server_from_ending(fault):
    """With any fault at work the server stops at once and leaves no thread."""
    threads = threading.active_count()
    server = FakeTradingView(faults=[dataclasses.replace(fault, times=None, symbol=None)])
    with contextlib.ExitStack() as stack:
        with server:
            client = Client(server)
            stack.enter_context(client.sock)
            client.sock.settimeout(0.05)
            with contextlib.suppress(OSError, EOFError, AssertionError, ValueError):
                client.open()
                client.ask()
                client.frame()
            begun = time.monotonic()
        assert time.monotonic() - begun < scaled(4.0)
    assert threading.active_count() == threads
