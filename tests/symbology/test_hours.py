"""Trading hours: sessions, holidays and corrections as TradingView writes them."""

import math
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tvDatafeed.symbology.hours import TradingHours
from tvDatafeed.testing.market.calendar import TradingCalendar

NEW_YORK = "America/New_York"


def hours(session, zone=NEW_YORK, **info):
    return TradingHours.of({"session": session, "timezone": zone, **info})


def at(text, zone=NEW_YORK):
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def is_open(known, text, zone=NEW_YORK):
    return known.session_at(at(text, zone)) is not None


# 2026-08-14 is a Friday.
@pytest.mark.parametrize(
    ("session", "text", "expected"),
    [
        ("0930-1600", "2026-08-14T09:29:59", False),
        ("0930-1600", "2026-08-14T09:30", True),
        ("0930-1600", "2026-08-14T15:59:59", True),
        ("0930-1600", "2026-08-14T16:00", False),
        ("0930-1600", "2026-08-15T12:00", False),
        ("0930-1600:1234567", "2026-08-15T12:00", True),
        ("0930-1600:7", "2026-08-15T12:00", True),
        ("0930-1600:7", "2026-08-14T12:00", False),
        # Lunch breaks.
        ("0930-1130,1300-1500", "2026-08-14T12:00", False),
        ("0930-1130,1300-1500", "2026-08-14T14:00", True),
        ("0930-1130:23456,1300-1500:23456", "2026-08-14T14:00", True),
        # Overnight: Monday's session opens on Sunday, and Friday's ends on Friday.
        ("1800-1700", "2026-08-16T18:00", True),
        ("1800-1700", "2026-08-16T17:59", False),
        ("1800-1700", "2026-08-14T16:59", True),
        ("1800-1700", "2026-08-14T18:30", False),
        ("1700-1700", "2026-08-13T23:00", True),
        ("1700F1-1600:23456", "2026-08-16T17:30", True),
        ("1700F1-1600:23456", "2026-08-14T17:30", False),
        ("2100F1-0230F0,0900-1500:23456", "2026-08-13T22:00", True),
        ("0000-0000:1234567", "2026-08-15T12:00", True),
        ("1700-0000:1234567", "2026-08-15T23:59", True),
        # Groups of days.
        ("0900-1200:2|0900-1700:3456", "2026-08-17T13:00", False),
        ("0900-1200:2|0900-1700:3456", "2026-08-14T13:00", True),
        ("0900-1000,1100-1200:2|0900-1700:3456", "2026-08-17T11:30", True),
        ("0930-1600:23456;2", "2026-08-14T10:00", True),
    ],
)
def test_sessions(session, text, expected):
    assert is_open(hours(session), text) is expected


def test_bounds():
    """When it opens and closes, which the evening before may be."""
    assert hours("1800-1700").session_at(at("2026-08-14T12:00")) == (
        at("2026-08-13T18:00"),
        at("2026-08-14T17:00"),
    )
    assert hours("24x7", "Etc/UTC").session_at(0) == (-math.inf, math.inf)


def test_holidays_and_corrections():
    """Days without trading, and shortened ones, of the subsession that was resolved."""
    known = hours(
        "0930-1600",
        session_holidays="20260703,20260907",
        subsession_id="regular",
        subsessions=[
            {"id": "extended", "session-correction": "dayoff:20260814"},
            {"id": "regular", "session-correction": "0930-1300:20261127,20261224;dayoff:20261228"},
        ],
    )
    assert not is_open(known, "2026-09-07T12:00")
    assert is_open(known, "2026-11-27T12:59")
    assert not is_open(known, "2026-11-27T13:00")
    assert not is_open(known, "2026-12-28T12:00")
    assert is_open(known, "2026-08-14T12:00")


def test_clocks_that_change():
    """Sessions are in wall time on both sides of a change."""
    for day in ("2026-03-06", "2026-03-09", "2026-10-30", "2026-11-02"):
        assert is_open(hours("0930-1600"), f"{day}T09:30")
        assert not is_open(hours("0930-1600"), f"{day}T09:29")


@pytest.mark.parametrize(
    "info",
    [
        {},
        {"session": "0930-1600"},
        {"session": "0930-1600", "timezone": "Nowhere/Else"},
        {"session": "always", "timezone": NEW_YORK},
        {"session": "0930-1600:89", "timezone": NEW_YORK},
        {"session": "0930-1600", "timezone": NEW_YORK, "session_holidays": "2026"},
        {
            "session": "0930-1600",
            "timezone": NEW_YORK,
            "subsession_id": "regular",
            "subsessions": [{"id": "regular", "session-correction": "lunch"}],
        },
    ],
)
def test_unknown_forms(info):
    """What cannot be read is not guessed."""
    assert TradingHours.of(info) is None


@given(
    st.sampled_from(["0930-1600", "1800-1700", "0900-1130,1230-1500", "0000-0000:1234567"]),
    st.sampled_from([NEW_YORK, "Europe/London", "Asia/Tokyo", "Australia/Sydney"]),
    st.integers(1_600_000_000, 1_900_000_000),
)
def test_agrees_with_the_loopback_market(session, zone, time_s):
    """The calendar of the loopback TradingView, written apart, says the same."""
    latest = TradingCalendar(session, zone).latest(time_s)
    expected = (latest.open_s, latest.close_s) if time_s < latest.close_s else None
    assert hours(session, zone).session_at(time_s) == expected
