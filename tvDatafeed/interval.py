"""The lengths of a bar that TradingView offers."""

from __future__ import annotations

import enum

__all__ = ["Interval", "interval_len"]

#: Length of one bar in seconds, by `Interval` value. A month counts as 30 days.
interval_len: dict[str, int] = {
    "1": 60,
    "3": 180,
    "5": 300,
    "15": 900,
    "30": 1800,
    "45": 2700,
    "1H": 3600,
    "2H": 7200,
    "3H": 10800,
    "4H": 14400,
    "1D": 86400,
    "1W": 604800,
    "1M": 2592000,
    "10": 600,
    "3M": 7776000,
    "6M": 15552000,
    "12M": 31104000,
    "1S": 1,
    "5S": 5,
    "10S": 10,
    "15S": 15,
    "30S": 30,
    "45S": 45,
}

_DAYS_AND_LONGER = "DWM"


class Interval(enum.Enum):
    """The length of one bar; a member's value is what goes over the wire.

    Seconds are for paid plans: TradingView refuses them to others.

    Examples
    --------
    >>> Interval.in_4_hour.value, Interval.in_4_hour.seconds
    ('4H', 14400)
    """

    in_1_minute = "1"
    in_3_minute = "3"
    in_5_minute = "5"
    in_15_minute = "15"
    in_30_minute = "30"
    in_45_minute = "45"
    in_1_hour = "1H"
    in_2_hour = "2H"
    in_3_hour = "3H"
    in_4_hour = "4H"
    in_daily = "1D"
    in_weekly = "1W"
    in_monthly = "1M"
    in_10_minute = "10"
    in_3_monthly = "3M"
    in_6_monthly = "6M"
    in_yearly = "12M"
    in_1_second = "1S"
    in_5_second = "5S"
    in_10_second = "10S"
    in_15_second = "15S"
    in_30_second = "30S"
    in_45_second = "45S"

    @property
    def seconds(self) -> int:
        """Length of one bar in seconds; a month counts as 30 days."""
        return interval_len[self.value]

    @property
    def is_intraday(self) -> bool:
        """Whether a day may have more than one bar."""
        return self.value[-1] not in _DAYS_AND_LONGER
