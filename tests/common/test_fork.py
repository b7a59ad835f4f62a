"""What objects do in a forked child."""

import gc
import os
import warnings

import pytest

from tvDatafeed.common.fork import call_in_forked_child

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")


class Counter:
    """An object that counts its calls."""

    def __init__(self, step=1):
        self.calls = 0
        self.step = step
        call_in_forked_child(self.note_fork)

    def note_fork(self):
        """Count a call."""
        self.calls += self.step


def in_child(compute):
    """Return what a function returns in a forked child, a number from 0 to 255."""
    with warnings.catch_warnings():
        # A process with threads is not supposed to fork; these children run nothing else.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        code = 255
        try:
            code = compute()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_each_object_is_called_once_in_the_child():
    """Every registered object is called in the child, and none in the parent."""
    first, second = Counter(), Counter(step=10)
    assert in_child(lambda: first.calls + second.calls) == 11
    assert first.calls == second.calls == 0


def test_a_registered_object_can_be_collected():
    """Registering does not keep an object alive, and what is gone is not called."""
    calls = []

    class Noisy(Counter):
        def note_fork(self):
            calls.append(self)

    noisy = Noisy()
    assert in_child(lambda: len(calls)) == 1
    del noisy
    gc.collect()
    assert in_child(lambda: len(calls)) == 0
