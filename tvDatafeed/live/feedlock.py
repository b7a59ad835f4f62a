"""The lock of a feed, and its threads, which are started without it."""

import threading
from collections.abc import Callable

from tvDatafeed.common.deadline import WAIT_SLICE_S, Deadline


class FeedLock:
    """Guards what is registered, followed and running in one feed.

    It is taken by ``with feed.lock``: unlike a condition, a plain lock is always released when
    Ctrl-C comes.

    Attributes
    ----------
    lock : threading.Lock
        The lock.
    changed : threading.Condition
        Notified when something of the above changes; only used to wait and to notify.
    """

    def __init__(self) -> None:
        self.lock: threading.Lock = threading.Lock()
        self.changed: threading.Condition = threading.Condition(self.lock)


class FeedThread:
    """A thread of a feed, of which there is at most one at a time.

    Parameters
    ----------
    feed
        Guards which thread there is.
    name
        The thread's name.
    daemon
        Whether the process ends without waiting for it.
    """

    def __init__(self, feed: FeedLock, name: str, *, daemon: bool = True) -> None:
        self._feed = feed
        self._name = name
        self._daemon = daemon
        self._thread: threading.Thread | None = None

    @property
    def thread(self) -> threading.Thread | None:
        """The thread; None when there is none, and none is being started."""
        return self._thread

    @property
    def is_current(self) -> bool:
        """Whether the calling thread is this one; False when it was abandoned during its start."""
        return self._thread is threading.current_thread()

    def start(self, target: Callable[[], object], *, is_needed: Callable[[], bool]) -> None:
        """Start the thread, unless there is one or none is needed; called without locks.

        Parameters
        ----------
        target
            The function that it runs; it must check `is_current` first.
        is_needed
            Called under the lock.

        Raises
        ------
        RuntimeError
            The system cannot start a thread.
        """
        made: list[threading.Thread] = []
        try:
            with self._feed.lock:
                if self._thread is not None or not is_needed():
                    return
                made.append(threading.Thread(target=target, name=self._name, daemon=self._daemon))
                self._thread = made[0]
            made[0].start()
        except BaseException:
            # The thread did not start; or Ctrl-C came, and the thread may be running.
            with self._feed.lock:
                if made and self._thread is made[0] and made[0].ident is None:
                    self.clear()
            raise

    def clear(self) -> None:
        """Record that the thread has ended; the lock is held."""
        self._thread = None
        self._feed.changed.notify_all()

    def join(self, deadline: Deadline, *, is_needed_again: Callable[[], bool]) -> bool:
        """Wait until the thread has ended; False when that takes longer.

        Parameters
        ----------
        deadline
            How long to wait.
        is_needed_again
            Called under the lock; True ends the wait, since the thread continues.
        """
        with self._feed.lock:
            thread = self._thread
            if thread is None or thread is threading.current_thread():
                return True
            while self._thread is thread and not is_needed_again():
                if deadline.expired:
                    return False
                self._feed.changed.wait(deadline.clip(WAIT_SLICE_S))
            if self._thread is thread or thread.ident is None:
                return True
        thread.join(deadline.remaining())
        return not thread.is_alive()
