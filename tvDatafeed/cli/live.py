"""The command that follows symbols: a table in a terminal, lines for everything else."""

import argparse
import dataclasses
import json
import logging
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tvDatafeed.cli.account import account_config, make_client
from tvDatafeed.cli.arguments import (
    AddCommand,
    add_series_options,
    add_timezone_option,
    full_symbol_of,
    whole_count,
)
from tvDatafeed.cli.console import EXIT_FAILURE, EXIT_OK, CommandError, show, write_to_stdout
from tvDatafeed.cli.numbers import number_text, price_decimals, volume_decimals
from tvDatafeed.cli.table import cut_to_terminal, encodable, printable, table
from tvDatafeed.config import TvDatafeedConfig, terminal_is_dumb
from tvDatafeed.datafeed import TvDatafeedLive
from tvDatafeed.live.seis import Seis, WhichBars
from tvDatafeed.query.dates import local_timezone

if TYPE_CHECKING:
    import pandas as pd


__all__ = ["add_live_command"]

_HEADS = ("SYMBOL", "TIME", "OPEN", "HIGH", "LOW", "CLOSE", "CHANGE", "VOLUME", "BARS", "STATE")
_NUMBERS = range(2, 9)
# What goes first where a terminal is narrow: bars, volume, change, open, high, low.
_SPARE = (8, 7, 6, 2, 3, 4)
_PRICES = ("open", "high", "low", "close")

_LIVE_EXAMPLES = """\
examples:
  tvdatafeed live BINANCE:BTCUSDT                  a table that is kept up to date
  tvdatafeed live AAPL MSFT --exchange NASDAQ --interval 5m
  tvdatafeed live BINANCE:BTCUSDT --json | jq .close
  tvdatafeed live BINANCE:BTCUSDT --count 10 >> bars.jsonl

In a terminal: a table, also of the bars that still form. In a pipe, or with --json: one JSON object
for each bar that has closed, beginning with the last one; --forming adds each change of the bars
that form. Ctrl-C ends it. What was missed while the connection was lost follows by itself; what
cannot be had any more is told on stderr.
"""


def add_live_command(command: AddCommand) -> None:
    """Add ``live`` to the parser.

    Parameters
    ----------
    command : callable
        Adds one, from its name, what runs it, a summary and examples.
    """
    live = command("live", _live, "follow symbols, bar by bar", _LIVE_EXAMPLES)
    live.add_argument("symbol", metavar="SYMBOL", nargs="+", help="such as BINANCE:BTCUSDT")
    add_series_options(live, "1m")
    live.set_defaults(fut_contract=None)
    live.add_argument(
        "--count", type=whole_count, metavar="N", help="end when N bars have closed; default: never"
    )
    live.add_argument("--json", action="store_true", help="write lines of JSON, also in a terminal")
    live.add_argument(
        "--forming", action="store_true", help="with each change of the bars that still form"
    )
    add_timezone_option(live, "this machine's in the table, UTC in JSON")


def _live(arguments: argparse.Namespace) -> int:
    symbols = [full_symbol_of(symbol, arguments) for symbol in arguments.symbol]
    is_table = sys.stdout.isatty() and not arguments.json and not terminal_is_dumb()
    config = _config(arguments, is_table=is_table)
    with make_client(TvDatafeedLive, arguments, config) as feed:
        seises = [_seis(feed, symbol, arguments) for symbol in dict.fromkeys(symbols)]
        which: WhichBars = "all" if is_table or arguments.forming else "closed"
        coming = feed.stream(*seises, bars=which, replay_last=True)
        if is_table:
            with _Screen(feed, seises).shown() as screen:
                _follow(coming, screen.show, arguments.count)
        else:
            _follow(coming, _write_line, arguments.count)
        failed = [status for status in feed.status() if status.error is not None]
    return EXIT_FAILURE if failed else EXIT_OK


def _config(arguments: argparse.Namespace, *, is_table: bool) -> TvDatafeedConfig:
    config = account_config()
    zone = config.data.timezone or (None if is_table else "UTC")
    if arguments.timezone is not None:
        zone = arguments.timezone.strip() or local_timezone()
    return dataclasses.replace(config, data=dataclasses.replace(config.data, timezone=zone))


def _seis(feed: TvDatafeedLive, symbol: str, arguments: argparse.Namespace) -> Seis:
    try:
        return feed.new_seis(symbol, "", arguments.interval)
    except ValueError as error:
        raise CommandError(str(error.__cause__ or error)) from error


def _follow(
    coming: "Iterator[tuple[Seis, pd.DataFrame]]",
    tell: "Callable[[Seis, pd.DataFrame], None]",
    count: int | None,
) -> None:
    closed = 0
    for seis, frame in coming:
        tell(seis, frame)
        closed += frame.attrs["closed"]
        if count is not None and closed >= count:
            return


def _write_line(_seis: Seis, frame: "pd.DataFrame") -> None:
    row = frame.iloc[0]
    numbers = {name: float(row[name]) for name in (*_PRICES, "volume")}
    line = {
        "symbol": row["symbol"],
        "time": frame.index[0].isoformat(),
        **{name: None if math.isnan(value) else value for name, value in numbers.items()},
        "closed": frame.attrs["closed"],
    }
    show(json.dumps(line, allow_nan=False))


class _Screen:
    """A table in a terminal, which is written over itself."""

    def __init__(self, feed: TvDatafeedLive, seises: list[Seis]) -> None:
        self._feed = feed
        self._bars: dict[Seis, pd.DataFrame] = {}
        self._closes: dict[Seis, float] = {}
        self._decimals: dict[Seis, int] = {}
        self._height = 0
        self._news = ""
        self._seises = seises

    @contextmanager
    def shown(self) -> "Iterator[_Screen]":
        """Show the library's log below the table, and not in the midst of it."""
        library = logging.getLogger("tvDatafeed")
        others = [h for h in library.handlers if isinstance(h, logging.StreamHandler)]
        handler = _News(self.note)
        for other in others:
            library.removeHandler(other)
        library.addHandler(handler)
        try:
            yield self
        finally:
            library.removeHandler(handler)
            for other in others:
                library.addHandler(other)

    def note(self, news: str) -> None:
        """Show a line below the table from now on."""
        self._news = printable(news)

    def show(self, seis: Seis, frame: "pd.DataFrame") -> None:
        """Show what has come."""
        if frame.attrs["closed"]:
            self._closes[seis] = self._closes.get(seis, math.nan)
        before = self._bars.get(seis)
        if before is not None and before.attrs["closed"]:
            self._closes[seis] = float(before["close"].iloc[0])
        self._bars[seis] = frame
        self._draw()

    def _draw(self) -> None:
        status = {each.seis: each for each in self._feed.status()}
        rows = []
        for seis in self._seises:
            known = status.get(seis)
            state = known.state if known else "STOPPED"
            if known is not None and known.error is not None:
                state = f"{state}: {known.error}"
            delivered = str(known.delivered) if known else ""
            rows.append([seis.full_symbol, *self._cells(seis), delivered, printable(state)])
        lines = [*table(_HEADS, rows, numbers=_NUMBERS, spare=_SPARE), cut_to_terminal(self._news)]
        # Back to the first line of the last time, and each line anew.
        up = f"\x1b[{self._height}F" if self._height else ""
        write_to_stdout(up + "".join(f"{encodable(line)}\x1b[K\n" for line in lines))
        self._height = len(lines)

    def _cells(self, seis: Seis) -> list[str]:
        frame = self._bars.get(seis)
        if frame is None:
            return [""] * 7
        row = frame.iloc[0]
        prices, volume = [float(row[name]) for name in _PRICES], float(row["volume"])
        # At least those of the bars before, so that the columns stand still.
        decimals = max(price_decimals([prices]), self._decimals.get(seis, 0))
        self._decimals[seis] = decimals
        before = self._closes.get(seis, math.nan)
        change = (row["close"] / before - 1) * 100 if before else math.nan
        mark = " " if frame.attrs["closed"] else "~"
        return [
            f"{frame.index[0]:%Y-%m-%d %H:%M:%S}{mark}",
            *(number_text(price, decimals) for price in prices),
            "" if math.isnan(change) else f"{change:+.2f}%",
            number_text(volume, volume_decimals([volume])),
        ]


class _News(logging.Handler):
    """Hands the library's warnings on."""

    def __init__(self, take: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._take = take

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record."""
        self._take(record.getMessage())
