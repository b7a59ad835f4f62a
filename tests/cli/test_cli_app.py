"""Every command reports failures in one line and ends with an exit code."""

import importlib.metadata
import logging
import signal
import sys

import pytest

import tvDatafeed
from tests.cli.command import lines_of, needs_signals, series_of
from tests.programs import start
from tests.scale import PATIENCE_S
from tvDatafeed.cli.app import main
from tvDatafeed.testing import NoCompletion, ReplaceBars

# A program that Ctrl-C reaches even where these tests run as a background job, which ignores it.
PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from tvDatafeed.cli.app import main
sys.exit(main())
"""


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        ([], 2, "arguments are required"),
        (["nonsense"], 2, "invalid choice"),
        (["hist"], 2, "SYMBOL"),
        (["hist", "AAPL"], 2, "write EXCHANGE:AAPL or add --exchange"),
        (["hist", "NASDAQ:AAPL", "--exchange", "NYSE"], 2, "not on NYSE"),
        (["hist", "A:B/C:D", "--fut-contract", "1"], 2, "--fut-contract is for one symbol"),
        (["hist", 'NASDAQ:"'], 2, "Data validation failed for symbol"),
        (["hist", "NASDAQ:AAPL", "--bars", "0"], 2, "at least 1"),
        (["hist", "NASDAQ:AAPL", "--bars", "9" * 30], 2, "Data validation failed for n_bars"),
        (["hist", "NASDAQ:AAPL", "--interval", "7m"], 2, "'7m' is not one of 1s 5s"),
        (["hist", "NASDAQ:AAPL", "--interval", "15M"], 2, "'15M' is not one of 1s 5s"),
        (["hist", "NASDAQ:AAPL", "--interval", "1min"], 2, "; the nearest are 1m, 1M, 10m"),
        (["hist", "NASDAQ:AAPL", "--timezone", "Mars"], 2, "no such timezone"),
        (["hist", "NASDAQ:AAPL", "--output", "bars.xls"], 2, "add --format"),
        (["hist", "NASDAQ:AAPL", "--form", "csv"], 2, "unrecognized arguments"),
        (["hist", "NASDAQ:NOSUCH"], 1, "Symbol 'NOSUCH' not found on NASDAQ"),
        (["serve", "--heartbeat", "0"], 2, "'0' is not a number of seconds above 0"),
        (["serve", "--heartbeat", "soon"], 2, "'soon' is not a number of seconds"),
        (["serve", "--round-trip", "-1"], 2, "'-1' is not a number of seconds of at least 0"),
        (["serve", "--round-trip", "inf"], 2, "'inf' is not a number of seconds"),
        (["serve", "--speed", "-1"], 2, "'-1' is not a speed of at least 0"),
        (["serve", "--speed", "nan"], 2, "'nan' is not a speed of at least 0"),
        (["serve", "--start", "soon"], 2, "'soon' is not a moment since 1900 in ISO 8601"),
        (["serve", "--start", ""], 2, "'' is not a moment since 1900 in ISO 8601"),
        (["serve", "--start", "9999-12-31"], 2, "'9999-12-31' is not a moment since 1900"),
        (["serve", "--bandwidth", "0"], 2, "'0' is not a number of bytes per second above 0"),
        (["serve", "--port", "65536"], 2, "not a port between 0 and 65535"),
        (["serve", "--fault", "nonsense"], 2, "no fault is named 'nonsense'"),
        (["serve", "--fault", "drip:speed=1"], 2, "drip has no field 'speed'"),
        (["serve", "--fault", "drip:times=x"], 2, "--fault drip:times=x"),
    ],
)
def test_failures(arguments, exit_code, words, loopback, capsys):
    """A failure is one line that says who speaks and what is wrong, and an exit code."""
    assert main(arguments) == exit_code
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = lines_of(err)
    assert words in line


def test_bad_setting(loopback, monkeypatch, capsys):
    """A variable that cannot be used is named, and counts as a mistake of the user."""
    monkeypatch.setenv("TV_WS_TIMEOUT", "soon")
    assert main(["hist", "NASDAQ:AAPL"]) == 2
    (line,) = lines_of(capsys.readouterr().err)
    assert "TV_WS_TIMEOUT" in line


def test_warnings(loopback, capsys):
    """What the library warns about is a line on stderr, and the data stay clean."""
    loopback.inject(ReplaceBars(rows=[[1786714200, 5.0, 4.0, 6.0, 5.0, 1.0]]))
    assert main(["hist", "NASDAQ:AAPL", "--bars", "1", "--format", "csv"]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2
    assert any("1 whose high or low" in line for line in lines_of(err))


def test_debug(loopback, capsys):
    """--debug shows the log with all that is sent on stderr, and the data stay clean."""
    assert main(["hist", "NASDAQ:AAPL", "--format", "csv", "--debug"]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 11
    assert "tvDatafeed.network.connection: sent " in err
    assert '"create_series"' in err


def test_logging_is_left_as_it_was(loopback):
    """A command's handler is gone when the command is."""
    library = logging.getLogger("tvDatafeed")
    before = (library.level, list(library.handlers))
    assert main(["hist", "NASDAQ:AAPL", "--debug"]) == 0
    assert (library.level, list(library.handlers)) == before


def test_version(capsys):
    """--version names the program and its version."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"tvdatafeed {tvDatafeed.__version__}\n"


@pytest.mark.parametrize(
    "command",
    ["", "demo", "doctor", "hist", "search", "login", "logout", "whoami", "serve", "store"],
)
def test_help(command, capsys):
    """Help has examples, and each example is a command line that would be understood."""
    assert main([*command.split(), "--help"]) == 0
    out = capsys.readouterr().out
    examples = out.partition("examples:\n")[2].partition("\n\n")[0]
    assert f"  tvdatafeed {command or 'hist'} " in examples


@pytest.mark.slow
def test_help_is_quick():
    """Help loads nothing that takes its time."""
    with start("-X", "importtime", "-m", "tvDatafeed", "--help") as program:
        _out, err = program.communicate()
    loaded = {line.rpartition("|")[2].strip() for line in err.splitlines()}
    assert "tvDatafeed.cli.app" in loaded
    assert loaded.isdisjoint({"pandas", "numpy", "ssl", "websocket", "tvDatafeed.testing"})


def test_console_script():
    """The installed command is the function these tests call."""
    scripts = importlib.metadata.entry_points(group="console_scripts", name="tvdatafeed")
    if not scripts:
        pytest.skip("the package is not installed here")
    assert all(script.value == "tvDatafeed.cli:main" for script in scripts)


@pytest.mark.slow
def test_closed_pipe(server):
    """A reader that has seen enough, as head has, ends the program silently."""
    question = ["hist", "NASDAQ:AAPL", "--bars", "5000", "--format", "csv"]
    with start("-m", "tvDatafeed", *question, server=server) as program:
        assert program.stdout.readline() == "datetime,symbol,open,high,low,close,volume\n"
        program.stdout.close()
        assert program.stderr.read() == ""
    assert program.returncode == 141


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a disk that is always full")
@pytest.mark.slow
def test_full_disk(server):
    """A stdout that cannot be written to is one sentence and no traceback."""
    with (
        open("/dev/full", "w", encoding="utf-8") as full,  # noqa: PTH123 - no path to work with
        start("-m", "tvDatafeed", "hist", "NASDAQ:AAPL", server=server, stdout=full) as program,
    ):
        err = program.stderr.read()
    assert err == "tvdatafeed: cannot write to stdout: No space left on device\n"
    assert program.returncode == 1


@needs_signals
@pytest.mark.slow
def test_interrupt(server):
    """Ctrl-C ends a command that waits, at once and without a traceback."""
    server.inject(NoCompletion())
    with start("-c", PROGRAM, "hist", "NASDAQ:AAPL", server=server) as program:
        assert server.wait_until(series_of, PATIENCE_S)
        program.send_signal(signal.SIGINT)
        out, err = program.communicate()
    assert (program.returncode, out, err) == (130, "", "")
