"""The faults of a running server, and how often each is still applied."""

import dataclasses
import threading
from collections.abc import Callable, Iterable

from tvDatafeed.testing.faults.base import Fault
from tvDatafeed.testing.wire.actions import Action, Command, Message


class ActiveFaults:
    """The active faults, each with the remaining number of times it is applied."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._lock = threading.Lock()
        self._left: list[tuple[Fault, list[int]]] = []
        self.inject(*faults)

    @property
    def active(self) -> tuple[Fault, ...]:
        """The faults that are still applied, in the order of their injection."""
        with self._lock:
            return tuple(fault for fault, left in self._left if left != [0])

    def inject(self, *faults: Fault) -> None:
        """Add faults; adding one twice adds two faults."""
        with self._lock:
            self._left += [(f, [] if f.times is None else [max(0, f.times)]) for f in faults]

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._left.clear()

    def connection(self, hook: Callable[[Fault], Iterable[Action] | None]) -> list[Action] | None:
        """Return the actions of the first fault that applies at this stage of a connection."""
        for fault, left in self._snapshot():
            actions = hook(fault)
            if actions is not None and self._count(left):
                return list(actions)
        return None

    def reply(self, command: Command, payloads: list[str]) -> tuple[list[str], list[Action]]:
        """Apply all faults to an answer; return its payloads and the additional actions."""
        extra: list[Action] = []
        for fault, left in self._snapshot(command.symbol):
            actions = fault.on_reply(command, payloads)
            if actions is not None and self._count(left):
                done = list(actions)
                payloads = [action for action in done if isinstance(action, str)]
                extra += [action for action in done if not isinstance(action, str)]
        return payloads, extra

    def message(self, message: Message) -> list[Action]:
        """Apply all faults to a text message; return the actions that replace it."""
        actions: list[Action] = [message.text]
        for fault, left in self._snapshot(message.symbol):
            changed: list[Action] = []
            for action in actions:
                one = dataclasses.replace(message, text=action) if isinstance(action, str) else None
                instead = fault.on_message(one) if one else None
                changed += instead if instead is not None and self._count(left) else [action]
            actions = changed
        return actions

    def _snapshot(self, symbol: str | None = None) -> list[tuple[Fault, list[int]]]:
        with self._lock:
            return [x for x in self._left if x[0].symbol in (None, symbol) and x[1] != [0]]

    def _count(self, left: list[int]) -> bool:
        with self._lock:
            if left == [0]:
                return False
            left[:] = [count - 1 for count in left]
            return True
