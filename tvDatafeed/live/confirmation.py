"""Confirmation: a bar that closes after a silence is requested from the server again.

A pong proves that the connection works, but not that the series does: a stream may stall, or end
with its token, while heartbeats continue. So a bar that the clock would close with values from
before a silence is not delivered. The series is opened again, and the bar is delivered with the
values that the server has then.

A market without trades is silent too. After a harmless silence, the next silences are not examined
for a while, so that a quiet series costs a few requests per hour, whatever the length of its bars.
"""

import math

from tvDatafeed.protocol.bars import Bar
from tvDatafeed.protocol.closing import LiveUpdate, has_same_values

# A newer bar shows that the stream works. Only a long silence before it can hide lost updates.
LONG_SILENCE_S = 10.0
# For this long after a harmless silence, such silences count as harmless: 12 requests per hour.
_PROOF_LASTS_S = 300.0


class Confirmation:
    """Whether the bars of one series are confirmed before they are delivered.

    It has no lock: the lock of its `LiveSeries` guards it.
    """

    def __init__(self) -> None:
        # The longest silence during which no value had changed, and when that was seen last.
        self._harmless_s = -math.inf
        self._harmless_at = -math.inf
        # The bar that was requested last, and the silence before that.
        self._bar: Bar | None = None
        self._silent_s = 0.0
        self.is_awaited: bool = False

    def needs(self, update: LiveUpdate, silent_s: float, now: float) -> bool:
        """Return whether to open the series again instead of delivering an update.

        Parameters
        ----------
        update
            The update, which closes a bar with the values of an earlier message.
        silent_s
            How long there had been no update, in seconds.
        now
            The monotonic clock, seconds.
        """
        bar = update.closed[-1]
        if self._bar is not None and bar.time == self._bar.time:
            return False  # once for each bar
        if not update.by_clock and silent_s <= LONG_SILENCE_S:
            return False
        is_harmless = silent_s <= self._harmless_s
        if is_harmless and now < self._harmless_at + _PROOF_LASTS_S:
            return False
        self._bar, self._silent_s, self.is_awaited = bar, silent_s, True
        return True

    def receive(self, update: LiveUpdate, now: float) -> None:
        """Compare the bar that was requested with the first update of a new session."""
        if not self.is_awaited or self._bar is None:
            return
        self.is_awaited = False
        bars = (*update.closed, *filter(None, (update.forming,)))
        if any(bar.time == self._bar.time and has_same_values(bar, self._bar) for bar in bars):
            self._harmless_s = max(self._harmless_s, self._silent_s)
            self._harmless_at = now
        else:
            self._harmless_s = -math.inf
