"""A renewal of the data token that several threads share."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from tvDatafeed.common.deadline import WAIT_SLICE_S, Deadline
from tvDatafeed.exceptions import ConnectionError  # noqa: A004 - our own

_Session = TypeVar("_Session")


class SharedRenewal(Generic[_Session]):
    """One running renewal, and its result."""

    def __init__(self) -> None:
        self._finished = threading.Event()
        self._thread: threading.Thread | None = None
        self.session: _Session | None = None
        self.error: Exception | None = None

    def start(self, run: Callable[[], object]) -> None:
        """Start the renewal in a separate thread.

        Raises
        ------
        RuntimeError
            The system cannot start a thread.
        """
        self._thread = threading.Thread(target=run, name="tvDatafeed-renewal", daemon=True)
        self._thread.start()

    @property
    def has_begun(self) -> bool:
        """Whether its thread was started, which is otherwise unknown after Ctrl-C."""
        return self._thread is not None and self._thread.ident is not None

    def finish(self) -> None:
        """Wake the waiting threads."""
        self._finished.set()

    def wait(self, deadline: Deadline) -> None:
        """Wait for the result; without session and error, the renewal was abandoned."""
        while not self._finished.wait(deadline.clip(WAIT_SLICE_S)):
            if deadline.expired:
                raise ConnectionError(
                    f"another thread's sign-in did not end within {deadline.seconds:g} s"
                )
