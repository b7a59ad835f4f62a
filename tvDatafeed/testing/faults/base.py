"""What a fault is, and the stages at which most of them strike."""

import dataclasses
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tvDatafeed.testing.wire.actions import Action, Command, Message
from tvDatafeed.testing.wire.http11 import Reply, Request
from tvDatafeed.testing.wire.payloads import to_json


@dataclass(frozen=True)
class Fault:
    """A fault that does nothing: the base of all.

    Parameters
    ----------
    times
        How often it strikes; None for always. What a strike is depends on the hook: a connection,
        a command or a message.
    symbol
        Strike only what concerns this ``"EXCHANGE:NAME"``; None for everything. It has no meaning
        for faults of the connection.
    """

    times: int | None = field(default=None, kw_only=True)
    symbol: str | None = field(default=None, kw_only=True)

    def on_accept(self) -> Iterable[Action] | None:
        """Act on a TCP connection before anything is read."""
        return None

    def on_http(self, _request: Request, _reply: Reply, /) -> Iterable[Action] | None:
        """Act instead of sending the reply to a request that is no upgrade."""
        return None

    def on_upgrade(self, _reply: bytes, /) -> Iterable[Action] | None:
        """Act instead of sending the 101 reply to an upgrade request."""
        return None

    def on_open(self, _hello: str, /) -> Iterable[Action] | None:
        """Act instead of sending the hello: every str of the result is a payload."""
        return None

    def on_reply(self, _command: Command, _payloads: list[str], /) -> Iterable[Action] | None:
        """Act on the payloads that answer a command: every str of the result is a payload."""
        return None

    def on_message(self, _message: Message, /) -> Iterable[Action] | None:
        """Act on a text message: every str of the result is a text message."""
        return None

    def __str__(self) -> str:
        changed = [
            f"{f.name}={_written(getattr(self, f.name))}"
            for f in dataclasses.fields(self)
            if getattr(self, f.name) != f.default
        ]
        name = name_of(type(self))
        return f"{name}:{','.join(changed)}" if changed else name


class AtUpgrade(Fault, ABC):
    """A fault of the handshake."""

    def on_upgrade(self, reply: bytes, /) -> Iterable[Action] | None:
        """Strike each upgrade."""
        return self._apply(reply)

    @abstractmethod
    def _apply(self, reply: bytes, /) -> Iterable[Action]:
        """Give what happens instead of the usual."""


class AtOpen(Fault, ABC):
    """A fault of a connection from its hello on."""

    def on_open(self, hello: str, /) -> Iterable[Action] | None:
        """Strike each hello."""
        return self._apply(hello)

    @abstractmethod
    def _apply(self, hello: str, /) -> Iterable[Action]:
        """Give what happens instead of the usual."""


class AtCommand(Fault, ABC):
    """A fault of the protocol that strikes commands, whether they have an answer or not."""

    def on_reply(self, command: Command, _payloads: list[str], /) -> Iterable[Action] | None:
        """Strike each command."""
        return self._apply(command)

    @abstractmethod
    def _apply(self, command: Command, /) -> Iterable[Action] | None:
        """Give what happens instead of the usual."""


class AtData(Fault, ABC):
    """A fault of the wire that strikes replies and pushes."""

    def on_message(self, message: Message, /) -> Iterable[Action] | None:
        """Strike what is neither a hello nor a heartbeat."""
        return self._apply(message) if message.kind in {"reply", "push"} else None

    @abstractmethod
    def _apply(self, message: Message, /) -> Iterable[Action]:
        """Give what happens instead of the usual."""


class AtAnswer(Fault, ABC):
    """A fault of the protocol that strikes answers which are not empty."""

    def on_reply(self, command: Command, payloads: list[str], /) -> Iterable[Action] | None:
        """Strike each answer."""
        return self._apply(command, payloads) if payloads else None

    @abstractmethod
    def _apply(self, command: Command, payloads: list[str], /) -> Iterable[Action] | None:
        """Give what happens instead of the usual."""


def name_of(kind: type[Fault]) -> str:
    """Return the name of a fault on a command line."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kind.__name__).lower()


def _written(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode()
    if isinstance(value, str):
        return to_json(value) if re.search(r'[,"\[]', value) else value
    return to_json(value)
