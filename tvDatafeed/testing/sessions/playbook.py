"""Play a recorded session: the client that asks the same gets the same answers.

A client's session plays the recorded session whose first commands are equal; ids may differ, and
neither times nor the order of sessions count. What the server said in a session follows as soon as
the commands before it have come. What it said to a whole connection, such as protocol_error, and
how it closed it, follows when everything before it on that connection has come.
"""

import contextlib
import itertools
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tvDatafeed.protocol.framing import encode
from tvDatafeed.testing.wire.http11 import Reply, Request
from tvDatafeed.testing.wire.payloads import plain, to_json
from tvDatafeed.testing.wire.recorded import (
    RecordedCommand,
    RecordedConnection,
    RecordedEnd,
    RecordedExchange,
    RecordedItem,
    RecordedMessage,
    RecordedSession,
    session_of,
)

# Where a command has ids that its client chose, besides its session.
_IDS = {
    "create_series": (1, 2, 3),
    "create_study": (1, 2, 3),
    "modify_series": (1, 2, 3),
    "remove_series": (1,),
    "remove_study": (1,),
    "request_more_data": (1,),
    "request_more_tickmarks": (1,),
    "resolve_symbol": (1,),
}
# Commands whose parameters have no order.
_SETS = frozenset({"quote_add_symbols", "quote_fast_symbols", "quote_set_fields"})
# A client may end a session at any time.
_DELETES = frozenset({"chart_delete_session", "quote_delete_session"})
_NOT_RECORDED = "not in the recording"
# Unless a speed is given, longer pauses are cut: a client that follows a series is ready for a new
# bar after this, as it was when the series was recorded.
_LONGEST_PAUSE_S = 0.1


def _meaning(method: str, params: list[Any]) -> tuple[str, ...]:
    """Return what a command asks for, without the ids that its client chose."""
    ids = _IDS.get(method, ())
    others = [param for place, param in enumerate(params) if place and place not in ids]
    texts = [_text_of(param) for param in others]
    return (method, *(sorted(texts) if method in _SETS else texts))


def _text_of(param: Any) -> str:
    if isinstance(param, str) and param.startswith("={"):
        with contextlib.suppress(ValueError, RecursionError):
            param = json.loads(param[1:])
    return json.dumps(param, sort_keys=True)


@dataclass(eq=False)
class _Script:
    """One recorded session: its items, and their places on its connection."""

    connection: RecordedConnection
    items: list[tuple[int, RecordedItem]]
    times_played: int = 0
    commands: list[RecordedCommand] = field(init=False)
    meanings: list[tuple[str, ...]] = field(init=False)

    def __post_init__(self) -> None:
        self.commands = [item for _, item in self.items if isinstance(item, RecordedCommand)]
        self.meanings = [_meaning(item.method, item.params) for item in self.commands]


@dataclass
class _Live:
    """One session of the client that plays."""

    name: str
    commands: list[tuple[str, list[Any]]] = field(default_factory=list)
    script: _Script | None = None
    position: int = 0
    ids: dict[str, str] = field(default_factory=dict)
    is_lost: bool = False

    @property
    def meanings(self) -> list[tuple[str, ...]]:
        return [_meaning(*command) for command in self.commands]


@dataclass(frozen=True)
class Due:
    """What a server sends at a moment: packets, or the end of the connection.

    Parameters
    ----------
    at_s
        When, on the monotonic clock.
    text
        The packets; empty for an end.
    payloads
        The packets without headers.
    end
        How the connection ends.
    """

    at_s: float
    text: str = ""
    payloads: tuple[str, ...] = ()
    end: RecordedEnd | None = None


class Playbook:
    """A recording that is being played; any thread may call it.

    Parameters
    ----------
    recorded
        The recording.
    speed
        How many recorded seconds pass in a second; infinity: no pause; None: short pauses stay.
    report
        Called with a sentence about what a client did that was not recorded.
    """

    def __init__(
        self, recorded: RecordedSession, speed: float | None, report: Callable[[str], None]
    ) -> None:
        self.report = report
        self.speed = speed
        self.connections: list[RecordedConnection] = recorded.connections
        self._exchanges = recorded.exchanges
        self._times_answered: dict[int, int] = {}
        self._lock = threading.Lock()
        self._handshakes = itertools.count()
        self._scripts = [_Script(c, items) for c in self.connections for items in _sessions_of(c)]

    def __repr__(self) -> str:
        return (
            f"<Playbook {len(self.connections)} connections, {len(self._scripts)} sessions, "
            f"{len(self._exchanges)} HTTP requests>"
        )

    def next_connection(self) -> RecordedConnection:
        """Return what was recorded of the connection that opens now.

        After the last one the recording begins again, so that it can be played many times.
        """
        if not self.connections:
            return RecordedConnection(0)
        return self.connections[next(self._handshakes) % len(self.connections)]

    def scripts_for(
        self, connection: RecordedConnection, commands: list[tuple[str, ...]]
    ) -> list[_Script]:
        """Return the recorded sessions that begin with some commands, the best one first."""
        with self._lock:
            fitting = [
                script for script in self._scripts if script.meanings[: len(commands)] == commands
            ]
            return sorted(fitting, key=lambda s: (s.times_played, s.connection is not connection))

    def claim(self, script: _Script) -> None:
        """Record that a session is played."""
        with self._lock:
            script.times_played += 1

    def nearest(self, commands: list[tuple[str, ...]]) -> RecordedCommand | None:
        """Return where the most similar recorded session differs; None if it ends."""
        best: tuple[int, RecordedCommand | None] = (-1, None)
        for script in self._scripts:
            pairs = zip(script.meanings, commands, strict=False)
            count = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
            if count > best[0]:
                following = script.commands[count : count + 1]
                best = count, following[0] if following else None
        return best[1]

    def respond(self, request: Request) -> Reply | None:
        """Return the recorded answer to a plain HTTP request; None if there was none."""
        with self._lock:
            fitting = [x for x in self._exchanges if _is_same_request(x, request)]
            fitting.sort(key=lambda x: self._times_answered.get(x.line, 0))
            for exchange in fitting[:1]:
                played = self._times_answered.get(exchange.line, 0)
                self._times_answered[exchange.line] = played + 1
        if not fitting:
            shown = f"{request.method} {request.path}"
            if not any(sign in request.path for sign in ("signin", "sign-in")) and request.query:
                shown += f" with {request.query}"
            known = [
                f"{x.request['method']} {_path_of(x)} (line {x.line})" for x in self._exchanges
            ]
            self.report(f"{shown} is {_NOT_RECORDED}, which has {', '.join(known) or 'no HTTP'}")
            return Reply(404, f"{_NOT_RECORDED}: {request.method} {request.path}".encode())
        return _reply(fitting[0])


def _sessions_of(connection: RecordedConnection) -> Iterator[list[tuple[int, RecordedItem]]]:
    for session in connection.sessions:
        items: list[tuple[int, RecordedItem]] = [
            (number, item)
            for number, item in enumerate(connection.items)
            if item.session == session
        ]
        # What was said to a session from before the recording has no command.
        if any(isinstance(item, RecordedCommand) for _, item in items):
            yield items


def _path_of(exchange: RecordedExchange) -> str:
    path = urlsplit(str(exchange.request["url"])).path
    return f"{path.rstrip('/')}/"


def _is_same_request(exchange: RecordedExchange, request: Request) -> bool:
    method, path = exchange.request["method"], request.path.rstrip("/") + "/"
    if (method, _path_of(exchange)) != (request.method, path):
        return False
    # A form holds a password or a code, which the recording does not have: any will do.
    recorded = parse_qs(urlsplit(exchange.request["url"]).query, keep_blank_values=True)
    return {name: values[0] for name, values in recorded.items()} == request.query


def _reply(exchange: RecordedExchange) -> Reply | None:
    answer = exchange.answer
    if answer is None:
        return None
    headers = [
        # Another host would lead the client away from here.
        (name.title(), urlsplit(value)._replace(scheme="", netloc="").geturl())
        if name == "location"
        else (name.title(), value)
        for name, value in answer.get("headers", {}).items()
    ]
    cookies = answer.get("cookies", {}).items()
    headers += [("Set-Cookie", f"{name}={value}; Path=/") for name, value in cookies]
    return Reply(answer["status"], answer.get("body", "").encode(), tuple(headers))


def refusal_of(connection: RecordedConnection) -> bytes | None:
    """Return the answer to a handshake that was refused; None for one that was accepted."""
    refusal = connection.refusal
    if refusal is None:
        return None
    headers = tuple((name.title(), text) for name, text in refusal.get("headers", {}).items())
    return Reply(refusal["status"], refusal.get("body", "").encode(), headers).encode()


class Play:
    """The script of one connection: commands in, due messages out; used by one thread.

    It has the methods of a `Conversation` that a connection calls.

    Parameters
    ----------
    book
        The recording.
    connection
        What was recorded of this connection.
    hello
        The hello if none was recorded.
    authority
        Host and port of this server, where a recorded redirect leads to.
    """

    def __init__(
        self, book: Playbook, connection: RecordedConnection, hello: str, authority: str
    ) -> None:
        self.is_over: bool = False
        self.account: object = None
        self._book = book
        self._connection = connection
        self._hello = connection.hello or hello
        if '"redirect"' in self._hello:
            self._hello = to_json({"redirect": authority})
        self._sessions: dict[str, _Live] = {}
        # When the items of the recorded connection were played, on the monotonic clock.
        self._played: dict[int, float] = {}
        self._due: list[Due] = []

    @property
    def chart_sessions(self) -> list[str]:
        """The chart sessions that are open."""
        return [name for name in self._sessions if not name.startswith("qs_")]

    @property
    def quote_sessions(self) -> list[str]:
        """The quote sessions that are open."""
        return [name for name in self._sessions if name.startswith("qs_")]

    def hello(self) -> str:
        """Return the first payload of the connection."""
        return self._hello

    def take_due(self) -> list[Due]:
        """Return the messages to send, each with its moment."""
        due, self._due = self._due, []
        return due

    def handle(self, method: str, params: list[Any]) -> list[str]:
        """Process a command; what follows it is due."""
        now = time.monotonic()
        session = session_of(method, params)
        if session is None:
            self._play_command_of_connection(method, now)
        elif method in _DELETES:
            live = self._sessions.pop(session, None)
            if live is not None and live.script is None:
                self._claim(live, now, is_sure=False)
        else:
            live = self._sessions.setdefault(session, _Live(session))
            live.commands.append((method, params))
            if live.script is None:
                self._claim(live, now, is_sure=False)
            else:
                self._continue(live, now)
        self._play_connection(now)
        return []

    def settle(self) -> list[tuple[str, str]]:
        """Claim the open commands after a pause: no other command belongs to them."""
        now = time.monotonic()
        for live in list(self._sessions.values()):
            if live.script is None and not live.is_lost:
                self._claim(live, now, is_sure=True)
        self._play_connection(now)
        return []

    def updates(self, _at: float) -> list[tuple[str, str]]:
        """Return nothing: what changes was recorded."""
        return []

    def corrections(self, _bar: object, _at: float) -> list[tuple[str, str]]:
        """Return nothing, as `updates`."""
        return []

    def recheck(self) -> list[str]:
        """Return nothing: the recording decides which tokens are good."""
        return []

    def symbol_of(self, _method: str, _params: list[Any]) -> str | None:
        """Return None: a recorded message has no symbol of its own."""
        return None

    def exceed_connections(self) -> list[str]:
        """Return the error of a connection that is closed because its account has a newer one."""
        return self.close_with("user connections limit reached")

    def abort_session(self, session: str) -> None:
        """Abort a session for a fault."""
        self._sessions.pop(session, None)

    def close_with(self, reason: str) -> list[str]:
        """Return a protocol_error and mark the connection as finished."""
        self.is_over = True
        return [plain("protocol_error", reason)]

    def _play_command_of_connection(self, method: str, now: float) -> None:
        for number, item in enumerate(self._connection.items):
            if number in self._played or not isinstance(item, RecordedCommand):
                continue
            if item.session is None and item.method == method:
                self._played[number] = now
                return

    def _claim(self, live: _Live, now: float, *, is_sure: bool) -> None:
        """Choose the recorded session that a session plays, once that is clear."""
        count = len(live.commands)
        fitting = self._book.scripts_for(self._connection, live.meanings)
        if not fitting:
            self._differ(live)
            return
        # Another command may follow, and show which one it is.
        ready = [s for s in fitting if not _is_command_after(s, count)]
        if is_sure and not ready:
            line, method = fitting[0].commands[count].line, fitting[0].commands[count].method
            last = " ".join(live.meanings[-1])
            self._book.report(f"{live.name} stops after {last}, where line {line} has {method}")
        if not ready or (not is_sure and ready[0] is not fitting[0]):
            return
        script = ready[0]
        self._book.claim(script)
        live.script = script
        for command in live.commands:
            self._advance(live, command, now)
        self._follow(live, now)

    def _continue(self, live: _Live, now: float) -> None:
        """Play on after one more command of a session."""
        if live.is_lost:
            return
        assert live.script is not None  # noqa: S101 - as the caller found
        rest = live.script.items[live.position :]
        expected = next((x for _, x in rest if isinstance(x, RecordedCommand)), None)
        method, params = live.commands[-1]
        if expected is None or _meaning(expected.method, expected.params) != live.meanings[-1]:
            self._differ(live, expected)
            return
        self._advance(live, (method, params), now)
        self._follow(live, now)

    def _advance(self, live: _Live, command: tuple[str, list[Any]], now: float) -> None:
        """Advance to the recorded command that is equal to one of the client, and learn its ids."""
        assert live.script is not None  # noqa: S101 - as the caller found
        items = live.script.items
        while not isinstance(items[live.position][1], RecordedCommand):
            self._send(live, now)
        number, recorded = items[live.position]
        assert isinstance(recorded, RecordedCommand)  # noqa: S101 - as the loop found
        live.position += 1
        if live.script.connection is self._connection:
            self._played[number] = now
        method, params = command
        for place in (0, *_IDS.get(method, ())):
            if place < min(len(params), len(recorded.params)):
                ours, theirs = params[place], recorded.params[place]
                if isinstance(ours, str) and isinstance(theirs, str) and ours != theirs:
                    live.ids[theirs] = ours

    def _follow(self, live: _Live, now: float) -> None:
        """Send what the server said after the last command."""
        assert live.script is not None  # noqa: S101 - as the caller found
        items = live.script.items
        previous_s = items[live.position - 1][1].at_s
        at_s = now
        while live.position < len(items):
            item = items[live.position][1]
            if isinstance(item, RecordedCommand):
                if item.method not in _DELETES:
                    break
                live.position += 1
                continue
            at_s += self._pause_s(item.at_s - previous_s)
            previous_s = item.at_s
            self._send(live, at_s)

    def _send(self, live: _Live, at_s: float) -> None:
        assert live.script is not None  # noqa: S101 - as the caller found
        number, item = live.script.items[live.position]
        live.position += 1
        if live.script.connection is self._connection:
            self._played[number] = at_s
        if isinstance(item, RecordedMessage):
            self._due.append(_with_ids(item, live.ids, at_s))

    def _play_connection(self, now: float) -> None:
        """Send what was said to the whole connection, if everything before it was played."""
        latest_s, previous_s = now, 0.0
        for number, item in enumerate(self._connection.items):
            if number not in self._played:
                is_delete = isinstance(item, RecordedCommand) and item.method in _DELETES
                if is_delete:
                    previous_s = item.at_s
                    continue
                if isinstance(item, RecordedCommand) or item.session is not None:
                    return
                at_s = latest_s + self._pause_s(item.at_s - previous_s)
                self._played[number] = at_s
                if isinstance(item, RecordedEnd):
                    self._due.append(Due(at_s, end=item))
                else:
                    self._due.append(Due(at_s, item.text, item.payloads))
            latest_s = max(latest_s, self._played[number])
            previous_s = item.at_s

    def _pause_s(self, recorded_s: float) -> float:
        recorded_s = max(recorded_s, 0.0)
        speed = self._book.speed
        return min(recorded_s, _LONGEST_PAUSE_S) if speed is None else recorded_s / speed

    def _differ(self, live: _Live, expected: RecordedCommand | None = None) -> None:
        """Refuse a session that was not recorded, and report where it differs."""
        live.is_lost = True
        if expected is None and live.script is None:
            expected = self._book.nearest(live.meanings)
        asked = " ".join(live.meanings[-1])
        where = (
            "where no recorded session has another command"
            if expected is None
            else f"where line {expected.line} has "
            f"{' '.join(_meaning(expected.method, expected.params))}"
        )
        difference = f"{live.name} asks for {asked}, {where}"
        self._book.report(difference)
        payload = plain("critical_error", live.name, _NOT_RECORDED, difference)
        self._due.append(Due(time.monotonic(), encode(payload), (payload,)))


def _is_command_after(script: _Script, count: int) -> bool:
    """Whether a command of the client follows its first ones before the server says anything."""
    seen = 0
    for _, item in script.items:
        if seen == count:
            return isinstance(item, RecordedCommand) and item.method not in _DELETES
        seen += isinstance(item, RecordedCommand)
    return False


def _with_ids(message: RecordedMessage, ids: dict[str, str], at_s: float) -> Due:
    """Return a message with the ids of the client in place of the recorded ones."""
    if not ids:
        return Due(at_s, message.text, message.payloads)
    quoted = re.compile("|".join(f'"{re.escape(name)}"' for name in ids))

    def replaced(text: str) -> str:
        return quoted.sub(lambda found: f'"{ids[found[0][1:-1]]}"', text)

    payloads = tuple(map(replaced, message.payloads))
    text = "".join(map(encode, payloads)) if payloads else replaced(message.text)
    return Due(at_s, text, payloads)
