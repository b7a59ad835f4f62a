"""Hooks: what a program wants to be told of the feed, called in a thread of their own."""

import logging
import threading
from collections.abc import Callable
from typing import Any

from tvDatafeed.mailbox import END, Mailbox

logger = logging.getLogger(__name__)

# News that a program is so slow to take are not worth more memory.
_KEPT_CALLS = 10_000


class Hooks:
    """Calls that must not be made where they come up: in a reader's thread, or under a lock.

    They are made one after the other, in a thread that lives while there is a feed.
    """

    def __init__(self) -> None:
        self._calls: Mailbox | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Begin to call; what is posted before is not.

        Raises
        ------
        RuntimeError
            When the system gives no thread.
        """
        with self._lock:
            if self._calls is not None:
                return
            calls = Mailbox(_KEPT_CALLS, slow_at=_KEPT_CALLS)
            thread = threading.Thread(
                target=self._run, args=(calls,), name="tvDatafeed-hooks", daemon=True
            )
            thread.start()
            self._calls, self._thread = calls, thread

    def end(self) -> None:
        """Call what was posted, and no more."""
        with self._lock:
            calls, self._calls = self._calls, None
        if calls is not None:
            calls.end()

    def join(self, timeout: float | None) -> bool:
        """Wait for the last call after `end`; False when that takes longer."""
        with self._lock:
            thread = self._thread if self._calls is None else None
        if thread is None or thread is threading.current_thread():
            return True
        thread.join(timeout)
        return not thread.is_alive()

    def post(self, function: Callable[..., object] | None, *arguments: Any) -> None:
        """Have a function called; None is nothing to call."""
        calls = self._calls
        if function is not None and calls is not None:
            calls.put((function, arguments))

    @staticmethod
    def _run(calls: Mailbox) -> None:
        while (call := calls.get()) is not END:
            function, arguments = call
            try:
                function(*arguments)
            except Exception:
                name = getattr(function, "__name__", repr(function))
                logger.exception("the hook %s raised an exception", name)
