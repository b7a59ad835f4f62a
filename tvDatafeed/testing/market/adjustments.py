"""Adjust the prices of a listing: futures contracts, splits, dividends and currencies.

The rules are real, the numbers are made up; all results are pure functions of the listing, the
moment and the options. The prices that form a bar are adjusted one by one, so that high and low
always contain open and close, even if an adjustment falls inside the bar.
"""

import functools
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from tvDatafeed.testing.market.calendar import Integers
from tvDatafeed.testing.market.listings import Listing, PriceOptions

Floats = npt.NDArray[np.float64]
PriceOf = Callable[[Integers], Floats]

# The constant value of one unit of a currency in US dollars.
RATES_USD = {
    "USD": 1.0,
    "USDT": 1.0,
    "EUR": 1.17,
    "GBP": 1.34,
    "GBX": 0.0134,
    "CHF": 1.25,
    "CAD": 0.72,
    "AUD": 0.66,
    "JPY": 0.0064,
    "INR": 0.0112,
    "KRW": 0.00068,
    "VND": 0.000038,
    "CNY": 0.14,
    "HKD": 0.128,
}

# The premium of a contract for each year until it expires.
_CARRY = 0.04
_YEAR_MS = 365.25 * 86_400_000


def adjusted_prices(  # noqa: PLR0917 - what a price depends on
    listing: Listing,
    options: PriceOptions,
    price_of: PriceOf,
    moments: Integers,
    opens: Integers,
    now: int,
) -> Floats:
    """Return prices with the options applied.

    Parameters
    ----------
    listing
        The listing of the prices.
    options
        The options to apply.
    price_of
        Returns the prices before adjustment.
    moments
        Epoch milliseconds, ``(n, k)``.
    opens
        When the bars of these moments open, epoch milliseconds, ``(n,)``.
    now
        Epoch milliseconds; back-adjusted prices are relative to the contract of this moment.
    """
    price = price_of(moments)
    if listing.expirations:
        price = _premium(listing, options, price_of, moments, opens, price, now) + price
    if options.adjustment == "none":
        price = price * _later(_splits(listing), moments)
    elif options.adjustment == "dividends":
        price = price * _later(_dividends(listing, price_of), moments)
    if options.currency not in (None, listing.currency):
        price = price * (RATES_USD[listing.currency] / RATES_USD[str(options.currency)])
    return price


def adjusted_volumes(
    listing: Listing, options: PriceOptions, volume: Floats, opens: Integers
) -> Floats:
    """Return volumes in shares of today, or with adjustment "none" in shares of their day."""
    if options.adjustment == "none":
        volume = volume / _later(_splits(listing), opens)
    return volume


def last_roll(listing: Listing, moment: int) -> int:
    """Return when the last contract before a moment expired, epoch milliseconds; 0 if none did."""
    expiry = _expiries(listing)
    ended = int(np.searchsorted(expiry, moment, "right"))
    return int(expiry[ended - 1]) if ended else 0


def _premium(  # noqa: PLR0917 - as above
    listing: Listing,
    options: PriceOptions,
    price_of: PriceOf,
    moments: Integers,
    opens: Integers,
    price: Floats,
    now: int,
) -> Floats:
    """Return the premium of each bar's contract over the underlying."""
    expiry = _expiries(listing)
    ahead = listing.contract - 1
    # The contract that expires next at the open of a bar is used for the whole bar.
    front = np.searchsorted(expiry, opens, "right")
    latest = len(expiry) - 1
    ends = expiry[np.minimum(front + ahead, latest)][:, np.newaxis]
    premium: Floats = price * (_CARRY / _YEAR_MS) * (ends - moments)
    if not options.backadjusted or not listing.is_continuous:
        return premium
    last = int(np.searchsorted(expiry, now, "right"))
    first = int(front.min())
    rolls = np.arange(first, last)
    longer = (
        expiry[np.minimum(rolls + ahead + 1, latest)] - expiry[np.minimum(rolls + ahead, latest)]
    )
    gaps = price_of(expiry[rolls]) * (_CARRY / _YEAR_MS) * longer if rolls.size else np.zeros(0)
    # The sum of all roll gaps after a bar.
    after = np.append(np.cumsum(gaps[::-1])[::-1], 0.0)
    joined: Floats = premium + after[np.minimum(front - first, rolls.size)][:, np.newaxis]
    return joined


def _later(events: "tuple[Integers, Floats]", moments: Integers) -> Floats:
    """Return the product of the factors of all events after each moment."""
    times, factors = events
    after = np.append(np.cumprod(factors[::-1])[::-1], 1.0)
    product: Floats = after[np.searchsorted(times, moments, "right")]
    return product


@functools.lru_cache(maxsize=256)
def _splits(listing: Listing) -> "tuple[Integers, Floats]":
    times = [_midnight_ms(listing, day) for day, _ratio in listing.splits]
    factors = [float(ratio) for _day, ratio in listing.splits]
    return np.array(times, np.int64), np.array(factors, np.float64)


@functools.lru_cache(maxsize=256)
def _dividends(listing: Listing, price_of: PriceOf) -> "tuple[Integers, Floats]":
    times = np.array([_midnight_ms(listing, day) for day, _ in listing.dividends], np.int64)
    if not times.size:
        return times, np.zeros(0)
    amounts = np.array([amount for _day, amount in listing.dividends])
    return times, 1.0 - amounts / price_of(times)


@functools.lru_cache(maxsize=256)
def _expiries(listing: Listing) -> Integers:
    """Return when the contracts expire: the midnight after their last trade date."""
    days = (day + timedelta(days=1) for day in listing.expirations)
    return np.array([_midnight_ms(listing, day) for day in days], np.int64)


def _midnight_ms(listing: Listing, day: date) -> int:
    moment = datetime.combine(day, time(), ZoneInfo(listing.timezone))
    return int(moment.timestamp()) * 1000
