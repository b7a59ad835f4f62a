"""Record what the server has seen, so that tests can query it and wait for it."""

import threading
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from tvDatafeed.testing.market.corrections import CorrectedBar
from tvDatafeed.testing.wire.actions import Message

CloseMethod = Literal["fin", "rst"] | int

_LISTS = ("received", "handshakes", "http_requests", "logins", "differences")


@dataclass(frozen=True)
class Received:
    """A client message.

    Parameters
    ----------
    connection
        The number of the connection that received it; the first WebSocket is 1.
    method, params
        The message.
    """

    connection: int
    method: str
    params: list[Any]


class Client(Protocol):
    """A connected client, with the methods that any thread may call."""

    has_closed: bool

    def post(self, message: Message) -> None:
        """Queue a message for sending."""

    def notify_updates(self, moment: float) -> None:
        """Send the changes of series and quotes up to a moment."""

    def notify_correction(self, bar: CorrectedBar, moment: float) -> None:
        """Send a bar that was corrected at a moment to the series that hold it."""

    def exceed_connections(self) -> None:
        """Close the connection, because its account has too many."""

    def recheck(self) -> None:
        """Check the token again, because it may have expired."""

    def abort(self, how: CloseMethod | None) -> None:
        """Close the connection at once; None closes it without a close frame or a drain."""

    def join(self, timeout_s: float) -> None:
        """Wait until the connection's thread has ended."""


class Journal:
    """A record of what the server has seen; every change notifies `changed`."""

    def __init__(self) -> None:
        self.changed: threading.Condition = threading.Condition()
        self.accepted: int = 0
        self.connections_opened: int = 0
        self.echoes: int = 0
        self.peak_sessions: int = 0
        self._lists: dict[str, list[Any]] = {name: [] for name in _LISTS}
        self._clients: list[Client] = []
        # The accounts of those that are signed in, the longest connected first.
        self._accounts: dict[Client, object] = {}
        self._sessions: dict[int, list[str]] = {}
        self._quote_sessions: dict[int, list[str]] = {}

    @property
    def open_connections(self) -> int:
        """How many WebSocket connections are open."""
        with self.changed:
            return len(self._sessions)

    @property
    def open_sessions(self) -> set[str]:
        """The chart sessions that are open."""
        with self.changed:
            return {session for sessions in self._sessions.values() for session in sessions}

    @property
    def open_quote_sessions(self) -> set[str]:
        """The quote sessions that are open."""
        with self.changed:
            return {name for sessions in self._quote_sessions.values() for name in sessions}

    def copy(self, name: str) -> list[Any]:
        """Return the entries of a list, such as ``"received"`` or ``"handshakes"``."""
        with self.changed:
            return self._lists[name].copy()

    def clients(self) -> list[Client]:
        """Return the clients that are connected."""
        with self.changed:
            return self._clients.copy()

    def summary(self) -> str:
        """Return the counters as text for a repr."""
        with self.changed:
            opened, now = self.connections_opened, len(self._sessions)
            return f"{opened} connections opened, {now} open, {len(self.open_sessions)} sessions"

    def record(self, name: str, entry: Any) -> None:
        """Add an entry to a list; see `copy`."""
        with self.changed:
            self._lists[name].append(entry)
            self.changed.notify_all()

    def add_client(self, client: Client) -> None:
        """Count a TCP connection and add its client."""
        with self.changed:
            self.accepted += 1
            self._clients.append(client)
            self.changed.notify_all()

    def record_open(self) -> int:
        """Count a WebSocket connection and return its number."""
        with self.changed:
            self.connections_opened += 1
            self._sessions[self.connections_opened] = []
            self.changed.notify_all()
            return self.connections_opened

    def record_command(
        self, entry: Received, sessions: list[str], quote_sessions: list[str]
    ) -> None:
        """Record a client message and the sessions that its connection has now."""
        with self.changed:
            self._lists["received"].append(entry)
            self._sessions[entry.connection] = sessions
            self._quote_sessions[entry.connection] = quote_sessions
            self.peak_sessions = max(self.peak_sessions, sum(map(len, self._sessions.values())))
            self.changed.notify_all()

    def record_echo(self) -> None:
        """Count a heartbeat that was echoed."""
        with self.changed:
            self.echoes += 1
            self.changed.notify_all()

    def record_close(self, client: Client, connection: int) -> None:
        """Record that a connection is closed from its client's point of view."""
        with self.changed:
            client.has_closed = True
            self._sessions.pop(connection, None)
            self._quote_sessions.pop(connection, None)
            self.changed.notify_all()

    def record_account(self, client: Client, account: object) -> list[Client]:
        """Record whose token a client has, and return all of that account, the oldest first."""
        with self.changed:
            self._accounts[client] = account
            return [c for c, owner in self._accounts.items() if owner == account]

    def remove_client(self, client: Client) -> None:
        """Remove a client whose thread ends."""
        with self.changed:
            self._accounts.pop(client, None)
            self._clients.remove(client)
            self.changed.notify_all()
