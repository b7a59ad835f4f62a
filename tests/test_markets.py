"""What bars of which market are shown how: adjustments, hours, currencies, contracts, plans."""

import datetime as dt
import zoneinfo

import pandas as pd
import pytest

from tests.loopback import NOW, expected, frame_of
from tvDatafeed import EntitlementError, Interval, SymbolNotFoundError, TvDatafeed
from tvDatafeed.testing import PLAN_BARS, Account, FakeTradingView

HOUR = Interval.in_1_hour
DAILY = Interval.in_daily
WEEKLY = Interval.in_weekly
NEW_YORK = zoneinfo.ZoneInfo("America/New_York")


@pytest.mark.parametrize("interval", [i for i in Interval if not i.value.endswith("S")])
@pytest.mark.parametrize(
    "symbol", ["NSE:TCS", "FX_IDC:EURUSD", "XETR:SAP", "TSE:7203", "CME_MINI:ES1!", "NASDAQ:MSFT"]
)
@pytest.mark.slow
def test_every_interval_of_six_exchanges(server, tv, symbol, interval):
    """India, currencies, Germany, Japan with its break, futures and New York, bar for bar."""
    frame = tv.get_hist(symbol, interval=interval, n_bars=40, timezone="UTC")
    pd.testing.assert_frame_equal(frame, expected(server, symbol, interval, 40))


@pytest.mark.parametrize(
    ("symbol", "interval", "options"),
    [
        ("NASDAQ:AAPL", DAILY, {"adjustment": "none"}),
        ("NASDAQ:AAPL", DAILY, {"adjustment": "dividends"}),
        ("NASDAQ:AAPL", Interval.in_monthly, {"adjustment": "none"}),
        ("NASDAQ:MSFT", WEEKLY, {"adjustment": "dividends", "currency": "EUR"}),
        ("HOSE:VCB", DAILY, {"currency": "USD"}),
        ("CME_MINI:ES1!", DAILY, {"backadjusted": True}),
        ("NYMEX:CL2!", DAILY, {"backadjusted": True}),
    ],
)
@pytest.mark.slow
def test_options_change_the_bars_as_the_market_does(server, tv, symbol, interval, options):
    """Adjustment, currency and back-adjustment, over more bars than a page, bar for bar."""
    frame = tv.get_hist(symbol, interval=interval, n_bars=6000, timezone="UTC", **options)
    wanted = expected(server, symbol, interval, 6000, **options)
    pd.testing.assert_frame_equal(frame, wanted)
    plain = tv.get_hist(symbol, interval=interval, n_bars=6000, timezone="UTC")
    assert not frame["close"].equals(plain["close"])


def test_extended_hours(server, tv):
    """Bars before and after the regular session come when they are requested."""
    frame = tv.get_hist("AAPL", "NASDAQ", HOUR, 48, extended_session=True, timezone="exchange")
    wanted = expected(server, "NASDAQ:AAPL", HOUR, 48, "America/New_York", session="extended")
    pd.testing.assert_frame_equal(frame, wanted)
    assert {t.hour for t in frame.index} == set(range(4, 20))
    info = tv.get_symbol_info("AAPL", "NASDAQ", extended_session=True)
    assert (info.session, info.subsession, info.has_extended_hours) == (
        "0400-2000",
        "extended",
        True,
    )
    assert tv.get_symbol_info("AAPL", "NASDAQ").subsession == "regular"


def test_contracts_of_a_future(server, tv):
    """The front contract, the next one and a single month are three series."""
    front = tv.get_hist("ES", "CME_MINI", n_bars=20, timezone="UTC", fut_contract=1)
    second = tv.get_hist("ES", "CME_MINI", n_bars=20, timezone="UTC", fut_contract=2)
    single = tv.get_hist("CME_MINI:ESU2026", n_bars=20, timezone="UTC")
    assert front["symbol"].iloc[0] == "CME_MINI:ES1!"
    assert second["symbol"].iloc[0] == "CME_MINI:ES2!"
    assert front["close"].tolist() == single["close"].tolist()
    assert (second["close"] > front["close"]).all()
    with pytest.raises(SymbolNotFoundError, match="'ES' not found on CME_MINI"):
        tv.get_hist("ES", "CME_MINI")


def test_a_contract_that_has_expired_ends(tv):
    """Its last bar is closed, however long ago that was."""
    frame = tv.get_hist("CME_MINI:ESH2026", n_bars=5, timezone="exchange", dates="trading")
    assert str(frame.index[-1].date()) == "2026-03-20"
    assert frame.attrs["last_bar_closed"] is True


def test_a_currency_that_nobody_knows(tv):
    """The server's refusal is an error."""
    with pytest.raises(SymbolNotFoundError):
        tv.get_hist("AAPL", "NASDAQ", currency="doubloon")
    assert tv.get_hist("AAPL", "NASDAQ", currency=" eur ")["close"].iloc[-1] > 0


@pytest.mark.parametrize("symbol", ["FX_IDC:EURUSD", "OANDA:XAUUSD", "CME_MINI:ES1!"])
def test_sessions_that_open_the_evening_before(server, tv, symbol):
    """A day belongs to the date on which it is traded, and not to that of its open."""
    opened = tv.get_hist(symbol, n_bars=400, timezone="exchange")
    traded = tv.get_hist(symbol, n_bars=400, timezone="exchange", dates="trading")
    evening = {t.hour for t in opened.index}
    assert evening <= {17, 18}
    next_days = opened.index.tz_localize(None).normalize() + pd.Timedelta(days=1)
    assert (traded.index == next_days).all()
    assert {t.weekday() for t in traded.index} == {0, 1, 2, 3, 4}
    calendar = server.market.find(symbol).calendar
    first, last = traded.index[0].date(), traded.index[-1].date()
    sessions = [s.trade_date for s in calendar.sessions(first, last)]
    assert [t.date() for t in traded.index] == sessions
    week = tv.get_hist(symbol, start_date="2026-03-02", end_date="2026-03-06", dates="trading")
    assert [t.day for t in week.index] == [2, 3, 4, 5, 6]


@pytest.mark.parametrize("interval", [WEEKLY, Interval.in_monthly, Interval.in_yearly])
def test_longer_bars_by_trading_days(tv, interval):
    """A week or a month is in a range when its first trading day is."""
    frame = tv.get_hist(
        "FX_IDC:EURUSD",
        interval=interval,
        start_date="2024-01-01",
        end_date="2025-12-31",
        dates="trading",
    )
    assert {t.year for t in frame.index} == {2024, 2025}
    assert len(frame) == {"1W": 105, "1M": 24, "12M": 2}[interval.value]
    last = tv.get_hist(
        "FX_IDC:EURUSD", interval=interval, n_bars=2, end_date="2025-12-31", dates="trading"
    )
    assert last.index.equals(frame.index[-2:])


@pytest.mark.parametrize(
    ("interval", "reason"),
    [(Interval.in_1_second, "seconds_not_entitled"), (Interval.in_45_second, "seconds_not")],
)
def test_an_interval_that_is_not_in_the_plan(tv, interval, reason):
    """Seconds without an account are refused with the server's own reason."""
    with pytest.raises(EntitlementError, match=reason) as caught:
        tv.get_hist("AAPL", "NASDAQ", interval)
    assert reason in caught.value.reason


@pytest.mark.parametrize(("plan", "bars"), [("", 5_000), ("pro", 10_000), ("pro_premium", 20_000)])
@pytest.mark.slow
def test_a_plan_has_so_many_bars(plan, bars):
    """Intraday bars end at the plan's limit, counted from the latest; daily ones do not."""
    accounts = [Account("alice", "open sesame", plan=plan)]
    with FakeTradingView(clock=lambda: NOW, accounts=accounts, plan_limits=PLAN_BARS) as server:
        token = server.issue_token("alice")
        with TvDatafeed(auth_token=token, config=server.config()) as tv:
            frame = tv.get_hist("BTCUSDT", "BINANCE", HOUR, 30_000, timezone="UTC")
            pd.testing.assert_frame_equal(frame, expected(server, "BINANCE:BTCUSDT", HOUR, bars))
            assert frame.attrs["reason"] == "the plan's limit of bars is reached"
            oldest = frame.index[0]
            older = dt.timedelta(days=10)
            with pytest.raises(Exception, match="the plan's limit of bars is reached"):
                tv.get_hist(
                    "BTCUSDT",
                    "BINANCE",
                    HOUR,
                    start_date=oldest - 2 * older,
                    end_date=oldest - older,
                )
            across = tv.get_hist(
                "BTCUSDT",
                "BINANCE",
                HOUR,
                start_date=oldest - older,
                end_date=oldest + older,
                timezone="UTC",
            )
            assert across.index[0] == oldest
            assert (across.attrs["complete"], across.attrs["received"]) == (False, 241)
            assert len(tv.get_hist("AAPL", "NASDAQ", n_bars=11_000)) == 11_000


def test_bars_of_a_delayed_symbol(server, tv):
    """The newest bar is that of a quarter of an hour ago, and the attributes say so."""
    server.delay("NSE:TCS", 900)
    server.delay("BINANCE:BTCUSDT", 900)
    frame = tv.get_hist("BTCUSDT", "BINANCE", Interval.in_1_minute, 3, timezone="UTC")
    bars = server.market.bars("BINANCE:BTCUSDT", "1", 3, NOW - 900)
    pd.testing.assert_frame_equal(frame, frame_of(bars, "BINANCE:BTCUSDT"))
    assert frame.attrs["delay_seconds"] == 900
    frames = tv.get_hist_multi(["TCS", "INFY"], "NSE")
    assert "delay_seconds" not in frames["INFY"].attrs
    assert frames["TCS"].attrs["delay_seconds"] == 900
