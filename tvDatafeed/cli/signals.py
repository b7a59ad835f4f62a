"""Ctrl-C and SIGTERM, for commands that run until a signal ends them."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["both_interrupt"]


@contextmanager
def both_interrupt() -> Iterator[list[int]]:
    """Raise KeyboardInterrupt at Ctrl-C and at SIGTERM; yield the signals that came so far."""
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came  # only the main thread has signals
        return

    def interrupt(number: int, _frame: object) -> None:
        came.append(number)
        raise KeyboardInterrupt

    # A script's background job ignores SIGINT, and a container is stopped by SIGTERM.
    numbers = (signal.SIGINT, signal.SIGTERM)
    before: list[Any] = [signal.signal(n, interrupt) for n in numbers]
    try:
        yield came
    finally:
        for number, handler in zip(numbers, before, strict=True):
            # None: Python did not set the handler, and cannot restore it.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
