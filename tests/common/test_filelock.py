"""A lock file excludes others, and a waiter looks again soon."""

import contextlib
import os
import time
from types import SimpleNamespace

import pytest

from tvDatafeed.common import filelock
from tvDatafeed.common.filelock import file_lock, open_lock_file


@pytest.fixture
def descriptors(tmp_path):
    """Two descriptors of one lock file."""
    opened = [open_lock_file(tmp_path / "lock") for _ in range(2)]
    yield opened
    for descriptor in opened:
        os.close(descriptor)


def test_lock_that_is_not_free_in_time(descriptors):
    """A lock that another descriptor holds is an error after the time; afterwards it is free."""
    mine, other = descriptors
    with file_lock(other, 0.0):
        with pytest.raises(TimeoutError):
            with file_lock(mine, 0.0):
                pass
    with file_lock(mine, 0.0):
        pass


def test_pauses_of_a_waiter(descriptors, monkeypatch):
    """However long a waiter has waited, it tries again after two milliseconds at most."""
    mine, other = descriptors
    pauses = []
    with contextlib.ExitStack() as held:
        held.enter_context(file_lock(other, 0.0))

        def pause(seconds):
            pauses.append(seconds)
            if len(pauses) == 50:
                held.close()

        clock = SimpleNamespace(monotonic=time.monotonic, sleep=pause)
        monkeypatch.setattr(filelock, "time", clock)
        with file_lock(mine, 30.0):
            pass
    assert len(pauses) == 50
    assert pauses == sorted(pauses)
    assert max(pauses) <= 0.002
