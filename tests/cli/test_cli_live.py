"""The command that follows symbols: what it prints, where, and how it ends."""

import datetime as dt
import itertools
import json
import re
import signal
import subprocess
import sys

import pytest

from tests.cli.command import moving
from tests.cli.terminal import terminal
from tests.feed import LiveServer
from tests.programs import environment, run
from tests.scale import PATIENCE_S
from tvDatafeed.cli.app import main

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals there")
SYMBOL = "BITSTAMP:BTCUSD"


@pytest.fixture
def server():
    with LiveServer() as running:
        yield running


def test_lines_of_json(loopback, capsys):
    """In a pipe each bar that has closed is an object, beginning with the last one."""
    with moving(loopback):
        assert main(["live", SYMBOL, "--count", "4"]) == 0
    out, err = capsys.readouterr()
    lines = [json.loads(line) for line in out.splitlines()]
    times = [dt.datetime.fromisoformat(line["time"]) for line in lines]
    assert times == [times[0] + dt.timedelta(minutes=n) for n in range(4)]
    assert all(line["closed"] and line["symbol"] == SYMBOL for line in lines)
    assert list(lines[0]) == ["symbol", "time", "open", "high", "low", "close", "volume", "closed"]
    assert err == ""
    assert loopback.wait_until(lambda s: not s.open_sessions)


def test_bars_that_form(loopback, capsys):
    """--forming adds each change of them."""
    with moving(loopback):
        assert (
            main(["live", SYMBOL, "--count", "3", "--forming", "--timezone", "Asia/Kolkata"]) == 0
        )
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["closed"] for line in lines} == {True, False}
    assert all(line["time"].endswith("+05:30") for line in lines)


def test_several_symbols(loopback, capsys):
    """All of them are followed; a missing number is null."""
    with moving(loopback):
        arguments = ["BTCUSDT", "DOGEUSDT", "--exchange", "BINANCE", "--interval", "1m"]
        assert main(["live", *arguments, "--count", "6"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["symbol"] for line in lines} == {"BINANCE:BTCUSDT", "BINANCE:DOGEUSDT"}


def test_a_length_without_a_member(loopback, capsys):
    """Text is enough for it, and its bars open two minutes after each other."""
    with moving(loopback):
        assert main(["live", SYMBOL, "--interval", "2m", "--count", "3"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    opens = [dt.datetime.fromisoformat(line["time"]) for line in lines]
    assert [(b - a).total_seconds() for a, b in itertools.pairwise(opens)] == [120.0, 120.0]


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (["NASDAQ:NOPE"], 1, "'NOPE' not found on NASDAQ"),
        (["BTCUSD"], 2, "does not say its exchange"),
        ([SYMBOL, "--count", "0"], 2, "not a whole number of at least 1"),
        ([SYMBOL, "--interval", "7x"], 2, "'7x' is not one of"),
        ([SYMBOL, "--interval", "1s"], 1, "seconds_not_entitled"),
        ([SYMBOL, "--timezone", "Nowhere"], 2, "timezone"),
        ([], 2, "SYMBOL"),
    ],
)
def test_failures(loopback, capsys, arguments, exit_code, words):
    """Each is one line on stderr, and an exit code for the kind of the fault."""
    assert main(["live", *arguments]) == exit_code
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("tvdatafeed: ")
    assert words in line


@pytest.mark.slow
def test_a_reader_that_has_seen_enough(server):
    """As ``head`` does: no traceback, and the exit code of a closed pipe."""
    with subprocess.Popen(
        [sys.executable, "-m", "tvDatafeed", "live", SYMBOL],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(server),
    ) as program:
        try:
            assert json.loads(program.stdout.readline())["closed"]
            program.stdout.close()
            with moving(server):
                assert program.wait(PATIENCE_S) == 141
            assert program.stderr.read() == ""
        finally:
            program.kill()


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process there")
@pytest.mark.slow
def test_ctrl_c(server):
    """It ends with the exit code that a shell expects, and frees the session."""
    with subprocess.Popen(
        [sys.executable, "-m", "tvDatafeed", "live", SYMBOL],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(server),
    ) as program:
        try:
            program.stdout.readline()
            program.send_signal(signal.SIGINT)
            out, err = program.communicate(timeout=PATIENCE_S)
        finally:
            program.kill()
    assert (program.returncode, out, err) == (130, "", "")
    assert server.wait_until(lambda s: not s.open_sessions)


@posix_only
@pytest.mark.slow
def test_table_in_a_terminal(server):
    """One row a symbol, written over itself, with the state and the last warning below."""
    arguments = ("live", SYMBOL, "BINANCE:BTCUSDT", "--timezone", "UTC")
    with terminal(*arguments, server=server, TV_BASE_RETRY_DELAY="0.02") as shown:
        program, screen, changed = shown
        with changed:
            assert changed.wait_for(
                lambda: sum("LIVE" in line for line in screen.lines) == 2, PATIENCE_S
            )
        server.now += 60
        server.drop_connections()
        with changed:
            assert changed.wait_for(
                lambda: any("requested again" in line for line in screen.lines), PATIENCE_S
            )
        with moving(server), changed:
            assert changed.wait_for(
                lambda: len(re.findall(r"[+-]\d+\.\d\d%", "".join(screen.lines))) == 2, PATIENCE_S
            )
        program.send_signal(signal.SIGINT)
        assert program.wait(PATIENCE_S) == 130
    head, btc, usdt, _news, *rest = screen.lines
    assert head.split() == [
        *("SYMBOL", "TIME", "OPEN", "HIGH", "LOW", "CLOSE", "CHANGE", "VOLUME", "BARS", "STATE")
    ]
    assert btc.startswith(SYMBOL)
    assert usdt.startswith("BINANCE:BTCUSDT")
    assert all(len(line) <= 120 for line in screen.lines)
    assert "".join(rest).strip() in {"", "^C"}


@pytest.mark.slow
def test_help_teaches(server):
    """With examples that can be copied."""
    result = run("-m", "tvDatafeed", "live", "--help", server=server)
    assert "tvdatafeed live BINANCE:BTCUSDT --json | jq .close" in result.stdout
