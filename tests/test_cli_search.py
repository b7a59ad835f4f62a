"""The command that searches: what it prints, where, and how it ends."""

import json

import pytest

from tests.programs import urls
from tvDatafeed.cli import main
from tvDatafeed.testing import HttpStatus

SEARCH = "/symbol_search/v3/"


@pytest.fixture
def loopback(server, monkeypatch):
    """A loopback TradingView that the environment names."""
    monkeypatch.setenv("TV_TOKEN_CACHE", "off")
    for variable, url in urls(server).items():
        monkeypatch.setenv(variable, url)
    return server


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
    """Each is one line on stderr, and an exit code that tells whose fault it was."""
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
