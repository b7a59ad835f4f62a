"""A batch: requests that share the connections, a few at a time, in the thread that asks.

One request is a batch of one, and the live feed's is one that never ends. Each has its own time,
tries and fate; when the connection breaks under some, they are asked again on the next one. No
thread is started, so Ctrl-C is an exception like any other: whatever leaves the batch early frees
its sessions on the server.
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
from tvDatafeed.exceptions import TvDatafeedError, own_copy
from tvDatafeed.network.connection import Connection, Limits, Outcome, Outcomes
from tvDatafeed.network.pool import MAX_REDIRECTS, NotYet, WebSocketManager
from tvDatafeed.protocol.events import (
    Answer,
    Answered,
    Paged,
    Request,
    RequestFailed,
    StreamStarted,
)
from tvDatafeed.utils import generate_session_id

# What waits longer than this looks again, for no timer of the system takes any number.
_LONGEST_WAIT_S = 3600.0


@dataclass(frozen=True)
class Opened:
    """A stream has started on a connection, where its session is until somebody ends it."""

    started: StreamStarted
    connection: Connection


Result: TypeAlias = "Answer | Opened | RequestFailed | TvDatafeedError"


@dataclass
class _Job:
    """A request on its way, and whose it is."""

    key: Any
    request: Request
    outcomes: Outcomes
    # Both from the moment that it is first tried.
    deadline: Deadline = field(default_factory=lambda: Deadline(None))
    started: float = 0.0
    token: str | None = None
    connection: Connection | None = None
    tries: int = 0
    redirects: int = 0
    has_renewed: bool = False


class TokenSource(Protocol):
    """Where data tokens come from; `auth.account.Account` is one."""

    def token(self) -> str:
        """Return the token to use; raise a `TvDatafeedError` when there is none."""

    def renewed(self, token: str, error: TvDatafeedError) -> str | None:
        """Return another token after a request has failed; None when this one is not to blame."""


class Batch:
    """Requests that are asked together.

    Parameters
    ----------
    manager
        The connections.
    tokens
        Where data tokens come from.
    limits
        How long each request may take, from the moment it is sent; connecting and tries included.
    window
        How many run at a time.
    is_endless
        Whether to wait for a connection for as long as it takes, and to give as results of no key
        what comes for sessions that run no more: the ends of streams that were opened here.
    """

    def __init__(
        self,
        manager: WebSocketManager,
        tokens: TokenSource,
        limits: Limits,
        *,
        window: int = 1,
        is_endless: bool = False,
    ) -> None:
        self._manager = manager
        self._tokens = tokens
        self._limits = limits
        self._window = window
        self._is_endless = is_endless
        self._stop = manager.stop
        # None among them: a place may be free, or there will be none.
        self._outcomes: SimpleQueue[Outcome | None] = SimpleQueue()
        self._next_try = math.inf
        self._waiting: deque[_Job] = deque()
        self._running: dict[str, _Job] = {}
        self._ready: deque[tuple[Any, Result]] = deque()

    def ask(self, requests: Sequence[Request]) -> "Generator[tuple[int, Result]]":
        """Ask, and give each result as soon as it is there.

        Close the generator to give up what has not come.

        Yields
        ------
        tuple
            The place of a request in `requests`, and its answer or its error.

        Raises
        ------
        TvDatafeedError
            When there is no token: that is nobody's own failure.
        """
        for place, request in enumerate(requests):
            self.add(place, request)
        try:
            while self._waiting or self._running or self._ready:
                result = self.next()
                if result is not None:
                    yield result
        finally:
            self.release()

    def add(
        self, key: Any, request: Request, *, outcomes: Outcomes | None = None, first: bool = False
    ) -> None:
        """Ask for something as soon as there is room.

        Parameters
        ----------
        key
            What its result is given with.
        request
            What to ask for.
        outcomes
            Takes the events of a stream; it hands all but `StreamUpdated` on to `put`.
        first
            Whether it goes before those that wait already.
        """
        job = _Job(key, request, outcomes or self)
        if first:
            self._waiting.appendleft(job)
        else:
            self._waiting.append(job)

    def put(self, outcome: Outcome | None) -> None:
        """Take an outcome, or with None wake who waits in `next`; any thread."""
        self._outcomes.put(outcome)

    def next(self, until: float = math.inf) -> "tuple[Any, Result] | None":
        """Give the next result as soon as it is there, with its key.

        Parameters
        ----------
        until
            How long to wait for it, on the monotonic clock.

        Returns
        -------
        tuple or None
            None when that is over, or there may be something new to look at.

        Raises
        ------
        TvDatafeedError
            When there is no token; nothing that waits is lost.
        """
        self._fill()
        # The window is kept full while the results are being looked at.
        self._hear(until, wait=not self._ready)
        return self._ready.popleft() if self._ready else None

    @property
    def is_stopped(self) -> bool:
        """Whether the connections were closed on purpose; nothing is answered here any more."""
        return self._stop.is_set()

    def cancel(self, key: Any) -> None:
        """Give up what was added with a key and whose result was not given yet."""
        self._waiting = deque(job for job in self._waiting if job.key != key)
        sessions = [session for session, job in self._running.items() if job.key == key]
        for session in sessions:
            del self._running[session]
        sessions += _opened_by([result for owner, result in self._ready if owner == key])
        self._ready = deque(result for result in self._ready if result[0] != key)
        if sessions:
            self._manager.end(sessions)

    def cancel_waiting(self) -> list[Any]:
        """Give up what was not sent yet, and say with which keys it was added."""
        keys = [job.key for job in self._waiting]
        self._waiting.clear()
        return keys

    def strays(self) -> list[RequestFailed]:
        """Give what has come for sessions that run no more, and was not given yet."""
        self._hear(0.0, wait=False)
        return [result for _key, result in self._ready if isinstance(result, RequestFailed)]

    def release(self) -> None:
        """Give up all whose result was not given yet."""
        sessions = [*self._running, *_opened_by([result for _owner, result in self._ready])]
        if sessions:
            self._manager.end(sessions)
        self._waiting.clear()
        self._running.clear()
        self._ready.clear()

    def _fill(self) -> None:
        """Begin as many as there is room for, and note when to try again."""
        self._next_try = math.inf
        while self._waiting and len(self._running) < self._window:
            token = self._waiting[0].token or self._tokens.token()
            job = self._waiting.popleft()
            if not job.started:
                job.started, job.deadline = time.monotonic(), Deadline(self._limits.response_s)
            try:
                not_yet = self._begin(job, self._manager.newest(token))
            except TvDatafeedError as error:
                self._waiting.appendleft(job)
                # What runs may be answered all the same, and then there is room again.
                if not self._running:
                    self._fail_all(error)
                break
            if not_yet is not None:
                self._wait_with(job, not_yet)
                break

    def _wait_with(self, job: _Job, not_yet: NotYet) -> None:
        """Put a job back for which there is no connection yet, or end it if its time is too short.

        While others run, each of them may leave its place before that.
        """
        until = math.inf
        if not self._is_endless and job.deadline.at is not None:
            until = job.deadline.at
        if time.monotonic() >= until or (not self._running and not_yet.until >= until):
            self._manager.note_error(not_yet.error)
            self._ready.append((job.key, not_yet.error))
            self._next_try = 0.0
            return
        if self._is_endless or (self._running and not job.tries):
            # It waits for the others of its own batch, as those behind it do.
            job.started = 0.0
            until = math.inf
        self._waiting.appendleft(job)
        self._next_try = min(not_yet.until, until)

    def _fail_all(self, error: TvDatafeedError) -> None:
        """Give all that wait the same error: an outage takes its time once."""
        self._manager.note_error(error)
        self._ready.extend((job.key, own_copy(error)) for job in self._waiting)
        self._waiting.clear()

    def _begin(self, job: _Job, token: str) -> NotYet | None:
        job.token, job.connection = token, None
        session = generate_session_id(job.request.prefix)
        # Ours from here on, so that whatever interrupts us leaves no place taken.
        self._running[session] = job
        try:
            connection = self._manager.connection(
                session,
                token,
                self._stop,
                self._outcomes,
                is_patient=self._is_endless,
            )
        except TvDatafeedError:
            del self._running[session]
            raise
        if isinstance(connection, NotYet):
            del self._running[session]
            return connection
        job.connection = connection
        until = time.monotonic() + (job.deadline.remaining() or 0.0)
        try:
            connection.begin(session, job.request, until, self._limits, job.outcomes)
        except TvDatafeedError as error:
            self._settle(RequestFailed(session, error))
        return None

    def _hear(self, until: float, *, wait: bool) -> None:
        """Take the outcomes that are there, and wait for one if need be."""
        while True:
            try:
                outcome = self._next_outcome(until) if wait else self._outcomes.get_nowait()
            except queue.Empty:
                return
            wait = False
            if outcome is not None:
                self._settle(outcome)

    def _next_outcome(self, until: float) -> Outcome | None:
        """Wait until something has come; None when it is time to look again."""
        until = min(until, self._next_try)
        while True:
            connections = {job.connection for job in self._running.values() if job.connection}
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
                    connection.keep_time()

    def _settle(self, outcome: Outcome) -> None:
        job = self._running.get(outcome.session)
        if job is None or job.connection is None:
            if self._is_endless and isinstance(outcome, RequestFailed):
                self._ready.append((None, outcome))
            return
        if isinstance(outcome, Paged):
            # What has come so far took its time; another connection would have as much again.
            job.deadline = Deadline(self._limits.response_s)
            return
        del self._running[outcome.session]
        if isinstance(outcome, StreamStarted):
            self._manager.note_success(outcome.at - job.started)
            self._ready.append((job.key, Opened(outcome, job.connection)))
            return
        job.connection.end([outcome.session])
        self._manager.wake()
        if isinstance(outcome, Answered):
            self._manager.note_success(outcome.at - job.started)
            self._ready.append((job.key, outcome.answer))
        elif isinstance(outcome, RequestFailed):
            if self._is_to_be_asked_again(job, job.connection, outcome.error):
                self._waiting.appendleft(job)
            else:
                self._give_up(job, outcome.error)

    def _is_to_be_asked_again(
        self, job: _Job, connection: Connection, error: TvDatafeedError
    ) -> bool:
        if self._manager.follow_redirect(connection) and job.redirects < MAX_REDIRECTS:
            job.redirects += 1
            return True
        self._manager.note_failure(connection, error)
        job.tries += not self._manager.learns_cap(connection, error)
        if (
            job.tries > self._manager.max_retries
            or job.deadline.expired
            or self._stop.is_set()
            or not self._manager.may_pass(connection, error, job.token or "")
        ):
            return False
        self._manager.tell(job.request.symbol, error)
        return True

    def _give_up(self, job: _Job, error: TvDatafeedError) -> None:
        """Give a request its error, unless another token may help; that is tried once."""
        renewed = None
        if not job.has_renewed and job.token is not None:
            try:
                renewed = self._tokens.renewed(job.token, error)
            except TvDatafeedError as no_way:
                error = no_way
        if renewed is None or job.deadline.expired:
            self._ready.append((job.key, error))
            return
        job.has_renewed, job.token, job.tries = True, renewed, 0
        self._waiting.appendleft(job)


def _opened_by(results: Sequence[Result]) -> list[str]:
    """Give the sessions that stay open until somebody ends them."""
    return [result.started.session for result in results if isinstance(result, Opened)]
