"""The bars of one symbol and interval that one client may see.

A plan limits the number of bars, counted back from the latest bar. This applies to every kind of
request: a range in the past does not return bars beyond the limit.
"""

import functools
from dataclasses import dataclass
from typing import Any

from tvDatafeed.testing.market.corrections import BarCorrections
from tvDatafeed.testing.market.listings import PriceOptions
from tvDatafeed.testing.market.market import Market, MarketBar
from tvDatafeed.testing.market.restatements import Restatement, restated


@dataclass(frozen=True)
class BarHistory:
    """The bars that a series can contain.

    Parameters
    ----------
    market
        The source of the bars.
    symbol, interval
        ``"EXCHANGE:NAME"`` and TradingView's interval string.
    now
        The moment of the latest bar, epoch seconds.
    limit
        The largest number of bars.
    options
        Names and values of the keyword arguments of `Market.bars`.
    corrections
        Corrected bars by their time; None if there are no corrections.
    restatements
        The splits and dividends that have taken effect while the server runs.
    """

    market: Market
    symbol: str
    interval: str
    now: float
    limit: int
    options: tuple[tuple[str, Any], ...] = ()
    corrections: BarCorrections | None = None
    restatements: tuple[Restatement, ...] = ()

    def bars(self, n: int, until: float | None = None) -> list[MarketBar]:
        """Return the last `n` bars that have begun at a moment; only the live bar is unfinished.

        Parameters
        ----------
        n
            How many bars; the result is shorter at the beginning of history or of the plan.
        until
            Epoch seconds; None or a moment in the future means now.
        """
        if until is None or until >= self.now:
            return self._market_bars(min(n, self.limit), self.now)
        bars = self._market_bars(n, max(until, _BEFORE_ALL_S))
        if bars:
            # A second after its close, a bar is finished; before that, it is the live bar.
            finished = min(self.now, self.close_time(bars[-1].time) + 1)
            last = self._market_bars(2, finished)
            bars[-1] = next(bar for bar in last if bar.time == bars[-1].time)
        return self._visible(bars)

    def before(self, time: int, n: int) -> list[MarketBar]:
        """Return the last `n` bars before the one that begins at `time`."""
        # When the bar at `time` begins, every bar before it is finished.
        return self._visible(self._market_bars(n + 1, time)[:-1])

    def since(self, start: float) -> list[MarketBar]:
        """Return the bars that begin at a moment or later."""
        size = min(self._most_since(start), self.limit)
        return [bar for bar in self._market_bars(size, self.now) if bar.time >= start]

    def times_since(self, start: float) -> list[int]:
        """Return the times of the bars that begin at a moment or later."""
        return [bar.time for bar in self.since(start)]

    def is_all_history(self, time: int) -> bool:
        """Whether history begins at `time`."""
        return len(self._market_bars(2, time)) < 2  # noqa: PLR2004 - the bar and one before it

    def is_at_limit(self, time: int) -> bool:
        """Whether the plan, but not history, begins at `time`."""
        return time <= self._first_visible(time) and not self.is_all_history(time)

    def close_time(self, time: int) -> int:
        """Return when the bar that begins at `time` closes, in the form of ``lbs``."""
        return self.market.bar_close_time(self.symbol, self.interval, time, self._session)

    def _visible(self, bars: list[MarketBar]) -> list[MarketBar]:
        first = self._first_visible(bars[0].time) if bars else 0
        return [bar for bar in bars if bar.time >= first]

    def _first_visible(self, time: int) -> int:
        """Return the time of the first visible bar, or `time - 1` if all bars since then are."""
        if self._most_since(time) < self.limit:
            return time - 1
        return self.market.oldest_time(
            self.symbol, self.interval, self.limit, self.now, self._session
        )

    def _most_since(self, start: float) -> int:
        """Return an upper bound for the number of bars since a moment."""
        span_s = max(0.0, self.now - start)
        # The last bar of a session can be shorter, and a day has at most two sessions.
        return int(span_s / seconds_of(self.interval)) + 2 * int(span_s / _DAY_S) + 4

    @property
    def _session(self) -> str:
        return str(dict(self.options).get("session", "regular"))

    def _market_bars(self, n: int, now: float) -> list[MarketBar]:
        bars = self.market.bars(
            self.symbol, self.interval, n, now, as_of=self.now, **dict(self.options)
        )
        if not self.corrections and not self.restatements:
            return bars
        return self._changed(bars)

    def _changed(self, bars: list[MarketBar]) -> list[MarketBar]:
        """Return bars of the market with their corrections and restatements applied."""
        known = self.corrections or {}
        listing = self.market.find(self.symbol)
        if listing is None:
            return bars
        options = PriceOptions(**dict(self.options))
        apply = functools.partial(
            restated, adjustment=options.adjustment, listing=listing.in_currency(options)
        )
        changed = []
        for bar in bars:
            correction = known.get(bar.time)
            if correction is None:
                changed.append(apply(bar, self.restatements))
                continue
            # The correction was made after some restatements and before others.
            earlier = correction.restatements
            later = [each for each in self.restatements if each not in earlier]
            changed.append(apply(correction.applied(apply(bar, earlier)), later))
        return changed


_DAY_S = 86400
# 1900-01-01: before any history, and not too early for calendars.
_BEFORE_ALL_S = -2_208_988_800.0
_UNIT_S = {"": 60, "S": 1, "H": 3600, "D": _DAY_S, "W": 7 * _DAY_S, "M": 28 * _DAY_S}


def seconds_of(interval: str) -> int:
    """Return the length of a bar in seconds; for months, of the shortest month."""
    digits = interval.rstrip("SHDWM")
    return int(digits or 1) * _UNIT_S[interval[len(digits) :]]
