"""The close time of a bar holds until the server gives another one, or a newer bar comes."""

import pytest

from tvDatafeed.protocol.bars import Bar
from tvDatafeed.protocol.closing import CloseTracker

DAY = 86400.0


def bar(time_s, close=1.0):
    return Bar(time_s, 1.0, 2.0, 0.5, close, 10.0)


def test_update_without_a_close_time():
    """An update that repeats no close time leaves the one of the bar."""
    tracker = CloseTracker(None, DAY)
    tracker.add([bar(0.0)], 23400.0)
    tracker.add([bar(0.0, 1.5)], None)
    assert tracker.closes_at_s == 23402.0
    update = tracker.collect_closed(23403.0)
    assert [b.close for b in update.closed] == [1.5]
    assert update.lag_s == 3.0


def test_update_with_another_close_time():
    """A close time that the server changes replaces the one before."""
    tracker = CloseTracker(None, DAY)
    tracker.add([bar(0.0)], 23400.0)
    tracker.add([bar(0.0, 1.5)], 12600.0)
    tracker.add([bar(0.0, 1.6)], None)
    assert tracker.closes_at_s == 12602.0


@pytest.mark.parametrize("close_time_s", [None, 23400.0])
def test_newer_bar_without_a_close_time(close_time_s):
    """The close time of the bar before says nothing of a newer one: that has two lengths."""
    tracker = CloseTracker(None, DAY)
    tracker.add([bar(0.0)], close_time_s)
    tracker.add([bar(DAY)], None)
    assert tracker.closes_at_s == 3 * DAY + 2.0
