"""What a command printed, and what its server received."""

import contextlib
import json
import sys
import threading

import pytest

needs_signals = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows cannot send Ctrl-C to one process"
)


def lines_of(text):
    """Return the lines of a text, each of which must begin with the program's name."""
    lines = text.splitlines()
    assert all(line.startswith("tvdatafeed: ") for line in lines), text
    return lines


def series_of(server):
    """The parameters of each create_series that a server received."""
    return [message.params for message in server.received if message.method == "create_series"]


def symbols_of(server):
    """The symbol of each resolve_symbol that a server received."""
    asked = [message.params[2] for message in server.received if message.method == "resolve_symbol"]
    return [json.loads(text.removeprefix("="))["symbol"] for text in asked]


@contextlib.contextmanager
def moving(server):
    """Move the clock by a minute every few hundredths of a second."""
    stop = threading.Event()

    def move():
        while not stop.wait(0.05):
            server.move(60)

    thread = threading.Thread(target=move)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
