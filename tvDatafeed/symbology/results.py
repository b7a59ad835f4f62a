"""Search results as lines of text, and their full symbols."""

import math
from collections.abc import Mapping
from typing import Any

# The fields of a line about a symbol, and the texts for missing ones.
_TOLD = ("exchange", "symbol", "description", "type")
_MISSING = "N/A"


def full_name(item: Mapping[str, Any]) -> str:
    """Return the name of a found symbol that `TvDatafeed.get_hist` accepts.

    The exchange is the item's prefix, or else the first word of its exchange, as in TradingView's
    own clients.
    """
    symbol = text_of(item.get("symbol"))
    words = text_of(item.get("exchange")).split()
    exchange = text_of(item.get("prefix")) or (words[0].upper() if words else "")
    is_whole = not symbol or not exchange or ":" in symbol
    return symbol if is_whole else f"{exchange}:{symbol}"


def text_of(value: Any) -> str:
    """Return a text or a number as text; anything else, including NaN, as an empty text."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return "" if isinstance(value, float) and math.isnan(value) else str(value)


def format_search_results(results: Any, max_results: int = 10) -> str:
    """Format search results as a table of text; see `TvDatafeed.format_search_results`."""
    items = results.to_dict("records") if hasattr(results, "to_dict") else list(results or ())
    if not items:
        return "No results found."
    shown = items[: max(max_results, 0)]
    lines = [f"Found {len(items)} results (showing first {len(shown)}):\n"]
    for number, item in enumerate(shown, start=1):
        told = {key: text_of(item.get(key)) or _MISSING for key in _TOLD}
        name = full_name({"prefix": item.get("prefix"), **told})
        lines.append(f"{number:2d}. {name:30s} | {told['description']:40s} | Type: {told['type']}")
    # The root of a future is not tradable, but its contracts are. A frame has no lists of
    # contracts.
    roots = {full_name({**item, "symbol": item.get("root")}) for item in items}
    usable = (full_name(item) for item in items if not item.get("contracts"))
    example = next((name for name in usable if name not in roots), full_name(items[0]))
    lines += [
        "",
        'Usage: tv.get_hist("EXCHANGE:SYMBOL", interval=Interval.in_daily, n_bars=100)',
        f'Example: tv.get_hist("{example or "NASDAQ:AAPL"}", n_bars=100)',
    ]
    return "\n".join(lines)
