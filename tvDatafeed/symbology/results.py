"""Search results as lines of text, and the symbols that they name."""

import math
from collections.abc import Mapping
from typing import Any

# What a line about a symbol tells, and what stands there when it is missing.
_TOLD = ("exchange", "symbol", "description", "type")
_MISSING = "N/A"


def full_name(item: Mapping[str, Any]) -> str:
    """Return what `TvDatafeed.get_hist` takes for a symbol that a search has found.

    The exchange is the item's prefix, or else the first word of its exchange, as TradingView's own
    clients have it.
    """
    symbol = text_of(item.get("symbol"))
    words = text_of(item.get("exchange")).split()
    exchange = text_of(item.get("prefix")) or (words[0].upper() if words else "")
    is_whole = not symbol or not exchange or ":" in symbol
    return symbol if is_whole else f"{exchange}:{symbol}"


def text_of(value: Any) -> str:
    """Return a text or a number as a text; anything else, NaN included, is an empty one."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return "" if isinstance(value, float) and math.isnan(value) else str(value)


def format_search_results(results: Any, max_results: int = 10) -> str:
    """Write what a search has found as a table of text; see `TvDatafeed.format_search_results`."""
    items = results.to_dict("records") if hasattr(results, "to_dict") else list(results or ())
    if not items:
        return "No results found."
    shown = items[: max(max_results, 0)]
    lines = [f"Found {len(items)} results (showing first {len(shown)}):\n"]
    for number, item in enumerate(shown, start=1):
        told = {key: text_of(item.get(key)) or _MISSING for key in _TOLD}
        name = full_name({"prefix": item.get("prefix"), **told})
        lines.append(f"{number:2d}. {name:30s} | {told['description']:40s} | Type: {told['type']}")
    # The root of a future is no symbol, but its contracts are. A frame has no lists of them.
    roots = {full_name({**item, "symbol": item.get("root")}) for item in items}
    usable = (full_name(item) for item in items if not item.get("contracts"))
    example = next((name for name in usable if name not in roots), full_name(items[0]))
    lines += [
        "",
        'Usage: tv.get_hist("EXCHANGE:SYMBOL", interval=Interval.in_daily, n_bars=100)',
        f'Example: tv.get_hist("{example or "NASDAQ:AAPL"}", n_bars=100)',
    ]
    return "\n".join(lines)
