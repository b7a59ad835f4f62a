"""Warming in the background: one job at a time, in a thread of its own."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from tvDatafeed.exceptions import TvDatafeedError
from tvDatafeed.interval import IntervalLike
from tvDatafeed.store.barstore import BarStore

# What makes a client, such as `TvDatafeed`; it is closed after the job.
MakeClient = Callable[[], AbstractContextManager[Any]]

# Seconds to wait for the thread at the end; it is a daemon, so that the process ends in any case.
_END_S = 5.0


@dataclass(frozen=True)
class Progress:
    """How far the newest job is; moments are epoch seconds UTC."""

    state: Literal["idle", "running", "done", "failed"] = "idle"
    done: int = 0
    total: int = 0
    symbol: str = ""
    started_s: float | None = None
    ended_s: float | None = None
    error: str | None = None
    results: dict[str, dict[str, Any]] = field(default_factory=dict)


class _StoppedError(Exception):
    """The server ends."""


class Warmer:
    """Fetches bars into a store, one job at a time.

    Parameters
    ----------
    store
        Where the bars go.
    make_client
        What makes the client that asks TradingView; None: there is none.
    """

    def __init__(self, store: BarStore, make_client: MakeClient | None) -> None:
        self._store = store
        self._make_client = make_client
        self._lock = threading.Lock()
        self._is_stopping = threading.Event()
        # The lock guards both; a progress is replaced as a whole.
        self._progress = Progress()
        self._thread: threading.Thread | None = None
        self._client: Any = None

    @property
    def is_able(self) -> bool:
        """Whether there is a client to fetch bars with."""
        return self._make_client is not None

    @property
    def progress(self) -> Progress:
        """How far the newest job is."""
        return self._progress

    def start(self, symbols: Sequence[str], intervals: Sequence[IntervalLike], n_bars: int) -> bool:
        """Start a job.

        Returns
        -------
        bool
            False when another one is running, there is no client, or the server ends.
        """
        total = len(symbols) * len(intervals)
        thread = threading.Thread(
            target=self._run,
            args=(self._make_client, symbols, intervals, n_bars),
            name="tvDatafeed-warming",
            daemon=True,
        )
        with self._lock:
            is_busy = self._progress.state == "running"
            if is_busy or not self.is_able or self._is_stopping.is_set():
                return False
            self._progress = Progress("running", total=total, started_s=time.time())
            self._thread = thread
        thread.start()
        return True

    def close(self) -> None:
        """Stop the job that is running, if any, and wait a little for its end."""
        self._is_stopping.set()
        with self._lock:
            thread, client = self._thread, self._client
        if thread is None:
            return
        if client is not None:
            client.close()  # a request that waits for its answer ends
        thread.join(_END_S)

    def _run(
        self,
        make_client: MakeClient,
        symbols: Sequence[str],
        intervals: Sequence[IntervalLike],
        n_bars: int,
    ) -> None:
        error: str | None = None
        results: dict[str, dict[str, Any]] = {}
        try:
            with make_client() as client:
                self._client = client
                results = self._store.warm(
                    client, symbols, None, intervals, n_bars, progress=self._report
                )
        except _StoppedError:
            error = "the server has ended"
        except TvDatafeedError as failure:
            error = str(failure)
        except Exception as failure:  # noqa: BLE001 - the thread has no caller
            error = f"warming failed: {type(failure).__name__}"
        self._client = None
        shown = {
            name: result | {"error": _text(result["error"])} for name, result in results.items()
        }
        with self._lock:
            self._progress = replace(
                self._progress,
                state="done" if error is None else "failed",
                ended_s=time.time(),
                error=error,
                results=shown,
            )

    def _report(self, done: int, total: int, symbol: str) -> None:
        if self._is_stopping.is_set():
            raise _StoppedError
        with self._lock:
            self._progress = replace(self._progress, done=done, total=total, symbol=symbol)


def _text(error: object) -> str | None:
    return None if error is None else str(error)
