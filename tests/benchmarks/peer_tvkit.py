"""Bars of many symbols through tvkit, in an interpreter with that package.

``python peer_tvkit.py URL [--daily SYMBOL ...] [--minute SYMBOL ...]``, with the ws:// URL of a
loopback server and symbols as ``EXCHANGE:NAME``, each but once: tvkit leaves out repetitions.
Prints one JSON object of wall milliseconds after one call to warm up: ``daily_ms`` for 300 daily
bars of each symbol as tvkit does it best, by its batch download, ``daily_in_turn_ms`` for the same
one after the other, and ``minute_ms`` for 5000 one-minute bars of each, one after the other.

It needs Python 3.11 and nothing but ``pip install tvkit`` (0.18.0). Its endpoints are fixed in its
source, so it is led to the loopback server: the WebSocket, and the page of a symbol, which it asks
for before it asks for bars. It opens a connection for each call.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Awaitable
from urllib.parse import urlsplit

import httpx
import tvkit.api.chart.ohlcv as peer
from tvkit.batch import BatchDownloadRequest, batch_download

CONCURRENCY = 20


def lead_to(url: str) -> None:
    """Redirect all requests of tvkit to the loopback server."""
    peer._STANDARD_WS_URL = url
    base_url = f"http://{urlsplit(url).netloc}"
    get = httpx.AsyncClient.get

    async def get_from_loopback(client: httpx.AsyncClient, url: str) -> httpx.Response:
        return await get(client, url.replace("https://www.tradingview.com", base_url))

    httpx.AsyncClient.get = get_from_loopback


async def in_turn(symbols: list[str], interval: str, count: int) -> None:
    """Ask for one symbol after the other."""
    async with peer.OHLCV() as client:
        for symbol in symbols:
            bars = await client.get_historical_ohlcv(symbol, interval, bars_count=count)
            if len(bars) != count:
                raise SystemExit(f"the peer got {len(bars)} bars of {symbol}")


async def at_once(symbols: list[str], interval: str, count: int) -> None:
    """Ask for all symbols by tvkit's own batch download."""
    request = BatchDownloadRequest(
        symbols=symbols, interval=interval, bars_count=count, concurrency=CONCURRENCY
    )
    summary = await batch_download(request)
    if [len(result.bars) for result in summary.results] != [count] * len(symbols):
        raise SystemExit("the peer did not get its bars")


async def wall_ms(work: Awaitable[None]) -> float:
    """Run some work and say how long it took."""
    start = time.perf_counter()
    await work
    return (time.perf_counter() - start) * 1000


async def main() -> None:
    """Measure each kind of work that symbols are given for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("url")
    parser.add_argument("--daily", nargs="+", default=[])
    parser.add_argument("--minute", nargs="+", default=[])
    arguments = parser.parse_args()
    lead_to(arguments.url)
    figures = {}
    await at_once((arguments.daily + arguments.minute)[:1], "1D", 10)
    if arguments.daily:
        figures["daily_ms"] = await wall_ms(at_once(arguments.daily, "1D", 300))
        figures["daily_in_turn_ms"] = await wall_ms(in_turn(arguments.daily, "1D", 300))
    if arguments.minute:
        figures["minute_ms"] = await wall_ms(in_turn(arguments.minute, "1", 5000))
    print(json.dumps(figures))


if __name__ == "__main__":
    asyncio.run(main())
