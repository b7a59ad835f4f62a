"""What the tests of the live feed share: a clock to move, and a callback that remembers."""

import dataclasses
import threading
import time

import pandas as pd

from tests.loopback import NOW
from tests.scale import PATIENCE_S
from tvDatafeed import Interval, TvDatafeedLive
from tvDatafeed.config import DataConfig, ThreadingConfig
from tvDatafeed.testing import FakeTradingView

MINUTE = Interval.in_1_minute
BTC = ("BTCUSD", "BITSTAMP", MINUTE)


class LiveServer(FakeTradingView):
    """A loopback TradingView whose clock stands still until it is moved."""

    def __init__(self, now=NOW, **options):
        self.now = now
        super().__init__(clock=lambda: self.now, **options)

    def move(self, seconds=60.0, *, tick=True):
        """Advance the time, and return the events of it."""
        self.now += seconds
        if tick:
            self.tick()

    def closed(self, seis=BTC, count=1):
        """The opens of the last bars that are closed now."""
        symbol = f"{seis[1]}:{seis[0]}"
        bars = self.market.bars(symbol, seis[2].value, count + 1, self.now)
        return [pd.Timestamp(bar.time, unit="s", tz="UTC") for bar in bars[:-1]]


class Bars:
    """A callback that remembers what it was called with."""

    def __init__(self, before=None):
        self.frames = []
        self.seises = []
        self._before = before
        self._changed = threading.Condition()

    def __call__(self, seis, data):
        if self._before is not None:
            self._before(seis, data)
        with self._changed:
            self.frames.append(data)
            self.seises.append(seis)
            self._changed.notify_all()

    def wait(self, count, timeout=PATIENCE_S):
        """Wait for a number of calls, and return whether they came."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self.frames) >= count, timeout)

    @property
    def opens(self):
        """The opens of all bars so far."""
        return [frame.index[0] for frame in self.frames]


class Calls:
    """A hook that remembers what it was called with."""

    def __init__(self):
        self.calls = []
        self._changed = threading.Condition()

    def __call__(self, *arguments):
        with self._changed:
            self.calls.append(arguments)
            self._changed.notify_all()

    def wait(self, condition, timeout=PATIENCE_S):
        """Wait until something is true of the calls."""
        with self._changed:
            return self._changed.wait_for(lambda: condition(self.calls), timeout)


def live_config(server, *, data=None, threads=None, **network):
    """Return settings that try again after hundredths of a second, in UTC."""
    limits = {"base_retry_delay": 0.02, "max_retry_delay": 0.1, "requests_per_minute": 6000}
    return dataclasses.replace(
        server.config(**{**limits, "burst_size": 100, **network}),
        data=DataConfig(**{"timezone": "UTC", **(data or {})}),
        threading=ThreadingConfig(**(threads or {})),
    )


def live(server, *, hooks=None, **settings):
    """Return a feed with such settings."""
    return TvDatafeedLive(config=live_config(server, **settings), **(hooks or {}))


def until(condition, timeout=PATIENCE_S):
    """Wait for something that has no event."""
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            return False
        threading.Event().wait(0.005)
    return True
