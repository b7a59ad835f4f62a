"""Pauses between tries."""

import pytest

from tvDatafeed.common.backoff import backoff_s, doubled_s


@pytest.mark.parametrize(
    ("failures", "longest_s"), [(1, 2.0), (2, 4.0), (5, 32.0), (6, 60.0), (5000, 60.0)]
)
def test_a_pause_is_between_half_and_all_of_a_doubling_delay(failures, longest_s):
    """The delay doubles with each failure up to its bound; half of it is jitter."""
    pauses = [backoff_s(failures, 2.0, 60.0) for _ in range(200)]
    assert min(pauses) >= longest_s / 2
    assert max(pauses) <= longest_s
    assert len(set(pauses)) > 1


@pytest.mark.parametrize(("doublings", "seconds"), [(0, 0.1), (3, 0.8), (12, 300.0), (5000, 300.0)])
def test_doubling_ends_at_the_bound(doublings, seconds):
    """However often a pause was doubled, it stays within its bound."""
    assert doubled_s(doublings, 0.1, 300.0) == pytest.approx(seconds)
