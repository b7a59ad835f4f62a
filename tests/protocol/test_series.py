"""Bars merge by time, whatever the order in which they come."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tvDatafeed.protocol.bars import Bar
from tvDatafeed.protocol.messages import BarItem, LastBarState, SeriesUpdate
from tvDatafeed.protocol.series import (
    EARLIEST_BAR_S,
    LATEST_BAR_S,
    BadUpdateError,
    Bars,
    Series,
    last_bar_is_closed,
)


def bar(time, close=1.0):
    return Bar(time, 1.0, 1.0, 1.0, close, 1.0)


def update(*bars, close_time=None):
    state = None if close_time is None else LastBarState(close_time)
    return SeriesUpdate(s=[BarItem(b) for b in bars], t="s1", lbs=state)


def merged(updates):
    series = Series()
    for each in updates:
        series.merge(each)
    return list(series.bars)


BARS = st.builds(bar, st.integers(0, 30).map(float), st.integers(0, 3).map(float))
UPDATES = st.lists(st.lists(BARS, max_size=6).map(lambda bars: update(*bars)), max_size=6)


@given(UPDATES)
def test_bars_are_ascending_and_unique(updates):
    """Any updates, in any order, end in strictly increasing times."""
    times = [b.time for b in merged(updates)]
    assert times == sorted(set(times))


@given(UPDATES)
def test_the_last_word_on_a_time_wins(updates):
    """Each time has the values that came last for it."""
    latest = {item.v.time: item.v for each in updates for item in each.s}
    assert merged(updates) == [latest[time] for time in sorted(latest)]


@given(st.data(), st.lists(st.integers(0, 50), unique=True, min_size=1, max_size=12))
def test_order_and_repetition_do_not_matter(data, times):
    """Bars that do not change arrive in any order, some twice: the series is the same."""
    bars = [bar(float(time)) for time in times]
    shuffled = data.draw(st.permutations(bars + data.draw(st.lists(st.sampled_from(bars)))))
    assert merged(update(b) for b in shuffled) == sorted(bars, key=lambda b: b.time)


@given(UPDATES)
def test_merging_again_changes_nothing(updates):
    """A server that repeats its last update is heard once."""
    assert merged([*updates, *updates[-1:]]) == merged(updates)


def test_live_update_replaces_the_last_bar():
    """A du for the forming bar changes that bar alone."""
    series = Series()
    series.merge(update(bar(1.0), bar(2.0)))
    series.merge(update(bar(2.0, close=9.0)))
    assert list(series.bars) == [bar(1.0), bar(2.0, close=9.0)]
    assert len(series) == 2


def test_what_is_of_the_past_adds_what_is_not_there():
    """And changes nothing that is."""
    series = Series()
    series.merge(update(bar(2.0, 5.0), bar(3.0, 6.0), close_time=4.0))
    page = update(bar(0.0), bar(1.0), bar(2.0), close_time=3.0)
    assert series.overlaps_from_below(page)
    series.add(page)
    assert list(series.bars) == [bar(0.0), bar(1.0), bar(2.0, 5.0), bar(3.0, 6.0)]
    assert series.close_time_s == 4.0
    series.add(update())
    assert len(series) == 4


@pytest.mark.parametrize(
    "bars", [[], [bar(3.0, 7.0), bar(4.0)], [bar(0.0), bar(1.0)], [bar(2.0)]], ids=range(4)
)
def test_what_does_not_overlap_from_below(bars):
    """Nothing, a new bar with the last word on the one before, a page, a bar that is there."""
    series = Series()
    assert not series.overlaps_from_below(update(*bars))
    series.merge(update(bar(2.0, 5.0), bar(3.0, 6.0)))
    assert not series.overlaps_from_below(update(*bars))


def test_close_time_is_that_of_the_newest_bar():
    """An older page says nothing about when the last bar closes."""
    series = Series()
    series.merge(update(bar(5.0), close_time=6.0))
    series.merge(update(bar(1.0), bar(2.0), close_time=3.0))
    assert series.close_time_s == 6.0
    series.merge(update(bar(6.0), close_time=7.0))
    assert series.close_time_s == 7.0


def test_update_without_bars_changes_nothing():
    """A cleared series' empty update is not a bar."""
    series = Series()
    series.merge(update(bar(5.0), close_time=6.0))
    series.merge(update())
    assert (list(series.bars), series.close_time_s) == ([bar(5.0)], 6.0)


@pytest.mark.parametrize(
    "time",
    [1786714200000.0, 253370764800.0, LATEST_BAR_S + 1, EARLIEST_BAR_S - 1, 1e300],
    ids=["milliseconds", "year 9999", "2262", "1677", "absurd"],
)
def test_impossible_times_are_refused_whole(time):
    """A time no nanosecond index can hold is an error, and nothing of its update is taken."""
    series = Series()
    with pytest.raises(BadUpdateError, match="outside the years 1678 to 2261"):
        series.merge(update(bar(1.0), bar(time)))
    assert list(series.bars) == []


@pytest.mark.parametrize("time", [EARLIEST_BAR_S, -315619200.0, 0.0, 1.5, LATEST_BAR_S])
def test_possible_times_are_taken_exactly(time):
    """Bars of 1960, of the epoch, and between two seconds are bars."""
    assert merged([update(bar(time))])[0].time == time


@pytest.mark.parametrize(
    ("close", "server", "delay", "closed"),
    [
        (100, 103, 0, True),
        (100, 102, 0, False),
        (100, 99, 0, False),
        (100, 103, 900, False),
        (100, 1003, 900, True),
        (None, 103, 0, False),
        (100, None, 0, False),
    ],
)
def test_a_bar_is_closed_by_the_servers_clock(close, server, delay, closed):
    """Past its close by more than the margin, less the delay of the data."""
    assert last_bar_is_closed(close, server, delay_s=delay) is closed


def test_packed_bars_are_a_sequence():
    """Bars in their numbers alone are as good as a list of them."""
    wanted = [bar(float(time), close=time) for time in range(5)]
    packed = Bars.of(wanted)
    assert (len(packed), list(packed), repr(packed)) == (5, wanted, "<5 bars>")
    assert [packed[0], packed[-1]] == [wanted[0], wanted[-1]]
    for chosen in (slice(1, 3), slice(-2, None), slice(3, 1), slice(None, None, 2)):
        assert list(packed[chosen]) == wanted[chosen]
    with pytest.raises(IndexError):
        packed[5]
    assert list(Bars()) == []


@given(UPDATES, st.integers(-1, 31))
def test_bars_are_counted_up_to_a_moment(updates, until):
    """The count and the oldest bar are those of the merged series, whatever came when."""
    series = Series()
    for each in updates:
        series.merge(each)
    times = [b.time for b in series.bars]
    assert series.count(until) == sum(time <= until for time in times)
    assert series.oldest_s == (times[0] if times else None)


def test_a_newer_bar_has_a_close_of_its_own():
    """What was said of the close of one bar is not taken for that of the next."""
    series = Series()
    series.merge(update(bar(1.0), close_time=2.0))
    series.merge(update(bar(2.0)))
    assert series.close_time_s is None


def test_updates_of_one_bar_are_no_bars(monkeypatch):
    """However often the last bar changes, the series is no longer for it."""
    monkeypatch.setattr("tvDatafeed.protocol.series.MAX_BARS", 5)
    series = Series()
    series.merge(update(bar(1.0), bar(2.0)))
    for close in range(50):
        series.merge(update(bar(2.0, close=float(close))))
    assert list(series.bars) == [bar(1.0), bar(2.0, close=49.0)]
    series.merge(update(bar(3.0), bar(4.0), bar(5.0)))
    with pytest.raises(BadUpdateError, match="more than 5 bars"):
        series.merge(update(bar(6.0)))
