"""Numbers as text: whole numbers without decimals, no exponents, and distinguishable prices."""

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_PRICES = ("open", "high", "low", "close")
# The minimum number of decimals; more are shown if two prices of a bar differ beyond them.
_DIGITS = 10
# Beyond these a float has noise: 0.1 + 0.2 is 0.30000000000000004.
_EXACT_DIGITS = 15


def price_decimals(bars: Iterable[Sequence[float]]) -> int:
    """Return the number of decimals for prices, with which different prices of a bar differ."""
    return _decimals([tuple(bar) for bar in bars])


def volume_decimals(volumes: Iterable[float]) -> int:
    """Return the number of decimals for volumes, with which no positive volume is shown as 0."""
    return _decimals([(0.0, volume) for volume in volumes])


def number_text(number: float, decimals: int) -> str:
    """Return a number with a fixed number of decimals; "NaN" if it is missing."""
    return "NaN" if math.isnan(number) else f"{number + 0.0:.{decimals}f}"  # no minus before 0


def with_texts(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return bars with texts for numbers; each symbol has its own number of decimals."""
    texts = frame.astype(dict.fromkeys((*_PRICES, "volume"), object))
    symbols = frame["symbol"].to_numpy()
    for symbol in dict.fromkeys(symbols):
        rows = symbols == symbol
        bars = frame.loc[rows, list(_PRICES)].to_numpy().tolist()
        volumes = frame.loc[rows, "volume"].tolist()
        decimals = dict.fromkeys(_PRICES, price_decimals(bars))
        decimals["volume"] = volume_decimals(volumes)
        for name, count in decimals.items():
            column = frame.loc[rows, name].tolist()
            texts.loc[rows, name] = [number_text(number, count) for number in column]
    return texts


def _decimals(groups: list[tuple[float, ...]]) -> int:
    sizes = {abs(n) for group in groups for n in group if n and math.isfinite(n)}
    if not sizes:
        return 0
    exact = max(map(_exact_decimals, sizes))
    decimals = min(exact, max(_DIGITS - 1 - math.floor(math.log10(max(sizes))), 0))
    alike = [group for group in groups if _are_alike(group, decimals)]
    while alike and decimals < exact:
        decimals += 1
        alike = [group for group in alike if _are_alike(group, decimals)]
    return decimals


def _exact_decimals(number: float) -> int:
    digits, _, exponent = f"{number:.{_EXACT_DIGITS}g}".partition("e")
    return max(len(digits.partition(".")[2]) - int(exponent or 0), 0)


def _are_alike(group: tuple[float, ...], decimals: int) -> bool:
    """Return whether different numbers have the same text."""
    different = {f"{number:.{_EXACT_DIGITS}g}" for number in group}
    return len({number_text(number, decimals) for number in group}) < len(different)
