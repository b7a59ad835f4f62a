"""Series come together again that a limit of sessions has spread over many connections.

A server may have refused sessions for a reason that has passed. Each connection costs both sides a
thread, memory and heartbeats, and its account one of a few that it may have.
"""

import time
from collections.abc import Callable, Iterable

from tvDatafeed.config import NetworkConfig
from tvDatafeed.live.renewal import RenewableTokens
from tvDatafeed.live.stream import LiveSeries
from tvDatafeed.network.connection import Connection
from tvDatafeed.network.pool import WebSocketManager

# How often to look whether a connection carries few series.
_PAUSE_S = 30.0


class Gathering:
    """Moves series from connections that carry few to those that have room.

    One series is moved at a time, and the next one after it has found room: where the limit is
    what it was, one session is refused. None is moved while a new session would have to wait for a
    token. It belongs to the thread of the supervisor.

    Parameters
    ----------
    connections
        Returns the connections.
    tokens
        Where data tokens come from.
    reopen
        Ends a series' session and opens it again; it goes on from its last closed bar.
    network
        Settings: a life of connections that is shorter than the pause shortens that.
    """

    def __init__(
        self,
        connections: Callable[[], WebSocketManager],
        tokens: RenewableTokens,
        reopen: Callable[[LiveSeries], object],
        network: NetworkConfig,
    ) -> None:
        self._connections = connections
        self._tokens = tokens
        self._reopen = reopen
        self._pause_s = min(_PAUSE_S, network.max_connection_age)
        self._next_at = time.monotonic() + self._pause_s
        self._moved: LiveSeries | None = None
        self._left: Connection | None = None

    def run_due(self, series: Iterable[LiveSeries]) -> float:
        """Move a series if that is due; return when to look again, on the monotonic clock.

        Parameters
        ----------
        series
            Those that have a session; none is being opened.
        """
        now = time.monotonic()
        if now < self._next_at:
            return self._next_at
        moved, self._moved = self._moved, None
        left, self._left = self._left, None
        has_moved = moved is None or moved.connection not in {None, left}
        if has_moved and self._tokens.good_token() is not None:
            left = self._connections().connection_to_leave()
            moved = next((s for s in series if left and s.connection is left), None)
            if moved is not None:
                self._moved, self._left = moved, left
                self._reopen(moved)
                return now
        self._next_at = now + self._pause_s
        return self._next_at
