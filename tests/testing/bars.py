"""What the tests of the made-up market share: intervals, and what holds for every bar."""

from hypothesis import settings
from hypothesis import strategies as st

INTERVALS = (
    *("1S", "15S", "1", "3", "5", "7", "15", "30", "45", "60", "1H", "2H", "3H", "4H"),
    *("1D", "2D", "5D", "1W", "2W", "1M", "3M", "6M", "12M"),
)

# The first use of a market computes decades of sessions.
unhurried = settings(deadline=None)

intervals = st.sampled_from(INTERVALS)


def ohlc_is_ordered(bar):
    return 0 < bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high
