"""A connection: a machine, a transport and the thread that reads.

Who touches what: the reader thread owns the read side of the socket. The connection's lock guards
the machine and the fields beside it, and is held for one change of state. After it is released, the
thread that made the change delivers the outcomes: updates of a series come from received messages
alone, so that the reader delivers them in order. Packets are sent after that, by one thread at a
time. A thread that waits for an answer waits at a queue of its own, with the deadlines that the
machine keeps.
"""

import functools
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable

from tvDatafeed.common.facts import facts
from tvDatafeed.common.redaction import redact
from tvDatafeed.config import NetworkConfig
from tvDatafeed.exceptions import (
    NetworkError,
    RateLimitError,
    ThreadingError,
    TvDatafeedError,
    WebSocketError,
    WebSocketTimeoutError,
    cut_tracebacks,
    own_copy,
)
from tvDatafeed.network.outcomes import Limits, Outcome, OutcomeReceiver
from tvDatafeed.network.pings import Pinged
from tvDatafeed.network.sessionlimit import KnownLimit, SessionLimit
from tvDatafeed.network.websocket import (
    Outgoing,
    Ping,
    Pong,
    ReceiveResult,
    Transport,
    close_frame,
    dial,
    ping_frame,
    pong_frame,
)
from tvDatafeed.protocol import events
from tvDatafeed.protocol.machine import Machine, Timers

logger: logging.Logger = logging.getLogger(__name__)

# A send that takes longer than this is stuck: the peer has stopped reading.
_STUCK_SEND_S = 0.2
# A peer that does not read its close frame at once does not get one.
_CLOSE_GRACE_S = 0.2
# Only the last ping needs an answer (RFC 6455, 5.5.3); a flood of them is not kept.
_KEPT_CONTROL_FRAMES = 16
# A reader that is still connecting notices an abort within a tenth of this, unless it looks up a
# name: how long that takes is up to the system.
_CONNECTING_PATIENCE_S = 1.0
_READER_FAILED = "the reader of the connection failed"


class Connection(Pinged):
    """One WebSocket connection; it connects in its own thread after `start`.

    Parameters
    ----------
    network
        How to connect, and the limits.
    url
        Where to connect.
    token
        The data token of the first sign-in.
    known_limit
        What is known of how many requests may run on a connection at a time.
    show_frames
        Whether outgoing packets are logged at DEBUG, the token redacted.

    Attributes
    ----------
    show_frames : bool
        As given; may be assigned.
    has_answered : bool
        Whether a request has been answered here, if only by a refusal: the proof of health.
    redirected_to : str or None
        The host that the server redirects its clients to.
    """

    def __init__(
        self,
        network: NetworkConfig,
        url: str,
        token: str,
        *,
        known_limit: KnownLimit,
        show_frames: bool = False,
    ) -> None:
        super().__init__()
        self._network, self._url = network, url
        self.show_frames = show_frames
        self.has_answered: bool = False
        self.redirected_to: str | None = None
        # Everything below is guarded by this lock. It is held for one change of state: never over
        # a send, a receive or a delivery.
        self._lock = threading.Lock()
        # All tokens that were used here, in order: any of them may stand in what is logged.
        self._tokens = [token]
        self._machine = Machine(
            token,
            Timers(
                silence_s=network.silence_timeout,
                ping_s=network.ping_timeout,
                idle_s=network.idle_timeout,
                age_s=network.max_connection_age,
            ),
        )
        self._limit = SessionLimit(known_limit)
        # The sessions that have a slot here, whether a request was sent on them yet or not.
        self._sessions: set[str] = set()
        self._receivers: dict[str, OutcomeReceiver] = {}
        self._transport: Transport | None = None
        self._error: TvDatafeedError | None = None
        self._is_deliberate = False
        self._lost_requests = 0
        # What is to be delivered when the lock is released.
        self._deliveries: list[tuple[OutcomeReceiver, Outcome]] = []
        # One thread at a time sends; the others leave their part to it.
        self._control_frames: list[bytes] = []
        self._sender: int | None = None
        self._sending_since = 0.0
        # A transport that its reader has left while another thread was sending.
        self._left_transport: Transport | None = None
        self._reader: threading.Thread | None = None

    def __repr__(self) -> str:
        state = "broken" if self._error else "open" if self._transport else "connecting"
        return f"<Connection {state} {self._url} {self._machine!r}>"

    def start(self) -> None:
        """Start to connect.

        Raises
        ------
        ThreadingError
            The system gives no thread; the connection is broken then.
        """
        reader = threading.Thread(target=self._read, name="tvDatafeed-reader", daemon=True)
        self._reader = reader
        try:
            reader.start()
        except RuntimeError as error:
            # A thread that never started refers to its target for ever.
            self._reader = None
            del reader
            cut_tracebacks(error)
            reason = f"no thread for the connection: {error}"
            self.abort(ThreadingError(reason))
            raise ThreadingError(reason) from error
        except BaseException:
            # Ctrl-C: the thread may have begun; other threads may wait for it already.
            self.abort(WebSocketError("interrupted"))
            raise

    @property
    def configured_url(self) -> str:
        """The URL of the settings; the server may have redirected its clients to another one."""
        return self._network.ws_url

    @property
    def is_usable(self) -> bool:
        """Whether a request may still be answered here."""
        return self._error is None

    @property
    def error(self) -> TvDatafeedError | None:
        """Why the connection has ended; None while it is usable."""
        return self._error

    @property
    def failed_with_work(self) -> bool:
        """Whether it ended by a fault, and before its first answer or with requests on it."""
        return not self._is_deliberate and (not self.has_answered or self._lost_requests > 0)

    @property
    def lost_requests(self) -> int:
        """How many requests a fault of the connection has failed; 0 when it ended on purpose."""
        return 0 if self._is_deliberate else self._lost_requests

    @property
    def open_sessions(self) -> int:
        """How many requests are running here."""
        return self._machine.open_sessions

    @property
    def free_slots(self) -> int:
        """How many more requests may run here, as far as it is known."""
        return self._limit.room(len(self._sessions))

    def server_time_s(self) -> float | None:
        """Return the server's clock, epoch seconds UTC; None before it is known."""
        return self._machine.server_time_s(time.monotonic())

    def last_received_time_s(self) -> float | None:
        """Return the server's clock when it served last, epoch seconds UTC; None as above."""
        return self._machine.server_time_s(self._machine.last_served_at)

    def silent_s(self) -> float:
        """Return for how long the server has sent nothing, in seconds; infinity: it never has."""
        return time.monotonic() - self._machine.last_received_at

    @property
    def is_answering(self) -> bool:
        """Whether the server still answers here, as far as that is known."""
        return self._error is None and not self._machine.is_unresponsive

    @property
    def counters(self) -> Counter[str]:
        """What was counted here: messages, heartbeats, violations and others."""
        return self._machine.counters

    def sign_in(self, token: str) -> None:
        """Use another token from now on, without sending a request."""
        self._exchange(lambda machine: self._use_token(machine, token))

    def _use_token(self, machine: Machine, token: str) -> None:
        if self._error is None and token != self._tokens[-1]:
            self._tokens.append(token)
            machine.set_token(token)

    def only_used_token(self, token: str) -> bool:
        """Whether no other token than this one was ever used here."""
        return self._tokens == [token]

    def acquire_slot(self, token: str, session: str) -> bool:
        """Reserve a slot for a session, and sign in with its token; `release` gives it back.

        Returns
        -------
        bool
            False when the connection is full, used up, broken or does not answer.
        """
        with self._lock:
            is_stuck = self._sender and time.monotonic() - self._sending_since > _STUCK_SEND_S
            # An unresponsive server sends heartbeats and answers no request.
            is_broken = self._error or is_stuck or self._machine.is_unresponsive
            if is_broken or not self._limit.acquire(len(self._sessions)):
                return False
            # Sent together with the next request.
            self._use_token(self._machine, token)
            self._sessions.add(session)
            return True

    def send_request(
        self,
        session: str,
        request: events.Request,
        deadline: float,
        limits: Limits,
        receiver: OutcomeReceiver,
    ) -> None:
        """Send a request on a session that has a slot.

        Parameters
        ----------
        session
            A fresh session id of the request's kind.
        request
            The request.
        deadline
            When the answer must be complete, on the monotonic clock.
        limits
            How long its parts may take.
        receiver
            Where its events go: `Paged` for each part of a long answer, and one of `Answered` and
            `RequestFailed` in the end. A stream has `StreamStarted` instead of an answer, and then
            each `StreamUpdated`, until it is released or has a `RequestFailed`.

        Raises
        ------
        TvDatafeedError
            The connection is broken.
        """

        def send(machine: Machine) -> None:
            if self._error is not None:
                raise own_copy(self._error)
            self._receivers[session] = receiver
            self._limit.send(session, machine.open_sessions)
            machine.open(
                session,
                request,
                now=time.monotonic(),
                deadline=deadline,
                message_timeout_s=limits.message_s,
                page_timeout_s=limits.response_s,
            )

        self._exchange(send)

    def release(self, sessions: Iterable[str]) -> None:
        """Give the slots of sessions back; requests without an outcome are cancelled.

        Sessions without a slot here are ignored, so that one may be released twice.
        """

        def free(machine: Machine) -> None:
            for session in self._sessions.intersection(sessions):
                # After Ctrl-C the session is freed, and a late answer dropped by its id.
                self._receivers.pop(session, None)
                machine.close(session)
                self._limit.forget(session)
                self._sessions.discard(session)
            if not self._sessions and self._limit.is_used_up:
                self._close(WebSocketError("the connection has opened all its sessions"))
            elif not self._sessions:
                machine.allow_retirement(time.monotonic())

        self._exchange(free)

    @property
    def wakes_at(self) -> float | None:
        """When `tick` must be called next, on the monotonic clock; None: never."""
        with self._lock:
            return self._machine.next_deadline()

    def tick(self) -> None:
        """Fail requests whose deadline has passed.

        Threads that wait for an answer call it, so that a stuck reader does not hang them.
        """
        self._exchange(lambda machine: machine.tick(time.monotonic()))

    def excuses_refusal(self) -> bool:
        """Whether a refused session is excused: once for each sent before the limit was known."""
        with self._lock:
            return self._limit.excuse()

    def abort(self, error: TvDatafeedError) -> None:
        """End the connection from any thread, on purpose; waiting requests fail with ``error``."""
        self._exchange(lambda _machine: self._close(error))

    def abort_unlocked(self, error: TvDatafeedError) -> None:
        """End the connection without its lock; the reader does the rest.

        The garbage collector and signal handlers run in any thread at any point, also in one
        that holds the lock.
        """
        self._is_deliberate = True
        self._error = self._error or error
        transport = self._transport
        if transport is not None:
            transport.abort()

    def join(self, timeout: float | None) -> bool:
        """Wait until the reader has ended; False when it has not."""
        reader = self._reader
        if reader is None or reader.ident is None:
            return True  # it never started
        if self._transport is None:
            longest_s = _CONNECTING_PATIENCE_S
            timeout = longest_s if timeout is None else min(timeout, longest_s)
        if reader is not threading.current_thread():
            reader.join(timeout)
        return not reader.is_alive()

    def release_in_child(self) -> None:
        """Free the descriptor in a forked child, without a byte to the parent's server."""
        if self._transport is not None:
            self._transport.release()

    def _exchange(self, change: Callable[[Machine], None]) -> None:
        """Change the machine's state; then deliver its events and send its packets."""
        # A plain "with" alone gives the lock back whenever Ctrl-C may come; a context manager of
        # our own, or an acquire with a timeout, may be interrupted while it holds the lock.
        deliveries: list[tuple[OutcomeReceiver, Outcome]] = []
        is_changing = False
        try:
            with self._lock:
                is_changing = True
                change(self._machine)
                for event in self._machine.events():
                    self._handle(event)
                outgoing = self._claim_sending()
                deliveries = self._take_deliveries()
                is_changing = False
            for receiver, outcome in deliveries:
                receiver.deliver(outcome)
            if outgoing is not None:
                self._send(outgoing)
        except TvDatafeedError:
            raise
        except BaseException:
            self._recover(deliveries, is_half_changed=is_changing)
            raise

    def _take_deliveries(self) -> list[tuple[OutcomeReceiver, Outcome]]:
        deliveries, self._deliveries = self._deliveries, []
        return deliveries

    def _recover(
        self, deliveries: list[tuple[OutcomeReceiver, Outcome]], *, is_half_changed: bool
    ) -> None:
        """Break the connection if Ctrl-C came in the middle of a change or of a send.

        Outcomes that other threads wait for are delivered again. Updates of series are not: the
        series is opened again, and goes on from the last bar that was delivered.
        """
        interrupted: TvDatafeedError = WebSocketError("interrupted in the middle of a message")
        if threading.current_thread() is self._reader:
            interrupted = NetworkError(_READER_FAILED)
        with self._lock:
            is_sender = self._sender == threading.get_ident()
            if is_half_changed or is_sender or self._error is not None:
                self._break(interrupted)
            deliveries = [*deliveries, *self._take_deliveries()]
        if is_sender:
            self._finish_send(interrupted, is_last=True)
        for receiver, outcome in deliveries:
            if not isinstance(outcome, events.StreamStarted | events.StreamUpdated):
                receiver.deliver(outcome)

    def _handle(self, event: events.Event) -> None:
        match event:
            case events.Answered() | events.RequestFailed():
                self._complete(event)
            case events.StreamStarted():
                self.has_answered = True
                self._limit.accept(event.session, self._machine.open_sessions)
                self._queue_delivery(event)
                if not event.request.follow:
                    self._receivers.pop(event.session, None)
            case events.Paged() | events.StreamUpdated():
                self._queue_delivery(event)
            case events.ConnectionFailed():
                self._break(event.error)
            case events.PingWanted():
                self._control_frames.append(ping_frame(event.payload))
            case events.Retired() if self._sessions:
                self._machine.cancel_retirement(time.monotonic())
            case events.Retired():
                self._close(WebSocketError("the connection was idle"))
            case events.Redirected():
                self.redirected_to = event.host
                self._break(WebSocketError(f"the server redirects its clients to {event.host}"))

    def _queue_delivery(self, outcome: Outcome) -> None:
        receiver = self._receivers.get(outcome.session)
        if receiver is not None:
            self._deliveries.append((receiver, outcome))

    def _complete(self, outcome: events.Answered | events.RequestFailed) -> None:
        error = outcome.error if isinstance(outcome, events.RequestFailed) else None
        # A refusal proves health as well as an answer; silence and noise do not.
        self.has_answered = self.has_answered or not isinstance(error, NetworkError)
        self._queue_delivery(outcome)
        if isinstance(error, RateLimitError):
            self._limit.refuse(outcome.session, self._machine.open_sessions, error)
        self._receivers.pop(outcome.session, None)
        if isinstance(error, WebSocketTimeoutError):
            self._break_if_stuck(error)

    def _break_if_stuck(self, error: WebSocketTimeoutError) -> None:
        """Break a connection that spent a request's whole time on one message."""
        is_stuck = self._transport is not None and self._transport.is_in_a_message
        if is_stuck and self.silent_s() >= error.timeout / 2:
            self._break(WebSocketTimeoutError("message", error.timeout, detail="it never ended"))

    def _close(self, error: TvDatafeedError) -> None:
        """End the connection on purpose: `_send` sends a close frame, and breaks it then."""
        self._is_deliberate = True
        if self._error is None and self._transport is not None and self._sender is None:
            self._error = error
            self._control_frames.append(close_frame())
        else:
            self._break(error)

    def _break(self, error: TvDatafeedError) -> None:
        # Those of a reader or a sender refer to this connection, and would keep it.
        cut_tracebacks(error)
        if self._error is None:
            self._error = error
            self._lost_requests = len(self._receivers)
        self._control_frames.clear()
        if self._transport is not None:
            self._transport.abort()
            return
        # No reader will come to its end: the waiting requests fail now.
        for session, receiver in self._receivers.items():
            self._deliveries.append(
                (receiver, events.RequestFailed(session, own_copy(self._error)))
            )
        self._receivers.clear()

    def _claim_sending(self) -> Outgoing | None:
        """Return what this thread is to send; None when there is nothing; the lock is held.

        Another thread that is sending comes here again afterwards, so that it leaves nothing.
        """
        transport, frames = self._transport, self._control_frames
        is_closing = self._error is not None and bool(frames)
        if transport is None or self._sender is not None or (self._error and not is_closing):
            return None
        packets = self._machine.data_to_send()
        if not packets and not frames:
            return None
        self._control_frames = []
        self._sender, self._sending_since = threading.get_ident(), time.monotonic()
        return Outgoing(transport, packets, frames, is_closing)

    def _send(self, outgoing: Outgoing | None) -> None:
        """Send packets, without the lock, in the thread that claimed it."""
        while outgoing is not None:
            limit_s = _CLOSE_GRACE_S if outgoing.is_closing else self._network.send_timeout
            failure: TvDatafeedError | None = None
            try:
                outgoing.transport.send(
                    outgoing.packets, outgoing.control_frames, self._sending_since + limit_s
                )
            except TvDatafeedError as error:
                failure = error
            if self.show_frames:
                for packet in outgoing.packets:
                    logger.debug("sent %s", redact(packet, self._tokens))
            outgoing = self._finish_send(failure, is_last=outgoing.is_closing)

    def _finish_send(self, failure: TvDatafeedError | None, *, is_last: bool) -> Outgoing | None:
        """Record the end of a send, and return what has come meanwhile."""
        with self._lock:
            self._sender = None
            left, self._left_transport = self._left_transport, None
            if failure is not None or is_last:
                self._break(failure or WebSocketError("the connection was closed"))
            outgoing = self._claim_sending()
        if left is not None:
            left.close()
        return outgoing

    def _read(self) -> None:
        transport: Transport | None = None
        error: TvDatafeedError = WebSocketError("the connection was closed")
        try:
            deadline = time.monotonic() + self._network.connect_timeout
            transport = dial(self._network, self._url, deadline, lambda: bool(self._error))
            self._exchange(functools.partial(self._open_with, transport))
            while self._error is None:
                self._read_next(transport)
        except TvDatafeedError as failure:
            error = failure
        except BaseException as failure:
            logger.exception("the reader of a connection failed; please report this")
            error = NetworkError(f"{_READER_FAILED}: {type(failure).__name__}")
            error.__cause__ = failure
        finally:
            self._end(transport, error)

    def _open_with(self, transport: Transport, machine: Machine) -> None:
        self._transport = transport
        machine.start_timers(time.monotonic())

    def _read_next(self, transport: Transport) -> None:
        with self._lock:
            deadline = self._machine.next_deadline()
        received = transport.receive(deadline)
        now = time.monotonic()
        match received:
            case str():
                self._exchange(lambda machine: machine.receive(received, now))
            case Ping():
                self._exchange(functools.partial(self._answer, received))
            case Pong():
                self._exchange(functools.partial(self._receive_pong, now, received.payload))
            case ReceiveResult.DEADLINE:
                self._exchange(lambda machine: machine.tick(now))

    def _answer(self, ping: Ping, _machine: Machine) -> None:
        self._control_frames.append(pong_frame(ping.payload))
        del self._control_frames[:-_KEPT_CONTROL_FRAMES]

    def _end(self, transport: Transport | None, error: TvDatafeedError) -> None:
        with self._lock:
            self._break(error)
            error = self._error or error
            self._transport = None
            # Those that came while it was open still wait.
            self._break(error)
            if self._sender is not None:
                # A descriptor that another thread uses is freed by that thread.
                self._left_transport, transport = transport, None
            deliveries = self._take_deliveries()
        if transport is not None:
            transport.close()
        self._fail_asked()
        for receiver, outcome in deliveries:
            receiver.deliver(outcome)
        logger.debug("connection ended: %s", error, extra=facts(error=error, url=self._url))
