"""Pings with which a program checks a connection, independent of the machine's pings."""

import itertools
import queue
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from tvDatafeed.network.websocket import ping_frame

if TYPE_CHECKING:
    from tvDatafeed.exceptions import TvDatafeedError
    from tvDatafeed.protocol.machine import Machine

# Payloads that the machine does not use.
_PREFIX = b"ask"


class Pinged:
    """The part of a connection that pings its server and waits for the pong."""

    _lock: threading.Lock
    _error: "TvDatafeedError | None"
    _control_frames: list[bytes]
    _exchange: "Callable[[Callable[[Machine], None]], None]"

    def __init__(self) -> None:
        self._asked: dict[bytes, queue.SimpleQueue[bool]] = {}
        self._asked_count = itertools.count(1)

    def ping(self, limit_s: float) -> bool:
        """Ping the server, as soon as the connection is open, and wait for its answer.

        Parameters
        ----------
        limit_s
            How long to wait, seconds.

        Returns
        -------
        bool
            False when the answer has not come in time, or the connection has ended.
        """
        deadline = time.monotonic() + limit_s
        payload = _PREFIX + str(next(self._asked_count)).encode("ascii")
        answer: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._asked[payload] = answer

        def ask(_machine: "Machine") -> None:
            if self._error is None:
                self._control_frames.append(ping_frame(payload))
            else:
                answer.put(False)

        try:
            self._exchange(ask)
            return answer.get(timeout=max(deadline - time.monotonic(), 0.0))
        except queue.Empty:
            return False
        finally:
            del self._asked[payload]

    def _receive_pong(self, now: float, payload: bytes, machine: "Machine") -> None:
        machine.receive_pong(now, payload)
        answer = self._asked.get(payload)
        if answer is not None:
            answer.put(True)

    def _fail_asked(self) -> None:
        for answer in list(self._asked.values()):
            answer.put(False)
