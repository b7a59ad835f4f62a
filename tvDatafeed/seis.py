"""The old import path of `Seis`."""

from tvDatafeed.live.seis import Feed, Seis, State

__all__ = ["Feed", "Seis", "State"]
