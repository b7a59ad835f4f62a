"""The commands that show bars of TradingView or of a made-up market."""

import argparse
import dataclasses
import importlib.util
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tvDatafeed.cli.account import account_config, make_client
from tvDatafeed.cli.arguments import (
    AddCommand,
    add_series_options,
    add_timezone_option,
    full_symbol_of,
    whole_count,
)
from tvDatafeed.cli.bartable import bar_table
from tvDatafeed.cli.console import (
    EXIT_FAILURE,
    EXIT_OK,
    EXIT_USAGE,
    RENDERERS,
    WITH_OFFSETS,
    CommandError,
    note,
    show,
    write_to_file,
    write_to_stdout,
)
from tvDatafeed.cli.table import terminal_columns, wrapped
from tvDatafeed.config import TvDatafeedConfig
from tvDatafeed.exceptions import NetworkError
from tvDatafeed.frames.plot import plot
from tvDatafeed.main import TvDatafeed
from tvDatafeed.query.dates import local_timezone
from tvDatafeed.query.periods import PERIODS

if TYPE_CHECKING:
    import pandas as pd


__all__ = [
    "add_bar_commands",
    "add_progress_option",
    "add_reading_options",
    "check_pyarrow",
    "wants_progress",
    "write_bars",
]

_FORMATS_OF_SUFFIXES = {
    ".csv": "csv",
    ".json": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".txt": "table",
}
_EPOCH_SECONDS = re.compile(r"-?[0-9]{9,}(\.[0-9]+)?")
_PICTURES = (".png", ".svg", ".pdf", ".jpg")
# How many of its 5000 rows the demo shows as a table.
_DEMO_ROWS = 10
_TEXT_COLUMNS = 80

_DEMO_EXAMPLES = """\
examples:
  tvdatafeed demo                                  made-up bars, no network needed
  tvdatafeed demo --interval 1m --symbol BINANCE:BTCUSDT
  tvdatafeed demo --real                           the same question to TradingView itself
"""
_HIST_EXAMPLES = """\
examples:
  tvdatafeed hist NASDAQ:AAPL
  tvdatafeed hist AAPL --exchange NASDAQ --interval 1h --timezone exchange
  tvdatafeed hist NASDAQ:AAPL --start 2024-01-01 --end 2024-06-30
  tvdatafeed hist NASDAQ:AAPL --period 1y
  tvdatafeed hist NASDAQ:AAPL --end 2024-06-30 --bars 20   the last 20 days up to that one
  tvdatafeed hist AAPL MSFT NVDA --exchange NASDAQ --bars 250 --output tech.csv
  tvdatafeed hist NSE:NIFTY --fut-contract 1       the front contract of a future
  tvdatafeed hist BINANCE:BTCUSDT --interval 1m --bars 9000 --output btc.parquet
  tvdatafeed hist NASDAQ:AAPL --format csv | head
  tvdatafeed hist NASDAQ:AAPL --bars 120 --plot aapl.png
  tvdatafeed hist NASDAQ:AAPL --bars 5000 --store use      ask for new bars alone, keep all

Of several symbols the bars follow each other; a symbol that fails is reported on stderr, the
others are written, and the exit code is 1.

Settings come from the environment too, such as TV_TIMEZONE and TV_WS_URL. So do credentials, such
as TV_AUTH_TOKEN; without them the login that "tvdatafeed login" kept is used.
"""


def add_bar_commands(command: AddCommand) -> None:
    """Add ``demo`` and ``hist`` to the parser.

    Parameters
    ----------
    command : callable
        Adds one, from its name, what runs it, a summary and examples.
    """
    demo = command("demo", _demo, "fetch 5000 bars and show them", _DEMO_EXAMPLES)
    demo.add_argument("--symbol", default="NASDAQ:AAPL", help="default: %(default)s")
    demo.add_argument(
        "--bars", type=whole_count, default=5000, metavar="N", help="default: %(default)s"
    )
    demo.set_defaults(fut_contract=None)
    demo.add_argument(
        "--real", action="store_true", help="ask TradingView instead of the made-up market"
    )
    add_series_options(demo, "1d")
    hist = command("hist", _hist, "print the bars of symbols, or save them", _HIST_EXAMPLES)
    add_reading_options(hist)
    hist.add_argument("--closed", action="store_true", help="without the bar that is still forming")
    hist.add_argument(
        "--max-concurrent",
        type=whole_count,
        default=10,
        metavar="N",
        help="symbols asked for at a time; default: %(default)s",
    )
    add_progress_option(hist)
    hist.add_argument(
        "--store",
        choices=["use", "refresh", "off", "only"],
        help="bars kept on this machine: use them and ask for what is missing, ask for all and "
        "keep them, leave them alone, or use nothing else; default: use where TV_STORE_URL is set",
    )


def add_progress_option(command: argparse.ArgumentParser) -> None:
    """Add ``--progress`` to a command that asks for several symbols."""
    command.add_argument(
        "--progress",
        action=argparse.BooleanOptionalAction,
        help="a progress bar on stderr; default: for several symbols in a terminal",
    )


def add_reading_options(hist: argparse.ArgumentParser) -> None:
    """Add the symbols and the options of bars and formats to a command."""
    hist.add_argument("symbol", metavar="SYMBOL", nargs="+", help="such as NASDAQ:AAPL")
    hist.add_argument(
        "--bars",
        type=whole_count,
        metavar="N",
        help="the last N; default: those of the dates, else 10, or what TV_DEFAULT_BARS says",
    )
    add_series_options(hist, "1d")
    hist.add_argument(
        "--start",
        type=_date,
        metavar="DATE",
        help="from this day or time on, such as 2024-01-31T09:30, or epoch seconds",
    )
    hist.add_argument(
        "--end", type=_date, metavar="DATE", help="to this day or time, which is included"
    )
    hist.add_argument(
        "--period",
        type=str.lower,
        choices=PERIODS,
        help="instead of --bars and --start: a length of time up to now, or up to --end",
    )
    hist.add_argument(
        "--extended", action="store_true", help="with bars outside the regular session"
    )
    add_timezone_option(hist, "this machine's, with offsets in CSV and JSON")
    hist.add_argument(
        "--trading-days",
        action="store_true",
        help="daily and longer bars with their trading day instead of the time of their open",
    )
    hist.add_argument(
        "--adjustment",
        choices=["splits", "dividends", "none"],
        default="splits",
        help="what earlier prices are adjusted for; default: %(default)s",
    )
    hist.add_argument("--currency", metavar="CODE", help="convert prices, such as to EUR")
    hist.add_argument(
        "--fut-contract",
        type=whole_count,
        metavar="N",
        help="continuous future: 1 is the front contract",
    )
    hist.add_argument(
        "--backadjusted",
        action="store_true",
        help="join the contracts of a continuous future without gaps",
    )
    hist.add_argument(
        "--format",
        choices=list(RENDERERS),
        help="default: what FILE's ending says, else a table",
    )
    hist.add_argument(
        "--json",
        action="store_const",
        const="json",
        dest="format",
        help="the same as --format json",
    )
    hist.add_argument("--output", metavar="FILE", help="write to a file, which may exist")
    hist.add_argument(
        "--plot",
        metavar="FILE",
        help="draw candles and volume of one symbol into a picture, such as aapl.png; "
        "the bars are printed only with --format or --output then",
    )


def _date(text: str) -> str | float:
    """Read epoch seconds as a number; eight digits are a day."""
    return float(text) if _EPOCH_SECONDS.fullmatch(text.strip()) else text


def _demo(arguments: argparse.Namespace) -> int:
    # Imported here, so that the measured time contains only the request.
    import tvDatafeed.frames.history  # noqa: PLC0415
    import tvDatafeed.network.pool  # noqa: F401, PLC0415

    if arguments.real:
        # A user is watching: report the first failure instead of retrying for a minute.
        config = account_config()
        once = dataclasses.replace(config.network, max_retries=0)
        with make_client(
            TvDatafeed, arguments, dataclasses.replace(config, network=once)
        ) as client:
            try:
                _show_bars(client, arguments)
            except NetworkError as error:
                raise CommandError(f"no bars from TradingView: {error}") from error
        return EXIT_OK
    from tvDatafeed.testing import FakeTradingView  # noqa: PLC0415

    record = TvDatafeedConfig.from_env().network.record
    with (
        FakeTradingView() as server,
        make_client(TvDatafeed, arguments, server.config(record=record)) as client,
    ):
        _show_bars(client, arguments)
    said = (
        "This market is made up: a loopback TradingView, which ran inside this command, computed "
        "these bars and sent them in TradingView's own wire format. --real asks TradingView."
    )
    show("\n".join(wrapped(said, min(terminal_columns(), _TEXT_COLUMNS))))
    return EXIT_OK


def _show_bars(client: TvDatafeed, arguments: argparse.Namespace) -> None:
    symbol = full_symbol_of(arguments.symbol, arguments)
    started = time.perf_counter()
    frame = client.get_hist(symbol, None, arguments.interval, arguments.bars)
    seconds = time.perf_counter() - started
    layout = {"max_rows": _DEMO_ROWS, "min_rows": _DEMO_ROWS, "show_dimensions": True}
    write_to_stdout(bar_table(frame, **layout))
    said = (
        f"{len(frame)} bars of {frame['symbol'].iloc[0]} in {seconds:.3f} s, from no connection "
        "to the DataFrame."
    )
    show("\n" + "\n".join(wrapped(said, min(terminal_columns(), _TEXT_COLUMNS))))
    _log_shortfall(frame)


def _hist(arguments: argparse.Namespace) -> int:
    is_offline = arguments.store == "only"
    config = TvDatafeedConfig.from_env() if is_offline else account_config()
    if arguments.store not in {None, "off"} and config.store.url is None:
        from tvDatafeed.store.locations import default_path  # noqa: PLC0415 - needed by few

        store = dataclasses.replace(config.store, url=str(default_path()))
        config = dataclasses.replace(config, store=store)
    return write_bars(arguments, config)


def write_bars(arguments: argparse.Namespace, config: TvDatafeedConfig) -> int:
    """Write the bars of a command; return its exit code."""
    symbols = [full_symbol_of(symbol, arguments) for symbol in arguments.symbol]
    render = _renderer(arguments)
    if arguments.plot is not None:
        _check_plot(arguments)
    zone = config.data.timezone if arguments.timezone is None else arguments.timezone.strip()
    if not zone and render in WITH_OFFSETS:
        zone = local_timezone()
    with make_client(TvDatafeed, arguments, config) as client:
        frames = client.get_hist_multi(
            symbols,
            interval=arguments.interval,
            n_bars=arguments.bars,
            extended_session=arguments.extended,
            start_date=arguments.start,
            end_date=arguments.end,
            timezone=zone or "",
            period=arguments.period,
            max_concurrent=arguments.max_concurrent,
            progress=wants_progress(arguments),
            on_error="collect",
            adjustment=arguments.adjustment,
            currency=arguments.currency,
            backadjusted=arguments.backadjusted,
            dates="trading" if arguments.trading_days else "open",
            closed_only=arguments.closed,
            store=arguments.store or "use",
        )
    for error in frames.errors.values():
        if len(symbols) == 1:
            raise error
        note(error)
    if not frames:
        return EXIT_FAILURE
    frame = _joined(list(frames.values()))
    if arguments.plot is not None:
        _plot(frame, arguments.plot)
    if arguments.output is not None:
        write_to_file(render(frame), arguments.output)
        note(f"wrote {len(frame)} bars to {arguments.output}")
    elif arguments.plot is None or arguments.format is not None:
        is_table = render is RENDERERS["table"]
        write_to_stdout(bar_table(frame) if is_table else render(frame))
    for one in frames.values():
        _log_shortfall(one)
    return EXIT_FAILURE if frames.errors else EXIT_OK


def _check_plot(arguments: argparse.Namespace) -> None:
    """Raise if the picture cannot be drawn, before any request."""
    if len(arguments.symbol) > 1:
        raise CommandError("--plot draws one symbol: call it once for each", EXIT_USAGE)
    if Path(arguments.plot).suffix.lower() not in _PICTURES:
        known = ", ".join(_PICTURES)
        raise CommandError(f"--plot {arguments.plot!r} does not end in one of {known}", EXIT_USAGE)
    if importlib.util.find_spec("mplfinance") is None:
        raise CommandError('--plot needs mplfinance: pip install "tvdatafeed[plot]"')


def _plot(frame: "pd.DataFrame", path: str) -> None:
    import matplotlib as mpl  # noqa: PLC0415 - an extra

    mpl.use("agg")  # a file needs no window system
    try:
        plot(frame, path=path)
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror or error}") from error
    note(f"drew {len(frame)} bars into {path}")


def _joined(frames: "list[pd.DataFrame]") -> "pd.DataFrame":
    """Join frames one below the other, in UTC if their zones differ."""
    from tvDatafeed.frames.bars import joined  # noqa: PLC0415 - pandas takes its time

    return frames[0] if len(frames) == 1 else joined(frames)


def wants_progress(arguments: argparse.Namespace) -> bool:
    """Return whether a command shows a progress bar."""
    if arguments.progress is not None:
        return bool(arguments.progress)
    is_seen = len(arguments.symbol) > 1 and sys.stderr.isatty()
    return is_seen and importlib.util.find_spec("tqdm") is not None


def _renderer(arguments: argparse.Namespace) -> "Callable[[pd.DataFrame], str | bytes]":
    """Return the function that formats bars; raise before any request if it cannot work."""
    chosen: str | None = arguments.format
    if chosen is None and arguments.output is not None:
        chosen = _FORMATS_OF_SUFFIXES.get(Path(arguments.output).suffix.lower())
        if chosen is None:
            known = ", ".join(_FORMATS_OF_SUFFIXES)
            raise CommandError(
                f"{arguments.output!r} does not end in one of {known}: add --format", EXIT_USAGE
            )
    if chosen == "parquet" and arguments.output is None and sys.stdout.isatty():
        raise CommandError("Parquet is not for a terminal: add --output FILE.parquet", EXIT_USAGE)
    if chosen == "parquet":
        check_pyarrow()
    return RENDERERS[chosen or "table"]


def check_pyarrow() -> None:
    """Raise a `CommandError` if Parquet cannot be read or written."""
    if importlib.util.find_spec("pyarrow") is None:
        raise CommandError('Parquet needs pyarrow: pip install "tvdatafeed[parquet]"')


def _log_shortfall(frame: "pd.DataFrame") -> None:
    symbol, attributes = frame["symbol"].iloc[0], frame.attrs
    requested, received = attributes.get("requested"), attributes.get("received")
    if isinstance(requested, int) and received != requested:
        note(f"{symbol}: {received} of {requested} bars: {attributes['reason']}")
    elif not attributes.get("complete", True):
        note(f"{symbol}: {received} bars of {requested}: {attributes['reason']}")
    if "delay_seconds" in attributes:
        note(f"{symbol}: delayed by {attributes['delay_seconds']} s")
