"""A table of bars that fits the terminal: shorter times first, then fewer columns."""

import sys
import unicodedata
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tvDatafeed.cli.console import note
from tvDatafeed.cli.numbers import with_texts
from tvDatafeed.cli.table import cut_to_terminal, printable, terminal_columns, width_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["bar_table"]

# Columns that are left out where there is no room, the first of these first.
_SPARE = ("volume", "open", "high", "low")
_LEAST_SYMBOL = 6
_ELLIPSIS = "…"
# pandas aligns by the number of characters: one of these follows each wide character meanwhile.
_FILLER = "\0"


def bar_table(frame: "pd.DataFrame", **layout: Any) -> str:
    """Return bars as a table for stdout.

    In a terminal that is too narrow for it, times lose their seconds and offset, and columns are
    left out; a note on stderr says which. Nothing is left out in a pipe or a file.

    Parameters
    ----------
    frame
        The bars.
    layout
        As for `DataFrame.to_string`.
    """
    texts = with_texts(frame)
    texts["symbol"] = [_filled_up(symbol) for symbol in texts["symbol"]]
    columns = terminal_columns() if sys.stdout.isatty() else sys.maxsize
    table = _table(texts, layout)
    if _excess(table, columns) <= 0:
        return table
    texts = texts.set_axis(_short_times(texts.index), axis=0).rename_axis("datetime")
    names, excess = _fitting_columns(texts, columns, layout)
    texts = texts[names]
    if excess > 0 and "symbol" in names:
        texts = texts.assign(symbol=_ends(texts["symbol"], excess))
    _note_difference(frame, names, columns)
    return "".join(f"{cut_to_terminal(line)}\n" for line in _table(texts, layout).splitlines())


def _table(texts: "pd.DataFrame", layout: dict[str, Any]) -> str:
    return f"{texts.to_string(**layout)}\n".replace(_FILLER, "")


def _excess(table: str, columns: int) -> int:
    return max(map(width_of, table.splitlines())) - columns


def _ends(symbols: Any, excess: int) -> list[str]:
    """Return the ends of symbols, in a column that is narrower; there their names are."""
    room = max(max(map(len, symbols)) - excess, _LEAST_SYMBOL)
    return [
        symbol if len(symbol) <= room else _ELLIPSIS + symbol[len(_ELLIPSIS) - room :]
        for symbol in symbols
    ]


def _fitting_columns(
    texts: "pd.DataFrame", columns: int, layout: dict[str, Any]
) -> tuple[list[str], int]:
    """Return the names of what fits, and by how many columns the last of them is too wide."""
    # The widest texts alone say that, without a table of all bars for each try.
    widest = _widest(texts)
    names, excess = list(map(str, texts.columns)), 1
    tries = _fewer_columns(texts)
    while excess > 0 and (fewer := next(tries, None)) is not None:
        names = fewer
        excess = _excess(_table(widest[names], layout), columns)
    return names, excess


def _fewer_columns(texts: "pd.DataFrame") -> Iterator[list[str]]:
    """Yield the columns that are shown: all, and then fewer and fewer."""
    names = [str(name) for name in texts.columns]
    yield names
    # Beside one symbol its name says nothing new.
    spare = ["symbol"] if len(set(texts["symbol"])) == 1 else []
    for name in (*spare, *_SPARE):
        names = [other for other in names if other != name]
        yield names


def _widest(texts: "pd.DataFrame") -> "pd.DataFrame":
    """Return the rows that have the longest text of a column."""
    rows = {int(texts[name].map(len).to_numpy().argmax()) for name in texts.columns}
    return texts.iloc[sorted(rows)]


def _short_times(index: Any) -> Any:
    times = index.tz_localize(None)
    if (times == times.normalize()).all():
        return times.strftime("%Y-%m-%d")
    has_seconds = times.second.any()
    return times.strftime("%Y-%m-%d %H:%M:%S" if has_seconds else "%Y-%m-%d %H:%M")


def _note_difference(frame: "pd.DataFrame", shown: list[str], columns: int) -> None:
    left_out = [str(name) for name in frame.columns if name not in shown]
    said = [f"the table was cut to {columns} columns"]
    if left_out:
        said.append(f"without {', '.join(left_out)}")
    if "symbol" in left_out:
        said.append(f"bars of {printable(frame['symbol'].iloc[0])}")
    zone = getattr(frame.index, "tz", None)
    if zone is not None:
        said.append(f"times of {zone}")
    note(f"{'; '.join(said)}; --format csv has everything")


def _filled_up(text: object) -> str:
    """Return a text with as many characters as it takes columns."""
    composed = unicodedata.normalize("NFC", printable(text))
    return "".join(c + _FILLER * (width_of(c) - 1) for c in composed)
