"""Hooks: what a program wants to be told of the feed, called in a thread of their own."""

import logging
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable
from typing import Any

from tvDatafeed.common.deadline import WAIT_SLICE_S, Deadline

logger: logging.Logger = logging.getLogger(__name__)

# News that a program is so slow to take are not worth more memory.
_KEPT_CALLS = 10_000


def show_unheard(who: object, error: BaseException) -> None:
    """Write an error to stderr, unless logging is set up: then it stands in the log already.

    Python does so with the errors of any thread.
    """
    heard: logging.Logger | None = logger
    while heard is not None:
        if any(not isinstance(handler, logging.NullHandler) for handler in heard.handlers):
            return
        heard = heard.parent
    if sys.stderr is not None:
        lines = traceback.format_exception(type(error), error, error.__traceback__)
        sys.stderr.write(f"tvDatafeed: {who}:\n{''.join(lines)}")


class Hooks:
    """Calls that must not be made where they come up: in a reader's thread, or under a lock.

    They are made one after the other, in a thread that lives while there is a feed.
    """

    def __init__(self) -> None:
        self._calls: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._dropped = 0
        self._is_open = False
        # The one that calls; None when there is none, or it will not look for calls any more.
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition(threading.Lock())

    def start(self) -> None:
        """Begin to call; what is posted before is not.

        Raises
        ------
        RuntimeError
            When the system gives no thread.
        """
        with self._changed:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="tvDatafeed-hooks", daemon=True)
                thread.start()
                self._thread = thread
            self._is_open = True
            # Whoever waits for the end does not wait for that of another beginning.
            self._changed.notify_all()

    def end(self) -> None:
        """Call what was posted, and no more."""
        with self._changed:
            self._is_open = False
            self._changed.notify_all()

    @property
    def thread(self) -> threading.Thread | None:
        """The thread that calls."""
        return self._thread

    def join(self, timeout: float | None) -> bool:
        """Wait for the last call after `end`; False when that takes longer."""
        deadline = Deadline(timeout)
        with self._changed:
            thread = self._thread
            if thread is threading.current_thread():
                return True
            while self._thread is thread and not self._is_open:
                if deadline.expired:
                    return False
                self._changed.wait(deadline.clip(WAIT_SLICE_S))
            gone = None if self._thread is thread else thread
        if gone is not None:
            gone.join(deadline.remaining())
        return True

    def post(self, function: Callable[..., object] | None, *arguments: Any) -> None:
        """Have a function called; None is nothing to call."""
        if function is None:
            return
        with self._changed:
            if not self._is_open:
                return
            self._calls.append((function, arguments))
            if len(self._calls) > _KEPT_CALLS:
                self._calls.popleft()
                self._dropped += 1
            self._changed.notify_all()

    def _run(self) -> None:
        while (call := self._next()) is not None:
            function, arguments = call
            try:
                function(*arguments)
            except BaseException as error:
                # Also sys.exit(): one hook does not end the others.
                name = getattr(function, "__name__", repr(function))
                logger.exception("the hook %s raised %s", name, type(error).__name__)

    def _next(self) -> tuple[Callable[..., object], tuple[Any, ...]] | None:
        with self._changed:
            dropped, self._dropped = self._dropped, 0
            while not self._calls and self._is_open:
                self._changed.wait(WAIT_SLICE_S)
            if not self._calls:
                self._thread = None
                self._changed.notify_all()
                return None
            call = self._calls.popleft()
        if dropped:
            logger.warning("the hooks are too slow: %d calls of them were dropped", dropped)
        return call
