"""How long a test may take: every limit is multiplied by ``TVDATAFEED_TEST_SCALE``."""

import contextlib
import os
import time

SCALE = float(os.environ.get("TVDATAFEED_TEST_SCALE") or 1.0)


def scaled(seconds):
    """Return a limit for this machine, from one for two cores that are busy with other work."""
    return seconds * SCALE


# Long enough for any machine; what is waited for comes in milliseconds.
PATIENCE_S = scaled(30.0)
# For `at_most`: less than the 5 s that the library waits for one message, or the 10 s to connect.
AT_ONCE_S = 4.0


@contextlib.contextmanager
def at_most(seconds):
    """Fail when the block takes longer than a limit, which is scaled."""
    started = time.monotonic()
    yield
    assert time.monotonic() - started < scaled(seconds)
