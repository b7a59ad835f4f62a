"""The objects that a program gets from a live feed: a Seis, and the consumers of its bars.

Both are in one module, since each uses the other in its public types.
"""

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeAlias

from tvDatafeed.common.copies import refuse_copy
from tvDatafeed.common.facts import facts
from tvDatafeed.common.functions import check_not_async
from tvDatafeed.exceptions import (
    ConsumerError,
    DataValidationError,
    SlowConsumerError,
    ThreadingError,
)
from tvDatafeed.interval import CustomInterval, Interval, IntervalLike, as_interval
from tvDatafeed.live.mailbox import Backlog, LiveItem, Mailbox
from tvDatafeed.validators import check_count

if TYPE_CHECKING:
    import pandas as pd


__all__ = ["Consumer", "Feed", "Seis", "State"]

logger: logging.Logger = logging.getLogger("tvDatafeed.consumer")

Callback: TypeAlias = Callable[["Seis", "pd.DataFrame"], object]
OnError = Callable[[Any, BaseException], object]
WhichBars = Literal["closed", "all"]
OnSlow = Literal["drop_oldest", "block"]

DEFAULT_QUEUE_SIZE = 1000
# A callback that always raises is logged once in this time; the errors in between are counted.
_LOG_PAUSE_S = 60.0


class State(Enum):
    """The state of a live series."""

    STARTING = "STARTING"
    LIVE = "LIVE"
    RECONNECTING = "RECONNECTING"
    FAILED = "FAILED"
    STOPPED = "STOPPED"


class Feed(ABC):
    """The live feed, as far as the shortcuts of a Seis need it."""

    @abstractmethod
    def new_consumer(
        self,
        seis: "Seis",
        callback: Callback,
        timeout: float = -1,
        *arguments: Any,
        **options: Any,
    ) -> "Consumer":
        """Call a callback with each bar of a Seis."""

    @abstractmethod
    def del_consumer(self, consumer: "Consumer", timeout: float = -1) -> bool:
        """End a consumer."""

    @abstractmethod
    def del_seis(self, seis: "Seis", timeout: float = -1) -> bool:
        """Stop following a Seis."""

    @abstractmethod
    def hist_of(self, seis: "Seis", n_bars: int, timeout: float) -> "pd.DataFrame":
        """Get the last bars of a Seis."""


class Seis:
    """A set of symbol, exchange and interval; equal to any other with the same three.

    Parameters
    ----------
    symbol, exchange : str
        As TradingView writes them, such as "AAPL" and "NASDAQ".
    interval : Interval or str
        The length of a bar; text such as "1h" stands for the member.

    Raises
    ------
    InvalidIntervalError
        The text is not an interval.

    Examples
    --------
    >>> Seis("AAPL", "NASDAQ", "1d")
    Seis("AAPL","NASDAQ",Interval.in_daily)
    """

    def __init__(self, symbol: str, exchange: str, interval: IntervalLike) -> None:
        self._symbol = symbol
        self._exchange = exchange
        self._interval = as_interval(interval) if isinstance(interval, str) else interval
        self._feed: Feed | None = None
        # The consumers whose threads run, and whether they receive bars. No other list of consumers
        # exists. Each change and each copy is atomic, so that it needs no lock.
        self._consumers: dict[Consumer, bool] = {}
        self._newest: Any = None
        self._newest_lock = threading.Lock()

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied, like the feed that it belongs to."""
        refuse_copy(self, "TvDatafeedLive")

    def __repr__(self) -> str:
        interval = self._interval
        shown = f'"{interval}"' if isinstance(interval, CustomInterval) else interval
        return f'Seis("{self._symbol}","{self._exchange}",{shown})'

    def __str__(self) -> str:
        interval = getattr(self._interval, "name", self._interval)
        return f"symbol='{self._symbol}',exchange='{self._exchange}',interval='{interval}'"

    @property
    def _key(self) -> tuple[str, str, Interval | CustomInterval]:
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
    def interval(self) -> Interval | CustomInterval:
        """The length of a bar; a `CustomInterval` if `Interval` has no such member."""
        return self._interval

    @property
    def full_symbol(self) -> str:
        """The symbol as `TvDatafeed.get_hist` accepts it: "NASDAQ:AAPL"."""
        return f"{self._exchange}:{self._symbol}"

    @property
    def tvdatafeed(self) -> Feed | None:
        """The live feed that it is registered in; None without one."""
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

    def new_consumer(self, callback: Callback, timeout: float = -1, **options: Any) -> "Consumer":
        """Call a callback with each bar; see `TvDatafeedLive.new_consumer`."""
        return self._registered_feed().new_consumer(self, callback, timeout, **options)

    def del_consumer(self, consumer: "Consumer", timeout: float = -1) -> bool:
        """End a consumer; see `TvDatafeedLive.del_consumer`."""
        return self._registered_feed().del_consumer(consumer, timeout)

    def get_hist(self, n_bars: int = 10, timeout: float = -1) -> "pd.DataFrame":
        """Get the last bars; see `TvDatafeedLive.get_hist`.

        Parameters
        ----------
        n_bars : int, default 10
            How many.
        timeout : float, default -1
            As there, in seconds.
        """
        return self._registered_feed().hist_of(self, n_bars, timeout)

    def del_seis(self, timeout: float = -1) -> bool:
        """Stop following this Seis; see `TvDatafeedLive.del_seis`."""
        return self._registered_feed().del_seis(self, timeout)

    def _registered_feed(self) -> Feed:
        feed = self._feed
        if feed is None:
            raise NameError("TvDatafeed not provided")
        return feed

    def add_consumer(self, consumer: "Consumer") -> None:
        """Add a consumer; it receives the bars of the feed from now on."""
        self._consumers[consumer] = True

    def pop_consumer(self, consumer: "Consumer") -> None:
        """Send no more bars to a consumer; its thread does not end.

        Parameters
        ----------
        consumer : Consumer
            The consumer.

        Raises
        ------
        NameError
            The consumer does not receive bars of this Seis.
        """
        if not self._consumers.get(consumer):
            raise NameError("Consumer does not exist in the list")
        self._consumers[consumer] = False

    def get_consumers(self) -> "list[Consumer]":
        """Return the consumers that receive bars, in a new list."""
        return [c for c, receives in tuple(self._consumers.items()) if receives]

    def running_consumers(self) -> "list[Consumer]":
        """Return the consumers whose threads have not ended, in a new list."""
        # Not by `is_alive`, which returns False after a `join` that Ctrl-C has interrupted.
        return [c for c in tuple(self._consumers) if c.ident is not None and c.callback]

    def remove_ended(self, consumer: "Consumer") -> None:
        """Remove a consumer whose thread has ended."""
        self._consumers.pop(consumer, None)

    def is_new_data(self, data: "pd.DataFrame") -> bool:
        """Return whether the first bar of a frame is newer than those of all earlier frames.

        Parameters
        ----------
        data : pandas.DataFrame
            Bars, as from `TvDatafeed.get_hist`.
        """
        first = data.index[0]
        with self._newest_lock:
            if self._newest is not None and first <= self._newest:
                return False
            self._newest = first
            return True


class Consumer(threading.Thread):
    """Calls a callback with each bar of a Seis, in a thread of its own.

    Parameters
    ----------
    seis : Seis
        The series.
    callback : callable
        Called with ``(seis, data)``, strictly in order and never while it still runs.
    on_error : callable, optional
        Called with ``(consumer, exception)`` when the callback raises (in this thread) and when it
        is too slow.
    bars : {"closed", "all"}, default "closed"
        Whether the callback is also called with the forming bar, at each change.
    max_queue : int, default 1000
        How many bars wait for the callback at most, not counting bars missed during an outage.
    on_slow : {"drop_oldest", "block"}, default "drop_oldest"
        What happens to more bars: "drop_oldest" drops the oldest bar; "block" does so only after
        twice as many wait.
    stop_on_error : bool, default False
        Whether the consumer ends after the first exception of the callback.
    queue_call : callable, optional
        Calls a function with arguments in another thread.

    Attributes
    ----------
    delivered : int
        How many bars the callback was called with.

    Raises
    ------
    DataValidationError
        When an option is invalid.
    """

    def __init__(
        self,
        seis: "Seis",
        callback: Callback,
        *,
        on_error: OnError | None = None,
        bars: WhichBars = "closed",
        max_queue: int = DEFAULT_QUEUE_SIZE,
        on_slow: OnSlow = "drop_oldest",
        stop_on_error: bool = False,
        queue_call: Callable[..., object] | None = None,
    ) -> None:
        if not callable(callback):
            raise DataValidationError("callback", callback, "must be callable as f(seis, data)")
        check_not_async("callback", callback)
        if bars not in {"closed", "all"}:
            raise DataValidationError("bars", bars, "must be 'closed' or 'all'")
        if on_slow not in {"drop_oldest", "block"}:
            raise DataValidationError("on_slow", on_slow, "must be 'drop_oldest' or 'block'")
        size = check_count("max_queue", max_queue)
        limit = size * 2 if on_slow == "block" else size
        self._mailbox = Mailbox(limit, slow_at=size)
        self.seis = seis
        self.callback: Callback | None = callback
        self.on_error = on_error
        self.delivered: int = 0
        self._max_queue = size
        self._wants_all = bars == "all"
        self._stops_on_error = stop_on_error
        self._queue_call = queue_call
        self._on_end: Callable[[Consumer], object] = lambda _consumer: None
        self._quiet_until = 0.0
        self._unlogged = 0
        self._callback_name = getattr(callback, "__name__", "callback")
        interval = getattr(seis.interval, "value", seis.interval)
        name = f"{self._callback_name}_{seis.symbol}_{seis.exchange}_{interval}"
        # A daemon thread: the feed keeps the process alive, so that after `close` a callback that
        # never returns does not.
        super().__init__(name=name, daemon=True)

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied: a thread cannot be shared by two objects."""
        refuse_copy(self, "TvDatafeedLive")

    def __repr__(self) -> str:
        if self.callback is None:
            return "Consumer(stopped)"
        return f"Consumer({self.seis!r},{self._callback_name})"

    def __str__(self) -> str:
        if self.callback is None:
            return "Consumer(stopped)"
        return f"{self.seis!r},callback={self._callback_name}"

    @property
    def on_error(self) -> OnError | None:
        """The function that is called with ``(consumer, exception)``; may be assigned."""
        return self._on_error

    @on_error.setter
    def on_error(self, function: OnError | None) -> None:
        check_not_async("on_error", function)
        self._on_error = function

    @property
    def dropped(self) -> int:
        """How many bars were dropped because the callback was too slow."""
        return self._mailbox.dropped

    @property
    def queued(self) -> int:
        """How many bars wait for the callback."""
        return len(self._mailbox)

    def waiting(self, _seis: Seis) -> int:
        """Return how many bars wait for the callback."""
        return self.queued

    def start_thread(self, on_end: "Callable[[Consumer], object]") -> None:
        """Start the thread.

        Parameters
        ----------
        on_end : callable
            Called with this consumer when it has ended, in its thread.

        Raises
        ------
        ThreadingError
            The system cannot start a thread.
        """
        self._on_end = on_end
        try:
            self.start()
        except RuntimeError as error:
            raise ThreadingError(f"no thread for {self}: {error}") from error

    def deliver(self, item: LiveItem) -> bool:
        """Accept a bar, if it is wanted; quick, and may be called in any thread.

        Parameters
        ----------
        item : LiveItem
            The bar.

        Returns
        -------
        bool
            Whether the callback became too slow.
        """
        return (item.is_closed or self._wants_all) and self._mailbox.deliver(item)

    def begin_with(self, fetch: "Callable[[], Iterable[LiveItem]]") -> None:
        """Call the callback with older items first, fetched in its thread.

        Parameters
        ----------
        fetch : callable
            Returns the items, oldest first.
        """
        self._mailbox.put_backlog(Backlog(fetch))

    def finish(self, _seis: Seis | None = None) -> None:
        """End the consumer after the bars that wait for it."""
        self._mailbox.finish()

    def put(self, data: "pd.DataFrame | None") -> None:
        """Call the callback with a frame; None ends the consumer after the bars before it."""
        if data is None:
            self.finish()
        else:
            self._mailbox.deliver(_ProgramFrame(data))

    def stop(self) -> None:
        """End the consumer: a running call is the last one, and waiting bars are dropped."""
        self._mailbox.abort()

    def del_consumer(self, timeout: float = -1) -> bool:
        """Remove the consumer from its Seis; True also if it was removed before.

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
        """Call the callback with each bar, until `stop` or `finish`."""
        try:
            while (item := self._mailbox.take()) is not None:
                items = item.fetch() if isinstance(item, Backlog) else (item,)
                if not all(map(self._call, items)):
                    return
        except BaseException as error:  # noqa: BLE001 - sys.exit() in a callback ends this thread
            self._log_end(error)
            self.notify(error)
        finally:
            self._mailbox.abort()
            self.callback = None
            self._on_end(self)

    def _call(self, item: LiveItem) -> bool:
        """Call the callback, and return whether to continue."""
        callback = self.callback
        if callback is None:
            return False
        try:
            frame = item.frame()
            if self._mailbox.is_aborted:
                return False  # ended while the frame was built
            try:
                callback(self.seis, frame)
            finally:
                self.delivered += 1
        except Exception as error:  # noqa: BLE001 - whatever a program does here
            return self._handle(error)
        return True

    def _handle(self, error: Exception) -> bool:
        if not self._stops_on_error:
            self._log(error)
            self.notify(error)
            return True
        self._log_end(error)
        end = ConsumerError(
            f"the consumer has ended because its callback raised {error!r}", self.seis
        )
        end.__cause__ = error
        self.notify(end)
        return False

    def _log(self, error: Exception) -> None:
        now = time.monotonic()
        if now < self._quiet_until:
            self._unlogged += 1
            return
        more = f" ({self._unlogged} more since then were not logged)" if self._unlogged else ""
        self._quiet_until, self._unlogged = now + _LOG_PAUSE_S, 0
        logger.error(
            "the callback of %s raised an exception%s",
            self.name,
            more,
            exc_info=error,
            extra=facts(self, consumer=self.name),
        )

    def _log_end(self, error: BaseException) -> None:
        name = type(error).__name__
        logger.error(
            "%s has ended: its callback raised %s",
            self.name,
            name,
            # The traceback of an exit says nothing.
            exc_info=error if isinstance(error, Exception) else None,
            extra=facts(self, consumer=self.name, error_type=name),
        )

    def notify(self, error: BaseException) -> None:
        """Call ``on_error`` with an error."""
        if self.on_error is None:
            return
        try:
            self.on_error(self, error)
        except Exception:
            logger.exception(
                "on_error of %s raised an exception itself",
                self.name,
                extra=facts(self, consumer=self.name, hook="on_error"),
            )

    def notify_slow(self, _seis: Seis) -> None:
        """Report that the callback is slower than the bars come."""
        # In another thread, since the callback blocks the thread of this consumer.
        if self._queue_call is not None:
            what = (
                f"the callback is slower than the bars come: {self._max_queue} wait, "
                "and of those beyond the oldest go; make it quicker, or raise max_queue"
            )
            self._queue_call(self._notify_slow, SlowConsumerError(what, self.seis))

    def _notify_slow(self, error: SlowConsumerError) -> None:
        logger.warning(
            "%s: %s", self.name, error, extra=facts(self, error=error, consumer=self.name)
        )
        self.notify(error)


@dataclass(frozen=True)
class _ProgramFrame:
    """A frame that a program has put into the mailbox of a consumer."""

    data: "pd.DataFrame"
    is_closed: bool = True
    source: None = None
    refill_limit: int = 0

    def frame(self) -> "pd.DataFrame":
        """Return the frame."""
        return self.data

    def record_dropped(self) -> None:
        """Do nothing: only bars of the feed are counted."""
