"""The demo shows bars of the made-up market, or real ones with --real."""

import re
import socket

import pytest

from tests.cli.command import lines_of, symbols_of
from tvDatafeed.cli.app import main


@pytest.fixture
def refused_port():
    """A port of this machine that is bound but does not listen."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


def test_demo(capsys):
    """The demo shows 5000 bars from both ends, the time it took, and that they are made up."""
    assert main(["demo"]) == 0
    out, err = capsys.readouterr()
    table = out.partition("\n\n")[0].splitlines()
    assert table[0].split() == ["symbol", "open", "high", "low", "close", "volume"]
    assert sum("NASDAQ:AAPL" in row for row in table) == 10
    assert "[5000 rows x 6 columns]" in out
    assert re.search(r"5000 bars of NASDAQ:AAPL in \d+\.\d+", out)
    assert "This market is made up" in out
    assert err == ""


def test_demo_options(capsys):
    """The demo takes a symbol, a length and a number of bars."""
    assert (
        main(["demo", "--symbol", "SPX", "--exchange", "SP", "--bars", "7", "--interval=1M"]) == 0
    )
    assert "7 bars of SP:SPX" in capsys.readouterr().out


def test_demo_asks_nobody(loopback):
    """The demo has a server of its own, whatever the environment names."""
    assert main(["demo", "--bars", "5"]) == 0
    assert loopback.accepted == 0


def test_demo_real(loopback, capsys):
    """With --real the service that the environment names is asked, and no bar is called made up."""
    assert main(["demo", "--real", "--bars", "300"]) == 0
    out, _err = capsys.readouterr()
    assert "300 bars of NASDAQ:AAPL" in out
    assert "made up" not in out
    assert symbols_of(loopback) == ["NASDAQ:AAPL"]


def test_demo_real_without_network(monkeypatch, refused_port, capsys):
    """Without a network --real says so in one sentence and fails."""
    monkeypatch.setenv("TV_TOKEN_CACHE", "off")
    monkeypatch.setenv("TV_WS_URL", f"ws://127.0.0.1:{refused_port}/socket.io/websocket")
    assert main(["demo", "--real"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = lines_of(err)
    assert line.startswith("tvdatafeed: no bars from TradingView: connect failed")
    assert f"127.0.0.1:{refused_port}" in line
