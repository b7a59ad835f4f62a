"""``--log-format json``: one JSON object a line on stderr, whatever a command says."""

import datetime as dt
import json
import re

import pytest

from tests.cli.command import lines_of
from tvDatafeed.cli.app import main
from tvDatafeed.testing import FinMidFrame, ReplaceBars

SYMBOL = "NASDAQ:AAPL"
JSON = ("--log-format", "json")
HIST = ("hist", SYMBOL, "--bars", "5")


def objects_of(text):
    """Return the objects of stderr, each of which has the four fields, in their order."""
    objects = [json.loads(line) for line in text.splitlines()]
    for one in objects:
        assert list(one)[:4] == ["time", "level", "logger", "message"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", one["time"])
        moment = dt.datetime.fromisoformat(one["time"].replace("Z", "+00:00"))
        assert abs(dt.datetime.now(dt.timezone.utc) - moment) < dt.timedelta(minutes=10)
    return objects


def test_a_warning(loopback, capsys):
    """A record of the library has its facts as fields, and the data stay clean."""
    loopback.inject(ReplaceBars(rows=[[1786714200, 5.0, 4.0, 6.0, 5.0, 1.0]]))
    assert main(["hist", SYMBOL, "--bars", "1", "--format", "csv", *JSON]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2
    found = objects_of(err)
    (warning,) = [one for one in found if one["logger"] == "tvDatafeed.frames.bars"]
    assert warning["level"] == "WARNING"
    assert (warning["symbol"], warning["exchange"], warning["bars"]) == ("AAPL", "NASDAQ", 1)


@pytest.mark.parametrize(
    ("arguments", "code", "kind"),
    [
        (("hist", "NASDAQ:NOSUCH"), 1, "SymbolNotFoundError"),
        (("hist", SYMBOL, "--timezone", "Mars"), 2, "ConfigurationError"),
        (("hist", "AAPL"), 2, "CommandError"),
    ],
)
def test_a_failure(loopback, capsys, arguments, code, kind):
    """The failure of a command is an object too, with type and message of the exception."""
    assert main([*arguments, *JSON]) == code
    (failure,) = objects_of(capsys.readouterr().err)
    assert (failure["level"], failure["logger"]) == ("ERROR", "tvdatafeed")
    assert failure["error"] == {"type": kind, "message": failure["message"]}


def test_tracebacks_come_with_debug(loopback, capsys):
    """--debug adds the traceback, and records at DEBUG."""
    assert main(["hist", "NASDAQ:NOSUCH", "--debug", *JSON]) == 1
    found = objects_of(capsys.readouterr().err)
    assert found[-1]["error"]["traceback"].startswith("Traceback (most recent call last):")
    assert any(one["message"].startswith("sent ") for one in found)
    (ended,) = [one for one in found if one["message"].startswith("connection ended")]
    assert (ended["level"], ended["url"]) == ("DEBUG", loopback.ws_url)
    assert ended["reason"] in ended["message"]


def test_a_note(loopback, capsys, tmp_path):
    """What a command says of its work is an object at INFO."""
    assert main([*HIST, "--output", str(tmp_path / "bars.csv"), *JSON]) == 0
    (line,) = objects_of(capsys.readouterr().err)
    assert (line["level"], line["message"].partition(" to ")[0]) == ("INFO", "wrote 5 bars")


def test_an_outage_counts_attempts(loopback, capsys):
    """A request that is sent again says at which attempt, why, and of which symbol."""
    loopback.inject(FinMidFrame(times=1))
    assert main([*HIST, *JSON]) == 0
    (again,) = objects_of(capsys.readouterr().err)
    assert (again["logger"], again["level"]) == ("tvDatafeed.network", "WARNING")
    assert (again["symbol"], again["exchange"], again["attempt"]) == ("AAPL", "NASDAQ", 1)
    assert again["error_type"].endswith("Error")


def test_text_is_the_default(loopback, capsys):
    """Text is as it was, asked for or not; after a command with JSON too."""
    assert main(["hist", "AAPL", *JSON]) == 2
    capsys.readouterr()
    for more in ((), ("--log-format", "text")):
        assert main(["hist", "AAPL", *more]) == 2
        (line,) = lines_of(capsys.readouterr().err)
        assert line.startswith("tvdatafeed: 'AAPL' does not say its exchange")


def test_an_unknown_format(capsys):
    """Another format is a mistake, and the line names those there are."""
    assert main(["hist", SYMBOL, "--log-format", "xml"]) == 2
    assert re.search("invalid choice: 'xml'.*text.*json", capsys.readouterr().err)


@pytest.mark.parametrize(
    "command",
    ["demo", "live", "search", "serve", "store serve", "store warm", "deliver run", "doctor"],
)
def test_each_command_has_it(command, capsys):
    """The option stands beside --debug."""
    assert main([*command.split(), "--help"]) == 0
    assert "--log-format {text,json}" in capsys.readouterr().out


def test_recorded_command(loopback, capsys, tmp_path):
    """Of a command that is recorded, the format of each is its own."""
    file = tmp_path / "session.jsonl"
    assert main(["record", *JSON, str(file), "--", "hist", "NASDAQ:NOSUCH"]) == 1
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("tvdatafeed: Symbol 'NOSUCH'")
    assert json.loads(last)["message"].startswith("recorded ")
