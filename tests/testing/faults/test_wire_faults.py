"""Faults of the handshake and of the bytes do on the wire what they say."""

import struct
import time
import zlib

import pytest

from tests.scale import scaled
from tests.testing.faults.client import BINARY, CLOSE, HISTORY, TEXT, names
from tvDatafeed.protocol.framing import PacketDecoder
from tvDatafeed.testing import (
    BadHeader,
    BinaryFrame,
    CloseCode,
    CompressedFrame,
    ConnectSilence,
    Drip,
    EndlessFragments,
    FinMidFrame,
    GiantHeader,
    GluedHeartbeat,
    HalfOpen,
    HandshakeDrip,
    HandshakeStall,
    HeartbeatFlood,
    InvalidUtf8,
    LengthUnit,
    NeverRead,
    Redirect,
    Refuse,
    RstMidFrame,
    SplitPackets,
    UpgradeGarbage,
    UpgradeStatus,
    WrongLength,
    load_packets,
)


class TestHandshakeFaults:
    def test_refuse_by_reset(self, server, connect):
        """Refuse resets a connection that TCP had accepted, and the next one is welcome."""
        server.inject(Refuse(times=1))
        # The reset may come before the client knows that it is connected.
        with pytest.raises(ConnectionError):
            connect().upgrade()
        assert server.accepted == 1
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
        """UpgradeGarbage answers with something that is not HTTP."""
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
        """Inject a fault into the answer of one request."""

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
        """EndlessFragments continues without an end of the message, until the client leaves."""
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
