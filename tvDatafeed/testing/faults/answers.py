"""Faults in the answers to commands: their JSON, their order, their content."""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from tvDatafeed.testing.faults.base import AtAnswer, AtCommand
from tvDatafeed.testing.wire.actions import AbortSession, Action, Command, Finish, Mute, SendLater
from tvDatafeed.testing.wire.payloads import to_json
from tvDatafeed.testing.wire.websocket import close_frame

_BAR_COMMANDS = frozenset({"create_series", "modify_series", "request_more_data"})


@dataclass(frozen=True)
class HeartbeatsOnly(AtCommand):
    """Commands are not answered and heartbeats continue, as with an expired token."""

    def _apply(self, _command: Command, /) -> Iterable[Action]:
        return [Mute()]


@dataclass(frozen=True)
class TruncatedJson(AtAnswer):
    """Half of a payload is sent; its request gets ProtocolError, the connection continues.

    The fault applies to the largest payload of the answer; its packet declares the right length.
    """

    def _apply(self, _command: Command, payloads: list[str], /) -> Iterable[Action]:
        largest = max(payloads, key=len)
        return [p[: len(p) // 2] if p is largest else p for p in payloads]


@dataclass(frozen=True)
class HostileJson(AtAnswer):
    """Hostile JSON is sent; its request gets ProtocolError, the connection continues.

    The JSON is sent before the answer, is hard to parse, and has the session of the request.

    Parameters
    ----------
    kind
        The kind of JSON: a number that JSON does not have, a number of 400 digits, ten thousand
        levels, a lone surrogate.
    """

    kind: Literal["nan", "infinity", "long_number", "deep", "lone_surrogate"] = "nan"

    def _apply(self, command: Command, payloads: list[str], /) -> Iterable[Action]:
        number = {"nan": "NaN", "infinity": "Infinity", "long_number": "9" * 400}.get(self.kind)
        value = number or {"deep": "[" * 10_000 + "]" * 10_000}.get(self.kind, '"\\ud800"')
        session = to_json(command.params[:1])[1:-1]
        hostile = f'{{"m":"du","p":[{session},{{"sds_1":{{"s":[{{"i":0,"v":[{value}]}}]}}}}]}}'
        return [hostile, *payloads]


@dataclass(frozen=True)
class UnknownMessages(AtAnswer):
    """Unknown and malformed messages are sent first; they are ignored and counted."""

    PAYLOADS: ClassVar[tuple[str, ...]] = (
        '{"m":"brand_new_message","p":["x",{}],"extra":[1]}',
        '{"m":"du"}',
        '{"m":"series_completed","p":"text"}',
        '{"p":[]}',
        '{"m":null,"p":null}',
        "[]",
        "17",
    )

    def _apply(self, _command: Command, payloads: list[str], /) -> Iterable[Action]:
        return [*self.PAYLOADS, *payloads]


@dataclass(frozen=True)
class NoCompletion(AtAnswer):
    """series_completed is never sent; the request fails at its deadline."""

    def _apply(self, _command: Command, payloads: list[str], /) -> Iterable[Action] | None:
        kept = [p for p in payloads if _name(p) != "series_completed"]
        return kept if len(kept) < len(payloads) else None


@dataclass(frozen=True)
class CompletionFirst(AtAnswer):
    """series_completed is sent before the bars; the result is empty, late bars are dropped."""

    def _apply(self, _command: Command, payloads: list[str], /) -> Iterable[Action] | None:
        done = [p for p in payloads if _name(p) == "series_completed"]
        return [*done, *(p for p in payloads if p not in done)] if done else None


@dataclass(frozen=True)
class ForeignSession(AtAnswer):
    """An answer of an unknown session with other bars is sent first; it is dropped by its id.

    Parameters
    ----------
    session
        The id of the unknown session.
    """

    session: str = "cs_nobodyknows"

    def _apply(self, command: Command, payloads: list[str], /) -> Iterable[Action] | None:
        if command.method not in _BAR_COMMANDS:
            return None
        own, foreign = to_json(command.params[0]), to_json(self.session)
        # A leading 9 moves each bar 250 years ahead, so that a mix-up is always noticed.
        strange = [re.sub(r'"v":\[\d', '"v":[9', p.replace(own, foreign)) for p in payloads]
        return [*strange, *payloads]


@dataclass(frozen=True)
class LateReply(AtAnswer):
    """An answer is late, and later commands are answered first; dropped after the deadline.

    Parameters
    ----------
    delay_s
        The delay in seconds.
    """

    delay_s: float = 1.0

    def _apply(self, _command: Command, payloads: list[str], /) -> Iterable[Action]:
        return [*payloads, SendLater(self.delay_s)]


@dataclass(frozen=True)
class SessionCap(AtCommand):
    """A chart session above the limit of a connection gets critical_error; others continue.

    The real server's limit and wording are not known.

    Parameters
    ----------
    limit
        How many sessions a connection can have.
    reason
        The first text of the message.
    """

    limit: int = 10
    reason: str = "session limit reached"

    def _apply(self, command: Command, /) -> Iterable[Action] | None:
        if command.method != "chart_create_session" or command.open_sessions <= self.limit:
            return None
        session = command.params[0]
        text = f'method: {command.method}. args: "[]"'
        return [
            to_json({"m": "critical_error", "p": [session, self.reason, text]}),
            AbortSession(session),
        ]


@dataclass(frozen=True)
class ProtocolErrorReply(AtCommand):
    """A command is answered by protocol_error, and the server closes the connection.

    Parameters
    ----------
    reason
        The text of the message.
    method
        Which command is refused.
    """

    reason: str = "wrong data"
    method: str = "create_series"

    def _apply(self, command: Command, /) -> Iterable[Action] | None:
        if command.method != self.method:
            return None
        error = to_json({"m": "protocol_error", "p": [self.reason]})
        return [error, close_frame(1000), Finish()]


@dataclass(frozen=True)
class CriticalErrorReply(AtCommand):
    """A command is answered by critical_error; its session is aborted, others continue.

    Parameters
    ----------
    reason, details
        The two texts of the message.
    method
        Which command is refused.
    """

    reason: str = "invalid parameters"
    details: str = ""
    method: str = "create_series"

    def _apply(self, command: Command, /) -> Iterable[Action] | None:
        if command.method != self.method:
            return None
        session = command.params[0]
        error = to_json({"m": "critical_error", "p": [session, self.reason, self.details]})
        return [error, AbortSession(session)]


@dataclass(frozen=True)
class ReplaceBars(AtAnswer):
    """Other rows are sent instead of the bars: duplicates, nulls, strings, bad times.

    Parameters
    ----------
    rows
        The rows, each ``(time, open, high, low, close, volume)`` or any other value, or a function
        that converts the original rows.
    """

    rows: Sequence[Any] | Callable[[list[Any]], Sequence[Any]] = ()

    def _apply(self, _command: Command, payloads: list[str], /) -> Iterable[Action] | None:
        if not any(_name(p) == "timescale_update" for p in payloads):
            return None
        return [self._replaced(p) if _name(p) == "timescale_update" else p for p in payloads]

    def _replaced(self, payload: str) -> str:
        message = json.loads(payload)
        for series in message["p"][1].values():
            true = [item["v"] for item in series["s"]]
            rows = list(self.rows(true) if callable(self.rows) else self.rows)
            series["s"] = [{"i": index, "v": row} for index, row in enumerate(rows)]
            message["p"][2]["changes"] = [row[0] for row in rows if isinstance(row, list | tuple)]
        return to_json(message)


@dataclass(frozen=True)
class EmptyHistory(ReplaceBars):
    """An empty history is sent; the result is an error, never an empty result."""


def _name(payload: str) -> str:
    found = re.match(r'\{"m":"(\w+)"', payload)
    return found[1] if found else ""
