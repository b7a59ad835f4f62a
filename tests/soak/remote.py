"""A loopback TradingView in a process of its own, which obeys commands."""

import dataclasses
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from tests.loopback import NOW
from tvDatafeed import TvDatafeedConfig
from tvDatafeed.testing import FakeTradingView, Market, MarketClock


def coins(count: int) -> Market:
    """Make a market of a number of coins, which trade around the clock."""
    bitcoin = Market().find("BITSTAMP:BTCUSD")
    if bitcoin is None:
        raise SystemExit("no such listing")
    symbols = [f"NASDAQ:C{number:04}" for number in range(count)]
    return Market(tuple(dataclasses.replace(bitcoin, symbol=symbol) for symbol in symbols))


class RemoteServer:
    """The server at the other end of a pipe."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def call(self, name: str, *arguments: Any) -> Any:
        """Call a method of the server, or of its clock ("clock.set")."""
        self._pipe.send((name, arguments))
        return self._pipe.recv()

    def config(self, **overrides: Any) -> TvDatafeedConfig:
        """Return a configuration that points at the server."""
        config: TvDatafeedConfig = self.call("config")
        network = dataclasses.replace(config.network, **overrides)
        return dataclasses.replace(config, network=network)


@contextmanager
def remote_server(seises: int, speed: float) -> Iterator[RemoteServer]:
    """Run the server."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, seises, speed), daemon=True)
    process.start()
    try:
        ours.recv()
        yield RemoteServer(ours)
    finally:
        process.terminate()
        process.join()
        ours.close()
        theirs.close()


def _serve(pipe: Connection, seises: int, speed: float) -> None:
    clock = MarketClock(NOW, speed=speed)
    with FakeTradingView(
        market=coins(seises), clock=clock, tick_interval_s=0.1, heartbeat_interval_s=0.5
    ) as server:
        pipe.send("ready")
        while True:
            name, arguments = pipe.recv()
            if name == "now":
                pipe.send(clock())
            elif name == "stop the clock between two bars":
                clock.speed = 0
                # Closed bars are reported once the next bars have begun.
                clock.set(clock() // 60 * 60 + 90)
                pipe.send(clock())
            else:
                pipe.send(getattr(server, name)(*arguments))
