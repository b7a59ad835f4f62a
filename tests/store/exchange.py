"""A small exchange that answers requests for bars, for tests of the store without a network.

Its answers have the shape of `HistoryHandler`'s: pages that end at a moment and reach back, with
"end" where its history begins.
"""

import random
from dataclasses import dataclass, field

from tvDatafeed.interval import interval_len
from tvDatafeed.protocol.bars import Bar, Bars
from tvDatafeed.protocol.events import History, SeriesRequest

DAY_S = 86400.0
FIRST_S = 1_577_889_000.0  # 2020-01-01 14:30 UTC
INFO = {
    "full_name": "BATS:AAPL",
    "pro_name": "NASDAQ:AAPL",
    "session": "0930-1600",
    "timezone": "America/New_York",
}


@dataclass
class Exchange:
    """Daily bars on weekdays, which are appended, corrected and restated.

    Attributes
    ----------
    bars : list of Bar
        All bars so far; the last one forms while its day lasts.
    now_s : float
        The server's clock, epoch seconds UTC.
    questions : list of SeriesRequest
        What was asked.
    delay_s : int
        How far the data lag behind.
    """

    seed: int = 0
    now_s: float = FIRST_S
    bars: list[Bar] = field(default_factory=list)
    questions: list[SeriesRequest] = field(default_factory=list)
    delay_s: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def pass_time(self, days: float) -> None:
        """Advance by days, with weekends without a bar."""
        self.now_s += days * DAY_S
        opens = self.bars[-1].time + DAY_S if self.bars else FIRST_S
        while opens <= self.now_s:
            weekday = (int(opens // DAY_S) + 3) % 7
            if weekday < 5:
                self.bars.append(self._bar(opens))
            opens += DAY_S

    def _bar(self, time_s: float) -> Bar:
        opening, close = (round(self._random.uniform(50, 60), 2) for _ in range(2))
        high, low = max(opening, close) + 1, min(opening, close) - 1
        return Bar(time_s, opening, high, low, close, float(self._random.randrange(1, 1000)))

    def restate(self, factor: float) -> None:
        """Change the prices of all bars that have closed, as a split does."""
        self.bars[:-1] = [
            Bar(
                b.time, b.open * factor, b.high * factor, b.low * factor, b.close * factor, b.volume
            )
            for b in self.bars[:-1]
        ]

    def correct(self, place: int) -> None:
        """Change one of the last bars; 1 is the last one."""
        if place <= len(self.bars):
            old = self.bars[-place]
            self.bars[-place] = Bar(old.time, old.open, old.high + 1, old.low, old.close, 7.0)

    def answer(self, request: SeriesRequest) -> History:
        """Return what TradingView would answer."""
        self.questions.append(request)
        market_s = self.now_s - self.delay_s
        seen = [bar for bar in self.bars if bar.time <= market_s]
        if request.until_s is not None and not request.is_live:
            seen = [bar for bar in seen if bar.time <= int(request.until_s) + 1]
        if request.count is None:
            size = request.first_page or request.page_size
            since_s = request.since_s
            older = [bar for bar in seen if since_s is not None and bar.time <= since_s]
            wanted = max(len(seen) - len(older) + 1, size) if older else len(seen)
        else:
            until_s = request.until_s
            beyond = [bar for bar in seen if until_s is not None and bar.time > until_s]
            wanted = request.count + len(beyond)
        bars = seen[-wanted:] if wanted else []
        is_end = len(bars) == len(seen)
        closes_s = bars[-1].time + interval_len["1D"] / 2 if bars else None
        return History(
            request,
            Bars.of(bars),
            dict(INFO),
            f"delayed_streaming_{self.delay_s}" if self.delay_s else "streaming",
            "end" if is_end else None,
            closes_s,
            self.now_s,
        )
