"""How many sessions a server accepts on one connection, learned from its refusals."""

import time
from dataclasses import dataclass

from tvDatafeed.exceptions import RateLimitError
from tvDatafeed.protocol.refusals import is_limit_of_connection

# TradingView ends a connection that has opened about 200 sessions, however many are open.
MAX_SESSIONS_IN_LIFETIME = 149


@dataclass
class _Sent:
    """What was known when a session was sent."""

    # How many sessions the server had open when it read this one.
    open_before: int
    # How many it accepted, as far as it was known.
    limit: int


class SessionLimit:
    """The limit of one connection; it is guarded by the lock of that.

    The server reads sessions in the order in which they were sent. Those that were open when one
    was sent were open there too, except for those that it has refused since.

    Parameters
    ----------
    limit
        How many sessions the server accepts at a time, as far as it is known.
    most
        How many are tried if nothing is known.
    memory_s
        Seconds after which a lower limit is not believed any more, unless it is seen again.

    Attributes
    ----------
    limit : int
        As given, or lower after a refusal; at least 1.
    """

    def __init__(self, limit: int, most: int, memory_s: float) -> None:
        self.limit: int = limit
        self._most = most
        self._memory_s = memory_s
        self._seen_at = time.monotonic()
        # The sessions that were not accepted yet, in the order of sending.
        self._sent: dict[str, _Sent] = {}
        self._excused = 0
        self._acquired = 0

    @property
    def is_used_up(self) -> bool:
        """Whether the connection has opened as many sessions as it may in its lifetime."""
        return self._acquired >= MAX_SESSIONS_IN_LIFETIME

    def acquire(self, open_sessions: int) -> bool:
        """Count one more session, and return True, if the connection may open it."""
        if time.monotonic() > self._seen_at + self._memory_s:
            self.limit = self._most
        may_open = open_sessions < self.limit and not self.is_used_up
        self._acquired += may_open
        return may_open

    def send(self, session: str, open_sessions: int) -> None:
        """Record that a session is sent while others are open."""
        self._sent[session] = _Sent(open_sessions, self.limit)

    def forget(self, session: str) -> None:
        """Forget a session that was accepted, or has ended."""
        self._sent.pop(session, None)

    def refuse(self, session: str, open_sessions: int, error: RateLimitError) -> None:
        """Lower the limit after the refusal of a session as too many, which is not open now."""
        if is_limit_of_connection(error):
            self._acquired = MAX_SESSIONS_IN_LIFETIME
            return
        sent = self._sent.get(session) or _Sent(open_sessions, self.limit)
        for later in reversed(self._sent.values()):
            if later is sent:
                break
            later.open_before -= 1
        self.limit = min(self.limit, max(sent.open_before, 1))
        self._seen_at = time.monotonic()
        self._excused += sent.limit > self.limit

    def excuse(self) -> bool:
        """Whether a session was refused that was sent before the limit was known; once for each."""
        is_excused = self._excused > 0
        self._excused -= is_excused
        return is_excused
