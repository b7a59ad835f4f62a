"""Consumers: a thread each, which calls back with every bar of its Seis, one after the other."""

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from tvDatafeed.exceptions import (
    ConsumerError,
    DataValidationError,
    SlowConsumerError,
    ThreadingError,
)
from tvDatafeed.mailbox import END, Mailbox, note_dropped
from tvDatafeed.validators import check_count

if TYPE_CHECKING:
    import pandas as pd

    from tvDatafeed.liveframes import LiveBar
    from tvDatafeed.seis import Seis

__all__ = ["Consumer"]

logger: logging.Logger = logging.getLogger(__name__)

OnError = Callable[[Any, BaseException], object]
WhichBars = Literal["closed", "all"]
OnSlow = Literal["drop_oldest", "block"]

DEFAULT_QUEUE_SIZE = 1000
# A callback that always raises is logged whole once in so many seconds.
_LOG_PAUSE_S = 60.0


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
