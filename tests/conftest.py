"""What all tests share: where the recordings lie."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def captures():
    """The folder of recorded frames; the tests that need it are skipped without one."""
    folder = os.environ.get("TVDATAFEED_CAPTURES")
    if not folder:
        pytest.skip("TVDATAFEED_CAPTURES does not name a folder of recordings")
    return Path(folder)
