"""period="1y" and its like: which bars they are, and what they do not go with."""

import datetime as dt
import functools
import zoneinfo

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.feed import live
from tests.loopback import NOW, expected
from tests.query.test_ranges import MARKET, SYMBOLS, bars_with_days
from tvDatafeed import DataNotFoundError, DataValidationError, Interval, TvDatafeed
from tvDatafeed.query.periods import PERIODS, first_day
from tvDatafeed.testing import FakeTradingView

UTC = dt.timezone.utc
DAY = dt.timedelta(days=1)
MONTHS = {"1mo": 1, "3mo": 3, "6mo": 6, "1y": 12, "2y": 24, "5y": 60, "10y": 120}
SESSIONS = {"1d": 1, "5d": 5}
INTRADAY = [Interval.in_15_minute, Interval.in_1_hour, Interval.in_4_hour]
LONGER = [Interval.in_daily, Interval.in_weekly, Interval.in_monthly]
# To compute more of the market's bars takes seconds.
SHORT = ["1d", "5d", "1mo"]
SPAN_S = {True: 70 * 86_400, False: 11 * 366 * 86_400}
bars_of = functools.cache(bars_with_days)
ZONES = st.sampled_from([None, "UTC", "America/New_York", "Asia/Tokyo", "exchange"])


@given(st.dates(dt.date(1901, 1, 1), dt.date(2100, 12, 31)), st.sampled_from(list(MONTHS)))
def test_months_are_those_of_the_calendar(last, period):
    """A month back is the same day of the month before, or the last day of a shorter one."""
    there = pd.Timestamp(last) - pd.DateOffset(months=MONTHS[period])
    assert first_day(period, last) == there.date()


def test_first_year_of_the_calendar():
    """There is no day before it."""
    assert first_day("10y", dt.date(3, 5, 31)) == dt.date(1, 5, 31)


def asked_for(data, interval):
    """A period, and an end in the past: a date, a text or a moment."""
    period = data.draw(st.sampled_from(SHORT if interval.is_intraday else PERIODS[:-1]))
    day = dt.date(2026, 8, 13) - data.draw(st.integers(0, 25)) * DAY
    hour = data.draw(st.sampled_from([None, 0, 5, 13, 23]))
    if hour is None:
        return period, data.draw(st.sampled_from([day, day.isoformat(), f"{day:%Y%m%d}"])), day
    moment = dt.datetime(day.year, day.month, day.day, hour, 30, tzinfo=UTC)
    return period, moment, moment


def inside(bars, period, end, zone, interval):
    """The bars of a period, from the market's own arithmetic; `zone` is that of its days."""
    days = not interval.is_intraday
    if isinstance(end, dt.datetime):
        last, kept = end.astimezone(zone).date(), [b for b in bars if b[0].time <= end.timestamp()]
    elif days:
        last, kept = end, [b for b in bars if b[1] <= end]
    else:
        last = end
        kept = [b for b in bars if opened(b, zone).date() <= end]
    if period in SESSIONS:
        count = SESSIONS[period] if interval.seconds <= 86400 else 1
        days_kept = sorted({b[1] for b in kept})[-count:]
        return [b for b in kept if b[1] in days_kept]
    start = (
        last.replace(month=1, day=1)
        if period == "ytd"
        else (pd.Timestamp(last) - pd.DateOffset(months=MONTHS[period])).date()
    )
    length = {Interval.in_weekly: 7, Interval.in_monthly: 31}.get(interval, 1)
    start = min(start, last - (length - 1) * DAY)
    return [b for b in kept if (b[1] if days else opened(b, zone).date()) >= start]


def opened(bar, zone):
    return dt.datetime.fromtimestamp(bar[0].time, zone)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data(), SYMBOLS, st.sampled_from(INTRADAY + LONGER), ZONES)
def test_any_period(tv, data, symbol, interval, timezone):
    """Whatever the interval, the end and the zone, exactly the bars of the period come."""
    exchange = zoneinfo.ZoneInfo(MARKET.find(symbol).timezone)
    zone = exchange if timezone in {None, "exchange"} else zoneinfo.ZoneInfo(timezone)
    period, end, meant = asked_for(data, interval)
    bars = bars_of(symbol, interval, SPAN_S[interval.is_intraday])
    wanted = inside(bars, period, meant, zone, interval)
    asked = {"interval": interval, "period": period, "end_date": end, "timezone": timezone}
    if not wanted:
        with pytest.raises(DataNotFoundError):
            tv.get_hist(symbol, **asked)
        return
    frame = tv.get_hist(symbol, **asked)
    assert frame["close"].tolist() == [bar.close for bar, _day in wanted]
    assert (frame.attrs["received"], frame.attrs["complete"]) == (len(wanted), True)


@pytest.fixture
def today():
    """A server and a client in the market of this moment, as a period without an end needs."""
    with FakeTradingView() as server, TvDatafeed(config=server.config()) as tv:
        yield tv


@pytest.mark.parametrize("timezone", ["Asia/Tokyo", "America/Los_Angeles", "exchange", None])
@pytest.mark.parametrize("interval", [Interval.in_1_hour, Interval.in_daily])
def test_period_ends_now(today, interval, timezone):
    """A month begins with the day a month ago in the zone of the call, or of the exchange."""
    zone = zoneinfo.ZoneInfo("America/New_York" if timezone in {None, "exchange"} else timezone)
    while True:  # again, if midnight comes between
        day = dt.datetime.now(zone).date()
        frame = today.get_hist("NASDAQ:AAPL", interval=interval, period="1mo", timezone=timezone)
        if dt.datetime.now(zone).date() == day:
            break
    start = first_day("1mo", day)
    if interval.is_intraday:
        start = dt.datetime(start.year, start.month, start.day, tzinfo=zone)
    same = today.get_hist("NASDAQ:AAPL", interval=interval, start_date=start, timezone=timezone)
    assert frame.index[0] == same.index[0]
    assert frame["close"].tolist()[:-1] == same["close"].tolist()[: len(frame) - 1]


def test_session_that_has_only_a_forming_bar(today):
    """With closed_only the last trading day is the last one with a closed bar."""
    frame = today.get_hist("BINANCE:BTCUSDT", interval=Interval.in_daily, period="1d")
    assert not frame.attrs["last_bar_closed"]
    closed = today.get_hist(
        "BINANCE:BTCUSDT", interval=Interval.in_daily, period="1d", closed_only=True
    )
    assert len(frame) == len(closed) == 1
    assert frame.index[0] - closed.index[0] == pd.Timedelta(days=1)


def requests(server):
    """How many series were requested from the server."""
    return sum(message.method == "create_series" for message in server.received)


def test_naive_end_is_local_time(tv, set_zone):
    """As a naive end is without a period; the days before it are those of the exchange."""
    set_zone("Asia/Tokyo")
    asked = {"interval": Interval.in_1_hour, "period": "1mo"}
    naive = tv.get_hist("NASDAQ:AAPL", end_date=dt.datetime(2026, 8, 4, 1), **asked)  # noqa: DTZ001
    aware = tv.get_hist("NASDAQ:AAPL", end_date="2026-08-03T16:00Z", **asked)
    pd.testing.assert_frame_equal(naive, aware)
    opened = naive.index.tz_localize("Asia/Tokyo").tz_convert("America/New_York")
    assert [opened[0].isoformat(), opened[-1].isoformat()] == [
        "2026-07-06T09:30:00-04:00",
        "2026-08-03T11:30:00-04:00",
    ]
    with pytest.raises(DataNotFoundError):
        tv.get_hist("NASDAQ:AAPL", end_date=dt.datetime(1960, 1, 1), **asked)  # noqa: DTZ001


@pytest.mark.parametrize("store", ["use", "refresh", "only"])
@pytest.mark.parametrize("period", ["5d", "3mo", "max"])
def test_period_of_a_store(tmp_path, server, period, store):
    """What is stored is the same, and "only" needs no network."""
    asked = {"period": period, "end_date": "2026-07-31", "timezone": "UTC"}
    with TvDatafeed(config=server.config(), store=tmp_path / "bars.db") as tv:
        plain = tv.get_hist("NASDAQ:AAPL", **asked, store="off")
        tv.get_hist("NASDAQ:AAPL", **asked)
        before = requests(server)
        kept = tv.get_hist("NASDAQ:AAPL", **asked, store=store)
        pd.testing.assert_frame_equal(kept, plain)
        assert store == "refresh" or requests(server) == before
        read = tv.store.read_bars("NASDAQ:AAPL", **asked)
        pd.testing.assert_frame_equal(read, plain)
        with pytest.raises(DataValidationError, match="days"):
            tv.store.read_bars("NASDAQ:AAPL", period="1y", days=3)


def test_period_of_many_symbols(tv):
    """Each symbol's days are those of its own exchange."""
    asked = {"interval": Interval.in_1_hour, "period": "1d", "end_date": "2026-08-13"}
    symbols = ["NASDAQ:AAPL", "TSE:7203", "BINANCE:BTCUSDT"]
    frames = tv.get_hist_multi(symbols, **asked, timezone="exchange")
    assert [len(frame) for frame in frames.values()] == [7, 6, 24]
    assert {str(time.date()) for f in frames.values() for time in f.index} == {"2026-08-13"}


def test_period_beside_a_feed(server):
    """The feed's own default of ten bars does not stand in its way, and bars are checked."""
    with live(server) as tvl:
        asked = {"period": "1mo", "end_date": "2026-07-31", "validate": "raise"}
        assert len(tvl.get_hist("NASDAQ:AAPL", **asked)) == 23
        with pytest.raises(DataValidationError, match="cannot go with n_bars"):
            tvl.get_hist("NASDAQ:AAPL", n_bars=11, **asked)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"period": "1y", "n_bars": 10}, "cannot go with n_bars; pass a period, or a number"),
        ({"period": "1y", "start_date": "2024-01-01"}, "cannot go with start_date; pass a period"),
        ({"period": "7d"}, "must be one of 1d, 5d, 1mo, 3mo, 6mo, 1y, 2y, 5y, 10y, ytd, max"),
        ({"period": "1m"}, "must be one of 1d, 5d, 1mo"),
        ({"period": ""}, "must be one of 1d, 5d, 1mo"),
        ({"period": 5}, "must be one of 1d, 5d, 1mo"),
        ({"period": ["1y"]}, "must be one of 1d, 5d, 1mo"),
    ],
)
def test_period_that_cannot_be_right(server, tv, arguments, sentence):
    """Refused before anything is sent, in the words that help."""
    for ask in (tv.get_hist, tv.get_hist_multi):
        with pytest.raises(DataValidationError) as caught:
            ask("NASDAQ:AAPL", **arguments)
        assert caught.value.field == "period"
        assert sentence in str(caught.value)
    assert server.connections_opened == 0


def test_end_that_cannot_be_right(tv):
    """An end is checked as it is without a period, and names the remedy without one."""
    with pytest.raises(DataValidationError, match="must not be in the future"):
        tv.get_hist("NASDAQ:AAPL", period="1y", end_date="2150-01-01")
    with pytest.raises(DataValidationError, match="a period, or n_bars"):
        tv.get_hist("NASDAQ:AAPL", end_date="2024-01-01")


@pytest.mark.parametrize("period", [" 1Y ", "1y"])
def test_case_does_not_matter(tv, period):
    """Case and blanks around a period are ignored."""
    frame = tv.get_hist("NASDAQ:AAPL", period=period, end_date="2026-07-31", timezone="UTC")
    assert frame.attrs["requested"] == "2025-07-31/2026-07-31"
    assert frame.index[0].date() == dt.date(2025, 7, 31)


def test_max_is_all_there_is(server, tv):
    """As many pages as there are, up to now or to an end."""
    frame = tv.get_hist("NASDAQ:AAPL", period="max", timezone="UTC")
    pd.testing.assert_frame_equal(frame, expected(server, "NASDAQ:AAPL", Interval.in_daily, 20_000))
    assert (frame.attrs["complete"], frame.attrs["reason"]) == (True, "no older bars exist")
    older = tv.get_hist("NASDAQ:AAPL", period="max", end_date="1990-12-31", timezone="UTC")
    assert older["close"].tolist() == frame[:"1990"]["close"].tolist()


def test_max_that_the_plan_cuts_off():
    """All that the account may have comes, and the attributes say that there is more."""
    with (
        FakeTradingView(clock=lambda: NOW, max_bars_per_reply=700) as server,
        TvDatafeed(config=server.config()) as tv,
    ):
        frame = tv.get_hist("NASDAQ:AAPL", period="max")
    assert (len(frame), frame.attrs["complete"]) == (700, False)
    assert frame.attrs["reason"] == "the plan's limit of bars is reached"
