"""The command line: a thin face of the library.

Everything heavy is imported inside the commands, so that ``--help`` is quick.
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from typing import NoReturn

from tvDatafeed import __version__
from tvDatafeed.cli.account import add_account_commands
from tvDatafeed.cli.arguments import command_adder, mark_missing_urls
from tvDatafeed.cli.bars import add_bar_commands
from tvDatafeed.cli.console import (
    EXIT_CLOSED_PIPE,
    EXIT_FAILURE,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_USAGE,
    ClosedPipeError,
    CommandError,
    note,
    stdout_that_may_fail,
    streams_of_any_process,
)
from tvDatafeed.cli.deliver import add_deliver_commands
from tvDatafeed.cli.doctor import add_doctor_command
from tvDatafeed.cli.live import add_live_command
from tvDatafeed.cli.record import add_record_command
from tvDatafeed.cli.records import notes_on_stderr, records_on_stderr
from tvDatafeed.cli.search import add_search_command
from tvDatafeed.cli.serve import add_serve_command
from tvDatafeed.cli.store import add_store_commands
from tvDatafeed.exceptions import (
    ConfigurationError,
    DataValidationError,
    InvalidIntervalError,
    TvDatafeedError,
)

__all__ = ["main"]

_MISTAKES = (ConfigurationError, DataValidationError, InvalidIntervalError)
_MAIN_EXAMPLES = """\
examples:
  tvdatafeed demo                                  5000 bars of a made-up market, no network
  tvdatafeed hist NASDAQ:AAPL --bars 20            the last 20 daily bars
  tvdatafeed hist BINANCE:BTCUSDT --interval 15m --bars 500 --output btc.csv
  tvdatafeed hist NASDAQ:AAPL NYSE:IBM --start 2024-01-01 --output daily.parquet
  tvdatafeed live BINANCE:BTCUSDT                  bars as they close, until Ctrl-C
  tvdatafeed search apple                          what symbols are called
  tvdatafeed store warm NASDAQ:AAPL                keep bars on this machine
  tvdatafeed login                                 log in, for what your plan includes
  tvdatafeed doctor                                finds what is wrong, from here to TradingView
  tvdatafeed serve                                 a TradingView on this machine, to test with
  tvdatafeed record FILE -- hist NASDAQ:AAPL       record a session, for a report of a problem

TvDatafeed is a client of an unofficial interface. Unless you log in it asks anonymously:
TradingView limits what it gives to anyone, and its terms apply to what you do with the data.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments, without the program's name. Default: those of this process.

    Returns
    -------
    int
        The exit code: 0; 2 when the question cannot be right; 1 for any other failure; 130
        after Ctrl-C; 141 when the reader of a pipe closed it.

    Examples
    --------
    >>> main(["demo", "--symbol", "AAPL"])
    2
    """
    with streams_of_any_process():
        return _exit_code(argv)


def _exit_code(argv: Sequence[str] | None) -> int:
    with ExitStack() as log:
        try:
            return _run(argv, log)
        except KeyboardInterrupt:
            return EXIT_INTERRUPTED
        except ClosedPipeError:
            return EXIT_CLOSED_PIPE
        except CommandError as error:
            note(error)
            return error.exit_code
        except TvDatafeedError as error:
            note(error)
            return EXIT_USAGE if isinstance(error, _MISTAKES) else EXIT_FAILURE


def _run(argv: Sequence[str] | None, log: ExitStack) -> int:
    try:
        arguments = _parser().parse_args(mark_missing_urls(sys.argv[1:] if argv is None else argv))
    except SystemExit as end:  # after --help, --version or a mistake
        exit_code = int(end.code or EXIT_OK)
    else:
        log.enter_context(notes_on_stderr(arguments))
        has_own_log = getattr(arguments, "has_own_log", False)
        with nullcontext() if has_own_log else records_on_stderr(arguments):
            exit_code = arguments.command(arguments)
    with stdout_that_may_fail():
        sys.stdout.flush()
    return exit_code


class _Parser(argparse.ArgumentParser):
    """A parser that says a mistake in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"tvdatafeed: {message}; see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="tvdatafeed",
        description="TradingView market data in pandas, from the command line.",
        epilog=_MAIN_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"tvdatafeed {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    command = command_adder(commands)
    add_bar_commands(command)
    add_live_command(command)
    add_search_command(command)
    add_account_commands(command)
    add_doctor_command(command)
    add_store_commands(command)
    add_deliver_commands(command)
    add_serve_command(command)
    add_record_command(command, _exit_code)
    return parser
