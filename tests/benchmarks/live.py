"""P6, P7 and P9 of the live feed: from wire to callback, and what a thousand Seises cost."""

import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.benchmarks.live_server import SYMBOLS
from tests.benchmarks.measure import Figure, line_through
from tvDatafeed import Interval, TvDatafeedConfig, TvDatafeedLive
from tvDatafeed.config import NetworkConfig

P6_P50_MS, P6_P99_MS, P6_LAST_MS = 1.0, 5.0, 250.0
P7_CPU_PERCENT, P7_KILOBYTES = 1.0, 50.0
MIN_FIT = 0.95
IDLE_S = 10.0
_EDGES_MS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)


class _Closings:
    """A server that closes bars on demand."""

    def __init__(self, process: "subprocess.Popen[str]", url: str) -> None:
        self.url = url
        self._process = process

    def close_bars(self, count: int) -> float:
        """Close a bar of a number of series, and return the moment."""
        if self._process.stdin is None or self._process.stdout is None:
            raise SystemExit("the server is gone")
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())


@contextmanager
def closing_server() -> Iterator[_Closings]:
    """Run the server in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.live_server"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            url = process.stdout.readline().strip() if process.stdout else ""
            if not url:
                raise SystemExit("the server did not start")
            yield _Closings(process, url)
        finally:
            process.terminate()


class _Calls:
    """When callbacks began."""

    def __init__(self) -> None:
        self.moments: list[float] = []
        self._changed = threading.Condition()

    def __call__(self, _seis: object, _data: object) -> None:
        now = time.monotonic()
        with self._changed:
            self.moments.append(now)
            self._changed.notify_all()

    def wait(self, count: int) -> None:
        """Wait for a number of bars."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.moments) >= count, 60):
                raise SystemExit("the bars did not come")


@contextmanager
def feed_of(
    url: str,
    count: int,
    *,
    max_sessions: int = 100,
    second: Callable[[Any, Any], object] | None = None,
) -> Iterator[_Calls]:
    """Follow symbols with a consumer each, or with a second one; return the calls of the first."""
    network = NetworkConfig(
        ws_url=url, max_sessions=max_sessions, requests_per_minute=6000, burst_size=100
    )
    calls = _Calls()
    with TvDatafeedLive(verbose=False, config=TvDatafeedConfig(network=network)) as tvl:

        def follow(part: list[str]) -> None:
            for symbol in part:
                tvl.subscribe(symbol, "", Interval.in_1_minute, calls)
                if second is not None:
                    tvl.subscribe(symbol, "", Interval.in_1_minute, second)

        threads = [threading.Thread(target=follow, args=(SYMBOLS[:count][n::8],)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        calls.wait(count)
        yield calls


def live_figures(tvkit: str | None, runs: int) -> Iterator[Figure]:
    """P6: the closing tick on the wire to the start of the callback."""
    with closing_server() as server, feed_of(server.url, 1) as calls:
        latencies = []
        for _ in range(runs):
            sent = server.close_bars(1)
            calls.wait(len(latencies) + 2)
            latencies.append((calls.moments[-1] - sent) * 1000)
            # The threads go to sleep again, as between real bars.
            time.sleep(0.005)
    latencies.sort()
    p50, p99 = statistics.median(latencies), latencies[int(len(latencies) * 0.99)]
    measured = f"p50 {p50:.2f} ms, p99 {p99:.2f} ms"
    target = f"p50 at most {P6_P50_MS:g} ms, p99 {P6_P99_MS:g} ms"
    holds = p50 <= P6_P50_MS and p99 <= P6_P99_MS
    yield Figure("P6", f"closing tick -> callback, {runs} bars", measured, target, holds)
    yield Figure("P6", "histogram, ms: bars", histogram(latencies), "", None)
    if tvkit:
        yield _peer(tvkit, runs)
    with closing_server() as server, feed_of(server.url, 500, max_sessions=500) as calls:
        lasts = []
        for number in range(1, 8):
            sent = server.close_bars(500)
            calls.wait(500 * (number + 1))
            lasts.append((calls.moments[-1] - sent) * 1000)
            time.sleep(0.1)
    last = statistics.median(lasts)
    yield Figure(
        "P6",
        "500 Seis close at once: the last callback",
        f"{last:.0f} ms (worst of 7: {max(lasts):.0f})",
        f"within {P6_LAST_MS:g} ms",
        last <= P6_LAST_MS,
    )


def idle_figures() -> Iterator[Figure]:
    """P7: a thousand Seises with a consumer each, in which nothing happens."""
    with closing_server() as server:
        before = resident_kilobytes()
        with feed_of(server.url, 1) as _warm:
            before = resident_kilobytes()
        with feed_of(server.url, 1000):
            grown = resident_kilobytes()
            cpu, wall = time.process_time(), time.perf_counter()
            time.sleep(IDLE_S)
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    percent = cpu / wall * 100
    yield Figure(
        "P7",
        "1000 Seis idle: CPU",
        f"{percent:.2f} % of one core",
        f"at most {P7_CPU_PERCENT:g} %",
        percent <= P7_CPU_PERCENT,
    )
    if before is None or grown is None:
        yield Figure("P7", "1000 Seis idle: memory", "no /proc here", "", None)
        return
    each = (grown - before) / 1000
    yield Figure(
        "P7",
        "1000 Seis idle: resident, each with a consumer",
        f"{each:.0f} kB a Seis",
        f"at most {P7_KILOBYTES:g} kB",
        each <= P7_KILOBYTES,
    )


def growth_by_seises() -> Iterator[Figure]:
    """P9: what a bar costs is a straight line in the number of Seises."""
    counts, costs_ms = [100, 200, 300, 400, 500], []
    with closing_server() as server, feed_of(server.url, 500, max_sessions=500) as calls:
        seen = counts[-1]
        for count in counts:
            best = 1e9
            for _ in range(5):
                cpu = time.process_time()
                server.close_bars(count)
                seen += count
                calls.wait(seen)
                best = min(best, time.process_time() - cpu)
            costs_ms.append(best * 1000)
    slope, fit = line_through(counts, costs_ms)
    measured = f"{slope * 1000:.0f} us CPU a bar, R² {fit:.3f}"
    yield Figure("P9", "100 to 500 Seis close a bar", measured, "a straight line", fit >= MIN_FIT)


def histogram(latencies_ms: list[float]) -> str:
    """Write how many latencies are below each edge, and not below the one before."""
    parts, below = [], 0
    for edge in _EDGES_MS:
        upto = sum(latency < edge for latency in latencies_ms)
        if upto > below:
            parts.append(f"<{edge:g}: {upto - below}")
        below = upto
    if below < len(latencies_ms):
        parts.append(f"more: {len(latencies_ms) - below}")
    return ", ".join(parts)


def resident_kilobytes() -> float | None:
    """How much memory this process has; None if the system does not report it."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    (line,) = [s for s in status.read_text().splitlines() if s.startswith("VmRSS")]
    return float(line.split()[1])


def _peer(python: str, runs: int) -> Figure:
    with closing_server() as server:
        script = [python, "tests/benchmarks/peer_tvkit_live.py", server.url, SYMBOLS[0], str(runs)]
        with subprocess.Popen(
            script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as peer:
            latencies = []
            if peer.stdout is None or peer.stdout.readline().strip() != "ready":
                return Figure("P6", "the same, tvkit's stream", "does not start", "", None)
            for _ in range(runs):
                sent = server.close_bars(1)
                got = json.loads(peer.stdout.readline())
                latencies.append((got - sent) * 1000)
                time.sleep(0.005)
            peer.terminate()
    latencies.sort()
    p50, p99 = statistics.median(latencies), latencies[int(len(latencies) * 0.99)]
    return Figure("P6", "the same, tvkit's stream", f"p50 {p50:.2f} ms, p99 {p99:.2f} ms", "", None)
