"""A WebSocket that requests bars and reads nothing of the answers: what the network alone costs."""

import itertools
import json
from collections.abc import Sequence

import websocket

from tvDatafeed.protocol.framing import encode
from tvDatafeed.protocol.literals import ANONYMOUS_TOKEN

ORIGIN = "https://www.tradingview.com"


class BareClient:
    """One connection to the server at a URL, which it opens at once."""

    def __init__(self, url: str) -> None:
        self._socket = websocket.create_connection(url, origin=ORIGIN, skip_utf8_validation=True)
        self._sessions = 0
        self._send("set_auth_token", ANONYMOUS_TOKEN)

    def __enter__(self) -> "BareClient":  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(self, *_exception: object) -> None:
        # Without the closing handshake, which waits for the server.
        self._socket.shutdown()

    def fetch(
        self, symbols: Sequence[str], interval: str, count: int, *, at_once: int = 10
    ) -> list[bytes]:
        """Request bars of symbols, some at a time, and return what came until all were complete."""
        unsent, received, sessions, completed = iter(symbols), [], [], 0

        def request(most: int) -> None:
            sessions.extend(
                self._request(symbol, interval, count) for symbol in itertools.islice(unsent, most)
            )

        request(at_once)
        while completed < len(symbols):
            _opcode, data = self._socket.recv_data()
            received.append(data)
            if b"~m~~h~" in data[:16]:
                self._socket.send(data)
            done = data.count(b'"series_completed"')
            completed += done
            request(done)
        for session in sessions:
            self._send("chart_delete_session", session)
        return received

    def _request(self, symbol: str, interval: str, count: int) -> str:
        self._sessions += 1
        session = f"cs_{self._sessions:012}"
        described = "=" + json.dumps({"adjustment": "splits", "symbol": symbol})
        self._send("chart_create_session", session, "")
        self._send("resolve_symbol", session, "sds_sym_1", described)
        self._send("create_series", session, "sds_1", "s1", "sds_sym_1", interval, count, "")
        return session

    def _send(self, method: str, *parameters: object) -> None:
        self._socket.send(encode(json.dumps({"m": method, "p": parameters})))
