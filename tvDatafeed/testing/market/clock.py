"""The clock of a made-up market, which can run fast, stand still and be stepped."""

import math
import threading
import time

__all__ = ["MarketClock"]


class MarketClock:
    """Epoch seconds that advance at any speed and in steps. Safe to use from several threads.

    A server sends nothing when the clock changes, only at its next tick; `FakeTradingView.step`
    steps the clock and ticks.

    Parameters
    ----------
    start : float, optional
        Epoch seconds at the beginning. Default: now.
    speed : float, optional
        Market seconds per second; with 0 the clock stands still.

    Raises
    ------
    ValueError
        If `start` is not finite, or `speed` is not finite and at least 0.

    Examples
    --------
    >>> clock = MarketClock(1_787_245_200.0, speed=0)
    >>> clock.step(60)
    >>> clock()
    1787245260.0
    """

    def __init__(self, start: float | None = None, *, speed: float = 1.0) -> None:
        self._lock = threading.Lock()
        self._since = time.monotonic()
        self._moment = time.time() if start is None else _finite("start", start)
        self._speed = _at_least_0("speed", speed)

    def __call__(self) -> float:
        """Return the current time, epoch seconds."""
        with self._lock:
            return self._now()

    def __repr__(self) -> str:
        return f"MarketClock({self()!r}, speed={self.speed!r})"

    @property
    def speed(self) -> float:
        """Market seconds per second. Assigning it does not change the current time.

        Raises
        ------
        ValueError
            If the assigned value is not finite and at least 0.
        """
        with self._lock:
            return self._speed

    @speed.setter
    def speed(self, speed: float) -> None:
        speed = _at_least_0("speed", speed)
        with self._lock:
            self._go_on_from(self._now())
            self._speed = speed

    def step(self, seconds: float) -> None:
        """Move the clock forward.

        Parameters
        ----------
        seconds : float
            How many seconds, at least 0; use `set` to go back.

        Raises
        ------
        ValueError
            If it is not finite and at least 0.
        """
        seconds = _at_least_0("seconds", seconds)
        with self._lock:
            self._go_on_from(self._now() + seconds)

    def set(self, moment: float) -> None:
        """Set the clock.

        Parameters
        ----------
        moment : float
            Epoch seconds. If it is earlier than now, open series do not get updates of bars before
            the last bar that they have received.

        Raises
        ------
        ValueError
            If it is not finite.
        """
        moment = _finite("moment", moment)
        with self._lock:
            self._go_on_from(moment)

    def _now(self) -> float:
        return self._moment + (time.monotonic() - self._since) * self._speed

    def _go_on_from(self, moment: float) -> None:
        self._moment, self._since = moment, time.monotonic()


def _finite(name: str, number: float) -> float:
    if not math.isfinite(number):
        raise ValueError(f"{name} must be a finite number of seconds, not {number!r}")
    return float(number)


def _at_least_0(name: str, number: float) -> float:
    if not 0 <= number < math.inf:
        raise ValueError(f"{name} must be a finite number of at least 0, not {number!r}")
    return float(number)
