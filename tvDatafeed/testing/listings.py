"""What is traded on the made-up market: each listing as TradingView would describe it."""

import functools
import zlib
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

from tvDatafeed.testing.calendar import TradingCalendar, new_york_holidays, yearly_holidays
from tvDatafeed.testing.grid import BarGrid, bar_grid

__all__ = ["LISTINGS", "Listing"]

_NEW_YORK = frozenset(day for year in range(1960, 2041) for day in new_york_holidays(year))
_SEOUL = yearly_holidays(
    "01-01", "03-01", "05-01", "05-05", "06-06", "08-15", "10-03", "10-09", "12-25", "12-31"
)
_KOLKATA = yearly_holidays("01-26", "05-01", "08-15", "10-02", "12-25")


@dataclass(frozen=True)
class Listing:
    """A symbol of the made-up market.

    Parameters
    ----------
    symbol : str
        ``"EXCHANGE:NAME"``.
    description : str
        The name for people, in any script.
    base_price : float
        The price on 2026-01-01, in `currency`.
    first_day : datetime.date
        Trade date of the first bar ever.
    volume_per_second : float, optional
        Mean volume while the market is open.
    type : {"stock", "index", "spot", "futures"}, optional
        TradingView's word for what it is.
    currency : str, optional
        Currency code.
    timezone, session, holidays : optional
        As in `TradingCalendar`.
    pricescale, minmov : int, optional
        The price moves in steps of ``minmov / pricescale``.
    volume : {"integer", "fractional"} or None, optional
        How volume counts; without it bars have five columns.
    volatility : float, optional
        Size of the moves; 1 is a large stock.
    country : str, optional
        ISO country code; empty if there is none.
    feed : str, optional
        A source whose prices stand in for the exchange's own: ``"BATS"`` gives a `full_name` that
        differs from the symbol asked for.
    """

    symbol: str
    description: str
    base_price: float
    first_day: date
    volume_per_second: float = 1.0
    type: Literal["stock", "index", "spot", "futures"] = "stock"
    currency: str = "USD"
    timezone: str = "Etc/UTC"
    session: str = "24x7"
    holidays: frozenset[date] = frozenset()
    pricescale: int = 100
    minmov: int = 1
    volume: Literal["integer", "fractional"] | None = "integer"
    volatility: float = 1.0
    country: str = ""
    feed: str = ""

    @property
    def exchange(self) -> str:
        """The part of the symbol before the colon."""
        return self.symbol.partition(":")[0]

    @property
    def name(self) -> str:
        """The part of the symbol after the colon."""
        return self.symbol.partition(":")[2]

    @property
    def seed(self) -> int:
        """What makes this listing's numbers differ from another's: 32 bits."""
        return zlib.crc32(self.symbol.encode())

    @property
    def calendar(self) -> TradingCalendar:
        """The sessions of this listing."""
        return _calendar(self.session, self.timezone, self.holidays)

    def grid(self, interval: str, n: int, now: float) -> BarGrid:
        """Return the bars of `bar_grid` for this listing."""
        return bar_grid(self.calendar, self.first_day, interval, n, now)

    def info(self) -> dict[str, Any]:
        """Return the third parameter of symbol_resolved, a new dict each time.

        Field names and the value of each that does not depend on the listing are those of recorded
        messages.
        """
        full_name = f"{self.feed or self.exchange}:{self.name}"
        regular = {
            "description": "Regular Trading Hours",
            "id": "regular",
            "private": False,
            "session": self.session,
            "session-display": self.session,
        }
        info: dict[str, Any] = {
            "currency_code": self.currency,
            "source_id": self.feed or self.exchange,
            "subsession_id": "regular",
            "provider_id": (self.feed or self.exchange).lower(),
            "currency_id": self.currency,
            "format": "price",
            "formatter": "price",
            "pro_perm": self.exchange.lower() if self.type == "stock" else "",
            "measure": "price",
            "allowed_adjustment": "any" if self.type == "stock" else "none",
            "short_description": self.description,
            "variable_tick_size": "",
            "language": "en",
            "local_description": self.description,
            "name": self.name,
            "full_name": full_name,
            "pro_name": self.symbol,
            "base_name": [self.symbol],
            "description": self.description,
            "exchange": self.feed or self.exchange,
            "pricescale": self.pricescale,
            "pointvalue": 1.0,
            "minmov": self.minmov,
            "session": self.session,
            "session_display": self.session,
            "subsessions": [regular],
            "type": self.type,
            "typespecs": list(_TYPESPECS[self.type]),
            "has_intraday": True,
            "fractional": False,
            "listed_exchange": self.exchange,
            "legs": [full_name],
            "is_tradable": self.type != "index",
            "minmove2": 0,
            "timezone": self.timezone,
            "aliases": [],
            "alternatives": [],
            "is_replayable": True,
            "has_adjustment": self.type == "stock",
            "has_extended_hours": False,
            "bar_source": "trade",
            "bar_transform": "none",
            "bar_fillgaps": False,
            "visible_plots_set": "ohlc" if self.volume is None else "ohlcv",
        }
        if self.country:
            info["country"] = self.country
        if self.session != "24x7":
            days = sorted(day for day in self.holidays if day.year >= 2000)  # noqa: PLR2004
            info["session_holidays"] = ",".join(f"{day:%Y%m%d}" for day in days)
        if self.type == "spot":
            base = self.name.removesuffix(self.currency)
            info |= {"base_currency": base, "base_currency_id": f"XTVC{base}"}
            info["volume_type"] = "base"
        return info


@functools.lru_cache(maxsize=64)
def _calendar(session: str, timezone: str, holidays: frozenset[date]) -> TradingCalendar:
    return TradingCalendar(session, timezone, holidays)


_TYPESPECS = {
    "stock": ("common",),
    "index": ("main", "cfd"),
    "spot": ("crypto",),
    "futures": ("continuous", "synthetic"),
}

_coin = functools.partial(Listing, type="spot", currency="USDT", volatility=2.0)
_us = functools.partial(Listing, timezone="America/New_York", holidays=_NEW_YORK, country="US")
_us_stock = functools.partial(_us, session="0930-1600", feed="BATS")
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

LISTINGS: tuple[Listing, ...] = (
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
    _us_stock("NASDAQ:AAPL", "Apple Inc.", 270.0, date(1980, 12, 12), 1_900.0),
    _us_stock("NASDAQ:MSFT", "Microsoft Corporation", 480.0, date(1986, 3, 13), 950.0),
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
)
