"""The state of one chart session: its symbols and its series."""

from dataclasses import dataclass, field
from typing import Any

from tvDatafeed.testing.market.listings import Listing
from tvDatafeed.testing.market.market import MarketBar

# The bar count of a request that has only a range; the chart page requests this number.
BARS_OF_A_PAGE = 300


@dataclass
class ChartSymbol:
    """A resolved symbol; `listing` is None if the market does not have it."""

    name: str
    symbol: str
    listing: Listing | None
    options: tuple[tuple[str, Any], ...] = ()
    # The data that are requested instead of the market's bars, such as
    # "BarSetRenko@tv-prostudies-40".
    bar_set: str = ""
    is_answered: bool = False


@dataclass
class ChartSeries:
    """A series, and which of its bars were sent; `until_s` is None for a live one."""

    name: str
    turnaround: str
    symbol: ChartSymbol
    interval: str
    count: int = BARS_OF_A_PAGE
    oldest_time: int | None = None
    newest: MarketBar | None = None
    newest_index: int = -1
    # The index of the oldest bar: 0, and negative after older pages.
    first_index: int = 0
    # The marks of the bars that were sent, as texts in the order of the bars; and of future times.
    marks: list[str] = field(default_factory=list)
    future_marks: list[str] = field(default_factory=list)
    until_s: float | None = None
    # How many older pages of a recording were sent.
    pages_sent: int = 0


@dataclass
class Chart:
    """A chart session."""

    session: str
    timezone: str = "Etc/UTC"
    symbols: dict[str, ChartSymbol] = field(default_factory=dict)
    series: dict[str, ChartSeries] = field(default_factory=dict)
