"""A listing of the made-up market, with the description that TradingView would send."""

import functools
import math
import zlib
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any, Literal

from tvDatafeed.testing.market.calendar import TradingCalendar
from tvDatafeed.testing.market.schedule import BarSchedule, bar_schedule

__all__ = ["Listing", "PriceOptions"]

_LONGER = "DWM"


@dataclass(frozen=True)
class PriceOptions:
    """The options of a request for bars.

    Parameters
    ----------
    adjustment : {"splits", "dividends", "none"}
        The events that earlier prices are adjusted for.
    session : {"regular", "extended"}
        The hours of intraday bars.
    currency : str or None
        The currency that prices are converted to; None for the listing's own.
    backadjusted : bool
        Whether the contracts of a continuous future are joined without gaps.
    """

    adjustment: str = "splits"
    session: str = "regular"
    currency: str | None = None
    backadjusted: bool = False


@dataclass(frozen=True)
class Listing:
    """A symbol of the made-up market.

    Parameters
    ----------
    symbol : str
        ``"EXCHANGE:NAME"``.
    description : str
        The readable name, in any script.
    base_price : float
        The price on 2026-01-01, in `currency`.
    first_day : datetime.date
        Trade date of the first bar ever.
    volume_per_second : float, optional
        Mean volume while the market is open.
    type : {"stock", "index", "spot", "futures", "forex", "cfd"}, optional
        TradingView's type of the symbol.
    currency : str, optional
        Currency code.
    timezone, session, holidays : optional
        As in `TradingCalendar`.
    pricescale, minmov : int, optional
        The price moves in steps of ``minmov / pricescale``.
    volume : {"integer", "fractional"} or None, optional
        Whether volume is a whole number; with None, bars have no volume.
    volatility : float, optional
        Size of the price moves, a plain number; 1 for a large stock.
    country : str, optional
        ISO country code, or empty.
    feed : str, optional
        Another source of the prices: with ``"BATS"``, the `full_name` differs from the requested
        symbol.
    extended : str, optional
        The session including the hours before and after the regular session; may be empty.
    splits : tuple of (datetime.date, int), optional
        The first trade date after each split, and the number of shares that one share became.
    dividends : tuple of (datetime.date, float), optional
        Ex-dates, ascending, and amounts in split-adjusted prices.
    root : str, optional
        For futures: the common name of the contracts, such as ``"ES"``.
    expirations : tuple of datetime.date, optional
        For futures with contracts: their last trade dates, ascending; one date for one contract.
    contract : int, optional
        For continuous futures: 1 for the contract that expires next, 2 for the following one.
    """

    symbol: str
    description: str
    base_price: float
    first_day: date
    volume_per_second: float = 1.0
    type: Literal["stock", "index", "spot", "futures", "forex", "cfd"] = "stock"
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
    extended: str = ""
    splits: tuple[tuple[date, int], ...] = ()
    dividends: tuple[tuple[date, float], ...] = ()
    root: str = ""
    expirations: tuple[date, ...] = ()
    contract: int = 1

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
        """The 32-bit seed of this listing's prices.

        All contracts of a future have the same seed, because they share the price of the
        underlying.
        """
        common = f"{self.exchange}:{self.root}1!" if self.expirations else self.symbol
        return zlib.crc32(common.encode())

    @property
    def is_continuous(self) -> bool:
        """Whether this is a continuous future, which rolls from contract to contract."""
        return self.type == "futures" and len(self.expirations) != 1

    @property
    def calendar(self) -> TradingCalendar:
        """The sessions of this listing."""
        return _calendar(self.session, self.timezone, self.holidays)

    def schedule(self, interval: str, n: int, now: float, session: str = "regular") -> BarSchedule:
        """Return the schedule of `bar_schedule`; a contract has no bars after its last day."""
        calendar = self._calendar_of(interval, session)
        now = min(now, self._end_s(calendar) - 1)
        return bar_schedule(calendar, self.first_day, interval, n, now)

    def next_open(self, interval: str, moment: float, session: str = "regular") -> float:
        """Return when the next session opens, at `moment` or later; infinity if none does.

        Parameters
        ----------
        interval, session
            As in `schedule`; intraday bars can also use the extended session.
        moment
            Epoch seconds UTC.
        """
        calendar = self._calendar_of(interval, session)
        return calendar.next_open(moment) if moment < self._end_s(calendar) else math.inf

    def _calendar_of(self, interval: str, session: str) -> TradingCalendar:
        if session == "extended" and self.extended and interval[-1] not in _LONGER:
            return _calendar(self.extended, self.timezone, self.holidays)
        return self.calendar

    def _end_s(self, calendar: TradingCalendar) -> float:
        """Return when a single contract expires; infinity for other listings."""
        if len(self.expirations) != 1:
            return math.inf
        (last,) = self.expirations
        # The last trade date may be a holiday.
        return calendar.sessions(last - timedelta(days=10), last)[-1].close_s

    def in_currency(self, options: PriceOptions) -> "Listing":
        """Return this listing with its prices in another currency."""
        if options.currency in (None, self.currency):
            return self
        # At least two decimals, because one unit of some currencies is many units of others.
        scale = max(self.pricescale, 100)
        return replace(self, currency=str(options.currency), pricescale=scale, minmov=1)

    def info(self, options: PriceOptions = PriceOptions()) -> dict[str, Any]:
        """Return the third parameter of symbol_resolved, a new dict each time.

        Field names, and values that do not depend on the listing, are from recorded messages. The
        additional fields of futures are official names that no recording has.

        Parameters
        ----------
        options
            The session, adjustment and currency of the request.
        """
        if options.currency not in (None, self.currency):
            return self.in_currency(options).info(replace(options, currency=None))
        is_extended = options.session == "extended" and bool(self.extended)
        session = self.extended if is_extended else self.session
        full_name = f"{self.feed or self.exchange}:{self.name}"
        info: dict[str, Any] = {
            "currency_code": self.currency,
            "source_id": self.feed or self.exchange,
            "subsession_id": "extended" if is_extended else "regular",
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
            "session": session,
            "session_display": session,
            "subsessions": self._subsessions(),
            "type": self.type,
            "typespecs": list(_TYPESPECS[self.type]) if len(self.expirations) != 1 else [],
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
            "has_extended_hours": bool(self.extended),
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
        if self.type == "futures":
            info |= self._contract_info()
        return info

    def _subsessions(self) -> list[dict[str, Any]]:
        sessions = [("Regular Trading Hours", "regular", False, self.session)]
        if self.extended:
            opens, closes = self.session.split("-")
            first, last = self.extended.split("-")
            sessions = [
                ("Premarket", "premarket", True, f"{first}-{opens}"),
                *sessions,
                ("Postmarket", "postmarket", True, f"{closes}-{last}"),
                ("Extended Trading Hours", "extended", False, self.extended),
            ]
        return [
            {
                "description": description,
                "id": name,
                "private": is_private,
                "session": session,
                "session-display": session,
            }
            for description, name, is_private, session in sessions
        ]

    def _contract_info(self) -> dict[str, Any]:
        info: dict[str, Any] = {
            "root": self.root or self.name.rstrip("!0123456789"),
            "has_backadjustment": self.is_continuous and bool(self.expirations),
        }
        if not self.is_continuous:
            info["expiration"] = int(f"{self.expirations[0]:%Y%m%d}")
        return info


@functools.lru_cache(maxsize=64)
def _calendar(session: str, timezone: str, holidays: frozenset[date]) -> TradingCalendar:
    return TradingCalendar(session, timezone, holidays)


_TYPESPECS = {
    "stock": ("common",),
    "index": ("main", "cfd"),
    "spot": ("crypto",),
    "futures": ("continuous", "synthetic"),
    "forex": (),
    "cfd": (),
}
