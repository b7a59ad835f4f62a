"""The thread that calls the hooks of a program."""

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeAlias

from tvDatafeed.common.deadline import Deadline
from tvDatafeed.common.facts import facts
from tvDatafeed.live.feedlock import FeedLock, FeedThread

logger: logging.Logger = logging.getLogger(__name__)

# A program that is slow to handle events does not need more of them than this.
_KEPT_CALLS = 10_000

_Call: TypeAlias = tuple[Callable[..., object], tuple[Any, ...]]


class CallbackThread:
    """Calls functions, in order, in a thread that lives while there is a feed.

    They must not be called where their events come up: in the thread that delivers bars.

    Parameters
    ----------
    feed
        Guards whether calls are accepted, and the thread.
    name
        The thread's name.
    what
        What is called, for the log.
    """

    def __init__(
        self, feed: FeedLock, name: str = "tvDatafeed-hooks", what: str = "the hooks"
    ) -> None:
        self._what = what
        # None ends the thread, if the feed is closed and no call waits then.
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._feed = feed
        self._is_open = False
        # One entry for each; to append and to pop are atomic, so that no lock is taken here.
        self._dropped: deque[None] = deque()
        self._thread = FeedThread(feed, name)

    def open(self) -> None:
        """Accept calls from now on; the feed's lock is held, and `start` follows without it."""
        self._is_open = True
        # A thread that waits for the end of an earlier opening does not wait for this one.
        self._feed.changed.notify_all()

    def start(self) -> None:
        """Start the thread, unless it runs; called without locks.

        Raises
        ------
        RuntimeError
            The system gives no thread.
        """
        self._thread.start(self._run, is_needed=lambda: self._is_open)

    def close(self) -> None:
        """Accept no more calls, and end the thread after the last one; the feed's lock is held."""
        self._is_open = False
        self._calls.put(None)

    @property
    def thread(self) -> threading.Thread | None:
        """The thread, while it runs."""
        return self._thread.thread

    def join(self, timeout: float | None) -> bool:
        """Wait for the last call after `close`; False when that takes longer, in seconds."""
        return self._thread.join(Deadline(timeout), is_needed_again=lambda: self._is_open)

    def queue(self, function: Callable[..., object] | None, *arguments: Any) -> None:
        """Call a function in the thread; None is ignored. It takes no lock, and never waits."""
        if function is None or not self._is_open:
            return
        if self._calls.qsize() >= _KEPT_CALLS:
            with suppress(queue.Empty):
                self._calls.get_nowait()
            self._dropped.append(None)
        self._calls.put((function, arguments))

    def _run(self) -> None:
        with self._feed.lock:
            if not self._thread.is_current:
                return
        while (call := self._next()) is not None:
            function, arguments = call
            try:
                function(*arguments)
            except BaseException as error:
                # Also sys.exit(): one hook does not end the others.
                name = getattr(function, "__name__", repr(function))
                kind = type(error).__name__
                logger.exception("the hook %s raised %s", name, kind, extra=facts(hook=name))

    def _next(self) -> _Call | None:
        """Wait for a call; return None when the feed is closed and all calls were made."""
        call = None
        while call is None:
            call = self._calls.get()
            dropped = len(self._dropped)
            for _call in range(dropped):
                self._dropped.popleft()
            with self._feed.lock:
                if call is None and not self._is_open:
                    if self._calls.empty():
                        self._thread.clear()
                        return None
                    # A call came just before the feed was closed.
                    self._calls.put(None)
            if dropped:
                logger.warning(
                    "%s are too slow: %d of their calls were dropped",
                    self._what,
                    dropped,
                    extra=facts(dropped=dropped),
                )
        return call
