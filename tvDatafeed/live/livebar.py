"""Live bars as frames of one row, built in the thread of the subscriber."""

import logging
import math
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tvDatafeed.config import DataConfig

# pandas is imported with this module, not at the first bar: a thread cannot import it after the
# main thread has ended, as in a script that only registers its callbacks.
from tvDatafeed.frames.bars import LiveRows, is_known
from tvDatafeed.frames.repeats import RepeatedHours
from tvDatafeed.live.seis import Seis
from tvDatafeed.protocol.bars import Bar
from tvDatafeed.protocol.series import delay_seconds
from tvDatafeed.query.dates import EXCHANGE_TIMEZONE

if TYPE_CHECKING:
    import pandas as pd

logger: logging.Logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LiveBar:
    """A bar of a live series as it was delivered.

    Parameters
    ----------
    bar
        The values of the bar.
    is_closed
        Whether it can no longer change; otherwise it still forms.
    last_volume
        The last known volume of the closed bars before it; NaN without one.
    format
        The format of its series.
    is_refill
        Whether it was missed during a gap and is delivered together with others.
    """

    bar: Bar
    is_closed: bool
    last_volume: float
    format: "LiveBarFormat"
    is_refill: bool = False

    @property
    def seis(self) -> Seis:
        """The series of the bar."""
        return self.format.seis

    @property
    def known_volume(self) -> float:
        """Its volume; if it has none, the last known volume before it."""
        return self.bar.volume if is_known(self.bar.volume) else self.last_volume

    @property
    def source(self) -> Seis:
        """The series of the bar; the mailbox counts per series."""
        return self.format.seis

    @property
    def refill_limit(self) -> int:
        """How many missed bars of its series may wait in a mailbox; 0 for another bar."""
        return self.format.max_bars if self.is_refill else 0

    def frame(self) -> "pd.DataFrame":
        """Return its frame, a new one each time."""
        return self.format.frame(self)

    def record_dropped(self) -> None:
        """Count the bar as dropped."""
        self.format.dropped += 1


class LiveBarFormat:
    """The format of the rows of one live series.

    Parameters
    ----------
    seis
        The series.
    data
        The settings.
    repeated_hours
        Warns if the index repeats an hour.

    Attributes
    ----------
    max_bars : int
        How many missed bars are requested at most.
    dropped : int
        How many bars were dropped because subscribers were too slow. Written under the lock of the
        series.
    delay_s : int
        How far the data lag behind the market, in seconds.
    """

    def __init__(self, seis: Seis, data: DataConfig, repeated_hours: RepeatedHours) -> None:
        self.seis = seis
        self._data = data
        self.max_bars: int = data.max_bars
        self._zone_name = data.timezone
        self.delay_s: int = 0
        # The warnings that may still be logged. Consumers check in threads of their own, and to
        # pop from a list is atomic.
        self._warnings = [logger.warning] if data.validate_data else []
        self._repeated_hours = repeated_hours
        self.dropped: int = 0
        self._local = threading.local()

    def learn(self, info: Mapping[str, Any], update_mode: str) -> None:
        """Apply the server's description of the symbol; called when its series starts."""
        if self._data.timezone == EXCHANGE_TIMEZONE:
            self._zone_name = str(info.get("timezone") or "UTC")
        self.delay_s = delay_seconds(update_mode)

    def refill(self, bars: Iterable[Bar]) -> "Iterator[LiveBar]":
        """Yield missed closed bars in the form in which they are delivered."""
        volume = math.nan
        for bar in bars:
            item = LiveBar(bar, is_closed=True, last_volume=volume, format=self, is_refill=True)
            volume = item.known_volume
            yield item

    def frame(self, item: LiveBar) -> "pd.DataFrame":
        """Return the frame of a bar.

        Returns
        -------
        pandas.DataFrame
            One row, as from `TvDatafeed.get_hist`. ``attrs`` has closed and last_bar_closed (bool),
            timezone (str) if one is set, delay_seconds (int) for delayed data.
        """
        self._check(item.bar)
        rows: LiveRows | None = getattr(self._local, "rows", None)
        if rows is None:
            rows = self._local.rows = LiveRows(self.seis.full_symbol, self._repeated_hours)
        return rows.frame(
            item.bar,
            is_closed=item.is_closed,
            zone_name=self._zone_name,
            delay_s=self.delay_s,
            fill_missing_volume=self._data.fill_missing_volume,
            last_volume=item.last_volume,
        )

    def _check(self, bar: Bar) -> None:
        """Warn of the first impossible bar of the series; it is delivered unchanged."""
        if not self._warnings or (problem := _problem(bar)) is None:
            return
        try:
            warn = self._warnings.pop()
        except IndexError:
            return
        warn(
            "%s: a live bar %s; kept as sent, and others like it are not reported",
            self.seis.full_symbol,
            problem,
        )


def _problem(bar: Bar) -> str | None:
    prices = (bar.open, bar.high, bar.low, bar.close)
    if any(map(math.isnan, prices)):
        return "without a price (NaN)"
    if bar.high < max(bar.open, bar.close) or bar.low > min(bar.open, bar.close):
        return "whose high or low does not hold its open and close"
    return "with a negative volume" if bar.volume < 0 else None
