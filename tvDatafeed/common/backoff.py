"""The pause before a failed operation is tried again."""

import random

# 2.0 ** 32 seconds are longer than any limit, and do not overflow a float.
_MAX_DOUBLINGS = 32


def backoff_s(failures: int, base_s: float, max_s: float) -> float:
    """Return the pause after some failures in a row, with jitter.

    Parameters
    ----------
    failures
        How many failures there were, at least 1.
    base_s
        Seconds after the first failure, doubled for each further one.
    max_s
        The longest pause, in seconds.

    Returns
    -------
    float
        Seconds: between half of the pause and all of it, so that several clients which failed
        at the same time do not return at the same time.
    """
    delay_s = doubled_s(failures - 1, base_s, max_s)
    return delay_s / 2 + random.uniform(0, delay_s / 2)


def doubled_s(doublings: int, base_s: float, max_s: float) -> float:
    """Return a pause that was doubled some number of times, at most ``max_s`` seconds."""
    return min(base_s * 2.0 ** min(doublings, _MAX_DOUBLINGS), max_s)
