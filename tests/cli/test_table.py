"""Tables of text: what fits is shown whole, and what does not is left out or cut."""

import pytest

from tvDatafeed.cli.table import table

HEADS = ("SYMBOL", "OPEN", "CLOSE", "STATE")
ROWS = [("A:B", "1.25", "10.5", "LIVE"), ("LONGER:NAME", "100", "9", "RECONNECTING")]


@pytest.fixture
def wide(monkeypatch):
    """Sets how many columns the terminal has."""
    return lambda columns: monkeypatch.setenv("COLUMNS", str(columns))


def test_columns_stand_one_below_the_other(wide):
    """Texts to the left, numbers to the right."""
    wide(80)
    assert table(HEADS, ROWS, numbers=(1, 2)) == [
        "SYMBOL       OPEN  CLOSE  STATE",
        "A:B          1.25   10.5  LIVE",
        "LONGER:NAME   100      9  RECONNECTING",
    ]


@pytest.mark.parametrize(
    ("columns", "heads"),
    [
        (38, ["SYMBOL", "OPEN", "CLOSE", "STATE"]),
        (37, ["SYMBOL", "CLOSE", "STATE"]),
        (31, ["SYMBOL", "STATE"]),
    ],
)
def test_spare_columns_go_whole(wide, columns, heads):
    """No number is cut in two; the rest keeps its place."""
    wide(columns)
    first, *rest = table(HEADS, ROWS, numbers=(1, 2), spare=(1, 2))
    assert first.split() == heads
    assert all(len(line) <= columns for line in (first, *rest))
    assert rest[1].endswith("RECONNECTING")


def test_the_last_column_is_cut(wide):
    """As are whole lines in a terminal that is narrower than the others."""
    wide(36)
    assert table(HEADS, ROWS)[2].endswith("RECONNECT…")
    wide(10)
    assert all(len(line) <= 10 for line in table(HEADS, ROWS))


def test_wide_characters_take_two_columns(wide):
    """And those that combine take none."""
    wide(80)
    lines = table(("A", "B"), [("株式", "x"), ("e\u0301", "y")])
    assert lines == ["A     B", "株式  x", "e\u0301     y"]
