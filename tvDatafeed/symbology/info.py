"""The description of a symbol."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class SymbolInfo:
    """A symbol as TradingView describes it (``symbol_resolved``).

    Missing texts are empty, missing numbers are ``None``.

    Attributes
    ----------
    symbol : str
        The requested full symbol, ``EXCHANGE:SYMBOL``.
    full_name : str
        The source of the data, which may be another exchange: ``BATS:AAPL`` for ``NASDAQ:AAPL``.
    name, description, exchange, type, country : str
        Short name; name for people; exchange that lists it; kind, such as "stock", "index",
        "futures", "spot"; ISO code of the country.
    typespecs : tuple of str
        More details of the kind, such as ``("continuous", "synthetic")``.
    currency : str
        Currency code of the prices.
    timezone : str
        IANA name of the exchange's zone.
    session : str
        Trading hours in that zone, such as "0930-1600", "1800-1700" or "24x7".
    subsession : str
        "regular" or "extended": the hours of the bars.
    holidays : tuple of str
        Days without trading, ISO 8601 dates.
    tick_size : float or None
        The smallest step of the price, in `currency`.
    point_value : float or None
        The value of a move of 1 for one contract, in `currency`.
    has_intraday, has_extended_hours, has_volume : bool
        Which bars exist.
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
    """Read TradingView's description of a symbol."""

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
