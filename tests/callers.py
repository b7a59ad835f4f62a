"""A clock that a test moves, and threads whose calls may be refused."""

import threading

import pytest

from tests.scale import scaled
from tvDatafeed.exceptions import RateLimitError

# How long a test waits for a thread that should need no time at all.
GRACE_S = scaled(10.0)


class Clock:
    """A clock that a test moves."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Caller(threading.Thread):
    """A thread that makes one call and keeps what came of it."""

    def __init__(self, func, *args, **kwargs):
        super().__init__(daemon=True)
        self._call = func, args, kwargs
        self.start()

    def run(self):
        func, args, kwargs = self._call
        try:
            self.outcome = func(*args, **kwargs)
        except RateLimitError as error:
            self.outcome = error

    def result(self):
        self.join(GRACE_S)
        assert not self.is_alive()
        return self.outcome


def refusal(func, *args, **kwargs):
    """Return the error with which a call is refused."""
    with pytest.raises(RateLimitError) as caught:
        func(*args, **kwargs)
    return caught.value
