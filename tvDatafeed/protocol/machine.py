"""The machine: one connection's life, without a socket, a thread or a clock.

The driver gives it text and the time and carries out what it answers:

>>> machine = Machine("unauthorized_user_token")
>>> request = SeriesRequest("NASDAQ:AAPL", "1D", 10)
>>> machine.open("cs_abcdefghijkl", request, now=0.0, deadline=60.0)
>>> len(machine.data_to_send())  # token, session, symbol, series
4

Two rules hold here. Every request owns its session, and what comes for a session that is not open
is dropped by its id. Nothing that the server says raises; a breach of the wire's rules is counted,
and too many of them end the connection.
"""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

from tvDatafeed.config import ANONYMOUS_TOKEN
from tvDatafeed.exceptions import (
    ProtocolError,
    TvDatafeedError,
    WebSocketTimeoutError,
)
from tvDatafeed.protocol import messages, refusals
from tvDatafeed.protocol.events import (
    Answered,
    ConnectionFailed,
    Event,
    Paged,
    PingWanted,
    Redirected,
    Request,
    RequestFailed,
    Retired,
    SeriesRequest,
    StreamMoved,
    StreamStarted,
)
from tvDatafeed.protocol.framing import PacketDecoder, Violation, encode
from tvDatafeed.protocol.questions import Command, Question, StreamQuestion, question_of
from tvDatafeed.protocol.series import BadUpdateError

__all__ = ["MAX_VIOLATIONS", "Machine", "SeriesRequest", "Timers"]

# One broken packet may be an accident on the way; more than three are another protocol.
MAX_VIOLATIONS = 3
# The server tells its clock in milliseconds.
_TICK_S = 0.001
# What is on its way for longer than this is on a line that will be given up.
_PATIENCE_S = 10.0
# Messages take their time; a clock that differs by more was set.
_STEP_S = 1.0


@dataclass(frozen=True)
class Timers:
    """The limits of a connection's life, all in seconds.

    Parameters
    ----------
    silence_s
        After so long without any message the driver is asked to ping.
    ping_s
        After so long without a sign of life since then the connection is given up.
    idle_s
        A connection on which nothing runs is retired after so long.
    age_s
        A connection older than this is retired as soon as nothing runs on it.
    """

    silence_s: float = math.inf
    ping_s: float = math.inf
    idle_s: float = math.inf
    age_s: float = math.inf


@dataclass
class _Pending:
    symbol: str
    question: Question
    deadline: float
    asked_at: float
    heard_at: float
    message_timeout_s: float | None
    page_timeout_s: float | None
    # When the last bar of a stream will be over, and when it was noted that it is.
    wakes_at: float = math.inf
    due_at: float = math.inf

    @property
    def stream(self) -> StreamQuestion:
        """The question of a session that has started to be followed."""
        return cast("StreamQuestion", self.question)


class Machine:
    """One connection to TradingView as a state machine.

    Call `receive` with each text that arrives and `tick` when `next_deadline` has come; after
    each call send what `data_to_send` gives and act on `events`.

    Parameters
    ----------
    token
        The data token; `ANONYMOUS_TOKEN` without an account.
    timers
        The limits of the connection's life; they run from `opened` on.

    Attributes
    ----------
    is_mute : bool
        Whether the server has let a request run out of time without a word to anyone.
    """

    def __init__(self, token: str, timers: Timers = Timers()) -> None:
        self._timers = timers
        self._opened_at = self._heard_at = self._idle_since = math.inf
        self._pinged_at: float | None = None
        self._decoder = PacketDecoder()
        self._outgoing: list[str] = []
        self._events: list[Event] = []
        self._pending: dict[str, _Pending] = {}
        # Those of them that have no answer yet, and those whose last bar is over.
        self._awaited: dict[str, _Pending] = {}
        self._due: dict[str, _Pending] = {}
        # No bar closes before: of a hundred streams not each is looked at for each message.
        self._next_close_at = math.inf
        self._failed = False
        # When any session was told of last; heartbeats are nothing of it.
        self._answered_at = -math.inf
        self.is_mute: bool = False
        self._token = ""
        # All tokens of this connection: the server may repeat an earlier one.
        self._secrets: set[str] = set()
        # The server's clock is that much ahead of the driver's; None until it was heard.
        self._server_lead_s: float | None = None
        self.counters: Counter[str] = Counter()
        self._handlers: dict[type, Callable[[Any, float], None]] = {
            Violation: self._on_violation,
            messages.Heartbeat: self._on_heartbeat,
            messages.Hello: self._on_hello,
            messages.Redirect: self._on_redirect,
            messages.ProtocolErrorReply: self._on_protocol_error,
            **dict.fromkeys(messages.SESSION_MESSAGES, self._on_session_message),
        }
        self.set_token(token)

    def __repr__(self) -> str:
        return f"<Machine open_sessions={len(self._pending)} {dict(self.counters)}>"

    @property
    def open_sessions(self) -> int:
        """How many sessions are open."""
        return len(self._pending)

    @property
    def heard_at(self) -> float:
        """When anything was heard last, on the driver's clock; infinity before it was opened."""
        return self._heard_at

    def server_time_s(self, now: float) -> float | None:
        """Give the server's clock, epoch seconds UTC, carried forward from when it was heard."""
        return None if self._server_lead_s is None else now + self._server_lead_s

    def opened(self, now: float) -> None:
        """Start the timers: the connection stands."""
        self._opened_at = self._heard_at = self._idle_since = now
        for pending in self._awaited.values():
            pending.heard_at = now

    def stay(self, now: float) -> None:
        """Take a retirement back: somebody is about to use the connection."""
        self._failed = False
        self._idle_since = now

    def alive(self, now: float) -> None:
        """Take a sign of life that is no message, such as a pong."""
        self._hear(now)
        self._close_what_is_due(now, now)

    def _hear(self, now: float) -> None:
        self._heard_at = now
        self._pinged_at = None

    def set_token(self, token: str) -> None:
        """Sign in with a token, also on a connection in use; a refusal comes as an event."""
        if token != self._token:
            self._token = token
            if token != ANONYMOUS_TOKEN:
                self._secrets.add(token)
            self._say("set_auth_token", token)

    def open(
        self,
        session: str,
        request: Request,
        *,
        now: float,
        deadline: float,
        message_timeout_s: float | None = None,
        page_timeout_s: float | None = None,
    ) -> None:
        """Ask for something; the answer comes as `Answered` or `RequestFailed`.

        Parameters
        ----------
        session
            A fresh session id of the request's kind (``cs_...``, ``qs_...``), never used before on
            this connection.
        request
            What to ask for.
        now
            The driver's monotonic clock, seconds.
        deadline
            When the whole answer must be there, on the same clock.
        message_timeout_s
            How long this request may stay without any message of its own, seconds.
        page_timeout_s
            How long each further part of a long answer may take; `Paged` tells of each. None: the
            deadline is that of all parts.
        """
        question = question_of(session, request, self._text)
        self._pending[session] = self._awaited[session] = _Pending(
            request.symbol, question, deadline, now, now, message_timeout_s, page_timeout_s
        )
        for command in question.begin():
            self._say(*command)

    def close(self, session: str) -> None:
        """Give a request up and free its session on the server; later replies are dropped."""
        pending = self._forget(session)
        if pending is not None:
            self._say(*pending.question.end())

    def receive(self, text: str, now: float) -> None:
        """Take one WebSocket message."""
        self._hear(now)
        for packet in self._decoder.feed(text):
            if self._failed:
                break
            message = packet if isinstance(packet, Violation) else messages.decode(packet)
            self._handle(message, now)
        # A server that answers no ping is believed after a while.
        self._close_what_is_due(now - _PATIENCE_S, now)

    def tick(self, now: float) -> None:
        """Fail the requests whose time is over, and look after the connection itself."""
        for session, pending in list(self._awaited.items()):
            if now >= pending.deadline:
                # What was allowed in all; connecting and earlier tries took their part of it.
                allowed = pending.page_timeout_s or pending.deadline - pending.asked_at
                self._time_out(session, pending, "answer", allowed)
            elif now >= self._deadline_of(pending):
                self._time_out(session, pending, "message", pending.message_timeout_s or 0)
        if self._failed:
            return
        self._note_what_is_due(now)
        if now >= self._probe_at():
            self._probe(now)
        elif not self._pending and now >= self._retire_at():
            self._failed = True
            self._events.append(Retired())

    def next_deadline(self) -> float | None:
        """When `tick` must be called next; None while nothing is awaited."""
        deadlines = [self._deadline_of(pending) for pending in self._awaited.values()]
        deadlines += (self._probe_at(), self._next_close_at)
        if not self._pending:
            deadlines.append(self._retire_at())
        nearest = min(deadlines)
        return None if nearest == math.inf else nearest

    def data_to_send(self) -> list[str]:
        """Give the packets to send, each a WebSocket message of its own, and forget them."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def events(self) -> list[Event]:
        """Give what has happened since the last call."""
        events, self._events = self._events, []
        return events

    def _deadline_of(self, pending: _Pending) -> float:
        # While the connection is being made it has a deadline of its own.
        if pending.message_timeout_s is None or self._opened_at == math.inf:
            return pending.deadline
        return min(pending.deadline, pending.heard_at + pending.message_timeout_s)

    def _probe_at(self) -> float:
        if self._pinged_at is None:
            return self._heard_at + self._timers.silence_s
        return self._pinged_at + self._timers.ping_s

    def _probe(self, now: float) -> None:
        if self._pinged_at is None:
            self._pinged_at = now
            self._events.append(PingWanted())
            return
        silent_s = round(self._timers.silence_s + self._timers.ping_s, 3)
        self._fail(WebSocketTimeoutError("connection", silent_s, detail="nothing was heard"))

    def _retire_at(self) -> float:
        too_old_at = max(self._opened_at + self._timers.age_s, self._idle_since)
        return min(self._idle_since + self._timers.idle_s, too_old_at)

    def _forget(self, session: str) -> _Pending | None:
        """Stop a request, and note since when nothing runs."""
        pending = self._pending.pop(session, None)
        self._awaited.pop(session, None)
        self._due.pop(session, None)
        if pending is not None and not self._pending:
            self._idle_since = self._heard_at
        return pending

    def _say(self, *command: object) -> None:
        method, *parameters = command
        self._outgoing.append(encode(messages.encode(str(method), *parameters)))

    def _handle(self, message: messages.Message | Violation, now: float) -> None:
        self.counters["messages"] += 1
        handler = self._handlers.get(type(message))
        if handler is None:
            self.counters["ignored"] += 1
            return
        time_ms = getattr(message, "t_ms", None)
        if time_ms is not None:
            self._learn_time(time_ms / 1000, now)
        handler(message, now)

    def _on_violation(self, violation: Violation, _now: float) -> None:
        self._violate(violation)
        lost = {s: p for s, p in self._pending.items() if s in violation.lost}
        if not lost:
            # Whose it was is not known, and most will know by themselves if it was theirs.
            lost = {s: p for s, p in self._pending.items() if not p.question.shows_losses}
        for session, pending in lost.items():
            # A part of the answer is lost, and the rest must not pass for the whole.
            what = f"a part of the answer for {pending.symbol} was lost: {violation.what}"
            self._end(session, ProtocolError(what))

    def _on_heartbeat(self, heartbeat: messages.Heartbeat, _now: float) -> None:
        self.counters["heartbeats"] += 1
        self._outgoing.append(encode(heartbeat.payload))

    def _on_hello(self, hello: messages.Hello, now: float) -> None:
        if hello.timestamp_ms is not None:
            self._learn_time(hello.timestamp_ms / 1000, now)

    def _learn_time(self, server_time_s: float, now: float) -> None:
        before, self._server_lead_s = self._server_lead_s, server_time_s - now
        if before is not None and abs(self._server_lead_s - before) > _STEP_S:
            # The server's clock was set: what it closes is due at another moment.
            for session, pending in self._pending.items():
                if pending.wakes_at < math.inf:
                    self._plan_tick(session, pending, now)

    def _on_redirect(self, redirect: messages.Redirect, _now: float) -> None:
        self._failed = True
        self._events.append(Redirected(self._text(redirect.host)))

    def _on_session_message(self, message: messages.SessionMessage, now: float) -> None:
        session = message.p.session
        self._answered_at, self.is_mute = now, False
        pending = self._pending.get(session)
        if pending is None:
            self.counters["dropped"] += 1
            return
        pending.heard_at = now
        try:
            step = pending.question.hear(message, self._time_of(message, now))
        except BadUpdateError as error:
            self._violate(Violation(str(error)))
            self._end(session, ProtocolError(f"{pending.symbol}: {error}", retryable=False))
            return
        if isinstance(message, messages.CriticalError):
            # The server has killed this session itself, so there is none to delete.
            self._forget(session)
        if isinstance(step, list):
            self._ask_on(session, pending, step, now)
        elif isinstance(step, TvDatafeedError):
            self._end(session, step)
        elif isinstance(step, StreamStarted):
            self._follow(session, pending, replace(step, at=now))
        elif isinstance(step, StreamMoved):
            self._events.append(step)
            self._plan_tick(session, pending, now)
        elif step is not None:
            self.close(session)
            self._events.append(Answered(session, step, now))

    def _time_of(self, message: messages.SessionMessage, now: float) -> float | None:
        """Give the server's clock when it sent a message: what it says itself, or the time now.

        A message may come later than others that were sent after it, and knows nothing of what
        happened in between.
        """
        told = message.t_ms
        return self.server_time_s(now) if told is None else told / 1000

    def _follow(self, session: str, pending: _Pending, started: StreamStarted) -> None:
        """Keep a session open for as long as somebody wants it."""
        if started.request.follow:
            # It has all the time there is.
            del self._awaited[session]
            self._plan_tick(session, pending, started.at)
        else:
            self.close(session)
        self._events.append(started)

    def _note_what_is_due(self, now: float) -> None:
        """Find the streams whose last bar is over, and make sure that nothing is on its way.

        A word of the server that was sent before the close may come after it. A pong is a proof
        that there is none.
        """
        if now < self._next_close_at:
            return
        self._next_close_at = math.inf
        is_any_due = False
        for session, pending in self._pending.items():
            if now >= pending.wakes_at:
                pending.due_at, pending.wakes_at = now, math.inf
                self._due[session] = pending
                is_any_due = True
            self._next_close_at = min(self._next_close_at, pending.wakes_at)
        if is_any_due:
            self._events.append(PingWanted())

    def _close_what_is_due(self, until: float, now: float) -> None:
        for session, pending in list(self._due.items()):
            if pending.due_at <= until:
                self._tick(session, pending, now)

    def _tick(self, session: str, pending: _Pending, now: float) -> None:
        server_time_s = self.server_time_s(now)
        moved = None if server_time_s is None else pending.stream.tick(server_time_s)
        if moved is not None:
            self._events.append(moved)
        self._plan_tick(session, pending, now)

    def _plan_tick(self, session: str, pending: _Pending, now: float) -> None:
        wait_s = math.inf
        if self._server_lead_s is not None:
            wait_s = pending.stream.wakes_at_s - self._server_lead_s - now
        # Just after the moment, for until then nothing has happened.
        pending.wakes_at = now + max(wait_s, 0.0) + _TICK_S
        self._next_close_at = min(self._next_close_at, pending.wakes_at)
        self._due.pop(session, None)

    def _ask_on(self, session: str, pending: _Pending, commands: list[Command], now: float) -> None:
        for command in commands:
            self._say(*command)
        if pending.page_timeout_s is not None:
            pending.asked_at, pending.deadline = now, now + pending.page_timeout_s
        self._events.append(Paged(session))

    def _on_protocol_error(self, message: messages.ProtocolErrorReply, _now: float) -> None:
        self._fail(refusals.connection_refused(self._text(message.p.reason)))

    def _text(self, reason: object) -> str:
        return refusals.reason_text(reason, self._secrets)

    def _time_out(self, session: str, pending: _Pending, awaited: str, limit_s: float) -> None:
        # Nobody was answered since: what is asked here next would wait in vain, too.
        self.is_mute = self._answered_at < pending.asked_at
        operation = f"{awaited} for {pending.symbol}"
        error = WebSocketTimeoutError(
            operation, round(limit_s, 3), detail=pending.question.progress
        )
        self._end(session, error)

    def _end(self, session: str, error: TvDatafeedError) -> None:
        self.close(session)
        self._events.append(RequestFailed(session, error))

    def _violate(self, violation: Violation) -> None:
        self.counters["violations"] += 1
        count = self.counters["violations"]
        if count > MAX_VIOLATIONS:
            what = f"TradingView broke the protocol {count} times, the last: {violation.what}"
            self._fail(ProtocolError(what))

    def _fail(self, error: TvDatafeedError) -> None:
        self._failed = True
        self._events.append(ConnectionFailed(error))
