"""A TradingView on the loopback interface: one port for the WebSocket and for HTTP.

Every connection has a thread of its own, which alone touches the socket. Other threads reach it
through its outbox, so that no lock is ever held while something is sent.
"""

import heapq
import itertools
import json
import math
import selectors
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from tvDatafeed.config import NetworkConfig, TvDatafeedConfig
from tvDatafeed.protocol.framing import PacketDecoder, encode
from tvDatafeed.testing.conversation import Backend, Conversation, Refusal
from tvDatafeed.testing.faults import (
    Action,
    Beat,
    Command,
    EndSession,
    Fault,
    FaultBox,
    Finish,
    Forever,
    Freeze,
    Idle,
    Later,
    Message,
    Mute,
    Reset,
    Slowly,
    StopReading,
)
from tvDatafeed.testing.http import ORIGINS, SEARCH_PATH, respond
from tvDatafeed.testing.market import Market
from tvDatafeed.testing.recordings import Recording
from tvDatafeed.testing.websocket import (
    BINARY,
    CLOSE,
    MAX_HEAD_BYTES,
    PING,
    PONG,
    TEXT,
    FrameError,
    FrameReader,
    HaltedError,
    Request,
    Wire,
    close_frame,
    frame,
    http_reply,
    parse_request,
    text_frame,
    upgrade_reply,
)

_WEBSOCKET_PATH = "/socket.io/websocket"
# How long resolve_symbol waits for the create_series that usually follows it: the real server
# needs longer than that to find a symbol, and then answers both in one message.
_RESOLVE_PAUSE_S = 0.02
_HANDSHAKE_TIMEOUT_S = 10.0
_STOP_TIMEOUT_S = 5.0
# A flood of heartbeats leaves room for everything else.
_MAX_BEATS_IN_A_ROW = 500
_BLOCK_BYTES = 4096
_SCARCITY_PAUSE_S = 0.01

How = Literal["fin", "rst"] | int


@dataclass(frozen=True)
class Received:
    """A client message.

    Parameters
    ----------
    connection
        Which connection it came on; the first WebSocket is 1.
    method, params
        The message.
    """

    connection: int
    method: str
    params: list[Any]


class FakeTradingView:
    """A server that speaks TradingView's protocol about a made-up market.

    Parameters
    ----------
    host, port
        Where to listen; port 0 takes a free one, and keeps it over a restart.
    market
        What is traded; `Market()` if left out.
    clock
        Epoch seconds; what the market's time is.
    heartbeat_interval_s
        Seconds between heartbeats of a connection.
    faults
        Active from the start; see `inject`.
    tls
        A server-side context, with which the URLs become wss and https.
    bad_tokens
        Tokens that get ``protocol_error ["bad auth token"]``. Besides them every token does that
        is neither TradingView's word for anonymous nor an unexpired JWT. May be changed later as
        ``server.bad_tokens``.
    max_bars_per_reply
        The plan's limit: a series gets no more bars than this, however it asks.
    tick_interval_s
        Seconds between updates of open series; None leaves them to `tick`.
    echo_timeout_s
        A connection whose client leaves a heartbeat without its echo for this long is dropped;
        None to be patient.

    Examples
    --------
    >>> from tvDatafeed.testing import FakeTradingView
    >>> with FakeTradingView() as server:
    ...     server.config().network.ws_url == server.ws_url
    True
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        market: Market | None = None,
        clock: Callable[[], float] = time.time,
        heartbeat_interval_s: float = 5.0,
        faults: Iterable[Fault] = (),
        tls: ssl.SSLContext | None = None,
        bad_tokens: Iterable[str] = (),
        max_bars_per_reply: int = 40_000,
        tick_interval_s: float | None = None,
        echo_timeout_s: float | None = 20.0,
    ) -> None:
        self.market = market or Market()
        self.bad_tokens = set(bad_tokens)
        self._heartbeat_interval_s = heartbeat_interval_s
        self._tick_interval_s = tick_interval_s or math.inf
        self._echo_timeout_s = echo_timeout_s or math.inf
        self._backend = Backend(self.market, clock, self.bad_tokens, max_bars_per_reply)
        self._faults = FaultBox(faults)
        self._host = host
        self._port = port
        self._tls = tls
        self._journal = _Journal()
        self._listener: socket.socket | None = None
        self._acceptor: threading.Thread | None = None
        self._lifecycle = threading.Lock()

    def __enter__(self) -> "FakeTradingView":  # noqa: PYI034 - Self needs Python 3.11
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        state = "listening" if self._listener else "stopped"
        return f"<FakeTradingView {self._host}:{self._port} {state}, {self._journal.summary()}>"

    def start(self) -> None:
        """Begin to listen; a running server stays as it is.

        Raises
        ------
        OSError
            If the port is taken.
        """
        with self._lifecycle:
            if self._listener is not None:
                return
            listener = socket.socket(socket.AF_INET6 if ":" in self._host else socket.AF_INET)
            try:
                # Elsewhere than on Windows this only lets a restarted server have its port back.
                if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):
                    listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
                else:
                    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind((self._host, self._port))
                listener.listen(256)
            except OSError:
                listener.close()
                raise
            self._port = listener.getsockname()[1]
            self._listener = listener
            stopped, self._stopper = socket.socketpair()
            self._acceptor = threading.Thread(
                target=self._accept, args=(listener, stopped), name="FakeTradingView", daemon=True
            )
            self._acceptor.start()

    def stop(self) -> None:
        """End all connections without a word, as a killed server does, and stop listening.

        A stopped server does nothing here. It may be started again on the same port.
        """
        with self._lifecycle:
            listener, self._listener = self._listener, None
            acceptor, self._acceptor = self._acceptor, None
            if listener is None or acceptor is None:
                return
            # Closing a socket does not wake its accept everywhere; a byte on this one does.
            self._stopper.send(b"\0")
            deadline = time.monotonic() + _STOP_TIMEOUT_S
            acceptor.join(_STOP_TIMEOUT_S)
            self._stopper.close()
            clients = self._journal.clients()
            for client in clients:
                client.end(None)
            for client in clients:
                client.join(max(0.0, deadline - time.monotonic()))

    @property
    def port(self) -> int:
        """The port; 0 until the first start unless one was given."""
        return self._port

    @property
    def ws_url(self) -> str:
        """What a client opens as its WebSocket."""
        return f"{'wss' if self._tls else 'ws'}://{self._authority}{_WEBSOCKET_PATH}"

    @property
    def base_url(self) -> str:
        """What stands for ``https://www.tradingview.com``."""
        return f"{'https' if self._tls else 'http'}://{self._authority}"

    @property
    def search_url(self) -> str:
        """What stands for the symbol search."""
        return f"{self.base_url}{SEARCH_PATH}"

    @property
    def _authority(self) -> str:
        return f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}"

    def config(self, **overrides: Any) -> TvDatafeedConfig:
        """Return a configuration that points at this server.

        Parameters
        ----------
        **overrides
            Fields of `NetworkConfig`, such as ``recv_timeout=0.5``.
        """
        urls = {
            "ws_url": self.ws_url,
            "base_url": self.base_url,
            "search_url": self.search_url,
        }
        return TvDatafeedConfig(network=NetworkConfig(**{**urls, **overrides}))

    def inject(self, *faults: Fault) -> None:
        """Let faults strike from now on, each as often as its ``times`` says."""
        self._faults.inject(*faults)

    def clear_faults(self) -> None:
        """Let no fault strike any more; what one has begun, such as a frozen socket, stays."""
        self._faults.clear()

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The faults that have strikes left."""
        return self._faults.active

    def refuse(self, symbol: str, refusal: Refusal | None) -> None:
        """Refuse a symbol from now on; None serves it again.

        Examples
        --------
        >>> server = FakeTradingView()
        >>> server.refuse("NYSE:IBM", Refusal("symbol_error", "permission denied"))
        >>> server.refuse("NYSE:BRK.B", Refusal("series_error", "resolution_not_entitled"))
        """
        if refusal is None:
            self._backend.refusals.pop(symbol, None)
        else:
            self._backend.refusals[symbol] = refusal

    def replay(self, symbol: str, payloads: Iterable[str]) -> None:
        """Answer series of this symbol by a recorded chart session, under the client's own ids.

        Parameters
        ----------
        symbol
            ``"EXCHANGE:NAME"``; it need not be in the market.
        payloads
            JSON texts as captured; see `load_packets`. A hello among them is not sent again.
        """
        self._backend.recordings[symbol] = Recording(payloads)

    def delay(self, symbol: str, delay_s: int) -> None:
        """Show a symbol late, as ``delayed_streaming_900`` does with 900 seconds; 0 is live."""
        self._backend.delays_s[symbol] = delay_s

    def push(self, payload: str) -> None:
        """Send a payload to all WebSocket connections, as a message of its own."""
        self._post(Message("push", encode(payload), (payload,)))

    def send_raw(self, text: str) -> None:
        """Send a text message to all WebSocket connections as it is."""
        self._post(Message("push", text, (text,)))

    def tick(self) -> None:
        """Send each open series what has changed since it was last told, by the server's clock."""
        self._post(None)

    def drop_connections(self, how: How = "fin") -> None:
        """End all connections and go on listening.

        Parameters
        ----------
        how
            ``"fin"``, ``"rst"``, or a close code that is sent in a close frame first.
        """
        clients = self._journal.clients()
        for client in clients:
            client.end(how)
        self.wait_until(lambda _: all(client.has_closed for client in clients), _STOP_TIMEOUT_S)

    @property
    def accepted(self) -> int:
        """How many TCP connections were ever accepted, HTTP included."""
        return self._journal.accepted

    @property
    def connections_opened(self) -> int:
        """How many WebSocket connections were ever opened."""
        return self._journal.connections_opened

    @property
    def open_connections(self) -> int:
        """How many WebSocket connections are open."""
        return self._journal.open_connections

    @property
    def open_sessions(self) -> set[str]:
        """The chart sessions that are open."""
        return self._journal.open_sessions

    @property
    def peak_sessions(self) -> int:
        """The most chart sessions that were ever open at once."""
        return self._journal.peak_sessions

    @property
    def echoes(self) -> int:
        """How many heartbeats were echoed."""
        return self._journal.echoes

    @property
    def received(self) -> list[Received]:
        """All client messages but echoes, in order."""
        return self._journal.copy("received")

    @property
    def handshakes(self) -> list[Request]:
        """All requests for a WebSocket, refused ones included."""
        return self._journal.copy("handshakes")

    @property
    def http_requests(self) -> list[Request]:
        """All other HTTP requests."""
        return self._journal.copy("http_requests")

    def wait_until(
        self, predicate: Callable[["FakeTradingView"], bool], timeout_s: float = 5.0
    ) -> bool:
        """Wait until something is true of this server, without polling.

        Parameters
        ----------
        predicate
            A question about the properties above; asked again after each change of one.
        timeout_s
            How long to wait.

        Returns
        -------
        bool
            What the predicate said last.
        """
        with self._journal.changed:
            return self._journal.changed.wait_for(lambda: predicate(self), timeout_s)

    def _accept(self, listener: socket.socket, stopped: socket.socket) -> None:
        listener.setblocking(False)
        with listener, stopped, selectors.DefaultSelector() as selector:
            selector.register(listener, selectors.EVENT_READ)
            stop = selector.register(stopped, selectors.EVENT_READ)
            while all(key is not stop for key, _events in selector.select()):
                try:
                    sock, _address = listener.accept()
                    _Client(self._parts(), sock).start()
                except (BlockingIOError, ConnectionError):
                    continue
                except (OSError, RuntimeError):
                    # Descriptors or threads are used up, and may be free again in a moment.
                    time.sleep(_SCARCITY_PAUSE_S)

    def _parts(self) -> "_Parts":
        return _Parts(
            self._backend,
            self._faults,
            self._journal,
            self._heartbeat_interval_s,
            self._tick_interval_s,
            self._echo_timeout_s,
            self._tls,
        )

    def _post(self, message: Message | None) -> None:
        for client in self._journal.clients():
            client.post(message)


class _Journal:
    """What the server has seen; every change wakes those who wait for one."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.accepted = 0
        self.connections_opened = 0
        self.echoes = 0
        self.peak_sessions = 0
        self._lists: dict[str, list[Any]] = {"received": [], "handshakes": [], "http_requests": []}
        self._clients: list[_Client] = []
        self._sessions: dict[int, list[str]] = {}

    @property
    def open_connections(self) -> int:
        with self.changed:
            return len(self._sessions)

    @property
    def open_sessions(self) -> set[str]:
        with self.changed:
            return {session for sessions in self._sessions.values() for session in sessions}

    def copy(self, name: str) -> list[Any]:
        with self.changed:
            return self._lists[name].copy()

    def clients(self) -> "list[_Client]":
        with self.changed:
            return self._clients.copy()

    def summary(self) -> str:
        with self.changed:
            opened, now = self.connections_opened, len(self._sessions)
            return f"{opened} connections opened, {now} open, {len(self.open_sessions)} sessions"

    def note(self, name: str, entry: Any) -> None:
        with self.changed:
            self._lists[name].append(entry)
            self.changed.notify_all()

    def enter(self, client: "_Client") -> None:
        with self.changed:
            self.accepted += 1
            self._clients.append(client)
            self.changed.notify_all()

    def open(self) -> int:
        with self.changed:
            self.connections_opened += 1
            self._sessions[self.connections_opened] = []
            self.changed.notify_all()
            return self.connections_opened

    def command(self, entry: Received, sessions: list[str]) -> None:
        with self.changed:
            self._lists["received"].append(entry)
            self._sessions[entry.connection] = sessions
            self.peak_sessions = max(self.peak_sessions, sum(map(len, self._sessions.values())))
            self.changed.notify_all()

    def echo(self) -> None:
        with self.changed:
            self.echoes += 1
            self.changed.notify_all()

    def close(self, client: "_Client", connection: int) -> None:
        with self.changed:
            client.has_closed = True
            self._sessions.pop(connection, None)
            self.changed.notify_all()

    def leave(self, client: "_Client") -> None:
        with self.changed:
            self._clients.remove(client)
            self.changed.notify_all()


@dataclass(frozen=True)
class _Parts:
    backend: Backend
    faults: FaultBox
    journal: _Journal
    heartbeat_interval_s: float
    tick_interval_s: float
    echo_timeout_s: float
    tls: ssl.SSLContext | None


class _OverError(Exception):
    """A connection has been served to its end; `how` says how it closes."""

    def __init__(self, how: How) -> None:
        super().__init__(how)
        self.how = how


class _Client:
    """One connection, from its accept to its close."""

    def __init__(self, parts: _Parts, sock: socket.socket) -> None:
        self.has_closed = False
        self._parts = parts
        try:
            self._wire = Wire(sock)
        except OSError:
            sock.close()
            raise
        self._thread = threading.Thread(target=self._run, name="FakeTradingView", daemon=True)
        self._talk = Conversation(parts.backend, 0)
        self._outbox: deque[Message | None] = deque()
        self._number = 0
        self._how: How | None = "fin"
        self._is_reading = True
        self._is_mute = False
        self._late: list[tuple[float, int, Message]] = []
        self._order = itertools.count()
        self._settles_at = math.inf
        self._beats = 0
        self._beat_interval_s = parts.heartbeat_interval_s
        self._next_beat = math.inf
        self._next_tick = math.inf
        self._echo_timeout_s = parts.echo_timeout_s
        self._unanswered: deque[float] = deque()
        self._doers: dict[type, Callable[[Any], None]] = {
            bytes: self._wire.send,
            str: lambda text: self._wire.send(text_frame(text)),
            Slowly: lambda action: self._wire.send_slowly(action.data, action.bytes_per_s),
            Forever: self._send_forever,
            Finish: self._finish,
            Reset: self._reset,
            Freeze: lambda _action: self._wire.freeze(),
            Idle: self._idle,
            StopReading: self._stop_reading,
            Mute: self._mute,
            Beat: self._beat_at,
        }

    def start(self) -> None:
        """Enter the journal and begin; the thread leaves it again."""
        self._parts.journal.enter(self)
        try:
            self._thread.start()
        except RuntimeError:
            self._parts.journal.leave(self)
            self._wire.close()
            raise

    def post(self, message: Message | None) -> None:
        """Have a message sent, or with None what changed in live series; any thread."""
        self._outbox.append(message)
        self._wire.wake()

    def end(self, how: How | None) -> None:
        """Have the connection ended, at once and whatever it does; None closes without a word."""
        self._how = how
        self._wire.halt(abandon=how is None)

    def join(self, timeout_s: float) -> None:
        """Wait for the thread's end."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            self._serve()
        except _OverError as over:
            self._how = over.how
        except HaltedError:
            pass
        except OSError:
            self._how = None
        finally:
            self._close()

    def _close(self) -> None:
        how = self._how
        if isinstance(how, int):
            self._wire.send_last(close_frame(how))
        if how == "rst":
            self._wire.reset()
        if how in {"rst", None}:
            self._wire.close()
            self._parts.journal.close(self, self._number)
        else:
            self._wire.finish()
            self._parts.journal.close(self, self._number)
            self._wire.drain()
            self._wire.close()
        self._parts.journal.leave(self)

    def _serve(self) -> None:
        self._perform(self._parts.faults.connection(lambda fault: fault.on_accept()) or [])
        if self._parts.tls:
            self._wire.start_tls(self._parts.tls, _HANDSHAKE_TIMEOUT_S)
        head, early = self._read_head()
        try:
            request = parse_request(head)
        except ValueError:
            self._perform([http_reply(400, b"Bad Request"), Finish()])
            raise
        if request.is_upgrade:
            self._parts.journal.note("handshakes", request)
            self._upgrade(request)
            self._converse(early)
        else:
            self._parts.journal.note("http_requests", request)
            self._perform([respond(request, self._parts.backend.market), Finish()])

    def _read_head(self) -> tuple[bytes, bytes]:
        deadline = time.monotonic() + _HANDSHAKE_TIMEOUT_S
        read = b""
        while b"\r\n\r\n" not in read:
            left_s = deadline - time.monotonic()
            if left_s < 0 or len(read) > MAX_HEAD_BYTES:
                raise _OverError("fin")
            self._wire.wait(left_s)
            read += self._read()
        head, _separator, early = read.partition(b"\r\n\r\n")
        return head, early

    def _upgrade(self, request: Request) -> None:
        reply = upgrade_reply(request)
        actions = self._parts.faults.connection(lambda fault: fault.on_upgrade(reply))
        if actions is None and request.path.rstrip("/") != _WEBSOCKET_PATH:
            actions = [http_reply(404, b"Not Found"), Finish()]
        if actions is None and request.headers.get("origin") not in ORIGINS:
            actions = [http_reply(403, b"Forbidden"), Finish()]
        if actions is None:
            # Counted first, so that a client which is through finds itself counted.
            self._number = self._parts.journal.open()
        self._perform([reply] if actions is None else actions)
        self._number = self._number or self._parts.journal.open()

    def _converse(self, data: bytes) -> None:
        self._talk = Conversation(self._parts.backend, self._number)
        self._next_beat = time.monotonic() + self._beat_interval_s
        self._next_tick = time.monotonic() + self._parts.tick_interval_s
        hello = self._talk.hello()
        actions = self._parts.faults.connection(lambda fault: fault.on_open(hello))
        for action in [hello] if actions is None else actions:
            if isinstance(action, str):
                self._emit(Message("hello", encode(action), (action,)))
            else:
                self._perform([action])
        reader = FrameReader()
        while True:
            try:
                for opcode, payload in reader.feed(data):
                    self._take(opcode, payload)
            except FrameError as error:
                self._perform([close_frame(error.code, str(error)), Finish()])
            self._do_what_is_due()
            self._wire.wait(self._due_at() - time.monotonic())
            data = self._read() if self._is_reading else b""

    def _read(self) -> bytes:
        data = self._wire.receive()
        if data == b"":
            raise _OverError("fin")
        return data or b""

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == CLOSE:
            self._perform([frame(CLOSE, payload), Finish()])
        elif opcode == PING:
            self._wire.send(frame(PONG, payload))
        elif opcode in {TEXT, BINARY}:
            try:
                text = payload.decode()
            except UnicodeDecodeError:
                raise FrameError(1007, "not UTF-8") from None
            self._hear(text)

    def _hear(self, text: str) -> None:
        payloads = PacketDecoder().feed(text)
        # The real server keeps nothing between messages, so a packet that is not whole is wrong.
        if text != "".join(encode(p) for p in payloads if isinstance(p, str)):
            self._answer(Command("", [], None, 0), self._talk.end_with("wrong data"))
        for payload in payloads:
            if isinstance(payload, str):
                self._hear_payload(payload)

    def _hear_payload(self, payload: str) -> None:
        if payload.startswith("~h~"):
            if self._unanswered:
                self._unanswered.popleft()
            self._parts.journal.echo()
            return
        message = _parsed(payload)
        if message is None:
            self._answer(Command("", [], None, 0), self._talk.end_with("wrong data"))
            return
        method, params = message
        symbol = self._talk.symbol_of(method, params)
        payloads = self._talk.handle(method, params)
        command = Command(method, params, symbol, len(self._talk.chart_sessions))
        if method == "resolve_symbol":
            self._settles_at = time.monotonic() + _RESOLVE_PAUSE_S
        self._answer(command, payloads)

    def _answer(self, command: Command, payloads: list[str]) -> None:
        extra: list[Action] = []
        if not self._is_mute:
            payloads, extra = self._parts.faults.reply(command, payloads)
        for action in extra:
            if isinstance(action, EndSession):
                self._talk.end_session(action.session)
        if command.method:
            # What a test can observe is true before the client can see the answer.
            received = Received(self._number, command.method, command.params)
            self._parts.journal.command(received, self._talk.chart_sessions)
        self._perform([action for action in extra if isinstance(action, Mute)])
        self._reply(payloads, command.symbol, extra)
        self._perform([a for a in extra if not isinstance(a, Mute | Later | EndSession)])
        if self._talk.is_over:
            self._perform([close_frame(1000), Finish()])

    def _reply(self, payloads: list[str], symbol: str | None, extra: Iterable[Action]) -> None:
        if not payloads or self._is_mute:
            return
        text = "".join(map(encode, payloads))
        message = Message("reply", text, tuple(payloads), symbol)
        delay_s = sum(action.delay_s for action in extra if isinstance(action, Later))
        if delay_s:
            due_at = time.monotonic() + delay_s
            heapq.heappush(self._late, (due_at, next(self._order), message))
        else:
            self._emit(message)

    def _due_at(self) -> float:
        late = self._late[0][0] if self._late else math.inf
        return min(self._next_beat, self._next_tick, self._settles_at, late)

    def _do_what_is_due(self) -> None:
        now = time.monotonic()
        if self._next_tick <= now:
            self._next_tick = now + self._parts.tick_interval_s
            self._outbox.append(None)
        while self._outbox:
            message = self._outbox.popleft()
            for one in [message] if message else self._updates():
                if not self._is_mute:
                    self._emit(one)
        while self._late and self._late[0][0] <= now:
            self._emit(heapq.heappop(self._late)[2])
        if self._settles_at <= now:
            self._settles_at = math.inf
            for symbol, payload in self._talk.settle():
                command = Command("resolve_symbol", [], symbol, len(self._talk.chart_sessions))
                payloads, extra = self._parts.faults.reply(command, [payload])
                self._reply(payloads, symbol, extra)
        self._beat(now)

    def _updates(self) -> list[Message]:
        return [
            Message("push", encode(payload), (payload,), symbol)
            for symbol, payload in self._talk.updates()
        ]

    def _beat(self, now: float) -> None:
        if self._unanswered and now - self._unanswered[0] > self._echo_timeout_s:
            raise _OverError("fin")
        for _ in range(_MAX_BEATS_IN_A_ROW):
            if now < self._next_beat:
                return
            self._beats += 1
            payload = f"~h~{self._beats}"
            self._emit(Message("heartbeat", encode(payload), (payload,)))
            self._unanswered.append(now)
            # Beats that were missed while something else was sent are not made up for.
            self._next_beat = max(self._next_beat + self._beat_interval_s, now - 1.0)

    def _emit(self, message: Message) -> None:
        self._perform(self._parts.faults.message(message))

    def _perform(self, actions: Iterable[Action]) -> None:
        for action in actions:
            self._doers[type(action)](action)

    def _send_forever(self, action: Forever) -> None:
        block = action.data * (_BLOCK_BYTES // len(action.data) + 1)
        while True:
            self._wire.send(block)

    def _finish(self, _action: Finish) -> None:
        raise _OverError("fin")

    def _reset(self, _action: Reset) -> None:
        raise _OverError("rst")

    def _idle(self, _action: Idle) -> None:
        self._wire.idle()
        raise _OverError("fin")

    def _stop_reading(self, _action: StopReading) -> None:
        self._is_reading = False
        self._echo_timeout_s = math.inf
        self._wire.stop_reading()

    def _mute(self, _action: Mute) -> None:
        self._is_mute = True

    def _beat_at(self, action: Beat) -> None:
        self._beat_interval_s = action.interval_s
        self._next_beat, self._echo_timeout_s = time.monotonic(), math.inf


def _parsed(payload: str) -> tuple[str, list[Any]] | None:
    """Read a client message; None when it is none."""
    try:
        message = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, dict):
        return None
    method, params = message.get("m"), message.get("p", [])
    return (method, params) if isinstance(method, str) and isinstance(params, list) else None
