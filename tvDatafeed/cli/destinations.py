"""Where the closed bars of ``tvdatafeed deliver run`` go."""

import argparse
import dataclasses
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tvDatafeed.cli.console import EXIT_USAGE, ClosedPipeError, CommandError, note, show
from tvDatafeed.cli.table import printable
from tvDatafeed.common.redaction import masked_url
from tvDatafeed.config import DeliveryConfig
from tvDatafeed.exceptions import OutboxError

if TYPE_CHECKING:
    import pandas as pd

    from tvDatafeed.delivery import AlertService, DeliveryResult, Webhook
    from tvDatafeed.live.seis import Seis

__all__ = ["Destination", "RedisDestination", "WebhookDestination", "signing_secret"]

# After Ctrl-C: a container is killed ten seconds after SIGTERM.
_HURRY_S = 5.0
# For threads to end, where nothing is waited for.
_ABORT_S = 0.5


def signing_secret(config: DeliveryConfig) -> str | Sequence[str]:
    """Return the secret that signs messages.

    Raises
    ------
    CommandError
        The environment has none.
    """
    if not config.secret:
        raise CommandError(
            "TV_WEBHOOK_SECRET is not set: sender and receiver need the same secret, and "
            "`tvdatafeed deliver secret` writes a new one",
            EXIT_USAGE,
        )
    return config.secret


class Destination(ABC):
    """Where bars go."""

    @property
    @abstractmethod
    def place(self) -> str:
        """What the destination is called."""

    @abstractmethod
    def send(self, seis: "Seis", data: "pd.DataFrame") -> None:
        """Send closed bars."""

    @abstractmethod
    def attach(self, alerts: "AlertService") -> None:
        """Send alerts about the destination."""

    @abstractmethod
    def look(self) -> None:
        """Notice what nothing calls back for; called every second."""

    @abstractmethod
    def close(self, *, is_hurried: bool) -> bool:
        """Send what waits, within a time; return whether everything was delivered."""

    @abstractmethod
    def abort(self) -> None:
        """Close it at once; this may follow `close`."""

    @abstractmethod
    def summary(self) -> str:
        """Return what became of the bars, after `close`, in a line."""


class WebhookDestination(Destination):
    """A URL to which bars are posted.

    Parameters
    ----------
    arguments
        The options of the command.
    config
        The settings of the environment.
    fail
        Called with the error when a result cannot be written to stdout.
    """

    def __init__(
        self,
        arguments: argparse.Namespace,
        config: DeliveryConfig,
        fail: Callable[[Exception], object],
    ) -> None:
        from tvDatafeed.delivery import Webhook  # noqa: PLC0415 - help needs to be quick
        from tvDatafeed.network.replies import host_of  # noqa: PLC0415 - as above

        self._hook = Webhook(
            arguments.url,
            signing_secret(config),
            outbox=arguments.outbox,
            scheme=arguments.scheme,
            batch=arguments.batch,
            config=config,
        )
        self._host = host_of(self._hook.url)
        # Long enough for another attempt or two.
        self._timeout_s = config.timeout
        self._fail = fail
        self._writes_results: bool = arguments.json
        # Of this process; in the thread that sends.
        self._delivered = self._dead = 0
        self._is_failing = False
        self._hook.results(self._hear)

    @property
    def hook(self) -> "Webhook":
        """What posts."""
        return self._hook

    @property
    def place(self) -> str:
        """The host, and the outbox; the path of a URL may be a secret."""
        return f"{self._host} (outbox {printable(self._hook.outbox.path)})"

    def send(self, seis: "Seis", data: "pd.DataFrame") -> None:
        """Put closed bars into the outbox."""
        self._hook(seis, data)

    def attach(self, alerts: "AlertService") -> None:
        """Send alerts about what is not received."""
        alerts.attach(None, self._hook)

    def look(self) -> None:
        """Do nothing: results are called back."""

    def close(self, *, is_hurried: bool) -> bool:
        """Wait for what is being sent; return whether everything was received."""
        timeout = self._timeout_s
        if is_hurried:
            timeout = _ABORT_S if self._is_failing else _HURRY_S
        self._hook.flush(timeout)
        return self._hook.close(_ABORT_S) and not self._dead

    def abort(self) -> None:
        """Close it at once."""
        self._hook.close(_ABORT_S)

    def summary(self) -> str:
        """Return what was received, what was refused, and what waits where."""
        posted = f"{_messages(self._delivered)} delivered to {self._host}"
        if self._dead:
            posted += f", {self._dead:,} refused or given up (`tvdatafeed deliver ls --dead`)"
        try:
            waiting = self._hook.stats()["pending"]
        except OutboxError as error:
            return f"{posted}; {error}"
        if not waiting:
            return f"{posted}; nothing waits"
        place = printable(self._hook.outbox.path)
        verb = "waits" if waiting == 1 else "wait"
        return f"{posted}; {waiting:,} {verb} in {place} until it runs again"

    def _state(self) -> str:
        try:
            return str(self._hook.stats()["state"])
        except OutboxError:
            return "failing"

    def _hear(self, result: "DeliveryResult") -> None:
        if result.state == "delivered":
            self._delivered += 1
            if self._is_failing:
                note(f"{self._host} is reached again")
            self._is_failing = False
        elif result.state == "dead":
            self._dead += 1
        elif not self._is_failing:
            # The sender's own log says so, unless another message was delivered meanwhile.
            self._is_failing = self._state() != "ok"
        if self._writes_results:
            try:
                show(json.dumps(dataclasses.asdict(result)))
            except (ClosedPipeError, CommandError) as error:
                self._fail(error)


class RedisDestination(Destination):
    """A Redis server, where bars are published.

    Parameters
    ----------
    url
        The server; None for that of the environment.
    """

    def __init__(self, url: str | None) -> None:
        from tvDatafeed.delivery import RedisPublisher  # noqa: PLC0415 - as above

        self._shown = "Redis" if url is None else masked_url(url)
        self._publisher = RedisPublisher(url)
        self._reconnects = 0

    @property
    def place(self) -> str:
        """The URL without its password."""
        return printable(self._shown)

    def send(self, seis: "Seis", data: "pd.DataFrame") -> None:
        """Publish closed bars."""
        self._publisher(seis, data)

    def attach(self, alerts: "AlertService") -> None:
        """Do nothing: readers hear of gaps."""

    def look(self) -> None:
        """Report that the server is back; the log of the publisher has that it is away."""
        reconnects = self._publisher.stats()["reconnects"]
        if reconnects > self._reconnects:
            note(f"{self.place} is reached again")
        self._reconnects = reconnects

    def close(self, *, is_hurried: bool) -> bool:
        """Publish what waits; return whether every bar was published."""
        timeout = None
        if is_hurried:
            timeout = _ABORT_S if self._publisher.status()["error"] is not None else _HURRY_S
        return self._publisher.close(timeout) and not self._lost()

    def abort(self) -> None:
        """Close it at once."""
        self._publisher.close(_ABORT_S)

    def summary(self) -> str:
        """Return what was published, what was there before, and what is lost."""
        stats, lost = self._publisher.stats(), self._lost()
        number = stats["published"]
        text = f"{number:,} bar{'' if number == 1 else 's'} published to {self.place}"
        if stats["already"]:
            text += f", {stats['already']:,} there before"
        return f"{text}, {lost:,} lost" if lost else text

    def _lost(self) -> int:
        stats = self._publisher.stats()
        # What waits is in memory alone.
        return int(sum(stats[name] for name in ("waiting", "dropped", "refused", "late")))


def _messages(number: int) -> str:
    return f"{number:,} message{'' if number == 1 else 's'}"
