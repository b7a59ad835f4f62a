"""The recorder: writes the closed bars of a live series into a store.

Bars are written in a separate thread, so that a slow disk or server does not delay deliveries. A
bar that could not be written is missing until it is requested: the store records which bars it
lacks.
"""

import dataclasses
import logging
import time
from collections.abc import Callable

from tvDatafeed.exceptions import StoreError
from tvDatafeed.live.seis import Seis
from tvDatafeed.protocol.bars import Bar, Bars
from tvDatafeed.protocol.closing import LiveUpdate
from tvDatafeed.protocol.events import SeriesRequest, StreamStarted
from tvDatafeed.protocol.series import delay_seconds
from tvDatafeed.store.archive import Archive
from tvDatafeed.store.key import SeriesKey, feed_of, resolved_symbol
from tvDatafeed.store.records import SeriesNotes
from tvDatafeed.store.spans import just_after

logger: logging.Logger = logging.getLogger(__name__)

_DAY_S = 86400


class Recorder:
    """Writes the closed bars of one series into a store.

    Parameters
    ----------
    archive
        The store.
    account
        The account of the bars: accounts may receive different bars.
    seis
        The series.
    queue
        Calls a function with arguments in the thread that writes.
    """

    def __init__(
        self, archive: Archive, account: str, seis: Seis, queue: Callable[..., object]
    ) -> None:
        self._archive = archive
        self._account = account
        self._queue = queue
        self._length_s = seis.interval.seconds
        self._request = SeriesRequest(seis.full_symbol, seis.interval.value, count=None)
        # Only the thread that delivers the bars writes this.
        self._key: SeriesKey | None = None
        self._notes = SeriesNotes()
        self._last_s: float | None = None

    def newest_bar(self) -> Bar | None:
        """Return the newest bar that is stored; None without one, or when the store fails."""
        try:
            known = self._archive.keys_for(self._request.symbol, self._account)
            if not known:
                return None
            key = SeriesKey.of(self._request, *known[0])
            with self._archive.reading() as transaction:
                series = transaction.find(key)
                if series is None or series.last is None:
                    return None
                bars = Bars(transaction.read(series, series.last, series.last))
        except StoreError as error:
            self._archive.warn(error)
            return None
        return bars[-1] if bars else None

    def record(self, update: LiveUpdate, started: StreamStarted | None) -> None:
        """Write the bars that an update has closed, in the other thread."""
        if started is not None:
            self._learn(started)
        bars, key = update.closed, self._key
        if not bars or key is None:
            return
        if started is not None:
            # The answer repeats the last known bar: if that has changed, older bars have changed
            # too.
            is_next = started.request.after is not None and not (update.gaps or update.corrections)
            before_s = started.request.after.time if started.request.after else None
        else:
            before_s = self._last_s
            # A split happens overnight: bars after a pause are compared before they are joined.
            is_next = (
                before_s is not None
                and bars[0].time - before_s <= self._length_s < _DAY_S
                and not update.gaps
            )
        self._last_s = bars[-1].time
        since_s = just_after(before_s) if is_next and before_s is not None else bars[0].time
        self._queue(self._write, key, Bars.of(bars), since_s, self._notes)

    def _learn(self, started: StreamStarted) -> None:
        symbol = resolved_symbol(self._request.symbol, started.info)
        self._key = SeriesKey.of(self._request, symbol, feed_of(started.update_mode))
        server_time_s = 0.0
        if started.market_time_s is not None:
            server_time_s = started.market_time_s + delay_seconds(started.update_mode)
        self._notes = SeriesNotes(
            dict(started.info), started.update_mode, server_time_s, time.time()
        )

    def _write(self, key: SeriesKey, bars: Bars, since_s: float, notes: SeriesNotes) -> None:
        try:
            self._archive.append(
                key,
                self._request.symbol,
                bars.packed,
                (since_s, bars[-1].time),
                dataclasses.replace(notes),
                account=self._account,
            )
            self._archive.works()
        except StoreError as error:
            self._archive.warn(error)
