"""The same requests through tvdatafeed-enhanced, in an interpreter with that package.

``python peer_enhanced.py URL RUNS`` prints one JSON object: CPU and wall milliseconds of one warm
call for 5000 one-minute bars, medians.

``python peer_enhanced.py URL --daily SYMBOL ... --minute SYMBOL ...``, with symbols as
``EXCHANGE:NAME``, prints wall milliseconds after one call to warm up: ``daily_ms`` for 300 daily
bars of each symbol as it does it best, by ``get_hist_multi`` with its 20 connections,
``daily_in_turn_ms`` for the same by one ``get_hist`` after the other, and ``minute_ms`` for 5000
one-minute bars of each, in turn too.

``pip install tvdatafeed-enhanced`` (2.2.1) leaves out websocket-client, which it imports: install
that too. Its endpoint is fixed in its source, so the connections it asks for are led to the
loopback server, and it opens one for each symbol. It is named tvDatafeed as we are: no folder of
ours may stand on its path.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import tvDatafeed.main as peer

ORIGIN = "https://data.tradingview.com"


def lead_to(url: str) -> None:
    """Redirect each connection to the loopback server."""
    connect, connect_async = peer.create_connection, peer.connect

    def connect_to_loopback(_url: str, **options: object) -> object:
        options.pop("header", None)
        return connect(url, origin=ORIGIN, **options)

    def connect_to_loopback_async(_url: str, **options: object) -> object:
        return connect_async(url, **options)

    peer.create_connection = connect_to_loopback
    peer.connect = connect_to_loopback_async


def check(frame: object, count: int) -> None:
    """Stop unless there are all bars."""
    if frame is None or len(frame) != count:
        raise SystemExit("the peer did not get its bars")


def warm_call(client: peer.TvDatafeed, runs: int) -> dict[str, float]:
    """Measure ``get_hist`` of 5000 one-minute bars."""

    def fetch() -> None:
        check(client.get_hist("AAPL", "NASDAQ", peer.Interval.in_1_minute, n_bars=5000), 5000)

    fetch()
    cpu, wall = [], []
    for _ in range(runs):
        cpu_start, wall_start = time.process_time(), time.perf_counter()
        fetch()
        cpu.append(time.process_time() - cpu_start)
        wall.append(time.perf_counter() - wall_start)
    return {
        "cpu_ms": statistics.median(cpu) * 1000,
        "wall_ms": statistics.median(wall) * 1000,
    }


def in_turn(client: peer.TvDatafeed, symbols: list[str], interval: object, count: int) -> None:
    """Ask for one symbol after the other."""
    for symbol in symbols:
        check(client.get_hist(symbol, interval=interval, n_bars=count), count)


def at_once(client: peer.TvDatafeed, symbols: list[str], interval: object, count: int) -> None:
    """Ask for all symbols by its own concurrent call."""
    frames = client.get_hist_multi(symbols, interval=interval, n_bars=count)
    for symbol in symbols:
        check(frames[symbol], count)


def wall_ms(work: Callable[..., None], *arguments: object) -> float:
    """Run some work and say how long it took."""
    start = time.perf_counter()
    work(*arguments)
    return (time.perf_counter() - start) * 1000


def main() -> None:
    """Measure what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("url")
    parser.add_argument("runs", type=int, nargs="?", default=0)
    parser.add_argument("--daily", nargs="+", default=[])
    parser.add_argument("--minute", nargs="+", default=[])
    arguments = parser.parse_args()
    lead_to(arguments.url)
    client, day, minute = peer.TvDatafeed(), peer.Interval.in_daily, peer.Interval.in_1_minute
    figures = warm_call(client, arguments.runs) if arguments.runs else {}
    if arguments.daily:
        at_once(client, arguments.daily[:1], day, 10)
        figures["daily_ms"] = wall_ms(at_once, client, arguments.daily, day, 300)
        figures["daily_in_turn_ms"] = wall_ms(in_turn, client, arguments.daily, day, 300)
    if arguments.minute:
        figures["minute_ms"] = wall_ms(in_turn, client, arguments.minute, minute, 5000)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
