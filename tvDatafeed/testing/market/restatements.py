"""Splits and dividends that restate the bars of a symbol while the server runs.

The splits and dividends of a `Listing` are part of its history from the start. A restatement takes
effect at a moment: a request before it gets the old prices, a later one the new prices.
"""

import math
import threading
from collections.abc import Iterable
from typing import NamedTuple

from tvDatafeed.testing.market.listings import Listing
from tvDatafeed.testing.market.market import MarketBar

__all__ = ["Restatement", "Restatements", "restated"]

# Every bar of a reply is multiplied by the factors of all restatements of its symbol.
_MAX_RESTATEMENTS = 1_000


class Restatement(NamedTuple):
    """A split or dividend, and the bars that it changes.

    Attributes
    ----------
    number
        Its place in the order in which a server's restatements were added.
    at
        When it takes effect, epoch seconds by the server's clock.
    before
        It changes bars that open before this moment, epoch seconds.
    price, volume
        The factors of their prices and volumes.
    adjustments
        The adjustments of the series that it changes, as in `PriceOptions`.
    """

    number: int
    at: float
    before: float
    price: float
    volume: float
    adjustments: frozenset[str]


class Restatements:
    """The restatements of all symbols. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: dict[str, tuple[Restatement, ...]] = {}
        self._added = 0

    def in_force(self, symbol: str, at: float) -> tuple[Restatement, ...]:
        """Return the restatements of a symbol that have taken effect at a moment."""
        known = self._all.get(symbol, ())
        return tuple(each for each in known if each.at <= at) if known else ()

    def add_split(self, symbol: str, ratio: float, before: float, at: float) -> None:
        """Add a split; series with adjustment "none" do not change.

        Raises
        ------
        ValueError
            If there are too many restatements, or the ratio is not valid.
        """
        if not 0 < ratio < math.inf:
            raise ValueError(f"ratio must be a finite number above 0, not {ratio!r}")
        self._add(symbol, before, at, 1 / ratio, ratio, frozenset({"splits", "dividends"}))

    def add_dividend(
        self, symbol: str, amount: float, close: float, before: float, at: float
    ) -> None:
        """Add a dividend; only series with adjustment "dividends" change.

        Raises
        ------
        ValueError
            If there are too many restatements, or the amount is not valid.
        """
        if not 0 < amount < close:
            raise ValueError(
                f"amount must be above 0 and below the close before it, {close!r}, not {amount!r}"
            )
        self._add(symbol, before, at, 1 - amount / close, 1.0, frozenset({"dividends"}))

    def _add(  # noqa: PLR0917 - the attributes of a restatement
        self,
        symbol: str,
        before: float,
        at: float,
        price: float,
        volume: float,
        adjustments: frozenset[str],
    ) -> None:
        with self._lock:
            if self._added >= _MAX_RESTATEMENTS:
                raise ValueError(
                    f"There have been {_MAX_RESTATEMENTS} splits and dividends, and no server "
                    "keeps more: make a new one"
                )
            new = Restatement(self._added, at, before, price, volume, adjustments)
            self._all[symbol] = (*self._all.get(symbol, ()), new)
            self._added += 1


def restated(
    bar: MarketBar, restatements: Iterable[Restatement], adjustment: str, listing: Listing
) -> MarketBar:
    """Return a bar with restatements applied: whole ticks, and whole units of volume.

    Parameters
    ----------
    bar
        The bar before them.
    restatements
        Those to apply; their factors are multiplied, and the product is rounded once.
    adjustment
        The adjustment of the bar's series.
    listing
        The listing of the bar, in the currency of its prices.
    """
    price = volume = 1.0
    is_changed = False
    for each in restatements:
        if bar.time < each.before and adjustment in each.adjustments:
            price, volume, is_changed = price * each.price, volume * each.volume, True
    if not is_changed:
        return bar
    opening, high, low, close = (
        max(1, round(value * price * listing.pricescale / listing.minmov))
        * listing.minmov
        / listing.pricescale
        for value in bar[1:5]
    )
    units = bar.volume
    if units is not None and volume != 1.0:
        scale = 1e8 if listing.volume == "fractional" else 1.0
        units = max(1, round(units * volume * scale)) / scale
    return MarketBar(bar.time, opening, high, low, close, units)
