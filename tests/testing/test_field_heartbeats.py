"""Heartbeats of the loopback TradingView come as often as the recorded ones."""

import json
import time

import pytest

from tests.scale import scaled
from tests.testing.client import NOW, command
from tvDatafeed.cli.app import main
from tvDatafeed.testing import FakeTradingView

PERIOD_S = 10.0


def next_beat(client):
    """Return the next message if it is a heartbeat."""
    text = client.socket.recv()
    assert text.startswith("~m~4~m~~h~")
    return text[-1]


@pytest.mark.slow
def test_period(connect, captures):
    """Without a setting, the first heartbeat comes as long after the hello as the recorded one."""
    entries = json.loads((captures / "2025-12-prodata-older-page.json").read_text("utf-8"))
    beats = [entry["t"] for entry in entries if "~h~" in entry["data"]]
    assert beats[0] == pytest.approx(PERIOD_S, abs=0.1)
    with FakeTradingView(clock=lambda: NOW) as server:
        client = connect(server, timeout=scaled(30.0))
        client.text()
        started = time.monotonic()
        assert next_beat(client) == "1"
        assert PERIOD_S - 0.5 < time.monotonic() - started < scaled(PERIOD_S + 2.0)


def test_other_messages_do_not_delay_a_heartbeat(connect):
    """A heartbeat comes although a client asks for something all the time."""
    with FakeTradingView(clock=lambda: NOW, heartbeat_interval_s=0.2) as server:
        client = connect(server)
        client.greet()
        started, count = time.monotonic(), 0
        while True:
            client.send(command("resolve_symbol", "cs_plain", f"sym_{count}", "NASDAQ:AAPL"))
            count += 1
            if client.socket.recv().startswith("~m~4~m~~h~"):
                break
        assert count > 1
        assert time.monotonic() - started < scaled(2.0)


def test_help_of_serve(capsys):
    """The command line names the same period."""
    assert main(["serve", "--help"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "time between heartbeats; default: 10.0" in out
