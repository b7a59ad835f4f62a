"""Bars become a DataFrame of exactly the promised form."""

import datetime as dt
import logging
import math
import zoneinfo

import numpy as np
import pandas as pd
import pytest
import tzlocal

from tvDatafeed.exceptions import DataValidationError, InvalidOHLCError
from tvDatafeed.frames.bars import bars_to_frame
from tvDatafeed.frames.history import history_to_frame
from tvDatafeed.protocol.bars import Bar, Bars
from tvDatafeed.protocol.events import History, SeriesRequest
from tvDatafeed.query.dates import DateRange
from tvDatafeed.query.view import View

UTC = dt.timezone.utc
NEW_YORK = zoneinfo.ZoneInfo("America/New_York")
DAY = 1786714200.0  # 2026-08-14 13:30 UTC, a recorded AAPL bar


RANGE = DateRange(dt.datetime(2000, 1, 1, tzinfo=UTC), None, None)


def frame_of(*bars, **options):
    return bars_to_frame(Bars.of(bars), "NASDAQ:AAPL", **{"timezone": UTC, **options})


def volumes(*cells, policy):
    bars = [Bar(DAY + i, 1, 1, 1, 1, cell) for i, cell in enumerate(cells)]
    return frame_of(*bars, fill_missing_volume=policy)["volume"].tolist()


def same(left, right):
    return [None if math.isnan(x) else x for x in left] == right


def test_columns_index_and_types():
    """The columns, their order, the index and every dtype are those that programs rely on."""
    frame = frame_of(Bar(DAY, 306.0, 307.49, 304.3, 305.93, 28229375.0))
    assert list(frame.columns) == ["symbol", "open", "high", "low", "close", "volume"]
    assert frame.dtypes.astype(str).tolist() == ["object"] + ["float64"] * 5
    assert frame.index.name == "datetime"
    assert str(frame.index.dtype) == "datetime64[ns, UTC]"
    assert frame.iloc[0].tolist() == ["NASDAQ:AAPL", 306.0, 307.49, 304.3, 305.93, 28229375.0]
    assert frame.index[0] == pd.Timestamp("2026-08-14 13:30", tz="UTC")


def test_frames_share_no_names():
    """A name that a program gives to the columns of one frame stays there."""
    frame, other = frame_of(Bar(DAY, 1, 1, 1, 1, 1)), frame_of(Bar(DAY, 1, 1, 1, 1, 1))
    frame.columns.name = "mine"
    assert other.columns.name is None
    assert frame_of(Bar(DAY, 1, 1, 1, 1, 1)).columns.name is None


def test_frame_can_be_changed():
    """The frame owns its data: a program may write into it and add columns."""
    frame = frame_of(Bar(DAY, 1, 1, 1, 1, 1), Bar(DAY + 60, 1, 1, 1, 1, 1))
    frame.loc[frame.index[0], "close"] = 5.0
    frame["sma"] = frame["close"].rolling(1).mean()
    assert frame["sma"].tolist() == [5.0, 1.0]


def test_naive_index_is_machine_local_time():
    """Without a timezone the index is what the machine's clock shows, without a zone."""
    index = frame_of(Bar(DAY, 1, 1, 1, 1, 1), timezone=None).index
    assert str(index.dtype) == "datetime64[ns]"
    local = dt.datetime.fromtimestamp(DAY, tzlocal.get_localzone()).replace(tzinfo=None)
    assert index[0] == pd.Timestamp(local)


def test_machine_without_a_zone_of_a_name(monkeypatch):
    """Where the local time is a rule and no zone, the index is local time all the same."""

    def refuse():
        raise zoneinfo.ZoneInfoNotFoundError("tzlocal() does not support non-zoneinfo timezones")

    monkeypatch.setattr(tzlocal, "get_localzone", refuse)
    index = frame_of(Bar(DAY, 1, 1, 1, 1, 1), Bar(DAY + 60, 1, 1, 1, 1, 1), timezone=None).index
    assert index[0] == pd.Timestamp(dt.datetime.fromtimestamp(DAY))  # noqa: DTZ006
    assert str(index.dtype) == "datetime64[ns]"
    assert index.name == "datetime"


@pytest.mark.parametrize(
    ("zone", "times"),
    [
        (NEW_YORK, ["2026-10-30 09:30:00-04:00", "2026-11-02 09:30:00-05:00"]),
        (
            zoneinfo.ZoneInfo("Asia/Kolkata"),
            ["2026-10-30 19:00:00+05:30", "2026-11-02 20:00:00+05:30"],
        ),
        (UTC, ["2026-10-30 13:30:00+00:00", "2026-11-02 14:30:00+00:00"]),
    ],
)
def test_zones_have_the_right_offsets_over_a_change_of_the_clock(zone, times):
    """The same opens, in three zones, before and after the American clock change."""
    opens = [pd.Timestamp(t).timestamp() for t in times]
    frame = frame_of(*(Bar(t, 1, 1, 1, 1, 1) for t in opens), timezone=zone)
    assert [str(t) for t in frame.index] == times


def test_index_increases_through_the_fold():
    """In the hour that the clock shows twice, an aware index still increases strictly."""
    first = pd.Timestamp("2026-11-01 05:00", tz="UTC").timestamp()
    frame = frame_of(*(Bar(first + i * 1800, 1, 1, 1, 1, 1) for i in range(6)), timezone=NEW_YORK)
    assert frame.index.is_monotonic_increasing
    assert frame.index.is_unique


@pytest.mark.parametrize(
    ("time", "stamp"),
    [
        (-315619200.0, "1960-01-01 00:00:00"),
        (-0.5, "1969-12-31 23:59:59.500000"),
        (1663050540.25, "2022-09-13 06:29:00.250000"),
        (-9_214_560_000.0, "1678-01-01 00:00:00"),
        (9_214_646_400.0, "2262-01-01 00:00:00"),
    ],
)
def test_times_are_exact(time, stamp):
    """Old, fractional and extreme times arrive to the digit."""
    assert frame_of(Bar(time, 1, 1, 1, 1, 1)).index[0] == pd.Timestamp(stamp, tz="UTC")


def test_missing_prices_are_nan_and_one_warning(caplog):
    """NaN and 1e100 are not prices: NaN, never 0.0, and one WARNING for all of them."""
    with caplog.at_level(logging.WARNING, "tvDatafeed"):
        frame = frame_of(
            Bar(DAY, math.nan, 2, 0.5, 1, 5),
            Bar(DAY + 1, 1, math.nan, 0.5, 1, 5),
            Bar(DAY + 2, 1, 2, 0.5, 1e100, 5),
            Bar(DAY + 3, 1, 2, 0.5, 1, 5),
        )
    assert np.isnan(frame[["open", "high", "low", "close"]].to_numpy()).sum() == 3
    assert frame["volume"].tolist() == [5.0] * 4
    (record,) = caplog.records
    assert "3 without a price" in record.getMessage()


@pytest.mark.parametrize("cell", [math.nan, 1e100])
@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("zero", [1.0, 0.0, 3.0]),
        ("nan", [1.0, None, 3.0]),
        ("forward", [1.0, 1.0, 3.0]),
        ("interpolate", [1.0, 2.0, 3.0]),
    ],
)
def test_missing_volume_is_filled_in_its_bar_only(cell, policy, expected):
    """Each policy fills the gap and leaves the other volumes alone."""
    assert same(volumes(1.0, cell, 3.0, policy=policy), expected)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("zero", [0.0, 2.0, 0.0]), ("forward", [None, 2.0, 2.0]), ("interpolate", [None, 2.0, None])],
)
def test_volume_outside_what_is_known(policy, expected):
    """Before the first known volume, and after the last, nothing is invented."""
    assert same(volumes(math.nan, 2.0, math.nan, policy=policy), expected)


def test_index_without_volume_has_zeros():
    """Bars of five cells get 0.0, as they always did."""
    assert frame_of(*(Bar(DAY + i, 1, 1, 1, 1) for i in range(3)))["volume"].tolist() == [0.0] * 3


@pytest.mark.parametrize(
    "bar",
    [
        Bar(DAY, 1, 0.5, 0.4, 0.6, 1),
        Bar(DAY, 1, 2, 1.5, 2, 1),
        Bar(DAY, 1, 2, 3, 1, 1),
        Bar(DAY, math.nan, 2, 0.5, 1, 1),
    ],
    ids=["high below open", "low above open", "high below low", "missing"],
)
def test_broken_bars_are_kept_and_told_once(bar, caplog):
    """A bar that contradicts itself is kept as sent; one WARNING, an error, or nothing."""
    good = Bar(DAY + 60, 1, 2, 0.5, 1, 1)
    with caplog.at_level(logging.WARNING, "tvDatafeed"):
        kept = frame_of(bar, bar, good)
    assert len(kept) == 3
    assert len(caplog.records) == 1
    caplog.clear()
    assert frame_of(bar, good, validation="off").equals(frame_of(bar, good, validation="off"))
    assert caplog.records == []
    with pytest.raises(InvalidOHLCError):
        frame_of(good, bar, validation="raise")


def test_negative_volume_follows_the_policy(caplog):
    """A negative volume is kept with a WARNING, or raises."""
    bar = Bar(DAY, 1, 1, 1, 1, -5)
    with caplog.at_level(logging.WARNING, "tvDatafeed"):
        assert frame_of(bar)["volume"].tolist() == [-5.0]
    assert "1 with a negative volume" in caplog.text
    with pytest.raises(DataValidationError, match="volume"):
        frame_of(bar, validation="raise")


def test_sound_bars_pass_every_policy(caplog):
    """Nothing is said about bars that are right."""
    with caplog.at_level(logging.DEBUG, "tvDatafeed"):
        frame_of(Bar(DAY, 1, 2, 0.5, 1, 0), validation="raise")
        frame_of(Bar(DAY, 1, 2, 0.5, 1, 0), validation="warn")
    assert caplog.records == []


def history(count=2, **changes):
    values = {
        "request": SeriesRequest("NASDAQ:AAPL", "1D", count),
        "bars": Bars.of(Bar(DAY + i * 86400, 1, 2, 0.5, 1, 5) for i in range(2)),
        "info": {},
        "update_mode": "streaming",
        "data_completed": None,
        "close_time_s": 1000.0,
        "server_time_s": 2000.0,
    }
    return History(**{**values, **changes})


def test_more_bars_than_asked_for_are_trimmed_to_the_newest():
    """A server that sends more does not change how many bars come out."""
    frame = history_to_frame(history(count=1), View(count=1))
    assert [t.day for t in frame.index] == [15]
    assert frame.attrs == {"last_bar_closed": True}


@pytest.mark.parametrize(
    ("completed", "complete", "reason"),
    [
        ("end", True, "no older bars exist"),
        ("limit", False, "the plan's limit of bars is reached"),
        (None, False, "the server sent no more"),
    ],
)
def test_fewer_bars_than_asked_for_are_never_silent(completed, complete, reason):
    """The attributes say how many were requested, how many came, and why."""
    frame = history_to_frame(history(count=5, data_completed=completed), View(count=5))
    assert frame.attrs == {
        "last_bar_closed": True,
        "requested": 5,
        "received": 2,
        "complete": complete,
        "reason": reason,
    }


@pytest.mark.parametrize(
    ("mode", "server_time", "closed", "delay"),
    [
        ("streaming", 1003, True, None),
        ("streaming", 1001, False, None),
        ("delayed_streaming_900", 1003, False, 900),
        ("delayed_streaming_900", 1903, True, 900),
        ("delayed_streaming_x", 1003, True, None),
        ("delayed_streaming_" + "9" * 5000, 1003, True, None),
        ("delayed_streaming_²", 1003, True, None),
        ("endofday", None, False, None),
    ],
)
def test_attributes_tell_whether_the_last_bar_is_closed(mode, server_time, closed, delay):
    """By the server's clock, less the delay of the data, which is reported too."""
    answer = history(update_mode=mode, server_time_s=server_time)
    attributes = history_to_frame(answer, View(count=2)).attrs
    assert attributes["last_bar_closed"] is closed
    assert attributes.get("delay_seconds") == delay


def test_a_bar_of_long_ago_is_closed_though_nobody_says_so():
    """Where the server gives no time of close, twice a bar's length has to be past."""
    for age, closed in ((3 * 86400, True), (86400, False)):
        answer = history(close_time_s=None, server_time_s=DAY + 86400 + age)
        assert history_to_frame(answer, View()).attrs["last_bar_closed"] is closed
    answer = history(close_time_s=None, server_time_s=1e10, request=SeriesRequest("A:B", "7", 2))
    assert history_to_frame(answer, View(count=2)).attrs["last_bar_closed"] is False


@pytest.mark.parametrize(
    ("session", "opened", "day"),
    [
        ("0930-1600", "2026-08-13 09:30", "2026-08-13"),
        ("24x7", "2026-08-15 00:00", "2026-08-15"),
        ("0000-0000:1234567", "2026-08-15 00:00", "2026-08-15"),
        ("1800-1700", "2026-08-12 18:00", "2026-08-13"),
        ("1700-1700", "2026-08-16 17:00", "2026-08-17"),
        ("1700F1-1600", "2026-08-12 17:00", "2026-08-13"),
        ("2100-2300,0900-1015", "2026-08-12 21:00", "2026-08-13"),
        ("2100F1-0230,0900-1015:23456", "2026-08-14 21:00", "2026-08-17"),
        ("", "2026-08-13 09:30", "2026-08-13"),
    ],
)
def test_the_trading_day_of_a_session(session, opened, day):
    """Sessions that begin the evening before belong to the next day outside of a weekend."""
    zone = "America/Chicago"
    time = pd.Timestamp(opened, tz=zone).timestamp()
    answer = history(
        bars=Bars.of([Bar(time, 1, 2, 0.5, 1, 5)]), info={"timezone": zone, "session": session}
    )
    frame = history_to_frame(answer, View(with_trading_days=True, dates=RANGE))
    assert str(frame.index[0].date()) == day


def test_a_range_that_the_answer_goes_beyond_is_whole():
    """A bar before the range proves that nothing of it is missing, limit or not."""
    bars = Bars.of(Bar(DAY + i * 86400, 1, 2, 0.5, 1, 5) for i in range(3))
    dates = DateRange(dt.datetime.fromtimestamp(DAY + 86400, UTC), None, None)
    request = SeriesRequest("NASDAQ:AAPL", "1D", None, since_s=DAY - 1e6)
    answer = history(bars=bars, request=request, data_completed="limit")
    attributes = history_to_frame(answer, View(dates=dates)).attrs
    assert (attributes["received"], attributes["complete"]) == (2, True)
    assert attributes["reason"] == "all bars of the range"
