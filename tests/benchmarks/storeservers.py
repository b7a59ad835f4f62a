"""S6 and S7: processes that share a store, and a store on a PostgreSQL server."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing

from tests.benchmarks.measure import Figure, interleaved_ms
from tests.benchmarks.store import BARS, MINUTE, SERIES, priced, read, written_figures
from tests.store.contention import BARS_A_PAGE, outcome_of
from tests.store.postgresserver import NO_SERVER, PostgresServer, has_server
from tests.store.rowperbar import PostgresRows, rows_of
from tvDatafeed.store import BarStore

PROCESSES = 8
# History through write_bars; what live feeds append.
LOADS = (("frames", BARS_A_PAGE), ("feed", BARS_A_PAGE), ("feed", 1))

S6_RATIO = 2.0
S7_BARS_A_S, S7_RATIO = 300_000, 3.0


def contention(seconds: float) -> Iterator[Figure]:
    """S6: eight processes write and read one store."""
    for way, page in LOADS:
        with tempfile.TemporaryDirectory() as folder:
            places = f"{folder}/bars.db", f"{folder}/rows.db"
            yield from _contended("SQLite", places, seconds, way, page)
    if not has_server():
        yield Figure("S6", "on PostgreSQL", NO_SERVER, "as on SQLite", None)
        return
    with closing(PostgresServer()) as server:
        for way, page in LOADS:
            places = server.new_database(), server.new_database()
            yield from _contended("PostgreSQL", places, seconds, way, page)


def _contended(
    name: str, places: tuple[str, str], seconds: float, way: str, page: int
) -> Iterator[Figure]:
    ours = outcome_of(places[0], seconds, PROCESSES, way, page)
    rows = outcome_of(places[1], seconds, PROCESSES, "rows", page)
    ratio = ours.rate / rows.rate
    work = f"{PROCESSES} processes, {name}, {way}, {page} bars a write"
    measured = f"{ours.errors} errors, {ours.lost} bars lost"
    yield Figure("S6", work, measured, "none", ours.is_right)
    measured = f"{ours.rate:.0f} bars a second: {ratio:.1f} x"
    # The target is for pages of history; a row alone is less work than a range and a checksum.
    is_target = page == BARS_A_PAGE and name == "SQLite"
    target = f"at least {S6_RATIO:g} x a row a bar" if is_target else "against a row a bar"
    yield Figure("S6", "the same", measured, target, ratio >= S6_RATIO if is_target else None)


def server(runs: int) -> Iterator[Figure]:
    """S7: 100 000 bars into PostgreSQL, and 5000 from there to a frame."""
    if not has_server():
        yield Figure("S7", "PostgreSQL", NO_SERVER, f"at least {S7_BARS_A_S} bars a second", None)
        return
    frames = [priced(BARS, number) for number in range(len(SERIES))]
    tuples = [rows_of(frame) for frame in frames]
    with ExitStack() as held:
        database = held.enter_context(closing(PostgresServer()))
        folder = held.enter_context(tempfile.TemporaryDirectory())
        store = held.enter_context(BarStore(database.new_database()))
        rows = held.enter_context(closing(PostgresRows(database.new_database())))
        local = held.enter_context(BarStore(f"{folder}/bars.db"))

        def ours() -> None:
            store.clear()
            for symbol, frame in zip(SERIES, frames, strict=True):
                store.write_bars(frame, symbol, interval=MINUTE)

        def theirs() -> None:
            rows.clear()
            for symbol, values in zip(SERIES, tuples, strict=True):
                rows.write(symbol, values)

        ours_ms, theirs_ms = interleaved_ms(ours, theirs, runs=runs)
        local.write_bars(frames[0], SERIES[0], interval=MINUTE)
        read_ms, local_ms, rows_ms = interleaved_ms(
            lambda: read(store, SERIES[0]),
            lambda: read(local, SERIES[0]),
            lambda: rows.read(SERIES[0], BARS),
            runs=runs * 5,
        )
    yield from written_figures(("S7", "PostgreSQL"), ours_ms, theirs_ms, S7_BARS_A_S, None)
    ratio = read_ms / local_ms
    measured = f"{read_ms:.2f} ms, SQLite {local_ms:.2f}: {ratio:.1f} x"
    target = f"at most {S7_RATIO:g} x S1"
    work = f"{BARS} bars from PostgreSQL to a frame"
    yield Figure("S7", work, measured, target, ratio <= S7_RATIO)
    measured, target = f"{rows_ms:.2f} ms", f"{rows_ms / read_ms:.1f} x ours"
    yield Figure("S7", "the same, a row a bar", measured, target, None)
