"""Connections: a machine, a transport and the thread that reads.

Who touches what: the reader thread owns the read side of the socket; the connection's lock
guards the machine and the send side, and is held for one change of state and one bounded send;
everyone else waits on a future, with the deadlines that the machine keeps.
"""

import concurrent.futures
import copy
import logging
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from tvDatafeed.config import NetworkConfig
from tvDatafeed.exceptions import TvDatafeedError, WebSocketError, WebSocketTimeoutError
from tvDatafeed.protocol.machine import (
    ConnectionFailed,
    Event,
    History,
    HistoryReady,
    Machine,
    SeriesRequest,
)
from tvDatafeed.transport import Transport, dial
from tvDatafeed.utils import Deadline, generate_chart_session_id, redact

logger = logging.getLogger(__name__)

# On Windows a wait without slices keeps Ctrl-C until it ends.
_WAIT_SLICE_S = 0.1 if sys.platform == "win32" else None


class Connection:
    """One WebSocket connection; it connects in its own thread as soon as it is made.

    Parameters
    ----------
    network
        Where to connect, and the limits.
    token
        The data token of the first sign-in.

    Attributes
    ----------
    show_frames
        Whether outgoing packets go to the log at DEBUG, the token redacted.
    """

    def __init__(self, network: NetworkConfig, token: str) -> None:
        self._network = network
        self.show_frames = False
        self._lock = threading.Lock()
        self._machine = Machine(token)
        self._token = token
        self._transport: Transport | None = None
        self._error: TvDatafeedError | None = None
        self._waiting: dict[str, Future[History]] = {}
        self._reader = threading.Thread(target=self._read, name="tvDatafeed-reader", daemon=True)
        self._reader.start()

    def __repr__(self) -> str:
        state = "broken" if self._error else "open" if self._transport else "connecting"
        return f"<Connection {state} {self._machine!r}>"

    @property
    def is_usable(self) -> bool:
        """Whether a request may still be answered here."""
        return self._error is None

    def fetch(
        self,
        request: SeriesRequest,
        token: str,
        deadline: Deadline,
        message_timeout_s: float | None,
    ) -> History:
        """Ask for bars and wait for them.

        Raises
        ------
        TvDatafeedError
            The refusal, the broken connection, or the time that ran out.
        """
        session = generate_chart_session_id()
        future: Future[History] = Future()
        try:
            with self._exchange() as machine:
                if self._error is not None:
                    raise _own_copy(self._error)
                self._token = token
                machine.set_token(token)
                self._waiting[session] = future
                now = time.monotonic()
                machine.open_series(
                    session,
                    request,
                    now=now,
                    deadline=now + (deadline.remaining() or 0.0),
                    message_timeout_s=message_timeout_s,
                )
            self._wait(future, deadline)
        finally:
            # After Ctrl-C the server's session is freed, and a late answer dropped by its id.
            if not future.done():
                with self._exchange() as machine:
                    self._waiting.pop(session, None)
                    machine.close_series(session)
        return future.result()

    def abort(self, error: TvDatafeedError) -> None:
        """End the connection from any thread; whoever waits here gets ``error``."""
        with self._lock:
            self._break(error)

    def join(self, timeout: float | None) -> bool:
        """Wait until the reader has ended; False when it has not."""
        if self._reader is not threading.current_thread():
            self._reader.join(timeout)
        return not self._reader.is_alive()

    def _wait(self, future: Future[History], deadline: Deadline) -> None:
        while not future.done():
            with self._lock:
                wake_at = self._machine.next_deadline()
            seconds = deadline.remaining()
            if wake_at is not None:
                seconds = deadline.clip(max(wake_at - time.monotonic(), 0.0))
            if _WAIT_SLICE_S is not None:
                seconds = min(seconds or _WAIT_SLICE_S, _WAIT_SLICE_S)
            concurrent.futures.wait([future], seconds)
            now = time.monotonic()
            if wake_at is not None and now >= wake_at:
                # The one who waits keeps the time, so a reader that is stuck hangs nobody.
                with self._exchange() as machine:
                    machine.tick(now)
            elif deadline.expired:
                raise WebSocketTimeoutError("answer", deadline.seconds or 0)

    @contextmanager
    def _exchange(self) -> Iterator[Machine]:
        """Change the machine's state, send what follows from it, hand its events out."""
        sent: list[str] = []
        try:
            with self._lock:
                yield self._machine
                if self._transport is not None and self._error is None:
                    sent = self._machine.data_to_send()
                    self._send(self._transport, sent)
                for event in self._machine.events():
                    self._hand_out(event)
        finally:
            if self.show_frames:
                for packet in sent:
                    logger.debug("sent %s", redact(packet, (self._token,)))

    def _hand_out(self, event: Event) -> None:
        if isinstance(event, ConnectionFailed):
            self._break(event.error)
            return
        future = self._waiting.pop(event.session, None)
        if future is None:
            return
        if isinstance(event, HistoryReady):
            future.set_result(event.history)
        else:
            future.set_exception(event.error)

    def _break(self, error: TvDatafeedError) -> None:
        self._error = self._error or error
        if self._transport is not None:
            self._transport.abort()

    def _send(self, transport: Transport, packets: list[str]) -> None:
        if not packets:
            return
        try:
            transport.send(packets, time.monotonic() + self._network.send_timeout)
        except TvDatafeedError as error:
            self._break(error)

    def _read(self) -> None:
        transport: Transport | None = None
        error: TvDatafeedError = WebSocketError("the connection was closed")
        try:
            transport = dial(self._network, time.monotonic() + self._network.connect_timeout)
            with self._exchange():
                self._transport = transport
            while self._error is None:
                text = transport.receive(deadline=None)
                if text is not None:
                    with self._exchange() as machine:
                        machine.receive(text, time.monotonic())
        except TvDatafeedError as failure:
            error = failure
        except BaseException as failure:
            logger.exception("the reader of a connection failed; please report this")
            error = WebSocketError("the reader of the connection failed")
            error.__cause__ = failure
        finally:
            self._end(transport, error)

    def _end(self, transport: Transport | None, error: TvDatafeedError) -> None:
        with self._lock:
            self._error = error = self._error or error
            self._transport = None
            for future in self._waiting.values():
                future.set_exception(_own_copy(error))
            self._waiting.clear()
        # Nobody sends any more, so the descriptor can go.
        if transport is not None:
            transport.close()
        logger.debug("connection ended: %s", error)


def _own_copy(error: TvDatafeedError) -> TvDatafeedError:
    """Copy an error for one of several threads: raising writes a traceback into it."""
    own = copy.copy(error)
    own.__cause__ = error.__cause__
    return own


class WebSocketManager:
    """The connection of one object: opened at the first request, reused, replaced when it broke.

    Parameters
    ----------
    network
        Where to connect, and the limits.
    """

    def __init__(self, network: NetworkConfig) -> None:
        self._network = network
        self._lock = threading.Lock()
        self._connection: Connection | None = None

    def __repr__(self) -> str:
        return f"<WebSocketManager {self._connection!r}>"

    def fetch(
        self,
        request: SeriesRequest,
        *,
        token: str,
        response_timeout_s: float,
        message_timeout_s: float,
        show_frames: bool = False,
    ) -> History:
        """Ask for bars and wait for them.

        Parameters
        ----------
        request
            What to ask for.
        token
            The data token; another one than before signs in anew on the same connection.
        response_timeout_s
            How long all of it may take, connecting included.
        message_timeout_s
            How long one message of the answer may take; -1 for no limit of its own.
        show_frames
            Whether outgoing packets go to the log at DEBUG, the token redacted.

        Raises
        ------
        TvDatafeedError
            The refusal, the broken connection, or the time that ran out.
        """
        deadline = Deadline(response_timeout_s)
        with self._lock:
            if self._connection is None or not self._connection.is_usable:
                self._connection = Connection(self._network, token)
            connection = self._connection
        connection.show_frames = show_frames
        limit_s = None if message_timeout_s < 0 else message_timeout_s
        return connection.fetch(request, token, deadline, limit_s)

    def close(self, timeout: float) -> bool:
        """End the connection; a later request opens another.

        Parameters
        ----------
        timeout
            How long to wait for the reader thread, seconds.

        Returns
        -------
        bool
            False when the thread has not ended in time.
        """
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is None:
            return True
        connection.abort(WebSocketError("the connection was closed by this program"))
        return connection.join(timeout)
