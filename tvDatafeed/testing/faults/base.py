"""The base class of faults, and base classes for the stages at which they apply."""

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
    """The base class of all faults; it does nothing.

    Parameters
    ----------
    times
        How many times it is applied: to connections, commands or messages, depending on the hook.
        None for always.
    symbol
        Apply only to commands and messages about this ``"EXCHANGE:NAME"``; None for all. Faults of
        a connection ignore it.
    """

    times: int | None = field(default=None, kw_only=True)
    symbol: str | None = field(default=None, kw_only=True)

    def on_accept(self) -> Iterable[Action] | None:
        """Return actions for a TCP connection before anything is read."""
        return None

    def on_http(self, _request: Request, _reply: Reply, /) -> Iterable[Action] | None:
        """Return actions that replace the reply to a plain HTTP request."""
        return None

    def on_upgrade(self, _reply: bytes, /) -> Iterable[Action] | None:
        """Return actions that replace the 101 reply to an upgrade request."""
        return None

    def on_open(self, _hello: str, /) -> Iterable[Action] | None:
        """Return actions that replace the hello; each str is a payload."""
        return None

    def on_reply(self, _command: Command, _payloads: list[str], /) -> Iterable[Action] | None:
        """Return actions that replace the answer to a command; each str is a payload."""
        return None

    def on_message(self, _message: Message, /) -> Iterable[Action] | None:
        """Return actions that replace a text message; each str is a text message."""
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
        """Apply to each upgrade."""
        return self._apply(reply)

    @abstractmethod
    def _apply(self, reply: bytes, /) -> Iterable[Action]:
        """Return the actions to perform instead."""


class AtOpen(Fault, ABC):
    """A fault of a connection that starts at its hello."""

    def on_open(self, hello: str, /) -> Iterable[Action] | None:
        """Apply to each hello."""
        return self._apply(hello)

    @abstractmethod
    def _apply(self, hello: str, /) -> Iterable[Action]:
        """Return the actions to perform instead."""


class AtCommand(Fault, ABC):
    """A fault of the protocol for all commands, also those without an answer."""

    def on_reply(self, command: Command, _payloads: list[str], /) -> Iterable[Action] | None:
        """Apply to each command."""
        return self._apply(command)

    @abstractmethod
    def _apply(self, command: Command, /) -> Iterable[Action] | None:
        """Return the actions to perform instead."""


class AtData(Fault, ABC):
    """A fault of the wire for replies and pushes."""

    def on_message(self, message: Message, /) -> Iterable[Action] | None:
        """Apply to all messages except hellos and heartbeats."""
        return self._apply(message) if message.kind in {"reply", "push"} else None

    @abstractmethod
    def _apply(self, message: Message, /) -> Iterable[Action]:
        """Return the actions to perform instead."""


class AtAnswer(Fault, ABC):
    """A fault of the protocol for answers that are not empty."""

    def on_reply(self, command: Command, payloads: list[str], /) -> Iterable[Action] | None:
        """Apply to each answer."""
        return self._apply(command, payloads) if payloads else None

    @abstractmethod
    def _apply(self, command: Command, payloads: list[str], /) -> Iterable[Action] | None:
        """Return the actions to perform instead."""


def name_of(kind: type[Fault]) -> str:
    """Return the name of a fault on a command line."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kind.__name__).lower()


def _written(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode()
    if isinstance(value, str):
        return to_json(value) if re.search(r'[,"\[]', value) else value
    return to_json(value)
