"""Many processes write and read one store at the same time: no error, and no bar lost.

``python -m tests.store.contention [--url URL] [--seconds 60] [--processes 8]``: each process writes
a series of its own and one that all share, and reads both back. For SQLite, the default, the same
work is then done a row per bar, as caches are commonly written. Exit code 0 when nothing was wrong.
"""

import argparse
import contextlib
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.programs import environment
from tests.store.bars import assert_stored, bars, next_bars
from tvDatafeed import Interval
from tvDatafeed.store import BarStore

# A page of history.
BARS_A_WRITE = 1000
BARS_A_READ = 5000
SHARED = "TEST:SHARED"
# In each of a few rounds a process writes, and reads what it has written.
READ_EVERY = 10


def work(url, number, seconds, way):
    """Write and read for some seconds; return what was done."""
    keep = RowPerBar(url) if way == "rows" else Blocks(url)
    written = errors = steps = 0
    slowest = 0.0
    print("ready", flush=True)
    sys.stdin.readline()
    until = time.monotonic() + seconds
    with contextlib.closing(keep):
        while time.monotonic() < until:
            started = time.perf_counter()
            try:
                keep.write(f"TEST:P{number}", next_bars(BARS_A_WRITE, written, number))
                written += BARS_A_WRITE
                if steps % READ_EVERY == 0:
                    keep.write(SHARED, bars(BARS_A_WRITE, number * BARS_A_WRITE))
                    newest = keep.read(f"TEST:P{number}", BARS_A_READ)
                    assert len(newest) == min(written, BARS_A_READ)
                    assert len(keep.read(SHARED, BARS_A_WRITE)) == BARS_A_WRITE
            except Exception as error:  # noqa: BLE001 - counted
                errors += 1
                print(f"{type(error).__name__}: {error}", file=sys.stderr)
            slowest = max(slowest, time.perf_counter() - started)
            steps += 1
    return {"written": written, "steps": steps, "errors": errors, "slowest_s": slowest}


class Blocks:
    """The store."""

    def __init__(self, url):
        self._store = BarStore(url)

    def write(self, symbol, frame):
        self._store.write_bars(frame, symbol, interval=Interval.in_1_minute)

    def read(self, symbol, count):
        return self._store.read_bars(
            symbol, interval=Interval.in_1_minute, n_bars=count, timezone="UTC"
        )

    def close(self):
        self._store.close()


class RowPerBar:
    """A row for each bar in SQLite, as is common; it waits for others as the store does."""

    def __init__(self, path):
        self._database = sqlite3.connect(path, timeout=30.0, isolation_level=None)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS bar (symbol TEXT, time REAL, open REAL, high REAL, "
            "low REAL, close REAL, volume REAL, PRIMARY KEY (symbol, time))"
        )

    def write(self, symbol, frame):
        times = frame.index.as_unit("ns").asi8 / 1e9
        rows = [(symbol, *row) for row in zip(times, *frame.to_numpy().T, strict=True)]
        self._database.execute("BEGIN IMMEDIATE")
        self._database.executemany("INSERT OR REPLACE INTO bar VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        self._database.execute("COMMIT")

    def read(self, symbol, count):
        import pandas as pd  # noqa: PLC0415 - here alone

        rows = self._database.execute(
            "SELECT time, open, high, low, close, volume FROM bar WHERE symbol = ? "
            "ORDER BY time DESC LIMIT ?",
            (symbol, count),
        ).fetchall()
        frame = pd.DataFrame(rows[::-1], columns=["time", "open", "high", "low", "close", "volume"])
        frame.index = pd.to_datetime(frame.pop("time"), unit="s", utc=True)
        return frame

    def close(self):
        self._database.close()


def contend(url, seconds, processes, way="blocks"):
    """Run the processes together; return what each has done."""
    with contextlib.ExitStack() as running:
        programs = [
            running.enter_context(_program(url, number, seconds, way))
            for number in range(processes)
        ]
        for program in programs:
            assert program.stdout.readline() == "ready\n"
        for program in programs:
            program.stdin.write("go\n")
            program.stdin.flush()
        ended = [program.communicate() for program in programs]
    for _, complaints in ended:
        sys.stderr.write(complaints)
    return [json.loads(output) for output, _ in ended]


@contextlib.contextmanager
def _program(url, number, seconds, way):
    arguments = ["--url", url, "--seconds", str(seconds), "--worker", str(number), "--way", way]
    with subprocess.Popen(
        [sys.executable, "-m", "tests.store.contention", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        cwd=Path(__file__).parents[2],
        env=environment(),
    ) as program:
        try:
            yield program
        finally:
            program.kill()


def lost_bars(url, outcomes):
    """Return how many of the acknowledged bars are not as they were written."""
    lost = 0
    with BarStore(url) as store:
        for number, outcome in enumerate(outcomes):
            count = outcome["written"]
            frame = store.read_bars(
                f"TEST:P{number}", interval=Interval.in_1_minute, n_bars=count + 1, timezone="UTC"
            )
            try:
                assert_stored(frame, bars(count, 0, number))
            except AssertionError:
                lost += max(count - len(frame), 1)
    return lost


def main():
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--worker", type=int)
    parser.add_argument("--way", default="blocks")
    given = parser.parse_args()
    if given.worker is not None:
        print(json.dumps(work(given.url, given.worker, given.seconds, given.way)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        url = given.url or f"{folder}/bars.db"
        rate, is_right = _report("the store", url, given)
        if "://" not in url or url.startswith("sqlite"):
            rows, _ = _report("a row per bar", f"{folder}/rows.db", given, "rows")
            print(f"the store writes {rate / rows:.1f} times as many bars")
    return 0 if is_right else 1


def _report(label, url, given, way="blocks"):
    outcomes = contend(url, given.seconds, given.processes, way)
    written = sum(outcome["written"] for outcome in outcomes)
    errors = sum(outcome["errors"] for outcome in outcomes)
    slowest = max(outcome["slowest_s"] for outcome in outcomes)
    lost = lost_bars(url, outcomes) if way == "blocks" else 0
    rate = written / given.seconds
    print(
        f"{label}: {given.processes} processes, {given.seconds:g} s: {written} bars, "
        f"{rate:.0f} a second, {errors} errors, {lost} lost, slowest step {slowest:.2f} s"
    )
    return rate, not errors and not lost and written > 0


if __name__ == "__main__":
    sys.exit(main())
