"""A clock for the benchmark's tests: work can take any time without a wait."""

import time

import pytest


class SkippingClock:
    """The real clocks, and what was skipped: lower bounds hold however busy the machine is."""

    def __init__(self, monkeypatch):
        self._skipped_s = 0.0
        for name in ("perf_counter", "process_time"):
            read = getattr(time, name)
            monkeypatch.setattr(time, name, lambda read=read: read() + self._skipped_s)

    def skip(self, seconds):
        self._skipped_s += seconds

    def slowed(self, work, seconds):
        """Return the work as it would be if it took some seconds longer."""

        def slow(*arguments, **options):
            self.skip(seconds)
            return work(*arguments, **options)

        return slow


@pytest.fixture
def clock(monkeypatch):
    return SkippingClock(monkeypatch)
