"""A loopback TradingView in a process of its own, whose market stands still.

``python -m tests.benchmarks.server [--round-trip SECONDS]`` prints its WebSocket URL and serves
until its stdin ends. Besides the usual listings it has a hundred stocks, so that there is enough
to ask for; standing still it writes each answer once, and only the client is measured from then on.
"""

import argparse
import datetime as dt
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tvDatafeed.testing import LISTINGS, FakeTradingView, Listing, Market

NOW = 1786744800.0
STOCKS = [f"NASDAQ:S{number:03}" for number in range(100)]


@contextmanager
def server_process(round_trip_s: float = 0.0) -> Iterator[str]:
    """Run the server; gives its WebSocket URL."""
    command = [sys.executable, "-m", "tests.benchmarks.server", "--round-trip", str(round_trip_s)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            url = process.stdout.readline().strip() if process.stdout else ""
            if not url:
                raise SystemExit("the server did not start")
            yield url
        finally:
            process.terminate()


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--round-trip", type=float, default=0.0)
    arguments = parser.parse_args()
    first_day = dt.date(2000, 1, 1)  # more than 5000 daily bars
    stocks = (Listing(symbol, symbol, 100.0, first_day, 50.0) for symbol in STOCKS)
    server = FakeTradingView(
        market=Market((*LISTINGS, *stocks)),
        clock=lambda: NOW,
        round_trip_s=arguments.round_trip,
    )
    with server:
        print(server.ws_url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
