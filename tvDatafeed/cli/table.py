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
    widths = [max(map(_width, column)) for column in zip(heads, *rows, strict=True)]
    limit = shutil.get_terminal_size((_NO_TERMINAL, 0)).columns
    kept = list(range(len(heads)))
    for column in spare:
        if sum(widths[place] for place in kept) + len(_GAP) * (len(kept) - 1) <= limit:
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


def cut_to_terminal(line: str) -> str:
    """Return the part of a line that fits into the terminal."""
    return _cut(line, shutil.get_terminal_size((_NO_TERMINAL, 0)).columns)


def printable(value: object) -> str:
    """Return a value as text, with blanks instead of control characters."""
    return "".join(c if c.isprintable() else " " for c in str(value))


def encodable(line: str) -> str:
    """Return a line with question marks for characters that stdout cannot write."""
    # Not every terminal shows every script, and Windows' pipes have a code page.
    encoding = sys.stdout.encoding or "utf-8"
    return line.encode(encoding, "replace").decode(encoding)


def _padded(text: str, width: int, *, to_the_right: bool) -> str:
    room = " " * (width - _width(text))
    return room + text if to_the_right else text + room


def _cut(text: str, width: int) -> str:
    if _width(text) <= width:
        return text
    room = width - len(_ELLIPSIS)
    ends = itertools.accumulate(map(_width, text))
    fitting = itertools.takewhile(lambda pair: pair[1] <= room, zip(text, ends, strict=True))
    return "".join(character for character, _end in fitting) + _ELLIPSIS


def _width(text: str) -> int:
    """Return how many columns of a terminal a text needs: wide characters need two."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )
