"""The commands of the bar store: bars that are kept between runs."""

import argparse
from typing import TYPE_CHECKING

from tvDatafeed.cli.arguments import (
    AddCommand,
    add_exchange_option,
    add_interval_option,
    amount,
    command_adder,
    whole_count,
)
from tvDatafeed.cli.bars import add_progress_option, add_reading_options
from tvDatafeed.cli.console import EXIT_FAILURE, EXIT_OK, show
from tvDatafeed.cli.storefilling import export_files, import_files, warm_store
from tvDatafeed.cli.storeopening import opened, unopened
from tvDatafeed.cli.storeserve import add_parser as add_store_serve
from tvDatafeed.cli.storeshowing import list_series, read_bars, show_coverage, show_stats
from tvDatafeed.cli.table import encodable, printable

if TYPE_CHECKING:
    from tvDatafeed.store.records import StoreCheck

__all__ = ["add_store_commands"]

_STORE_EXAMPLES = """\
examples:
  tvdatafeed store warm NASDAQ:AAPL NSE:NIFTY --interval 1d --interval 1h
  tvdatafeed store read NASDAQ:AAPL --bars 20      20 daily bars, offline
  tvdatafeed store stats --watch                   what it holds, how it is used
  tvdatafeed store verify                          thirteen checks, with advice

A store is a file, or a server that several machines share. All commands use
the one that --url names, else TV_STORE_URL, else bars.db in your data folder:
  bars.db
  sqlite:////absolute/bars.db
  postgresql://user:password@host/database
  tdengine://user:password@host:6041/database
Other users of the machine can read arguments: put a password into TV_STORE_URL.
"""
_WARM_EXAMPLES = """\
examples:
  tvdatafeed store warm NASDAQ:AAPL NSE:NIFTY
  tvdatafeed store warm @symbols.txt --interval 1d --interval 1h --bars 5000
  tvdatafeed store warm AAPL MSFT --exchange NASDAQ --url /srv/bars.db

A file has symbols separated by blanks or lines, and comments after #; @- is
stdin. Only bars that the store lacks are requested. The exit code is 1 when a
symbol has failed.
"""
_STATS_EXAMPLES = """\
examples:
  tvdatafeed store stats
  tvdatafeed store stats --watch --every 5
  tvdatafeed store stats --json | jq .hit_rate

A hit is a request that needed no more than the newest bars from TradingView.
"""
_LS_EXAMPLES = """\
examples:
  tvdatafeed store ls
  tvdatafeed store ls --json | jq -r .symbol

Times are UTC.
"""
_COVERAGE_EXAMPLES = """\
examples:
  tvdatafeed store coverage NASDAQ:AAPL
  tvdatafeed store coverage AAPL --interval 1h

A range is one that TradingView has answered, also where it has no bars. Times
are UTC. The exit code is 1 when nothing is stored.
"""
_READ_EXAMPLES = """\
examples:
  tvdatafeed store read NASDAQ:AAPL --bars 250
  tvdatafeed store read AAPL MSFT --exchange NASDAQ --output tech.csv
  tvdatafeed store read NSE:NIFTY --interval 1h --json

No network is used, and the bar that still forms is not stored.
"""
_EXPORT_EXAMPLES = """\
examples:
  tvdatafeed store export backup/
  tvdatafeed store export backup/ NASDAQ:AAPL NSE:NIFTY

Each series becomes a Parquet file, which pandas.read_parquet reads too; "store
import" puts it into any store, with the ranges that were answered. Documents
are not exported.
"""
_IMPORT_EXAMPLES = """\
examples:
  tvdatafeed store import backup/
  tvdatafeed store import backup/NASDAQ_AAPL_1D_0123abcd.parquet

What the store has already stays. Of a folder all files that end in .parquet are
imported. A file whose bars differ from the stored ones is refused: one of both
is older than a split or a correction. The exit code is 1 when a file has
failed.
"""
_CLEAR_EXAMPLES = """\
examples:
  tvdatafeed store clear NASDAQ:AAPL
  tvdatafeed store clear AAPL --interval 1h        of any exchange
  tvdatafeed store clear                           all bars and documents
"""
_EXPIRE_EXAMPLES = """\
examples:
  tvdatafeed store expire --days 30
"""
_EVICT_EXAMPLES = """\
examples:
  tvdatafeed store evict --max-bars 10000000

Whole series are removed. TV_STORE_MAX_BARS limits a store all the time.
"""
_VERIFY_EXAMPLES = """\
examples:
  tvdatafeed store verify
  tvdatafeed store verify --url postgresql://user@host/bars

The checks write series of an exchange that does not exist, and remove them. The
exit code is 1 when a check has failed.
"""


def add_store_commands(command: AddCommand) -> None:
    """Add ``store`` and its commands to the parser.

    Parameters
    ----------
    command : callable
        Adds one, from its name, what runs it, a summary and examples.
    """
    group = command("store", None, "keep bars between runs, and read them offline", _STORE_EXAMPLES)
    commands = group.add_subparsers(title="commands", metavar="COMMAND", required=True)
    part = command_adder(commands)
    _add_filling_commands(part)
    _add_reading_commands(part)
    _add_removing_commands(part)
    verify = part("verify", _verify, "check what a store needs", _VERIFY_EXAMPLES)
    _add_url_option(verify)
    add_store_serve(commands)


def _add_filling_commands(part: AddCommand) -> None:
    warm = part("warm", warm_store, "fetch bars into the store", _WARM_EXAMPLES)
    warm.add_argument(
        "symbol", metavar="SYMBOL", nargs="+", help="such as NASDAQ:AAPL; @FILE reads them"
    )
    warm.set_defaults(fut_contract=None)
    add_exchange_option(warm)
    add_interval_option(warm, "1d", is_repeated=True)
    warm.add_argument(
        "--bars",
        type=whole_count,
        default=5000,
        metavar="N",
        help="the last N of each series; default: %(default)s",
    )
    add_progress_option(warm)
    export = part("export", export_files, "write series into Parquet files", _EXPORT_EXAMPLES)
    export.add_argument("folder", metavar="DIR", help="where the files are put")
    export.add_argument("symbol", metavar="SYMBOL", nargs="*", help="default: all")
    imported = part("import", import_files, "read Parquet files into the store", _IMPORT_EXAMPLES)
    imported.add_argument(
        "file", metavar="FILE", nargs="+", help='from "store export", or a folder of such files'
    )
    for one in (warm, export, imported):
        _add_url_option(one)


def _add_reading_commands(part: AddCommand) -> None:
    stats = part(
        "stats", show_stats, "show what the store holds and how it is used", _STATS_EXAMPLES
    )
    stats.add_argument("--watch", action="store_true", help="show it again until Ctrl-C")
    stats.add_argument(
        "--every",
        type=amount("number of seconds", is_zero_allowed=False),
        default=5.0,
        metavar="SECONDS",
        help="with --watch: time between two looks; default: %(default)g",
    )
    stats.add_argument("--json", action="store_true", help="one JSON object, a line for each look")
    listed = part("ls", list_series, "list the series", _LS_EXAMPLES)
    listed.add_argument("--json", action="store_true", help="write one JSON object a line")
    coverage = part("coverage", show_coverage, "show which ranges are stored", _COVERAGE_EXAMPLES)
    coverage.add_argument("symbol", metavar="SYMBOL", help="such as NASDAQ:AAPL, or AAPL of any")
    add_interval_option(coverage, "all")
    coverage.add_argument("--json", action="store_true", help="write one JSON object a line")
    read = part("read", read_bars, "print or save stored bars, without a network", _READ_EXAMPLES)
    add_reading_options(read)
    read.set_defaults(closed=False, max_concurrent=1, progress=False, store="only")
    for one in (stats, listed, coverage, read):
        _add_url_option(one)


def _add_removing_commands(part: AddCommand) -> None:
    clear = part("clear", _clear, "remove bars and documents, without asking", _CLEAR_EXAMPLES)
    clear.add_argument("symbol", metavar="SYMBOL", nargs="?", help="default: all")
    clear.add_argument("--exchange", help="of this exchange alone")
    add_interval_option(clear, "all")
    expire = part("expire", _expire, "remove what was not used for long", _EXPIRE_EXAMPLES)
    expire.add_argument(
        "--days",
        type=amount("number of days"),
        default=7.0,
        metavar="N",
        help="series and documents not used for N days; default: %(default)g",
    )
    evict = part("evict", _evict, "remove the series used least recently", _EVICT_EXAMPLES)
    evict.add_argument(
        "--max-bars",
        type=_count,
        required=True,
        metavar="N",
        help="until at most N bars are left",
    )
    for one in (clear, expire, evict):
        _add_url_option(one)


def _add_url_option(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--url", help="the store: a file or a URL; default: TV_STORE_URL, else a file of yours"
    )


def _clear(arguments: argparse.Namespace) -> int:
    with opened(arguments) as store:
        return _removed(store.clear(arguments.symbol, arguments.exchange, arguments.interval))


def _expire(arguments: argparse.Namespace) -> int:
    with opened(arguments) as store:
        return _removed(store.clear_expired_cache(arguments.days))


def _evict(arguments: argparse.Namespace) -> int:
    with opened(arguments) as store:
        return _removed(store.evict(arguments.max_bars))


def _removed(records: int) -> int:
    show(f"removed {records:,} records")
    return EXIT_OK


def _verify(arguments: argparse.Namespace) -> int:
    with unopened(arguments) as store:
        show(printable(store.url))
        checks = store.verify()
    for check in checks:
        show(encodable(_check_line(check)))
    failed = sum(not check.ok for check in checks)
    show(f"{failed} of {len(checks)} checks failed" if failed else f"all {len(checks)} checks hold")
    return EXIT_FAILURE if failed else EXIT_OK


def _check_line(check: "StoreCheck") -> str:
    hint = f"; {check.hint}" if check.hint else ""
    return printable(f"{'ok  ' if check.ok else 'FAIL'}  {check.name}: {check.detail}{hint}")


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)
