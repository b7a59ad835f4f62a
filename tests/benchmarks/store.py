"""S1 to S5 and S8: what a store costs, beside a row a bar in the same database."""

import functools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from tests.benchmarks.bare import BareClient
from tests.benchmarks.many import client_of
from tests.benchmarks.measure import (
    SETTLE_S,
    Figure,
    cpu_s,
    interleaved_ms,
    interleaved_s,
    p50_p99,
    ratio_of,
    require_bars,
    seconds_of,
)
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
S4_BARS, S4_BYTES, S4_RATIO = 10_000_000, 30.0, 1.5
S5_BYTES, S5_CPU_MS = 3000, 2.0
# With a second round trip it would be two or more.
MAX_TRIPS = 2
# Bars of a tail that are requested again, and the new one.
OVERLAP = 21


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
                lambda: require_bars(read(store, SERIES[0]), BARS),
                lambda: require_bars(history_to_frame(history, view), BARS),
                lambda: require_bars(rows.read(SERIES[0], BARS), BARS),
                runs=runs,
                clock=cpu_s,
            )
    ratio = ratio_of(took, memory)
    measured = f"{took:.2f} ms CPU, from memory {memory:.2f}: {ratio:.1f} x"
    work = f"{BARS} bars from SQLite to a frame"
    target = f"at most {S1_RATIO:g} x from memory"
    yield Figure("S1", work, measured, target, ratio <= S1_RATIO, value=ratio, unit="x")
    measured = f"{theirs:.2f} ms CPU: {ratio_of(theirs, took):.1f} x ours"
    yield Figure("S1", "the same, a row a bar", measured, "", None)


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
        # The first one is ours.
        with BarStore(f"{folder}/bars0.db") as store:
            for symbol in SERIES:
                require_bars(read(store, symbol), BARS)
    yield from written_figures(("S2", "SQLite"), ours_ms, theirs_ms, S2_BARS_A_S, S2_RATIO)


def written_figures(
    work: tuple[str, str], ours_ms: float, theirs_ms: float, least: int, least_ratio: float | None
) -> Iterator[Figure]:
    """Show how many bars a second were written, for a figure's name and a kind of store."""
    name, place = work
    count = BARS * len(SERIES)
    rate, ratio = count / ours_ms * 1000, theirs_ms / ours_ms
    done = f"{count} bars in {len(SERIES)} series, {place}"
    yield Figure(
        name,
        done,
        f"{rate:.0f} bars/s, a row a bar {count / theirs_ms * 1000:.0f}",
        f"at least {least} bars/s",
        rate >= least,
        value=rate,
        unit="bars/s",
        more_is_better=True,
    )
    yield Figure(
        name,
        f"{done}, against a row a bar",
        f"{theirs_ms / 1000:.2f} s, ours {ours_ms / 1000:.2f}: {ratio:.1f} x",
        f"at least {least_ratio:g} x" if least_ratio else "as others do",
        ratio >= least_ratio if least_ratio else None,
        value=ratio,
        unit="x",
        more_is_better=True,
    )


def appending(runs: int) -> Iterator[Figure]:
    """S3: one bar more, as a live feed stores it and as a frame."""
    count = max(runs * 20, 200)
    frame = priced(BARS + count)
    packed, tuples = frame_to_bars(frame, MINUTE_S).packed, rows_of(frame)
    target = f"median at most {S3_MS:g} ms"
    with tempfile.TemporaryDirectory() as folder, BarStore(f"{folder}/bars.db") as store:
        for symbol in SERIES[:2]:
            store.write_bars(frame.iloc[:BARS], symbol, interval=MINUTE)
        with closing(SqliteRows(f"{folder}/rows.db")) as rows:
            rows.write(SERIES[0], tuples[:BARS])

            def feed(i: int) -> None:
                append(store, SERIES[0], packed[i * ROW_BYTES : (i + 1) * ROW_BYTES])

            def program(i: int) -> None:
                store.write_bars(frame.iloc[i : i + 1], SERIES[1], interval=MINUTE)

            numbers = [iter(range(BARS, BARS + count)) for _ in range(3)]
            times = interleaved_s(
                (
                    lambda: feed(next(numbers[0])),
                    lambda: program(next(numbers[1])),
                    lambda: rows.write(SERIES[0], [tuples[next(numbers[2])]]),
                ),
                runs=count - 1,
            )
            for symbol in SERIES[:2]:
                require_bars(read(store, symbol, BARS + count), BARS + count)
    ours, frames, theirs = (statistics.median(taken) * 1000 for taken in times)
    slow = p50_p99(times[0])[1] * 1000
    measured = f"{ours:.2f} ms, p99 {slow:.2f}, bare insert {theirs:.3f}"
    holds = ours <= S3_MS
    yield Figure(
        "S3", "one bar appended by a live feed", measured, target, holds, value=ours, unit="ms"
    )
    measured = f"{frames:.2f} ms, a frame is checked"
    yield Figure("S3", "one bar through write_bars", measured, "", None, value=frames, unit="ms")
    yield Figure(
        "S3", "a row a bar, no ranges, no checksums", f"{theirs:.3f} ms", "the bare way", None
    )


def size(runs: int, quick: bool = False) -> Iterator[Figure]:
    """S4: bytes a bar, and reading one series of many."""
    total = S4_BARS // 10 if quick else S4_BARS
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
                lambda: require_bars(read(few, "TEST:N7"), BARS),
                lambda: require_bars(read(many, "TEST:N7"), BARS),
                runs=runs,
                clock=cpu_s,
            )
    ratio = ratio_of(many_ms, few_ms)
    measured = f"{a_bar:.1f} bytes, a row a bar {a_row:.1f}"
    target = f"at most {S4_BYTES:g} bytes"
    holds = a_bar <= S4_BYTES
    yield Figure("S4", f"a bar of {total} bars", measured, target, holds, value=a_bar, unit="bytes")
    measured = f"{many_ms:.2f} ms CPU, of {BARS * len(frames)} bars {few_ms:.2f}: {ratio:.2f} x"
    target = f"no slower (at most {S4_RATIO:g} x)"
    work = f"{BARS} of {total} bars read"
    yield Figure("S4", work, measured, target, ratio <= S4_RATIO, value=ratio, unit="x")


def warm_call(runs: int) -> Iterator[Figure]:
    """S5: get_hist of 5000 bars of which one is new, each of another symbol.

    Beside it a bare WebSocket requests the bars of the overlap alone, and reads nothing of them.
    """
    symbols = STOCKS[: min(runs, 40) + 1]
    before = pd.Timestamp(NOW - DAY_S, unit="s", tz="UTC").to_pydatetime()
    walls, cpus, reads, sizes, bare_walls, bare_sizes = ([] for _ in range(6))
    with (
        tempfile.TemporaryDirectory() as folder,
        BarStore(f"{folder}/bars.db") as store,
        server_process(ROUND_TRIP_S) as url,
        client_of(url, store) as tv,
        _received() as received,
        ExitStack() as held,
    ):
        tv.get_hist_multi(symbols, n_bars=BARS, end_date=before, max_concurrent=20)
        # A connection that is not read is closed after a while.
        bare = held.enter_context(BareClient(url))
        answers: list[bytes] = []

        def fetch(symbol: str) -> None:
            require_bars(tv.get_hist(symbol, n_bars=BARS), BARS)

        def bare_fetch(symbol: str) -> None:
            answers[:] = bare.fetch([symbol], "1D", OVERLAP)

        for symbol in symbols:
            size_before, cpu = received[0], cpu_s()
            walls.append(seconds_of(functools.partial(fetch, symbol)))
            time.sleep(SETTLE_S)
            cpus.append((cpu_s() - cpu) * 1000)
            sizes.append(received[0] - size_before)
            cpu = cpu_s()
            require_bars(store.read_bars(symbol, n_bars=BARS), BARS)
            reads.append((cpu_s() - cpu) * 1000)
            bare_walls.append(seconds_of(functools.partial(bare_fetch, symbol)))
            bare_sizes.append(sum(map(len, answers)))
    # The first one warms up.
    wall, cpu, read_cpu, bytes_received, bare_wall, bare_bytes = (
        statistics.median(taken[1:])
        for taken in (walls, cpus, reads, sizes, bare_walls, bare_sizes)
    )
    trips = wall / ROUND_TRIP_S
    work = f"get_hist of {BARS} bars, one of them new"
    measured = f"{wall * 1000:.0f} ms, bare {bare_wall * 1000:.0f}: {trips:.1f} round trips"
    holds = trips < MAX_TRIPS
    yield Figure("S5", work, measured, "one round trip", holds, value=wall * 1000, unit="ms")
    target = f"at most {S5_BYTES} bytes"
    holds = bytes_received <= S5_BYTES
    measured = f"{bytes_received:.0f} bytes, bare {bare_bytes:.0f} for {OVERLAP} bars"
    yield Figure(
        "S5", f"{work}: received", measured, target, holds, value=bytes_received, unit="bytes"
    )
    above = cpu - read_cpu
    measured = f"{cpu:.2f} ms CPU, read_bars {read_cpu:.2f}: {above:.2f} ms more"
    target = f"at most {S5_CPU_MS:g} ms above read_bars"
    holds = above <= S5_CPU_MS
    yield Figure("S5", f"{work}: CPU", measured, target, holds, value=above, unit="ms")


@contextmanager
def _received() -> Iterator[list[int]]:
    """Count the bytes that the package's sockets receive within the block."""
    received, receive = [0], DeadlineSocket.recv

    def counted(self: DeadlineSocket, size: int) -> bytes:
        data = receive(self, size)
        received[0] += len(data)
        return data

    DeadlineSocket.recv = counted  # type: ignore[method-assign]
    try:
        yield received
    finally:
        DeadlineSocket.recv = receive  # type: ignore[method-assign]


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
    count, target = float(len(loaded)), "nothing of the store"
    yield Figure(
        "S8", "import tvDatafeed", measured, target, not count, value=count, unit="modules"
    )
