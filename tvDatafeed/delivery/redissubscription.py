"""One series that a `RedisFeed` follows: what waits for its callback."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from tvDatafeed.interval import Interval


@dataclass(frozen=True)
class RedisSeis:
    """A set of symbol, exchange and interval, as the `Seis` of a live feed has them."""

    symbol: str
    exchange: str
    interval: Interval

    @property
    def full_symbol(self) -> str:
        """The symbol as `TvDatafeed.get_hist` takes it: "NASDAQ:AAPL"."""
        return f"{self.exchange}:{self.symbol}"


OnGap: TypeAlias = Callable[[RedisSeis, dt.datetime, dt.datetime], object]
