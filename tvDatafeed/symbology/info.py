"""Results: what comes back where one DataFrame is not enough."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass

# What a line about a symbol tells, and what stands there when it is missing.
_TOLD = ("exchange", "symbol", "description", "type")
_MISSING = "N/A"


@dataclass(frozen=True, kw_only=True)
class SymbolInfo:
    """A symbol as TradingView describes it (``symbol_resolved``).

    Texts that TradingView leaves out are empty, numbers are None.

    Attributes
    ----------
    symbol : str
        The full symbol that was asked for, ``EXCHANGE:SYMBOL``.
    full_name : str
        The source of the data, which may be another exchange: ``BATS:AAPL`` for ``NASDAQ:AAPL``.
    name, description, exchange, type, country : str
        Short name; name for people; exchange that lists it; kind, such as "stock", "index",
        "futures", "spot"; ISO code of the country.
    typespecs : tuple of str
        The kind more closely, such as ``("continuous", "synthetic")``.
    currency : str
        Currency code of the prices.
    timezone : str
        IANA name of the exchange's zone.
    session : str
        Trading hours in that zone, such as "0930-1600", "1800-1700" or "24x7".
    subsession : str
        "regular" or "extended": which hours the bars are of.
    holidays : tuple of str
        Days without trading, ISO 8601 dates.
    tick_size : float or None
        The smallest step of the price, in `currency`.
    point_value : float or None
        What a move of 1 is worth for one contract, in `currency`.
    has_intraday, has_extended_hours, has_volume : bool
        Which bars there are.
    raw : mapping
        The whole description, as TradingView sent it.
    """

    symbol: str
    full_name: str
    name: str
    description: str
    exchange: str
    type: str
    country: str
    typespecs: tuple[str, ...]
    currency: str
    timezone: str
    session: str
    subsession: str
    holidays: tuple[str, ...] = field(repr=False)
    tick_size: float | None
    point_value: float | None
    has_intraday: bool
    has_extended_hours: bool
    has_volume: bool
    raw: Mapping[str, Any] = field(repr=False, compare=False)


def symbol_info(symbol: str, info: Mapping[str, Any]) -> SymbolInfo:
    """Read a description."""

    def text(*names: str) -> str:
        return next((str(info[name]) for name in names if info.get(name)), "")

    return SymbolInfo(
        symbol=symbol,
        full_name=text("full_name", "pro_name"),
        name=text("name", "short_name"),
        description=text("description", "short_description"),
        exchange=text("listed_exchange", "exchange"),
        type=text("type"),
        country=text("country", "country_code"),
        typespecs=tuple(map(str, info.get("typespecs") or ())),
        currency=text("currency_code", "currency_id"),
        timezone=text("timezone"),
        session=text("session"),
        subsession=text("subsession_id"),
        holidays=tuple(_iso_days(text("session_holidays"))),
        tick_size=_tick_size(info),
        point_value=_number(info.get("pointvalue")),
        has_intraday=bool(info.get("has_intraday")),
        has_extended_hours=bool(info.get("has_extended_hours")),
        has_volume="v" in str(info.get("visible_plots_set") or "ohlcv"),
        raw=dict(info),
    )


def _iso_days(text: str) -> list[str]:
    days = (day.strip() for day in text.split(","))
    return [f"{day[:4]}-{day[4:6]}-{day[6:]}" for day in days if len(day) == 8 and day.isdigit()]  # noqa: PLR2004 - YYYYMMDD


def _tick_size(info: Mapping[str, Any]) -> float | None:
    steps, scale = _number(info.get("minmov")), _number(info.get("pricescale"))
    return steps / scale if steps and scale else None


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else None


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
