"""A bot that runs for weeks: it handles each closed bar of a symbol once, also through restarts.

    python bot.py BINANCE:BTCUSDT --state FOLDER [--interval 1m] [--port 9100] [--host 127.0.0.1]

It needs one folder to write to. /health and /metrics are on the port; SIGTERM ends it with exit
code 0. After an error the exit code is 1, and the next start continues with the first bar that is
missing: let a service manager start it again.
"""

import argparse
import datetime as dt
import signal
import sqlite3
import sys
import threading
from contextlib import closing
from pathlib import Path

import pandas as pd

from tvDatafeed import Seis, TvDatafeedError, TvDatafeedLive
from tvDatafeed.metrics import MetricsServer


def main() -> int:
    """Run until SIGTERM or an error."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("symbol", metavar="EXCHANGE:SYMBOL")
    parser.add_argument("--state", required=True, type=Path, help="the folder of bars.db")
    parser.add_argument("--interval", default="1m")
    parser.add_argument("--port", default=9100, type=int)
    parser.add_argument("--host", default="127.0.0.1")
    arguments = parser.parse_args()
    book = sqlite3.connect(arguments.state / "bars.db", check_same_thread=False)
    book.execute("CREATE TABLE IF NOT EXISTS bar (time INTEGER PRIMARY KEY, close REAL)")
    failed = threading.Event()

    def handle(seis: Seis, bar: pd.DataFrame) -> None:
        if failed.is_set():  # the next start gets this bar
            return
        when, close = bar.index[0], float(bar["close"].iloc[0])
        with book:  # what your strategy remembers belongs into the same transaction
            book.execute("INSERT INTO bar VALUES (?, ?)", (int(when.timestamp()), close))
        print(f"{when:%Y-%m-%d %H:%M} {seis.full_symbol} {close}", flush=True)

    def fail(who: object, error: BaseException) -> None:
        print(f"{who}: {error}", file=sys.stderr, flush=True)
        failed.set()

    (last,) = book.execute("SELECT max(time) FROM bar").fetchone()
    start = None if last is None else dt.datetime.fromtimestamp(last + 1, dt.timezone.utc)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with closing(book), TvDatafeedLive(timezone="UTC", on_error=fail) as tvl:
        tvl.subscribe(arguments.symbol, "", arguments.interval, handle, start=start)
        with MetricsServer(tvl, arguments.port, host=arguments.host):
            failed.wait()
    return 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except TvDatafeedError as error:
        sys.exit(f"The bot cannot start: {error}")
