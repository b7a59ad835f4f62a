"""A renewal of the data token that several threads share."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from tvDatafeed.common.deadline import WAIT_SLICE_S, Deadline
from tvDatafeed.exceptions import ConnectionError  # noqa: A004 - our own

_Session = TypeVar("_Session")


class SharedRenewal(Generic[_Session]):
    """One renewal that is under way, and what came of it."""

    def __init__(self) -> None:
        self._finished = threading.Event()
        self._thread: threading.Thread | None = None
        self.session: _Session | None = None
        self.error: Exception | None = None

    def start(self, run: Callable[[], object]) -> None:
        """Run in a thread of its own.

        Raises
        ------
        RuntimeError
            The system cannot start a thread.
        """
        self._thread = threading.Thread(target=run, name="tvDatafeed-renewal", daemon=True)
        self._thread.start()

    @property
    def has_begun(self) -> bool:
        """Whether its thread was started; after Ctrl-C that is not certain otherwise."""
        return self._thread is not None and self._thread.ident is not None

    def finish(self) -> None:
        """Wake those who wait."""
        self._finished.set()

    def wait(self, deadline: Deadline) -> None:
        """Wait for the outcome; neither session nor error means that it was given up."""
        while not self._finished.wait(deadline.clip(WAIT_SLICE_S)):
            if deadline.expired:
                raise ConnectionError(
                    f"another thread's sign-in did not end within {deadline.seconds:g} s"
                )
