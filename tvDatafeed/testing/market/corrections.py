"""Bars of the made-up market that are changed after the fact, as exchanges do.

A correction applies to the bar of one interval with one set of options. Bars of other intervals or
with other options do not change.
"""

import math
import threading
from collections.abc import Mapping
from typing import NamedTuple

from tvDatafeed.testing.market.listings import PriceOptions
from tvDatafeed.testing.market.market import MarketBar
from tvDatafeed.testing.market.restatements import Restatement

__all__ = ["BarCorrections", "CorrectedBar", "Correction", "Corrections", "canonical", "changed"]

# Tests correct a few bars. One correction a minute reaches this number after a week.
_MAX_CORRECTIONS = 10_000


class CorrectedBar(NamedTuple):
    """Which bar a correction changes; `time` is in epoch seconds."""

    symbol: str
    interval: str
    time: int
    options: PriceOptions


class Correction(NamedTuple):
    """A bar before and after its correction, both with these restatements applied."""

    before: MarketBar
    after: MarketBar
    restatements: tuple[Restatement, ...] = ()

    def applied(self, bar: MarketBar) -> MarketBar:
        """Return a bar of the market with this correction applied.

        If the bar has not changed since, the result is the corrected bar. If it was still forming,
        it continues from the correction: its close moves, its range widens, its volume grows.
        """
        before, after = self.before, self.after
        if bar == before:
            return after
        volume = after.volume
        if volume is not None and bar.volume is not None and before.volume is not None:
            volume = max(0.0, volume + bar.volume - before.volume)
        high = after.high if bar.high <= before.high else max(after.high, bar.high)
        low = after.low if bar.low >= before.low else min(after.low, bar.low)
        high, low = max(high, bar.close), min(low, bar.close)
        return MarketBar(bar.time, after.open, high, low, bar.close, volume)


# By the time of the bar. Replaced and never modified, so that identity shows whether it changed.
BarCorrections = Mapping[int, Correction]


class Corrections:
    """The corrections of all bars, at most 10 000. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: dict[tuple[str, str, PriceOptions], BarCorrections] = {}

    @property
    def is_empty(self) -> bool:
        """Whether no bar has been corrected."""
        return not self._all

    def of(self, symbol: str, interval: str, options: PriceOptions) -> BarCorrections | None:
        """Return the corrections of a symbol and interval with these options, or None."""
        return self._all.get((symbol, canonical(interval), options))

    def add(self, bar: CorrectedBar, correction: Correction) -> None:
        """Add a correction; it replaces an earlier correction of the same bar.

        Raises
        ------
        ValueError
            If there are too many corrections.
        """
        time, key = bar.time, (bar.symbol, canonical(bar.interval), bar.options)
        with self._lock:
            known = self._all.get(key, {})
            if time not in known and sum(map(len, self._all.values())) >= _MAX_CORRECTIONS:
                raise ValueError(
                    f"{_MAX_CORRECTIONS} bars have been corrected, and no server keeps more: "
                    "make a new one"
                )
            self._all[key] = {**known, time: correction}


def changed(bar: MarketBar, values: Mapping[str, float | None]) -> MarketBar:
    """Return a bar with new values; a high or low that is None widens to contain the others.

    Parameters
    ----------
    bar
        The bar before the change.
    values
        Values by the names of `MarketBar`; None does not change a value.

    Raises
    ------
    ValueError
        If there are no new values, or they are not valid together.
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
    """Return one spelling of an interval: TradingView accepts 60 and 1H, D and 1D."""
    if interval[-1] == "H":
        return str(int(interval[:-1]) * 60)
    return interval if interval[0].isdigit() else f"1{interval}"
