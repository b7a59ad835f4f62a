"""Depth and ranges: any number of bars, any dates, in any zone, bar for bar."""

import datetime as dt
import logging
import zoneinfo

import pandas as pd
import pytest
import tzlocal

from tests.loopback import NOW, expected, frame_of, impatient
from tvDatafeed import (
    ConfigurationError,
    DataNotFoundError,
    DataValidationError,
    Interval,
    TvDatafeed,
    WebSocketTimeoutError,
)
from tvDatafeed.testing import FakeTradingView, FinMidFrame, LateReply, Listing, Market

UTC = dt.timezone.utc
NEW_YORK = zoneinfo.ZoneInfo("America/New_York")
MINUTE = Interval.in_1_minute
HOUR = Interval.in_1_hour
DAILY = Interval.in_daily


def between(server, symbol, interval, since, until, timezone="UTC"):  # noqa: PLR0917
    """What must come of a range, from the market's own arithmetic."""
    since_s, until_s = (pd.Timestamp(t).timestamp() for t in (since, until))
    size = int((NOW - since_s) / interval.seconds) + 10
    bars = server.market.bars(symbol, interval.value, size, NOW)
    return frame_of([b for b in bars if since_s <= b.time <= until_s], symbol, timezone)


def asked(server, method):
    return [r.params for r in server.received if r.method == method]


@pytest.mark.parametrize("count", [1, 10, 5000, 5001, 12_345, 40_000])
@pytest.mark.slow
def test_any_depth(server, tv, count):
    """One bar or forty thousand: all of them, each once, the newest last."""
    frame = tv.get_hist("BTCUSDT", "BINANCE", MINUTE, count, timezone="UTC")
    pd.testing.assert_frame_equal(frame, expected(server, "BINANCE:BTCUSDT", MINUTE, count))
    pages = len(asked(server, "request_more_data"))
    assert pages == (count - 1) // 5000
    attributes = {"last_bar_closed": False, "timezone": "UTC"}
    if count > 5000:
        attributes |= {
            "requested": count,
            "received": count,
            "complete": True,
            "reason": "as many as requested",
        }
    assert frame.attrs == attributes


def test_depth_beyond_the_plan_is_told():
    """At the plan's limit the bars that came are given, and the attributes report."""
    with (
        FakeTradingView(clock=lambda: NOW, max_bars_per_reply=7000) as server,
        TvDatafeed(config=server.config()) as tv,
    ):
        frame = tv.get_hist("BTCUSDT", "BINANCE", MINUTE, 12_345, timezone="UTC")
        pd.testing.assert_frame_equal(frame, expected(server, "BINANCE:BTCUSDT", MINUTE, 7000))
    assert frame.attrs["requested"] == 12_345
    assert (frame.attrs["received"], frame.attrs["complete"]) == (7000, False)
    assert frame.attrs["reason"] == "the plan's limit of bars is reached"


def test_depth_beyond_history_is_complete(server, tv):
    """Where history begins there are no more, and nothing is missing."""
    frame = tv.get_hist("AAPL", "NASDAQ", n_bars=20_000, timezone="UTC")
    pd.testing.assert_frame_equal(frame, expected(server, "NASDAQ:AAPL", DAILY, 20_000))
    assert frame.index[0] == pd.Timestamp("1980-12-12 14:30", tz="UTC")
    assert (frame.attrs["complete"], frame.attrs["reason"]) == (True, "no older bars exist")


def test_page_size_is_a_setting(server, monkeypatch):
    """TV_MAX_BARS is how many bars are requested at a time."""
    monkeypatch.setenv("TV_MAX_BARS", "400")
    monkeypatch.setenv("TV_WS_URL", server.ws_url)
    with TvDatafeed() as tv:
        frame = tv.get_hist("AAPL", "NASDAQ", MINUTE, 1000, timezone="UTC")
    pd.testing.assert_frame_equal(frame, expected(server, "NASDAQ:AAPL", MINUTE, 1000))
    assert [params[-1] for params in asked(server, "request_more_data")] == [400, 200]


@pytest.mark.slow
def test_a_connection_that_breaks_between_pages_is_replaced(server):
    """The whole is requested again, and no page is lost or doubled."""
    with TvDatafeed(config=impatient(server)) as tv:
        server.inject(LateReply(times=1, delay_s=0.0))
        tv.get_hist("AAPL", "NASDAQ", n_bars=1)
        server.inject(FinMidFrame(times=1))
        frame = tv.get_hist("BTCUSDT", "BINANCE", MINUTE, 12_000, timezone="UTC")
    pd.testing.assert_frame_equal(frame, expected(server, "BINANCE:BTCUSDT", MINUTE, 12_000))
    assert server.connections_opened == 2


@pytest.mark.slow
def test_each_page_has_the_time_of_a_request():
    """A long answer may take longer than one request, but no page of it may."""
    with FakeTradingView(clock=lambda: NOW, round_trip_s=0.4) as server:
        with TvDatafeed(config=server.config(max_response_time=1.3)) as tv:
            tv.get_hist("AAPL", "NASDAQ", MINUTE, 1)
            frame = tv.get_hist("AAPL", "NASDAQ", MINUTE, 20_000)
            assert len(frame) == 20_000
        with TvDatafeed(config=server.config(max_response_time=0.1, max_retries=0)) as tv:
            with pytest.raises(WebSocketTimeoutError):
                tv.get_hist("AAPL", "NASDAQ", MINUTE, 20_000)
        assert server.wait_until(lambda s: not s.open_sessions)


RANGES = {
    "inside": ("2024-03-04 15:00", "2024-03-06 19:00"),
    "from a bar to a bar": ("2024-03-04 14:30", "2024-03-04 20:30"),
    "one bar": ("2024-03-04 14:29:59", "2024-03-04 14:30:01"),
    "over the American change of clocks": ("2024-03-08 00:00", "2024-03-12 00:00"),
    "beyond the end": ("2026-08-13 00:00", "2026-08-15 12:00"),
}


@pytest.mark.parametrize("name", RANGES)
@pytest.mark.parametrize("symbol", ["NASDAQ:AAPL", "BITSTAMP:BTCUSD", "SP:SPX", "NSE:RELIANCE"])
@pytest.mark.slow
def test_ranges_of_hours(server, tv, symbol, name):
    """A range has exactly the bars that open in it, both ends included."""
    since, until = (pd.Timestamp(t, tz="UTC") for t in RANGES[name])
    wanted = between(server, symbol, HOUR, since, until)
    if wanted.empty:
        with pytest.raises(DataNotFoundError):
            tv.get_hist(symbol, interval=HOUR, start_date=since, end_date=until)
        return
    frame = tv.get_hist(symbol, interval=HOUR, start_date=since, end_date=until, timezone="UTC")
    pd.testing.assert_frame_equal(frame, wanted)
    assert frame.attrs["requested"] == f"{since.isoformat()}/{until.isoformat()}"
    assert frame.attrs["received"] == len(wanted)
    assert (frame.attrs["complete"], frame.attrs["reason"]) == (True, "all bars of the range")


@pytest.mark.slow
def test_a_range_longer_than_one_answer(server, tv):
    """Pages are requested until the begin of the range is reached."""
    since, until = "2026-07-20T00:00Z", "2026-08-05T06:30Z"
    frame = tv.get_hist(
        "BTCUSDT", "BINANCE", MINUTE, start_date=since, end_date=until, timezone="UTC"
    )
    pd.testing.assert_frame_equal(frame, between(server, "BINANCE:BTCUSDT", MINUTE, since, until))
    assert len(frame) == 16 * 1440 + 391
    assert len(asked(server, "request_more_data")) == 4


def test_a_range_is_in_seconds_on_the_wire(server, tv):
    """The end of a range is requested in epoch seconds, and no more than its bars."""
    end = dt.datetime(2024, 3, 6, 19, tzinfo=UTC)
    tv.get_hist("BTCUSD", "BITSTAMP", HOUR, start_date=end - dt.timedelta(hours=9), end_date=end)
    (params,) = asked(server, "create_series")
    assert params[5] == ["bar_count", int(end.timestamp()) + 1, 11]


def test_a_range_before_history_has_no_bars(server, tv):
    """There is an error that says so, and from when on there are bars."""
    with pytest.raises(DataNotFoundError, match="No data found for BTCUSDT on BINANCE"):
        tv.get_hist("BTCUSDT", "BINANCE", start_date="2001-01-01", end_date="2001-02-01")
    with pytest.raises(DataNotFoundError, match=r"none in 2024-03-09/2024-03-10"):
        tv.get_hist("AAPL", "NASDAQ", start_date="2024-03-09", end_date="2024-03-10")


def test_a_range_that_begins_before_history(server, tv):
    """What exists of it comes, complete."""
    frame = tv.get_hist(
        "IBM", "NYSE", start_date="1950-01-01", end_date="1962-03-01", timezone="UTC"
    )
    wanted = between(server, "NYSE:IBM", DAILY, "1950-01-01T00:00Z", "1962-03-01T23:00Z")
    pd.testing.assert_frame_equal(frame, wanted)
    assert frame.index[0].year == 1962
    assert (frame.attrs["complete"], frame.attrs["reason"]) == (True, "no older bars exist")


def test_a_range_that_the_plan_cuts_off_is_told():
    """Older bars than the plan has are missing, and the attributes report."""
    with (
        FakeTradingView(clock=lambda: NOW, max_bars_per_reply=1000) as server,
        TvDatafeed(config=server.config()) as tv,
    ):
        frame = tv.get_hist(
            "BTCUSDT", "BINANCE", MINUTE, start_date="2026-08-01T00:00Z", timezone="UTC"
        )
        pd.testing.assert_frame_equal(frame, expected(server, "BINANCE:BTCUSDT", MINUTE, 1000))
        assert frame.attrs["requested"] == "2026-08-01T00:00:00+00:00/.."
        assert (frame.attrs["complete"], frame.attrs["received"]) == (False, 1000)
        assert frame.attrs["reason"] == "the plan's limit of bars is reached"


@pytest.mark.parametrize("count", [1, 10, 6000])
@pytest.mark.parametrize("moment", ["2024-03-06T19:00Z", "2024-03-09T12:34:56Z"])
@pytest.mark.slow
def test_the_last_bars_up_to_a_moment(server, tv, count, moment):
    """`end_date` with `n_bars`: a number of bars, the last one at or before the moment."""
    frame = tv.get_hist("AAPL", "NASDAQ", HOUR, count, end_date=moment, timezone="UTC")
    end = pd.Timestamp(moment).timestamp()
    bars = [b for b in server.market.bars("NASDAQ:AAPL", "1H", 12_000, NOW) if b.time <= end]
    pd.testing.assert_frame_equal(frame, frame_of(bars[-count:], "NASDAQ:AAPL"))
    assert frame.attrs["last_bar_closed"] is True


def test_start_alone_is_until_now(server, tv):
    """`start_date` alone gives all bars since then, the forming one included."""
    frame = tv.get_hist("BTCUSDT", "BINANCE", HOUR, start_date="2026-08-10T03:00Z", timezone="UTC")
    wanted = between(server, "BINANCE:BTCUSDT", HOUR, "2026-08-10T03:00Z", "2026-08-15T00:00Z")
    pd.testing.assert_frame_equal(frame, wanted)
    assert frame.attrs["last_bar_closed"] is False


ZONES = ["UTC", "America/New_York", "Europe/Berlin", "Asia/Kolkata"]
CHANGES = {
    "America, spring": ("2026-03-06", "2026-03-10"),
    "Europe, spring": ("2026-03-27", "2026-03-31"),
    "Europe, autumn": ("2025-10-24", "2025-10-28"),
    "America, autumn": ("2025-10-31", "2025-11-04"),
}


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("symbol", ["BINANCE:BTCUSDT", "NASDAQ:AAPL"])
@pytest.mark.slow
def test_naive_dates_are_of_the_zone_that_is_asked_for(server, tv, symbol, change, zone):
    """Days begin and end by the clocks of the zone, also when these are changed."""
    first, last = (dt.date.fromisoformat(day) for day in CHANGES[change])
    frame = tv.get_hist(symbol, interval=HOUR, start_date=first, end_date=str(last), timezone=zone)
    begin = pd.Timestamp(first, tz=zone)
    end = pd.Timestamp(last + dt.timedelta(days=1), tz=zone) - pd.Timedelta(1, "s")
    wanted = between(server, symbol, HOUR, begin, end, zone)
    pd.testing.assert_frame_equal(frame, wanted)
    assert frame.index.is_monotonic_increasing
    assert frame.index.is_unique
    if symbol == "BINANCE:BTCUSDT":
        changed = {"America/New_York": "America", "Europe/Berlin": "Europe"}.get(zone, "-")
        shift = {"spring": -1, "autumn": 1}[change.split()[-1]] if changed in change else 0
        assert len(frame) == 5 * 24 + shift


def test_naive_datetimes_are_of_the_zone_too(server, tv):
    """Nine in the morning is that of the zone, and of the exchange when that is requested."""
    start, end = dt.datetime(2026, 3, 9, 9, 30), dt.datetime(2026, 3, 9, 12, 30)  # noqa: DTZ001
    for zone, name in (("America/New_York", "America/New_York"), ("exchange", "America/New_York")):
        frame = tv.get_hist("AAPL", "NASDAQ", HOUR, start_date=start, end_date=end, timezone=zone)
        assert [t.hour for t in frame.index] == [9, 10, 11, 12]
        assert str(frame.index.tz) == name
    frame = tv.get_hist("AAPL", "NASDAQ", HOUR, 2, end_date=end, timezone="exchange")
    assert [t.hour for t in frame.index] == [11, 12]


def test_naive_means_local_time_otherwise(server, monkeypatch):
    """Without a zone, dates are what the clock on this machine's wall shows."""
    monkeypatch.setattr(tzlocal, "get_localzone", lambda: zoneinfo.ZoneInfo("Asia/Tokyo"))
    with TvDatafeed(config=server.config()) as tv:
        frame = tv.get_hist(
            "BTCUSDT",
            "BINANCE",
            HOUR,
            start_date=dt.datetime(2026, 8, 10, 9),  # noqa: DTZ001
            end_date=pd.Timestamp("2026-08-10 11:00"),
        )
    assert frame.index.tz is None
    assert [t.hour for t in frame.index] == [9, 10, 11]
    wanted = between(
        server, "BINANCE:BTCUSDT", HOUR, "2026-08-10T00:00Z", "2026-08-10T02:00Z", "Asia/Tokyo"
    )
    assert frame["close"].tolist() == wanted["close"].tolist()


@pytest.mark.parametrize("symbol", ["NASDAQ:AAPL", "KRX:005930", "BINANCE:BTCUSDT"])
def test_days_of_daily_bars_are_trading_days(server, tv, symbol):
    """For daily bars a date is a trading day of the exchange, wherever one asks from."""
    frames = [
        tv.get_hist(
            symbol,
            start_date="2026-03-02",
            end_date=dt.date(2026, 3, 13),
            timezone=zone,
            dates="trading",
        )
        for zone in ("Pacific/Auckland", "Pacific/Honolulu", "exchange", None)
    ]
    for frame in frames:
        assert frame.index.tz is None
        assert str(frame.index.dtype) == "datetime64[ns]"
        assert frame.index.name == "datetime"
        assert str(frame.index[0]) == "2026-03-02 00:00:00"
        assert str(frame.index[-1]) == "2026-03-13 00:00:00"
        assert frame["close"].tolist() == frames[0]["close"].tolist()
    last = tv.get_hist(symbol, n_bars=3, end_date="2026-03-13", dates="trading")
    assert last.index.equals(frames[0].index[-3:])


def test_trading_days_leave_intraday_bars_alone(tv):
    """`dates="trading"` is for daily and longer bars."""
    plain = tv.get_hist("AAPL", "NASDAQ", HOUR, 5, timezone="UTC")
    frame = tv.get_hist("AAPL", "NASDAQ", HOUR, 5, timezone="UTC", dates="trading")
    pd.testing.assert_frame_equal(frame, plain)


def test_closed_bars_only(server):
    """The forming bar is left out, and there are as many bars as asked for."""
    with TvDatafeed(config=server.config()) as tv:
        both = tv.get_hist("BTCUSDT", "BINANCE", HOUR, 6, timezone="UTC")
        closed = tv.get_hist("BTCUSDT", "BINANCE", HOUR, 5, timezone="UTC", closed_only=True)
        pd.testing.assert_frame_equal(closed, both.iloc[:-1])
        assert (both.attrs["last_bar_closed"], closed.attrs["last_bar_closed"]) == (False, True)
        # In New York it is Friday evening.
        both = tv.get_hist("AAPL", "NASDAQ", HOUR, 5, timezone="UTC")
        closed = tv.get_hist("AAPL", "NASDAQ", HOUR, 5, timezone="UTC", closed_only=True)
        pd.testing.assert_frame_equal(closed, both)


def test_a_symbol_of_today_has_no_closed_bar():
    """Where the only bar is still forming, that is what the error says."""
    young = Listing("X:NEW", "New today", 10.0, dt.date(2026, 8, 14))
    with (
        FakeTradingView(market=Market((young,)), clock=lambda: NOW) as server,
        TvDatafeed(config=server.config()) as tv,
    ):
        assert len(tv.get_hist("X:NEW")) == 1
        with pytest.raises(DataNotFoundError, match="no bar has closed yet"):
            tv.get_hist("X:NEW", closed_only=True)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"end_date": "2024-01-01"}, "date_range"),
        ({"start_date": "2024-01-01", "n_bars": 5}, "n_bars/date_range"),
        ({"start_date": "2024-01-02", "end_date": "2024-01-01"}, "date_range"),
        ({"start_date": "2024-01-02T09:30", "end_date": "2024-01-02T09:30"}, "date_range"),
        (
            {
                "start_date": "2024-01-02T10:00",
                "end_date": "2024-01-02T09:00",
                "timezone": "exchange",
            },
            "date_range",
        ),
        ({"start_date": "2024-01-05T10:00Z", "end_date": "2024-01-02"}, "date_range"),
        ({"start_date": "2150-01-01"}, "date_range"),
        ({"n_bars": 5, "end_date": dt.datetime(2150, 1, 1, tzinfo=UTC)}, "date_range"),
        ({"start_date": "yesterday"}, "start_date"),
        ({"start_date": "2024-01-02+09:00"}, "start_date"),
        ({"start_date": "2024-01-02Z"}, "start_date"),
        ({"start_date": "202401"}, "start_date"),
        ({"start_date": "20241301"}, "start_date"),
        ({"start_date": "2024-W01-2"}, "start_date"),
        (
            {"n_bars": 5, "end_date": dt.datetime.now(UTC).date() + dt.timedelta(days=3)},
            "date_range",
        ),
        ({"start_date": "2024-13-01"}, "start_date"),
        ({"start_date": 1_700_000_000_000}, "start_date"),
        ({"n_bars": 5, "end_date": pd.NaT}, "end_date"),
        ({"n_bars": 5, "end_date": "2024-01"}, "end_date"),
        ({"n_bars": 5, "end_date": ""}, "end_date"),
        ({"n_bars": 0}, "n_bars"),
        ({"adjustment": "all"}, "adjustment"),
        ({"dates": "close"}, "dates"),
        ({"currency": "US D"}, "currency"),
        ({"currency": 5}, "currency"),
        ({"validate": "warn"}, "validate"),
    ],
)
def test_arguments_that_cannot_be_right(server, tv, arguments, field):
    """Each is an error that names it, and nothing is sent."""
    with pytest.raises(DataValidationError) as caught:
        tv.get_hist("AAPL", "NASDAQ", **arguments)
    assert caught.value.field == field
    assert server.accepted == 0


@pytest.mark.parametrize(
    ("symbol", "start", "end", "zone"),
    [
        ("CME_MINI:ES1!", dt.date(2026, 8, 12), dt.datetime(2026, 8, 11, 20), "exchange"),  # noqa: DTZ001
        ("FX_IDC:EURUSD", dt.date(2026, 8, 12), "2026-08-11T20:00", "America/New_York"),
        ("TSE:7203", dt.date(2026, 3, 10), "2026-03-09T17:00", "America/Los_Angeles"),
        ("NASDAQ:AAPL", "2026-03-04T01:30", dt.date(2026, 3, 3), "Australia/Lord_Howe"),
    ],
)
def test_a_trading_day_and_a_moment_of_the_day_before(tv, symbol, start, end, zone):
    """A trading day may begin before its date, so a range that looks turned round has its bar."""
    frame = tv.get_hist(symbol, start_date=start, end_date=end, timezone=zone)
    assert len(frame) == 1


def test_an_hour_that_comes_twice(tv):
    """Later by an earlier clock, in the night when clocks are set back."""
    start, end = (dt.datetime(2025, 11, 2, 1, m, fold=f) for m, f in ((45, 0), (15, 1)))  # noqa: DTZ001
    limits = {"interval": Interval.in_15_minute, "start_date": start, "end_date": end}
    frame = tv.get_hist("BINANCE:BTCUSDT", timezone="America/New_York", **limits)
    assert [str(t.time()) for t in frame.index] == ["01:45:00", "01:00:00", "01:15:00"]
    with pytest.raises(DataNotFoundError):  # closed at that hour, but no mistake of the caller
        tv.get_hist("NASDAQ:AAPL", timezone="exchange", **limits)


def test_a_range_of_long_ago_is_empty(tv):
    """The first moment that Python knows is before any market."""
    with pytest.raises(DataNotFoundError):
        tv.get_hist("AAPL", "NASDAQ", n_bars=2, end_date=dt.datetime(1, 1, 2, tzinfo=UTC))


def test_a_forming_bar_alone_is_no_closed_one(tv):
    """A range that has nothing but the bar that forms says so."""
    day = dt.date(2026, 8, 14)
    assert len(tv.get_hist("BTCUSDT", "BINANCE", start_date=day)) == 1
    with pytest.raises(DataNotFoundError, match="no bar has closed yet"):
        tv.get_hist("BTCUSDT", "BINANCE", start_date=day, closed_only=True)


def test_an_end_of_today_and_tomorrow_is_no_future(server, tv):
    """A day ahead is accepted, for clocks are wrong and days end later elsewhere."""
    soon = dt.datetime.now(UTC) + dt.timedelta(hours=23)
    assert len(tv.get_hist("AAPL", "NASDAQ", n_bars=3, end_date=soon)) == 3
    assert len(tv.get_hist("AAPL", "NASDAQ", n_bars=3, end_date=soon.date())) == 3
    # What no server was ever asked for is not asked for: bars up to a moment to come.
    assert [params[5] for params in asked(server, "create_series")] == [3, 6]


def test_the_old_check_of_a_range(caplog):
    """`is_valid_date_range` keeps its rules, one WARNING for each that is broken."""
    now = dt.datetime.now(UTC)
    day = dt.timedelta(days=1)
    naive = dt.datetime(2024, 1, 1)  # noqa: DTZ001
    for start, end, problems in (
        (now - day, now - day / 2, 0),
        (naive, naive + day, 0),
        (naive, now, 0),
        (now, now - day, 1),
        (naive, naive, 1),
        (now + day, now + 2 * day, 2),
        (dt.datetime(1999, 12, 31), naive, 1),  # noqa: DTZ001
        (dt.datetime(1990, 1, 2), dt.datetime(1990, 1, 1), 3),  # noqa: DTZ001
        ("2024-01-01", "2024-01-02", 0),
        ("soon", naive, 1),
    ):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "tvDatafeed"):
            assert TvDatafeed.is_valid_date_range(start, end) is (problems == 0)
        assert len(caplog.records) == problems, (start, end)


def test_zone_of_the_environment_is_that_of_naive_dates(server, monkeypatch):
    """TV_TIMEZONE is the zone of dates as it is that of the index."""
    monkeypatch.setenv("TV_TIMEZONE", "Asia/Tokyo")
    monkeypatch.setenv("TV_WS_URL", server.ws_url)
    with TvDatafeed() as tv:
        frame = tv.get_hist("BINANCE:BTCUSDT", interval=HOUR, start_date="2026-08-14")
        assert str(frame.index[0]) == "2026-08-14 00:00:00+09:00"
        with pytest.raises(ConfigurationError):
            tv.get_hist("BINANCE:BTCUSDT", start_date="2026-08-14", timezone="Mars/Olympus")
