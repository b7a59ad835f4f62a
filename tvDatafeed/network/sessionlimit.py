"""How many sessions a server accepts on one connection, learned from its refusals."""

import math
import threading
import time
from dataclasses import dataclass

from tvDatafeed.exceptions import RateLimitError
from tvDatafeed.protocol.refusals import is_limit_of_connection

# TradingView ends a connection that has opened about 200 sessions, however many are open.
MAX_SESSIONS_IN_LIFETIME = 149
# How long a lower limit is used at first: the reason of a refusal may be temporary.
_FIRST_MEMORY_S = 30.0


class KnownLimit:
    """The knowledge that the connections of one object share; it has its own lock.

    A lower limit is used for a while, and then more sessions are tried. If they are refused again,
    the limit is the server's own: it is used twice as long each time.

    Parameters
    ----------
    most
        How many sessions are tried without a known limit.
    longest_s
        How long a limit is used at most without another refusal, seconds.
    lifetime
        How many sessions a connection opens before it is closed.

    Attributes
    ----------
    lifetime : int
        As passed.
    """

    def __init__(
        self, most: int, longest_s: float, lifetime: int = MAX_SESSIONS_IN_LIFETIME
    ) -> None:
        self.lifetime: int = lifetime
        self._lock = threading.Lock()
        self._most = most
        self._longest_s = longest_s
        self._limit = most
        self._memory_s = 0.0
        self._until = -math.inf
        self._period = 0

    def look(self) -> tuple[int, int]:
        """Return the limit, and the number of the period in which it is used."""
        with self._lock:
            self._forget(time.monotonic())
            return self._limit, self._period

    def learn(self, limit: int) -> None:
        """Record that the server refused a session, with the number of open sessions."""
        now = time.monotonic()
        with self._lock:
            self._forget(now)
            if limit > self._limit:
                # The refusal came on a connection with a larger limit: it proves nothing for
                # others.
                return
            if self._limit == self._most:
                is_again = now <= self._until + self._memory_s
                memory_s = 2 * self._memory_s if is_again else _FIRST_MEMORY_S
                self._memory_s = min(memory_s, self._longest_s)
            self._limit, self._until = limit, now + self._memory_s

    def disprove(self, accepted: int) -> None:
        """Forget a limit of fewer sessions than the server has accepted on one connection."""
        with self._lock:
            if accepted > self._limit:
                self._limit, self._memory_s, self._until = self._most, 0.0, -math.inf
                self._period += 1

    def _forget(self, now: float) -> None:
        if self._limit < self._most and now > self._until:
            self._limit = self._most
            self._period += 1


@dataclass
class _Sent:
    """The state of a connection when a session was sent."""

    # How many sessions were open on the server when it read this one.
    open_before: int
    # How many the server was known to accept.
    limit: int


class SessionLimit:
    """The limit of one connection, guarded by the lock of the connection.

    The server reads sessions in the order in which they were sent. The sessions that were open when
    a session was sent were also open on the server, except those that it has refused since.

    Parameters
    ----------
    known
        The shared knowledge of the connections. A connection that has accepted more than others
        keeps its larger limit.

    Attributes
    ----------
    limit : int
        How many sessions the server accepts here at a time, as far as is known; at least 1.
    """

    def __init__(self, known: KnownLimit) -> None:
        self._known = known
        limit, self._period = known.look()
        self.limit: int = limit
        # The sessions that were not accepted yet, in the order of sending.
        self._sent: dict[str, _Sent] = {}
        self._excused = 0
        self._acquired = 0

    @property
    def is_used_up(self) -> bool:
        """Whether the connection has opened all sessions of its lifetime."""
        return self._acquired >= self._known.lifetime

    def room(self, open_sessions: int) -> int:
        """Return how many more sessions the connection may open."""
        limit, period = self._known.look()
        limit = self.limit if period == self._period else limit
        return max(min(limit - open_sessions, self._known.lifetime - self._acquired), 0)

    def acquire(self, open_sessions: int) -> bool:
        """Count one more session, and return True, if the connection may open it."""
        limit, period = self._known.look()
        if period != self._period:
            self.limit, self._period = limit, period
        may_open = self.room(open_sessions) > 0
        self._acquired += may_open
        return may_open

    def send(self, session: str, open_sessions: int) -> None:
        """Record that a session is sent while others are open."""
        self._sent[session] = _Sent(open_sessions, self.limit)

    def accept(self, session: str, open_sessions: int) -> None:
        """Record that an open session was accepted.

        If more sessions are accepted than the limit, the refusal had another reason.
        """
        self.forget(session)
        accepted = open_sessions - len(self._sent)
        self._known.disprove(accepted)
        if accepted > self.limit:
            self.limit, self._period = self._known.look()

    def forget(self, session: str) -> None:
        """Forget a session that has ended."""
        self._sent.pop(session, None)

    def refuse(self, session: str, open_sessions: int, error: RateLimitError) -> None:
        """Lower the limit after the server refused a session as one too many; it is closed now."""
        if is_limit_of_connection(error):
            self._acquired = MAX_SESSIONS_IN_LIFETIME
            return
        sent = self._sent.get(session) or _Sent(open_sessions, self.limit)
        for later in reversed(self._sent.values()):
            if later is sent:
                break
            later.open_before -= 1
        # Answers may come in another order than requests: accepted sessions prove a larger limit.
        accepted = open_sessions - len(self._sent) + (session in self._sent)
        self.limit = min(self.limit, max(sent.open_before, accepted, 1))
        self._known.learn(self.limit)
        self._excused += sent.limit > self.limit

    def excuse(self) -> bool:
        """Return whether a refused session was sent before the limit was known; once for each."""
        is_excused = self._excused > 0
        self._excused -= is_excused
        return is_excused
