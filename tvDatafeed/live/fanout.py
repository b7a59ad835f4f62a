"""The fan-out of one series to its subscribers: consumers and iterators."""

import math
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from tvDatafeed.live.livebar import LiveBar, LiveBarFormat
from tvDatafeed.live.seis import Seis
from tvDatafeed.protocol.closing import LiveUpdate


class Subscriber(Protocol):
    """A receiver of bars: a consumer, or the mailbox of an iterator."""

    def deliver(self, item: LiveBar, /) -> bool:
        """Accept a bar, quickly and in any thread; return whether the subscriber became slow."""

    def notify_slow(self, seis: Seis, /) -> object:
        """Report that the subscriber became slow; called without locks."""

    def waiting(self, seis: Seis, /) -> int:
        """Return how many bars of a Seis wait to be handled."""

    def finish(self, seis: Seis, /) -> object:
        """Accept the end of a Seis: no bar of it follows."""


@dataclass
class Counts:
    """What was delivered of one series so far.

    Attributes
    ----------
    last : LiveBar or None
        The last bar that was delivered as closed.
    delivered : int
        How many closed bars there were.
    corrections : int
        How many closed bars changed afterwards.
    lag_s : float or None
        How long after its close the last closed bar came, by the server's clock, in seconds.
    """

    last: LiveBar | None = None
    delivered: int = 0
    corrections: int = 0
    lag_s: float | None = None


class Fanout:
    """Delivers the bars of one series to its subscribers.

    It has no lock: the lock of its `LiveSeries` guards it.

    Parameters
    ----------
    seis
        The series. It owns the list of its consumers.
    bar_format
        The format of its rows.
    """

    def __init__(self, seis: Seis, bar_format: LiveBarFormat) -> None:
        self._seis = seis
        self._format = bar_format
        # Weak references, so that an iterator without other references is deleted; that may happen
        # in any thread and under any lock.
        self._iterators: tuple[weakref.ref[Subscriber], ...] = ()
        self.counts: Counts = Counts()

    def subscribers(self) -> tuple[Subscriber, ...]:
        """Return the present subscribers."""
        iterators = (reference() for reference in self._iterators)
        return (*self._seis.get_consumers(), *(i for i in iterators if i is not None))

    def deliver(self, update: LiveUpdate, *, is_refill: bool) -> list[Subscriber]:
        """Deliver an update to all subscribers; return those that became slow.

        Parameters
        ----------
        update
            The update of the series.
        is_refill
            Whether its bars were missed during a gap and are delivered together.
        """
        subscribers = self.subscribers()
        counts = self.counts
        volume = counts.last.known_volume if counts.last else math.nan
        slow: list[Subscriber] = []
        for bar in update.closed:
            counts.last = LiveBar(
                bar, is_closed=True, last_volume=volume, format=self._format, is_refill=is_refill
            )
            volume = counts.last.known_volume
            slow += _deliver(counts.last, subscribers)
        if update.forming is not None and subscribers:
            item = LiveBar(update.forming, is_closed=False, last_volume=volume, format=self._format)
            slow += _deliver(item, subscribers)
        counts.delivered += len(update.closed)
        counts.corrections += update.corrections
        if update.closed:
            counts.lag_s = update.lag_s
        return slow

    def queued(self) -> int:
        """Return how many bars wait to be handled."""
        return sum(subscriber.waiting(self._seis) for subscriber in self.subscribers())

    def add_iterator(self, subscriber: Subscriber) -> None:
        """Add a subscriber other than a consumer, for as long as the program holds it."""
        present = (reference for reference in self._iterators if reference() is not None)
        self._iterators = (*present, weakref.ref(subscriber))

    def replay_last(self, subscriber: Subscriber) -> None:
        """Deliver the bar that closed last, if there is one."""
        if self.counts.last is not None:
            subscriber.deliver(self.counts.last)


def _deliver(item: LiveBar, subscribers: Iterable[Subscriber]) -> list[Subscriber]:
    return [subscriber for subscriber in subscribers if subscriber.deliver(item)]
