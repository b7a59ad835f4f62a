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
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pandas as pd

from tests.benchmarks.live import closing_server, feed_of, resident_kilobytes
from tests.benchmarks.measure import Figure, interleaved_ms, p50_p99, ratio_of, seconds_of
from tests.benchmarks.webhook_server import CountingServer, counting_server
from tvDatafeed import Interval, Seis
from tvDatafeed.delivery import DeliveryConfig, Outbox, Webhook
from tvDatafeed.delivery.messages import ClosedBar
from tvDatafeed.delivery.rows import Rows, message_of

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
_BODY_BYTES = 300
_INSERT = "INSERT INTO message (lane, id, body) VALUES (?, ?, ?)"


def frames_of(count: int) -> list[pd.DataFrame]:
    """Make frames of one closed bar each, as a live feed delivers them."""
    index = pd.to_datetime([_OPENED_S + _MINUTE_S * n for n in range(count)], unit="s", utc=True)
    index = index.as_unit("ns").rename("datetime")
    columns = ["open", "high", "low", "close", "volume"]
    rows = pd.DataFrame(np.tile(np.array(_VALUES), (count, 1)), index=index, columns=columns)
    rows.insert(0, "symbol", "TEST:S")
    frames = [rows.iloc[n : n + 1].copy() for n in range(count)]
    for frame in frames:
        frame.attrs.update(closed=True, last_bar_closed=True, timezone="UTC")
    return frames


def series_of(count: int) -> list[Seis]:
    """Return a number of series."""
    return [Seis(f"S{number}", "TEST", Interval.in_1_minute) for number in range(count)]


def enqueueing(runs: int) -> Iterator[Figure]:
    """D1: a call of the hook, against a bare insert and commit that wait for the disk."""
    calls = max(runs * 10, 100)
    body = b"x" * _BODY_BYTES
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
        measured = f"{ours:.2f} ms, bare insert {floor:.2f}: {ratio_of(ours, floor):.1f} x"
        target = f"median at most {D1_MS:g} ms"
        yield Figure("D1", work, measured, target, ours <= D1_MS, value=ours, unit="ms")
        rates = []
        for attempt in range(3):
            path = f"{folder}/many{attempt}.db"
            with Webhook(_DOWN, _SECRET, outbox=path, config=_CONFIG) as hook:
                rates.append(_calls_a_second(hook, calls))
    rate, bare_rate = statistics.median(rates), 1000 / floor
    yield _rate(
        "D1",
        f"a bar enqueued, {THREADS} threads, {THREADS * calls} calls",
        rate,
        ("calls/s", D1_CALLS_A_S),
        f"bare insert {bare_rate:.0f}: {rate / bare_rate:.1f} x",
    )


def _rate(name: str, work: str, rate: float, least: tuple[str, float], floor: str) -> Figure:
    """Return the figure of something done so often a second; `least` is a unit and a number."""
    unit, target = least
    return Figure(
        name,
        work,
        f"{rate:.0f} {unit}, {floor}",
        f"at least {target} {unit}",
        rate >= target,
        value=rate,
        unit=unit,
        more_is_better=True,
    )


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

    def run() -> None:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return seconds_of(run)


def posting(runs: int) -> Iterator[Figure]:
    """D2: messages from the outbox to a receiver, against bare posts from as many threads."""
    with counting_server() as server, tempfile.TemporaryDirectory() as folder:
        for batch, count, unit, least in (
            (1, max(runs * 10, 100), "posts/s", D2_POSTS_A_S),
            (BATCH, max(runs * 100, BATCH * 10), "bars/s", D2_BARS_A_S),
        ):
            # Each is measured three times, in turn; connections are opened within the time.
            pairs = [
                (
                    _bars_a_second(server, f"{folder}/{batch}-{n}.db", count, batch=batch),
                    _bare_bars_a_second(server, count, batch=batch),
                )
                for n in range(3)
            ]
            rate, bare = (statistics.median(rates) for rates in zip(*pairs, strict=True))
            work = f"{LANES * count} bars, {LANES} lanes, batch={batch}"
            floor = f"bare posts {bare:.0f}: {rate / bare:.2f} x"
            yield _rate("D2", work, rate, (unit, least), floor)


def _bars_a_second(server: CountingServer, path: str, count: int, *, batch: int) -> float:
    """Send bars that wait in a number of lanes; the clock starts with the webhook."""
    with Outbox(path) as outbox:
        fill(outbox, server.url, series_of(LANES), count)
    before, _size_bytes = server.counts()

    def send() -> None:
        hook = held.enter_context(
            Webhook(server.url, _SECRET, outbox=path, batch=batch, config=_CONFIG)
        )
        if not hook.flush(300):
            raise SystemExit("the bars were not delivered")

    with ExitStack() as held:
        seconds = seconds_of(send)
    requests = server.counts()[0] - before
    if requests != LANES * -(-count // batch):
        raise SystemExit(f"{requests} requests came")
    return LANES * count / seconds


def fill(outbox: Outbox, url: str, series: list[Seis], count: int) -> None:
    """Write bars of each series into an outbox, many in a transaction."""
    number = outbox.run(lambda rows: rows.destination(url)[0])
    for seis in series:

        def add(rows: Rows, symbol: str = seis.symbol) -> None:
            created_s = time.time()
            for n in range(count):
                bar = _bar(symbol, n)
                message = message_of(bar, 0, created_s)
                rows.add_bar(number, bar, message, created_s, outbox.max_bytes)

        outbox.run(add)


def _bare_bars_a_second(server: CountingServer, count: int, *, batch: int) -> float:
    """Post bodies of about the same size with `http.client`, unsigned, from memory."""
    parts = urlsplit(server.url)
    body, headers = b"x" * _BODY_BYTES * batch, {"Content-Type": "application/json"}

    def work() -> None:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
        for _time in range(-(-count // batch)):
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
    without, beside = (p50_p99(latencies[key]) for key in (False, True))
    measured = f"p50 {beside[0]:.2f} ms, p99 {beside[1]:.2f}"
    target = f"unchanged: p50 {without[0]:.2f} ms, p99 {without[1]:.2f}"
    holds = beside[0] <= max(without[0] * D3_RATIO, without[0] + D3_NOISE_MS)
    work = f"P6, receiver down, {runs} bars"
    ratio = ratio_of(beside[0], without[0])
    yield Figure("D3", work, f"{measured}: {ratio:.2f} x", target, holds, value=ratio, unit="x")


def memory() -> Iterator[Figure]:
    """D4: how much memory a process has while many messages wait, above one without any.

    The bare way is to let the same messages wait in a list.
    """
    ways = [("list", LANES), ("outbox", LANES), ("outbox", 1000)]
    # No time is measured, so that they can run side by side.
    with ThreadPoolExecutor(len(ways)) as pool:
        (_, bare), *waiting = zip(ways, pool.map(_grown, ways), strict=True)
    for (_, lanes), grown in waiting:
        work = f"{WAITING} messages wait, {lanes} lanes: memory"
        target = f"below {D4_MEGABYTES:g} MB above idle"
        if grown is None or bare is None:
            yield Figure("D4", work, "no /proc here", target, None)
            continue
        measured = f"{grown:.1f} MB above idle, a list {bare:.1f}"
        yield Figure("D4", work, measured, target, grown < D4_MEGABYTES, value=grown, unit="MB")


def _grown(way: tuple[str, int]) -> float | None:
    where, series = way
    command = [sys.executable, "-m", "tests.benchmarks.delivery", where, str(series)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout) if done.stdout.strip() else None


def _wait_in_outbox(series: int) -> Iterator[None]:
    """Stop before and after messages come into the outbox of this process, and wait."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "outbox.db"
        with Webhook(_DOWN, _SECRET, outbox=path, config=_CONFIG) as hook:
            hook.send("a.b", 1)
            yield
            fill(hook.outbox, _DOWN, series_of(series), WAITING // series)
            hook.send("a.b", 2)
            hook.flush(2.0)
            yield
            if hook.stats()["pending"] != WAITING + 2:
                raise SystemExit("the messages do not wait")


def _wait_in_list(series: int) -> Iterator[None]:
    """Stop before and after this process has made the same messages, and keeps them."""
    message_of(_bar("S0", 0), 0, time.time())
    yield
    kept = [
        message_of(_bar(seis.symbol, n), 0, time.time())
        for seis in series_of(series)
        for n in range(WAITING // series)
    ]
    yield
    kept.clear()


def _bar(symbol: str, number: int) -> ClosedBar:
    opened_s = _OPENED_S + _MINUTE_S * number
    return ClosedBar(symbol, "TEST", "1", f"TEST:{symbol}|1", opened_s, _VALUES)


def _measure_memory(waits: Iterator[None]) -> None:
    """Print by how many megabytes this process grows."""
    before, after = (resident_kilobytes() for _ in waits)
    if before is not None and after is not None:
        print((after - before) / 1024)


if __name__ == "__main__":
    _ways = {"outbox": _wait_in_outbox, "list": _wait_in_list}
    _measure_memory(_ways[sys.argv[1]](int(sys.argv[2])))
