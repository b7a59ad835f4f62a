"""D1 to D4: what delivery costs, beside a bare insert and a bare post."""

import http.client
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd

from tests.benchmarks.live import closing_server, feed_of, resident_kilobytes
from tests.benchmarks.measure import Figure, interleaved_ms
from tests.benchmarks.webhook_server import CountingServer, counting_server
from tvDatafeed import Interval, Seis
from tvDatafeed.delivery import DeliveryConfig, Outbox, Webhook
from tvDatafeed.delivery.messages import ClosedBar
from tvDatafeed.delivery.rows import Rows, message_of
from tvDatafeed.frames.bars import LiveRows, RepeatedHours
from tvDatafeed.protocol.bars import Bar

THREADS = LANES = 8
BATCH = 100
WAITING = 100_000

D1_MS, D1_CALLS_A_S = 1.0, 3000
D2_POSTS_A_S, D2_BARS_A_S = 800, 20_000
D3_RATIO, D3_NOISE_MS = 1.25, 0.1
D4_MEGABYTES = 20.0

_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
_OPENED_S = 1_700_000_040
_MINUTE_S = 60
_VALUES = (100.1, 101.0, 99.9, 100.5, 12.5)
# Nothing listens there.
_DOWN = "http://127.0.0.1:1/hook"
_CONFIG = DeliveryConfig(timeout=30)
_INSERT = "INSERT INTO message (lane, id, body) VALUES (?, ?, ?)"


def frames_of(count: int) -> list[pd.DataFrame]:
    """Make frames of one closed bar each, as a live feed delivers them."""
    rows = LiveRows("TEST:S", RepeatedHours())
    return [
        rows.frame(
            Bar(_OPENED_S + _MINUTE_S * n, *_VALUES),
            is_closed=True,
            zone_name="UTC",
            delay_s=0,
            fill_missing_volume="zero",
            last_volume=0.0,
        )
        for n in range(count)
    ]


def series_of(count: int) -> list[Seis]:
    """Return a number of series."""
    return [Seis(f"S{number}", "TEST", Interval.in_1_minute) for number in range(count)]


def enqueueing(runs: int) -> Iterator[Figure]:
    """D1: a call of the hook, against a bare insert and commit that wait for the disk."""
    calls = max(runs * 10, 100)
    body = b"x" * 300
    with tempfile.TemporaryDirectory() as folder:
        with closing(sqlite3.connect(f"{folder}/bare.db", isolation_level=None)) as bare:
            bare.execute("PRAGMA journal_mode = WAL")
            bare.execute("PRAGMA synchronous = FULL")
            bare.execute("CREATE TABLE message (lane TEXT, id TEXT UNIQUE, body BLOB)")
            numbers, frames = iter(range(10**9)), iter(frames_of(calls + 1))
            (seis,) = series_of(1)

            def insert() -> None:
                bare.execute("BEGIN IMMEDIATE")
                bare.execute(_INSERT, ("lane", f"id {next(numbers)}", body))
                bare.execute("COMMIT")

            with Webhook(_DOWN, _SECRET, outbox=f"{folder}/one.db", config=_CONFIG) as hook:
                ours, floor = interleaved_ms(lambda: hook(seis, next(frames)), insert, runs=calls)
        work = f"a bar enqueued, one thread, {calls} calls"
        measured = f"{ours:.2f} ms, bare insert {floor:.2f}: {ours / floor:.1f} x"
        yield Figure("D1", work, measured, f"median at most {D1_MS:g} ms", ours <= D1_MS)
        rates = []
        for attempt in range(3):
            path = f"{folder}/many{attempt}.db"
            with Webhook(_DOWN, _SECRET, outbox=path, config=_CONFIG) as hook:
                rates.append(_calls_a_second(hook, calls))
    rate, bare_rate = statistics.median(rates), 1000 / floor
    measured = f"{rate:.0f} calls a second, bare {bare_rate:.0f}: {rate / bare_rate:.1f} x"
    work = f"the same, {THREADS} threads, {THREADS * calls} calls"
    yield Figure("D1", work, measured, f"at least {D1_CALLS_A_S} a second", rate >= D1_CALLS_A_S)


def _calls_a_second(hook: Webhook, calls: int) -> float:
    """Call a hook from several threads, each with a series of its own."""
    frames = frames_of(calls)

    def work(seis: Seis) -> None:
        for frame in frames:
            hook(seis, frame)

    seconds = _in_threads([(lambda one=one: work(one)) for one in series_of(THREADS)])
    pending = hook.stats()["pending"]
    if pending != THREADS * calls:
        raise SystemExit(f"{pending} messages wait, and {THREADS * calls} were enqueued")
    return THREADS * calls / seconds


def _in_threads(works: list[Callable[[], object]]) -> float:
    """Run works side by side; return how many seconds they took."""
    threads = [threading.Thread(target=work) for work in works]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - started


def posting(runs: int) -> Iterator[Figure]:
    """D2: messages from the outbox to a receiver, against bare posts from as many threads."""
    with counting_server() as server, tempfile.TemporaryDirectory() as folder:
        single, bare = [], []
        for attempt in range(3):
            count = max(runs * 10, 100)
            path = f"{folder}/single{attempt}.db"
            single.append(_bars_a_second(server, path, count, batch=1))
            bare.append(_bare_posts_a_second(server, count))
        rate, floor = statistics.median(single), statistics.median(bare)
        measured = f"{rate:.0f} a second, bare posts {floor:.0f}: {rate / floor:.2f} x"
        work = f"{LANES * count} bars, {LANES} lanes, each a post"
        target = f"at least {D2_POSTS_A_S} a second"
        yield Figure("D2", work, measured, target, rate >= D2_POSTS_A_S)
        count = max(runs * 100, 1000)
        rates = [
            _bars_a_second(server, f"{folder}/batch{attempt}.db", count, batch=BATCH)
            for attempt in range(3)
        ]
    rate = statistics.median(rates)
    target = f"at least {D2_BARS_A_S} a second"
    work = f"{LANES * count} bars, {LANES} lanes, batch={BATCH}"
    yield Figure("D2", work, f"{rate:.0f} bars a second", target, rate >= D2_BARS_A_S)


def _bars_a_second(server: CountingServer, path: str, count: int, *, batch: int) -> float:
    """Send bars that wait in a number of lanes; the clock starts with the webhook."""
    with Outbox(path) as outbox:
        fill(outbox, server.url, series_of(LANES), count)
    before, _size_bytes = server.counts()
    started = time.perf_counter()
    with Webhook(server.url, _SECRET, outbox=path, batch=batch, config=_CONFIG) as hook:
        if not hook.flush(300):
            raise SystemExit("the bars were not delivered")
        seconds = time.perf_counter() - started
    requests = server.counts()[0] - before
    if requests != LANES * -(-count // batch):
        raise SystemExit(f"{requests} requests came")
    return LANES * count / seconds


def fill(outbox: Outbox, url: str, series: list[Seis], count: int) -> None:
    """Write bars of each series into an outbox, many in a transaction."""
    number = outbox.run(lambda rows: rows.destination(url)[0])
    for seis in series:
        key = f"TEST:{seis.symbol}|1"

        def add(rows: Rows, symbol: str = seis.symbol, key: str = key) -> None:
            created_s = time.time()
            for n in range(count):
                bar = ClosedBar(symbol, "TEST", "1", key, _OPENED_S + _MINUTE_S * n, _VALUES)
                message = message_of(bar, 0, created_s)
                rows.add_bar(number, bar, message, created_s, outbox.max_bytes)

        outbox.run(add)


def _bare_posts_a_second(server: CountingServer, count: int) -> float:
    """Post bodies of the same size with `http.client`, unsigned, from memory."""
    parts = urlsplit(server.url)
    body, headers = b"x" * 300, {"Content-Type": "application/json"}

    def work() -> None:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
        for _time in range(count):
            connection.request("POST", parts.path, body, headers)
            connection.getresponse().read()
        connection.close()

    return LANES * count / _in_threads([work] * LANES)


def live_figures(runs: int) -> Iterator[Figure]:
    """D3: P6 with a webhook whose receiver is down as second consumer, against P6 without."""
    with (
        tempfile.TemporaryDirectory() as folder,
        closing_server() as alone,
        closing_server() as shared,
        Webhook(_DOWN, _SECRET, outbox=f"{folder}/outbox.db", config=_CONFIG) as hook,
        feed_of(alone.url, 1) as calls,
        feed_of(shared.url, 1, second=hook) as calls_beside,
    ):
        latencies: dict[bool, list[float]] = {False: [], True: []}
        for number in range(runs):
            for is_beside, server, heard in ((False, alone, calls), (True, shared, calls_beside)):
                sent = server.close_bars(1)
                heard.wait(number + 2)
                latencies[is_beside].append((heard.moments[-1] - sent) * 1000)
                # The threads go to sleep again, as between real bars.
                time.sleep(0.01)
        pending = hook.stats()["pending"]
    if pending < runs:
        raise SystemExit(f"{pending} bars wait in the outbox, and {runs} closed")
    without, beside = (_percentiles(latencies[key]) for key in (False, True))
    measured = f"p50 {beside[0]:.2f} ms, p99 {beside[1]:.2f}"
    target = f"unchanged: p50 {without[0]:.2f} ms, p99 {without[1]:.2f}"
    holds = beside[0] <= max(without[0] * D3_RATIO, without[0] + D3_NOISE_MS)
    yield Figure("D3", f"P6, receiver down, {runs} bars", measured, target, holds)


def _percentiles(latencies: list[float]) -> tuple[float, float]:
    ordered = sorted(latencies)
    return statistics.median(ordered), ordered[int(len(ordered) * 0.99)]


def memory() -> Iterator[Figure]:
    """D4: how much memory a process has while many messages wait, above one without any."""
    for series in (LANES, 1000):
        command = [sys.executable, "-m", "tests.benchmarks.delivery", str(series)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        work = f"{WAITING} messages wait, {series} lanes: memory"
        target = f"below {D4_MEGABYTES:g} MB above idle"
        if not done.stdout.strip():
            yield Figure("D4", work, "no /proc here", target, None)
            continue
        grown = float(done.stdout)
        yield Figure("D4", work, f"{grown:.1f} MB above idle", target, grown < D4_MEGABYTES)


def _measure_memory(series: int) -> None:
    """Print how much this process grows while messages come into its outbox, and wait."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "outbox.db"
        with Webhook(_DOWN, _SECRET, outbox=path, config=_CONFIG) as hook:
            hook.send("a.b", 1)
            before = resident_kilobytes()
            fill(hook.outbox, _DOWN, series_of(series), WAITING // series)
            hook.send("a.b", 2)
            hook.flush(2.0)
            after = resident_kilobytes()
            if hook.stats()["pending"] != WAITING + 2:
                raise SystemExit("the messages do not wait")
    if before is not None and after is not None:
        print((after - before) / 1024)


if __name__ == "__main__":
    _measure_memory(int(sys.argv[1]))
