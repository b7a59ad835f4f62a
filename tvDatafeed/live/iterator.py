"""The iterator of `TvDatafeedLive.stream`."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tvDatafeed.exceptions import SlowConsumerError
from tvDatafeed.live.livebar import LiveBar
from tvDatafeed.live.mailbox import Mailbox
from tvDatafeed.live.seis import Seis

if TYPE_CHECKING:
    from collections.abc import Generator

    import pandas as pd


class BarIterator:
    """A subscriber of some Seises, whose bars a program iterates over.

    The series hold it by a weak reference: it ends with the iteration.

    Parameters
    ----------
    max_queue
        How many bars of each Seis wait at most.
    seises
        The Seises.
    wants_all
        Whether forming bars are delivered too.
    report_slow
        Called with a `SlowConsumerError` when the iteration is slower than the bars come.
    """

    def __init__(
        self,
        max_queue: int,
        seises: Sequence[Seis],
        *,
        wants_all: bool,
        report_slow: Callable[[SlowConsumerError], object],
    ) -> None:
        limit = max_queue * max(len(seises), 1)
        self._mailbox = Mailbox(limit, slow_at=limit)
        self._limit = limit
        self._wants_all = wants_all
        self._report_slow = report_slow
        # The Seises that have not ended; written under the lock of the feed.
        self._seises = set(seises)
        if not seises:
            self._mailbox.finish()

    def bars(self) -> "Generator[tuple[Seis, pd.DataFrame]]":
        """Yield the bars until the last of the Seises has ended."""
        while (item := self._mailbox.take()) is not None:
            assert isinstance(item, LiveBar)  # noqa: S101 - no other is delivered here
            yield item.seis, item.frame()

    def deliver(self, item: LiveBar) -> bool:
        """Accept a bar, if it is wanted; return whether the iteration became slow."""
        # A Seis may be removed during a delivery.
        is_wanted = item.seis in self._seises and (item.is_closed or self._wants_all)
        return is_wanted and self._mailbox.deliver(item)

    def waiting(self, seis: Seis) -> int:
        """Return how many bars of a Seis wait for the iteration."""
        return self._mailbox.waiting_of(seis)

    def notify_slow(self, seis: Seis) -> None:
        """Report that the iteration is slower than the bars come."""
        what = (
            f"the loop over stream() is slower than the bars come: {self._limit} wait, and of "
            "those beyond the oldest go; make it quicker, or raise max_queue"
        )
        self._report_slow(SlowConsumerError(what, seis))

    def finish(self, seis: Seis) -> None:
        """Accept the end of one of the Seises; with the last one the iteration ends."""
        self._seises.discard(seis)
        if not self._seises:
            self._mailbox.finish()
