"""A series: the bars of one symbol and interval, merged from updates in any order."""

import math

from tvDatafeed.protocol.messages import Bar, SeriesUpdate

# What a nanosecond index can hold is 1677-09-21 to 2262-04-11; whole years inside it.
EARLIEST_BAR_S = -9_214_560_000  # 1678-01-01T00:00:00Z
LATEST_BAR_S = 9_214_646_400  # 2262-01-01T00:00:00Z


# 25 times the deepest plan's history; what is longer is no answer.
MAX_BARS = 1_000_000


class BadUpdateError(ValueError):
    """Bars that no market can have; nothing of their update was taken."""


class Series:
    """Bars keyed by time: ascending, unique, the newest word on each time winning.

    The index ``i`` of the wire shifts when older pages arrive, so time is the only key.
    Merging the same update twice, or updates in another order, ends in the same times.
    """

    def __init__(self) -> None:
        self._by_time: dict[float, Bar] = {}
        self._newest = -math.inf
        self._is_ascending = True
        self._close_time_s: float | None = None

    def __len__(self) -> int:
        return len(self._by_time)

    @property
    def bars(self) -> list[Bar]:
        """The bars so far, ascending by time."""
        if not self._is_ascending:
            self._by_time = dict(sorted(self._by_time.items()))
            self._is_ascending = True
        return list(self._by_time.values())

    @property
    def close_time_s(self) -> float | None:
        """When the last bar closes, epoch seconds UTC; None when the server did not say."""
        return self._close_time_s

    def merge(self, update: SeriesUpdate) -> None:
        """Take the bars of one update.

        Raises
        ------
        BadUpdateError
            When a bar lies before 1678 or after 2261, as times in milliseconds do, or when the
            series becomes longer than any.
        """
        bars = [item.v for item in update.s]
        if not bars:
            return
        times = [bar.time for bar in bars]
        ascending = sorted(times)
        _check_time(ascending[0])
        _check_time(ascending[-1])
        if len(self._by_time) + len(bars) > MAX_BARS:
            raise BadUpdateError(f"more than {MAX_BARS} bars")
        if ascending != times or times[0] < self._newest:
            self._is_ascending = False
        self._by_time.update(zip(times, bars, strict=True))
        if ascending[-1] >= self._newest:
            self._newest = ascending[-1]
            if update.lbs is not None:
                self._close_time_s = update.lbs.bar_close_time


def last_bar_is_closed(
    close_time_s: float | None, server_time_s: float | None, *, delay_s: float, margin_s: float
) -> bool:
    """Whether the last bar can no longer change, by the server's own clock.

    Parameters
    ----------
    close_time_s
        The server's close time of the bar, epoch seconds UTC.
    server_time_s
        The server's clock when it sent the bars, epoch seconds UTC.
    delay_s
        How far the data lag behind the market, seconds.
    margin_s
        How far past its close a bar must be, seconds.

    Returns
    -------
    bool
        False also where the server did not say.
    """
    if close_time_s is None or server_time_s is None:
        return False
    return server_time_s - delay_s > close_time_s + margin_s


def _check_time(time_s: float) -> None:
    if not EARLIEST_BAR_S <= time_s <= LATEST_BAR_S:
        raise BadUpdateError(f"a bar at {time_s:.15g} s, outside the years 1678 to 2261")
