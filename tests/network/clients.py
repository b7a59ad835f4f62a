"""Requests in threads and programs, and the frame that each must get."""

import logging
import os
import subprocess
import sys
import textwrap
import threading

import pandas as pd

from tests.loopback import expected
from tests.scale import PATIENCE_S
from tvDatafeed import Interval

SYMBOL = "NASDAQ:AAPL"


def assert_right(server, frame, symbol=SYMBOL, count=10):
    """Hold a frame to the market's arithmetic."""
    pd.testing.assert_frame_equal(frame, expected(server, symbol, Interval.in_daily, count))


def warnings_of(caplog, name="tvDatafeed.network"):
    """The WARNING records of one logger."""
    return [r for r in caplog.records if r.name == name and r.levelno == logging.WARNING]


def ask_in_threads(tv, symbols, **arguments):
    """Request each symbol in its own thread; return results and errors by position."""
    results = [None] * len(symbols)

    def ask(position, symbol):
        try:
            results[position] = tv.get_hist(symbol, timezone="UTC", **arguments)
        except Exception as error:  # noqa: BLE001 - what comes is what is tested
            results[position] = error

    threads = [threading.Thread(target=ask, args=pair) for pair in enumerate(symbols)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    return results


def run_program(text, server, *, stdin=None, **variables):
    """Run a program in a process of its own, against the loopback server."""
    loopback = {"TV_WS_URL": server.ws_url, "TV_BASE_RETRY_DELAY": "0.05"}
    environment = {**os.environ, **loopback, **variables}
    return subprocess.Popen(
        [sys.executable, "-X", "dev", "-c", textwrap.dedent(text)],
        env=environment,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
