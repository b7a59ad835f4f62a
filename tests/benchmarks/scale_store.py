"""R2: one store that 1, 2 and 4 processes fill together, and what the sharing costs.

``python -m tests.benchmarks.scale_store`` prints the figures. The bars come through `TvDatafeed`
from the loopback TradingView, which runs in a process of its own and whose market stands still, and
then without any network, by `BarStore.write_bars`. All that is stored is read back and compared.

The programs (``serve`` and ``work``) obey lines of JSON on their stdin, and answer with one.
"""

import contextlib
import datetime as dt
import functools
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from typing import Any

import pandas as pd

from tests.benchmarks.measure import Figure, line_through
from tests.benchmarks.programs import Program
from tests.benchmarks.server import NOW
from tests.benchmarks.store import priced
from tests.store.postgresserver import NO_SERVER, PostgresServer, has_server
from tvDatafeed import Interval, TvDatafeed, TvDatafeedConfig
from tvDatafeed.common import sqlitefile
from tvDatafeed.config import NetworkConfig
from tvDatafeed.store import BarStore
from tvDatafeed.testing import FakeTradingView, Listing, Market
from tvDatafeed.testing.sessions.pages import BarTexts

_program = functools.partial(Program, "scale_store")

COUNTS = (1, 2, 4)
SYMBOLS = 200
BARS = 5000
MINUTE = Interval.in_1_minute
# What 4 processes take, in proportion to one.
R2_GROWTH = 1.5
# Series whose bars differ; those of the others are the same.
_VARIANTS = 20
_STOCKS = [f"NASDAQ:R{number:03}" for number in range(1000)]


def filled_store(
    counts: Sequence[int] = COUNTS,
    *,
    symbols: int = SYMBOLS,
    bars: int = BARS,
    fault: str = "",
    postgres: bool = True,
) -> Iterator[Figure]:
    """R2: what a process more costs.

    Parameters
    ----------
    counts
        Numbers of processes, ascending.
    symbols, bars
        How many series they fill in all, and how many bars each of these has.
    fault
        What the first process does wrong: "slow SECONDS" before it ends, or "lose" a bar of what it
        writes without the network.
    postgres
        Whether to measure on a PostgreSQL server too, where its wheel is installed.
    """
    stocks = _STOCKS[:symbols]
    with ExitStack() as held:
        server = held.enter_context(closing(_program("serve")))
        workers = [held.enter_context(closing(_program("work"))) for _ in range(max(counts))]
        url = server.answer()
        # The server writes each answer once, and these are what must be stored.
        job = _Job("fetch", url, None, stocks, bars)
        with _client(job) as tv:
            received = dict(_fetched(tv, job))
        written = dict(zip(stocks, _made(job), strict=True))
        for worker in workers:
            worker.answer()
        plain = [_run(workers[:n], replace(job, fault=fault)) for n in counts]
        folder = held.enter_context(tempfile.TemporaryDirectory())
        stores = iter(f"{folder}/bars{number}.db" for number in range(100))
        places = {"SQLite": stores}
        if postgres and has_server():
            database = held.enter_context(closing(PostgresServer()))
            places["PostgreSQL"] = iter(database.new_database, "")
        for place, urls in places.items():
            for way, wanted in (("fetch", received), ("write", written)):
                runs, lost, size = [], 0, 0
                for n in counts:
                    store = next(urls)
                    job = _Job(way, url, store, stocks, bars, fault)
                    runs.append(_run(workers[:n], job))
                    missing, size = _missing(store, wanted)
                    lost += missing
                beside = plain if way == "fetch" else None
                total = sum(map(len, wanted.values()))
                yield from _figures((place, way), counts, runs, beside, total)
                yield _whole((place, way), runs, lost, size / total)
    if postgres and not has_server():
        yield Figure("R2", "on PostgreSQL", NO_SERVER, "as on SQLite", None)


@dataclass(frozen=True)
class _Job:
    """What a process does: "fetch" through the client, or "write" without a network."""

    way: str
    url: str
    store: str | None
    symbols: list[str]
    bars: int
    fault: str = ""


@dataclass(frozen=True)
class _Run:
    """What processes did together; seconds. Those of CPU and of locks are of all of them."""

    wall_s: float
    cpu_s: float
    waited_s: float | None
    held_s: float
    errors: int


def _run(workers: Sequence[Program], job: _Job) -> _Run:
    """Divide a job among processes, and wait for the last of them."""
    if job.store is not None:
        with BarStore(job.store) as store:
            store.initialize()
    for number, worker in enumerate(workers):
        part, fault = job.symbols[number :: len(workers)], "" if number else job.fault
        worker.send(json.dumps(asdict(replace(job, symbols=part, fault=fault))))
    for worker in workers:
        worker.answer()
    started = time.perf_counter()
    for worker in workers:
        worker.send("go")
    done = [worker.answer() for worker in workers]
    wall_s = time.perf_counter() - started
    has_lock = job.store is not None and "://" not in job.store and _needs_lock()
    return _Run(
        wall_s,
        sum(one["cpu_s"] for one in done),
        sum(one["waited_s"] for one in done) if has_lock else None,
        sum(one["held_s"] for one in done),
        sum(one["errors"] for one in done),
    )


def _needs_lock() -> bool:
    """Whether writers of this SQLite share a lock file, in which they can be seen to wait."""
    return tuple(map(int, sqlitefile.SQLITE_VERSION.split("."))) < (3, 51, 3)


def _missing(url: str, wanted: dict[str, pd.DataFrame]) -> tuple[int, int]:
    """Return how many bars are not stored as they were, and the size of the store in bytes."""
    missing = 0
    with BarStore(url) as store:
        for symbol, frame in wanted.items():
            found = store.read_bars(symbol, interval=MINUTE, n_bars=len(frame) + 1, timezone="UTC")
            both = found.index.intersection(frame.index)
            columns = ["open", "high", "low", "close", "volume"]
            theirs, ours = (one.loc[both, columns].to_numpy() for one in (frame, found))
            missing += len(frame.index.union(found.index)) - int((ours == theirs).all(1).sum())
        return missing, store.stats().size_bytes


def _figures(
    what: tuple[str, str],
    counts: Sequence[int],
    runs: Sequence[_Run],
    beside: Sequence[_Run] | None,
    total: int,
) -> Iterator[Figure]:
    """Show how long processes took, and how that grows."""
    place, way = what
    done = f"{'get_hist_multi' if way == 'fetch' else 'write_bars'}, {place}"
    for index, (count, run) in enumerate(zip(counts, runs, strict=True)):
        rate, work = total / run.wall_s, f"{count} process{'es' * (count > 1)}, {done}"
        measured = f"{run.wall_s:.2f} s, {rate:.0f} bars a second"
        target = "no network"
        if beside is not None:
            without = beside[index].wall_s
            target = f"without a store {without:.2f} s: {run.wall_s / without:.1f} x"
        yield Figure(
            "R2", work, measured, target, None, value=rate, unit="bars/s", more_is_better=True
        )
        cpu_us = run.cpu_s / total * 1e6
        waits = "" if run.waited_s is None else f", {run.waited_s / count:.2f} s waited for a lock"
        measured = f"{cpu_us:.2f} us CPU a bar{waits}"
        target = f"{run.cpu_s / count:.2f} s of CPU each"
        if run.waited_s is not None:
            target += f"; the lock was held {run.held_s / run.wall_s:.0%} of the time"
        yield Figure("R2", work, measured, target, None, value=cpu_us, unit="us")
    if len(counts) < 2:
        return
    growth = runs[-1].wall_s / runs[0].wall_s
    slope, fit = line_through(counts, [run.cpu_s / total * 1e6 for run in runs])
    measured = f"{growth:.2f} x the time, {slope:+.2f} us CPU a bar for one more, R² {fit:.2f}"
    work = f"{counts[0]} to {counts[-1]} processes, {done}"
    holds = growth <= R2_GROWTH
    target = f"no convoy: at most {R2_GROWTH:g} x the time"
    yield Figure("R2", work, measured, target, holds, value=growth, unit="x")


def _whole(what: tuple[str, str], runs: Sequence[_Run], lost: int, bytes_a_bar: float) -> Figure:
    place, way = what
    errors = sum(run.errors for run in runs)
    work = f"{'get_hist_multi' if way == 'fetch' else 'write_bars'}, {place}: read back, compared"
    measured = f"{errors} errors, {lost} bars lost; {bytes_a_bar:.1f} bytes a bar"
    is_right = not errors and not lost
    return Figure("R2", work, measured, "none", is_right, value=float(errors + lost))


def _client(job: _Job, store: "BarStore | None" = None) -> TvDatafeed:
    network = NetworkConfig(ws_url=job.url, requests_per_minute=6000, burst_size=100)
    config = TvDatafeedConfig(network=network)
    return TvDatafeed(verbose=False, config=config, store=store or False)


def _fetched(tv: TvDatafeed, job: _Job) -> Iterator[tuple[str, pd.DataFrame]]:
    """Fetch the closed bars of all symbols."""
    frames = tv.get_hist_multi(
        job.symbols, interval=MINUTE, n_bars=job.bars, timezone="UTC", on_error="collect"
    )
    for symbol, frame in frames.items():
        # The market stands still while the newest bar forms.
        yield symbol, frame.iloc[:-1]


def _made(job: _Job) -> Iterator[pd.DataFrame]:
    """Make a frame for each symbol."""
    variants = [priced(job.bars, number) for number in range(_VARIANTS)]
    for symbol in job.symbols:
        yield variants[_STOCKS.index(symbol) % _VARIANTS]


class _TimedLocks:
    """How long this process waited for the lock file, and held it."""

    def __init__(self) -> None:
        self.waited_s = self.held_s = 0.0
        self._lock = sqlitefile.file_lock
        sqlitefile.file_lock = self._timed

    @contextlib.contextmanager
    def _timed(self, descriptor: int, timeout_s: float) -> Iterator[None]:
        begun = time.perf_counter()
        with self._lock(descriptor, timeout_s):
            held = time.perf_counter()
            self.waited_s += held - begun
            try:
                yield
            finally:
                self.held_s += time.perf_counter() - held


def _work() -> None:
    """Do jobs, each when a line says so."""
    locks = _TimedLocks()
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        job = _Job(**json.loads(line))
        with ExitStack() as held:
            store = None
            if job.store is not None:
                store = held.enter_context(BarStore(job.store))
                store.health_check()
            if job.way == "fetch":
                tv = held.enter_context(_client(job, store))
                # The connection is there before the time begins.
                tv.get_hist(job.symbols[0], interval=MINUTE, n_bars=1, store="off")
            frames = list(zip(job.symbols, _made(job), strict=True)) if job.way == "write" else []
            print(json.dumps("ready"), flush=True)
            sys.stdin.readline()
            waited_s, held_s, cpu_s = locks.waited_s, locks.held_s, time.process_time()
            errors = 0
            if job.way == "fetch":
                got = dict(_fetched(tv, job))
                errors += sum(len(frame) != job.bars - 1 for frame in got.values())
                errors += len(job.symbols) - len(got)
                errors += 0 if store is None else store.archive.failures
            for number, (symbol, frame) in enumerate(frames):
                is_short = job.fault == "lose" and number == 0
                assert store is not None
                try:
                    store.write_bars(frame[:-1] if is_short else frame, symbol, interval=MINUTE)
                except Exception as error:  # noqa: BLE001 - counted
                    errors += 1
                    print(f"{type(error).__name__}: {error}", file=sys.stderr)
            if job.fault.startswith("slow"):
                time.sleep(float(job.fault.split()[1]))
            answer = {
                "cpu_s": time.process_time() - cpu_s,
                "waited_s": locks.waited_s - waited_s,
                "held_s": locks.held_s - held_s,
                "errors": errors,
            }
            print(json.dumps(answer), flush=True)


def _serve() -> None:
    """Serve a TradingView whose market stands still."""
    day, page = dt.date(2000, 1, 1), BarTexts.page

    def shared(texts: BarTexts, history: Any, *rest: Any) -> Any:
        # So few answers that the server writes each of them once.
        symbol = _STOCKS[_STOCKS.index(history.symbol) % _VARIANTS]
        return page(texts, replace(history, symbol=symbol), *rest)

    BarTexts.page = shared  # type: ignore[method-assign]
    stocks = tuple(Listing(stock, stock, 100.0, day, 50.0) for stock in _STOCKS)
    with FakeTradingView(market=Market(stocks), clock=lambda: NOW) as server:
        print(json.dumps(server.ws_url), flush=True)
        sys.stdin.read()


def main() -> None:
    """Print the figures, or be one of the programs."""
    if len(sys.argv) > 1:
        {"serve": _serve, "work": _work}[sys.argv[1]]()
        return
    for figure in filled_store():
        print(figure, flush=True)


if __name__ == "__main__":
    main()
