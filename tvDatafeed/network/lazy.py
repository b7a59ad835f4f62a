"""The connections of one client, made when they are first needed.

Sockets, TLS and JSON are imported then too, so that importing the library stays quick.
"""

import warnings
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tvDatafeed.config import NetworkConfig
    from tvDatafeed.network.pool import WebSocketManager
    from tvDatafeed.ratelimit import RateLimiter


class LazyConnections:
    """The connections of one client.

    Parameters
    ----------
    owner
        The client: when it is dropped without being closed, so are the connections.
    network
        How to connect, and the limits.
    limiter
        Counts handshakes.
    network_of
        Returns where to connect with a token: another one may have another host.
    """

    def __init__(
        self,
        owner: object,
        network: "NetworkConfig",
        limiter: "RateLimiter",
        network_of: "Callable[[str | None], NetworkConfig]",
    ) -> None:
        self._owner = weakref.ref(owner)
        self._network = network
        self._limiter = limiter
        self._network_of = network_of
        self._made: dict[str, WebSocketManager] = {}

    @property
    def present(self) -> "WebSocketManager | None":
        """The connections, once they were needed."""
        return self._made.get("manager")

    def get(self) -> "WebSocketManager":
        """Return the connections, making them at the first call."""
        found = self.present
        if found is not None:
            return found
        from tvDatafeed.network.pool import WebSocketManager  # noqa: PLC0415 - as said above

        made = WebSocketManager(self._network, self._limiter, network_of=self._network_of)
        # The first of several threads wins, and no lock is needed that a fork could copy.
        manager = self._made.setdefault("manager", made)
        owner = self._owner()
        if manager is made and owner is not None:
            # The manager does not know its owner, so that nothing but the program keeps that alive.
            weakref.finalize(owner, _dropped, made, repr(owner)).atexit = False
        return manager

    def close(self, limit_s: float) -> bool:
        """Close them; return False when a thread has not ended in time."""
        found = self.present
        return found is None or found.close(limit_s)


def _dropped(manager: "WebSocketManager", who: str) -> None:
    """Close what a program let go without closing it."""
    if manager.is_open:
        # Closed before the warning, which may be an error. Without locks, since the collector may
        # run in a thread that holds one.
        manager.abort_unlocked()
        warnings.warn(f"{who} was not closed; use 'with' or close()", ResourceWarning, stacklevel=2)
