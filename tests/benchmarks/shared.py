"""D5: the closing tick on the wire to a callback in another process, over Redis on loopback.

``python -m tests.benchmarks.shared read URL`` is that process, and ``... bare URL`` the same with
the package redis alone: each prints the monotonic clock, which all processes of a machine share,
at the begin of each callback.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

from tests.benchmarks.live import closing_server, histogram
from tests.benchmarks.live_server import SYMBOLS
from tests.benchmarks.measure import Figure, p50_p99
from tests.delivery.redisserver import NO_SERVER, RedisServer, has_server
from tvDatafeed import Interval, TvDatafeedConfig, TvDatafeedLive
from tvDatafeed.config import NetworkConfig
from tvDatafeed.delivery import RedisFeed, RedisPublisher

D5_P50_MS, D5_P99_MS = 2.5, 10.0
_TARGET = f"p50 at most {D5_P50_MS:g} ms, p99 {D5_P99_MS:g} ms"
_WARM_UP = 10
_BARE = "bare"


def shared_feed(runs: int) -> Iterator[Figure]:
    """D5: a live feed with a publisher here, a feed in another process."""
    if not has_server():
        yield Figure("D5", "closing tick -> callback elsewhere", NO_SERVER, _TARGET, None)
        return
    with closing(RedisServer()) as redis:
        latencies = _through_the_feed(redis, runs)
        bare = _bare(redis, runs)
    (p50, p99), (bare_p50, bare_p99) = p50_p99(latencies), p50_p99(bare)
    holds = p50 <= D5_P50_MS and p99 <= D5_P99_MS
    work = f"closing tick -> other process, {runs} bars"
    measured = f"p50 {p50:.2f} ms, p99 {p99:.2f} ms"
    yield Figure("D5", work, measured, _TARGET, holds, value=p50, unit="ms")
    yield Figure("D5", "histogram, ms: bars", histogram(latencies), "", None)
    measured = f"p50 {bare_p50:.2f} ms, p99 {bare_p99:.2f} ms: {p50 / bare_p50:.1f} x"
    yield Figure("D5", "XADD -> XREAD BLOCK, the package alone", measured, "", None)


@contextmanager
def _reader(what: str, url: str) -> "Iterator[subprocess.Popen[str]]":
    command = [sys.executable, "-m", "tests.benchmarks.shared", what, url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            if process.stdout is None or process.stdout.readline() != "ready\n":
                raise SystemExit("the reader did not start")
            yield process
        finally:
            process.terminate()


def _moment(process: "subprocess.Popen[str]") -> float:
    line = process.stdout.readline() if process.stdout else ""
    if not line:
        raise SystemExit("the reader is gone")
    return float(line)


def _through_the_feed(redis: RedisServer, runs: int) -> list[float]:
    latencies = []
    with closing_server() as server, _reader("read", redis.url) as reader:
        config = TvDatafeedConfig(network=NetworkConfig(ws_url=server.url))
        with (
            RedisPublisher(redis.url) as publisher,
            TvDatafeedLive(verbose=False, config=config) as tvl,
        ):
            tvl.subscribe(SYMBOLS[0], "", Interval.in_1_minute, publisher)
            # The bar that closed last comes at once.
            _moment(reader)
            for _ in range(runs + _WARM_UP):
                sent = server.close_bars(1)
                latencies.append((_moment(reader) - sent) * 1000)
                # The threads go to sleep again, as between real bars.
                time.sleep(0.005)
    return latencies[_WARM_UP:]


def _bare(redis: RedisServer, runs: int) -> list[float]:
    import redis as package  # noqa: PLC0415 - absent where there is no server

    latencies = []
    with _reader(_BARE, redis.url) as reader, package.Redis(port=redis.port) as client:
        for number in range(runs + _WARM_UP):
            sent = time.monotonic()
            client.xadd(_BARE, {"open": "1.5", "close": "2.0"}, f"{number + 1}-0")
            latencies.append((_moment(reader) - sent) * 1000)
            time.sleep(0.005)
    return latencies[_WARM_UP:]


def read(url: str) -> None:
    """Print when each callback begins."""

    def note(_seis: object, _data: object) -> None:
        print(time.monotonic(), flush=True)

    with RedisFeed(url) as feed:
        feed.subscribe(SYMBOLS[0], "", Interval.in_1_minute, note)
        print("ready", flush=True)
        feed.wait()


def read_bare(url: str) -> None:
    """Print when each entry is there, by the package alone."""
    import redis  # noqa: PLC0415 - absent where there is no server

    last = "0-0"
    with redis.Redis.from_url(url, protocol=2) as client:
        client.ping()
        print("ready", flush=True)
        while True:
            for _key, entries in client.xread({_BARE: last}, block=1000) or ():
                for entry_id, _fields in entries:
                    print(time.monotonic(), flush=True)
                    last = entry_id


if __name__ == "__main__":
    {"read": read, _BARE: read_bare}[sys.argv[1]](sys.argv[2])
