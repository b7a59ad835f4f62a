"""Compute the fields of a quote from the made-up market.

The last price, the day's prices and the volume are those of the daily bar, so that quotes and bars
agree. Bid and ask are made up: one tick below and above the last price, with sizes that depend only
on the symbol and the price. An index does not have them. `current_session` distinguishes pre-market
and post-market, but the prices remain those of the regular session; therefore the fields of the
price outside it (`rtc`, `rtc_time`, `rch`, `rchp`) are there and null, as for a market without
extended hours.
"""

import functools
import zlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Any

from tvDatafeed.testing.market.calendar import Session, TradingCalendar
from tvDatafeed.testing.market.listings import Listing
from tvDatafeed.testing.market.market import MarketBar
from tvDatafeed.testing.sessions.backend import Backend, Rights

# TradingView's number for a missing value.
NO_VALUE = 1e100
_LARGEST_SIZE = 100
# Building the constant fields of a listing takes longer than computing its prices.
_CACHED_DESCRIPTIONS = 1024
# Fields of symbol_resolved that have other names in quotes.
_NOT_IN_QUOTES = ("name", "full_name", "exchange", "country")
_NO_EXTENDED_PRICE: Mapping[str, None] = dict.fromkeys(("rtc", "rtc_time", "rch", "rchp"))
# Currencies with a code of three letters that are coins.
_COINS = frozenset({"BTC", "ETH"})
_ISO_CHARACTERS = 3


def quote_values(listing: Listing, backend: Backend, rights: Rights, at: float) -> dict[str, Any]:
    """Return all fields of a quote.

    Parameters
    ----------
    listing
        The listing of the quote.
    backend
        The source of the prices. Before the first bar of its history, a listing has no prices.
    rights
        What the client's token allows.
    at
        The moment, epoch seconds; for a delayed symbol, the quote is earlier.
    """
    now = backend.data_time(listing.symbol, rights, at)
    known = _description(listing) | {"update_mode": backend.update_mode(listing.symbol, rights)}
    days = backend.history(listing.symbol, "1D", rights, at=at)
    # A plan does not limit quotes.
    bars = replace(days, limit=2).bars(2)
    if not bars:
        return known | {"current_session": "out_of_session"}
    *earlier, today = bars
    regular = listing.calendar.latest(now)
    known |= _day(today, earlier[-1].close if earlier else today.open)
    known["lp_time"] = int(min(now, regular.close_s - 1))
    known["current_session"] = _current_session(listing, regular, now)
    return known if listing.type == "index" else known | _offers(listing, today.close)


@functools.lru_cache(maxsize=_CACHED_DESCRIPTIONS)
def _description(listing: Listing) -> dict[str, Any]:
    info = listing.info()
    return {name: value for name, value in info.items() if name not in _NOT_IN_QUOTES} | {
        "exchange": listing.exchange,
        "short_name": listing.name,
        "original_name": info["full_name"],
        "country_code": listing.country,
        "currency-logoid": _currency_logo(listing.currency),
        **_base_currency(listing),
        **_NO_EXTENDED_PRICE,
    }


def _base_currency(listing: Listing) -> dict[str, str]:
    if listing.type not in {"spot", "forex"}:
        return {}
    return {"base-currency-logoid": _currency_logo(listing.name.removesuffix(listing.currency))}


def _currency_logo(currency: str) -> str:
    """Return the logo of a coin, or of the country with which an ISO code begins."""
    is_coin = currency in _COINS or len(currency) != _ISO_CHARACTERS
    return f"crypto/XTVC{currency}" if is_coin else f"country/{currency[:2]}"


def _current_session(listing: Listing, regular: Session, now: float) -> str:
    if now < regular.close_s:
        return "market"
    if not listing.extended:
        return "out_of_session"
    extended = _calendar(listing.extended, listing.timezone, listing.holidays).latest(now)
    if now >= extended.close_s:
        return "out_of_session"
    return "post_market" if regular.trade_date == extended.trade_date else "pre_market"


@functools.lru_cache(maxsize=16)
def _calendar(session: str, timezone: str, holidays: frozenset[date]) -> TradingCalendar:
    return TradingCalendar(session, timezone, holidays)


def _day(today: MarketBar, before: float) -> dict[str, Any]:
    change = round(today.close - before, 8)
    volume = NO_VALUE if today.volume is None else today.volume
    return {
        "lp": today.close,
        "ch": change,
        "chp": round(100 * change / before, 2),
        "volume": int(volume) if volume == int(volume) and volume < NO_VALUE else volume,
        "open_price": today.open,
        "high_price": today.high,
        "low_price": today.low,
        "prev_close_price": before,
    }


def _offers(listing: Listing, price: float) -> dict[str, Any]:
    tick = listing.minmov / listing.pricescale
    ticks = round(price / tick)
    sides = {"bid": max(1, ticks - 1), "ask": ticks + 1}
    offers: dict[str, Any] = {}
    for side, at in sides.items():
        lot = zlib.crc32(f"{listing.symbol} {side} {at}".encode()) % _LARGEST_SIZE + 1
        offers[side] = at * listing.minmov / listing.pricescale
        offers[f"{side}_size"] = lot * (0.01 if listing.volume == "fractional" else 100.0)
    return offers
