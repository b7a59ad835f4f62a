"""Bars of the made-up market that are changed after the fact, as exchanges do.

A correction is of the bar that its symbol and interval have by default: of the regular session,
adjusted for splits and in the listing's own currency. Other intervals and other ways to show the
bars stay as they are.
"""

import math
import threading
from collections.abc import Mapping
from typing import NamedTuple

from tvDatafeed.testing.market.market import MarketBar

__all__ = ["BarCorrections", "Correction", "Corrections", "canonical", "changed"]

# A test corrects a few; a script that has corrected one a minute for a week should start afresh.
_MAX_CORRECTIONS = 10_000


class Correction(NamedTuple):
    """A bar as the market had it, and as it is since."""

    before: MarketBar
    after: MarketBar

    def applied(self, bar: MarketBar) -> MarketBar:
        """Return this bar of the market as it is shown.

        A finished bar is the corrected one. From one that was still forming the market goes on:
        its close moves, its range widens, its volume grows.
        """
        before, after = self
        if bar == before:
            return after
        volume = after.volume
        if volume is not None and bar.volume is not None and before.volume is not None:
            volume = max(0.0, volume + bar.volume - before.volume)
        high = after.high if bar.high <= before.high else max(after.high, bar.high)
        low = after.low if bar.low >= before.low else min(after.low, bar.low)
        high, low = max(high, bar.close), min(low, bar.close)
        return MarketBar(bar.time, after.open, high, low, bar.close, volume)


# By the time of the bar. Replaced and never changed, so that it is known again by its identity.
BarCorrections = Mapping[int, Correction]


class Corrections:
    """The corrections of all bars, at most 10 000; for any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: dict[tuple[str, str], BarCorrections] = {}

    def of(self, symbol: str, interval: str) -> BarCorrections | None:
        """Return those of a symbol and interval; None if there are none."""
        return self._all.get((symbol, canonical(interval)))

    def add(self, symbol: str, interval: str, correction: Correction) -> None:
        """Add one, which replaces an earlier one of the same bar.

        Raises
        ------
        ValueError
            If there are too many.
        """
        time, key = correction.before.time, (symbol, canonical(interval))
        with self._lock:
            known = self._all.get(key, {})
            if time not in known and sum(map(len, self._all.values())) >= _MAX_CORRECTIONS:
                raise ValueError(
                    f"{_MAX_CORRECTIONS} bars have been corrected, and no server keeps more: "
                    "make a new one"
                )
            self._all[key] = {**known, time: correction}


def changed(bar: MarketBar, values: Mapping[str, float | None]) -> MarketBar:
    """Return a bar with other values; a high or low that is None widens to hold the others.

    Parameters
    ----------
    bar
        The bar as it is shown.
    values
        By the names of `MarketBar`; None is a value that stays.

    Raises
    ------
    ValueError
        If no value is given, one is no price or no volume, or they do not go together.
    """
    new_values = {name: float(value) for name, value in values.items() if value is not None}
    if not new_values:
        raise ValueError("Nothing to correct: give at least one of open, high, low, close, volume")
    for name, value in new_values.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} must be a finite number of at least 0, not {value!r}")
    if "volume" in new_values and bar.volume is None:
        raise ValueError("volume cannot be corrected: this listing has none")
    opening, close = new_values.get("open", bar.open), new_values.get("close", bar.close)
    high = new_values.get("high", max(bar.high, opening, close))
    low = new_values.get("low", min(bar.low, opening, close))
    if not low <= min(opening, close) <= max(opening, close) <= high:
        raise ValueError(
            "open, high, low and close do not go together: "
            f"{opening!r}, {high!r}, {low!r}, {close!r}"
        )
    return MarketBar(bar.time, opening, high, low, close, new_values.get("volume", bar.volume))


def canonical(interval: str) -> str:
    """Return one name for each length of bars: TradingView takes 60 and 1H, D and 1D."""
    if interval[-1] == "H":
        return str(int(interval[:-1]) * 60)
    return interval if interval[0].isdigit() else f"1{interval}"
