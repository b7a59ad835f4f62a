"""The help page of each command fits 80 columns, and no word of it is broken."""

import re
import shlex

import pytest

from tvDatafeed.cli.app import main


def page(capsys, *command):
    """Return the help page of a command."""
    assert main([*command, "--help"]) == 0
    return capsys.readouterr().out


def parts_of(text):
    """Return the commands that a page lists."""
    listed = re.search(r"^commands:\n  COMMAND\n((?:    .*\n)+)", text, re.MULTILINE)
    return re.findall(r"^    (\S+)", listed[1], re.MULTILINE) if listed else []


@pytest.fixture
def pages(monkeypatch, capsys):
    """Returns all help pages by the words of the command, for a terminal of some columns."""

    def read(columns):
        monkeypatch.setenv("COLUMNS", str(columns))
        found, waiting = {}, [()]
        while waiting:
            command = waiting.pop()
            found[command] = page(capsys, *command)
            waiting += [(*command, part) for part in parts_of(found[command])]
        return found

    return read


@pytest.mark.parametrize("columns", [80, 200])
def test_no_line_is_wider_than_80_columns(pages, columns):
    """The pages of all commands and of their commands, also in a wide terminal."""
    found = pages(columns)
    assert len(found) > 30
    assert {("store", "warm"), ("deliver", "test-alert"), ("hist",)} <= found.keys()
    long = [(*command, line) for command, text in found.items() for line in text.splitlines()
            if len(line) > 80]  # fmt: skip
    assert long == []


def test_no_word_is_broken(pages):
    """Each word of a page stands whole in a page of another width; no option ends at a hyphen."""
    narrow, wide = pages(60), pages(80)
    for command, text in wide.items():
        assert not re.search(r"\w-$", text, re.MULTILINE), command
        # A line that continues has a backslash.
        assert set(text.split()) - {"\\"} == set(narrow[command].split()) - {"\\"}, command


def test_a_narrow_terminal_has_lines_of_its_width(pages):
    """Below the usage, only a URL or a list of choices sticks out, as it cannot be broken."""
    for command, text in pages(40).items():
        for line in text.partition("\n\n")[2].splitlines():
            assert len(line) <= 40 or len(max(line.split(), key=len)) > 25, (command, line)


def test_examples_can_be_pasted(pages):
    """An example that takes two lines ends its first one as a shell wants it."""
    text = pages(50)[("hist",)]
    examples = text.partition("examples:\n")[2].partition("\n\n")[0].replace("\\\n", "")
    words = [shlex.split(line) for line in examples.splitlines()]
    assert [
        "tvdatafeed",
        "hist",
        "NASDAQ:AAPL",
        "--start",
        "2024-01-01",
        "--end",
        "2024-06-30",
    ] in (words)


def test_comments_stand_below_each_other(pages):
    """The comments of the main page are one column."""
    text = pages(80)[()]
    places = {
        line.index(comment)
        for line in text.splitlines()
        for comment in ("the last 20 daily bars", "what symbols are called", "record a session")
        if line.startswith("  tvdatafeed") and comment in line
    }
    assert len(places) == 1
