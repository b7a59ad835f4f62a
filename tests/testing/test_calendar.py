"""Sessions, holidays and bar edges, against dates written out by hand."""

from datetime import date, datetime, timedelta, timezone
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tvDatafeed.testing.market.calendar import (
    Session,
    TradingCalendar,
    new_york_holidays,
    yearly_holidays,
)
from tvDatafeed.testing.market.schedule import bar_schedule, is_valid_interval

NEW_YORK = "America/New_York"
HOLIDAYS = frozenset(day for year in range(1960, 2041) for day in new_york_holidays(year))
STOCKS = TradingCalendar("0930-1600", NEW_YORK, HOLIDAYS)
AROUND_THE_CLOCK = TradingCalendar("24x7", "Etc/UTC")
METALS = TradingCalendar("1800-1700", NEW_YORK)
TOKYO = TradingCalendar("0900-1130,1230-1530", "Asia/Tokyo")

# The first look at a market computes a year of sessions.
unhurried = settings(deadline=None)
WITHIN_HISTORY = st.integers(0, 2_200_000_000)


def utc(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp())


def clock(seconds):
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%m-%d %H:%M}"


@pytest.mark.parametrize(
    ("year", "days"),
    [
        (2024, "01-01 01-15 02-19 03-29 05-27 06-19 07-04 09-02 11-28 12-25"),
        (2025, "01-01 01-20 02-17 04-18 05-26 06-19 07-04 09-01 11-27 12-25"),
        (2026, "01-01 01-19 02-16 04-03 05-25 06-19 07-03 09-07 11-26 12-25"),
        # New Year on a Saturday is not made up for; Juneteenth is first kept, on a Monday.
        (2022, "01-17 02-21 04-15 05-30 06-20 07-04 09-05 11-24 12-26"),
        # Neither Martin Luther King's day nor Juneteenth yet.
        (1997, "01-01 02-17 03-28 05-26 07-04 09-01 11-27 12-25"),
        # Fixed days before the act of 1971; Washington's birthday fell on a Saturday.
        (1969, "01-01 02-21 04-04 05-30 07-04 09-01 11-27 12-25"),
    ],
)
def test_new_york_holidays(year, days):
    """The stock exchanges in New York keep these holidays and no others."""
    assert sorted(new_york_holidays(year)) == [
        date.fromisoformat(f"{year}-{day}") for day in days.split()
    ]


@pytest.mark.parametrize("year", range(1960, 2041))
def test_holidays_are_weekdays(year):
    """A holiday is always kept on a weekday of its own year."""
    assert all(day.weekday() < 5 and day.year == year for day in new_york_holidays(year))


def test_yearly_holidays():
    """A fixed holiday is the same day in each year of the span."""
    assert yearly_holidays("05-01", first_year=2025, last_year=2026) == {
        date(2025, 5, 1),
        date(2026, 5, 1),
    }


@pytest.mark.parametrize(
    ("calendar", "first", "last", "expected"),
    [
        # The clocks go forward on 2026-03-08 and back on 2026-11-01.
        (STOCKS, "2026-03-06", "2026-03-09", ["03-06 14:30-21:00", "03-09 13:30-20:00"]),
        (STOCKS, "2026-10-30", "2026-11-02", ["10-30 13:30-20:00", "11-02 14:30-21:00"]),
        (STOCKS, "2026-04-02", "2026-04-06", ["04-02 13:30-20:00", "04-06 13:30-20:00"]),
        (METALS, "2026-03-06", "2026-03-09", ["03-05 23:00-22:00", "03-08 22:00-21:00"]),
        (METALS, "2026-10-30", "2026-11-02", ["10-29 22:00-21:00", "11-01 23:00-22:00"]),
        (TOKYO, "2026-01-05", "2026-01-05", ["01-05 00:00-02:30", "01-05 03:30-06:30"]),
        (AROUND_THE_CLOCK, "2026-01-03", "2026-01-04", ["01-03 00:00-00:00", "01-04 00:00-00:00"]),
        (STOCKS, "2026-01-04", "2026-01-03", []),
        (STOCKS, "2026-01-03", "2026-01-04", []),
    ],
)
def test_sessions(calendar, first, last, expected):
    """Sessions follow the clocks of the market, also where those change."""
    sessions = calendar.sessions(date.fromisoformat(first), date.fromisoformat(last))
    assert [f"{clock(s.open_s)}-{clock(s.close_s)[6:]}" for s in sessions] == expected


def test_days_of_a_range():
    """A range with days applies to those weekdays only, Sunday being 1."""
    calendar = TradingCalendar("0930-1600:23456,1000-1200:7", NEW_YORK)
    sessions = calendar.sessions(date(2026, 8, 17), date(2026, 8, 23))
    assert [s.trade_date.isoweekday() for s in sessions] == [1, 2, 3, 4, 5, 6]
    assert sessions[-1].close_s - sessions[-1].open_s == 2 * 3600


@pytest.mark.parametrize("text", ["", "24x5", "930-1600", "0930-1660", "2430-2500", "0930-1600:8"])
def test_unknown_session_strings_are_refused(text):
    """A session string outside the grammar is an error that quotes it."""
    with pytest.raises(ValueError, match=f"Invalid session '{text}'"):
        TradingCalendar(text, NEW_YORK)


@pytest.mark.parametrize(
    ("moment", "trade_date"),
    [
        ("2026-08-20T13:30:00", "2026-08-20"),
        ("2026-08-20T13:29:59", "2026-08-19"),
        ("2026-08-20T23:00:00", "2026-08-20"),
        ("2026-08-23T12:00:00", "2026-08-21"),
        ("2026-01-01T18:00:00", "2025-12-31"),
    ],
)
def test_latest_session(moment, trade_date):
    """The latest session contains the moment, or is the last one before it."""
    assert STOCKS.latest(utc(moment)).trade_date == date.fromisoformat(trade_date)


def test_evening_open_belongs_to_the_next_trade_date():
    """A session that opens on the last evening of a year belongs to the next one."""
    session = METALS.latest(utc("2025-12-31T23:30:00"))
    assert session == Session(
        date(2026, 1, 1), utc("2025-12-31T23:00:00"), utc("2026-01-01T22:00:00")
    )


def test_no_session_before_the_calendar_begins():
    """A moment before 1900 has no session."""
    with pytest.raises(LookupError, match="begins in 1900"):
        STOCKS.latest(utc("1890-01-01T00:00:00"))
    assert STOCKS.sessions(date(1890, 1, 1), date(1899, 12, 31)) == []


@unhurried
@given(WITHIN_HISTORY)
def test_backwards_is_the_reverse_of_sessions(moment):
    """Walking back gives the sessions of the last days in reverse, without a gap."""
    walk = STOCKS.backwards(moment)
    back = [next(walk) for _ in range(30)]
    assert back[0].open_s <= moment
    assert back[::-1] == STOCKS.sessions(back[-1].trade_date, back[0].trade_date)


@unhurried
@given(WITHIN_HISTORY, st.sampled_from([STOCKS, METALS, TOKYO, AROUND_THE_CLOCK]))
def test_sessions_never_overlap(moment, calendar):
    """Sessions are ascending and disjoint."""
    day = datetime.fromtimestamp(moment, timezone.utc).date()
    sessions = calendar.sessions(day, day + timedelta(days=40))
    assert all(session.open_s < session.close_s for session in sessions)
    assert all(a.close_s <= b.open_s for a, b in pairwise(sessions))


@unhurried
@given(WITHIN_HISTORY)
def test_stock_sessions_open_at_half_past_nine(moment):
    """Every session opens at 9:30 on the clocks of New York, whatever the season."""
    session = STOCKS.latest(moment)
    local = datetime.fromtimestamp(session.open_s, ZoneInfo(NEW_YORK))
    assert (local.date(), local.hour, local.minute) == (session.trade_date, 9, 30)


@pytest.mark.parametrize(
    "text",
    [
        *("1", "2", "3", "5", "7", "10", "15", "30", "45", "60", "120", "180", "240", "1440"),
        *("1H", "2H", "3H", "4H", "D", "1D", "W", "1W", "M", "1M", "3M", "6M", "12M"),
        *("1S", "5S", "10S", "15S", "30S", "45S"),
    ],
)
def test_valid_intervals(text):
    """TradingView's own interval strings are known."""
    assert is_valid_interval(text)


@pytest.mark.parametrize(
    "text",
    ["", "15m", "XX", "0", "1441", "99999", "1.5", "5H", "2S", "1d", "0W", "2M", "D1", "\uff11"],
)
def test_invalid_intervals(text):
    """Anything else is not."""
    assert not is_valid_interval(text)
    with pytest.raises(ValueError, match="Invalid interval"):
        bar_schedule(STOCKS, date(2000, 1, 3), text, 1, 1e9)


@pytest.mark.parametrize(
    ("calendar", "interval", "now", "expected"),
    [
        (STOCKS, "2H", "2026-08-20T23:00:00", "08-20 13:30,08-20 15:30,08-20 17:30,08-20 19:30"),
        (STOCKS, "120", "2026-08-20T15:30:00", "08-19 17:30,08-19 19:30,08-20 13:30,08-20 15:30"),
        (STOCKS, "1440", "2026-08-20T23:00:00", "08-17 13:30,08-18 13:30,08-19 13:30,08-20 13:30"),
        (STOCKS, "1D", "2026-03-10T15:00:00", "03-05 14:30,03-06 14:30,03-09 13:30,03-10 13:30"),
        (STOCKS, "D", "2026-11-03T15:00:00", "10-29 13:30,10-30 13:30,11-02 14:30,11-03 14:30"),
        # Monday, 2026-05-25, is a holiday.
        (STOCKS, "1W", "2026-06-02T15:00:00", "05-11 13:30,05-18 13:30,05-26 13:30,06-01 13:30"),
        (STOCKS, "M", "2026-04-01T15:00:00", "01-02 14:30,02-02 14:30,03-02 14:30,04-01 13:30"),
        (STOCKS, "3M", "2026-12-01T15:00:00", "01-02 14:30,04-01 13:30,07-01 13:30,10-01 13:30"),
        (STOCKS, "6M", "2026-12-01T15:00:00", "01-02 14:30,07-01 13:30,01-02 14:30,07-01 13:30"),
        (STOCKS, "12M", "2026-12-01T15:00:00", "01-03 14:30,01-02 14:30,01-02 14:30,01-02 14:30"),
        (METALS, "1D", "2026-08-24T12:00:00", "08-18 22:00,08-19 22:00,08-20 22:00,08-23 22:00"),
        (METALS, "1W", "2026-08-24T12:00:00", "08-02 22:00,08-09 22:00,08-16 22:00,08-23 22:00"),
        (TOKYO, "60", "2026-01-05T05:00:00", "01-05 01:00,01-05 02:00,01-05 03:30,01-05 04:30"),
        (TOKYO, "1D", "2026-01-07T03:00:00", "01-02 00:00,01-05 00:00,01-06 00:00,01-07 00:00"),
        (
            AROUND_THE_CLOCK,
            "45",
            "2026-08-20T00:46:00",
            "08-19 22:30,08-19 23:15,08-20 00:00,08-20 00:45",
        ),
        (
            AROUND_THE_CLOCK,
            "3H",
            "2026-08-20T05:00:00",
            "08-19 18:00,08-19 21:00,08-20 00:00,08-20 03:00",
        ),
        (
            AROUND_THE_CLOCK,
            "W",
            "2026-08-20T05:00:00",
            "07-27 00:00,08-03 00:00,08-10 00:00,08-17 00:00",
        ),
    ],
)
def test_bar_times(calendar, interval, now, expected):
    """Bars open where TradingView's open."""
    schedule = bar_schedule(calendar, date(1980, 12, 12), interval, 4, utc(now))
    assert [clock(second) for second in schedule.time.tolist()] == expected.split(",")


def test_a_bar_is_cut_at_the_close():
    """The last 2H bar of a stock's day is half an hour long."""
    schedule = bar_schedule(STOCKS, date(1980, 12, 12), "2H", 1, utc("2026-08-20T23:00:00"))
    assert (schedule.close_s - schedule.time).tolist() == [1800]


def test_history_begins_on_the_first_day():
    """The first week is that of the first day and begins with it."""
    first_day = date(1980, 12, 12)
    for interval in ("1", "1D", "1W", "1M", "12M"):
        schedule = bar_schedule(STOCKS, first_day, interval, 10_000, utc("1980-12-12T14:30:00"))
        assert schedule.time.tolist() == [utc("1980-12-12T14:30:00")]
        schedule = bar_schedule(STOCKS, first_day, interval, 10_000, utc("1980-12-12T14:29:59"))
        assert schedule.time.tolist() == []
