"""Live bars as frames: one row, built in the thread of the one who is told."""

import logging
import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tvDatafeed.config import DataConfig

# With this module, and not at the first bar: a thread cannot import pandas any more when the main
# thread has come to its end, as in a script that registers its callbacks and does nothing else.
from tvDatafeed.frames.bars import LiveRows
from tvDatafeed.live.seis import Seis
from tvDatafeed.protocol.messages import Bar
from tvDatafeed.protocol.series import delay_seconds
from tvDatafeed.query.dates import EXCHANGE_TIMEZONE

if TYPE_CHECKING:
    import pandas as pd

logger: logging.Logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LiveBar:
    """A bar of a live series as it was told.

    Parameters
    ----------
    bar
        Its values.
    is_closed
        Whether it can no longer change; otherwise it still forms.
    before
        The closed bar before it; None when it is not known.
    look
        How the bars of its series are shown.
    """

    bar: Bar
    is_closed: bool
    before: Bar | None
    look: "Look"

    @property
    def seis(self) -> Seis:
        """Whose bar it is."""
        return self.look.seis

    def frame(self) -> "pd.DataFrame":
        """Build its frame, a new one each time."""
        return self.look.frame(self)


class Look:
    """How the bars of one live series are shown.

    Parameters
    ----------
    seis
        The series.
    data
        The settings.
    """

    def __init__(self, seis: Seis, data: DataConfig) -> None:
        self.seis = seis
        self._data = data
        self._zone_name = data.timezone
        self._delay_s = 0
        self._is_to_check = data.validate_data
        self._lock = threading.Lock()
        self._dropped = 0
        self._local = threading.local()

    def learn(self, info: Mapping[str, Any], update_mode: str) -> None:
        """Take what the server says of the symbol when its series starts."""
        if self._data.timezone == EXCHANGE_TIMEZONE:
            self._zone_name = str(info.get("timezone") or "UTC")
        self._delay_s = delay_seconds(update_mode)

    @property
    def dropped(self) -> int:
        """How many bars have gone untaken, by all who were told."""
        return self._dropped

    def note_dropped(self) -> None:
        """Count a bar that somebody was too slow to take."""
        with self._lock:
            self._dropped += 1

    def frame(self, item: LiveBar) -> "pd.DataFrame":
        """Build the frame of a bar.

        Returns
        -------
        pandas.DataFrame
            One row, as from `TvDatafeed.get_hist`. ``attrs`` has closed and last_bar_closed (bool),
            timezone (str) where one is set, delay_seconds (int) of delayed data.
        """
        self._check(item.bar)
        rows: LiveRows | None = getattr(self._local, "rows", None)
        if rows is None:
            rows = self._local.rows = LiveRows(self.seis.full_symbol)
        return rows.frame(
            item.bar,
            is_closed=item.is_closed,
            zone_name=self._zone_name,
            delay_s=self._delay_s,
            fill_missing_volume=self._data.fill_missing_volume,
            before=item.before,
        )

    def _check(self, bar: Bar) -> None:
        """Warn of the first bar of the series that no market can have; it is shown as it came."""
        if not self._is_to_check or (problem := _problem(bar)) is None:
            return
        with self._lock:
            is_first, self._is_to_check = self._is_to_check, False
        if is_first:
            logger.warning(
                "%s: a live bar %s; kept as sent, and others like it are not told of",
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
