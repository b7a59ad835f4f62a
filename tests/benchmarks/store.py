"""S1 to S5 and S8: what a store costs, beside a row a bar in the same database."""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd

from tests.benchmarks.many import client_of
from tests.benchmarks.measure import Figure, interleaved_ms
from tests.benchmarks.server import NOW, STOCKS, server_process
from tests.store.bars import FIRST_S, MINUTE_S
from tests.store.contention import append
from tests.store.rowperbar import SqliteRows, rows_of
from tvDatafeed import Interval
from tvDatafeed.config import DataConfig
from tvDatafeed.frames.history import history_to_frame
from tvDatafeed.frames.rows import frame_to_bars
from tvDatafeed.network.sockets import DeadlineSocket
from tvDatafeed.query.history import FrameOptions, HistoryQuery, RangeOptions, SeriesOptions
from tvDatafeed.store import BarStore
from tvDatafeed.store.blocks import ROW_BYTES

BARS = 5000
SERIES = [f"TEST:S{number}" for number in range(20)]
MINUTE = Interval.in_1_minute
ROUND_TRIP_S = 0.05
DAY_S = 86400.0

S1_RATIO = 4.0
S2_BARS_A_S, S2_RATIO = 500_000, 4.0
S3_MS = 0.5
S4_BYTES, S4_RATIO = 30.0, 1.5
S5_BYTES, S5_CPU_MS = 3000, 2.0


def priced(count: int, number: int = 0) -> pd.DataFrame:
    """Make bars of one minute whose prices walk by cents, so that they compress as real ones do."""
    random = np.random.default_rng(number)
    close = 100.0 + np.round(np.cumsum(random.normal(0.0, 0.05, count)), 2)
    opens = np.concatenate([[100.0], close[:-1]])
    spread = np.round(np.abs(random.normal(0.0, 0.05, (2, count))), 2)
    index = pd.to_datetime(FIRST_S + np.arange(count) * MINUTE_S, unit="s", utc=True)
    return pd.DataFrame(
        {
            "open": opens.round(2),
            "high": (np.maximum(opens, close) + spread[0]).round(2),
            "low": (np.minimum(opens, close) - spread[1]).round(2),
            "close": close.round(2),
            "volume": random.integers(1, 50_000, count).astype(np.float64),
        },
        index=index.as_unit("ns").rename("datetime"),
    )


def read(store: BarStore, symbol: str, count: int = BARS) -> pd.DataFrame:
    """Read the newest bars of a series."""
    return store.read_bars(symbol, interval=MINUTE, n_bars=count, timezone="UTC")


def reading(runs: int) -> Iterator[Figure]:
    """S1: 5000 bars from SQLite to a frame, against building that frame from memory."""
    query = HistoryQuery(
        RangeOptions(MINUTE, BARS, None, None, "UTC"),
        SeriesOptions(
            extended_session=False, adjustment="splits", currency=None, backadjusted=False
        ),
        FrameOptions("open", closed_only=False, validate=None),
        DataConfig(),
    )
    with tempfile.TemporaryDirectory() as folder, BarStore(f"{folder}/bars.db") as store:
        store.write_bars(priced(BARS), SERIES[0], interval=MINUTE)
        history, view = store.answer(query.request(SERIES[0])), query.view()
        with closing(SqliteRows(f"{folder}/rows.db")) as rows:
            rows.write(SERIES[0], rows_of(priced(BARS)))
            took, memory, theirs = interleaved_ms(
                lambda: read(store, SERIES[0]),
                lambda: history_to_frame(history, view),
                lambda: rows.read(SERIES[0], BARS),
                runs=runs,
            )
    ratio = took / memory
    measured = f"{took:.2f} ms, from memory {memory:.2f}: {ratio:.1f} x"
    work = f"{BARS} bars from SQLite to a frame"
    yield Figure("S1", work, measured, f"at most {S1_RATIO:g} x from memory", ratio <= S1_RATIO)
    yield Figure(
        "S1", "the same, a row a bar", f"{theirs:.2f} ms", f"{theirs / took:.1f} x ours", None
    )


def writing(runs: int) -> Iterator[Figure]:
    """S2: 100 000 bars in 20 series, written into a new SQLite file."""
    frames = [priced(BARS, number) for number in range(len(SERIES))]
    tuples = [rows_of(frame) for frame in frames]
    with tempfile.TemporaryDirectory() as folder:
        numbers = iter(range(10**6))

        def ours() -> None:
            with BarStore(f"{folder}/bars{next(numbers)}.db") as store:
                for symbol, frame in zip(SERIES, frames, strict=True):
                    store.write_bars(frame, symbol, interval=MINUTE)

        def theirs() -> None:
            with closing(SqliteRows(f"{folder}/rows{next(numbers)}.db")) as rows:
                for symbol, values in zip(SERIES, tuples, strict=True):
                    rows.write(symbol, values)

        ours_ms, theirs_ms = interleaved_ms(ours, theirs, runs=runs)
    yield from written_figures(("S2", "SQLite"), ours_ms, theirs_ms, S2_BARS_A_S, S2_RATIO)


def written_figures(
    work: tuple[str, str], ours_ms: float, theirs_ms: float, least: int, least_ratio: float | None
) -> Iterator[Figure]:
    """Show how many bars a second were written, for a figure's name and a kind of store."""
    name, place = work
    count = BARS * len(SERIES)
    rate, ratio = count / ours_ms * 1000, theirs_ms / ours_ms
    done = f"{count} bars in {len(SERIES)} series, {place}"
    target = f"at least {least} bars a second"
    yield Figure(name, done, f"{rate:.0f} bars a second", target, rate >= least)
    target = f"at least {least_ratio:g} x" if least_ratio else "as others do"
    holds = ratio >= least_ratio if least_ratio else None
    measured = f"{theirs_ms / 1000:.2f} s, ours {ours_ms / 1000:.2f}: {ratio:.1f} x"
    yield Figure(name, "the same, a row a bar", measured, target, holds)


def appending(runs: int) -> Iterator[Figure]:
    """S3: one bar more, as a live feed stores it and as a frame."""
    count = max(runs * 20, 200)
    frame = priced(BARS + count)
    packed, tuples = frame_to_bars(frame, MINUTE_S).packed, rows_of(frame)
    target = f"median at most {S3_MS} ms"
    with tempfile.TemporaryDirectory() as folder, BarStore(f"{folder}/bars.db") as store:
        for symbol in SERIES[:2]:
            store.write_bars(frame.iloc[:BARS], symbol, interval=MINUTE)
        with closing(SqliteRows(f"{folder}/rows.db")) as rows:
            rows.write(SERIES[0], tuples[:BARS])

            def feed(i: int) -> None:
                append(store, SERIES[0], packed[i * ROW_BYTES : (i + 1) * ROW_BYTES])

            def program(i: int) -> None:
                store.write_bars(frame.iloc[i : i + 1], SERIES[1], interval=MINUTE)

            works = (feed, program, lambda i: rows.write(SERIES[0], [tuples[i]]))
            times: list[list[float]] = [[], [], []]
            for i in range(BARS, BARS + count):
                for work, taken in zip(works, times, strict=True):
                    started = time.perf_counter()
                    work(i)
                    taken.append((time.perf_counter() - started) * 1000)
    ours, frames, theirs = (statistics.median(taken) for taken in times)
    slow = sorted(times[0])[int(count * 0.99)]
    measured = f"{ours:.2f} ms, the slowest 1 % {slow:.2f}"
    yield Figure("S3", "one bar appended by a live feed", measured, target, ours <= S3_MS)
    yield Figure(
        "S3", "the same through write_bars", f"{frames:.2f} ms", "a frame is checked", None
    )
    measured = f"{theirs:.3f} ms"
    yield Figure("S3", "the same, a row a bar", measured, "no ranges, no checksums", None)


def size(runs: int, *, quick: bool) -> Iterator[Figure]:
    """S4: bytes a bar, and reading one series of many."""
    total = 1_000_000 if quick else 10_000_000
    frames = [priced(BARS, number) for number in range(len(SERIES))]
    with tempfile.TemporaryDirectory() as folder:
        small, large = Path(folder, "small.db"), Path(folder, "large.db")
        for path, count in ((small, len(frames)), (large, total // BARS)):
            with BarStore(path) as store:
                for number in range(count):
                    frame = frames[number % len(frames)]
                    store.write_bars(frame, f"TEST:N{number}", interval=MINUTE)
        a_bar = large.stat().st_size / total
        with closing(SqliteRows(f"{folder}/rows.db")) as rows:
            for symbol, frame in zip(SERIES, frames, strict=True):
                rows.write(symbol, rows_of(frame))
        a_row = Path(folder, "rows.db").stat().st_size / (BARS * len(SERIES))
        with BarStore(small) as few, BarStore(large) as many:
            few_ms, many_ms = interleaved_ms(
                lambda: read(few, "TEST:N7"), lambda: read(many, "TEST:N7"), runs=runs
            )
    ratio = many_ms / few_ms
    measured = f"{a_bar:.1f} bytes, a row a bar {a_row:.1f}"
    target = f"at most {S4_BYTES:g} bytes"
    yield Figure("S4", f"a bar of {total} bars", measured, target, a_bar <= S4_BYTES)
    measured = f"{many_ms:.2f} ms, of {BARS * len(frames)} bars {few_ms:.2f}"
    target = f"no slower (at most {S4_RATIO:g} x)"
    yield Figure("S4", f"{BARS} of {total} bars read", measured, target, ratio <= S4_RATIO)


def warm_call(runs: int) -> Iterator[Figure]:
    """S5: get_hist of 5000 bars of which one is new, each of another symbol."""
    symbols = STOCKS[: min(runs, len(STOCKS) - 1) + 1]
    received = _count_received()
    before = pd.Timestamp(NOW - DAY_S, unit="s", tz="UTC").to_pydatetime()
    walls, cpus, reads, sizes = [], [], [], []
    with (
        tempfile.TemporaryDirectory() as folder,
        BarStore(f"{folder}/bars.db") as store,
        server_process(ROUND_TRIP_S) as url,
        client_of(url, store) as tv,
    ):
        for symbol in symbols:
            tv.get_hist(symbol, n_bars=BARS, end_date=before)
        for symbol in symbols:
            size_before, cpu, wall = received[0], time.process_time(), time.perf_counter()
            frame = tv.get_hist(symbol, n_bars=BARS)
            walls.append(time.perf_counter() - wall)
            cpus.append((time.process_time() - cpu) * 1000)
            sizes.append(received[0] - size_before)
            if len(frame) != BARS:
                raise SystemExit("the bars did not come")
            cpu = time.process_time()
            store.read_bars(symbol, n_bars=BARS)
            reads.append((time.process_time() - cpu) * 1000)
    # The first one warms up.
    wall, cpu, read_cpu, bytes_received = (
        statistics.median(taken[1:]) for taken in (walls, cpus, reads, sizes)
    )
    trips = wall / ROUND_TRIP_S
    work = f"get_hist of {BARS} bars, one of them new"
    measured = f"{wall * 1000:.0f} ms, {trips:.1f} round trips of 50 ms"
    yield Figure("S5", work, measured, "one round trip", trips < 2)
    target = f"at most {S5_BYTES} bytes"
    holds = bytes_received <= S5_BYTES
    yield Figure("S5", "the same", f"{bytes_received:.0f} bytes received", target, holds)
    measured = f"{cpu:.2f} ms CPU, read_bars {read_cpu:.2f}"
    target = f"at most {S5_CPU_MS:g} ms above read_bars"
    yield Figure("S5", "the same", measured, target, cpu - read_cpu <= S5_CPU_MS)


def _count_received() -> list[int]:
    """Count the bytes that sockets receive from now on, in the list that is returned."""
    received, receive = [0], DeadlineSocket.recv

    def counted(self: DeadlineSocket, size: int) -> bytes:
        data = receive(self, size)
        received[0] += len(data)
        return data

    DeadlineSocket.recv = counted  # type: ignore[method-assign]
    return received


def importing() -> Iterator[Figure]:
    """S8: what of the store `import tvDatafeed` loads."""
    code = (
        "import sys, tvDatafeed; print(*sorted(name for name in sys.modules if name.startswith("
        "'tvDatafeed.store.') or name in ('sqlite3', 'psycopg', 'pandas')))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    # The module that decides whether there is a store, and imports nothing.
    loaded = [name for name in done.stdout.split() if name != "tvDatafeed.store.choice"]
    measured = ", ".join(loaded) or "no engine, no driver"
    yield Figure("S8", "import tvDatafeed", measured, "nothing of the store", not loaded)
