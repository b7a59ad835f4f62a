"""A loopback TradingView in a process of its own, whose bars close on command.

``python -m tests.benchmarks.live_server`` prints its WebSocket URL, and then for each line ``N`` on
its stdin has N series close a bar at once: it prints the monotonic clock, which all processes of a
machine share, just before the first of the messages goes out.
"""

import json
import sys
import time

from tests.benchmarks.server import NOW
from tvDatafeed.testing import FakeTradingView, Market

SYMBOLS = [f"NASDAQ:C{number:04}" for number in range(1000)]


def main() -> None:
    """Serve."""
    import dataclasses  # noqa: PLC0415 - for the listings alone

    bitcoin = Market().find("BITSTAMP:BTCUSD")
    if bitcoin is None:
        raise SystemExit("no such listing")
    coins = (dataclasses.replace(bitcoin, symbol=symbol) for symbol in SYMBOLS)
    # Heartbeats as the real server's.
    with FakeTradingView(market=Market(tuple(coins)), clock=lambda: NOW) as server:
        print(server.ws_url, flush=True)
        opens = NOW // 60 * 60
        for line in sys.stdin:
            opens += 60
            sessions = sorted(server.open_sessions)[: int(line)]
            payloads = [_new_bar(session, opens) for session in sessions]
            print(time.monotonic(), flush=True)
            for payload in payloads:
                server.push(payload)


def _new_bar(session: str, opens: float) -> str:
    row = {"i": 2, "v": [opens, 1.5, 2.5, 1.0, 2.0, 3.0]}
    update = {"s": [row], "ns": {"d": "", "indexes": []}, "t": "s1"}
    # tvkit calls its series otherwise.
    series = {"sds_1": {**update, "lbs": {"bar_close_time": int(opens) + 60}}}
    timeline = {"index": 2, "zoffset": 0, "changes": [opens], "marks": [], "index_diff": []}
    return json.dumps({"m": "timescale_update", "p": [session, series, timeline]})


if __name__ == "__main__":
    main()
