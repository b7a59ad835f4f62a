"""What a program holds of a live feed: a Seis, and the consumers that receive its bars.

Both stand here, since each names the other in its public types.
"""

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal

from tvDatafeed.exceptions import (
    ConsumerError,
    DataValidationError,
    SlowConsumerError,
    ThreadingError,
)
from tvDatafeed.interval import Interval
from tvDatafeed.live.mailbox import END, Mailbox, note_dropped
from tvDatafeed.validators import check_count

if TYPE_CHECKING:
    import pandas as pd

    from tvDatafeed.live.livebar import LiveBar

__all__ = ["Consumer", "Feed", "Seis", "State"]

logger: logging.Logger = logging.getLogger("tvDatafeed.consumer")

OnError = Callable[[Any, BaseException], object]
WhichBars = Literal["closed", "all"]
OnSlow = Literal["drop_oldest", "block"]

DEFAULT_QUEUE_SIZE = 1000
# A callback that always raises is logged whole once in so many seconds.
_LOG_PAUSE_S = 60.0


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


class Consumer(threading.Thread):
    """A callback that is told of the bars of a Seis, in a thread of its own.

    Parameters
    ----------
    seis : Seis
        The series.
    callback : callable
        Called with ``(seis, data)``, strictly in order and never while it still runs.
    on_error : callable, optional
        Called with ``(consumer, exception)`` when the callback raises, in this thread, and when it
        is too slow.
    bars : {"closed", "all"}, default "closed"
        Whether it is also told of the bar that forms, at each change.
    max_queue : int, default 1000
        How many bars wait for it at the most, apart from those that come at once after an outage.
    on_slow : {"drop_oldest", "block"}, default "drop_oldest"
        What happens beyond that: the oldest bar goes, or as many again wait before it does.
    stop_on_error : bool, default False
        Whether the first exception of the callback is its last.
    post : callable, optional
        Has a function called with arguments in another thread.

    Attributes
    ----------
    delivered : int
        How many bars the callback was called with.

    Raises
    ------
    DataValidationError
        When an option cannot be right.
    """

    def __init__(
        self,
        seis: "Seis",
        callback: Callable[..., object],
        *,
        on_error: OnError | None = None,
        bars: WhichBars = "closed",
        max_queue: int = DEFAULT_QUEUE_SIZE,
        on_slow: OnSlow = "drop_oldest",
        stop_on_error: bool = False,
        post: Callable[..., object] | None = None,
    ) -> None:
        if not callable(callback):
            raise DataValidationError("callback", callback, "must be callable as f(seis, data)")
        if bars not in {"closed", "all"}:
            raise DataValidationError("bars", bars, "must be 'closed' or 'all'")
        if on_slow not in {"drop_oldest", "block"}:
            raise DataValidationError("on_slow", on_slow, "must be 'drop_oldest' or 'block'")
        size = check_count("max_queue", max_queue)
        limit = size * 2 if on_slow == "block" else size
        self._mailbox = Mailbox(limit, slow_at=size, on_drop=note_dropped)
        self.seis = seis
        self.callback: Callable[..., object] | None = callback
        self.on_error = on_error
        self.delivered: int = 0
        self._max_queue = size
        self._wants_all = bars == "all"
        self._stops_on_error = stop_on_error
        self._post = post
        self._on_end: Callable[[Consumer], object] = lambda _consumer: None
        self._quiet_until = 0.0
        self._unlogged = 0
        self._callback_name = getattr(callback, "__name__", "callback")
        interval = getattr(seis.interval, "value", seis.interval)
        name = f"{self._callback_name}_{seis.symbol}_{seis.exchange}_{interval}"
        # What keeps a program alive is the feed, so that a callback which never comes back
        # cannot keep it from ending once the feed is closed.
        super().__init__(name=name, daemon=True)

    def __repr__(self) -> str:
        if self.callback is None:
            return "Consumer(stopped)"
        return f"Consumer({self.seis!r},{self._callback_name})"

    def __str__(self) -> str:
        if self.callback is None:
            return "Consumer(stopped)"
        return f"{self.seis!r},callback={self._callback_name}"

    @property
    def dropped(self) -> int:
        """How many bars were dropped because the callback was too slow."""
        return self._mailbox.dropped

    def begin(self, on_end: "Callable[[Consumer], object]") -> None:
        """Start the thread, and say whom to tell when it has ended.

        Parameters
        ----------
        on_end : callable
            Called with this consumer, in its thread.

        Raises
        ------
        ThreadingError
            When the system gives no thread.
        """
        self._on_end = on_end
        try:
            self.start()
        except RuntimeError as error:
            raise ThreadingError(f"no thread for {self}: {error}") from error

    def offer(self, item: "LiveBar") -> None:
        """Take a bar of the feed, if it is one that is wanted; quick, and called in any thread."""
        if (item.is_closed or self._wants_all) and self._mailbox.put(item):
            self._report_slow()

    def make_room(self, count: int) -> None:
        """Expect so many bars at once: they were missed, and `max_queue` is not for them."""
        self._mailbox.make_room(count)

    def put(self, data: "pd.DataFrame | None") -> None:
        """Have the callback called with a frame; None ends the consumer when it comes to that."""
        if data is None:
            self._mailbox.end()
        else:
            self._mailbox.put(data)

    def stop(self) -> None:
        """End the consumer: the callback that runs is its last, and what waits is thrown away."""
        self._mailbox.end(discard=True)

    def del_consumer(self, timeout: float = -1) -> bool:
        """Take the consumer off its Seis; True when it is off, also when it was already.

        Parameters
        ----------
        timeout : float, default -1
            As for `TvDatafeedLive.del_consumer`, in seconds.
        """
        if self.callback is None or self.seis.tvdatafeed is None:
            self.stop()
            return True
        return self.seis.del_consumer(self, timeout)

    def run(self) -> None:
        """Call back with each bar until `stop`, or None was put."""
        try:
            while (item := self._mailbox.get()) is not END:
                if not self._call(item):
                    return
        except BaseException as error:  # noqa: BLE001 - sys.exit() in a callback ends this thread
            logger.error(  # noqa: TRY400 - the traceback is that of an exit
                "%s has ended: its callback raised %s", self.name, type(error).__name__
            )
            self._tell(error)
        finally:
            self._mailbox.end(discard=True)
            self.callback = None
            self._on_end(self)

    def _call(self, item: Any) -> bool:
        """Call back, and say whether to go on."""
        callback = self.callback
        if callback is None:
            return False
        try:
            frame = item.frame() if hasattr(item, "is_closed") else item
            if self._mailbox.is_discarded:
                return False  # ended while the frame was built
            try:
                callback(self.seis, frame)
            finally:
                self.delivered += 1
        except Exception as error:  # noqa: BLE001 - whatever a program does here
            return self._has_failed(error)
        return True

    def _has_failed(self, error: Exception) -> bool:
        self._log(error)
        if not self._stops_on_error:
            self._tell(error)
            return True
        end = ConsumerError(f"the consumer has ended, for its callback raised {error!r}", self.seis)
        end.__cause__ = error
        self._tell(end)
        return False

    def _log(self, error: Exception) -> None:
        now = time.monotonic()
        if now < self._quiet_until:
            self._unlogged += 1
            return
        more = f" ({self._unlogged} more since then were not logged)" if self._unlogged else ""
        self._quiet_until, self._unlogged = now + _LOG_PAUSE_S, 0
        logger.error("the callback of %s raised an exception%s", self.name, more, exc_info=error)

    def _tell(self, error: BaseException) -> None:
        if self.on_error is None:
            return
        try:
            self.on_error(self, error)
        except Exception:
            logger.exception("on_error of %s raised an exception itself", self.name)

    def _report_slow(self) -> None:
        # By another thread: this one may be the connection's, and the callback blocks our own.
        if self._post is not None:
            what = (
                f"the callback is slower than the bars come: {self._max_queue} wait, "
                "and of those beyond the oldest go; make it quicker, or raise max_queue"
            )
            self._post(self._tell_slow, SlowConsumerError(what, self.seis))

    def _tell_slow(self, error: SlowConsumerError) -> None:
        logger.warning("%s: %s", self.name, error)
        self._tell(error)
