"""What a command that runs for weeks shows to others: figures, health, and signs of life.

The service manager (systemd) hears READY=1 when everything is followed, WATCHDOG=1 while the thread
that keeps the series open answers, and STOPPING=1 at the end. When TradingView is away, the signs
of life continue: a restart would not help, and /health has it.
"""

import argparse
import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from tvDatafeed.cli.console import EXIT_USAGE, CommandError, note
from tvDatafeed.common.servicemanager import ServiceManager
from tvDatafeed.config import notify_socket, watchdog_s
from tvDatafeed.exceptions import ConfigurationError, TvDatafeedError

if TYPE_CHECKING:
    from tvDatafeed.datafeed import TvDatafeedLive
    from tvDatafeed.delivery import Webhook

__all__ = ["add_metrics_options", "as_service", "check_has_no_metrics"]

logger: logging.Logger = logging.getLogger(__name__)

# How often the status line of a service changes, where no watchdog asks for more.
_STATUS_S = 10.0
# A watchdog that asks for more is not answered in time: the processor has other work.
_SHORTEST_S = 0.01
# For the thread of the signs of life to end.
_END_S = 1.0


def add_metrics_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--metrics-port`` and ``--metrics-host`` to a command."""
    parser.add_argument(
        "--metrics-port",
        type=_port,
        metavar="N",
        help="serve /metrics for Prometheus and /health there; 0: a free one; default: not",
    )
    parser.add_argument(
        "--metrics-host",
        default="127.0.0.1",
        metavar="HOST",
        help="the address of --metrics-port; default: %(default)s",
    )


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) >= 1 << 16:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port between 0 and 65535")
    return int(text)


def check_has_no_metrics(arguments: argparse.Namespace) -> None:
    """Refuse ``--metrics-port`` where this process has no feed.

    Raises
    ------
    CommandError
        It is there.
    """
    if arguments.metrics_port is not None:
        raise CommandError(
            "a shared feed has no figures here: leave --metrics-port out, and add it to "
            "`tvdatafeed deliver run --redis`",
            EXIT_USAGE,
        )


@contextmanager
def as_service(
    arguments: argparse.Namespace,
    feed: "TvDatafeedLive | None",
    webhook: "Webhook | None" = None,
) -> Iterator[None]:
    """Serve figures and health, and send signs of life, where they are wanted.

    Parameters
    ----------
    arguments
        The options of the command.
    feed
        The feed, with all that it follows; None when another process has it.
    webhook
        Where bars are posted, if they are.

    Raises
    ------
    CommandError
        The port cannot be used, or the extra is not installed.
    """
    manager = ServiceManager(notify_socket())
    with ExitStack() as stack:
        if feed is not None and arguments.metrics_port is not None:
            stack.enter_context(_figures(arguments, feed, webhook))
        if manager.is_there:
            stack.enter_context(_SignsOfLife(manager, feed).running())
        yield


@contextmanager
def _figures(
    arguments: argparse.Namespace, feed: "TvDatafeedLive", webhook: "Webhook | None"
) -> Iterator[None]:
    from tvDatafeed.metrics import MetricsServer  # noqa: PLC0415 - an extra

    host, port = arguments.metrics_host, arguments.metrics_port
    try:
        server = MetricsServer(
            feed,
            port,
            host=host,
            store=feed.store,
            webhook=webhook,
            outbox=None if webhook is None else webhook.outbox,
        )
    except ConfigurationError as error:
        if error.parameter != "port":
            raise CommandError(error.reason, EXIT_USAGE) from error
        cause = error.__cause__
        reason = getattr(cause, "strerror", None) or cause
        raise CommandError(
            f"cannot listen on {host} port {port}: {reason}; choose another --metrics-port, or 0 "
            "for a free one"
        ) from error
    with server:
        note(f"figures at {server.url}/metrics, health at {server.url}/health")
        yield


class _SignsOfLife:
    """Reports to the service manager, in a thread of its own."""

    def __init__(self, manager: ServiceManager, feed: "TvDatafeedLive | None") -> None:
        self._manager = manager
        self._feed = feed
        self._watchdog_s = watchdog_s()
        # Twice as often as it has to be.
        self._every_s = max((self._watchdog_s or 2 * _STATUS_S) / 2, _SHORTEST_S)
        self._is_over = threading.Event()
        self._is_stuck = False

    @contextmanager
    def running(self) -> Iterator[None]:
        """Report the start, signs of life, and the end."""
        self._manager.notify(READY=1, **self._report())
        thread = threading.Thread(target=self._run, name="tvDatafeed-watchdog", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._manager.notify(STOPPING=1, STATUS="ending")
            self._is_over.set()
            thread.join(_END_S)

    def _run(self) -> None:
        while not self._is_over.wait(self._every_s):
            if self._feed is None or self._answers(self._feed):
                self._manager.notify(**self._report())

    def _answers(self, feed: "TvDatafeedLive") -> bool:
        """Whether the feed works; a warning says when it does not any more."""
        # With the wait before it that is less than the time that the manager allows.
        is_stuck = not feed.is_responsive(self._every_s / 2)
        if is_stuck and not self._is_stuck and not self._is_over.is_set():
            logger.warning("the live feed does not answer: the watchdog hears no sign of life")
        self._is_stuck = is_stuck
        return not is_stuck

    def _report(self) -> dict[str, object]:
        report: dict[str, object] = {"STATUS": _status_of(self._feed)}
        if self._watchdog_s is not None:
            report["WATCHDOG"] = 1
        return report


def _status_of(feed: "TvDatafeedLive | None") -> str:
    if feed is None:
        return "a shared feed is followed"
    try:
        statuses = feed.status()
    except TvDatafeedError as error:
        return str(error)
    live = sum(status.state == "LIVE" for status in statuses)
    last = max((s.last_bar for s in statuses if s.last_bar is not None), default=None)
    text = f"{live} of {len(statuses)} live"
    return text if last is None else f"{text}, last bar {last:%Y-%m-%d %H:%M:%S} UTC"
