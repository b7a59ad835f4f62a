"""Read a recording of a whole session; `tvDatafeed.network.recording` has its format."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tvDatafeed.protocol.framing import PacketDecoder, encode
from tvDatafeed.testing.wire.commands import parsed

_FORMAT = "tvdatafeed recording 1"
_HOW = "make one with: tvdatafeed record FILE -- hist NASDAQ:AAPL"
# Commands whose first parameter is not a session.
_OF_CONNECTION = frozenset({"", "set_auth_token", "set_data_quality", "set_locale"})
_SWITCHING = 101


@dataclass(frozen=True)
class RecordedCommand:
    """One command of the client.

    Parameters
    ----------
    line
        Its line in the file.
    at_s
        When it was sent, seconds since the recording began.
    session
        The session it belongs to; None for one of the connection.
    method, params
        The message.
    """

    line: int
    at_s: float
    session: str | None
    method: str
    params: list[Any]


@dataclass(frozen=True)
class RecordedMessage:
    """Packets of the server that came together and belong to one session.

    Parameters
    ----------
    line, at_s, session
        As for `RecordedCommand`.
    payloads
        The packets; empty if the text breaks the framing.
    text
        The text as it came.
    """

    line: int
    at_s: float
    session: str | None
    payloads: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class RecordedEnd:
    """The end of a connection by the server.

    Parameters
    ----------
    line, at_s
        As for `RecordedCommand`.
    code
        The code of the close frame; None for a close frame without one.
    reason
        The reason in the close frame.
    has_frame
        Whether there was a close frame.
    """

    line: int
    at_s: float
    code: int | None
    reason: str
    has_frame: bool
    session: None = None


RecordedItem = RecordedCommand | RecordedMessage | RecordedEnd


@dataclass
class RecordedConnection:
    """What was recorded of one WebSocket connection.

    Attributes
    ----------
    number : int
        Its number in the file.
    refusal : dict or None
        Status, headers and body, if the handshake was refused.
    lost : str
        Why there was no answer to the handshake; empty if there was one.
    hello : str
        The first payload of the server; empty if there was none.
    items : list
        Everything else but heartbeats, in order.
    """

    number: int
    refusal: dict[str, Any] | None = None
    lost: str = ""
    hello: str = ""
    items: list[RecordedItem] = field(default_factory=list)

    @property
    def sessions(self) -> list[str]:
        """The sessions, in the order of their first command or message."""
        return list(dict.fromkeys(x.session for x in self.items if x.session is not None))


@dataclass
class RecordedExchange:
    """An HTTP request and its answer; no answer if it was lost."""

    line: int
    request: dict[str, Any]
    answer: dict[str, Any] | None = None
    lost: str = ""


@dataclass
class RecordedSession:
    """All that a recording holds."""

    connections: list[RecordedConnection]
    exchanges: list[RecordedExchange]


def load_recording(path: str) -> RecordedSession:
    """Read a recording.

    Parameters
    ----------
    path
        A file of `tvDatafeed.network.recording`, or a JSON list of messages of one connection, each
        with ``t`` (seconds), ``from`` ("client" or "server") and ``data``.

    Raises
    ------
    ValueError
        If the file is empty, cut, or something else.
    OSError
        If it cannot be read.
    """
    name = Path(path).name
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{name} is not a recording: it is not text; {_HOW}") from None
    if not text.strip():
        raise ValueError(f"{name} is empty: nothing was recorded; {_HOW}")
    if text.lstrip().startswith("["):
        entries = list(_entries_of_list(text, name))
    else:
        entries = list(_entries_of_lines(text, name))
    recorded = _read(entries, name)
    if not recorded.connections and not recorded.exchanges:
        raise ValueError(
            f"{name} holds no message: the recorded program asked TradingView for nothing"
        )
    return recorded


def _entries_of_list(text: str, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        messages = json.loads(text)
    except ValueError:
        messages = []
    for number, message in enumerate(messages, 1):
        if not isinstance(message, dict) or not {"from", "data"} <= message.keys():
            break
        yield number, {"connection": 1, **message}
    else:
        if messages:
            return
    raise ValueError(
        f"{name} is not a recording of a client and a server: a JSON list must hold objects with "
        f"t, from and data; {_HOW}"
    )


def _entries_of_lines(text: str, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            entry = None
        if number == 1 and not (isinstance(entry, dict) and entry.get("format") == _FORMAT):
            found = entry.get("format") if isinstance(entry, dict) else None
            what = f"its format is {found!r}" if found else f"it does not begin with {_FORMAT!r}"
            raise ValueError(f"{name} is not a recording: {what}; {_HOW}")
        if not isinstance(entry, dict):
            is_last = not any(lines[number:])
            what = "is cut: the recorded program did not end, or the file was not copied whole"
            advice = "delete this line to replay those before it"
            raise ValueError(  # noqa: TRY004 - the file is wrong, not a caller
                f"{name}, line {number} {what if is_last else 'is not a JSON object'}; {advice}"
            )
        yield number, entry


def _read(entries: Iterable[tuple[int, dict[str, Any]]], name: str) -> RecordedSession:
    connections: dict[int, RecordedConnection] = {}
    exchanges: dict[int, RecordedExchange] = {}
    for line, entry in entries:
        try:
            if "connection" in entry:
                number = int(entry["connection"])
                one = connections.setdefault(number, RecordedConnection(number))
                _add_to_connection(one, line, entry)
            elif "request" in entry:
                request = {"body": "", "method": "GET", **entry["request"]}
                exchanges[entry["exchange"]] = RecordedExchange(line, request)
            elif "exchange" in entry:
                exchange = exchanges[entry["exchange"]]
                exchange.answer = entry.get("answer")
                exchange.lost = str(entry.get("lost", ""))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(
                f"{name}, line {line} is not a line of a recording: {error!r}; {_HOW}"
            ) from None
    return RecordedSession(list(connections.values()), list(exchanges.values()))


def _add_to_connection(one: RecordedConnection, line: int, entry: dict[str, Any]) -> None:
    at_s, is_server = float(entry.get("t", 0.0)), entry["from"] == "server"
    if "status" in entry and entry["status"] != _SWITCHING:
        one.refusal = entry
    elif "data" in entry and is_server:
        one.items += _messages(one, line, at_s, str(entry["data"]))
    elif "data" in entry:
        one.items += _commands(line, at_s, str(entry["data"]))
    elif "close" in entry and is_server:
        one.items.append(RecordedEnd(line, at_s, entry["close"], entry.get("reason", ""), True))
    elif "lost" in entry and not is_server and _has_ended(one):
        one.items.pop()  # the answer to a close frame of the client
    elif "lost" in entry and is_server and not _has_ended(one):
        if one.hello or one.items:
            one.items.append(RecordedEnd(line, at_s, None, "", has_frame=False))
        elif one.refusal is None:
            one.lost = entry["lost"]


def _has_ended(one: RecordedConnection) -> bool:
    return bool(one.items) and isinstance(one.items[-1], RecordedEnd)


def _commands(line: int, at_s: float, text: str) -> Iterator[RecordedCommand]:
    for payload in PacketDecoder().feed(text):
        message = parsed(payload) if isinstance(payload, str) else None
        if message is not None:
            method, params = message
            yield RecordedCommand(line, at_s, session_of(method, params), method, params)


def session_of(method: str, params: list[Any]) -> str | None:
    """Return the session that a command belongs to; None for one of the connection."""
    if method in _OF_CONNECTION or not params or not isinstance(params[0], str):
        return None
    return params[0]


def _messages(
    one: RecordedConnection, line: int, at_s: float, text: str
) -> Iterator[RecordedMessage]:
    payloads = [item for item in PacketDecoder().feed(text) if isinstance(item, str)]
    if text != "".join(map(encode, payloads)):
        named = next((name for name in one.sessions if f'"{name}"' in text), None)
        yield RecordedMessage(line, at_s, named, (), text)
        return
    together: list[str] = []
    session: str | None = None
    for payload in payloads:
        if payload.startswith("~h~"):
            continue
        if not one.hello and _is_hello(payload):
            one.hello = payload
            continue
        its_session = _session_in(payload)
        if together and its_session != session:
            yield _message(line, at_s, session, together)
            together = []
        session = its_session
        together.append(payload)
    if together:
        yield _message(line, at_s, session, together)


def _message(line: int, at_s: float, session: str | None, payloads: list[str]) -> RecordedMessage:
    return RecordedMessage(line, at_s, session, tuple(payloads), "".join(map(encode, payloads)))


def _is_hello(payload: str) -> bool:
    message = _object(payload)
    return "m" not in message and bool({"session_id", "redirect"} & message.keys())


def _session_in(payload: str) -> str | None:
    message = _object(payload)
    params = message.get("p")
    if message.get("m") == "protocol_error" or not isinstance(params, list) or not params:
        return None
    return params[0] if isinstance(params[0], str) else None


def _object(payload: str) -> dict[str, Any]:
    try:
        message = json.loads(payload)
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}
