"""Any range of any market, asked for in any way, against the market's own arithmetic."""

import bisect
import datetime as dt
import zoneinfo

import pandas as pd
import pytest
import tzlocal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.loopback import NOW
from tvDatafeed import DataNotFoundError, Interval
from tvDatafeed.testing import Market

UTC = dt.timezone.utc
DAY_S = 86_400
MARKET = Market()
# Days that begin the evening before, a break at noon, the far east, and round the clock.
SYMBOLS = st.sampled_from(
    ["NASDAQ:AAPL", "FX_IDC:EURUSD", "CME_MINI:ES1!", "TSE:7203", "KRX:005930", "BINANCE:BTCUSDT"]
)
INTERVALS = st.sampled_from(
    [
        Interval.in_5_minute,
        Interval.in_1_hour,
        Interval.in_4_hour,
        Interval.in_daily,
        Interval.in_weekly,
        Interval.in_monthly,
    ]
)
ZONES = st.sampled_from([None, "UTC", "America/New_York", "Europe/Berlin", "exchange"])
FORMS = ["aware", "naive", "stamp", "text", "text with Z", "date", "text of a date"]


def written(moment, form, zone):
    """A moment as a caller may write it; those without a zone are in the requested zone."""
    aware = dt.datetime.fromtimestamp(int(moment), UTC)
    naive = aware.astimezone(zone).replace(tzinfo=None)
    return {
        "aware": aware.astimezone(zoneinfo.ZoneInfo("Asia/Tokyo")),
        "naive": naive,
        "stamp": pd.Timestamp(naive),
        "text": naive.isoformat(),
        "text with Z": f"{aware:%Y-%m-%dT%H:%M:%SZ}",
        "date": naive.date(),
        "text of a date": naive.date().isoformat(),
    }[form]


def meant(moment, form, zone, *, is_end, of_trading_days):
    """What that is: epoch seconds, or a trading day."""
    aware = dt.datetime.fromtimestamp(int(moment), UTC)
    naive = aware.astimezone(zone).replace(tzinfo=None)
    if "date" not in form:
        is_naive = form not in {"aware", "text with Z"}
        return (naive.replace(tzinfo=zone) if is_naive else aware).timestamp()
    if of_trading_days:
        return naive.date()
    day = naive.date() + dt.timedelta(days=is_end)
    return dt.datetime(day.year, day.month, day.day, tzinfo=zone).timestamp() - is_end


def is_inside(bar, since, until):
    """Whether a bar with its trading day lies between two limits, both included."""
    opened, day = bar
    for limit, sign in ((since, 1), (until, -1)):
        if isinstance(limit, dt.date):
            if sign * (day - limit).days < 0:
                return False
        elif limit is not None and sign * (opened.time - limit) < 0:
            return False
    return True


def limits(data, zone, interval):
    """The arguments of a call, and the limits that they mean."""
    longest_s = (8 if interval.is_intraday else 900) * DAY_S
    end = NOW - data.draw(st.integers(DAY_S, longest_s))
    moments = {"start_date": end - data.draw(st.integers(2 * DAY_S, longest_s)), "end_date": end}
    which = data.draw(st.sampled_from(["both", "start_date", "end_date"]))
    asked, means = {}, {"start_date": None, "end_date": None}
    for name, moment in moments.items():
        if which in {"both", name}:
            form = data.draw(st.sampled_from(FORMS))
            asked[name] = written(moment, form, zone)
            means[name] = meant(
                moment,
                form,
                zone,
                is_end=name == "end_date",
                of_trading_days=not interval.is_intraday,
            )
    if which == "end_date":
        asked["n_bars"] = data.draw(st.sampled_from([1, 3, 50]))
    return asked, tuple(means.values()), NOW - moments["start_date"]


def bars_with_days(symbol, interval, span_s):
    """The bars of a span up to now and some before it, each with its trading day."""
    bars = MARKET.bars(symbol, interval.value, int(span_s / interval.seconds * 1.3) + 100, NOW)
    first, last = (dt.datetime.fromtimestamp(t, UTC).date() for t in (bars[0].time, NOW))
    around = dt.timedelta(days=3)
    sessions = MARKET.find(symbol).calendar.sessions(first - around, last + around)
    opens = [session.open_s for session in sessions]
    return [(b, sessions[bisect.bisect_right(opens, b.time) - 1].trade_date) for b in bars]


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data(), SYMBOLS, INTERVALS, ZONES, st.booleans(), st.booleans())
def test_any_range(tv, data, symbol, interval, timezone, closed_only, by_day):  # noqa: PLR0917
    """Whatever the limits are written as, exactly the bars between them come, and in order."""
    name = MARKET.find(symbol).timezone if timezone == "exchange" else timezone
    zone = tzlocal.get_localzone() if name is None else zoneinfo.ZoneInfo(name)
    asked, (since, until), span_s = limits(data, zone, interval)
    bars = bars_with_days(symbol, interval, span_s)
    newest = bars[-1]
    is_forming = MARKET.bar_close_time(symbol, interval.value, newest[0].time) + 2 >= NOW
    wanted = [bar for bar in bars if is_inside(bar, since, until)]
    if closed_only and is_forming:
        wanted = [bar for bar in wanted if bar != newest]
    wanted = wanted[-asked.get("n_bars", len(wanted)) :]
    asked |= {"timezone": timezone, "closed_only": closed_only}
    asked |= {"dates": "trading"} if by_day else {}
    if not wanted:
        with pytest.raises(DataNotFoundError):
            tv.get_hist(symbol, interval=interval, **asked)
        return
    frame = tv.get_hist(symbol, interval=interval, **asked)
    assert frame["close"].tolist() == [bar.close for bar, _day in wanted]
    if by_day and not interval.is_intraday:
        assert [t.date() for t in frame.index] == [day for _bar, day in wanted]
    elif timezone is not None:
        assert [t.timestamp() for t in frame.index] == [bar.time for bar, _day in wanted]
    assert frame.attrs["last_bar_closed"] == (wanted[-1] != newest or not is_forming)
    if "start_date" in asked:
        assert (frame.attrs["received"], frame.attrs["complete"]) == (len(wanted), True)
