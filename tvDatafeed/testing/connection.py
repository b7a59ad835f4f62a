"""One client's connection, from its accept to its close.

Each connection has its own thread, and only that thread uses the socket. It combines the answers of
the conversation, the active faults, and the times when heartbeats and updates are due.
"""

import heapq
import itertools
import math
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from tvDatafeed.protocol.framing import PacketDecoder, encode
from tvDatafeed.testing.context import ServerContext
from tvDatafeed.testing.journal import CloseMethod, Received
from tvDatafeed.testing.market.corrections import CorrectedBar
from tvDatafeed.testing.routes import respond
from tvDatafeed.testing.sessions.conversation import Conversation
from tvDatafeed.testing.sessions.playbook import Play
from tvDatafeed.testing.wire.actions import (
    AbortSession,
    Action,
    Beat,
    Command,
    Finish,
    Freeze,
    Idle,
    Message,
    Mute,
    Reset,
    SendForever,
    SendLater,
    SendSlowly,
    StopReading,
)
from tvDatafeed.testing.wire.commands import parsed
from tvDatafeed.testing.wire.delay_line import DelayLine
from tvDatafeed.testing.wire.http11 import MAX_REQUEST_BYTES, Request, http_reply, request_in
from tvDatafeed.testing.wire.websocket import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    AbortedError,
    FrameError,
    FrameReader,
    Wire,
    close_frame,
    frame,
    text_frame,
    upgrade_reply,
)

WEBSOCKET_PATH = "/socket.io/websocket"
# How long the answer to resolve_symbol waits for the create_series that usually follows: the real
# server takes longer than that to find a symbol, and then answers both in one message.
_RESOLVE_PAUSE_S = 0.02
_HANDSHAKE_TIMEOUT_S = 10.0
# A limit, so that a flood of heartbeats does not delay other messages.
_MAX_BEATS_IN_A_ROW = 500
# A client that cannot keep up gets no more heartbeats, so that data does not wait behind them.
_MAX_UNANSWERED_BEATS = 2000
_BEATS_PAUSE_S = 0.01
_BLOCK_BYTES = 4096
# Actions that change only the server's state, and actions after which nothing else is sent.
_AT_ONCE = (Mute, Beat, StopReading)
_ENDINGS = (Finish, Reset, Freeze, Idle, SendForever)


class _OverError(Exception):
    """The connection is finished; `how` is how it closes."""

    def __init__(self, how: CloseMethod) -> None:
        super().__init__(how)
        self.how = how


class Connection:
    """One connection, from its accept to its close."""

    def __init__(self, context: ServerContext, sock: socket.socket) -> None:
        self.has_closed = False
        self._context = context
        try:
            self._wire = Wire(sock)
        except OSError:
            sock.close()
            raise
        self._thread = threading.Thread(target=self._run, name="FakeTradingView", daemon=True)
        self._talk: Conversation | Play = Conversation(context.backend, 0)
        self._line = None if context.link.is_instant else DelayLine(context.link)
        self._outbox: deque[Callable[[], Iterable[Message]]] = deque()
        self._number = 0
        self._heard = 0
        self._how: CloseMethod | None = "fin"
        self._is_reading = True
        self._is_mute = False
        self._late: list[tuple[float, int, Message]] = []
        self._order = itertools.count()
        self._settles_at = math.inf
        self._beats = 0
        self._beat_interval_s = context.heartbeat_interval_s
        self._next_beat = math.inf
        self._next_tick = math.inf
        self._echo_timeout_s = context.echo_timeout_s
        self._unanswered: deque[float] = deque()
        self._actions: dict[type, Callable[[Any], None]] = {
            bytes: self._wire.send,
            str: lambda text: self._wire.send(text_frame(text)),
            SendSlowly: lambda action: self._wire.send_slowly(action.data, action.bytes_per_s),
            SendForever: self._send_forever,
            Finish: self._finish,
            Reset: self._reset,
            Freeze: lambda _action: self._wire.freeze(),
            Idle: self._idle,
            StopReading: self._stop_reading,
            Mute: self._mute,
            Beat: self._beat_at,
        }

    def start(self) -> None:
        """Add the client to the journal and start the thread, which removes it at the end."""
        self._context.journal.add_client(self)
        try:
            self._thread.start()
        except RuntimeError:
            self._context.journal.remove_client(self)
            self._wire.close()
            raise

    def post(self, message: Message) -> None:
        """Queue a message for sending; any thread may call it."""
        self._do_later(lambda: [message])

    def notify_updates(self, moment: float) -> None:
        """Queue the changes up to a moment, epoch seconds; any thread may call it."""
        self._notify(lambda talk, at: talk.updates(at), moment)

    def notify_correction(self, bar: CorrectedBar, moment: float) -> None:
        """Queue a corrected bar for the live series that hold it; any thread may call it."""
        self._notify(lambda talk, at: talk.corrections(bar, at), moment)

    def exceed_connections(self) -> None:
        """Queue the refusal of a connection of too many; any thread may call it."""
        self._do_later(
            lambda: [Message("push", encode(p), (p,)) for p in self._talk.exceed_connections()]
        )

    def recheck(self) -> None:
        """Queue another check of the token, which may have expired; any thread may call it."""
        self._do_later(lambda: [Message("push", encode(p), (p,)) for p in self._talk.recheck()])

    def _notify(
        self, changes: Callable[[Conversation | Play, float], list[tuple[str, str]]], moment: float
    ) -> None:
        heard = self._heard

        def messages() -> list[Message]:
            # A command received since then may have been answered for a later moment.
            at = moment if heard == self._heard else self._now()
            return self._pushed(changes(self._talk, at))

        self._do_later(messages)

    def _do_later(self, job: Callable[[], Iterable[Message]]) -> None:
        self._outbox.append(job)
        self._wire.wake()

    def _now(self) -> float:
        return self._context.backend.clock()

    @staticmethod
    def _pushed(payloads: Iterable[tuple[str, str]]) -> list[Message]:
        return [Message("push", encode(text), (text,), symbol) for symbol, text in payloads]

    def abort(self, how: CloseMethod | None) -> None:
        """Close the connection at once; None closes it without a close frame or a drain."""
        self._how = how
        self._wire.abort(skip_drain=how is None)

    def join(self, timeout_s: float) -> None:
        """Wait until the thread has ended."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            self._serve()
        except _OverError as over:
            self._how = over.how
        except AbortedError:
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
            self._context.journal.record_close(self, self._number)
        else:
            self._wire.finish()
            self._context.journal.record_close(self, self._number)
            self._wire.drain()
            self._wire.close()
        self._context.journal.remove_client(self)

    def _serve(self) -> None:
        self._perform(self._context.faults.connection(lambda fault: fault.on_accept()) or [])
        if self._context.tls:
            self._wire.start_tls(self._context.tls, _HANDSHAKE_TIMEOUT_S)
        try:
            request, early = self._read_request()
        except ValueError:
            self._perform([http_reply(400, b"Bad Request"), Finish()])
            raise
        if request.is_upgrade:
            self._context.journal.record("handshakes", request)
            self._upgrade(request)
            self._converse(early)
        else:
            self._context.journal.record("http_requests", request)
            self._perform(self._reply_to(request))
            self._perform([Finish()])

    def _reply_to(self, request: Request) -> list[Action]:
        reply = respond(request, self._context.backend)
        actions = self._context.faults.connection(lambda fault: fault.on_http(request, reply))
        return [reply.encode()] if actions is None else list(actions)

    def _conversation(self) -> Conversation | Play:
        return Conversation(self._context.backend, self._number)

    def _read_request(self) -> tuple[Request, bytes]:
        deadline = time.monotonic() + _HANDSHAKE_TIMEOUT_S
        read = b""
        while (whole := request_in(read)) is None:
            left_s = deadline - time.monotonic()
            if left_s < 0 or len(read) > MAX_REQUEST_BYTES:
                raise _OverError("fin")
            self._wire.wait(left_s)
            read += self._read()
        return whole

    def _upgrade(self, request: Request) -> None:
        reply = upgrade_reply(request)
        actions = self._context.faults.connection(lambda fault: fault.on_upgrade(reply))
        if actions is None and request.path.rstrip("/") != WEBSOCKET_PATH:
            actions = [http_reply(404, b"Not Found"), Finish()]
        if actions is None and request.headers.get("origin") not in self._context.origins:
            actions = [http_reply(403, b"Forbidden"), Finish()]
        if actions is None:
            # Counted before the reply is sent, so that a connected client is always counted.
            self._number = self._context.journal.record_open()
        self._perform([reply] if actions is None else actions)
        self._number = self._number or self._context.journal.record_open()

    def _converse(self, data: bytes) -> None:
        self._talk = self._conversation()
        self._next_beat = time.monotonic() + self._beat_interval_s
        self._next_tick = time.monotonic() + self._context.tick_interval_s
        hello = self._talk.hello()
        actions = self._context.faults.connection(lambda fault: fault.on_open(hello))
        for action in [hello] if actions is None else actions:
            if isinstance(action, str):
                self._emit(Message("hello", encode(action), (action,)))
            else:
                self._perform([action])
        reader = FrameReader()
        while True:
            # Messages queued before a command arrived are sent before its answer.
            self._empty_outbox()
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
            self._perform([frame(PONG, payload)])
        elif opcode in {TEXT, BINARY}:
            try:
                text = payload.decode()
            except UnicodeDecodeError:
                raise FrameError(1007, "not UTF-8") from None
            self._hear(text)

    def _hear(self, text: str) -> None:
        payloads = PacketDecoder().feed(text)
        # The real server keeps no state between messages, so an incomplete packet is an error.
        if text != "".join(encode(p) for p in payloads if isinstance(p, str)):
            self._answer(Command("", [], None, 0), self._talk.close_with("wrong data"))
        for payload in payloads:
            if isinstance(payload, str):
                self._hear_payload(payload)

    def _hear_payload(self, payload: str) -> None:
        if payload.startswith("~h~"):
            if self._unanswered:
                self._unanswered.popleft()
            self._context.journal.record_echo()
            return
        message = parsed(payload)
        if message is None:
            self._answer(Command("", [], None, 0), self._talk.close_with("wrong data"))
            return
        method, params = message
        self._heard += 1
        symbol = self._talk.symbol_of(method, params)
        payloads = self._talk.handle(method, params)
        if method == "set_auth_token":
            self._limit_connections()
        command = Command(method, params, symbol, len(self._talk.chart_sessions))
        if method == "resolve_symbol":
            self._settles_at = time.monotonic() + _RESOLVE_PAUSE_S
        self._answer(command, payloads)

    def _limit_connections(self) -> None:
        """Close the oldest connections of an account that has too many with this one."""
        account, limit = self._talk.account, self._context.backend.max_connections_per_account
        clients = self._context.journal.record_account(self, account)
        if limit is not None and account is not None and not self._talk.is_over:
            for client in clients[:-limit]:
                client.exceed_connections()

    def _answer(self, command: Command, payloads: list[str]) -> None:
        extra: list[Action] = []
        if not self._is_mute:
            payloads, extra = self._context.faults.reply(command, payloads)
        for action in extra:
            if isinstance(action, AbortSession):
                self._talk.abort_session(action.session)
        if command.method:
            # Record the command before the client can see the answer, so that tests can rely on it.
            received = Received(self._number, command.method, command.params)
            sessions = self._talk.chart_sessions, self._talk.quote_sessions
            self._context.journal.record_command(received, *sessions)
        self._perform([action for action in extra if isinstance(action, Mute)])
        self._reply(payloads, command.symbol, extra)
        self._perform([a for a in extra if not isinstance(a, Mute | SendLater | AbortSession)])
        if self._talk.is_over:
            self._perform([close_frame(1000), Finish()])

    def _reply(self, payloads: list[str], symbol: str | None, extra: Iterable[Action]) -> None:
        if not payloads or self._is_mute:
            return
        text = "".join(map(encode, payloads))
        message = Message("reply", text, tuple(payloads), symbol)
        delay_s = sum(action.delay_s for action in extra if isinstance(action, SendLater))
        if delay_s:
            due_at = time.monotonic() + delay_s
            heapq.heappush(self._late, (due_at, next(self._order), message))
        else:
            self._emit(message)

    def _due_at(self) -> float:
        late = self._late[0][0] if self._late else math.inf
        line = self._line.due_at if self._line else math.inf
        return min(self._next_beat, self._next_tick, self._settles_at, late, line)

    def _do_what_is_due(self) -> None:
        now = time.monotonic()
        if self._next_tick <= now:
            self._next_tick = now + self._context.tick_interval_s
            self._outbox.append(lambda: self._pushed(self._talk.updates(self._now())))
        self._empty_outbox()
        while self._late and self._late[0][0] <= now:
            self._emit(heapq.heappop(self._late)[2])
        if self._settles_at <= now:
            self._settles_at = math.inf
            for symbol, payload in self._talk.settle():
                command = Command("resolve_symbol", [], symbol, len(self._talk.chart_sessions))
                payloads, extra = self._context.faults.reply(command, [payload])
                self._reply(payloads, symbol, extra)
        self._beat(now)
        self._deliver()

    def _empty_outbox(self) -> None:
        while self._outbox and not self._talk.is_over:
            for message in self._outbox.popleft()():
                if not self._is_mute:
                    self._emit(message)
        if self._talk.is_over:
            self._perform([close_frame(1000), Finish()])

    def _beat(self, now: float) -> None:
        if self._unanswered and now - self._unanswered[0] > self._echo_timeout_s:
            raise _OverError("fin")
        for _ in range(_MAX_BEATS_IN_A_ROW):
            if now < self._next_beat:
                return
            if len(self._unanswered) >= _MAX_UNANSWERED_BEATS:
                self._next_beat = now + _BEATS_PAUSE_S
                return
            self._beats += 1
            payload = f"~h~{self._beats}"
            self._emit(Message("heartbeat", encode(payload), (payload,)))
            self._unanswered.append(now)
            # Heartbeats that were missed while other data was sent are not sent later.
            self._next_beat = max(self._next_beat + self._beat_interval_s, now - 1.0)

    def _emit(self, message: Message) -> None:
        self._perform(self._context.faults.message(message))

    def _perform(self, actions: Iterable[Action]) -> None:
        for action in actions:
            if self._line is None or isinstance(action, _AT_ONCE):
                self._actions[type(action)](action)
            else:
                self._send_by(self._line, action)

    def _send_by(self, line: DelayLine, action: Action) -> None:
        line.put(text_frame(action) if isinstance(action, str) else action, time.monotonic())
        while isinstance(action, _ENDINGS):
            # Commands are no longer answered, but the client's close is still detected.
            self._deliver()
            self._wire.wait(line.due_at - time.monotonic())
            if self._is_reading:
                self._read()
        while line.is_full:
            self._wire.pause(line.due_at - time.monotonic())
            self._deliver()

    def _deliver(self) -> None:
        if self._line is not None:
            for action in self._line.arrived(time.monotonic()):
                self._actions[type(action)](action)

    def _send_forever(self, action: SendForever) -> None:
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
