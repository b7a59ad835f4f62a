"""Records have their facts as fields: which names there are, and what they hold."""

import ast
import datetime as dt
import logging
import re
from pathlib import Path

import pytest

from tests.programs import ROOT
from tvDatafeed import Interval, Seis
from tvDatafeed.common.facts import facts
from tvDatafeed.common.once import Once
from tvDatafeed.exceptions import WebSocketError

PAGE = (ROOT / "docs" / "logging.md").read_text(encoding="utf-8")
FIELDS = PAGE.partition("## Fields")[2].partition("## JSON")[0]
DOCUMENTED = {
    name
    for row in re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", FIELDS, re.MULTILINE)
    for name in re.findall(r"\w+", row)
}
RESERVED = {
    *vars(logging.makeLogRecord({})),
    *("message", "asctime", "taskName"),
    # The JSON of the command line.
    *("time", "level", "logger", "error"),
}
LEVELS = {"info", "warning", "error", "exception", "critical", "log"}
# What has no other fact than its text.
WITHOUT = re.compile("no account|sent %s")


def calls():
    """Yield each call of a package's module."""
    for path in sorted(Path(ROOT / "tvDatafeed").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield path.stem, node


def names_of(call):
    """The fields that a call of the helper gives."""
    names = {keyword.arg for keyword in call.keywords}
    of_error = {"reason", "error_type"} if "error" in names else set()
    return (names | of_error) - {"error", None}


def test_fields_are_documented():
    """Each field that a record may have is in the table of the page, and each of that is used."""
    used = {"symbol", "exchange", "interval"}
    for _module, call in calls():
        if ast.unparse(call.func) in {"facts", "self._overdue.log"}:
            used |= names_of(call)
    assert used == DOCUMENTED


def test_fields_have_names_of_their_own():
    """No field collides with an attribute of a record, or with a field of the JSON."""
    assert DOCUMENTED
    assert {name for name in DOCUMENTED if not re.fullmatch("[a-z]+(_[a-z]+)*", name)} == set()
    assert not DOCUMENTED & RESERVED


def test_records_with_values_have_fields():
    """Each record from INFO up whose text has values has them as fields, too."""
    without = []
    for module, call in calls():
        attribute = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        if attribute not in LEVELS or not ast.unparse(call.func).lower().find("logger") >= 0:
            continue
        text = " ".join(ast.unparse(argument) for argument in call.args)
        has_fields = any(keyword.arg == "extra" for keyword in call.keywords)
        if (
            len(call.args) > 1 + (attribute == "log")
            and not has_fields
            and not WITHOUT.search(text)
        ):
            without.append((module, text))
    assert without == []


class Follower:
    """What has a series, as a consumer."""

    seis = Seis("AAPL", "NASDAQ", Interval.in_1_hour)


@pytest.mark.parametrize(
    ("about", "fields"),
    [
        (None, {}),
        ("NASDAQ:AAPL", {"symbol": "AAPL", "exchange": "NASDAQ"}),
        ("A:B/C:D", {"symbol": "A:B/C:D"}),
        ("AAPL", {"symbol": "AAPL"}),
        (Follower.seis, {"symbol": "AAPL", "exchange": "NASDAQ", "interval": "1H"}),
        (Follower(), {"symbol": "AAPL", "exchange": "NASDAQ", "interval": "1H"}),
        (Seis("A", "B", "6h"), {"symbol": "A", "exchange": "B", "interval": "360"}),
    ],
)
def test_series(about, fields):
    """A series, what has one, and a symbol have the same plain fields."""
    found = facts(about)
    assert found == fields
    assert {type(value) for value in found.values()} <= {str}


def test_values():
    """An error is its text and class, a moment is ISO text, and None is left out."""
    moment = dt.datetime(2026, 8, 14, 22, tzinfo=dt.timezone.utc)
    found = facts(
        error=WebSocketError("it broke"),
        start=moment,
        path=Path("a"),
        attempt=2,
        seconds=0.5,
        end=None,
    )
    assert found == {
        "reason": str(WebSocketError("it broke")),
        "error_type": "WebSocketError",
        "start": "2026-08-14T22:00:00+00:00",
        "path": "a",
        "attempt": 2,
        "seconds": 0.5,
    }


def test_secrets_are_masked():
    """A URL loses its password and its query, and what looks like a token is hidden anywhere."""
    url = "redis://ann:canary@host:6379/0?token=canary"
    token = "eyJhbGciOiJSUzUxMiJ9.eyJ1c2VyX2lkIjoxfQ.canary"
    found = facts(url=url, reason=f"{token} was refused", error=ValueError(token), path=f"/{token}")
    assert found["url"] == "redis://ann:***@host:6379/0"
    assert "canary" not in repr(found)


def test_once():
    """Only the first question is answered by yes."""
    once = Once()
    assert [once.is_first() for _ in range(3)] == [True, False, False]
