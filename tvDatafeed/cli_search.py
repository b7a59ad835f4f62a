"""The command that finds what symbols are called."""

import argparse
import itertools
import json
import shutil
import sys
import unicodedata
from collections.abc import Callable
from typing import Any

from tvDatafeed.config import ANONYMOUS_TOKEN, TvDatafeedConfig
from tvDatafeed.console import EXIT_FAILURE, EXIT_OK, note, write_to_stdout
from tvDatafeed.main import TvDatafeed
from tvDatafeed.query import SEARCH_TYPES

__all__ = ["add_search_command"]

_AddCommand = Callable[
    [str, Callable[[argparse.Namespace], int], str, str], argparse.ArgumentParser
]

_GAP = "  "
# A description that is cut shorter than this says nothing.
_LEAST_DESCRIPTION = 12
_ELLIPSIS = "…"
# What goes into a file or to another program is not cut.
_NO_TERMINAL = sys.maxsize

_SEARCH_EXAMPLES = """\
examples:
  tvdatafeed search apple
  tvdatafeed search nifty --exchange NSE --type futures
  tvdatafeed search NASDAQ:AAPL
  tvdatafeed search bitcoin --limit 200 --json | jq -r .full_name

The first column is what "tvdatafeed hist" and get_hist take. --json writes one object a line. When
nothing is found the exit code is 1.
"""


def add_search_command(command: _AddCommand) -> None:
    """Add ``search`` to the parser.

    Parameters
    ----------
    command : callable
        Adds one, from its name, what runs it, a summary and examples.
    """
    search = command("search", _search, "find what symbols are called", _SEARCH_EXAMPLES)
    search.add_argument("text", metavar="TEXT", nargs="+", help="part of a name or description")
    search.add_argument("--exchange", default="", help="where to look; default: everywhere")
    search.add_argument(
        "--type",
        choices=sorted(SEARCH_TYPES - {"", "undefined", "stocks"}),
        default="",
        help="the kind of symbol; default: all",
    )
    search.add_argument(
        "--limit", type=int, default=50, metavar="N", help="results at the most; default: 50"
    )
    search.add_argument("--json", action="store_true", help="write one JSON object a line")


def _search(arguments: argparse.Namespace) -> int:
    text = " ".join(arguments.text)
    client = TvDatafeed(auth_token=ANONYMOUS_TOKEN, config=TvDatafeedConfig.from_env())
    found = client.search_symbol(
        text,
        arguments.exchange,
        search_type=arguments.type,
        limit=arguments.limit,
        raise_on_error=True,
    )
    if not found:
        note(
            f"nothing is called {text!r}; try a part of the name, or without --exchange and --type"
        )
        return EXIT_FAILURE
    lines = map(json.dumps, found) if arguments.json else map(_encodable, _table(found))
    write_to_stdout("".join(f"{line}\n" for line in lines))
    return EXIT_OK


def _table(found: list[dict[str, Any]]) -> list[str]:
    """Write a line a symbol that fits into the terminal; descriptions are cut first."""
    rows = [
        [_printable(item[key]) for key in ("full_name", "type", "exchange", "description")]
        for item in found
    ]
    heads = ["SYMBOL", "TYPE", "EXCHANGE", "DESCRIPTION"]
    widths = [max(map(_width, column)) for column in zip(heads, *rows, strict=True)]
    limit = shutil.get_terminal_size((_NO_TERMINAL, 0)).columns
    taken = sum(widths[:-1]) + len(_GAP) * (len(heads) - 1)
    widths[-1] = min(widths[-1], max(limit - taken, _LEAST_DESCRIPTION))
    lines = (
        _GAP.join(
            _padded(_cut(cell, width), width) for cell, width in zip(row, widths, strict=True)
        )
        for row in (heads, *rows)
    )
    # A terminal that is narrower than the other columns.
    return [_cut(line.rstrip(), limit) for line in lines]


def _printable(value: object) -> str:
    return "".join(c if c.isprintable() else " " for c in str(value))


def _encodable(line: str) -> str:
    # Not every terminal shows every script, and Windows' pipes have a code page.
    encoding = sys.stdout.encoding or "utf-8"
    return line.encode(encoding, "replace").decode(encoding)


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _width(text))


def _cut(text: str, width: int) -> str:
    if _width(text) <= width:
        return text
    room = width - len(_ELLIPSIS)
    ends = itertools.accumulate(map(_width, text))
    fitting = itertools.takewhile(lambda pair: pair[1] <= room, zip(text, ends, strict=True))
    return "".join(character for character, _end in fitting) + _ELLIPSIS


def _width(text: str) -> int:
    """Return how many columns of a terminal a text takes: wide characters take two."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )
