"""Every way to write a date or a moment means the same, wherever one is requested."""

import datetime as dt
import fractions
import zoneinfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tvDatafeed import DataValidationError, Interval, TvDatafeed
from tvDatafeed.query.dates import DateRange, date_or_moment

UTC = dt.timezone.utc
TOKYO = zoneinfo.ZoneInfo("Asia/Tokyo")
HOUR = Interval.in_1_hour
SYMBOL = "BINANCE:BTCUSDT"
# From 1991 on: until September 1970 some epoch seconds look like days.
SECONDS = st.integers(662_688_000, 1_786_000_000)


def seconds(value, zone=UTC):
    """What a value means as the start of a range, epoch seconds."""
    return DateRange(date_or_moment("start_date", value), None, zone).since_s(None)


def forms_of(epoch_s):
    """All ways to write a whole second; those without a zone mean UTC."""
    aware = dt.datetime.fromtimestamp(epoch_s, UTC)
    naive = aware.replace(tzinfo=None)
    there = aware.astimezone(TOKYO)
    return [
        epoch_s,
        float(epoch_s),
        np.int64(epoch_s),
        np.uint32(epoch_s),
        np.float64(epoch_s),
        fractions.Fraction(epoch_s),
        aware,
        naive,
        there,
        pd.Timestamp(naive),
        pd.Timestamp(there),
        *(np.datetime64(naive, unit) for unit in ("s", "ms", "us", "ns")),
        naive.isoformat(),
        naive.isoformat(" "),
        there.isoformat(),
        f"{aware:%Y-%m-%dT%H:%M:%SZ}",
        f"{naive:%Y%m%dT%H%M%S}",
        f"{aware:%Y%m%dT%H%M%SZ}",
        f"{there:%Y%m%dT%H%M%S%z}",
        f"{there:%Y%m%d %H%M%S}+09",
        f" {naive:%Y%m%dT%H%M%S}.000000 ",
    ]


@given(SECONDS)
def test_forms_of_a_second(epoch_s):
    """A second is the same, however it is written."""
    assert {seconds(form) for form in forms_of(epoch_s)} == {epoch_s}


@given(SECONDS, st.integers(0, 999_999))
def test_fractions_of_a_second(epoch_s, microseconds):
    """They are kept to the microsecond, which is what a float of today's size has."""
    moment = dt.datetime.fromtimestamp(epoch_s, UTC) + dt.timedelta(microseconds=microseconds)
    naive = moment.replace(tzinfo=None)
    forms = [
        moment,
        moment.timestamp(),
        np.datetime64(naive, "us"),
        np.datetime64(naive, "ns"),
        f"{naive:%Y%m%dT%H%M%S.%f}",
        f"{naive:%Y%m%dT%H%M%S,%f}",
        naive.isoformat(),
    ]
    assert {seconds(form) for form in forms} == {moment.timestamp()}


@given(st.dates(dt.date(1900, 1, 1), dt.date(2100, 12, 31)))
def test_forms_of_a_day(day):
    """A day without a time is a whole day, however it is written."""
    forms = [day, day.isoformat(), f"{day:%Y%m%d}", np.datetime64(day), np.datetime64(day, "D")]
    assert {date_or_moment("start_date", form) for form in forms} == {day}


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("20240102T09", "2024-01-02T09:00:00"),
        ("20240102T0930", "2024-01-02T09:30:00"),
        ("20240102 0930", "2024-01-02T09:30:00"),
        ("20240102T0930Z", "2024-01-02T09:30:00+00:00"),
        ("20240102T0930z", "2024-01-02T09:30:00+00:00"),
        ("20240102T0930+0530", "2024-01-02T09:30:00+05:30"),
        ("20240102T0930-05:00", "2024-01-02T09:30:00-05:00"),
        ("20240102T093015.5-05", "2024-01-02T09:30:15.500000-05:00"),
    ],
)
def test_basic_form(text, moment):
    """Hours, minutes, seconds and offsets as ISO 8601 writes them without separators."""
    assert date_or_moment("start_date", text) == dt.datetime.fromisoformat(moment)


def test_negative_epoch_seconds():
    """Moments before 1970 are negative."""
    assert seconds(-86_400) == -86_400


@pytest.mark.parametrize("form", range(len(forms_of(0))))
def test_forms_of_a_call(tv, form):
    """All of them reach the same bars, of a client as of a store."""
    since, until = forms_of(1_786_600_800)[form], forms_of(1_786_633_200)[form]
    asked = {"interval": HOUR, "start_date": since, "end_date": until, "timezone": "UTC"}
    frame = tv.get_hist(SYMBOL, **asked)
    assert [time.timestamp() for time in frame.index] == list(
        range(1_786_600_800, 1_786_633_201, 3600)
    )


def test_forms_of_a_store(server, tmp_path):
    """The methods of a store read dates as a client does."""
    with TvDatafeed(config=server.config(), store=tmp_path / "bars.db") as tv:
        asked = {"interval": HOUR, "timezone": "UTC"}
        whole = tv.get_hist(SYMBOL, start_date=1_786_600_800, **asked)
        for form in forms_of(1_786_600_800):
            read = tv.store.read_bars(SYMBOL, start_date=form, end_date=1_786_633_200, **asked)
            pd.testing.assert_frame_equal(read, whole[:10])


def test_numpy_is_naive_as_a_datetime_is(tv):
    """A datetime64 has no zone: it is in that of the call."""
    asked = {"interval": HOUR, "n_bars": 1, "timezone": "Asia/Tokyo"}
    frame = tv.get_hist(SYMBOL, end_date=np.datetime64("2026-08-13T09:00"), **asked)
    assert frame.index[0].isoformat() == "2026-08-13T09:00:00+09:00"


REFUSED = [
    (1_704_187_800_000, "looks like milliseconds; pass epoch seconds, such as 1704187800"),
    (1_704_187_800_000_000, "looks like microseconds; pass epoch seconds, such as 1704187800"),
    (np.int64(1_704_187_800 * 10**9), "looks like nanoseconds; pass epoch seconds, such as 17041"),
    (20240102, "looks like a day; pass the text '20240102', or epoch seconds"),
    (20240102.0, "looks like a day; pass the text '20240102', or epoch seconds"),
    ("1704187800", "is a text: pass epoch seconds as a number, or a date such as '2026-01-31'"),
    (True, "must be a datetime, a date, a text such as"),
    (np.bool_(True), "must be a datetime, a date, a text such as"),
    (float("nan"), "must be a finite number of epoch seconds"),
    (float("inf"), "must be a finite number of epoch seconds"),
    (10**400, "must be a finite number of epoch seconds"),
    (pd.NaT, "must be a datetime, a date, a text such as"),
    (np.datetime64("NaT"), "must be a datetime, a date, a text such as"),
    (np.datetime64("2024-01"), "names no day: pass a finer one, such as numpy.datetime64(x, 'D')"),
    (np.datetime64("30000-01-01T00:00"), "must be a datetime, a date, a text such as"),
    (np.timedelta64(5, "ns"), "must be a datetime, a date, a text such as"),
    (np.timedelta64(1, "D"), "must be a datetime, a date, a text such as"),
    (dt.time(9, 30), "must be a datetime, a date, a text such as"),
    ("20241301", "must be in ISO 8601"),
    ("20240102T2500", "must be in ISO 8601"),
    ("2024-01-02Z", "must be in ISO 8601"),
    ("20240102Z", "must be in ISO 8601"),
]


@pytest.mark.parametrize(("value", "sentence"), REFUSED, ids=lambda x: repr(x)[:30])
@pytest.mark.parametrize("field", ["start_date", "end_date"])
def test_what_is_no_date(server, tv, field, value, sentence):
    """Refused before anything is sent, in the words that help."""
    asked = {"start_date": "2024-01-01"} if field == "end_date" else {}
    with pytest.raises(DataValidationError) as caught:
        tv.get_hist("NASDAQ:AAPL", **{**asked, field: value})
    assert caught.value.field == field
    assert sentence in str(caught.value)
    assert server.connections_opened == 0


def test_second_that_only_resembles_a_day():
    """1970-08-23 has seconds that look like days, and others."""
    assert seconds(20_240_199) == 20_240_199
    assert seconds(20_240_102.5) == 20_240_102.5
