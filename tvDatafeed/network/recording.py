"""Recordings: the traffic of a client and TradingView, in a file that can be replayed.

The setting `NetworkConfig.record` (``TV_RECORD``) or ``tvdatafeed record FILE -- COMMAND`` makes
one; ``tvdatafeed serve --replay FILE`` and `tvDatafeed.testing.FakeTradingView.replay` play it.
Secrets (tokens, cookies, passwords, codes, names of users) are replaced by asterisks of equal
number, and numbers that identify a user by ones.

A recording is a text file with one JSON object per line. The first line is
``{"t": 0.0, "format": "tvdatafeed recording 1", "started": epoch seconds, ...}``. In all lines
``t`` is in seconds since the first one, by the monotonic clock, and ``from`` is "client" or
"server":

=================================================== =============================================
``{"connection": 1, "from": "client", "open": URL}`` the handshake of a WebSocket
``{..., "from": "server", "status": 101}``           its answer; a refusal has headers and a body
``{..., "from": ..., "data": TEXT}``                 a WebSocket message of one or more packets
``{..., "from": "server", "close": CODE}``           a close frame; null for one without a code
``{..., "from": ..., "lost": TEXT}``                 the end of the connection, and whose it was
``{"exchange": 1, "from": "client", "request": {}}`` HTTP: method, url, headers, body
``{..., "from": "server", "answer": {}}``            HTTP: status, headers, cookies, body
``{..., "from": "client", "lost": TEXT}``            why there was no answer
``{"end": REASON}``                                  the last line of a finished recording
=================================================== =============================================

The file is readable only by its owner (mode 0600) and must not exist before: two recordings are
never mixed. A forked child writes to another file, ``FILE.PID``. If the file cannot be written, one
WARNING is logged, and the program continues without a recording.
"""

import atexit
import itertools
import json
import logging
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from typing import Any
from urllib.parse import unquote, urlsplit

from tvDatafeed.common.facts import facts
from tvDatafeed.common.fork import call_in_forked_child
from tvDatafeed.config import NetworkConfig, TvDatafeedConfig
from tvDatafeed.exceptions import TvDatafeedError
from tvDatafeed.network.masking import Masker
from tvDatafeed.network.replies import HttpReply

__all__ = [
    "FORMAT",
    "Recorder",
    "finish_recording",
    "learn_settings",
    "recorded_exchange",
    "recorder_of",
]

logger: logging.Logger = logging.getLogger(__name__)

FORMAT = "tvdatafeed recording 1"
# The file always has room for the line with the reason of the end.
_END_BYTES = 256
_NAMES = frozenset({"username"})


class Recorder:
    """Writes one recording; any thread may call it.

    Parameters
    ----------
    path
        The file, which must not exist.
    max_bytes
        The maximum size of the file in bytes.

    Attributes
    ----------
    masker : Masker
        The secrets of this recording.
    problem : str or None
        Why the recording has stopped; None while it runs.
    """

    def __init__(self, path: str, max_bytes: int) -> None:
        self.masker: Masker = Masker()
        self._path = path
        self._max_bytes = max_bytes
        self._reset(path)
        call_in_forked_child(self._reset_in_child)

    def _reset(self, path: str) -> None:
        self._file = path
        self.problem: str | None = None
        # Held for one change of state, but not while one thread at a time writes the file.
        self._lock = threading.Lock()
        self._lines: list[str] = []
        self._is_writing = False
        self._is_over = False
        self._started = time.monotonic()
        self._bytes = 0
        self._connections = itertools.count(1)
        self._exchanges = itertools.count(1)
        self.write(
            {
                "format": FORMAT,
                "started": round(time.time(), 3),
                "python": platform.python_version(),
                "platform": sys.platform,
            },
            is_written=False,
        )

    def _reset_in_child(self) -> None:
        self.masker.reset_lock()
        self._reset(f"{self._path}.{os.getpid()}")

    def connection(self, url: str) -> "ConnectionTape":
        """Record the opening of a connection, and return the tape that records it."""
        return ConnectionTape(self, next(self._connections), url)

    def exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        *,
        keeps_query: bool,
    ) -> "ExchangeTape":
        """Record an HTTP request, and return the tape that records its answer."""
        sent = (body or b"").decode("utf-8", "replace")
        tape = ExchangeTape(self, next(self._exchanges), sent)
        content_type = headers.get("Content-Type", "")
        tape.write(
            "client",
            request={
                "method": method,
                "url": self.masker.url(url, keeps_query=keeps_query),
                "headers": self.masker.request_headers(headers),
                "body": self.masker.request_body(body, content_type),
            },
        )
        return tape

    def write(self, entry: dict[str, Any], *, is_written: bool = True) -> None:
        """Add a line; errors of the file are not raised.

        Parameters
        ----------
        entry
            The line without its time.
        is_written
            Whether it is written now; else it is written with the next line.
        """
        rest = json.dumps(entry)[1:]
        with self._lock:
            if self._is_over:
                return
            moment = time.monotonic() - self._started
            self._lines.append(f'{{"t": {moment:.6f}, {rest}\n')
            if self._is_writing or not is_written:
                return
            self._is_writing = True
        self._write_lines()

    def end(self, reason: str) -> None:
        """Write the last line, unless nothing was recorded; later lines are ignored."""
        if self._bytes:
            self.write({"end": reason})
        with self._lock:
            self._is_over = True

    @property
    def bytes_written(self) -> int:
        """The size of the file."""
        return self._bytes

    def _write_lines(self) -> None:
        """Write all lines, including those that other threads add meanwhile."""
        is_done = False
        try:
            while True:
                with self._lock:
                    lines, self._lines = self._lines, []
                    if not lines or self._is_over:
                        self._is_writing = False
                        is_done = True
                        return
                self._append(lines)
        except FileExistsError:
            self._give_up(
                f"{self._file} exists, and a recording is never mixed with another one: name "
                "another file (TV_RECORD)"
            )
            is_done = True
        except OSError as error:
            self._give_up(f"{self._file} cannot be written: {error.strerror or error} (TV_RECORD)")
            is_done = True
        finally:
            if not is_done:  # Ctrl-C
                self._is_writing = False

    def _append(self, lines: list[str]) -> None:
        data = [line.encode("ascii") for line in lines]
        reason = f"size limit of {self._max_bytes} bytes (TV_RECORD_MAX_BYTES)"
        room = self._max_bytes - _END_BYTES - self._bytes
        sizes = itertools.accumulate(map(len, data))
        fitting = sum(size <= room for size in sizes)
        is_full = fitting < len(data)
        if is_full:
            moment = time.monotonic() - self._started
            data[fitting:] = [f'{{"t": {moment:.6f}, "end": "{reason}"}}\n'.encode("ascii")]
        self._append_bytes(b"".join(data))
        if is_full:
            self._give_up(f"{self._file} has reached its {reason} and ends here")

    def _append_bytes(self, data: bytes) -> None:
        # The file is not kept open: it never needs closing, and no forked child shares it.
        flags = os.O_WRONLY | os.O_APPEND | getattr(os, "O_BINARY", 0)
        if not self._bytes:
            flags |= os.O_CREAT | os.O_EXCL
        descriptor = os.open(self._file, flags, 0o600)
        try:
            while data:
                count = os.write(descriptor, data)
                self._bytes += count
                data = data[count:]
        finally:
            os.close(descriptor)

    def _give_up(self, problem: str) -> None:
        with self._lock:
            self._is_over, self._is_writing = True, False
            self.problem = problem
        logger.warning(
            "the recording has ended, the program continues: %s",
            problem,
            extra=facts(reason=problem, path=self._file),
        )


class ConnectionTape:
    """Records one WebSocket connection; a `tvDatafeed.network.websocket.Tape`."""

    def __init__(self, recorder: Recorder, number: int, url: str) -> None:
        self._recorder = recorder
        self._masker = recorder.masker
        self._number = number
        self._write("client", open=self._masker.url(url))

    def _write(self, sender: str, **what: Any) -> None:
        self._recorder.write({"connection": self._number, "from": sender, **what})

    def record_open(self) -> None:
        """Record that the handshake was answered."""
        self._write("server", status=101)

    def record_refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Record that the handshake was refused."""
        shown = {name.lower(): value for name, value in headers.items()}
        self._write(
            "server",
            status=status,
            headers=self._masker.answer_headers(shown),
            body=self._masker.answer_body(body.decode("utf-8", "replace"), ""),
        )

    def record_sent(self, text: str) -> None:
        """Record a message of the client, before it is sent."""
        self._write("client", data=self._masker.sent(text))

    def record_received(self, text: str) -> None:
        """Record a message of the server."""
        self._write("server", data=self._masker.received(text))

    def record_close(self, code: int | None, reason: str) -> None:
        """Record a close frame of the server."""
        self._write("server", close=code, reason=self._masker.text(reason))

    def record_end(self, what: str, *, is_ours: bool) -> None:
        """Record the end of the connection, or that it could not be opened."""
        self._write("client" if is_ours else "server", lost=self._masker.text(what))


class ExchangeTape:
    """Records the answer to one HTTP request."""

    def __init__(self, recorder: Recorder, number: int, sent: str) -> None:
        self._recorder = recorder
        self._masker = recorder.masker
        self._number = number
        self._sent = sent

    def write(self, sender: str, **what: Any) -> None:
        """Add a line about this exchange."""
        self._recorder.write({"exchange": self._number, "from": sender, **what})

    def record_answer(self, reply: HttpReply) -> HttpReply:
        """Record an answer, and return it."""
        self._masker.learn(reply.cookies.values())
        self.write(
            "server",
            answer={
                "status": reply.status,
                "headers": self._masker.answer_headers(reply.headers),
                "cookies": {name: "*" * len(value) for name, value in reply.cookies.items()},
                "body": self._masker.answer_body(reply.text, self._sent),
            },
        )
        return reply

    def record_end(self, what: str) -> None:
        """Record the error that came instead of an answer."""
        self.write("client", lost=self._masker.text(what))


# One recorder per file, for all clients of this process.
_recorders: dict[str, Recorder] = {}


def recorder_of(network: NetworkConfig) -> Recorder:
    """Return the recorder of the traffic of clients with these settings.

    Parameters
    ----------
    network
        Settings in which `record` is not None.
    """
    path = os.path.abspath(network.record or "")  # noqa: PTH100 - no link is followed
    recorder = _recorders.get(path)
    if recorder is None:
        # The first of several threads wins; none has written yet.
        recorder = _recorders.setdefault(path, Recorder(path, network.record_max_bytes))
    return recorder


@contextmanager
def recorded_exchange(
    network: NetworkConfig,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes | None,
) -> Iterator[Callable[[HttpReply], HttpReply]]:
    """Record an HTTP request, and yield a function that records its answer and returns it."""
    is_search = url.startswith(network.search_url.partition("?")[0])
    tape = recorder_of(network).exchange(method, url, headers, body, keeps_query=is_search)
    try:
        yield tape.record_answer
    except TvDatafeedError as error:
        tape.record_end(str(error))
        raise


def learn_settings(config: TvDatafeedConfig) -> None:
    """Mask the secrets of a client's settings in its recording, wherever they appear."""
    masker = recorder_of(config.network).masker
    secrets = dict(_secrets_of(config))
    masker.learn((s for name, s in secrets.items() if name in _NAMES), are_names=True)
    masker.learn(s for name, s in secrets.items() if name not in _NAMES)


def _secrets_of(config: TvDatafeedConfig) -> Iterator[tuple[str, str]]:
    for section in (config.auth, config.store):
        for field in fields(section):
            value = getattr(section, field.name)
            if isinstance(value, str) and (not field.repr or "credential" in field.metadata):
                yield field.name, value
    for name, url in (("store", config.store.url), ("proxy", config.network.proxy)):
        try:
            parts = urlsplit(url or "")
        except ValueError:
            continue
        for part in (parts.username, parts.password):
            if part:
                yield f"{name} {part}", part
                yield f"{name} {unquote(part)}", unquote(part)


def finish_recording(path: str) -> Recorder | None:
    """End a recording of this process, and return its recorder; None if nothing was recorded."""
    recorder = _recorders.pop(os.path.abspath(path), None)  # noqa: PTH100 - as above
    if recorder is not None:
        recorder.end("finished")
    return recorder


def _finish_all() -> None:
    for path in list(_recorders):
        finish_recording(path)


atexit.register(_finish_all)
