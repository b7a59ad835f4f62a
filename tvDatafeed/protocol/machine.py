"""The state machine of one connection: no socket, no thread, no clock.

The driver passes in the received text and the time, sends `Machine.data_to_send` and acts on
`Machine.events`:

>>> machine = Machine("unauthorized_user_token")
>>> request = SeriesRequest("NASDAQ:AAPL", "1D", 10)
>>> machine.open("cs_abcdefghijkl", request, now=0.0, deadline=60.0)
>>> len(machine.data_to_send())  # token, session, symbol, series
4

Two rules hold here. Every request has its own session id, and a message for a session that is not
open is dropped. Server input never raises. A message that cannot be read fails the requests that it
names, and is ignored when it names none. More than `MAX_VIOLATIONS` violations of the framing fail
the connection.
"""

import enum
import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

from tvDatafeed.exceptions import ProtocolError, TvDatafeedError, WebSocketTimeoutError
from tvDatafeed.protocol import messages, refusals
from tvDatafeed.protocol.closing import CloseSchedule
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
    StreamStarted,
    StreamUpdated,
)
from tvDatafeed.protocol.framing import PacketDecoder, Violation, encode
from tvDatafeed.protocol.literals import ANONYMOUS_TOKEN
from tvDatafeed.protocol.questions import Command, Step, handler_for
from tvDatafeed.protocol.series import BadUpdateError
from tvDatafeed.protocol.sessions import Pending, Sessions

__all__ = ["MAX_VIOLATIONS", "ConnectionState", "Machine", "SeriesRequest", "Timers"]


class ConnectionState(enum.Enum):
    """The life of a connection."""

    CONNECTING = "connecting"
    OPEN = "open"
    # The server was silent for too long; the driver was requested to ping.
    PROBING = "probing"
    # Idle or too old: the driver closes the connection, or cancels the retirement.
    RETIRED = "retired"
    REDIRECTED = "redirected"
    FAILED = "failed"


class Trigger(enum.Enum):
    """What can change the state of a connection."""

    TIMERS_STARTED = "timers started"
    RECEIVED = "received"
    SILENCE = "silence"
    IDLE = "idle"
    RETIREMENT_CANCELLED = "retirement cancelled"
    REDIRECT = "redirect"
    FAULT = "fault"


# Short names for the table, and for speed: before Python 3.12 `ConnectionState.OPEN` is a call.
CONNECTING, OPEN, PROBING, RETIRED, REDIRECTED, FAILED = ConnectionState

# Every change of a connection's state is an entry of this table; `Machine._change_state` makes it.
# A trigger without an entry leaves the state as it is, so FAILED and REDIRECTED are final.
# Received text ends PROBING before it is read; it is read in CONNECTING and OPEN alone.
TRANSITIONS: dict[tuple[ConnectionState, Trigger], ConnectionState] = {
    (CONNECTING, Trigger.TIMERS_STARTED): OPEN,
    (CONNECTING, Trigger.REDIRECT): REDIRECTED,
    (CONNECTING, Trigger.FAULT): FAILED,
    (OPEN, Trigger.SILENCE): PROBING,
    (OPEN, Trigger.IDLE): RETIRED,
    (OPEN, Trigger.REDIRECT): REDIRECTED,
    (OPEN, Trigger.FAULT): FAILED,
    (PROBING, Trigger.RECEIVED): OPEN,
    (PROBING, Trigger.SILENCE): FAILED,
    (PROBING, Trigger.FAULT): FAILED,
    (PROBING, Trigger.IDLE): RETIRED,
    (RETIRED, Trigger.RETIREMENT_CANCELLED): OPEN,
}
# Tuples, which are searched by identity: hashing a member of an enum needs a Python call.
_READING = (OPEN, CONNECTING)
_RUNS_TIMERS = (OPEN, PROBING)


# One broken packet can be a fault of the network; more than three mean another protocol. The
# content of packets does not count: a message of a new form must not end all requests.
MAX_VIOLATIONS = 3
# After this time a driver that keeps an old connection gets the event again, even if the idle time
# is shorter.
_RETIREMENT_PAUSE_S = 1.0
# The number of pings without a pong that are kept, if a server answers none.
_KEPT_PINGS = 100
_NEVER = -math.inf


@dataclass(frozen=True)
class Timers:
    """The limits of a connection's life, all in seconds.

    Parameters
    ----------
    silence_s
        The driver is requested to ping when nothing was received for this long.
    ping_s
        The connection fails when nothing was received for this long after that.
    idle_s
        The connection is retired when no session was open for this long.
    age_s
        A connection older than this is retired as soon as no session is open.
    """

    silence_s: float = math.inf
    ping_s: float = math.inf
    idle_s: float = math.inf
    age_s: float = math.inf


@dataclass
class _Moments:
    """The last moments of events, on the driver's clock in seconds."""

    timers_started_at: float = _NEVER
    # Any message or pong.
    last_received_at: float = _NEVER
    # A message of any session, without heartbeats.
    last_answered_at: float = _NEVER
    # The driver was requested to ping a silent server.
    probed_at: float = _NEVER
    # The last open session ended, or the connection opened.
    idle_since: float = _NEVER
    # A retirement was cancelled; the next one does not come before this.
    not_retired_before: float = _NEVER


class Machine:
    """One connection to TradingView as a state machine.

    Call `receive` with each text that arrives, `receive_pong` at each pong, and `tick` when
    `next_deadline` has come. After each call send what `data_to_send` returns and act on `events`.

    Parameters
    ----------
    token
        The data token; `ANONYMOUS_TOKEN` without an account.
    timers
        The limits of the connection's life; they run from `start_timers` on.

    Attributes
    ----------
    is_unresponsive : bool
        Whether a request has timed out while no session received any message. The connection fails
        then if it has live series.
    counters : Counter
        The numbers of messages, heartbeats, violations, and ignored and dropped messages. A
        message that cannot be read is a violation when a request failed with it.
    """

    def __init__(self, token: str, timers: Timers = Timers()) -> None:
        self._state = CONNECTING
        self._timers = timers
        self._moments = _Moments()
        self._decoder = PacketDecoder()
        self._outgoing: list[str] = []
        self._events: list[Event] = []
        self._sessions = Sessions()
        self._schedule = CloseSchedule()
        # When the pings that have no pong yet were sent, on the driver's clock; the oldest first.
        self._pings: dict[bytes, float] = {}
        self._ping_count = 0
        self._framing_violations = 0
        self.is_unresponsive: bool = False
        self._token = ""
        # All tokens of this connection: the server may repeat an earlier one.
        self._secrets: set[str] = set()
        # Bound only to the tokens: handlers keep it, and the machine keeps the handlers.
        self._text = partial(refusals.reason_text, secrets=self._secrets)
        self.counters: Counter[str] = Counter()
        self.set_token(token)

    def __repr__(self) -> str:
        state, counters = self._state.value, dict(self.counters)
        return f"<Machine {state} open_sessions={self.open_sessions} {counters}>"

    @property
    def state(self) -> ConnectionState:
        """The state of the connection."""
        return self._state

    @property
    def open_sessions(self) -> int:
        """The number of open sessions."""
        return len(self._sessions.by_id)

    @property
    def last_served_at(self) -> float:
        """When the server was known to serve, on the driver's clock; -infinity: never.

        Heartbeats of an unresponsive connection do not count.
        """
        moments = self._moments
        return moments.last_answered_at if self.is_unresponsive else moments.last_received_at

    @property
    def last_received_at(self) -> float:
        """When anything was received last, on the driver's clock; -infinity: never."""
        return self._moments.last_received_at

    def server_time_s(self, now: float) -> float | None:
        """Return the server's clock at a moment of the driver's clock, epoch seconds UTC.

        It is carried forward from the last message that had it; None before the first.
        """
        return self._schedule.server_time_s(now)

    def start_timers(self, now: float) -> None:
        """Start the timers; the driver calls it once when the connection is established."""
        self._change_state(Trigger.TIMERS_STARTED)
        moments = self._moments
        moments.timers_started_at = moments.last_received_at = moments.idle_since = now
        for pending in self._sessions.awaiting.values():
            pending.last_received_at = now

    def cancel_retirement(self, now: float) -> None:
        """Keep a retired connection open, because the driver needs it.

        It is retired again after the idle time, or by `allow_retirement`.
        """
        self._change_state(Trigger.RETIREMENT_CANCELLED)
        self._moments.idle_since = now
        pause_s = max(self._timers.idle_s, _RETIREMENT_PAUSE_S)
        self._moments.not_retired_before = now + pause_s

    def allow_retirement(self, now: float) -> None:
        """End the delay after `cancel_retirement`: the driver does not need the connection."""
        if self._moments.not_retired_before > _NEVER:
            self._moments.not_retired_before, self._moments.idle_since = _NEVER, now
            self._retire_if_due(now)

    def receive_pong(self, now: float, payload: bytes | None = None) -> None:
        """Record a pong: the server is alive, and everything it sent before has arrived.

        Parameters
        ----------
        now
            The driver's monotonic clock, seconds.
        payload
            The payload of the pong; None for that of the newest ping. A pong that answers none of
            the pings only shows that the server is alive.
        """
        self._record_receipt(now)
        if payload is None:
            payload = next(reversed(self._pings), None)
        if payload not in self._pings:
            return
        # Earlier pings are answered too: a peer may answer only the newest of several pings.
        answered = list(self._pings).index(payload) + 1
        pinged_at = [self._pings.pop(ping) for ping in list(self._pings)[:answered]][-1]
        self._close_bars(self._schedule.confirmed(pinged_at), now)

    def set_token(self, token: str) -> None:
        """Sign in with a token, at any time; a refusal fails the connection with an event."""
        if token != self._token:
            self._token = token
            if token != ANONYMOUS_TOKEN:
                self._secrets.add(token)
            self._send("set_auth_token", token)

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
        """Send a request; its answer is an `Answered` or a `RequestFailed` event.

        Parameters
        ----------
        session
            A fresh session id of the request's kind (``cs_...``, ``qs_...``), never used before on
            this connection.
        request
            The request.
        now
            The driver's monotonic clock, seconds.
        deadline
            When the answer must be complete, on the same clock.
        message_timeout_s
            The longest time without any message of this session, in seconds. None: no limit.
        page_timeout_s
            The time for each further page of a long answer, in seconds; each is announced by a
            `Paged` event. None: the deadline covers all pages.
        """
        handler = handler_for(session, request, self._text)
        pending = Pending(
            request.symbol, handler, deadline, now, now, message_timeout_s, page_timeout_s
        )
        self._sessions.add(session, pending)
        self._send_all(handler.open_commands())

    def close(self, session: str) -> None:
        """Close a session here and on the server; later messages for it are dropped."""
        pending = self._remove(session)
        if pending is not None:
            self._send(*pending.handler.close_command())

    def receive(self, text: str, now: float) -> None:
        """Process one WebSocket message."""
        self._record_receipt(now)
        for packet in self._decoder.feed(text):
            if self._state not in _READING:
                break
            if isinstance(packet, Violation):
                self._count_framing_violation(packet)
                self._dispatch(packet, now)
            else:
                self._dispatch(messages.decode(packet), now)
        overdue = self._schedule.overdue(now)
        if overdue:
            self._close_bars(overdue, now)

    def tick(self, now: float) -> None:
        """Fail requests whose deadline has passed, and run the timers of the connection."""
        for session, pending in list(self._sessions.awaiting.items()):
            if now >= pending.deadline:
                # The full limit: connecting and earlier tries used a part of it.
                limit_s = pending.page_timeout_s or pending.deadline - pending.requested_at
                self._time_out(session, pending, "answer", limit_s)
            elif now >= self._deadline_of(pending):
                self._time_out(session, pending, "message", pending.message_timeout_s or 0)
        if self._state not in _RUNS_TIMERS:
            return
        if self.is_unresponsive and self._sessions.are_any_followed:
            self._fail_unresponsive(now)
            return
        if self._schedule.mark_due(now):
            self._ping(now)
        if now >= self._silence_ends_at():
            self._end_silence(now)
        else:
            self._retire_if_due(now)

    def next_deadline(self) -> float | None:
        """Return when `tick` must be called next, on the driver's clock; None for never."""
        deadlines = [self._deadline_of(pending) for pending in self._sessions.awaiting.values()]
        if self._state in _RUNS_TIMERS:
            deadlines += (self._silence_ends_at(), self._schedule.next_due_at)
            if not self._sessions.by_id:
                deadlines.append(self._retire_at())
        nearest = min(deadlines, default=math.inf)
        return None if nearest == math.inf else nearest

    def data_to_send(self) -> list[str]:
        """Return the packets to send, each as one WebSocket message, and clear them here."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def events(self) -> list[Event]:
        """Return the events since the last call."""
        events, self._events = self._events, []
        return events

    def _change_state(self, trigger: Trigger) -> None:
        self._state = TRANSITIONS.get((self._state, trigger), self._state)

    def _record_receipt(self, now: float) -> None:
        self._moments.last_received_at = now
        if self._state is PROBING:
            self._change_state(Trigger.RECEIVED)

    def _deadline_of(self, pending: Pending) -> float:
        # While connecting, the driver has its own deadline.
        if pending.message_timeout_s is None or self._state is CONNECTING:
            return pending.deadline
        return min(pending.deadline, pending.last_received_at + pending.message_timeout_s)

    def _silence_ends_at(self) -> float:
        if self._state is PROBING:
            return self._moments.probed_at + self._timers.ping_s
        return self._moments.last_received_at + self._timers.silence_s

    def _end_silence(self, now: float) -> None:
        """Request a ping after the first silence, and fail the connection after the second."""
        self._change_state(Trigger.SILENCE)
        if self._state is PROBING:
            self._moments.probed_at = now
            self._ping(now)
            return
        limit_s = round(self._timers.silence_s + self._timers.ping_s, 3)
        error = WebSocketTimeoutError("connection", limit_s, detail="nothing was received")
        self._events.append(ConnectionFailed(error))

    def _fail_unresponsive(self, now: float) -> None:
        """Fail the connection of live series, which may be silent because their markets are."""
        silent_s = round(now - self._moments.last_answered_at, 3)
        self._fail(WebSocketTimeoutError("connection", silent_s, detail="only heartbeats came"))

    def _retire_if_due(self, now: float) -> None:
        is_idle = self._state in _RUNS_TIMERS and not self._sessions.by_id
        if is_idle and now >= self._retire_at():
            self._change_state(Trigger.IDLE)
            self._events.append(Retired())

    def _ping(self, now: float) -> None:
        self._ping_count += 1
        payload = b"%d" % self._ping_count
        self._pings[payload] = now
        if len(self._pings) > _KEPT_PINGS:
            del self._pings[next(iter(self._pings))]
        self._events.append(PingWanted(payload))

    def _retire_at(self) -> float:
        moments, timers = self._moments, self._timers
        too_old_at = max(moments.timers_started_at + timers.age_s, moments.idle_since)
        retire_at = min(moments.idle_since + timers.idle_s, too_old_at)
        return max(retire_at, moments.not_retired_before)

    def _remove(self, session: str) -> Pending | None:
        pending = self._sessions.remove(session)
        if pending is not None:
            self._schedule.remove(session)
            if not self._sessions.by_id:
                self._moments.idle_since = self._moments.last_received_at
        return pending

    def _send(self, *command: object) -> None:
        method, *parameters = command
        self._outgoing.append(encode(messages.encode(str(method), *parameters)))

    def _send_all(self, commands: Iterable[Command]) -> None:
        for command in commands:
            self._send(*command)

    def _dispatch(self, message: messages.Message | Violation, now: float) -> None:
        self.counters["messages"] += 1
        receiver = self._receivers.get(type(message))
        if receiver is None:
            self.counters["ignored"] += 1
            return
        time_ms = getattr(message, "t_ms", None)
        if time_ms is not None:
            self._schedule.set_server_time(time_ms / 1000, now)
        receiver(self, message, now)

    def _on_violation(self, violation: Violation, _now: float) -> None:
        sessions = self._sessions.by_id
        lost = {s: p for s, p in sessions.items() if s in violation.lost}
        if not lost and violation.is_whole:
            self.counters["ignored"] += 1
            return
        self.counters["violations"] += 1
        if not lost:
            # The lost text has no session id. A handler that would notice its loss can continue.
            lost = {s: p for s, p in sessions.items() if not p.handler.detects_losses}
        for session, pending in lost.items():
            # An answer with a lost part must not be returned as complete.
            what = f"a part of the answer for {pending.symbol} was lost: {violation.what}"
            self._fail_request(session, ProtocolError(what))

    def _on_heartbeat(self, heartbeat: messages.Heartbeat, _now: float) -> None:
        self.counters["heartbeats"] += 1
        self._outgoing.append(encode(heartbeat.payload))

    def _on_hello(self, hello: messages.Hello, now: float) -> None:
        if hello.timestamp_ms is not None:
            self._schedule.set_server_time(hello.timestamp_ms / 1000, now)

    def _on_redirect(self, redirect: messages.Redirect, _now: float) -> None:
        self._change_state(Trigger.REDIRECT)
        self._events.append(Redirected(self._text(redirect.host)))

    def _on_protocol_error(self, message: messages.ProtocolErrorReply, _now: float) -> None:
        self._fail(refusals.connection_refused(self._text(message.p.reason)))

    def _on_session_message(self, message: messages.SessionMessage, now: float) -> None:
        session = message.p.session
        self._moments.last_answered_at, self.is_unresponsive = now, False
        pending = self._sessions.by_id.get(session)
        if pending is None:
            self.counters["dropped"] += 1
            return
        pending.last_received_at = now
        try:
            step = pending.handler.receive(message, self._sent_at_s(message, now))
        except BadUpdateError as error:
            self.counters["violations"] += 1
            failure = ProtocolError(f"{pending.symbol}: {error}", retryable=False)
            self._fail_request(session, failure)
            return
        if isinstance(message, messages.CriticalError):
            # The server has deleted this session itself.
            self._remove(session)
        self._take_step(session, pending, step, now)

    def _sent_at_s(self, message: messages.SessionMessage, now: float) -> float | None:
        """Return the server's clock when it sent a message: the message's own time, if it has one.

        A message may arrive after others that were sent later; what happened in between is not
        in it.
        """
        return self.server_time_s(now) if message.t_ms is None else message.t_ms / 1000

    def _take_step(self, session: str, pending: Pending, step: Step, now: float) -> None:
        match step:
            case StreamUpdated():
                self._add_update(pending, step, now)
                self._schedule.plan(session, pending.stream.closes_at_s)
            case StreamStarted():
                self._start_stream(session, pending, replace(step, at=now))
            case list():
                self._request_page(session, pending, step, now)
            case TvDatafeedError():
                self._fail_request(session, step)
            case None:
                pass
            case answer:
                self.close(session)
                self._events.append(Answered(session, answer, now))

    def _add_update(self, pending: Pending, step: StreamUpdated, now: float) -> None:
        if step.update.is_stale:
            step = replace(step, silent_s=now - pending.updated_at)
        pending.updated_at = now
        self._events.append(step)

    def _start_stream(self, session: str, pending: Pending, started: StreamStarted) -> None:
        if started.request.follow:
            self._sessions.follow(session)
            pending.updated_at = started.at
            self._schedule.plan(session, pending.stream.closes_at_s)
        else:
            self.close(session)
        self._events.append(started)

    def _request_page(
        self, session: str, pending: Pending, commands: list[Command], now: float
    ) -> None:
        self._send_all(commands)
        if pending.page_timeout_s is not None:
            pending.requested_at, pending.deadline = now, now + pending.page_timeout_s
        self._events.append(Paged(session))

    def _close_bars(self, sessions: Iterable[str], now: float) -> None:
        """Close the last bars of live series whose close time has passed by the server's clock."""
        for session in sessions:
            pending = self._sessions.by_id[session]
            update = pending.stream.close_by_clock(self.server_time_s(now))
            if update is not None:
                self._add_update(pending, update, now)
            self._schedule.plan(session, pending.stream.closes_at_s)

    def _time_out(self, session: str, pending: Pending, awaited: str, limit_s: float) -> None:
        # No session got an answer since, and the next request would not either.
        self.is_unresponsive = self._moments.last_answered_at < pending.requested_at
        operation = f"{awaited} for {pending.symbol}"
        error = WebSocketTimeoutError(operation, round(limit_s, 3), detail=pending.handler.progress)
        self._fail_request(session, error)

    def _fail_request(self, session: str, error: TvDatafeedError) -> None:
        self.close(session)
        self._events.append(RequestFailed(session, error))

    def _count_framing_violation(self, violation: Violation) -> None:
        self._framing_violations += 1
        count = self._framing_violations
        if count > MAX_VIOLATIONS:
            what = f"TradingView broke the protocol {count} times, the last: {violation.what}"
            self._fail(ProtocolError(what))

    def _fail(self, error: TvDatafeedError) -> None:
        self._change_state(Trigger.FAULT)
        self._events.append(ConnectionFailed(error))

    # Functions, not bound methods: a machine that kept its own methods would be a reference cycle.
    _receivers: ClassVar[dict[type, Callable[["Machine", Any, float], None]]] = {
        Violation: _on_violation,
        messages.Heartbeat: _on_heartbeat,
        messages.Hello: _on_hello,
        messages.Redirect: _on_redirect,
        messages.ProtocolErrorReply: _on_protocol_error,
        **dict.fromkeys(messages.SESSION_MESSAGES, _on_session_message),
    }
