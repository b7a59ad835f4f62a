"""The command that finds symbols by name."""

import argparse
import json
from typing import Any

from tvDatafeed.cli.arguments import AddCommand
from tvDatafeed.cli.console import EXIT_FAILURE, EXIT_OK, note, write_to_stdout
from tvDatafeed.cli.table import encodable, printable, table
from tvDatafeed.config import TvDatafeedConfig
from tvDatafeed.main import TvDatafeed
from tvDatafeed.protocol.literals import ANONYMOUS_TOKEN
from tvDatafeed.query.search import SEARCH_TYPES

__all__ = ["add_search_command"]

_KINDS = sorted(SEARCH_TYPES - {"", "undefined", "stocks"})
_SEARCH_EXAMPLES = """\
examples:
  tvdatafeed search apple
  tvdatafeed search nifty --exchange NSE --type futures
  tvdatafeed search NASDAQ:AAPL
  tvdatafeed search bitcoin --limit 200 --json | jq -r .full_name

The first column is what "tvdatafeed hist" and get_hist take. --json writes one object a line. When
nothing is found the exit code is 1.
"""


def add_search_command(command: AddCommand) -> None:
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
        choices=_KINDS,
        default="",
        metavar="KIND",
        help=f"the kind of symbol: {', '.join(_KINDS)}; default: all",
    )
    search.add_argument(
        "--limit", type=int, default=50, metavar="N", help="most results; default: 50"
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
    lines = map(json.dumps, found) if arguments.json else map(encodable, _table(found))
    write_to_stdout("".join(f"{line}\n" for line in lines))
    return EXIT_OK


def _table(found: list[dict[str, Any]]) -> list[str]:
    keys = ("full_name", "type", "exchange", "description")
    rows = [[printable(item[key]) for key in keys] for item in found]
    return table(["SYMBOL", "TYPE", "EXCHANGE", "DESCRIPTION"], rows)
