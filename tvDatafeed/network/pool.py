"""The connections of one object: shared by its threads, opened when needed, replaced when broken.

A request goes to the first connection with a free slot. If there is none, the thread opens a
connection, and other threads share it. All threads share the pause after a fault: it grows with
every fault, up to a share of the time since the first one, and only an answered request resets it.
A fault counts once, even if it ends many connections.

Each token has a host, and a request goes to a connection of its token's host.
"""

import logging
import math
import re
import threading
import time
from collections.abc import Callable, Collection
from typing import Any, NoReturn
from urllib.parse import urlsplit, urlunsplit

from tvDatafeed.common.copies import refuse_copy
from tvDatafeed.common.deadline import Deadline
from tvDatafeed.common.facts import facts
from tvDatafeed.common.fork import call_in_forked_child
from tvDatafeed.config import NetworkConfig, TvDatafeedConfig
from tvDatafeed.exceptions import (
    AuthenticationError,
    ProtocolError,
    RateLimitError,
    TvDatafeedError,
    WebSocketError,
    own_copy,
)
from tvDatafeed.network.connection import Connection
from tvDatafeed.network.health import ConnectionHealth
from tvDatafeed.network.replies import is_same_site
from tvDatafeed.network.sessionlimit import KnownLimit
from tvDatafeed.network.slots import NoSlot, Notifier
from tvDatafeed.network.sockets import was_never_connected
from tvDatafeed.network.verbs import ConnectionVerbs
from tvDatafeed.protocol.refusals import is_connections_limit, is_limit_of_connection
from tvDatafeed.ratelimit import RateLimiter

# The documented name of the logger; modules of this folder log below it.
logger: logging.Logger = logging.getLogger("tvDatafeed.network")

# The official client follows this many redirects.
MAX_REDIRECTS = 20
# Slow threads have one of the last few tokens.
KEPT_TOKENS = 20

_LAST_PORT = 65535
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*(?::[0-9]{{1,5}})?")


class WebSocketManager(ConnectionVerbs):
    """The connections of one object.

    Parameters
    ----------
    network
        The URL to connect to, and the limits; a `TvDatafeedConfig` stands for its part `network`.
    limiter
        Shared with all other requests to TradingView; None for a new one.
    network_of
        Returns the settings for a token, called without locks; None: all tokens have one host.
    """

    def __init__(
        self,
        network: NetworkConfig | TvDatafeedConfig,
        limiter: RateLimiter | None = None,
        *,
        network_of: Callable[[str], NetworkConfig] | None = None,
    ) -> None:
        network = network.network if isinstance(network, TvDatafeedConfig) else network
        self._network: NetworkConfig = network
        self._network_of = network_of or (lambda _token: network)
        self._limiter = limiter or RateLimiter(network.requests_per_minute, network.burst_size)
        self._health = ConnectionHealth(network)
        self._tokens: list[str] = []
        self._shows_frames = False
        self._reset()
        call_in_forked_child(self._reset_in_child)

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied: two objects cannot share connections."""
        refuse_copy(self)

    def __repr__(self) -> str:
        connections = ", ".join(map(repr, self._connections)) or "no connection"
        return f"<WebSocketManager {self._network.ws_url} {connections} {self._health!r}>"

    def _reset(self) -> None:
        """Forget all connections; in a forked child, a missing thread may hold the lock."""
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._connections: list[Connection] = []
        self._notifiers: list[Notifier] = []
        # The connections that existed when the last fault was counted: the fault ends them too. A
        # half-open one stays silent, and is counted until this moment (monotonic clock).
        self._met_fault: set[Connection] = set()
        self._fault_shows_until = -math.inf
        # The connections whose refusals to open more sessions were counted.
        self._refusing: set[Connection] = set()
        network = self._network
        self._known_limit = KnownLimit(network.max_sessions, network.max_connection_age)
        # The URL that the server redirects to, by the URL of the settings.
        self._redirects: dict[str, str] = {}
        self._health.reset()

    @property
    def max_retries(self) -> int:
        """How often a request is sent again after a temporary fault."""
        return self._network.max_retries

    @property
    def stop(self) -> threading.Event:
        """An event that `close` sets for all present requests; later requests get another."""
        return self._stop

    def use_token(self, token: str) -> None:
        """Make a token the newest, also if it was used before."""
        with self._lock:
            self._tokens = [*(t for t in self._tokens if t != token), token][-KEPT_TOKENS:]

    def sign_in(self, token: str) -> None:
        """Make a token the newest, and use it on all open connections."""
        self.use_token(token)
        for connection in list(self._connections):
            connection.sign_in(token)

    def has_other_host(self, connection: Connection) -> bool:
        """Return whether the host of the newest token differs from the host of a connection."""
        with self._lock:
            newest = self._tokens[-1:]
        return any(self._network_of(t).ws_url != connection.configured_url for t in newest)

    def show_frames(self, wanted: bool) -> None:
        """Start or stop logging the outgoing packets at DEBUG, with the tokens redacted."""
        if wanted == self._shows_frames:
            return
        with self._lock:
            self._shows_frames = wanted
            for connection in self._connections:
                connection.show_frames = wanted

    def newest_token(self, token: str) -> str:
        """Return the token that replaces the one of a thread, which may be old.

        A connection that was signed in with a renewed token must not be signed in again with the
        refused one. A new token is also used on the open connections of its host, so that they do
        not end when the previous token expires.
        """
        with self._lock:
            is_new = token not in self._tokens
            if is_new:
                self._tokens = [*self._tokens, token][-KEPT_TOKENS:]
            newest = self._tokens[-1]
            connections = list(self._connections)
        if is_new and connections:
            url = self._network_of(token).ws_url
            for connection in connections:
                if connection.configured_url == url:
                    connection.sign_in(token)
        return newest

    def stats(self) -> dict[str, Any]:
        """Return the counters; see `TvDatafeed.stats`."""
        with self._lock:
            usable = [c for c in self._connections if c.is_usable]
            return {
                "open_connections": sum(c.is_answering for c in usable),
                "open_sessions": sum(c.open_sessions for c in usable),
                **self._health.counts([c.counters for c in self._connections]),
            }

    def close(self, timeout: float) -> bool:
        """Close the connections and wake all waiters; a later request opens another connection.

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
            self._stop.set()
            self._stop = threading.Event()
            connections = list(self._connections)
        self.notify_all()
        for connection in connections:
            connection.abort(_closed())
        ended = [connection.join(deadline.remaining()) for connection in connections]
        with self._lock:
            self._remove_ended()
        return all(ended)

    @property
    def is_open(self) -> bool:
        """Whether any connection is usable."""
        return any(connection.is_usable for connection in self._connections)

    def abort_unlocked(self) -> None:
        """Close the connections at once and without locks; see `Connection.abort_unlocked`."""
        for connection in list(self._connections):
            connection.abort_unlocked(_closed())

    def acquire_slot(
        self,
        session: str,
        token: str,
        stop: threading.Event,
        notifier: Notifier,
        *,
        is_patient: bool = False,
    ) -> Connection | NoSlot:
        """Return a connection with a slot for a session, or when to try again.

        Parameters
        ----------
        session
            The session that occupies the slot until `release`.
        token
            The data token to sign in with.
        stop
            The manager's `stop` when the request began.
        notifier
            Woken once after a `NoSlot`, when a slot becomes free or `close` is called.
        is_patient
            Whether to try even while the circuit breaker fails other requests at once.

        Raises
        ------
        TvDatafeedError
            The circuit breaker is open, the system cannot start a thread, or `close` was called.
        """
        made: list[Connection] = []
        network = self._network_of(token)
        try:
            with self._lock:
                self._check_open(stop)
                self._remove_ended()
                if token in self._tokens:
                    # Another token may have been assigned meanwhile, and sent to the open
                    # connections.
                    token = self._tokens[-1]
                is_shared = network.reuse_connections or is_patient
                for connection in self._connections if is_shared else ():
                    is_of_host = connection.configured_url == network.ws_url
                    if is_of_host and connection.acquire_slot(token, session):
                        return connection
                retry_at = self._ask_to_open(network.ws_url, is_patient=is_patient)
                if retry_at is not None:
                    if notifier not in self._notifiers:
                        self._notifiers.append(notifier)
                    return NoSlot(retry_at, self._reason_for_no_slot(retry_at))
                # A connection that is not shared is closed after its request.
                known = self._known_limit if is_shared else KnownLimit(1, 0.0, lifetime=1)
                connection = self._new_connection(network, session, token, made, known)
            # A thread is never started under the lock.
            connection.start()
        except BaseException as error:
            for connection in made:
                self._not_started(connection, error)
            raise
        return connection

    def _check_open(self, stop: threading.Event) -> None:
        if stop is not self._stop:
            raise _closed()

    def _ask_to_open(self, url: str, *, is_patient: bool) -> float | None:
        """Return None if a connection may be opened now, else the time, on the monotonic clock.

        If None, one handshake of the limiter and the probe of a half-open breaker are used.
        """
        now = time.monotonic()
        health = self._health
        no_try_before = health.no_patient_try_before if is_patient else health.no_try_before
        if no_try_before > now:
            return no_try_before
        if not is_patient:
            self._health.check_breaker(url)
        try:
            self._limiter.acquire(timeout=0)
        except RateLimitError as error:
            self._health.record_no_try()
            return now + (error.retry_after or 0.0)
        return None

    def _new_connection(
        self,
        network: NetworkConfig,
        session: str,
        token: str,
        made: list[Connection],
        known_limit: KnownLimit,
    ) -> Connection:
        """Add a connection with a slot for a session; it is appended to ``made`` first."""
        connection = Connection(
            network,
            self._redirects.get(network.ws_url, network.ws_url),
            token,
            known_limit=known_limit,
            show_frames=self._shows_frames,
        )
        connection.acquire_slot(token, session)
        # Appended first, so that Ctrl-C does not leave a connection that is never started.
        made.append(connection)
        self._connections.append(connection)
        self._health.record_opening()
        return connection

    def _not_started(self, connection: Connection, error: BaseException) -> None:
        """Remove a connection whose thread could not be started, or was interrupted."""
        connection.abort(WebSocketError("the connection was not started"))
        with self._lock:
            if connection in self._connections:
                self._connections.remove(connection)
            if isinstance(error, TvDatafeedError):
                self._health.record_no_thread(own_copy(error))

    def release(self, sessions: Collection[str]) -> None:
        """Free the slots of sessions, on all connections."""
        for connection in list(self._connections):
            connection.release(sessions)
        self.notify_all()

    def notify_all(self) -> None:
        """Wake all waiters for a slot: one is free."""
        with self._lock:
            notifiers, self._notifiers = self._notifiers, []
        for notifier in notifiers:
            notifier.wake()

    def _reason_for_no_slot(self, retry_at: float) -> TvDatafeedError:
        if self._health.last_error is not None:
            return own_copy(self._health.last_error)
        seconds = max(retry_at - time.monotonic(), 0.0)
        return RateLimitError(self._network.requests_per_minute, retry_after=seconds)

    def _remove_ended(self) -> None:
        """Remove ended connections, and count the faults that ended them."""
        for connection in [c for c in self._connections if not c.is_usable]:
            self._connections.remove(connection)
            self._health.record_end(connection.counters)
            error, has_answered = connection.error, connection.has_answered
            # If a connection was closed because of the next one, it counts as a fault although it
            # was idle.
            is_fault = connection.failed_with_work or (error and is_connections_limit(error))
            if was_never_connected(error):
                self._limiter.put_back()
            if error is None or not is_fault or connection.redirected_to:
                if not has_answered:
                    # It may be the probe of a half-open breaker, which had no result.
                    self._health.record_no_try()
                continue
            if not has_answered:
                # If a host we were redirected to does not answer, go back to the configured URL.
                self._redirects.pop(connection.configured_url, None)
            self._record_end_by_fault(connection, error)

    def _record_end_by_fault(self, connection: Connection, error: TvDatafeedError) -> None:
        """Count a fault, unless it is the last counted one."""
        now = time.monotonic()
        if connection in self._met_fault and now <= self._fault_shows_until:
            self._met_fault.discard(connection)
            self._health.record_same_fault(error)
            return
        network = self._network
        self._met_fault = set(self._connections)
        self._fault_shows_until = now + network.silence_timeout + network.ping_timeout
        if connection.lost_requests:
            self._health.record_error(error)
        self._health.record_connection_failure(error, has_answered=connection.has_answered)

    def record_failure(self, connection: Connection, error: TvDatafeedError) -> None:
        """Count the failure of a request, or of its connection if that is lost too."""
        with self._lock:
            is_lost = not connection.is_usable and connection.lost_requests > 0
            if not is_lost or connection.redirected_to:
                self._health.record_error(error)
            if not is_lost and is_limit_of_connection(error):
                self._record_limit_of_connection(connection, error)
            elif connection.is_usable and connection.has_answered:
                self._health.record_answer()
            self._remove_ended()

    def record_unconnected(self, connection: Connection, error: TvDatafeedError) -> None:
        """End a connection that failed, or whose server does not answer a ping: count one fault."""
        with self._lock:
            if connection.is_usable:
                self._record_end_by_fault(connection, error)
            self._remove_ended()
        connection.abort(error)

    def _record_limit_of_connection(self, connection: Connection, error: TvDatafeedError) -> None:
        """Delay the opening of the next connection; once for all sessions refused on this one."""
        is_new = connection not in self._refusing
        self._refusing = {c for c in self._refusing if c.is_usable} | {connection}
        if is_new:
            self._health.record_connection_failure(error, has_answered=True)

    def record_error(self, error: TvDatafeedError) -> None:
        """Count the failure of a request that had no connection."""
        with self._lock:
            self._health.record_error(error)

    def record_success(self, seconds: float) -> None:
        """Count an answered request and the seconds it took."""
        with self._lock:
            self._health.record_success(seconds)

    def log_retry(self, symbol: str, error: TvDatafeedError, attempt: int | None = None) -> None:
        """Log one WARNING for an episode of faults, and its other records at DEBUG."""
        with self._lock:
            is_limit = is_connections_limit(error)
            health = self._health
            is_new = health.begins_connections_limit() if is_limit else health.begins_episode()
        level = logging.WARNING if is_new else logging.DEBUG
        about = None if attempt is None else symbol
        extra = facts(about, error=error, attempt=attempt)
        logger.log(level, "%s is requested again: %s", symbol, error, extra=extra)

    def begins_connections_limit(self) -> bool:
        """Return whether this is the first report that the account has too many connections."""
        with self._lock:
            return self._health.begins_connections_limit()

    def is_worth_retrying(self, connection: Connection, error: TvDatafeedError, token: str) -> bool:
        """Return whether another try may succeed after this error on this connection."""
        if isinstance(error, AuthenticationError):
            # The error may be about another token that was used on the same connection.
            return not connection.only_used_token(token)
        if connection.is_usable:
            if isinstance(error, RateLimitError):
                return True
            # A part of the answer was lost; the connection itself works.
            return isinstance(error, ProtocolError) and error.retryable
        return error.retryable and not self.has_given_up

    def excuses(self, connection: Connection, error: TvDatafeedError) -> bool:
        """Return whether the refused request was sent before the limit of sessions was known.

        It does not count as a try. The connection has lowered its limit, and later ones start with
        it.
        """
        is_refusal = isinstance(error, RateLimitError) and connection.is_usable
        return is_refusal and connection.excuses_refusal()

    def connection_to_leave(self) -> Connection | None:
        """Return a connection with few requests, which fit on earlier connections.

        A request that is sent again goes to the first connection with a free slot. A connection
        that is more than half full is kept: leaving it would save little.
        """
        with self._lock:
            connections = [c for c in self._connections if c.is_answering and c.open_sessions]
        for last in range(len(connections) - 1, 0, -1):
            connection = connections[last]
            count, url = connection.open_sessions, connection.configured_url
            rooms = (c.free_slots for c in connections[:last] if c.configured_url == url)
            if 0 < count <= self._network.max_sessions // 2 and sum(rooms) >= count:
                return connection
        return None

    @property
    def last_error(self) -> TvDatafeedError | None:
        """The last fault of a connection; None since a request was answered."""
        return self._health.last_error

    @property
    def has_given_up(self) -> bool:
        """Whether retrying is pointless after several violations in a row."""
        return self._health.has_given_up

    def follow_redirect(self, connection: Connection) -> bool:
        """Use the host that the server redirects its clients to, if it belongs to the same site."""
        host = connection.redirected_to
        if host is None:
            return False
        with self._lock:
            configured = connection.configured_url
            redirected = redirected_url(self._redirects.get(configured, configured), host)
            if redirected is None:
                return False
            self._redirects[configured] = redirected
            return True

    def _reset_in_child(self) -> None:
        """Free the parent's connections in a forked child, where locks may never be released."""
        connections = self._connections
        self._reset()
        for connection in connections:
            connection.release_in_child()


def _closed() -> WebSocketError:
    return WebSocketError("the connection was closed by this program", retryable=False)


def redirected_url(url: str, host: str) -> str | None:
    """Return a URL with another host; None for a host of another site.

    The token is sent to that URL, so a redirect to another site is not followed.
    """
    parts = urlsplit(url)
    name, _, port = host.lower().partition(":")
    if not _HOST.fullmatch(host) or int(port or 0) > _LAST_PORT:
        return None
    if not is_same_site((parts.hostname or "").lower(), name):
        return None
    return urlunsplit(parts._replace(netloc=host))
