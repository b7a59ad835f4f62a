"""StoreConsumer: the callback of a live feed that stores each closed bar."""

import threading
from typing import TYPE_CHECKING, Any, Protocol

from tvDatafeed.query.history import SeriesOptions
from tvDatafeed.store.requests import key_query
from tvDatafeed.store.spans import just_after

if TYPE_CHECKING:
    import pandas as pd

    from tvDatafeed.interval import CustomInterval, Interval
    from tvDatafeed.store.barstore import BarStore


class Followed(Protocol):
    """What a live feed follows: a `Seis`."""

    @property
    def symbol(self) -> str:
        """The symbol."""

    @property
    def exchange(self) -> str:
        """Its exchange."""

    @property
    def interval(self) -> "Interval | CustomInterval":
        """The length of a bar."""


class StoreConsumer:
    """Writes each closed bar of a live feed into a store; for `new_consumer` and `subscribe`.

    Parameters
    ----------
    store : BarStore
        Where the bars go.

    Examples
    --------
    ::

        with TvDatafeedLive() as tvl, BarStore() as store:
            seis = tvl.new_seis("BTCUSDT", "BINANCE", Interval.in_1_minute)
            tvl.new_consumer(seis, StoreConsumer(store))
    """

    def __init__(self, store: "BarStore") -> None:
        self.store = store
        self.__name__ = "StoreConsumer"
        # The last bar of each Seis; each is written by the thread of one consumer.
        self._last_s: dict[tuple[int, Any], float] = {}

    def __call__(self, seis: Followed, data: "pd.DataFrame") -> None:
        """Store the bars of a frame that are closed.

        Raises
        ------
        StoreError
            The store cannot be written; the feed reports it to ``on_error``.
        """
        from tvDatafeed.frames.rows import frame_to_bars  # noqa: PLC0415 - slow

        if not data.attrs.get("last_bar_closed", True):
            data = data.iloc[:-1].copy()
            data.attrs["last_bar_closed"] = True
        bars = frame_to_bars(data, seis.interval.seconds)
        if not bars:
            return
        options = SeriesOptions(
            extended_session=False, adjustment="splits", currency=None, backadjusted=False
        )
        request = key_query(seis.interval, options).request(f"{seis.exchange}:{seis.symbol}")
        consumer = threading.get_ident(), seis
        before_s, self._last_s[consumer] = self._last_s.get(consumer), bars[-1].time
        # Over a longer pause than one bar there may be bars that were not delivered.
        is_next = before_s is not None and bars[0].time - before_s <= seis.interval.seconds
        self.store.write_packed(
            request,
            bars,
            "delayed" if data.attrs.get("delay_seconds") else "realtime",
            since_s=just_after(before_s) if before_s is not None and is_next else None,
        )
