"""Tables of text that fit a terminal, in any script."""

import itertools
import shutil
import sys
import unicodedata
from collections.abc import Sequence

_GAP = "  "
# A text that is cut shorter than this is not readable.
_LEAST_WIDTH = 12
_ELLIPSIS = "…"
# Output to a file or another program is not cut.
_NO_TERMINAL = sys.maxsize


def table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    numbers: Sequence[int] = (),
    spare: Sequence[int] = (),
) -> list[str]:
    """Write one line per row that fits into the terminal; the last column is cut.

    Parameters
    ----------
    heads
        The names of the columns.
    rows
        Their cells.
    numbers
        Which columns are aligned to the right.
    spare
        Which columns are dropped, in this order, if there is no room for all: half a number is
        worse than a missing one.
    """
    widths = [max(map(width_of, column)) for column in zip(heads, *rows, strict=True)]
    limit = terminal_columns()
    kept = list(range(len(heads)))
    for column in spare:
        *others, last = (widths[place] for place in kept)
        if sum(others) + len(_GAP) * len(others) + min(last, _LEAST_WIDTH) <= limit:
            break
        kept.remove(column)
    heads, *rows = ([cells[place] for place in kept] for cells in (heads, *rows))
    widths = [widths[place] for place in kept]
    numbers = [kept.index(place) for place in numbers if place in kept]
    taken = sum(widths[:-1]) + len(_GAP) * (len(heads) - 1)
    widths[-1] = min(widths[-1], max(limit - taken, _LEAST_WIDTH))
    lines = (
        _GAP.join(
            _padded(_cut(cell, width), width, to_the_right=place in numbers)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in (heads, *rows)
    )
    # A terminal that is narrower than the other columns.
    return [_cut(line.rstrip(), limit) for line in lines]


def terminal_columns() -> int:
    """Return how many columns the terminal has; without one, more than any line needs."""
    return shutil.get_terminal_size((_NO_TERMINAL, 0)).columns


def cut_to_terminal(line: str) -> str:
    """Return the part of a line that fits into the terminal."""
    return _cut(line, terminal_columns())


def wrapped(text: str, columns: int) -> list[str]:
    """Break a text into lines of at most a number of columns, between words where there are any."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".lstrip()
        if lines[-1] and width_of(longer) > columns:
            lines.append(word)
        else:
            lines[-1] = longer
        while width_of(lines[-1]) > columns:
            begin = _begin(lines[-1], columns)
            lines[-1:] = [begin, lines[-1][len(begin) :]]
    return lines


def described(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Write names and values below each other; a long value takes several lines of the terminal."""
    column = max(width_of(name) for name, _value in pairs) + len(_GAP)
    room = max(terminal_columns() - column, _LEAST_WIDTH)
    lines = []
    for name, value in pairs:
        first, *rest = wrapped(value, room)
        lines.append(_padded(name, column, to_the_right=False) + first)
        lines += [" " * column + line for line in rest]
    return [line.rstrip() for line in lines]


def printable(value: object) -> str:
    """Return a value as text, with blanks instead of control characters."""
    return "".join(c if c.isprintable() else " " for c in str(value))


def encodable(line: str) -> str:
    """Return a line with question marks for characters that stdout cannot write."""
    # Not every terminal shows every script, and Windows' pipes have a code page.
    encoding = sys.stdout.encoding or "utf-8"
    return line.encode(encoding, "replace").decode(encoding)


def _padded(text: str, width: int, *, to_the_right: bool) -> str:
    room = " " * (width - width_of(text))
    return room + text if to_the_right else text + room


def _cut(text: str, width: int) -> str:
    if width_of(text) <= width:
        return text
    return _begin(text, width - len(_ELLIPSIS)) + _ELLIPSIS


def _begin(text: str, width: int) -> str:
    """Return as much of a text as fits into a number of columns."""
    ends = itertools.accumulate(map(width_of, text))
    fitting = itertools.takewhile(lambda pair: pair[1] <= width, zip(text, ends, strict=True))
    return "".join(character for character, _end in fitting)


def width_of(text: str) -> int:
    """Return how many columns of a terminal a text needs: wide characters need two."""
    if text.isascii():
        return len(text)
    return sum(map(_character_width, text))


def _character_width(character: str) -> int:
    # Marks and joiners are drawn over the character before them.
    if unicodedata.category(character) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
