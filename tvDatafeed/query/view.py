"""Which part of an answer is shown, and how."""

from dataclasses import dataclass
from datetime import tzinfo
from typing import Literal

from tvDatafeed.common.settings import FillMissingVolume
from tvDatafeed.query.dates import DateRange
from tvDatafeed.query.periods import PeriodRange

ValidationPolicy = Literal["warn", "raise", "off"]


@dataclass(frozen=True)
class View:
    """Which bars of an answer are shown, and how.

    Parameters
    ----------
    count
        How many of the newest bars are shown; None for all.
    dates
        The range or the period of the bars; None for no limits.
    closed_only
        Whether to leave out a bar that is still forming.
    timezone
        The index's zone or its name, "exchange" for the symbol's own; None for the machine's local
        time without a zone.
    with_trading_days
        Whether daily and longer bars have midnight of their trading day, without a zone.
    fill_missing_volume, validation
        As for `bars_to_frame`.
    """

    count: int | None = None
    dates: DateRange | PeriodRange | None = None
    closed_only: bool = False
    timezone: str | tzinfo | None = None
    with_trading_days: bool = False
    fill_missing_volume: FillMissingVolume = "zero"
    validation: ValidationPolicy = "warn"
