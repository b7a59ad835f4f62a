"""S6 and S7: processes that share a store, and a store on a PostgreSQL server."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing

from tests.benchmarks.measure import Figure, interleaved_ms, ratio_of, require_bars
from tests.benchmarks.store import BARS, MINUTE, SERIES, priced, read, written_figures
from tests.store.contention import BARS_A_PAGE, outcome_of
from tests.store.postgresserver import NO_SERVER, PostgresServer, has_server
from tests.store.rowperbar import PostgresRows, rows_of
from tvDatafeed.store import BarStore

PROCESSES = 8
# History through write_bars; what live feeds append.
LOADS = (("frames", BARS_A_PAGE), ("feed", 1))

SHORT_S = 3.0
# A store with a row for each bar becomes slower as it grows, so a shorter run favors it.
ROWS_S = 20.0

S6_RATIO = 2.0
S7_BARS_A_S, S7_RATIO = 300_000, 3.0


def contention(seconds: float) -> Iterator[Figure]:
    """S6: eight processes write and read one store; the target's own case takes all seconds."""
    for way, page in LOADS:
        with tempfile.TemporaryDirectory() as folder:
            places = f"{folder}/bars.db", f"{folder}/rows.db"
            is_target = (way, page) == LOADS[0]
            taken = seconds if is_target else min(seconds, SHORT_S)
            yield from _contended("SQLite", places, taken, (way, page), is_target=is_target)
    if not has_server():
        yield Figure("S6", "on PostgreSQL", NO_SERVER, "as on SQLite", None)
        return
    with closing(PostgresServer()) as server:
        for load in LOADS:
            places = server.new_database(), server.new_database()
            taken = min(seconds, SHORT_S)
            yield from _contended("PostgreSQL", places, taken, load, is_target=False)


def _contended(
    name: str,
    places: tuple[str, str],
    seconds: float,
    load: tuple[str, int],
    *,
    is_target: bool,
) -> Iterator[Figure]:
    way, page = load
    ours = outcome_of(places[0], seconds, PROCESSES, way, page)
    rows = outcome_of(places[1], min(seconds, ROWS_S), PROCESSES, "rows", page)
    ratio = ratio_of(ours.rate, rows.rate)
    work = f"{PROCESSES} processes, {name}, {way}, {page} bars a write"
    measured = f"{ours.errors} errors, {ours.lost} bars lost in {seconds:g} s"
    wrong = float(ours.errors + ours.lost)
    yield Figure("S6", f"{work}: faults", measured, "none", ours.is_right, value=wrong)
    # The target is for pages of history; a row alone is less work than a range and a checksum.
    yield Figure(
        "S6",
        work,
        f"{ours.rate:.0f} bars/s, a row a bar {rows.rate:.0f}: {ratio:.1f} x",
        f"at least {S6_RATIO:g} x a row a bar" if is_target else "no target",
        ratio >= S6_RATIO if is_target else None,
        value=ratio,
        unit="x",
        more_is_better=True,
    )


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
            lambda: require_bars(read(store, SERIES[0]), BARS),
            lambda: require_bars(read(local, SERIES[0]), BARS),
            lambda: require_bars(rows.read(SERIES[0], BARS), BARS),
            runs=runs * 5,
        )
    yield from written_figures(("S7", "PostgreSQL"), ours_ms, theirs_ms, S7_BARS_A_S, None)
    ratio = ratio_of(read_ms, local_ms)
    measured = f"{read_ms:.2f} ms, SQLite {local_ms:.2f}: {ratio:.1f} x"
    target = f"at most {S7_RATIO:g} x S1"
    work = f"{BARS} bars from PostgreSQL to a frame"
    yield Figure("S7", work, measured, target, ratio <= S7_RATIO, value=ratio, unit="x")
    measured = f"{rows_ms:.2f} ms: {ratio_of(rows_ms, read_ms):.1f} x ours"
    yield Figure("S7", "the same, a row a bar", measured, "", None)
