"""A lock between processes and threads, on a file."""

import os
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager

# The waits between two tries: short at first, since a lock is held for a millisecond or less.
_SHORTEST_WAIT_S = 0.0002
_LONGEST_WAIT_S = 0.01
_ONLY_THE_USER = 0o600

if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        os.lseek(descriptor, 0, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def open_lock_file(path: "str | os.PathLike[str]") -> int:
    """Open a file to lock, creating it if necessary; return its descriptor.

    Raises
    ------
    OSError
        If it cannot be opened or created.
    """
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOINHERIT", 0)
    return os.open(path, flags, _ONLY_THE_USER)


@contextmanager
def file_lock(descriptor: int, timeout_s: float) -> Generator[None]:
    """Hold the lock on an open file.

    Each descriptor that `open_lock_file` returns excludes all others, also in the same process.

    Raises
    ------
    TimeoutError
        If another descriptor holds it for longer than `timeout_s`.
    """
    until, wait_s = time.monotonic() + timeout_s, _SHORTEST_WAIT_S
    while not _try_lock(descriptor):
        left_s = until - time.monotonic()
        if left_s <= 0:
            raise TimeoutError(f"the lock was not free within {timeout_s:g} s")
        time.sleep(min(wait_s, left_s))
        wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
    try:
        yield
    finally:
        _unlock(descriptor)
