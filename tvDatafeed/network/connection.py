"""A connection: a machine, a transport and the thread that reads.

Who touches what: the reader thread owns the read side of the socket; the connection's lock
guards the machine and the send side, and is held for one change of state and one bounded send;
everyone else waits for outcomes in a queue of their own, with the deadlines that the machine keeps.
"""

import functools
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from tvDatafeed.common.redaction import redact
from tvDatafeed.config import NetworkConfig
from tvDatafeed.exceptions import (
    NetworkError,
    ThreadingError,
    TvDatafeedError,
    WebSocketError,
    WebSocketTimeoutError,
    own_copy,
)
from tvDatafeed.network.websocket import Sign, Transport, dial
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
    StreamStarted,
    StreamUpdated,
)
from tvDatafeed.protocol.machine import Machine, Timers

logger: logging.Logger = logging.getLogger(__name__)

# The lock is held for microseconds, unless a send is stuck.
_LOCK_PATIENCE_S = 0.2
_LOCK_PAUSE_S = 0.0005
# A reader that is still connecting notices within a tenth of this that it is not wanted, unless
# it looks up a name: how long that takes the system does not say.
_CONNECTING_PATIENCE_S = 1.0

Outcome: TypeAlias = Answered | RequestFailed | Paged | StreamStarted | StreamUpdated


class Outcomes(Protocol):
    """Where the events of a request go: a queue, or one that takes them in the reader's thread.

    What takes them there does so under the connection's lock: it is quick, and calls nothing of
    the connection.
    """

    def put(self, item: Outcome, /) -> object:
        """Take an event."""


@dataclass(frozen=True)
class Limits:
    """How long a request may take, in seconds.

    Parameters
    ----------
    response_s
        The whole answer; of a long one, each further part.
    message_s
        One message of it; None for no limit of its own.
    """

    response_s: float
    message_s: float | None


class Connection:
    """One WebSocket connection; it connects in its own thread as soon as it is made.

    Parameters
    ----------
    network
        How to connect, and the limits.
    url
        Where to connect.
    token
        The data token of the first sign-in.
    places
        How many requests may run here at a time.
    show_frames
        Whether outgoing packets go to the log at DEBUG, the token redacted.

    Attributes
    ----------
    show_frames : bool
        As given; may be assigned.
    proven : bool
        Whether a request has been answered here, if only by a refusal: the proof of health.
    redirected_to : str or None
        The host that the server sends its clients to.

    Raises
    ------
    ThreadingError
        When the system gives no thread.
    """

    def __init__(
        self,
        network: NetworkConfig,
        url: str,
        token: str,
        *,
        places: int,
        show_frames: bool = False,
    ) -> None:
        self._network = network
        self._url = url
        # All tokens that were used here, in order: any of them may stand in what is logged.
        self._tokens = [token]
        self._lock = threading.Lock()
        self._machine = Machine(
            token,
            Timers(
                silence_s=network.silence_timeout,
                ping_s=network.ping_timeout,
                idle_s=network.idle_timeout,
                age_s=network.max_connection_age,
            ),
        )
        self._transport: Transport | None = None
        self._error: TvDatafeedError | None = None
        self._deliberate = False
        self._waiting: dict[str, Outcomes] = {}
        self._places = places
        # The sessions that have a place here, whether anything was asked on them yet or not.
        self._holders: set[str] = set()
        self._lost_requests = 0
        self.show_frames = show_frames
        self.proven: bool = False
        self.redirected_to: str | None = None
        self._reader = threading.Thread(target=self._read, name="tvDatafeed-reader", daemon=True)
        try:
            self._reader.start()
        except RuntimeError as error:
            raise ThreadingError(f"no thread for the connection: {error}") from error
        except BaseException:
            # Ctrl-C: the thread may have begun, and nobody will ever ask for it.
            self.abandon(WebSocketError("interrupted"))
            raise

    def __repr__(self) -> str:
        state = "broken" if self._error else "open" if self._transport else "connecting"
        return f"<Connection {state} {self._url} {self._machine!r}>"

    @property
    def is_usable(self) -> bool:
        """Whether a request may still be answered here."""
        return self._error is None

    @property
    def error(self) -> TvDatafeedError | None:
        """Why the connection is of no more use."""
        return self._error

    @property
    def is_lost(self) -> bool:
        """Whether it ended against our will, and with something at stake."""
        return not self._deliberate and (not self.proven or self._lost_requests > 0)

    @property
    def open_sessions(self) -> int:
        """How many requests are running here."""
        return self._machine.open_sessions

    def server_time_s(self) -> float | None:
        """Give the server's clock, epoch seconds UTC; None until it was heard."""
        return self._machine.server_time_s(time.monotonic())

    def heard_time_s(self) -> float | None:
        """Give the server's clock when it was heard last, epoch seconds UTC."""
        return self._machine.server_time_s(self._machine.last_received_at)

    @property
    def counters(self) -> Counter[str]:
        """What was counted here: messages, heartbeats, violations and others."""
        return self._machine.counters

    def sign_in(self, token: str) -> None:
        """Use another token from now on, without asking for anything."""

        def use(machine: Machine) -> None:
            if self._error is None and token != self._tokens[-1]:
                self._tokens.append(token)
                machine.set_token(token)

        self._exchange(use)

    def is_surely_of(self, token: str) -> bool:
        """Whether a refused token can have been no other than this."""
        return self._tokens == [token]

    def reserve(self, token: str, session: str) -> bool:
        """Give a session a place, and sign in with its token; `end` takes the place back.

        Returns
        -------
        bool
            False when the connection is full or of no more use.
        """
        if self._is_stuck():
            return False  # no place to wait for an answer
        with self._lock:
            if self._error is not None or len(self._holders) >= self._places:
                return False
            if self._machine.is_unresponsive:
                return False  # it beats, and answers nobody
            if token != self._tokens[-1]:
                # Sent together with what is asked next.
                self._tokens.append(token)
                self._machine.set_token(token)
            self._holders.add(session)
            return True

    def begin(
        self,
        session: str,
        request: Request,
        deadline: float,
        limits: Limits,
        outcomes: Outcomes,
    ) -> None:
        """Ask for something on a session that has a place.

        Parameters
        ----------
        session
            A fresh session id of the request's kind.
        request
            What to ask for.
        deadline
            When the answer must be there, on the monotonic clock.
        limits
            How long its parts may take.
        outcomes
            Where its events go: `Paged` for each part of a long answer, and one of `Answered` and
            `RequestFailed` in the end. A stream has `StreamStarted` instead of an answer, and then
            each `StreamUpdated`, until it is ended or has a `RequestFailed`.

        Raises
        ------
        TvDatafeedError
            The connection is broken.
        """

        def ask(machine: Machine) -> None:
            if self._error is not None:
                raise own_copy(self._error)
            self._waiting[session] = outcomes
            machine.open(
                session,
                request,
                now=time.monotonic(),
                deadline=deadline,
                message_timeout_s=limits.message_s,
                page_timeout_s=limits.response_s,
            )

        self._exchange(ask)

    def end(self, sessions: Iterable[str]) -> None:
        """Take the places of sessions back; requests without an outcome are given up.

        A session without a place here is none of ours, so that it may be ended twice.
        """

        def free(machine: Machine) -> None:
            for session in self._holders.intersection(sessions):
                # After Ctrl-C the session is freed, and a late answer dropped by its id.
                self._waiting.pop(session, None)
                machine.close(session)
                self._holders.discard(session)

        self._exchange(free)

    @property
    def wakes_at(self) -> float | None:
        """When `keep_time` must be called next, on the monotonic clock; None: never."""
        with self._lock:
            return self._machine.next_deadline()

    def keep_time(self) -> None:
        """Let those whose time is over have their outcome.

        The one who waits keeps the time, so that a reader which is stuck hangs nobody.
        """
        self._exchange(lambda machine: machine.tick(time.monotonic()))

    def mark_full(self) -> int:
        """Take no more requests than are running now, and say how many that is, at least one.

        The server says that the one which has just ended was too many.
        """
        with self._lock:
            self._places = max(min(self._places, len(self._holders)), 1)
            return self._places

    def abort(self, error: TvDatafeedError) -> None:
        """End the connection from any thread, on purpose; whoever waits here gets ``error``."""
        if self._is_stuck():
            self.abandon(error)
            return
        with self._lock:
            self._leave(error)

    def abandon(self, error: TvDatafeedError) -> None:
        """End the connection without any lock; the reader does what remains.

        The garbage collector and signal handlers run in any thread at any point, also in one
        that holds the lock.
        """
        self._deliberate = True
        self._error = self._error or error
        transport = self._transport
        if transport is not None:
            transport.abort()

    def join(self, timeout: float | None) -> bool:
        """Wait until the reader has ended; False when it has not."""
        if self._transport is None:
            timeout = min(timeout or _CONNECTING_PATIENCE_S, _CONNECTING_PATIENCE_S)
        if self._reader is not threading.current_thread():
            self._reader.join(timeout)
        return not self._reader.is_alive()

    def forget_in_child(self) -> None:
        """Free the descriptor in a forked child, without a byte to the parent's server."""
        if self._transport is not None:
            self._transport.forget()

    def _give_up_if_stuck(self, error: WebSocketTimeoutError) -> None:
        """Break a connection that spent a request's whole time on one message."""
        silent_s = time.monotonic() - self._machine.last_received_at
        is_stuck = self._transport is not None and self._transport.is_in_a_message
        if is_stuck and silent_s >= error.timeout / 2:
            limit_s = error.timeout
            self._break(WebSocketTimeoutError("message", limit_s, detail="it never ended"))

    def _is_stuck(self) -> bool:
        """Whether somebody's send holds the lock, which everything else does for microseconds."""
        until = time.monotonic() + _LOCK_PATIENCE_S
        while self._lock.locked():
            if time.monotonic() >= until:
                return True
            time.sleep(_LOCK_PAUSE_S)
        return False

    def _exchange(self, change: Callable[[Machine], None]) -> None:
        """Change the machine's state, send what follows from it, hand its events out."""
        # A plain "with" alone gives the lock back whenever Ctrl-C may come; a context manager of
        # our own, or an acquire with a timeout, may be left with the lock in its hand.
        sent: list[str] = []
        try:
            with self._lock:
                change(self._machine)
                try:
                    self._send(sent)
                    for event in self._machine.events():
                        self._hand_out(event)
                except BaseException:
                    # Ctrl-C, with half a frame sent perhaps, or an event in hand that somebody
                    # else waits for.
                    self._break(WebSocketError("interrupted in the middle of a message"))
                    raise
        finally:
            if self.show_frames:
                for packet in sent:
                    logger.debug("sent %s", redact(packet, self._tokens))

    def _send(self, sent: list[str]) -> None:
        if self._transport is None or self._error is not None:
            return
        sent += self._machine.data_to_send()
        if not sent:
            return
        try:
            self._transport.send(sent, time.monotonic() + self._network.send_timeout)
        except TvDatafeedError as error:
            self._break(error)

    def _hand_out(self, event: Event) -> None:
        match event:
            case Answered() | RequestFailed():
                self._settle(event)
            case StreamStarted():
                self.proven = True
                self._tell(event)
                if not event.request.follow:
                    self._waiting.pop(event.session, None)
            case Paged() | StreamUpdated():
                self._tell(event)
            case ConnectionFailed():
                self._break(event.error)
            case PingWanted():
                self._ping()
            case Retired() if self._holders:
                self._machine.cancel_retirement(time.monotonic())
            case Retired():
                self._leave(WebSocketError("the connection was idle"))
            case Redirected():
                self.redirected_to = event.host
                self._break(WebSocketError(f"the server sends its clients to {event.host}"))

    def _tell(self, outcome: Outcome) -> None:
        outcomes = self._waiting.get(outcome.session)
        if outcomes is not None:
            outcomes.put(outcome)

    def _settle(self, outcome: Answered | RequestFailed) -> None:
        error = outcome.error if isinstance(outcome, RequestFailed) else None
        # A refusal proves health as well as an answer; silence and noise do not.
        self.proven = self.proven or not isinstance(error, NetworkError)
        self._tell(outcome)
        self._waiting.pop(outcome.session, None)
        if isinstance(error, WebSocketTimeoutError):
            self._give_up_if_stuck(error)

    def _ping(self) -> None:
        if self._transport is None:
            return
        try:
            self._transport.ping(time.monotonic() + self._network.send_timeout)
        except TvDatafeedError as error:
            self._break(error)

    def _leave(self, error: TvDatafeedError) -> None:
        self._deliberate = True
        if self._transport is not None and self._error is None:
            self._transport.say_goodbye()
        self._break(error)

    def _break(self, error: TvDatafeedError) -> None:
        if self._error is None:
            self._error = error
            self._lost_requests = len(self._waiting)
        if self._transport is not None:
            self._transport.abort()
            return
        # Still connecting: nobody has to wait for the end of that.
        for session, outcomes in self._waiting.items():
            outcomes.put(RequestFailed(session, own_copy(self._error)))
        self._waiting.clear()

    def _read(self) -> None:
        transport: Transport | None = None
        error: TvDatafeedError = WebSocketError("the connection was closed")
        try:
            deadline = time.monotonic() + self._network.connect_timeout
            transport = dial(self._network, self._url, deadline, self._is_over)
            self._exchange(functools.partial(self._open_with, transport))
            while self._error is None:
                self._read_next(transport)
        except TvDatafeedError as failure:
            error = failure
        except BaseException as failure:
            logger.exception("the reader of a connection failed; please report this")
            error = NetworkError("the reader of the connection failed")
            error.__cause__ = failure
        finally:
            self._end(transport, error)

    def _open_with(self, transport: Transport, machine: Machine) -> None:
        self._transport = transport
        machine.start_timers(time.monotonic())

    def _is_over(self) -> bool:
        return self._error is not None

    def _read_next(self, transport: Transport) -> None:
        with self._lock:
            deadline = self._machine.next_deadline()
        text = transport.receive(deadline)
        now = time.monotonic()
        if isinstance(text, str):
            self._exchange(lambda machine: machine.receive(text, now))
        elif text is Sign.PONG:
            self._exchange(lambda machine: machine.receive_pong(now))
        else:
            self._exchange(lambda machine: machine.tick(now))

    def _end(self, transport: Transport | None, error: TvDatafeedError) -> None:
        with self._lock:
            self._break(error)
            error = self._error or error
            self._transport = None
            # Those that came while it was open still wait.
            self._break(error)
        # Nobody sends any more, so the descriptor can go.
        if transport is not None:
            transport.close()
        logger.debug("connection ended: %s", error)
