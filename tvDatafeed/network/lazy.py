"""The connections of one client, created at first use.

Sockets, TLS and JSON are imported then too, so that importing the library is quick.
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
        The client: if it is deleted without being closed, its connections are closed.
    network
        How to connect, and the limits.
    limiter
        Counts handshakes.
    network_of
        Returns the settings for a token: tokens may have different hosts.
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
        """The connections; None before their first use."""
        return self._made.get("manager")

    def get(self) -> "WebSocketManager":
        """Return the connections; the first call creates them."""
        found = self.present
        if found is not None:
            return found
        from tvDatafeed.network.pool import WebSocketManager  # noqa: PLC0415 - as said above

        made = WebSocketManager(self._network, self._limiter, network_of=self._network_of)
        # The first of several threads wins; a lock could be copied by a fork.
        manager = self._made.setdefault("manager", made)
        owner = self._owner()
        if manager is made and owner is not None:
            # The manager has no reference to its owner, so that only the program keeps the owner
            # alive.
            weakref.finalize(owner, _dropped, made, repr(owner)).atexit = False
        return manager

    def close(self, limit_s: float) -> bool:
        """Close the connections; return False when a thread has not ended in time."""
        found = self.present
        return found is None or found.close(limit_s)


def _dropped(manager: "WebSocketManager", who: str) -> None:
    """Close the connections of a client that was deleted without being closed."""
    if manager.is_open:
        # Closed before the warning, which may raise. Without locks, since the collector may run in
        # a thread that holds one.
        manager.abort_unlocked()
        warnings.warn(f"{who} was not closed; use 'with' or close()", ResourceWarning, stacklevel=2)
