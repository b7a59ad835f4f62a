"""The command that follows symbols: a table in a terminal, lines for everything else."""

import argparse
import dataclasses
import signal
import sys

from tvDatafeed.cli.account import account_config, make_client
from tvDatafeed.cli.arguments import (
    AddCommand,
    add_redis_option,
    add_series_options,
    add_timezone_option,
    full_symbol_of,
    whole_count,
)
from tvDatafeed.cli.console import EXIT_FAILURE, EXIT_OK, CommandError
from tvDatafeed.cli.livefromredis import follow_shared_feed
from tvDatafeed.cli.liveshowing import BarScreen, SeriesState, follow_bars, write_bar
from tvDatafeed.cli.service import add_metrics_options, as_service, check_has_no_metrics
from tvDatafeed.cli.signals import both_interrupt
from tvDatafeed.config import TvDatafeedConfig, terminal_is_dumb
from tvDatafeed.datafeed import TvDatafeedLive
from tvDatafeed.interval import IntervalLike
from tvDatafeed.live.seis import Seis, WhichBars
from tvDatafeed.query.dates import local_timezone

__all__ = ["add_live_command", "opened_seis"]

_LIVE_EXAMPLES = """\
examples:
  tvdatafeed live BINANCE:BTCUSDT                  a table that is kept up to date
  tvdatafeed live AAPL MSFT --exchange NASDAQ --interval 5m
  tvdatafeed live BINANCE:BTCUSDT --json | jq .close
  tvdatafeed live BINANCE:BTCUSDT --count 10 >> bars.jsonl
  tvdatafeed live BINANCE:BTCUSDT --from-redis     a shared feed (TV_REDIS_URL)
  tvdatafeed live BINANCE:BTCUSDT --metrics-port 9100

In a terminal: a table, also of the bars that still form. In a pipe, or with --json: one JSON object
for each bar that has closed, beginning with the last one; --forming adds each change of the bars
that form. Ctrl-C ends it. What was missed while the connection was lost follows by itself; what
cannot be had any more is on stderr.

With --metrics-port it serves /metrics (Prometheus) and /health (JSON; 200, or 503 while bars do not
come). SIGTERM ends it with exit code 0, and a service manager that set NOTIFY_SOCKET is notified:
READY, WATCHDOG while the feed works (also while TradingView is away), STOPPING.

With --from-redis it shows the closed bars that `tvdatafeed deliver run --redis`
publishes from now on. TradingView is not asked, and no login is needed.
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
    add_redis_option(
        live, "--from-redis", "show what `deliver run --redis` publishes, without TradingView"
    )
    add_timezone_option(live, "this machine's in the table, UTC in JSON")
    add_metrics_options(live)


def _live(arguments: argparse.Namespace) -> int:
    with both_interrupt() as signals:
        try:
            return _follow(arguments)
        except KeyboardInterrupt:
            # SIGTERM ends a service, and is not a failure.
            if signals[:1] == [signal.SIGTERM]:
                return EXIT_OK
            raise


def _follow(arguments: argparse.Namespace) -> int:
    symbols = [full_symbol_of(symbol, arguments) for symbol in arguments.symbol]
    is_table = sys.stdout.isatty() and not arguments.json and not terminal_is_dumb()
    if arguments.from_redis is not None:
        check_has_no_metrics(arguments)
        config = _with_zone(TvDatafeedConfig.from_env(), arguments, is_table=is_table)
        with as_service(arguments, None):
            return follow_shared_feed(
                list(dict.fromkeys(symbols)), arguments, config.data.timezone, is_table=is_table
            )
    config = _with_zone(account_config(), arguments, is_table=is_table)
    with make_client(TvDatafeedLive, arguments, config) as feed:
        seises = [
            opened_seis(feed, symbol, arguments.interval) for symbol in dict.fromkeys(symbols)
        ]
        with as_service(arguments, feed):
            which: WhichBars = "all" if is_table or arguments.forming else "closed"
            coming = feed.stream(*seises, bars=which, replay_last=True)
            if is_table:
                with BarScreen(lambda: _states(feed), seises).shown() as screen:
                    follow_bars(coming, screen.show, arguments.count)
            else:
                follow_bars(coming, write_bar, arguments.count)
        failed = [status for status in feed.status() if status.error is not None]
    return EXIT_FAILURE if failed else EXIT_OK


def _with_zone(
    config: TvDatafeedConfig, arguments: argparse.Namespace, *, is_table: bool
) -> TvDatafeedConfig:
    zone = config.data.timezone or (None if is_table else "UTC")
    if arguments.timezone is not None:
        zone = arguments.timezone.strip() or local_timezone()
    return dataclasses.replace(config, data=dataclasses.replace(config.data, timezone=zone))


def _states(feed: TvDatafeedLive) -> dict[Seis, SeriesState]:
    return {
        each.seis: SeriesState(
            each.state if each.error is None else f"{each.state}: {each.error}", each.delivered
        )
        for each in feed.status()
    }


def opened_seis(feed: TvDatafeedLive, symbol: str, interval: IntervalLike) -> Seis:
    """Return the Seis of a symbol, which is followed from now on.

    Raises
    ------
    CommandError
        TradingView does not know the symbol.
    """
    try:
        return feed.new_seis(symbol, "", interval)
    except ValueError as error:
        raise CommandError(str(error.__cause__ or error)) from error
