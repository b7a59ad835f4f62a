"""The command that follows symbols and sends their closed bars to other servers."""

import argparse
import contextlib
import dataclasses
import logging
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tvDatafeed.cli.account import account_config, make_client
from tvDatafeed.cli.arguments import (
    AddCommand,
    add_redis_option,
    add_series_options,
    full_symbol_of,
    whole_count,
)
from tvDatafeed.cli.console import EXIT_FAILURE, EXIT_OK, EXIT_USAGE, CommandError, note
from tvDatafeed.cli.destinations import Destination, RedisDestination, WebhookDestination
from tvDatafeed.cli.live import opened_seis
from tvDatafeed.cli.service import add_metrics_options, as_service
from tvDatafeed.cli.signals import both_interrupt
from tvDatafeed.common.facts import facts
from tvDatafeed.config import DeliveryConfig, RedisConfig, TelegramConfig, TvDatafeedConfig
from tvDatafeed.datafeed import TvDatafeedLive
from tvDatafeed.exceptions import DeliveryError
from tvDatafeed.live.seis import Seis

if TYPE_CHECKING:
    import pandas as pd

    from tvDatafeed.delivery import AlertService, Webhook

__all__ = ["add_run_command"]

logger: logging.Logger = logging.getLogger(__name__)

_EXAMPLES = """\
examples:
  export TV_WEBHOOK_SECRET=$(tvdatafeed deliver secret)
  tvdatafeed deliver run BINANCE:BTCUSDT --url https://example.org/bars
  tvdatafeed deliver run AAPL MSFT --exchange NASDAQ --interval 5m --redis
  tvdatafeed deliver run BINANCE:BTCUSDT --url http://127.0.0.1:9000/ --json

Each bar that closes is posted, signed with TV_WEBHOOK_SECRET, or published in
Redis for `tvdatafeed live --from-redis` on other machines; or both. Without
--url and --redis, bars go where TV_WEBHOOK_URL and TV_REDIS_URL say. Other
users of the machine can read arguments: put URLs with passwords into variables.

With --metrics-port it serves /metrics (Prometheus) and /health (200, or 503
while bars do not come). A service manager that set NOTIFY_SOCKET is notified:
READY, WATCHDOG while the feed works (also while TradingView is away), STOPPING.

Ctrl-C and SIGTERM end it, with exit code 0. What is not delivered by then waits
in the outbox until it runs again. With TV_TELEGRAM_TOKEN and
TV_TELEGRAM_CHAT_ID set, a bot alerts you to what needs you.
"""
_LOOK_S = 1.0
# How many symbols the first line names.
_NAMED = 3


def add_run_command(part: AddCommand) -> None:
    """Add ``run`` to the commands of ``deliver``.

    Parameters
    ----------
    part : callable
        Adds one, from its name, what runs it, a summary and examples.
    """
    run = part("run", _run, "follow symbols, and send each closed bar", _EXAMPLES)
    run.add_argument("symbol", metavar="SYMBOL", nargs="+", help="such as BINANCE:BTCUSDT")
    add_series_options(run, "1m")
    run.set_defaults(fut_contract=None)
    run.add_argument("--url", help="where to post bars; default: TV_WEBHOOK_URL")
    run.add_argument(
        "--batch",
        type=whole_count,
        default=1,
        metavar="N",
        help="post up to N waiting bars of a symbol as one message; default: %(default)s",
    )
    run.add_argument(
        "--scheme",
        choices=("standard", "canonical"),
        default="standard",
        help="how messages are signed; default: %(default)s",
    )
    run.add_argument(
        "--outbox", metavar="PATH", help="the file; default: TV_OUTBOX, else your data folder"
    )
    add_redis_option(run, "--redis", "publish bars in Redis")
    run.add_argument(
        "--count", type=whole_count, metavar="N", help="end when N bars have closed; default: never"
    )
    run.add_argument(
        "--json", action="store_true", help="write the result of each attempt as a line of JSON"
    )
    add_metrics_options(run)


def _run(arguments: argparse.Namespace) -> int:
    symbols = [full_symbol_of(symbol, arguments) for symbol in arguments.symbol]
    config = _config()
    alerts = _alerts()
    run = _Run(arguments)
    with both_interrupt() as signals:
        is_interrupted = is_done = False
        try:
            try:
                run.open_destinations()
                run.follow(list(dict.fromkeys(symbols)), config, alerts)
            except KeyboardInterrupt:
                is_interrupted = True
                if len(signals) > 1:
                    raise
            is_done = run.close(is_hurried=is_interrupted)
        except KeyboardInterrupt:
            # The second one does not wait.
            is_interrupted = True
            run.abort()
        except BaseException:
            run.abort()
            raise
        run.summarize()
        if alerts is not None:
            with contextlib.suppress(KeyboardInterrupt):
                alerts.close()
    if run.failure is not None:
        raise run.failure
    return EXIT_OK if is_interrupted or is_done else EXIT_FAILURE


def _config() -> TvDatafeedConfig:
    config = account_config()
    # Where clocks are set back, local times without a zone come twice.
    return dataclasses.replace(config, data=dataclasses.replace(config.data, timezone="UTC"))


def _alerts() -> "AlertService | None":
    """Return the service of the bot that the environment names, if it does."""
    config = TelegramConfig.from_env()
    if config.token is None and config.chat_id is None:
        return None
    from tvDatafeed.delivery import AlertService  # noqa: PLC0415 - help needs to be quick

    return AlertService.from_env()


class _Run:
    """Bars on their way from one feed to some destinations."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self._is_over = threading.Event()
        self._destinations: list[Destination] = []
        self._gates: list[_Gate] = []
        self._webhook: Webhook | None = None
        self._has_failed = False
        self.failure: Exception | None = None

    def open_destinations(self) -> None:
        """Open what the options name, or else what the environment names.

        Raises
        ------
        CommandError
            Nothing is named.
        """
        arguments = self._arguments
        config, redis_url = DeliveryConfig.from_env(), RedisConfig.from_env().url
        is_named = arguments.url is not None or arguments.redis is not None
        posts = arguments.url is not None or (not is_named and config.url is not None)
        publishes = arguments.redis is not None or (not is_named and redis_url is not None)
        if not posts and not publishes:
            raise CommandError(
                "there is nowhere to send bars to: add --url or --redis, or set TV_WEBHOOK_URL or "
                "TV_REDIS_URL",
                EXIT_USAGE,
            )
        if arguments.json and not posts:
            raise CommandError(
                "--json writes what becomes of posted messages: add --url, or leave it out",
                EXIT_USAGE,
            )
        if posts:
            posting = WebhookDestination(arguments, config, self._fail)
            self._destinations.append(posting)
            self._webhook = posting.hook
        if publishes:
            self._destinations.append(RedisDestination(arguments.redis or redis_url))

    def follow(
        self, symbols: Sequence[str], config: TvDatafeedConfig, alerts: "AlertService | None"
    ) -> None:
        """Send bars until their number is reached, or until no symbol can be followed."""
        arguments = self._arguments
        self._gates = [_Gate(each, arguments.count, self._check) for each in self._destinations]
        running = set(symbols)

        def hear_state(seis: Seis, state: str) -> None:
            if state in {"FAILED", "STOPPED"}:
                running.discard(seis.full_symbol)
            if not running:
                self._is_over.set()

        with make_client(TvDatafeedLive, arguments, config) as feed:
            feed.on_state = hear_state
            if alerts is not None:
                alerts.attach(feed)
                for destination in self._destinations:
                    destination.attach(alerts)
            seises = [opened_seis(feed, symbol, arguments.interval) for symbol in symbols]
            places = " and ".join(each.place for each in self._destinations)
            note(f"closed bars of {_named(symbols)} go to {places}, until Ctrl-C")
            for seis in seises:
                for gate in self._gates:
                    feed.new_consumer(seis, gate, on_slow="block")
            with as_service(arguments, feed, self._webhook):
                # Windows interrupts no wait that has no end.
                while not self._is_over.wait(_LOOK_S):
                    for destination in self._destinations:
                        destination.look()
            self._has_failed = any(status.error is not None for status in feed.status())

    def _check(self) -> None:
        """End when all bars that were asked for are on their way."""
        if all(gate.is_done for gate in self._gates):
            self._is_over.set()

    def _fail(self, error: Exception) -> None:
        """End with an error; called in any thread."""
        self.failure = error
        self._is_over.set()

    def close(self, *, is_hurried: bool) -> bool:
        """Send what waits, within a time; return whether every bar was delivered."""
        done = [each.close(is_hurried=is_hurried) for each in self._destinations]
        is_refused = any(gate.refused for gate in self._gates)
        return all(done) and not is_refused and not self._has_failed

    def abort(self) -> None:
        """Close the destinations at once."""
        for each in self._destinations:
            each.abort()

    def summarize(self) -> None:
        """Write a line for each destination."""
        for each in self._destinations:
            note(each.summary())


class _Gate:
    """Passes closed bars on to one destination, up to a number of them.

    Parameters
    ----------
    destination
        The destination.
    limit
        How many bars are passed on; None: all.
    on_done
        Called when that number is reached.
    """

    def __init__(
        self, destination: Destination, limit: int | None, on_done: Callable[[], object]
    ) -> None:
        self.__name__ = "deliver"
        self._destination = destination
        self._limit = limit
        self._on_done = on_done
        self._lock = threading.Lock()
        self._accepted = self._finished = self.refused = 0
        self._is_refusing = False

    @property
    def is_done(self) -> bool:
        """Whether the last bar was passed on."""
        return self._finished == self._limit

    def __call__(self, seis: Seis, data: "pd.DataFrame") -> None:
        """Pass a bar on."""
        with self._lock:
            if self._accepted == self._limit:
                return
            self._accepted += 1
        refusal: DeliveryError | None = None
        try:
            self._destination.send(seis, data)
        except DeliveryError as error:
            refusal = error
        finally:
            with self._lock:
                self._finished += 1
                self.refused += refusal is not None
                is_first = refusal is not None and not self._is_refusing
                self._is_refusing = refusal is not None
            self._on_done()
        if is_first:
            logger.warning(
                "a bar of %s was not accepted: %s",
                seis.full_symbol,
                refusal,
                extra=facts(seis, error=refusal),
            )


def _named(symbols: Sequence[str]) -> str:
    more = f" and {len(symbols) - _NAMED:,} more" if len(symbols) > _NAMED else ""
    return ", ".join(symbols[:_NAMED]) + more
