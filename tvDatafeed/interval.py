"""The lengths of a bar that TradingView offers: members, and their texts."""

from __future__ import annotations

import enum
import math
import re
from dataclasses import dataclass
from typing import TypeAlias

from tvDatafeed.exceptions import InvalidIntervalError

__all__ = [
    "INTERVAL_TEXTS",
    "CustomInterval",
    "Interval",
    "IntervalLike",
    "as_interval",
    "bar_seconds",
    "interval_len",
]

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

#: The usual texts for an interval, shortest bar first: ``m`` is minutes, ``M`` months. Each
#: member's value is accepted too, and so are other lengths that TradingView offers (`as_interval`).
INTERVAL_TEXTS: tuple[str, ...] = (
    *("1s", "5s", "10s", "15s", "30s", "45s"),
    *("1m", "2m", "3m", "5m", "10m", "15m", "30m", "45m"),
    *("1h", "2h", "3h", "4h", "6h", "8h", "12h"),
    *("1d", "1D", "daily", "1w", "1W", "weekly"),
    *("1mo", "1M", "monthly", "3M", "6M", "12M", "1y", "yearly"),
)


class Interval(enum.Enum):
    """The length of one bar; a member's value is its text on the wire.

    Every parameter for an `Interval` also accepts text: ``"1h"``, ``"15m"``, ``"1d"``, ``"daily"``;
    ``m`` is minutes and ``M`` months. ``Interval("1h")`` is the member. A length without a member,
    such as ``"6h"``, exists as text only.

    Seconds need a paid plan: TradingView refuses them otherwise.

    Raises
    ------
    InvalidIntervalError
        No member has this value or text; it is also a ValueError.

    Examples
    --------
    >>> Interval.in_4_hour.value, Interval.in_4_hour.seconds
    ('4H', 14400)
    >>> Interval("15m")
    <Interval.in_15_minute: '15'>
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

    @classmethod
    def _missing_(cls, value: object) -> Interval | None:
        if not isinstance(value, str):
            return None
        found = as_interval(value)
        if isinstance(found, Interval):
            return found
        raise InvalidIntervalError(
            value,
            advice=f"this length has no member: pass the text {found.name!r} itself where an "
            "Interval goes",
        )


@dataclass(frozen=True, repr=False)
class CustomInterval:
    """The length of a bar that TradingView offers and that has no member in `Interval`.

    Created from text by every parameter for an `Interval`; then `Seis.interval` is one.

    Parameters
    ----------
    value : str
        A text such as "6h", "90m" or "2D".

    Attributes
    ----------
    value : str
        The text on the wire: minutes ("360"), days ("2D") or weeks ("2W").

    Raises
    ------
    InvalidIntervalError
        TradingView does not offer this length, or it is a member of `Interval`.

    Examples
    --------
    >>> interval = CustomInterval("6h")
    >>> interval, interval.value, interval.seconds
    (CustomInterval('6h'), '360', 21600)
    """

    value: str

    def __post_init__(self) -> None:
        if not isinstance(self.value, str):
            raise _not_an_interval(self.value)
        value = _wire_value(self.value)
        if value is None:
            raise _unknown_text(self.value)
        if value in interval_len:
            member = Interval(value)
            raise InvalidIntervalError(self.value, advice=f"this length is {member}")
        object.__setattr__(self, "value", value)

    def __repr__(self) -> str:
        return f"CustomInterval({self.name!r})"

    def __str__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        """The usual text of the length: "6h", "90m", "2D"."""
        if not self.is_intraday:
            return self.value
        hours, minutes = divmod(int(self.value), 60)
        return f"{self.value}m" if minutes else f"{hours}h"

    @property
    def seconds(self) -> int:
        """Length of one bar in seconds."""
        return int(bar_seconds(self.value))

    @property
    def is_intraday(self) -> bool:
        """Whether a day may have more than one bar."""
        return self.value[-1] not in _DAYS_AND_LONGER


#: The types of an interval in a call.
IntervalLike: TypeAlias = Interval | CustomInterval | str

# Texts whose value does not follow from a rule.
_WORDS = {
    "daily": "1D",
    "weekly": "1W",
    "monthly": "1M",
    "yearly": "12M",
    "1y": "12M",
    "1mo": "1M",
    "3mo": "3M",
    "6mo": "6M",
    "12mo": "12M",
}
# These include TradingView's own forms: 240 for four hours, D for a day.
_LENGTH = re.compile(r"(?P<count>[1-9][0-9]{0,3})(?P<unit>[sSmhHdDwWM]?)|(?P<alone>[DWM])")
_UNIT_S = {"S": 1, "m": 60, "H": 3600, "D": 86400, "W": 604800}
_BY_SECONDS = {
    seconds: value for value, seconds in interval_len.items() if value[-1] not in _DAYS_AND_LONGER
}
_MINUTES_A_DAY = 1440
# A day at the stock exchanges of New York: bars of 65, 78, 130 and 195 minutes divide it.
_MINUTES_A_SESSION = 390
_MOST = {"D": 365, "W": 52}
_NEAREST = 3
# The rest of a longer text is ignored, since comparing it takes time.
_COMPARED_CHARACTERS = 32


def as_interval(interval: object) -> Interval | CustomInterval:
    """Return the interval that a caller has passed.

    Valid texts are those of `INTERVAL_TEXTS`, the value of each member, TradingView's own forms
    ("60", "240", "D"), and the other lengths that it offers: minutes and hours that divide a day,
    or a session of 390 minutes ("20m", "65m", "12h"), and days and weeks ("2D", "2W").

    Parameters
    ----------
    interval
        An `Interval`, a `CustomInterval` or a text.

    Raises
    ------
    InvalidIntervalError
        The value is not an interval; for a text the message contains the three nearest ones.

    Examples
    --------
    >>> as_interval("240"), as_interval("1M"), as_interval("2m")
    (<Interval.in_4_hour: '4H'>, <Interval.in_monthly: '1M'>, CustomInterval('2m'))
    """
    if isinstance(interval, Interval | CustomInterval):
        return interval
    if not isinstance(interval, str):
        raise _not_an_interval(interval)
    value = _wire_value(interval)
    if value is None:
        raise _unknown_text(interval)
    return Interval(value) if value in interval_len else CustomInterval(value)


def bar_seconds(text: str, default: float = math.inf) -> float:
    """Return the length of a bar in seconds; a month counts as 30 days.

    Parameters
    ----------
    text
        The value of an interval, or another text for it.
    default
        The result for a text that is not an interval.
    """
    value = _wire_value(text)
    if value is None:
        return default
    if value in interval_len:
        return interval_len[value]
    if value[-1] in _DAYS_AND_LONGER:
        return int(value[:-1]) * _UNIT_S[value[-1]]
    return int(value) * _UNIT_S["m"]


def _wire_value(text: str) -> str | None:
    """Return the text on the wire for a text; None if it is not an interval."""
    text = text.strip()
    if text in interval_len:
        return text
    match = _LENGTH.fullmatch(text)
    if match is None:
        return _WORDS.get(text)
    count, unit = int(match["count"] or 1), match["alone"] or match["unit"] or "m"
    unit = unit if unit == "m" else unit.upper()
    if unit in _DAYS_AND_LONGER:
        value = f"{count}{unit}"
        return value if value in interval_len or count <= _MOST.get(unit, 0) else None
    seconds = count * _UNIT_S[unit]
    if seconds in _BY_SECONDS:
        return _BY_SECONDS[seconds]
    minutes = seconds // 60
    is_built = unit != "S" and 0 in {_MINUTES_A_DAY % minutes, _MINUTES_A_SESSION % minutes}
    return str(minutes) if is_built else None


def _not_an_interval(value: object) -> InvalidIntervalError:
    advice = None
    if isinstance(value, int) and not isinstance(value, bool):
        advice = "pass an Interval or a text such as '5m' third, and n_bars fourth"
    return InvalidIntervalError(value, [str(member) for member in Interval], advice=advice)


def _unknown_text(text: str) -> InvalidIntervalError:
    return InvalidIntervalError(text, INTERVAL_TEXTS, nearest=_nearest(text))


def _nearest(text: str) -> list[str]:
    """Return the three most similar texts of different lengths."""
    from difflib import SequenceMatcher  # noqa: PLC0415 - needed for mistakes alone

    text = text.strip()[:_COMPARED_CHARACTERS]
    number, unit = _parts(text)

    def likeness(one: str, other: str) -> float:
        return SequenceMatcher(None, one, other).ratio()

    def unlikeness(known: str) -> tuple[float, float, int]:
        # A wrong case is the smallest mistake, then a wrong number, then a wrong unit.
        known_number, known_unit = _parts(known)
        folded = likeness(text.casefold(), known.casefold()) + likeness(unit, known_unit)
        return -folded, -likeness(text, known), abs(known_number - number)

    lengths: dict[str | None, str] = {}
    for known in sorted(INTERVAL_TEXTS, key=unlikeness):
        lengths.setdefault(_wire_value(known), known)
    return list(lengths.values())[:_NEAREST]


def _parts(text: str) -> tuple[int, str]:
    """Return the number at the start of a text, 0 without one, and the rest in lower case."""
    unit = text.lstrip("0123456789")
    return int(text.removesuffix(unit) or 0), unit.casefold()
