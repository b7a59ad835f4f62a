"""Ctrl-C and SIGTERM, for commands that run until they are ended."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["both_interrupt"]


@contextmanager
def both_interrupt() -> Iterator[None]:
    """Raise KeyboardInterrupt at Ctrl-C and at SIGTERM, in the block's thread."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread has signals
        return
    # A script's background job ignores SIGINT, and a container is stopped by SIGTERM.
    numbers = (signal.SIGINT, signal.SIGTERM)
    before: list[Any] = [signal.signal(n, signal.default_int_handler) for n in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            # None: it was not set by Python, which cannot set it again.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
