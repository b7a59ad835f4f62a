"""A lock file excludes others."""

import os

import pytest

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
