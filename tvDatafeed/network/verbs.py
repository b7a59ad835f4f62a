"""Connect, request and disconnect: for programs that use only the connections."""

import threading
import time
from abc import ABC, abstractmethod
from types import TracebackType
from typing import TYPE_CHECKING

from tvDatafeed.config import NetworkConfig
from tvDatafeed.exceptions import TvDatafeedError, WebSocketError, cut_tracebacks
from tvDatafeed.network.connection import Connection
from tvDatafeed.network.slots import NoSlot, Notifier
from tvDatafeed.protocol.literals import ANONYMOUS_TOKEN
from tvDatafeed.utils import generate_session_id

if TYPE_CHECKING:
    from typing_extensions import Self

# How long `disconnect` waits for the threads of the connections.
_DISCONNECT_S = 10.0
_LONGEST_WAIT_S = 3600.0


class _Woken:
    """Wakes the thread that waits for a slot."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def wake(self) -> None:
        """Wake the waiter."""
        self._event.set()

    def wait(self, seconds: float) -> None:
        """Wait until `wake` is called, at most a number of seconds."""
        self._event.wait(min(max(seconds, 0.0), _LONGEST_WAIT_S))
        self._event.clear()


class ConnectionVerbs(ABC):
    """The methods of an object's connections for programs that use only these."""

    _network: NetworkConfig
    _connections: list[Connection]

    @property
    @abstractmethod
    def stop(self) -> threading.Event:
        """An event that is set when the connections are closed."""

    @abstractmethod
    def acquire_slot(
        self,
        session: str,
        token: str,
        stop: threading.Event,
        notifier: Notifier,
        *,
        is_patient: bool = False,
    ) -> Connection | NoSlot:
        """Return a connection with a slot for a session, or when to try again."""

    @abstractmethod
    def record_unconnected(self, connection: Connection, error: TvDatafeedError) -> None:
        """End a connection that has failed, or whose server does not answer a ping."""

    @abstractmethod
    def record_error(self, error: TvDatafeedError) -> None:
        """Count a failure without a connection."""

    @abstractmethod
    def close(self, timeout: float) -> bool:
        """End the connections."""

    def __enter__(self) -> "Self":
        self.connect()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.disconnect()

    def connect(self) -> bool:
        """Open a connection, unless the server answers on an open one.

        It makes `NetworkConfig.max_retries` + 1 tries, with the pauses of `base_retry_delay` and
        `max_retry_delay`. A connection without requests is closed after `idle_timeout`. `with`
        connects too, and enters its block even if that has failed.

        Returns
        -------
        bool
            False when all tries have failed: `last_error` has the reason.

        Examples
        --------
        >>> from tvDatafeed.network import WebSocketManager
        >>> from tvDatafeed.testing import FakeTradingView
        >>> with FakeTradingView() as server:
        ...     with WebSocketManager(server.config()) as manager:
        ...         manager.is_connected()
        True
        """
        if self.is_connected():
            return True
        tries, stop = 0, self.stop
        woken = _Woken()
        while tries <= self._network.max_retries and not stop.is_set():
            session = generate_session_id()
            try:
                connection = self.acquire_slot(session, ANONYMOUS_TOKEN, stop, woken)
            except TvDatafeedError as error:
                self.record_error(error)
                cut_tracebacks(error)
                return False
            if isinstance(connection, NoSlot):
                woken.wait(connection.retry_at - time.monotonic())
                continue
            limit_s = self._network.connect_timeout + self._network.ping_timeout
            is_open = connection.ping(limit_s)
            connection.release([session])
            if is_open:
                return True
            tries += 1
            self.record_unconnected(
                connection,
                WebSocketError("the server does not answer a ping", self._network.ws_url),
            )
        return False

    def is_connected(self) -> bool:
        """Whether the server answers a ping within `NetworkConfig.ping_timeout` seconds."""
        limit_s = self._network.ping_timeout
        return any(c.ping(limit_s) for c in list(self._connections) if c.is_usable)

    def disconnect(self) -> None:
        """Close all connections; requests that wait for an answer fail.

        `connect` or another request opens the next one. Waits for the threads, at most 10 seconds.
        """
        self.close(_DISCONNECT_S)
