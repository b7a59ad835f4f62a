"""Move series back to few connections, after a limit of sessions has spread them over many.

The reason for which a server refused sessions may have passed. Each connection costs both sides a
thread, memory and heartbeats, and counts towards the account's small limit of connections.
"""

import time
from collections.abc import Callable, Iterable

from tvDatafeed.config import NetworkConfig
from tvDatafeed.live.renewal import RenewableTokens
from tvDatafeed.live.stream import LiveSeries
from tvDatafeed.network.connection import Connection
from tvDatafeed.network.pool import WebSocketManager

# How often to check whether a connection carries few series.
_PAUSE_S = 30.0


class Gathering:
    """Moves series from connections that carry few to those that have room.

    One series is moved at a time, and the next one after it is open: if the limit is unchanged,
    only one session is refused. No series is moved while a new session would have to wait for a
    token. Used only by the supervisor's thread.

    Parameters
    ----------
    connections
        Returns the connections.
    tokens
        Where data tokens come from.
    reopen
        Ends a series' session and opens it again; it continues after its last closed bar.
    network
        Settings: if the lifetime of connections is shorter than the pause, it shortens the pause.
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
            The series that have a session; no other is being opened.
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
