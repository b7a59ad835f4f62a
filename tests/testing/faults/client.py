"""A client on a bare socket, for what no WebSocket library would let through."""

import contextlib
import json
import socket
import struct
from typing import NamedTuple

from tests.scale import PATIENCE_S
from tvDatafeed.protocol.framing import encode
from tvDatafeed.testing import load_packets

NOW = 1_787_245_200.0
TEXT, BINARY, CLOSE = 1, 2, 8
HISTORY = ["series_loading", "symbol_resolved", "timescale_update", "series_completed"]


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
