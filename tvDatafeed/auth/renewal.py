"""A renewal of the data token that several threads share, and the pause after one that failed."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from tvDatafeed.common.deadline import WAIT_SLICE_S, Deadline
from tvDatafeed.common.facts import facts
from tvDatafeed.exceptions import ConnectionError  # noqa: A004 - our own

# A renewal that failed while the old token is still good is not tried again at once.
_PAUSE_S = 30.0

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
            The system gives no thread.
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


class Overdue:
    """The time in which a token is due and cannot be renewed: one WARNING, and pauses.

    Parameters
    ----------
    logger
        Where it is logged.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._is_logged = False
        self._until = 0.0

    @property
    def pause_s(self) -> float:
        """How long not to try again, in seconds."""
        return max(self._until - time.monotonic(), 0.0)

    def log(self, what: str, shown: object, **fields: Any) -> None:
        """Log a failure, the first one as a WARNING, and begin a pause."""
        self._until = time.monotonic() + _PAUSE_S
        level = logging.DEBUG if self._is_logged else logging.WARNING
        self._is_logged = True
        self._logger.log(level, what, shown, extra=facts(**fields))

    def end(self) -> None:
        """Forget the failures, since there is another token."""
        self._until, self._is_logged = 0.0, False
