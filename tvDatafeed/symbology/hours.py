"""Trading hours of a symbol: sessions, holidays and shortened days, in TradingView's format.

The texts are those of symbol_resolved. A session is ``"24x7"``, or ranges ``HHMM-HHMM`` of local
time, joined by commas; ``:days`` after a range names its trading days (1 is Sunday; default Monday
to Friday), and ``|`` separates groups of days. A range that ends at or before its start, such as
``1800-1700``, opens the evening before its trading day; ``F`` and a number after a time is the
number of days before. Corrections are ``ranges:dates`` joined by semicolons, with ``dayoff`` for a
day without trading.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from functools import cached_property, lru_cache
from typing import Any

from tvDatafeed.exceptions import ConfigurationError
from tvDatafeed.query.dates import timezone_named

__all__ = ["TradingHours"]

_ROUND_THE_CLOCK = "24x7"
_DAY_OFF = "dayoff"
_RANGE = re.compile(r"(\d{2})(\d{2})(?:F(\d))?-(\d{2})(\d{2})(?:F(\d))?")
_MINUTES_A_DAY = 24 * 60
# Monday to Friday, as TradingView counts.
_WORKDAYS = frozenset("23456")


@dataclass(frozen=True)
class _Range:
    """Minutes from midnight of the trading day; negative on the days before."""

    open_minute: int
    close_minute: int


@dataclass(frozen=True)
class TradingHours:
    """The trading hours of a symbol.

    Parameters
    ----------
    weekdays
        The ranges of each day of the week, by ``date.isoweekday() % 7`` (0 is Sunday); None for a
        market that never closes.
    days
        The ranges of single days, which replace those of the week.
    zone
        The zone of the times.
    """

    weekdays: Mapping[int, tuple[_Range, ...]] | None
    days: Mapping[date, tuple[_Range, ...]]
    zone: tzinfo

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> "TradingHours | None":
        """Read the hours from TradingView's description of a symbol.

        Parameters
        ----------
        info
            As in symbol_resolved: ``session``, ``session_holidays``, ``timezone``, and the
            correction of the resolved subsession.

        Returns
        -------
        TradingHours or None
            None if they are missing, or in an unknown form.
        """
        names = ("session", "session_holidays", "timezone")
        session, holidays, zone = (str(info.get(name) or "") for name in names)
        return _parsed(session, holidays, _correction_of(info), zone)

    def session_at(self, time_s: float) -> tuple[float, float] | None:
        """Return the range that contains a moment.

        Parameters
        ----------
        time_s
            Epoch seconds UTC.

        Returns
        -------
        tuple of float or None
            When it opens and closes, epoch seconds UTC; infinite for a market that never closes;
            None when the market is closed.
        """
        if self.weekdays is None:
            return -math.inf, math.inf
        today = datetime.fromtimestamp(time_s, self.zone).date()
        # A range may open before its trading day, and end the day after it.
        for ahead in range(-1, self._days_ahead + 1):
            for opens_s, closes_s in self._ranges_of(today + timedelta(days=ahead)):
                if opens_s <= time_s < closes_s:
                    return opens_s, closes_s
        return None

    @cached_property
    def _days_ahead(self) -> int:
        """The maximum number of days that a range opens before its trading day."""
        days = (*(self.weekdays or {}).values(), *self.days.values())
        first = min((each.open_minute for ranges in days for each in ranges), default=0)
        return -(first // _MINUTES_A_DAY)

    def _ranges_of(self, day: date) -> Iterator[tuple[float, float]]:
        assert self.weekdays is not None  # noqa: S101 - asked by session_at alone
        ranges = self.days.get(day, self.weekdays[day.isoweekday() % 7])
        for each in ranges:
            yield self._moment_s(day, each.open_minute), self._moment_s(day, each.close_minute)

    def _moment_s(self, day: date, minute: int) -> float:
        days, minutes = divmod(minute, _MINUTES_A_DAY)
        midnight = datetime(day.year, day.month, day.day, tzinfo=self.zone)
        # Computed in wall time, like sessions when clocks change.
        return (midnight + timedelta(days=days, minutes=minutes)).timestamp()


# Cached, since all symbols of an exchange have the same hours, with years of holidays.
@lru_cache(maxsize=256)
def _parsed(session: str, holidays: str, corrections: str, zone_name: str) -> TradingHours | None:
    try:
        zone = timezone_named(zone_name)
        if session == _ROUND_THE_CLOCK:
            return TradingHours(None, {}, zone)
        days: dict[date, tuple[_Range, ...]] = dict.fromkeys(_dates(holidays), ())
        return TradingHours(_weekdays(session), days | _corrections(corrections), zone)
    except (ConfigurationError, ValueError):
        return None


def _weekdays(session: str) -> dict[int, tuple[_Range, ...]]:
    found: dict[int, list[_Range]] = {day: [] for day in range(7)}
    # The part after a semicolon is the first day of a week.
    groups = session.partition(";")[0].split("|")
    for group in groups:
        names = [each for each in group.split(":")[1:2] if "," not in each]
        if len(group.split(":")) == 2 and names:  # noqa: PLR2004 - ranges, and days for all
            _add(found, group.split(":")[0].split(","), names[0])
            continue
        for part in group.split(","):
            text, _, days = part.partition(":")
            _add(found, [text], days)
    return {day: tuple(ranges) for day, ranges in found.items()}


def _add(found: dict[int, list[_Range]], texts: list[str], days: str) -> None:
    names = frozenset(days) or _WORKDAYS
    if not names <= frozenset("1234567"):
        raise ValueError(f"no days: {days!r}")
    ranges = [_range(text) for text in texts]
    for name in names:
        found[int(name) - 1] += ranges


def _range(text: str) -> _Range:
    match = _RANGE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"no range: {text!r}")
    open_hour, open_minute, opens_before, close_hour, close_minute, closes_before = match.groups()
    opens = int(open_hour) * 60 + int(open_minute)
    closes = int(close_hour) * 60 + int(close_minute)
    if opens_before or closes_before:
        opens -= int(opens_before or 0) * _MINUTES_A_DAY
        closes -= int(closes_before or 0) * _MINUTES_A_DAY
        return _Range(opens, closes if closes > opens else closes + _MINUTES_A_DAY)
    if opens == 0 and closes == 0:
        return _Range(0, _MINUTES_A_DAY)
    if closes == 0:
        return _Range(opens, _MINUTES_A_DAY)
    return _Range(opens - _MINUTES_A_DAY if closes <= opens else opens, closes)


def _correction_of(info: Mapping[str, Any]) -> str:
    wanted = info.get("subsession_id")
    subsessions = info.get("subsessions")
    for subsession in subsessions if isinstance(subsessions, list) else ():
        if isinstance(subsession, dict) and subsession.get("id") == wanted:
            return str(subsession.get("session-correction") or "")
    return ""


def _corrections(text: str) -> dict[date, tuple[_Range, ...]]:
    days: dict[date, tuple[_Range, ...]] = {}
    for part in filter(None, text.split(";")):
        ranges, _, dates = part.rpartition(":")
        parsed = () if ranges == _DAY_OFF else tuple(_range(each) for each in ranges.split(","))
        days |= dict.fromkeys(_dates(dates), parsed)
    return days


def _dates(text: str) -> list[date]:
    parts = filter(None, text.split(","))
    return [date(int(part[:4]), int(part[4:6]), int(part[6:])) for part in parts]
