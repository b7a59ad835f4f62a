"""The default listings of the made-up market.

Exchanges, hours and names are real; prices and histories are made up. The holidays are those that
fall on the same day each year, and all holidays of New York.
"""

import calendar
import functools
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

from tvDatafeed.testing.market.calendar import new_york_holidays, yearly_holidays
from tvDatafeed.testing.market.listings import Listing

__all__ = ["LISTINGS"]

_NEW_YORK = frozenset(day for year in range(1960, 2041) for day in new_york_holidays(year))
_SEOUL = yearly_holidays(
    "01-01", "03-01", "05-01", "05-05", "06-06", "08-15", "10-03", "10-09", "12-25", "12-31"
)
_KOLKATA = yearly_holidays("01-26", "05-01", "08-15", "10-02", "12-25")
_FRANKFURT = yearly_holidays("01-01", "05-01", "12-24", "12-25", "12-26", "12-31")
_LONDON = yearly_holidays("01-01", "12-25", "12-26")
_TOKYO = yearly_holidays("01-01", "01-02", "01-03", "02-11", "05-03", "05-04", "05-05", "12-31")
_SAIGON = yearly_holidays("01-01", "04-30", "05-01", "09-02")
_QUARTERS = {3: "H", 6: "M", 9: "U", 12: "Z"}
_MONTHS = dict(enumerate("FGHJKMNQUVXZ", start=1))
_THURSDAY, _FRIDAY = 3, 4
# Continuous futures roll over all of their history; single contracts exist for a few years.
_ROLLED_YEARS = range(1983, 2042)
_LISTED_YEARS = range(2024, 2027)


def _third_friday(year: int, month: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(_FRIDAY - first.weekday()) % 7 + 14)


def _last_thursday(year: int, month: int) -> date:
    last = date(year, month, calendar.monthrange(year, month)[1])
    return last - timedelta(days=(last.weekday() - _THURSDAY) % 7)


def _twentieth_before(year: int, month: int) -> date:
    """Return when crude oil of a month expires: about the twentieth of the previous month."""
    day = date(year - (month == 1), (month - 2) % 12 + 1, 20)
    return day - timedelta(days=max(0, day.weekday() - _FRIDAY))


def _quarterly_dividends(first_year: int, amount: float) -> tuple[tuple[date, float], ...]:
    return tuple(
        (date(year, month, 9), amount)
        for year in range(first_year, 2027)
        for month in (2, 5, 8, 11)
    )


_coin = functools.partial(Listing, type="spot", currency="USDT", volatility=2.0)
_us = functools.partial(Listing, timezone="America/New_York", holidays=_NEW_YORK, country="US")
_us_stock = functools.partial(_us, session="0930-1600", feed="BATS", extended="0400-2000")
_us_index = functools.partial(_us, type="index", session="0930-1610", volume=None, volatility=0.6)
_india = functools.partial(
    Listing,
    currency="INR",
    timezone="Asia/Kolkata",
    session="0915-1530",
    holidays=_KOLKATA,
    minmov=5,
    country="IN",
)
_india_index = functools.partial(_india, type="index", volume=None, volatility=0.6)
_forex = functools.partial(
    Listing,
    type="forex",
    timezone="America/New_York",
    session="1700-1700",
    pricescale=100_000,
    volatility=0.3,
)
_saigon = functools.partial(
    Listing,
    currency="VND",
    timezone="Asia/Ho_Chi_Minh",
    session="0900-1130,1300-1500",
    holidays=_SAIGON,
    pricescale=1,
    minmov=50,
    country="VN",
)


def _future(root: str, months: dict[int, str], last_day: Any, **common: Any) -> Iterator[Listing]:
    """Yield the two continuous futures, and the single contracts of a few years."""
    common |= {"type": "futures", "root": root.partition(":")[2]}
    description = common.pop("description")
    rolled = tuple(last_day(year, month) for year in _ROLLED_YEARS for month in months)
    for contract in (1, 2):
        name = f"{root}{contract}!"
        yield Listing(name, description, expirations=rolled, contract=contract, **common)
    for year in _LISTED_YEARS:
        for month, code in months.items():
            expiration = last_day(year, month)
            yield Listing(
                f"{root}{code}{year}",
                f"{description} ({calendar.month_abbr[month]} {year})",
                expirations=(expiration,),
                **common | {"first_day": expiration - timedelta(days=370)},
            )


class _Listings(tuple[Listing, ...]):
    """Listings whose repr is short, since it stands in the signatures of the reference."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{len(self)} listings, {self[0].symbol} to {self[-1].symbol}>"


_EVERY: tuple[Listing, ...] = (
    _coin(
        "BINANCE:BTCUSDT", "Bitcoin / TetherUS", 88e3, date(2017, 8, 17), 0.3, volume="fractional"
    ),
    _coin(
        "BITSTAMP:BTCUSD",
        "Bitcoin / U.S. dollar",
        88e3,
        date(2012, 1, 1),
        0.02,
        currency="USD",
        volume="fractional",
        pricescale=1,
    ),
    _coin(
        "BINANCE:DOGEUSDT",
        "Dogecoin 🐕 / TetherUS",
        0.12,
        date(2019, 7, 5),
        9e3,
        pricescale=100_000,
    ),
    _us_stock(
        "NASDAQ:AAPL",
        "Apple Inc.",
        270.0,
        date(1980, 12, 12),
        1_900.0,
        splits=((date(2014, 6, 9), 7), (date(2020, 8, 31), 4)),
        dividends=_quarterly_dividends(2012, 0.25),
    ),
    _us_stock(
        "NASDAQ:MSFT",
        "Microsoft Corporation",
        480.0,
        date(1986, 3, 13),
        950.0,
        dividends=_quarterly_dividends(2004, 0.6),
    ),
    _us_stock("NYSE:IBM", "International Business Machines", 300.0, date(1962, 1, 2), 170.0),
    _us_stock("NYSE:BRK.B", "Berkshire Hathaway Inc. New", 500.0, date(1996, 5, 9), 190.0),
    _us_index("SP:SPX", "S&P 500", 6_850.0, date(1962, 1, 2)),
    _us_index("TVC:RUT", "RUSSELL 2000", 2_480.0, date(1987, 9, 10), pricescale=10_000),
    Listing(
        "KRX:005930",
        "삼성전자보통주",
        120e3,
        date(1975, 6, 11),
        750.0,
        currency="KRW",
        timezone="Asia/Seoul",
        session="0900-1530",
        holidays=_SEOUL,
        pricescale=1,
        country="KR",
    ),
    _india("NSE:RELIANCE", "RELIANCE INDUSTRIES LTD", 1_560.0, date(1996, 1, 2), 500.0),
    _india_index("NSE:NIFTY", "NIFTY 50 INDEX", 26_100.0, date(1990, 7, 3)),
    _india(
        "NSE:NIFTY1!", "NIFTY 50 INDEX FUTURES", 26_200.0, date(2000, 6, 12), 200.0, type="futures"
    ),
    _india("NSE:TCS", "TATA CONSULTANCY SERV LT", 3_300.0, date(2004, 8, 25), 60.0),
    _india("NSE:INFY", "INFOSYS LTD", 1_620.0, date(1996, 1, 1), 250.0),
    _india("NSE:HDFCBANK", "HDFC BANK LTD", 990.0, date(1996, 1, 1), 700.0),
    _india("NSE:SBIN", "STATE BANK OF INDIA", 980.0, date(1996, 1, 1), 500.0),
    _india("BSE:RELIANCE", "RELIANCE INDUSTRIES LTD.", 1_560.0, date(1995, 1, 2), 30.0),
    _india_index("NSE:BANKNIFTY", "NIFTY BANK INDEX", 59_500.0, date(2000, 1, 3)),
    _forex("FX_IDC:EURUSD", "EURO / U.S. DOLLAR", 1.17, date(1999, 1, 4), 2.0),
    _forex("FX_IDC:GBPUSD", "BRITISH POUND / U.S. DOLLAR", 1.34, date(1990, 1, 2), 1.5),
    _forex(
        "FX_IDC:USDJPY",
        "U.S. DOLLAR / JAPANESE YEN",
        156.0,
        date(1990, 1, 2),
        2.0,
        currency="JPY",
        pricescale=1000,
    ),
    Listing(
        "OANDA:XAUUSD",
        "GOLD",
        4_300.0,
        date(2005, 1, 3),
        3.0,
        type="cfd",
        timezone="America/New_York",
        session="1800-1700",
        pricescale=1000,
        minmov=5,
    ),
    Listing(
        "XETR:SAP",
        "SAP SE",
        210.0,
        date(1999, 1, 4),
        60.0,
        currency="EUR",
        timezone="Europe/Berlin",
        session="0900-1730",
        holidays=_FRANKFURT,
        country="DE",
    ),
    Listing(
        "LSE:VOD",
        "VODAFONE GROUP PLC",
        98.0,
        date(1988, 10, 26),
        1_800.0,
        currency="GBX",
        timezone="Europe/London",
        session="0800-1630",
        holidays=_LONDON,
        country="GB",
    ),
    Listing(
        "TSE:7203",
        "トヨタ自動車",
        3_350.0,
        date(1983, 1, 4),
        1_200.0,
        currency="JPY",
        timezone="Asia/Tokyo",
        session="0900-1130,1230-1530",
        holidays=_TOKYO,
        pricescale=1,
        country="JP",
    ),
    _saigon("HOSE:VCB", "NGÂN HÀNG TMCP NGOẠI THƯƠNG VN", 57_000.0, date(2009, 6, 30), 250.0),
    *_future(
        "CME_MINI:ES",
        _QUARTERS,
        _third_friday,
        description="E-MINI S&P 500 FUTURES",
        base_price=6_900.0,
        first_day=date(1997, 9, 9),
        volume_per_second=20.0,
        timezone="America/Chicago",
        session="1700-1600",
        holidays=_NEW_YORK,
        minmov=25,
        country="US",
        volatility=0.6,
    ),
    *_future(
        "NYMEX:CL",
        _MONTHS,
        _twentieth_before,
        description="CRUDE OIL FUTURES",
        base_price=58.0,
        first_day=date(1984, 1, 3),
        volume_per_second=5.0,
        timezone="America/New_York",
        session="1800-1700",
        holidays=_NEW_YORK,
        country="US",
        volatility=1.5,
    ),
    # NSE:NIFTY1! is listed above, without contracts.
    *(
        listing
        for listing in _future(
            "NSE:NIFTY",
            _MONTHS,
            _last_thursday,
            description="NIFTY 50 INDEX FUTURES",
            base_price=26_200.0,
            first_day=date(2000, 6, 12),
            volume_per_second=100.0,
            currency="INR",
            timezone="Asia/Kolkata",
            session="0915-1530",
            holidays=_KOLKATA,
            minmov=5,
            country="IN",
        )
        if listing.name != "NIFTY1!"
    ),
)

LISTINGS: tuple[Listing, ...] = _Listings(_EVERY)
