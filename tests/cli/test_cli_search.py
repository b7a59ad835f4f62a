"""The command that searches: what it prints, where, and how it ends."""

import datetime as dt
import json

import pytest

from tests.programs import run
from tvDatafeed.cli.app import main
from tvDatafeed.testing import FakeTradingView, HttpStatus, Listing, Market

SEARCH = "/symbol_search/v3/"
SEARCH_SAMSUNG = "from tvDatafeed.cli.app import main; sys.exit(main(['search', '005930']))"


def test_a_line_a_symbol(loopback, capsys, monkeypatch):
    """The name to ask for stands first, and no line is wider than the terminal."""
    monkeypatch.setenv("COLUMNS", "50")
    assert main(["search", "international", "business"]) == 0
    head, line = capsys.readouterr().out.splitlines()
    assert head.split() == ["SYMBOL", "TYPE", "EXCHANGE", "DESCRIPTION"]
    assert line.split()[:3] == ["NYSE:IBM", "stock", "NYSE"]
    assert line.endswith("…")
    assert len(line) <= 50


def test_names_in_any_script(loopback, capsys, monkeypatch):
    """Wide characters take two columns, so that the line still fits."""
    monkeypatch.setenv("COLUMNS", "40")
    assert main(["search", "005930"]) == 0
    line = capsys.readouterr().out.splitlines()[1]
    description = line.split()[-1]
    assert description.startswith("삼성")
    assert len(line) + len(description.rstrip("…")) <= 41


@pytest.mark.parametrize("columns", [40, 30, 12, 1])
def test_no_line_is_wrapped(loopback, capsys, monkeypatch, columns):
    """However narrow the terminal is, a line stays within it and begins with the name."""
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main(["search", "international business"]) == 0
    head, line = capsys.readouterr().out.splitlines()
    assert max(len(head), len(line)) <= columns
    assert line.rstrip("…") == "NYSE:IBM  stock  NYSE      International"[: len(line.rstrip("…"))]


@pytest.mark.slow
def test_a_pipe_gets_whole_lines(server):
    """Where there is no terminal nothing is cut, so that other programs find all of it."""
    result = run("-m", "tvDatafeed", "search", "international", server=server)
    assert result.stdout.splitlines()[1].endswith("  International Business Machines")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.slow
def test_scripts_that_cannot_be_shown(server, encoding):
    """What a terminal or a code page does not know is a question mark, and the rest is there."""
    program = f"import sys; sys.stdout.reconfigure(encoding={encoding!r}); {SEARCH_SAMSUNG}"
    result = run("-c", program, server=server)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[1].split() == ["KRX:005930", "stock", "KRX", "???????"]


def test_what_a_terminal_would_obey(monkeypatch, capsys):
    """Control characters in what a server says are blanks."""
    name = "Red \x1b[31m\r\nHat\u202e"
    listing = Listing("X:RED", name, 1.0, dt.date(2020, 1, 1))
    with FakeTradingView(market=Market((listing,))) as server:
        monkeypatch.setenv("TV_SEARCH_URL", server.search_url)
        assert main(["search", "red"]) == 0
        _head, line = capsys.readouterr().out.splitlines()
        assert line.endswith("  Red  [31m  Hat")


def test_json_lines(loopback, capsys):
    """--json writes each result whole, one a line."""
    assert main(["search", "a", "--exchange", "NASDAQ", "--type", "stock", "--json"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {item["full_name"] for item in found} >= {"NASDAQ:AAPL", "NASDAQ:MSFT"}
    query = loopback.http_requests[-1].query
    assert (query["exchange"], query["search_type"]) == ("NASDAQ", "stock")
    assert main(["search", "a", "--limit", "1", "--json"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (["nothing at all"], 1, "nothing is called 'nothing at all'"),
        ([" "], 2, "must be a text that is not blank"),
        (["a", "--limit", "0"], 2, "limit"),
        (["a", "--exchange", "N Y"], 2, "exchange"),
        (["a", "--type", "shares"], 2, "invalid choice: 'shares'"),
        ([], 2, "TEXT"),
    ],
)
def test_failures(loopback, capsys, arguments, exit_code, words):
    """Each is one line on stderr, and an exit code for the kind of the fault."""
    assert main(["search", *arguments]) == exit_code
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("tvdatafeed: ")
    assert words in line


def test_an_outage_is_told(loopback, capsys):
    """A search that fails is not one that finds nothing."""
    loopback.inject(HttpStatus(500, path=SEARCH))
    assert main(["search", "a"]) == 1
    assert "the symbol search answers 500" in capsys.readouterr().err
