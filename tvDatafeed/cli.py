"""The command line: a thin face of the library.

Everything heavy is imported inside the commands, so that ``--help`` is quick.
"""

import argparse
import dataclasses
import importlib.util
import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from tvDatafeed import __version__
from tvDatafeed.cli_account import account_config, add_account_commands, has_account
from tvDatafeed.cli_serve import add_serve_command
from tvDatafeed.config import ANONYMOUS_TOKEN, TvDatafeedConfig
from tvDatafeed.console import (
    EXIT_CLOSED_PIPE,
    EXIT_FAILURE,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_USAGE,
    RENDERERS,
    ClosedPipeError,
    CommandError,
    note,
    show,
    stdout_that_may_fail,
    write_to_file,
    write_to_stdout,
)
from tvDatafeed.exceptions import (
    ConfigurationError,
    DataValidationError,
    InvalidIntervalError,
    NetworkError,
    TvDatafeedError,
)
from tvDatafeed.interval import Interval
from tvDatafeed.main import TvDatafeed

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["main"]

_MISTAKES = (ConfigurationError, DataValidationError, InvalidIntervalError)
# As people write them; a minute's m and a month's M differ by case alone.
_INTERVALS = {
    "1s": Interval.in_1_second,
    "5s": Interval.in_5_second,
    "10s": Interval.in_10_second,
    "15s": Interval.in_15_second,
    "30s": Interval.in_30_second,
    "45s": Interval.in_45_second,
    "1m": Interval.in_1_minute,
    "3m": Interval.in_3_minute,
    "5m": Interval.in_5_minute,
    "10m": Interval.in_10_minute,
    "15m": Interval.in_15_minute,
    "30m": Interval.in_30_minute,
    "45m": Interval.in_45_minute,
    "1h": Interval.in_1_hour,
    "2h": Interval.in_2_hour,
    "3h": Interval.in_3_hour,
    "4h": Interval.in_4_hour,
    "1d": Interval.in_daily,
    "1w": Interval.in_weekly,
    "1M": Interval.in_monthly,
    "3M": Interval.in_3_monthly,
    "6M": Interval.in_6_monthly,
    "1y": Interval.in_yearly,
}
_FORMATS_OF_SUFFIXES = {
    ".csv": "csv",
    ".json": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".txt": "table",
}
# What a table of the demo shows of its 5000 rows.
_DEMO_ROWS = 10

_MAIN_EXAMPLES = """\
examples:
  tvdatafeed demo                                  5000 bars of a made-up market, no network
  tvdatafeed hist NASDAQ:AAPL --bars 20            the last 20 daily bars
  tvdatafeed hist BINANCE:BTCUSDT --interval 15m --bars 500 --output btc.csv
  tvdatafeed login                                 log in, for what your plan includes
  tvdatafeed serve                                 a TradingView on this machine, to test with

TvDatafeed is a client of an unofficial interface. Unless you log in it asks anonymously:
TradingView limits what it gives to anyone, and its terms apply to what you do with the data.
"""
_DEMO_EXAMPLES = """\
examples:
  tvdatafeed demo                                  made-up bars, no network needed
  tvdatafeed demo --interval 1m --symbol BINANCE:BTCUSDT
  tvdatafeed demo --real                           the same question to TradingView itself
"""
_HIST_EXAMPLES = """\
examples:
  tvdatafeed hist NASDAQ:AAPL
  tvdatafeed hist AAPL --exchange NASDAQ --interval 1h --bars 100 --timezone exchange
  tvdatafeed hist NSE:NIFTY --fut-contract 1       the front contract of a future
  tvdatafeed hist NASDAQ:AAPL --bars 5000 --output aapl.parquet
  tvdatafeed hist NASDAQ:AAPL --format csv | head

Settings come from the environment too: TV_TIMEZONE, TV_WS_URL and the others of the README. So
do credentials, such as TV_AUTH_TOKEN; without them the login that "tvdatafeed login" kept is used.
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
    try:
        return _run(argv)
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


def _run(argv: Sequence[str] | None) -> int:
    try:
        arguments = _parser().parse_args(argv)
    except SystemExit as end:  # after --help, --version or a mistake
        exit_code = int(end.code or EXIT_OK)
    else:
        with _records_on_stderr(arguments):
            exit_code = arguments.command(arguments)
    with stdout_that_may_fail():
        sys.stdout.flush()
    return exit_code


def _demo(arguments: argparse.Namespace) -> int:
    # Imported here, so that the time below is that of the bars.
    import tvDatafeed.frames  # noqa: PLC0415
    import tvDatafeed.network  # noqa: F401, PLC0415

    if arguments.real:
        # Someone looks on: the first failure tells more than a minute of further tries.
        config = account_config()
        once = dataclasses.replace(config.network, max_retries=0)
        with _client(arguments, dataclasses.replace(config, network=once)) as client:
            try:
                _show_bars(client, arguments)
            except NetworkError as error:
                raise CommandError(f"no bars from TradingView: {error}") from error
        return EXIT_OK
    from tvDatafeed.testing import FakeTradingView  # noqa: PLC0415

    with FakeTradingView() as server, _client(arguments, server.config()) as client:
        _show_bars(client, arguments)
    show(
        "This market is made up: a loopback TradingView, which ran inside this command, computed\n"
        "these bars and sent them in TradingView's own wire format. --real asks TradingView."
    )
    return EXIT_OK


def _show_bars(client: TvDatafeed, arguments: argparse.Namespace) -> None:
    symbol, exchange = _symbol_and_exchange(arguments)
    started = time.perf_counter()
    frame = client.get_hist(symbol, exchange, arguments.interval, arguments.bars)
    seconds = time.perf_counter() - started
    show(frame.to_string(max_rows=_DEMO_ROWS, min_rows=_DEMO_ROWS, show_dimensions=True))
    show(
        f"\n{len(frame)} bars of {frame['symbol'].iloc[0]} in {seconds:.3f} s, from no connection "
        "to the DataFrame."
    )
    _note_shortfall(frame)


def _hist(arguments: argparse.Namespace) -> int:
    symbol, exchange = _symbol_and_exchange(arguments)
    render = _renderer(arguments)
    with _client(arguments, account_config()) as client:
        frame = client.get_hist(
            symbol,
            exchange,
            arguments.interval,
            arguments.bars,
            fut_contract=arguments.fut_contract,
            extended_session=arguments.extended,
            timezone=arguments.timezone,
        )
    content = render(frame)
    if arguments.output is None:
        write_to_stdout(content)
    else:
        write_to_file(content, arguments.output)
        note(f"wrote {len(frame)} bars to {arguments.output}")
    _note_shortfall(frame)
    return EXIT_OK


def _client(arguments: argparse.Namespace, config: TvDatafeedConfig) -> TvDatafeed:
    # The token that stands for "no account", named: the help says so, no warning need to.
    client = TvDatafeed(auth_token=None if has_account(config) else ANONYMOUS_TOKEN, config=config)
    client.ws_debug = client.ws_debug or arguments.debug
    return client


def _symbol_and_exchange(arguments: argparse.Namespace) -> tuple[str, str | None]:
    """Take the two apart: in one piece the library would ignore a contract's number."""
    symbol, exchange = arguments.symbol, arguments.exchange
    named, colon, name = symbol.partition(":")
    if not colon and not exchange:
        raise CommandError(
            f"{symbol!r} does not say its exchange: write EXCHANGE:{symbol} or add --exchange",
            EXIT_USAGE,
        )
    if colon and exchange and exchange.upper() != named.upper():
        raise CommandError(f"{symbol!r} is not on {exchange}: leave one of both out", EXIT_USAGE)
    if ":" in name:  # a spread, complete in itself
        if arguments.fut_contract is not None:
            raise CommandError(f"--fut-contract is for one symbol, not {symbol!r}", EXIT_USAGE)
        return symbol, None
    return (name, named) if colon else (symbol, exchange)


def _renderer(arguments: argparse.Namespace) -> "Callable[[pd.DataFrame], str | bytes]":
    """Say how to write bars, or why it cannot be, before anything is asked."""
    chosen: str | None = arguments.format
    if chosen is None and arguments.output is not None:
        chosen = _FORMATS_OF_SUFFIXES.get(Path(arguments.output).suffix.lower())
        if chosen is None:
            known = ", ".join(_FORMATS_OF_SUFFIXES)
            raise CommandError(
                f"{arguments.output!r} ends in none of {known}: add --format", EXIT_USAGE
            )
    if chosen == "parquet" and arguments.output is None and sys.stdout.isatty():
        raise CommandError("Parquet is not for a terminal: add --output FILE.parquet", EXIT_USAGE)
    if chosen == "parquet" and importlib.util.find_spec("pyarrow") is None:
        raise CommandError('Parquet needs pyarrow: pip install "tvdatafeed[parquet]"')
    return RENDERERS[chosen or "table"]


def _note_shortfall(frame: "pd.DataFrame") -> None:
    if "reason" in frame.attrs:
        note(
            f"{frame.attrs['received']} of {frame.attrs['requested']} bars: {frame.attrs['reason']}"
        )
    if "delay_seconds" in frame.attrs:
        note(f"delayed by {frame.attrs['delay_seconds']} s")


@contextmanager
def _records_on_stderr(arguments: argparse.Namespace) -> Iterator[None]:
    """Show the library's log: warnings always, more when it is asked for."""
    handler = logging.StreamHandler()
    layout = "%(asctime)s %(name)s: %(message)s" if arguments.debug else "tvdatafeed: %(message)s"
    handler.setFormatter(logging.Formatter(layout))
    library = logging.getLogger("tvDatafeed")
    level_before = library.level
    library.addHandler(handler)
    library.setLevel(logging.DEBUG if arguments.debug else logging.WARNING)
    try:
        yield
    finally:
        library.setLevel(level_before)
        library.removeHandler(handler)


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

    def command(
        name: str, run: Callable[[argparse.Namespace], int], summary: str, examples: str
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,  # an option that comes later must not break a script
        )
        added.set_defaults(command=run)
        added.add_argument(
            "--debug", action="store_true", help="log to stderr, with all that is sent"
        )
        return added

    demo = command("demo", _demo, "fetch 5000 bars and show them", _DEMO_EXAMPLES)
    demo.add_argument("--symbol", default="NASDAQ:AAPL", help="default: %(default)s")
    demo.add_argument("--bars", type=_count, default=5000, metavar="N", help="default: %(default)s")
    demo.set_defaults(fut_contract=None)
    demo.add_argument(
        "--real", action="store_true", help="ask TradingView instead of the made-up market"
    )
    hist = command("hist", _hist, "print the last bars of a symbol, or save them", _HIST_EXAMPLES)
    hist.add_argument("symbol", metavar="SYMBOL", help="such as NASDAQ:AAPL")
    hist.add_argument(
        "--bars", type=_count, metavar="N", help="default: 10, or what TV_DEFAULT_BARS says"
    )
    for asking in (demo, hist):
        asking.add_argument("--exchange", help="where SYMBOL has none of its own")
        asking.add_argument(
            "--interval",
            type=_interval,
            default=Interval.in_daily,
            metavar="LENGTH",
            help=f"length of a bar: {' '.join(_INTERVALS)} (m: minutes, M: month); default: 1d",
        )
    hist.add_argument(
        "--extended", action="store_true", help="with bars outside the regular session"
    )
    hist.add_argument(
        "--timezone",
        metavar="ZONE",
        help='zone of the times: UTC, an IANA name, or "exchange" for the symbol\'s own; '
        "default: this machine's",
    )
    hist.add_argument(
        "--fut-contract",
        type=_count,
        metavar="N",
        help="continuous future: 1 is the front contract",
    )
    hist.add_argument(
        "--format",
        choices=list(RENDERERS),
        help="default: what FILE's ending says, else a table",
    )
    hist.add_argument("--output", metavar="FILE", help="write to a file, which may exist")
    add_account_commands(command)
    add_serve_command(command)
    return parser


def _interval(text: str) -> Interval:
    try:
        return _INTERVALS.get(text) or Interval(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {' '.join(_INTERVALS)}") from None


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)
