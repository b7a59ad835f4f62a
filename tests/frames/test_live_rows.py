"""The frame of one live bar equals that of the same bar in an answer."""

import datetime as dt
import math
import zoneinfo

import pandas as pd
import pytest

from tvDatafeed.frames.bars import LiveRows, bars_to_frame
from tvDatafeed.frames.repeats import RepeatedHours
from tvDatafeed.protocol.bars import Bar, Bars

SYMBOL = "NASDAQ:AAPL"
# Before 1970, with a fraction, and the hour that New York has twice (2025-11-02).
TIMES = (-86400.0, 0.0, 1762063200.0, 1762066800.0, 1786714200.0, 1786714200.123457)
NO_VALUE = 1e100


def rows():
    return LiveRows(SYMBOL, RepeatedHours())


def frame_of(live_rows, bar, zone=None, policy="zero", last_volume=math.nan):
    return live_rows.frame(
        bar,
        is_closed=True,
        zone_name=zone,
        delay_s=0,
        fill_missing_volume=policy,
        last_volume=last_volume,
    )


@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York", "Asia/Kathmandu"])
def test_times_columns_and_types(zone):
    """Index, columns and dtypes are those of `bars_to_frame`, in any zone and at any time."""
    live_rows = rows()
    timezone = {None: None, "UTC": dt.timezone.utc}.get(zone) or (zone and zoneinfo.ZoneInfo(zone))
    for time in TIMES:
        bar = Bar(time, 1.5, 2.5, 1.0, 2.0, 3.0)
        wanted = bars_to_frame(Bars.of([bar]), SYMBOL, timezone=timezone)
        pd.testing.assert_frame_equal(frame_of(live_rows, bar, zone), wanted, check_freq=True)


@pytest.mark.parametrize("policy", ["zero", "nan"])
@pytest.mark.parametrize("number", [math.nan, NO_VALUE, -math.inf])
def test_missing_numbers(number, policy):
    """A price or volume without a value is treated as in an answer."""
    bar = Bar(TIMES[-1], number, number, number, number, number)
    wanted = bars_to_frame(Bars.of([bar]), SYMBOL, fill_missing_volume=policy, validation="off")
    pd.testing.assert_frame_equal(frame_of(rows(), bar, policy=policy), wanted)


def test_each_frame_owns_its_data():
    """A program may change a frame: neither an earlier nor a later one changes with it."""
    live_rows = rows()
    before = frame_of(live_rows, Bar(0.0, 1.0, 1.0, 1.0, 1.0, 1.0), "UTC")
    changed = frame_of(live_rows, Bar(60.0, 2.0, 2.0, 2.0, 2.0, 2.0), "UTC")
    changed.loc[changed.index[0], "close"] = 9.0
    changed.loc[changed.index[0], "symbol"] = "other"
    changed["sma"] = 1.0
    changed.index.name = changed.columns.name = "mine"
    after = frame_of(live_rows, Bar(120.0, 3.0, 3.0, 3.0, 3.0, 3.0), "UTC")
    for frame, number in ((before, 1.0), (after, 3.0)):
        assert frame.iloc[0].tolist() == [SYMBOL, *[number] * 5]
        assert list(frame.columns) == ["symbol", "open", "high", "low", "close", "volume"]
        assert (frame.index.name, frame.columns.name) == ("datetime", None)
    assert [frame.index[0].minute for frame in (before, changed, after)] == [0, 1, 2]
