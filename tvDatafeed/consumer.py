"""The old import path of `Consumer`."""

from tvDatafeed.live.seis import Consumer

__all__ = ["Consumer"]
