"""The connections of one object: shared by its threads, opened when needed, replaced when broken.

A request goes to the first connection that has room; when there is none, the thread that needs
it opens one, and those who come meanwhile share it. How soon the next one may be opened after a
fault is one matter for all: the backoff grows with every connection that breaks before it has
answered anything, and only an answered request resets it.
"""

import logging
import re
import threading
import time
from collections import Counter, deque
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit, urlunsplit

from tvDatafeed.common.backoff import backoff_s
from tvDatafeed.common.deadline import Deadline
from tvDatafeed.common.fork import call_in_forked_child
from tvDatafeed.config import NetworkConfig
from tvDatafeed.exceptions import (
    AuthenticationError,
    ProtocolError,
    RateLimitError,
    TvDatafeedError,
    WebSocketError,
    own_copy,
)
from tvDatafeed.network.connection import Connection
from tvDatafeed.network.replies import is_same_site
from tvDatafeed.ratelimit import CircuitBreaker, RateLimiter

logger: logging.Logger = logging.getLogger(__name__)

# What the official client follows before it gives up.
MAX_REDIRECTS = 20
# A server that breaks the protocol, or says that we do, three times in a row will go on.
MAX_STRIKES = 3
# Percentiles are about the recent past, and memory is bounded.
KEPT_LATENCIES = 1000
# Threads that come late have one of the last few tokens.
KEPT_TOKENS = 20

_POLICY_VIOLATION = 1008
_LAST_PORT = 65535
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*(?::[0-9]{{1,5}})?")


class Waker(Protocol):
    """What is woken when it may look for a place again."""

    def put(self, item: None, /) -> object:
        """Take the news; called in any thread, without locks."""


@dataclass(frozen=True)
class NotYet:
    """There is no connection yet.

    Parameters
    ----------
    until
        When one may be opened, on the monotonic clock; a place may become free before.
    error
        What is wrong, for one whose time ends before.
    """

    until: float
    error: TvDatafeedError


class WebSocketManager:
    """The connections of one object.

    Parameters
    ----------
    network
        Where to connect, and the limits.
    limiter
        Shared with whatever else asks TradingView; None for one of its own.
    """

    def __init__(self, network: NetworkConfig, limiter: RateLimiter | None = None) -> None:
        self._network = network
        self._limiter = limiter or RateLimiter(network.requests_per_minute, network.burst_size)
        self._latencies_s: deque[float] = deque(maxlen=KEPT_LATENCIES)
        self._totals: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._tokens: list[str] = []
        self._shows_frames = False
        self._start_afresh()
        call_in_forked_child(self._forget_parent)

    def __repr__(self) -> str:
        connections = ", ".join(map(repr, self._connections)) or "no connection"
        return f"<WebSocketManager {self._url} {connections} failures={self._failures}>"

    def _start_afresh(self) -> None:
        """Forget all connections; in a forked child the locks may be those of threads gone."""
        network = self._network
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._connections: list[Connection] = []
        self._wakers: list[Waker] = []
        # How many requests the server takes on one connection, as far as it is known.
        self._places = network.max_sessions
        self._url = network.ws_url
        self._breaker = CircuitBreaker(network.failure_threshold, network.recovery_timeout)
        self._failures = 0
        self._strikes = 0
        self._not_before = 0.0
        self._last_error: TvDatafeedError | None = None
        self._episode_is_new = False

    @property
    def max_retries(self) -> int:
        """How often a request is asked again after a fault that may pass."""
        return self._network.max_retries

    @property
    def stop(self) -> threading.Event:
        """What `close` sets for all who ask now; those who come later have another one."""
        return self._stop

    def use_token(self, token: str) -> None:
        """Make a token the newest, also one that was used before."""
        with self._lock:
            self._tokens = [*(t for t in self._tokens if t != token), token][-KEPT_TOKENS:]

    def sign_in(self, token: str) -> None:
        """Make a token the newest, and use it on all connections that are open."""
        self.use_token(token)
        for connection in list(self._connections):
            connection.sign_in(token)

    def show_frames(self, wanted: bool) -> None:
        """Log the outgoing packets of all connections at DEBUG, the tokens redacted; or stop it."""
        if wanted == self._shows_frames:
            return
        with self._lock:
            self._shows_frames = wanted
            for connection in self._connections:
                connection.show_frames = wanted

    def newest(self, token: str) -> str:
        """Give the token that goes before this one, which a slow thread may still have in hand.

        A connection that was signed in with a renewed token must not be signed back with the one
        that was refused.
        """
        with self._lock:
            if token not in self._tokens:
                self._tokens = [*self._tokens, token][-KEPT_TOKENS:]
            return self._tokens[-1]

    def stats(self) -> dict[str, Any]:
        """Count what has happened so far; see `TvDatafeed.stats`."""
        with self._lock:
            totals = Counter(self._totals)
            for connection in self._connections:
                totals += Counter(dict(connection.counters))
            latencies = sorted(self._latencies_s)
            open_connections = sum(c.is_usable for c in self._connections)
            open_sessions = sum(c.open_sessions for c in self._connections if c.is_usable)
            errors = dict(self._errors)
        return {
            "open_connections": open_connections,
            "open_sessions": open_sessions,
            "connections": totals["connections"],
            "reconnects": totals["reconnects"],
            "messages": totals["messages"],
            "violations": totals["violations"],
            "heartbeats": totals["heartbeats"],
            "requests": totals["requests"],
            "latency_p50_s": _percentile(latencies, 0.50),
            "latency_p99_s": _percentile(latencies, 0.99),
            "errors": errors,
        }

    def close(self, timeout: float) -> bool:
        """End the connections and wake whoever waits; a later request opens another.

        Parameters
        ----------
        timeout
            How long to wait for the reader threads, seconds in all.

        Returns
        -------
        bool
            False when a thread has not ended in time.
        """
        deadline = Deadline(timeout)
        with self._lock:
            stop, self._stop = self._stop, threading.Event()
            connections = list(self._connections)
            stop.set()
        self.wake()
        for connection in connections:
            connection.abort(_closed())
        ended = [connection.join(deadline.remaining()) for connection in connections]
        with self._lock:
            self._collect()
        return all(ended)

    @property
    def is_open(self) -> bool:
        """Whether any connection is in use."""
        return any(connection.is_usable for connection in self._connections)

    def abandon(self) -> None:
        """End the connections without waiting and without any lock; see `Connection.abandon`."""
        for connection in list(self._connections):
            connection.abandon(_closed())

    def connection(
        self,
        session: str,
        token: str,
        stop: threading.Event,
        waker: Waker,
        *,
        is_patient: bool = False,
    ) -> "Connection | NotYet":
        """Give a connection with a place for a session, or say until when to wait for one.

        Parameters
        ----------
        session
            Who has the place until `end`.
        token
            The data token to sign in with.
        stop
            The manager's `stop` when the request began.
        waker
            Gets None put, once, when a place becomes free or `close` is called after a `NotYet`.
        is_patient
            Whether to go on trying where others are told to give up: when so many connections have
            failed in a row that none is tried for a while.

        Raises
        ------
        TvDatafeedError
            None is tried for now, or there is no thread for it, or `close` was called.
        """
        with self._lock:
            if stop is not self._stop:
                raise _closed()
            self._collect()
            connection = self._with_room(session, token)
            if connection is not None:
                return connection
            until = self._not_before
            if until <= time.monotonic():
                if not is_patient:
                    self._check_breaker()
                opened = self._open(session, token)
                if isinstance(opened, Connection):
                    return opened
                until = time.monotonic() + opened
            if waker not in self._wakers:
                self._wakers.append(waker)
            return NotYet(until, self._too_late(until))

    def end(self, sessions: Collection[str]) -> None:
        """Take the places of sessions back, wherever they have one."""
        for connection in list(self._connections):
            connection.end(sessions)
        self.wake()

    def wake(self) -> None:
        """Let those who wait for a place look again: one has become free."""
        with self._lock:
            wakers, self._wakers = self._wakers, []
        for waker in wakers:
            waker.put(None)

    def _with_room(self, session: str, token: str) -> Connection | None:
        return next((c for c in self._connections if c.reserve(token, session)), None)

    def _check_breaker(self) -> None:
        try:
            self._breaker.before()
        except RateLimitError as error:
            raise WebSocketError(f"no connection is tried for now: {error}", self._url) from error

    def _open(self, session: str, token: str) -> Connection | float:
        """Open a connection, or say how many seconds to wait before one may be opened."""
        try:
            self._limiter.acquire(timeout=0)
        except RateLimitError as error:
            self._breaker.abandoned()
            return error.retry_after or 0.0
        try:
            connection = Connection(
                self._network, self._url, token, places=self._places, show_frames=self._shows_frames
            )
        except TvDatafeedError as error:
            self._breaker.failed(error)
            raise
        # First of all, so that one which is interrupted here is closed with the others.
        self._connections.append(connection)
        self._totals["connections"] += 1
        self._totals["reconnects"] += self._last_error is not None
        connection.reserve(token, session)
        return connection

    def _too_late(self, until: float) -> TvDatafeedError:
        """Say what is wrong, to one who cannot wait until then."""
        if self._last_error is not None:
            return own_copy(self._last_error)
        seconds = max(until - time.monotonic(), 0.0)
        return RateLimitError(self._network.requests_per_minute, retry_after=seconds)

    def _collect(self) -> None:
        """Take ended connections out, and count their failures."""
        for connection in [c for c in self._connections if not c.is_usable]:
            self._connections.remove(connection)
            self._totals += Counter(dict(connection.counters))
            error = connection.error
            if error is None or not connection.is_lost or connection.redirected_to:
                if not connection.proven:
                    # It was the probe of a half-open breaker, perhaps, and said nothing either way.
                    self._breaker.abandoned()
                continue
            if not connection.proven:
                self._breaker.failed(error)
                # A host that the server named once and that does not answer is not believed on.
                self._url = self._network.ws_url
            self._failures += 1
            self._strikes += _is_strike(error)
            self._last_error = error
            self._not_before = time.monotonic() + self._backoff_s(error)
            if self._failures == 1:
                self._episode_is_new = True

    def _backoff_s(self, error: TvDatafeedError) -> float:
        network = self._network
        delay_s = backoff_s(self._failures, network.base_retry_delay, network.max_retry_delay)
        asked_s = error.retry_after if isinstance(error, RateLimitError) else None
        return max(delay_s, asked_s or 0.0)

    def note_failure(self, connection: Connection, error: TvDatafeedError) -> None:
        """Count the failure of a request, and of its connection if that is lost."""
        with self._lock:
            self._errors[type(error).__name__] += 1
            if connection.is_usable and connection.proven:
                self._note_health()
            self._collect()

    def note_error(self, error: TvDatafeedError) -> None:
        """Count a fault that is no connection's."""
        with self._lock:
            self._errors[type(error).__name__] += 1

    def note_success(self, seconds: float) -> None:
        """Count a request that was answered after so long."""
        with self._lock:
            self._latencies_s.append(seconds)
            self._totals["requests"] += 1
            self._note_health()

    def tell(self, symbol: str, error: TvDatafeedError) -> None:
        """Log one WARNING for an episode of faults, and the rest of it at DEBUG."""
        with self._lock:
            is_new, self._episode_is_new = self._episode_is_new, False
        level = logging.WARNING if is_new else logging.DEBUG
        logger.log(level, "%s is asked for again: %s", symbol, error)

    def may_pass(self, connection: Connection, error: TvDatafeedError, token: str) -> bool:
        """Whether another try has a chance after this error of this connection."""
        if isinstance(error, AuthenticationError):
            # Another token may be meant that was used on the same connection.
            return not connection.is_surely_of(token)
        if connection.is_usable:
            if isinstance(error, RateLimitError):
                return True
            # A part of the answer was lost on the way; the connection itself is sound.
            return isinstance(error, ProtocolError) and error.retryable
        return error.retryable and not self.is_struck_out

    def learns_cap(self, connection: Connection, error: TvDatafeedError) -> bool:
        """Whether the server said that a connection is full, and fewer requests go there now.

        Later connections begin with what was learned.
        """
        if not isinstance(error, RateLimitError) or not connection.is_usable:
            return False
        places = connection.mark_full()
        with self._lock:
            has_learned = places < self._places
            self._places = min(self._places, places)
        return has_learned

    @property
    def last_error(self) -> TvDatafeedError | None:
        """The last fault of a connection; None since a request was answered."""
        return self._last_error

    @property
    def is_struck_out(self) -> bool:
        """Whether the protocol was broken so often that it will be again."""
        return self._strikes >= MAX_STRIKES

    def follow_redirect(self, connection: Connection) -> bool:
        """Go where the server sends its clients, if it does and that is its own site."""
        host = connection.redirected_to
        if host is None:
            return False
        with self._lock:
            moved = _moved(self._url, host)
            if moved is None:
                return False
            self._url = moved
            return True

    def _note_health(self) -> None:
        self._failures = self._strikes = 0
        self._last_error = None
        self._breaker.succeeded()

    def _forget_parent(self) -> None:
        """In a forked child: the connections are the parent's, and so are the locks' holders."""
        connections = self._connections
        self._start_afresh()
        for connection in connections:
            connection.forget_in_child()


def _is_strike(error: TvDatafeedError) -> bool:
    code = error.close_code if isinstance(error, WebSocketError) else None
    return isinstance(error, ProtocolError) or code == _POLICY_VIOLATION


def _closed() -> WebSocketError:
    return WebSocketError("the connection was closed by this program", retryable=False)


def _moved(url: str, host: str) -> str | None:
    """Put another host of the same site into a URL; None for a host that is not of it.

    The token goes where the URL points, so a redirect to any other site is not followed.
    """
    parts = urlsplit(url)
    name, _, port = host.lower().partition(":")
    if not _HOST.fullmatch(host) or int(port or 0) > _LAST_PORT:
        return None
    if not is_same_site((parts.hostname or "").lower(), name):
        return None
    return urlunsplit(parts._replace(netloc=host))


def _percentile(ascending: list[float], share: float) -> float | None:
    if not ascending:
        return None
    return ascending[min(int(len(ascending) * share), len(ascending) - 1)]
