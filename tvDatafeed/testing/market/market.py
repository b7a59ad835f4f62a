"""The prices of a made-up market: a reproducible, unlimited history for each listing.

Every number is a pure function of (listing, moment), without state, random walk or random
generator. Therefore each bar can be computed on its own and is the same on every platform and
Python version. Only ``+ - * /`` on doubles and 64-bit integer arithmetic are used; IEEE 754 and
numpy define their results to the last bit.

A price is a product of noise factors on lattices of time, one octave per time scale from 16
seconds to nine years.
"""

import bisect
import functools
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tvDatafeed.testing.market.adjustments import (
    RATES_USD,
    adjusted_prices,
    adjusted_volumes,
    last_roll,
)
from tvDatafeed.testing.market.calendar import Integers
from tvDatafeed.testing.market.exchanges import LISTINGS
from tvDatafeed.testing.market.listings import Listing, PriceOptions
from tvDatafeed.testing.market.schedule import BarSchedule, intraday_seconds, is_valid_interval

__all__ = ["LISTINGS", "Listing", "Market", "MarketBar", "PriceOptions", "is_valid_interval"]

Floats = npt.NDArray[np.float64]

# A bar samples the price at its open, at its close and at fifteen instants in between.
_SLOTS = 16

# Octave i has a lattice of 2^(14 + 2i) ms. As in a random walk, the swing doubles when the time
# scale is four times as long; the longest swings are smaller, so that prices stay away from zero.
_FINEST_LATTICE_BITS = 14
_SWINGS = (2e-4, 4e-4, 7e-4, 1.4e-3, 2.8e-3, 5.5e-3, 0.011, 0.02, 0.035, 0.06, 0.12, 0.25, 0.4)
_LARGEST_SWING = 0.5
_OCTAVE_BITS = _FINEST_LATTICE_BITS + 2 * np.arange(len(_SWINGS))[:, np.newaxis]
_OCTAVE_UNITS: Floats = np.ldexp(1.0, -_OCTAVE_BITS)
# Volume varies on a lattice of 2^24 ms, about five hours.
_ACTIVITY_LATTICE_BITS = 24
_ACTIVITY_OCTAVE = 40
_VOLUME_OCTAVE = 41

# At this moment, 2026-01-01, each listing trades at its base price.
_ANCHOR_MS = 1_767_225_600_000

# Enough for a test that requests many histories at once; 5000 bars take 0.4 MB, 40 000 take 3 MB.
_CACHED_CHARTS = 16
# The bars of an open series are computed in blocks of this size, some of them in advance.
_BLOCK_BARS = 48
# How many bars in advance. It differs by listing, so that not all blocks end at the same tick.
_AHEAD_BARS = range(8, 24)
# A block of daily or longer bars has the number of bars that a series needs at each tick.
_LIVE_BARS = 2
# The number of series that can be open without recomputing; each block takes up to 20 kB.
_CACHED_BLOCKS = 512
# Up to this many moments, all octaves are computed at once; above it, one after the other.
_FEW_MOMENTS = 1024


class MarketBar(NamedTuple):
    """One bar.

    Attributes
    ----------
    time : int
        Epoch seconds UTC of the open.
    open, high, low, close : float
        Prices in the listing's currency, whole ticks.
    volume : float or None
        Units traded; None where the listing has no volume.
    """

    time: int
    open: float
    high: float
    low: float
    close: float
    volume: float | None


class _Chart(NamedTuple):
    """The bars of a schedule, computed as if all were complete.

    `prices` has a row for open, high, low and close, ``(4, n)``; `paths` has a row for each of the
    last bars that may still be forming: the price at the 17 instants.
    """

    options: PriceOptions
    as_of_ms: int
    schedule: BarSchedule
    prices: Floats
    volume: Floats
    paths: Floats


class _Block(NamedTuple):
    """Consecutive bars; `until_s` is the time when the next bar begins."""

    schedule: BarSchedule
    times: list[int]
    until_s: float


class Market:
    """The bars of some listings at any moment.

    Parameters
    ----------
    listings : tuple of Listing, optional
        The listings of the market; default `LISTINGS`.

    Examples
    --------
    >>> [bar.time for bar in Market().bars("NASDAQ:AAPL", "1D", 2, now=1787240000)]
    [1787146200, 1787232600]
    """

    def __init__(self, listings: tuple[Listing, ...] = LISTINGS) -> None:
        self._listings = {listing.symbol: listing for listing in listings}
        self._chart = functools.lru_cache(maxsize=_CACHED_CHARTS)(self._compute_chart)
        self._live = functools.lru_cache(maxsize=_CACHED_BLOCKS)(self._compute_live)
        self._blocks: dict[tuple[str, str, str], _Block] = {}

    @property
    def symbols(self) -> tuple[str, ...]:
        """All symbols, ``"EXCHANGE:NAME"``, in the order of the listings."""
        return tuple(self._listings)

    def find(self, symbol: str) -> Listing | None:
        """Return the listing of an ``"EXCHANGE:NAME"``, or None if it does not exist."""
        return self._listings.get(symbol)

    def bars(
        self,
        symbol: str,
        interval: str,
        n: int,
        now: float,
        *,
        adjustment: str = "splits",
        session: str = "regular",
        currency: str | None = None,
        backadjusted: bool = False,
        as_of: float | None = None,
    ) -> list[MarketBar]:
        """Return the last `n` bars that have begun at `now`, ascending.

        While the market is open, the last bar is unfinished: its range of high and low only widens
        as `now` advances, and its close is the price at `now`, limited to that range. A finished
        bar never changes.

        Parameters
        ----------
        symbol : str
            ``"EXCHANGE:NAME"`` of a listing.
        interval : str
            An interval that `is_valid_interval` accepts.
        n : int
            How many bars; the result is shorter at the beginning of history.
        now : float
            Epoch seconds UTC.
        adjustment, session, currency, backadjusted
            As in `PriceOptions`.
        as_of : float, optional
            Epoch seconds UTC. With `backadjusted`, prices are relative to the contract of this
            moment. Default: `now`.

        Raises
        ------
        KeyError
            If the listing or the currency does not exist.
        ValueError
            If the interval is not valid.
        """
        listing = self._listings[symbol]
        options = PriceOptions(adjustment, session, currency, backadjusted)
        block = self._block(symbol, interval, now, session)
        begun = bisect.bisect_right(block.times, now)
        if n < 1 or not begun:
            return []
        as_of_ms = 0
        if backadjusted and listing.expirations:
            as_of_ms = last_roll(listing, int((now if as_of is None else as_of) * 1000))
        if n <= begun:
            chart, complete = self._live(symbol, interval, block.times[-1], options, as_of_ms)
            bars, row = complete[begun - n : begun], begun - 1 - len(block.times)
        else:
            chart = self._chart(symbol, interval, n, block.times[begun - 1], options, as_of_ms)
            bars, row = _complete_bars(listing, chart), -1
        forming = _forming_bar(listing, chart, row, now)
        if forming is not None:
            bars[-1] = forming
        return bars

    def converts(self, symbol: str, currency: str | None) -> bool:
        """Return whether prices of a symbol can be converted to a currency; None is its own."""
        listing = self.find(symbol)
        if listing is None or currency in (None, listing.currency):
            return listing is not None
        return {currency, listing.currency} <= RATES_USD.keys()

    def bar_close_time(
        self, symbol: str, interval: str, bar_time: int, session: str = "regular"
    ) -> int:
        """Return when the bar that contains `bar_time` ends, in the form of ``lbs.bar_close_time``.

        In a recorded session, the last bar before the market closes ends a second early, such as
        1787255999 for a day that closes at 1787256000. All other bars, and all bars of a market
        that never closes, end at the first second after the bar.

        Parameters
        ----------
        symbol, interval, session : str
            As in `bars`.
        bar_time : int
            Epoch seconds UTC.

        Raises
        ------
        LookupError
            If history begins later, or the listing does not exist.
        """
        listing = self._listings[symbol]
        block = self._blocks.get((symbol, interval, session))
        if block is not None and block.times[0] <= bar_time < block.until_s:
            schedule = block.schedule
        else:
            schedule = listing.schedule(interval, 1, bar_time, session)
        if not schedule.time.size:
            raise LookupError(f"{symbol} has no {interval} bar at {bar_time}")
        close_s = schedule.close_s[np.searchsorted(schedule.time, bar_time, "right") - 1]
        is_cut = listing.session != "24x7" and close_s in schedule.sessions.close_s
        return int(close_s) - is_cut

    def oldest_time(
        self, symbol: str, interval: str, n: int, now: float, session: str = "regular"
    ) -> int:
        """Return when the first of the last `n` bars at `now` begins, without computing prices.

        Parameters
        ----------
        symbol, interval, n, now, session
            As in `bars`.
        """
        times = self._listings[symbol].schedule(interval, n, now, session).time
        return int(times[0]) if times.size else int(now)

    def _block(self, symbol: str, interval: str, now: float, session: str) -> _Block:
        """Return a block in which at least `_LIVE_BARS` bars have begun at `now`."""
        key = symbol, interval, session
        block = self._blocks.get(key)
        if block is not None and block.times[:_LIVE_BARS][-1] <= now < block.until_s:
            return block
        listing, size = self._listings[symbol], _block_bars(interval)
        ahead_s = _AHEAD_BARS[listing.seed % len(_AHEAD_BARS)] * (intraday_seconds(interval) or 0)
        schedule = listing.schedule(interval, size, now + ahead_s, session)
        if np.searchsorted(schedule.time, now, "right") < _LIVE_BARS:
            schedule = listing.schedule(interval, size, now, session)
        if not schedule.time.size:
            return _Block(schedule, [], now)
        until_s: float = int(schedule.close_s[-1])
        if until_s in schedule.sessions.close_s:
            until_s = listing.next_open(interval, until_s, session)
        if len(self._blocks) >= _CACHED_BLOCKS:
            self._blocks.clear()
        block = self._blocks[key] = _Block(schedule, schedule.time.tolist(), until_s)
        return block

    def _compute_chart(  # noqa: PLR0917 - the keys of the cache
        self,
        symbol: str,
        interval: str,
        n: int,
        last_time: int,
        options: PriceOptions,
        as_of_ms: int,
    ) -> _Chart:
        listing = self._listings[symbol]
        schedule = listing.schedule(interval, n, last_time, options.session)
        return _chart_of(listing, schedule, options, as_of_ms, 1)

    def _compute_live(
        self, symbol: str, interval: str, last_time: int, options: PriceOptions, as_of_ms: int
    ) -> tuple[_Chart, list[MarketBar]]:
        listing = self._listings[symbol]
        schedule = listing.schedule(interval, _block_bars(interval), last_time, options.session)
        chart = _chart_of(listing, schedule, options, as_of_ms, schedule.time.size)
        return chart, _complete_bars(listing, chart)


def _block_bars(interval: str) -> int:
    return _BLOCK_BARS if intraday_seconds(interval) else _LIVE_BARS


def _chart_of(
    listing: Listing, schedule: BarSchedule, options: PriceOptions, as_of_ms: int, paths: int
) -> _Chart:
    opens = schedule.time * 1000
    path = _adjusted_prices(listing, options, _instants_ms(schedule), opens, as_of_ms)
    prices = np.array([path[:, 0], path.max(axis=1), path.min(axis=1), path[:, -1]])
    volume = adjusted_volumes(listing, options, _volumes(listing, schedule), opens)
    return _Chart(options, as_of_ms, schedule, prices, volume, path[-paths:].copy())


def _adjusted_prices(
    listing: Listing, options: PriceOptions, moments: Integers, opens: Integers, as_of_ms: int
) -> Floats:
    return adjusted_prices(listing, options, _price_of(listing), moments, opens, as_of_ms)


@functools.lru_cache(maxsize=256)
def _price_of(listing: Listing) -> "functools.partial[Floats]":
    return functools.partial(_prices, listing)


def _instants_ms(schedule: BarSchedule) -> Integers:
    """Return the moments at which each bar samples the price, ``(n, 17)``, epoch ms."""
    length_ms = (schedule.end - schedule.start)[:, np.newaxis] * 1000
    offset_ms = schedule.start[:, np.newaxis] * 1000 + length_ms * np.arange(_SLOTS) // _SLOTS
    session = np.searchsorted(schedule.elapsed * 1000, offset_ms, "right") - 1
    between_ms = (schedule.sessions.open_s - schedule.elapsed[:-1]) * 1000
    return np.column_stack([offset_ms + between_ms[session], schedule.close_s * 1000])


def _complete_bars(listing: Listing, chart: _Chart) -> list[MarketBar]:
    prices = _ticks(listing.in_currency(chart.options), chart.prices).tolist()
    volume = _countable(listing, chart.volume)
    return list(map(MarketBar, chart.schedule.time.tolist(), *prices, volume))


def _forming_bar(listing: Listing, chart: _Chart, row: int, now: float) -> MarketBar | None:
    """Return a row of a chart as it is at `now`, or None if that bar is complete."""
    schedule = chart.schedule
    session = int(np.searchsorted(schedule.sessions.open_s, now, "right")) - 1
    open_ms = int(schedule.sessions.open_s[session]) * 1000
    now_ms = min(int(now * 1000), int(schedule.sessions.close_s[session]) * 1000)
    start_ms, end_ms = int(schedule.start[row]) * 1000, int(schedule.end[row]) * 1000
    done_ms = int(schedule.elapsed[session]) * 1000 + now_ms - open_ms - start_ms
    length_ms = end_ms - start_ms
    if done_ms >= length_ms:
        return None
    slot, rest_ms = divmod(done_ms * _SLOTS, length_ms)
    path = chart.paths[row]
    seen = path[: slot + 1]
    # Between two instants, high and low follow a straight line from one price to the next, so that
    # the range only widens; the close is the market price, limited to that range.
    edge = seen[-1] + (path[slot + 1] - seen[-1]) * (rest_ms / length_ms)
    high, low = max(seen.max(), edge), min(seen.min(), edge)
    opens = np.array([schedule.time[row] * 1000])
    price = _adjusted_prices(listing, chart.options, np.array([[now_ms]]), opens, chart.as_of_ms)
    close = min(max(float(price[0, 0]), low), high)
    converted = listing.in_currency(chart.options)
    first, high, low, close = _ticks(converted, np.array([seen[0], high, low, close])).tolist()
    (volume,) = _countable(listing, np.array([chart.volume[row] * (done_ms / length_ms)]))
    return MarketBar(int(schedule.time[row]), first, high, low, close, volume)


def _ticks(listing: Listing, price: Floats) -> Floats:
    steps: Floats = np.maximum(np.rint(price * listing.pricescale / listing.minmov), 1.0)
    return steps * listing.minmov / listing.pricescale


def _countable(listing: Listing, volume: Floats) -> list[float] | list[None]:
    """Round volumes up to whole units; each is at least one unit."""
    if listing.volume is None:
        return [None] * len(volume)
    scale = 1e8 if listing.volume == "fractional" else 1.0
    counted: list[float] = ((np.floor(volume * scale) + 1.0) / scale).tolist()
    return counted


def _volumes(listing: Listing, schedule: BarSchedule) -> Floats:
    time_ms = schedule.time * 1000
    activity = 1.0 + 0.5 * _noise(time_ms, _salt(listing, _ACTIVITY_OCTAVE), _ACTIVITY_LATTICE_BITS)
    chance = 1.0 + 0.6 * _lattice(schedule.time, _salt(listing, _VOLUME_OCTAVE))
    return (schedule.end - schedule.start) * listing.volume_per_second * activity * chance


def _prices(listing: Listing, moment_ms: Integers) -> Floats:
    """Return prices before rounding to ticks, in the shape of `moment_ms`."""
    return _growth(listing, moment_ms) * (listing.base_price / _anchor(listing))


@functools.lru_cache(maxsize=256)
def _anchor(listing: Listing) -> float:
    return float(_growth(listing, np.array([_ANCHOR_MS]))[0])


def _growth(listing: Listing, moment_ms: Integers) -> Floats:
    growth = np.ones(moment_ms.shape)
    sizes, salts = _octaves(listing)
    if moment_ms.size <= _FEW_MOMENTS:
        # The factors and their order are the same as below, so the products are identical.
        for factor in 1.0 + sizes * _octave_noise(moment_ms.ravel(), salts):
            growth *= factor.reshape(moment_ms.shape)
        return growth
    for bits, size, salt in zip(_OCTAVE_BITS.flat, sizes.flat, salts.flat, strict=True):
        growth *= 1.0 + size * _noise(moment_ms, int(salt), int(bits))
    return growth


@functools.lru_cache(maxsize=256)
def _octaves(listing: Listing) -> tuple[Floats, npt.NDArray[np.uint64]]:
    """Return the swing size and the salt of each octave, one column each."""
    sizes = [min(swing * listing.volatility, _LARGEST_SWING) for swing in _SWINGS]
    salts = [_salt(listing, octave) for octave in range(len(_SWINGS))]
    return np.array(sizes)[:, np.newaxis], np.array(salts, np.uint64)[:, np.newaxis]


def _salt(listing: Listing, octave: int) -> int:
    return (listing.seed << 32) + octave


def _noise(moment_ms: Integers, salt: int, bits: int) -> Floats:
    """Return smooth noise in [-1, 1) over a lattice of ``2**bits`` ms."""
    node = moment_ms >> bits
    part = (moment_ms & ((1 << bits) - 1)) * 2.0**-bits
    lowest, highest = int(node.min()), int(node.max())
    if highest - lowest < moment_ms.size:
        values = _lattice(np.arange(lowest, highest + 2), salt)
        left, right = values[node - lowest], values[node - lowest + 1]
    else:
        left, right = _lattice(node, salt), _lattice(node + 1, salt)
    return _smooth(left, right, part)


def _octave_noise(moment_ms: Integers, salts: npt.NDArray[np.uint64]) -> Floats:
    """Return the noise of all octaves at moments ``(n,)``, a row each."""
    node = moment_ms >> _OCTAVE_BITS
    part = (moment_ms - (node << _OCTAVE_BITS)) * _OCTAVE_UNITS
    left, right = _lattice(np.stack([node, node + 1]), salts)
    return _smooth(left, right, part)


def _smooth(left: Floats, right: Floats, part: npt.NDArray[np.floating[Any]]) -> Floats:
    smooth: Floats = left + (right - left) * (part * part * (3.0 - 2.0 * part))
    return smooth


def _lattice(node: Integers, salt: int | npt.NDArray[np.uint64]) -> Floats:
    """Return a number in [-1, 1) per node: the finaliser of SplitMix64."""
    mixed = node.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(salt)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0
