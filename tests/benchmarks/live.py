"""P6, P7 and P9 of the live feed: from wire to callback, and what a thousand Seises cost.

``python -m tests.benchmarks.live seises|threads COUNT`` prints the memory of a number of Seises or
of bare threads, in a process in which nothing else was measured before.
"""

import json
import math
import queue
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.benchmarks.live_server import SYMBOLS
from tests.benchmarks.measure import Figure, line_through
from tests.benchmarks.server import NOW
from tvDatafeed import Interval, TvDatafeedConfig, TvDatafeedLive
from tvDatafeed.config import NetworkConfig
from tvDatafeed.frames.bars import LiveRows
from tvDatafeed.frames.repeats import RepeatedHours
from tvDatafeed.protocol.bars import Bar

P6_P50_MS, P6_P99_MS, P6_RATIO = 0.7, 3.0, 1.5
# A Seis beside slow callbacks, against beside quick ones. The p99 is one of a few bars.
P6_P50_RATIO, P6_P99_RATIO = 1.2, 1.5
P7_CPU_PERCENT, P7_KILOBYTES = 0.1, 70.0
MIN_FIT = 0.95
SIMULTANEOUS = 500
LISTENERS = 200
SLOW_S = 0.02
IDLE = 1000
IDLE_S = 10.0
_PATIENCE_S = 60.0
# The threads go to sleep again, as between real bars.
_PAUSE_S = 0.005
_ROUNDS = 7
_EDGES_MS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)


class ClosingProcess:
    """A server in another process, whose bars close on command."""

    def __init__(self, process: "subprocess.Popen[str]", url: str) -> None:
        self.url = url
        self._process = process

    def close_bars(self, behind: int, first: int = 0) -> float:
        """Close a bar of each series of ``SYMBOLS[first:behind]``, and return the moment."""
        if self._process.stdin is None or self._process.stdout is None:
            raise SystemExit("the server is gone")
        self._process.stdin.write(f"{first} {behind}\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())


@contextmanager
def closing_server() -> Iterator[ClosingProcess]:
    """Run the server in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.live_server"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            url = process.stdout.readline().strip() if process.stdout else ""
            if not url:
                raise SystemExit("the server did not start")
            yield ClosingProcess(process, url)
        finally:
            process.terminate()


class Calls:
    """When callbacks began, and of which Seises; it wakes its waiter once, not at each call.

    Parameters
    ----------
    then
        Called after that, as the work of the callback.
    """

    def __init__(self, then: Callable[[], object] | None = None) -> None:
        self.moments: list[float] = []
        self.seises: list[object] = []
        self._then = then
        self._wanted = 0
        self._reached = threading.Event()

    def __call__(self, seis: object, _data: object) -> None:
        now = time.monotonic()
        # To append is atomic.
        self.seises.append(seis)
        self.moments.append(now)
        if len(self.moments) >= self._wanted:
            self._reached.set()
        if self._then is not None:
            self._then()

    def expect(self, count: int) -> None:
        """Set how many calls in all `wait` waits for; before the first of them may come."""
        self._reached.clear()
        self._wanted = count
        if len(self.moments) >= count:
            self._reached.set()

    def wait(self, count: int | None = None) -> None:
        """Wait for the expected calls, or for another number of them."""
        if count is not None:
            self.expect(count)
        if not self._reached.wait(_PATIENCE_S):
            raise SystemExit("the bars did not come")

    def check(self, each: int) -> None:
        """Check that each Seis was called so often: no bar was lost or came twice."""
        wrong = {seis: n for seis, n in Counter(self.seises).items() if n != each}
        if wrong:
            raise SystemExit(f"{len(wrong)} Seises were not called {each} times: {wrong}")


@contextmanager
def feed_of(
    url: str,
    count: int,
    *,
    max_sessions: int = 100,
    others: Calls | None = None,
    second: Callable[[Any, Any], object] | None = None,
) -> Iterator[Calls]:
    """Follow symbols with a consumer each; return the calls when each was called once.

    Parameters
    ----------
    url
        The server.
    count
        How many of ``SYMBOLS``.
    max_sessions
        How many sessions run on a connection.
    others
        Takes the calls of all symbols but the last, if they are separate.
    second
        A second callback of all symbols.
    """
    network = NetworkConfig(
        ws_url=url, max_sessions=max_sessions, requests_per_minute=6000, burst_size=100
    )
    calls = Calls()
    symbols = SYMBOLS[:count]
    with TvDatafeedLive(verbose=False, config=TvDatafeedConfig(network=network)) as tvl:

        def follow(part: list[str]) -> None:
            for symbol in part:
                is_other = others is not None and symbol != symbols[-1]
                callback = others if is_other and others is not None else calls
                tvl.subscribe(symbol, "", Interval.in_1_minute, callback)
                if second is not None:
                    tvl.subscribe(symbol, "", Interval.in_1_minute, second)

        threads = [threading.Thread(target=follow, args=(symbols[n::8],)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if others is not None:
            others.wait(count - 1)
        calls.wait(count if others is None else 1)
        yield calls
        if any(status.dropped for status in tvl.status()):
            raise SystemExit("bars were dropped")


class BareThreads:
    """The bare way: threads that wait on a queue each, build the frame of a bar and pass it on.

    Nothing of the feed is in it but the builder of the frame.

    Parameters
    ----------
    count
        How many threads.
    callback
        Called with a number and the frame, as a callback with its Seis.
    """

    def __init__(self, count: int, callback: Callable[[int, Any], object]) -> None:
        self._callback = callback
        self._queues: list[queue.SimpleQueue[Bar | None]] = [
            queue.SimpleQueue() for _ in range(count)
        ]
        for number in range(count):
            threading.Thread(target=self._run, args=(number,), daemon=True).start()

    def _run(self, number: int) -> None:
        rows = LiveRows(SYMBOLS[number], RepeatedHours())
        while (bar := self._queues[number].get()) is not None:
            frame = rows.frame(
                bar,
                is_closed=True,
                zone_name=None,
                delay_s=0,
                fill_missing_volume="zero",
                last_volume=math.nan,
            )
            self._callback(number, frame)

    def wake(self) -> float:
        """Pass a bar to each thread, and return the moment before the first."""
        bar = Bar(NOW, 1.5, 2.5, 1.0, 2.0, 3.0)
        begun = time.monotonic()
        for waiting in self._queues:
            waiting.put(bar)
        return begun

    def end(self) -> None:
        """End the threads."""
        for waiting in self._queues:
            waiting.put(None)


def live_figures(tvkit: str | None, runs: int) -> Iterator[Figure]:
    """P6: the closing tick on the wire to the start of the callback."""
    yield from one_seis(runs)
    if tvkit:
        yield _peer(tvkit, runs)
    yield from many_at_once(SIMULTANEOUS, _ROUNDS)
    yield from beside_a_blocked_callback(runs)
    yield from beside_slow_callbacks(LISTENERS, max(runs // 5, 20))


def one_seis(runs: int) -> Iterator[Figure]:
    """P6: one Seis, and a bar from time to time."""
    with closing_server() as server, feed_of(server.url, 1) as calls:
        latencies = [_latency_ms(server, calls, 1) for _ in range(runs)]
        calls.check(runs + 1)
    p50, p99 = percentiles(latencies)
    measured = f"p50 {p50:.2f} ms, p99 {p99:.2f} ms"
    target = f"p50 at most {P6_P50_MS:g} ms, p99 {P6_P99_MS:g} ms"
    holds = p50 <= P6_P50_MS and p99 <= P6_P99_MS
    work = f"closing tick -> callback, {runs} bars"
    yield Figure("P6", work, measured, target, holds, value=p50, unit="ms")
    yield Figure("P6", "histogram, ms: bars", histogram(latencies), "", None)


def many_at_once(count: int, rounds: int) -> Iterator[Figure]:
    """P6: many Seises close at the same instant, in turn with bare threads."""
    ours, bare = [], []
    bare_calls = Calls()
    threads = BareThreads(count, bare_calls)
    with closing_server() as server, feed_of(server.url, count, max_sessions=count) as calls:
        for number in range(rounds + 1):
            bare_calls.expect(count * (number + 1))
            begun = threads.wake()
            bare_calls.wait()
            bare.append((bare_calls.moments[-1] - begun) * 1000)
            time.sleep(0.1)
            ours.append(_latency_ms(server, calls, count))
            time.sleep(0.1)
        calls.check(rounds + 2)
    threads.end()
    # The first round creates the rows of the bare threads.
    last, floor = statistics.median(ours[1:]), statistics.median(bare[1:])
    ratio = last / floor
    yield Figure(
        "P6",
        f"{count} Seis close at once: the last callback",
        f"{last:.0f} ms, bare {floor:.0f}: {ratio:.2f} x",
        f"at most {P6_RATIO:g} x {count} bare threads",
        ratio <= P6_RATIO,
        value=ratio,
        unit="x",
    )


def beside_a_blocked_callback(runs: int) -> Iterator[Figure]:
    """P6: a Seis whose connection also serves one with a callback that never returns.

    In turn with the same beside a callback that returns at once, on another server.
    """
    released = threading.Event()
    blocked, quick = Calls(released.wait), Calls()
    beside_ms, alone_ms = [], []
    with (
        closing_server() as server,
        closing_server() as other_server,
        feed_of(server.url, 2, others=blocked) as beside,
        feed_of(other_server.url, 2, others=quick) as alone,
    ):
        try:
            for _ in range(runs):
                alone_ms.append(_latency_ms(other_server, alone, 2, calls_each=1))
                beside_ms.append(_latency_ms(server, beside, 2, calls_each=1))
        finally:
            released.set()
        for calls in (blocked, quick, beside, alone):
            calls.wait(runs + 1)
            calls.check(runs + 1)
    yield _beside("one blocked callback", beside_ms, alone_ms)


def beside_slow_callbacks(count: int, runs: int) -> Iterator[Figure]:
    """P6: a Seis that closes right after many others, whose callbacks are slow.

    In turn with the same when they return at once.
    """
    waits: list[float] = []
    others = Calls(lambda: waits and time.sleep(waits[-1]))
    slow_ms, quick_ms = [], []
    behind = count + 1
    with (
        closing_server() as server,
        feed_of(server.url, behind, max_sessions=behind, others=others) as calls,
    ):
        for number in range(2 * runs):
            is_slow = number % 2 == 1
            waits[:] = [SLOW_S] if is_slow else []
            latency_ms = _latency_ms(server, calls, behind, calls_each=1)
            (slow_ms if is_slow else quick_ms).append(latency_ms)
            others.wait(count * (number + 2))
            time.sleep(SLOW_S + _PAUSE_S)
        for each in (others, calls):
            each.check(2 * runs + 1)
    yield _beside(f"{count} slow callbacks", slow_ms, quick_ms)


def _beside(what: str, beside_ms: list[float], alone_ms: list[float]) -> Figure:
    (p50, p99), (p50_alone, p99_alone) = percentiles(beside_ms), percentiles(alone_ms)
    ratio = p50 / p50_alone
    return Figure(
        "P6",
        f"beside {what}: p50, p99",
        f"{p50:.2f}, {p99:.2f} ms; quick {p50_alone:.2f}, {p99_alone:.2f}",
        f"at most {P6_P50_RATIO:g} x, {P6_P99_RATIO:g} x of beside quick ones",
        ratio <= P6_P50_RATIO and p99 <= P6_P99_RATIO * p99_alone,
        value=ratio,
        unit="x",
    )


def idle_figures() -> Iterator[Figure]:
    """P7: a thousand Seises with a consumer each, in which nothing happens."""
    ours, bare = (_in_a_process(what, IDLE) for what in ("seises", "threads"))
    percent = ours["cpu_percent"]
    yield Figure(
        "P7",
        f"{IDLE} Seis idle: CPU",
        f"{percent:.2f} % of one core",
        f"at most {P7_CPU_PERCENT:g} %",
        percent <= P7_CPU_PERCENT,
        value=percent,
        unit="%",
    )
    each, floor = ours["kilobytes"], bare["kilobytes"]
    if each is None or floor is None:
        yield Figure("P7", f"{IDLE} Seis idle: memory", "no /proc here", "", None)
        return
    yield Figure(
        "P7",
        f"{IDLE} Seis idle: resident, each with a consumer",
        f"{each:.0f} kB a Seis, bare threads {floor:.0f}",
        f"at most {P7_KILOBYTES:g} kB",
        each <= P7_KILOBYTES,
        value=each,
        unit="kB",
    )


def cost_of_seises(count: int, idle_s: float) -> dict[str, float | None]:
    """Return the memory of a Seis whose consumer was called, and the CPU while nothing happens."""
    with closing_server() as server:
        with feed_of(server.url, 1) as _warm:
            before = resident_kilobytes()
        with feed_of(server.url, count):
            grown = resident_kilobytes()
            cpu, wall = time.process_time(), time.perf_counter()
            time.sleep(idle_s)
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {"kilobytes": _each(before, grown, count), "cpu_percent": cpu / wall * 100}


def cost_of_threads(count: int) -> dict[str, float | None]:
    """Return the memory of a bare thread that has passed on one frame."""
    calls = Calls()
    warm = BareThreads(1, calls)
    warm.wake()
    calls.wait(1)
    before = resident_kilobytes()
    threads = BareThreads(count, calls)
    threads.wake()
    calls.wait(count + 1)
    grown = resident_kilobytes()
    for each in (warm, threads):
        each.end()
    return {"kilobytes": _each(before, grown, count)}


def growth_by_seises() -> Iterator[Figure]:
    """P9: what a bar costs is a straight line in the number of Seises."""
    counts, costs_ms = [100, 200, 300, 400, 500], []
    with closing_server() as server, feed_of(server.url, 500, max_sessions=500) as calls:
        for count in counts:
            best = math.inf
            for _ in range(5):
                cpu = time.process_time()
                _latency_ms(server, calls, count)
                best = min(best, time.process_time() - cpu)
            costs_ms.append(best * 1000)
    slope, fit = line_through(counts, costs_ms)
    measured = f"{slope * 1000:.0f} us CPU a bar, R² {fit:.3f}"
    yield Figure(
        "P9",
        "100 to 500 Seis close a bar",
        measured,
        "a straight line",
        fit >= MIN_FIT,
        value=slope * 1000,
        unit="us",
    )


def percentiles(latencies: Sequence[float]) -> tuple[float, float]:
    """Return the p50 and the p99."""
    ordered = sorted(latencies)
    return statistics.median(ordered), ordered[int(len(ordered) * 0.99)]


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


def _latency_ms(
    server: ClosingProcess, calls: Calls, behind: int, *, calls_each: int | None = None
) -> float:
    """Close a bar of some Seises; return how long after it the last of the calls began."""
    calls.expect(len(calls.moments) + (calls_each or behind))
    sent = server.close_bars(behind)
    calls.wait()
    latency_ms = (calls.moments[-1] - sent) * 1000
    time.sleep(_PAUSE_S)
    return latency_ms


def _each(before: float | None, grown: float | None, count: int) -> float | None:
    return None if before is None or grown is None else (grown - before) / count


def _in_a_process(what: str, count: int) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.live", what, str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


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
                time.sleep(_PAUSE_S)
            peer.terminate()
    p50, p99 = percentiles(latencies)
    measured = f"p50 {p50:.2f} ms, p99 {p99:.2f} ms"
    return Figure("P6", "the same, tvkit's stream", measured, "", None, value=p50, unit="ms")


if __name__ == "__main__":
    costs = {
        "seises": lambda count: cost_of_seises(count, IDLE_S),
        "threads": cost_of_threads,
    }
    print(json.dumps(costs[sys.argv[1]](int(sys.argv[2]))))
