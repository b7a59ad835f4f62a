"""Tables of text: what fits is shown whole, and what does not is left out or cut."""

import pytest

from tvDatafeed.cli.table import described, table, wrapped

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


def test_marks_and_joiners_take_no_column(wide):
    """Vowel signs of Thai, variation selectors and joiners are drawn over what is before them."""
    wide(80)
    lines = table(("A", "B"), [("ก\u0e31น", "x"), ("\u2764\ufe0f", "y"), ("a\u200db", "z")])
    assert lines == ["A   B", "ก\u0e31น  x", "\u2764\ufe0f   y", "a\u200db  z"]


def test_a_long_last_column_does_not_push_out_the_others(wide):
    """It is cut to what remains, if that is at least a few words."""
    wide(50)
    rows = [("A:B", "1.25", "10.5", "FAILED: the symbol is not listed any more")]
    first, second = table(HEADS, rows, numbers=(1, 2), spare=(1, 2))
    assert first.split() == list(HEADS)
    assert second.endswith("…")
    assert len(second) == 50


@pytest.mark.parametrize("columns", [1, 7, 20])
def test_wrapped_lines_fit_and_lose_nothing(columns):
    """Words stay whole where they can; one that is too long is broken."""
    text = "outbox /home/user/a/long/path/outbox.db waits"
    lines = wrapped(text, columns)
    assert all(len(line) <= columns for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_names_and_values_stand_in_two_columns(wide):
    """A long value continues below its begin."""
    wide(24)
    assert described([("size", "12 kB"), ("hot symbols", "NASDAQ:AAPL 12, NSE:NIFTY 3")]) == [
        "size         12 kB",
        "hot symbols  NASDAQ:AAPL",
        "             12,",
        "             NSE:NIFTY 3",
    ]
