"""Seis: a symbol, its exchange and an interval, whose bars a live feed follows."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Any

from tvDatafeed.interval import Interval

if TYPE_CHECKING:
    import pandas as pd

    from tvDatafeed.consumer import Consumer

__all__ = ["Feed", "Seis", "State"]


class State(Enum):
    """What the series of a Seis is doing."""

    STARTING = "STARTING"
    LIVE = "LIVE"
    RECONNECTING = "RECONNECTING"
    FAILED = "FAILED"
    STOPPED = "STOPPED"


class Feed(ABC):
    """What a Seis is listed in: the live feed, as far as its shortcuts need it."""

    @abstractmethod
    def new_consumer(
        self,
        seis: "Seis",
        callback: Callable[..., object],
        timeout: float = -1,
        *arguments: Any,
        **options: Any,
    ) -> "Consumer | bool":
        """Have a callback called with each bar of a Seis."""

    @abstractmethod
    def del_consumer(self, consumer: "Consumer", timeout: float = -1) -> bool:
        """End a consumer."""

    @abstractmethod
    def del_seis(self, seis: "Seis", timeout: float = -1) -> bool:
        """Follow a Seis no longer."""

    @abstractmethod
    def hist_of(self, seis: "Seis", n_bars: int, timeout: float) -> "pd.DataFrame | bool":
        """Get the last bars of a Seis."""


class Seis:
    """A set of symbol, exchange and interval; equal to any other with the same three.

    Parameters
    ----------
    symbol, exchange : str
        As TradingView has them, such as "AAPL" and "NASDAQ".
    interval : Interval
        The length of a bar.

    Examples
    --------
    >>> Seis("AAPL", "NASDAQ", Interval.in_daily)
    Seis("AAPL","NASDAQ",Interval.in_daily)
    """

    def __init__(self, symbol: str, exchange: str, interval: Interval) -> None:
        self._symbol = symbol
        self._exchange = exchange
        self._interval = interval
        self._feed: Feed | None = None
        self._lock = threading.Lock()
        # Replaced and never changed, so that it is read without the lock.
        self._consumers: tuple[Consumer, ...] = ()
        self._newest: Any = None

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return f'Seis("{self._symbol}","{self._exchange}",{self._interval})'

    def __str__(self) -> str:
        interval = getattr(self._interval, "name", self._interval)
        return f"symbol='{self._symbol}',exchange='{self._exchange}',interval='{interval}'"

    @property
    def _key(self) -> tuple[str, str, Interval]:
        return self._symbol, self._exchange, self._interval

    @property
    def symbol(self) -> str:
        """The symbol."""
        return self._symbol

    @property
    def exchange(self) -> str:
        """The exchange."""
        return self._exchange

    @property
    def interval(self) -> Interval:
        """The length of a bar."""
        return self._interval

    @property
    def full_symbol(self) -> str:
        """The symbol as `TvDatafeed.get_hist` takes it: "NASDAQ:AAPL"."""
        return f"{self._exchange}:{self._symbol}"

    @property
    def tvdatafeed(self) -> Feed | None:
        """The live feed that it is listed in; None when it is in none."""
        return self._feed

    @tvdatafeed.setter
    def tvdatafeed(self, feed: Feed) -> None:
        if self._feed is not None:
            raise AttributeError("Cannot overwrite attribute, need to delete it first")
        if not isinstance(feed, Feed):
            raise ValueError("Argument must be instance of TvDatafeed")  # noqa: TRY004 - as ever
        self._feed = feed

    @tvdatafeed.deleter
    def tvdatafeed(self) -> None:
        self._feed = None

    def new_consumer(
        self, callback: Callable[..., object], timeout: float = -1, **options: Any
    ) -> "Consumer | bool":
        """Have a callback called with each bar; see `TvDatafeedLive.new_consumer`."""
        return self._listing().new_consumer(self, callback, timeout, **options)

    def del_consumer(self, consumer: "Consumer", timeout: float = -1) -> bool:
        """End a consumer; see `TvDatafeedLive.del_consumer`."""
        return self._listing().del_consumer(consumer, timeout)

    def get_hist(self, n_bars: int = 10, timeout: float = -1) -> "pd.DataFrame | bool":
        """Get the last bars; see `TvDatafeedLive.get_hist`.

        Parameters
        ----------
        n_bars : int, default 10
            How many.
        timeout : float, default -1
            As there, in seconds.
        """
        return self._listing().hist_of(self, n_bars, timeout)

    def del_seis(self, timeout: float = -1) -> bool:
        """Follow it no longer; see `TvDatafeedLive.del_seis`."""
        return self._listing().del_seis(self, timeout)

    def _listing(self) -> Feed:
        feed = self._feed
        if feed is None:
            raise NameError("TvDatafeed not provided")
        return feed

    def add_consumer(self, consumer: "Consumer") -> None:
        """Add a consumer to those that are told."""
        with self._lock:
            self._consumers = (*self._consumers, consumer)

    def pop_consumer(self, consumer: "Consumer") -> None:
        """Take a consumer from those that are told.

        Parameters
        ----------
        consumer : Consumer
            The consumer.

        Raises
        ------
        NameError
            When it is none of them.
        """
        with self._lock:
            if consumer not in self._consumers:
                raise NameError("Consumer does not exist in the list")
            self._consumers = tuple(c for c in self._consumers if c is not consumer)

    def get_consumers(self) -> "list[Consumer]":
        """Give those that are told, as a list of one's own."""
        return list(self._consumers)

    def is_new_data(self, data: "pd.DataFrame") -> bool:
        """Whether the first bar of a frame is newer than that of any frame that was shown here.

        Parameters
        ----------
        data : pandas.DataFrame
            Bars, as from `TvDatafeed.get_hist`.
        """
        first = data.index[0]
        with self._lock:
            if self._newest is not None and first <= self._newest:
                return False
            self._newest = first
            return True
