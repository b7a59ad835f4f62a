"""A loopback TradingView in a process of its own, whose bars close on command.

``python -m tests.benchmarks.live_server`` prints its WebSocket URL. For each line ``FIRST BEHIND``
on its stdin it closes a bar of each series of ``SYMBOLS[FIRST:BEHIND]``, in this order, each on its
own connection as the real server does. Then it prints the monotonic clock, which all processes of a
machine share, of the moment just before the first of the messages went out. It prints this last, so
that the process that reads it is not awake while it receives the messages.
"""

import json
import sys
import time

from tests.benchmarks.server import NOW
from tvDatafeed.protocol.framing import encode
from tvDatafeed.testing import FakeTradingView, Market
from tvDatafeed.testing.journal import Client
from tvDatafeed.testing.wire.actions import Message

SYMBOLS = [f"NASDAQ:C{number:04}" for number in range(1000)]


class ClosingServer(FakeTradingView):
    """A loopback TradingView whose bars close on command."""

    def prepare(self, symbols: list[str], opens: float) -> list[tuple[Client, Message]]:
        """Return the messages that close a bar of some symbols, and the client of each."""
        asked: dict[str, list[tuple[int, str]]] = {symbol: [] for symbol in symbols}
        for command in self.received:
            if command.method == "resolve_symbol":
                session, _name, text = command.params
                symbol = json.loads(text.removeprefix("="))["symbol"]
                asked.get(symbol, []).append((command.connection, session))
        clients = {client._number: client for client in self._journal.clients()}
        is_open = self.open_sessions.__contains__
        return [
            (clients[connection], _message(_new_bar(session, opens)))
            for symbol in symbols
            for connection, session in asked[symbol]
            if is_open(session)
        ]


def main() -> None:
    """Serve."""
    import dataclasses  # noqa: PLC0415 - for the listings alone

    bitcoin = Market().find("BITSTAMP:BTCUSD")
    if bitcoin is None:
        raise SystemExit("no such listing")
    coins = (dataclasses.replace(bitcoin, symbol=symbol) for symbol in SYMBOLS)
    # Heartbeats as the real server's.
    with ClosingServer(market=Market(tuple(coins)), clock=lambda: NOW) as server:
        print(server.ws_url, flush=True)
        opens = NOW // 60 * 60
        for line in sys.stdin:
            opens += 60
            first, behind = map(int, line.split())
            messages = server.prepare(SYMBOLS[first:behind], opens)
            begun = time.monotonic()
            for client, message in messages:
                client.post(message)
            print(begun, flush=True)


def _message(payload: str) -> Message:
    return Message("push", encode(payload), (payload,))


def _new_bar(session: str, opens: float) -> str:
    row = {"i": 2, "v": [opens, 1.5, 2.5, 1.0, 2.0, 3.0]}
    update = {"s": [row], "ns": {"d": "", "indexes": []}, "t": "s1"}
    # tvkit calls its series otherwise.
    series = {"sds_1": {**update, "lbs": {"bar_close_time": int(opens) + 60}}}
    timeline = {"index": 2, "zoffset": 0, "changes": [opens], "marks": [], "index_diff": []}
    return json.dumps({"m": "timescale_update", "p": [session, series, timeline]})


if __name__ == "__main__":
    main()
