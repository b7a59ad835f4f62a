"""The dispatcher: sends requests over the connections, a few at a time, in the calling thread.

A single request has a window of one; the live feed's dispatcher keeps running. Each request has its
own deadline, tries and result; if the connection breaks, its requests are sent again on the next
one. The dispatcher starts no thread, so Ctrl-C is an exception like any other: leaving the
dispatcher early frees its sessions on the server.
"""

import math
import queue
import time
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, Protocol, TypeAlias

from tvDatafeed.common.deadline import WAIT_SLICE_S, Deadline
from tvDatafeed.exceptions import (
    AuthenticationError,
    TvDatafeedError,
    cut_tracebacks,
    own_copy,
)
from tvDatafeed.network.connection import Connection
from tvDatafeed.network.outcomes import Limits, Outcome, OutcomeReceiver
from tvDatafeed.network.pool import MAX_REDIRECTS, WebSocketManager
from tvDatafeed.network.slots import NoSlot
from tvDatafeed.protocol.events import (
    Answer,
    Answered,
    Paged,
    Request,
    RequestFailed,
    StreamStarted,
)
from tvDatafeed.protocol.refusals import is_connections_limit
from tvDatafeed.utils import generate_session_id

# A longer wait is split: system timers overflow.
_LONGEST_WAIT_S = 3600.0


@dataclass(frozen=True)
class OpenStream:
    """A stream that has started; its session stays open until it is released."""

    started: StreamStarted
    connection: Connection


@dataclass(frozen=True)
class Refused:
    """A request that continues to wait, since its account has too many connections."""

    error: TvDatafeedError


Result: TypeAlias = "Answer | OpenStream | Refused | RequestFailed | TvDatafeedError"


@dataclass
class PendingRequest:
    """A request that has no result yet."""

    key: Any
    request: Request
    receiver: OutcomeReceiver
    # Both are set at the first try.
    deadline: Deadline = field(default_factory=lambda: Deadline(None))
    started: float = 0.0
    token: str | None = None
    # The error of a refused token, until another token is available.
    refusal: TvDatafeedError | None = None
    connection: Connection | None = None
    tries: int = 0
    redirects: int = 0
    has_renewed: bool = False


class TokenSource(Protocol):
    """A source of data tokens, such as `auth.account.Account`."""

    def token(self) -> str | None:
        """Return the token to use; raise a `TvDatafeedError` if none is available.

        None means that a sign-in is running; `Dispatcher.wake` is called at its end.
        """

    def is_refused(self, token: str, error: TvDatafeedError) -> bool:
        """Return whether a request failed because of its token, so that another may help."""

    def token_after(self, token: str, error: TvDatafeedError) -> str | None:
        """Return another token after one was refused, as `token` does."""


class Dispatcher:
    """Sends requests, keeps a window of them in flight, and retries.

    Parameters
    ----------
    manager
        The connections.
    tokens
        Where data tokens come from.
    limits
        How long each request may take after it is sent, including connecting and retries.
    window
        How many requests are in flight at a time.
    keeps_running
        Whether to wait for a connection without limit, and also to return failures of open streams
        (as results without a key) and each `Refused` of a request that is sent again.
    """

    def __init__(
        self,
        manager: WebSocketManager,
        tokens: TokenSource,
        limits: Limits,
        *,
        window: int = 1,
        keeps_running: bool = False,
    ) -> None:
        self._manager = manager
        self._tokens = tokens
        self._limits = limits
        self._window = window
        self._keeps_running = keeps_running
        self._stop = manager.stop
        # None means: check again, a slot may be free or the connections may be closed.
        self._outcomes: SimpleQueue[Outcome | None] = SimpleQueue()
        self._next_try = math.inf
        self._waiting: deque[PendingRequest] = deque()
        self._running: dict[str, PendingRequest] = {}
        self._ready: deque[tuple[Any, Result]] = deque()
        # The tokens refused since the dispatcher was last idle, and why no other is available.
        self._refused: dict[str, TvDatafeedError] = {}

    def run(self, requests: Sequence[Request]) -> "Generator[tuple[int, Result]]":
        """Send requests, and yield each result as soon as it arrives.

        Close the generator to cancel the rest.

        Yields
        ------
        tuple
            The index of a request in `requests`, and its answer or its error.

        Raises
        ------
        TvDatafeedError
            If no token is available, which is not the failure of a single request.
        """
        for index, request in enumerate(requests):
            self.add(index, request)
        try:
            while self._waiting or self._running or self._ready:
                result = self.next()
                if result is not None:
                    yield result
        finally:
            self.release()

    def add(
        self,
        key: Any,
        request: Request,
        *,
        receiver: OutcomeReceiver | None = None,
        first: bool = False,
    ) -> None:
        """Send a request as soon as the window has room.

        Parameters
        ----------
        key
            The key of its result.
        request
            The request.
        receiver
            Receives the events of a stream; it passes all except `StreamUpdated` to `deliver`.
        first
            Whether it is sent before the requests that already wait.
        """
        pending = PendingRequest(key, request, receiver or self)
        if first:
            self._waiting.appendleft(pending)
        else:
            self._waiting.append(pending)

    def deliver(self, outcome: Outcome) -> None:
        """Accept an outcome; may be called in any thread."""
        self._outcomes.put(outcome)

    def wake(self) -> None:
        """Wake the thread that waits in `next`; may be called in any thread."""
        self._outcomes.put(None)

    def next(self, until: float = math.inf) -> "tuple[Any, Result] | None":
        """Return the next result as soon as it arrives, with its key.

        Parameters
        ----------
        until
            How long to wait for it, on the monotonic clock.

        Returns
        -------
        tuple or None
            None when that time has passed, or after `wake`.

        Raises
        ------
        TvDatafeedError
            If no token is available; the requests keep waiting.
        """
        if not self._ready:
            self._fill_window()
        self._receive_outcomes(until, wait=not self._ready)
        # The window is full while the caller processes the result.
        self._fill_window()
        if not self._ready:
            return None
        key, result = self._ready.popleft()
        if isinstance(result, TvDatafeedError):
            # Frames of this thread, which refer to the connection, or to the error itself.
            cut_tracebacks(result)
        return key, result

    @property
    def is_stopped(self) -> bool:
        """Whether the connections were closed on purpose; no more answers arrive."""
        return self._stop.is_set()

    def cancel(self, key: Any) -> None:
        """Cancel the request with a key, if its result was not returned yet."""
        self._waiting = deque(pending for pending in self._waiting if pending.key != key)
        sessions = [session for session, pending in self._running.items() if pending.key == key]
        for session in sessions:
            del self._running[session]
        sessions += _sessions_of([result for owner, result in self._ready if owner == key])
        self._ready = deque(result for result in self._ready if result[0] != key)
        if sessions:
            self._manager.release(sessions)

    def cancel_waiting(self) -> list[Any]:
        """Cancel the requests that were not sent yet, and return their keys."""
        keys = [pending.key for pending in self._waiting]
        self._waiting.clear()
        return keys

    def failed_sessions(self) -> list[RequestFailed]:
        """Return the failures of open streams that were not returned yet."""
        self._receive_outcomes(0.0, wait=False)
        return [result for _key, result in self._ready if isinstance(result, RequestFailed)]

    def release(self) -> None:
        """Cancel all requests whose result was not returned yet."""
        sessions = [*self._running, *_sessions_of([result for _owner, result in self._ready])]
        if sessions:
            self._manager.release(sessions)
        self._waiting.clear()
        self._running.clear()
        self._ready.clear()

    def _fill_window(self) -> None:
        """Send as many requests as fit into the window, and record when to try again."""
        self._next_try = math.inf
        while self._waiting and len(self._running) < self._window:
            pending = self._waiting[0]
            try:
                token = self._token_for(pending)
            except TvDatafeedError as no_way:
                if pending.refusal is None or pending.token is None:
                    raise
                token = pending.token
                self._refuse_for_all(token, no_way)
            if token is None:
                # Its time starts when it can be sent.
                pending.started = 0.0
                break
            self._waiting.popleft()
            token = self._manager.newest_token(token)
            futile = self._begin(pending, token)
            if futile is not None:
                self._ready.append((pending.key, futile))
                continue
            try:
                no_slot = self._send(pending, token)
            except TvDatafeedError as error:
                self._waiting.appendleft(pending)
                # Answers to requests in flight will free room.
                if not self._running:
                    self._fail_all(error)
                break
            if no_slot is not None:
                self._wait_for_slot(pending, no_slot)
                break

    def _begin(self, pending: PendingRequest, token: str) -> TvDatafeedError | None:
        """Start the time of a request; return an error if sending it is pointless."""
        if not pending.started:
            pending.started = time.monotonic()
            pending.deadline = Deadline(self._limits.response_s)
        refusal, pending.refusal = pending.refusal, None
        if token in self._refused:
            error = own_copy(self._refused[token])
            self._manager.record_error(error)
            return error
        return refusal if pending.deadline.expired else None

    def _token_for(self, pending: PendingRequest) -> str | None:
        if pending.token is None:
            return self._tokens.token()
        if pending.refusal is None or pending.token in self._refused:
            return pending.token
        return self._tokens.token_after(pending.token, pending.refusal)

    def _refuse_for_all(self, token: str, error: TvDatafeedError) -> None:
        """Record for all waiting requests that a token is refused and no other is available."""
        self._refused[token] = error
        for pending in self._waiting:
            # No token is requested again meanwhile.
            pending.token = pending.token or token

    def _wait_for_slot(self, pending: PendingRequest, no_slot: NoSlot) -> None:
        """Queue a request without a slot again, or fail it if its deadline comes first.

        While other requests run, each of them may free its slot before that.
        """
        until = math.inf
        if not self._keeps_running and pending.deadline.at is not None:
            until = pending.deadline.at
        if time.monotonic() >= until or (not self._running and no_slot.retry_at >= until):
            self._manager.record_error(no_slot.error)
            self._ready.append((pending.key, no_slot.error))
            self._next_try = 0.0
            return
        if self._keeps_running or (self._running and not pending.tries):
            # It waits for other requests of its own window, like the requests behind it.
            pending.started = 0.0
            until = math.inf
        self._waiting.appendleft(pending)
        self._next_try = min(no_slot.retry_at, until)

    def _fail_all(self, error: TvDatafeedError) -> None:
        """Fail all waiting requests with one error: an outage costs its time once."""
        self._manager.record_error(error)
        self._ready.extend((pending.key, own_copy(error)) for pending in self._waiting)
        self._waiting.clear()

    def _send(self, pending: PendingRequest, token: str) -> NoSlot | None:
        pending.token, pending.connection = token, None
        session = generate_session_id(pending.request.prefix)
        # Registered first, so that an interrupt does not leak a slot.
        self._running[session] = pending
        try:
            connection = self._manager.acquire_slot(
                session,
                token,
                self._stop,
                self,
                is_patient=self._keeps_running,
            )
        except TvDatafeedError:
            del self._running[session]
            raise
        if isinstance(connection, NoSlot):
            del self._running[session]
            return connection
        pending.connection = connection
        until = time.monotonic() + (pending.deadline.remaining() or 0.0)
        try:
            connection.send_request(session, pending.request, until, self._limits, pending.receiver)
        except TvDatafeedError as error:
            # Handlers of log records may keep it.
            cut_tracebacks(error)
            self._process(RequestFailed(session, error))
        return None

    def _receive_outcomes(self, until: float, *, wait: bool) -> None:
        """Process the outcomes that have arrived; optionally wait for the first one."""
        while True:
            try:
                outcome = self._next_outcome(until) if wait else self._outcomes.get_nowait()
            except queue.Empty:
                return
            wait = False
            if outcome is not None:
                self._process(outcome)

    def _next_outcome(self, until: float) -> Outcome | None:
        """Wait for an outcome; return None when it is time to check again."""
        until = min(until, self._next_try)
        if not (self._waiting or self._running) and self._outcomes.empty():
            # New requests may try these tokens again.
            self._refused.clear()
        while True:
            connections = {
                pending.connection for pending in self._running.values() if pending.connection
            }
            wakes = [at for at in (c.wakes_at for c in connections) if at is not None]
            now = time.monotonic()
            if until <= now:
                return None
            seconds = min([_LONGEST_WAIT_S, until - now, *(at - now for at in wakes)])
            if WAIT_SLICE_S is not None:
                seconds = min(seconds, WAIT_SLICE_S)
            try:
                return self._outcomes.get(timeout=max(seconds, 0.0))
            except queue.Empty:
                for connection in connections:
                    connection.tick()

    def _process(self, outcome: Outcome) -> None:
        pending = self._running.get(outcome.session)
        if pending is None or pending.connection is None:
            if self._keeps_running and isinstance(outcome, RequestFailed):
                self._ready.append((None, outcome))
            return
        if isinstance(outcome, Paged):
            # Each page gets the full time again, also on another connection.
            pending.deadline = Deadline(self._limits.response_s)
            return
        if isinstance(outcome, StreamStarted):
            del self._running[outcome.session]
            self._manager.record_success(outcome.at - pending.started)
            self._ready.append((pending.key, OpenStream(outcome, pending.connection)))
            return
        # Released first, so that Ctrl-C does not leak a slot.
        pending.connection.release([outcome.session])
        self._manager.notify_all()
        del self._running[outcome.session]
        if isinstance(outcome, Answered):
            self._manager.record_success(outcome.at - pending.started)
            self._ready.append((pending.key, outcome.answer))
        elif isinstance(outcome, RequestFailed):
            if self._is_to_be_retried(pending, pending.connection, outcome.error):
                self._waiting.appendleft(pending)
            else:
                self._fail(pending, outcome.error)

    def _is_to_be_retried(
        self, pending: PendingRequest, connection: Connection, error: TvDatafeedError
    ) -> bool:
        if self._manager.follow_redirect(connection) and pending.redirects < MAX_REDIRECTS:
            pending.redirects += 1
            return True
        self._manager.record_failure(connection, error)
        pending.tries += not self._manager.excuses(connection, error)
        if (
            pending.tries > self._manager.max_retries
            or pending.deadline.expired
            or self._stop.is_set()
            or not self._manager.is_worth_retrying(connection, error, pending.token or "")
        ):
            return False
        if self._keeps_running and is_connections_limit(error):
            # The request may wait for minutes, so the feed reports it now.
            self._ready.append((pending.key, Refused(own_copy(error))))
        else:
            self._manager.log_retry(pending.request.symbol, error, pending.tries)
        return True

    def _fail(self, pending: PendingRequest, error: TvDatafeedError) -> None:
        """Fail a request, unless another token may help; one other token is tried."""
        token = pending.token
        if pending.has_renewed or token is None or not self._tokens.is_refused(token, error):
            if self._is_token_refused(pending, error):
                self._refuse_for_all(token or "", error)
            self._ready.append((pending.key, error))
            return
        pending.has_renewed, pending.refusal, pending.tries = True, error, 0
        self._waiting.appendleft(pending)

    @staticmethod
    def _is_token_refused(pending: PendingRequest, error: TvDatafeedError) -> bool:
        """Return whether the server has refused the token of this request, not another one."""
        connection, token = pending.connection, pending.token
        if connection is None or token is None or not isinstance(error, AuthenticationError):
            return False
        return connection.only_used_token(token)


def _sessions_of(results: Sequence[Result]) -> list[str]:
    """Return the sessions of open streams, which stay open until they are released."""
    return [result.started.session for result in results if isinstance(result, OpenStream)]
