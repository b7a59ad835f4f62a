"""Many processes write and read one store at the same time: no error, and no bar lost.

``python -m tests.store.contention [--url URL] [--seconds 60] [--processes 8] [--page 1000]
[--way frames]``: each process writes a series of its own and one that all share, and reads both
back. The ways are ``frames``, as `BarStore.write_bars` takes them, and ``feed``, as a live feed
stores its bars. The same work is then done a row per bar, as caches are commonly written. Exit code
0 when nothing was wrong.
"""

import argparse
import contextlib
import functools
import itertools
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.programs import environment
from tests.store.bars import FIRST_S, MINUTE_S, bars
from tests.store.rowperbar import open_rows, rows_of
from tvDatafeed import Interval
from tvDatafeed.frames.rows import frame_to_bars
from tvDatafeed.protocol.events import SeriesRequest
from tvDatafeed.store import BarStore
from tvDatafeed.store.blocks import ROW_BYTES, times_in
from tvDatafeed.store.key import SeriesKey
from tvDatafeed.store.records import SeriesNotes
from tvDatafeed.store.spans import just_after

# A page of history.
BARS_A_PAGE = 1000
BARS_A_READ = 5000
SHARED = "TEST:SHARED"
# In each of a few rounds a process writes, and reads what it has written.
READ_EVERY = 10


def work(url, number, seconds, way, page):
    """Write and read for some seconds; return what was done."""
    keep = WAYS[way](url)
    written = errors = steps = 0
    slowest = 0.0
    read_every = max(READ_EVERY, BARS_A_PAGE // page)
    shared = keep.prepared(bars(BARS_A_PAGE, number * BARS_A_PAGE))
    print("ready", flush=True)
    sys.stdin.readline()
    until = time.monotonic() + seconds
    following = pages(keep, number, page)
    unwritten = next(following)
    with contextlib.closing(keep):
        while time.monotonic() < until:
            started = time.perf_counter()
            try:
                keep.write(f"TEST:P{number}", unwritten)
                written += page
                unwritten = next(following)
                if steps % read_every == 0:
                    keep.write(SHARED, shared)
                    newest = keep.read(f"TEST:P{number}", BARS_A_READ)
                    assert len(newest) == min(written, BARS_A_READ)
                    assert len(keep.read(SHARED, BARS_A_PAGE)) == BARS_A_PAGE
            except Exception as error:  # noqa: BLE001 - counted
                errors += 1
                print(f"{type(error).__name__}: {error}", file=sys.stderr)
            slowest = max(slowest, time.perf_counter() - started)
            steps += 1
    return {"written": written, "steps": steps, "errors": errors, "slowest_s": slowest}


def pages(keep, number, size):
    """Yield pages that follow each other, cut from longer ones so that making them costs little."""
    many = max(BARS_A_PAGE // size, 1) * size
    for first in itertools.count(0, many):
        prepared = keep.prepared(bars(many, first, number))
        for start in range(0, many, size):
            yield keep.cut(prepared, start, start + size)


class Frames:
    """The store, as programs write into it."""

    def __init__(self, url):
        self._store = BarStore(url)

    def prepared(self, frame):
        return frame

    def cut(self, frame, start, end):
        return frame.iloc[start:end]

    def write(self, symbol, frame):
        self._store.write_bars(frame, symbol, interval=Interval.in_1_minute)

    def read(self, symbol, count):
        return self._store.read_bars(
            symbol, interval=Interval.in_1_minute, n_bars=count, timezone="UTC"
        )

    def close(self):
        self._store.close()


class Feed(Frames):
    """The store, as a live feed writes into it."""

    def prepared(self, frame):
        return frame_to_bars(frame, MINUTE_S).packed

    def cut(self, packed, start, end):
        return packed[start * ROW_BYTES : end * ROW_BYTES]

    def write(self, symbol, packed):
        append(self._store, symbol, packed)


@functools.cache
def key_of(symbol):
    """Return the key of a series, which a feed makes once."""
    request = SeriesRequest(symbol, Interval.in_1_minute.value, count=None)
    return SeriesKey.of(request, symbol, "realtime")


def append(store, symbol, packed):
    """Store packed bars of one minute that follow the stored ones, as a live feed does."""
    times = times_in(packed)
    since_s = times[0] if times[0] == FIRST_S else just_after(times[0] - MINUTE_S)
    store.archive.append(
        key_of(symbol),
        symbol,
        packed,
        (since_s, times[-1]),
        SeriesNotes(update_mode="streaming"),
        account="",
    )


class Rows:
    """A row for each bar."""

    def __init__(self, url):
        self._rows = open_rows(url)
        self.write = self._rows.write
        self.read = self._rows.read
        self.close = self._rows.close

    def prepared(self, frame):
        return rows_of(frame)

    def cut(self, rows, start, end):
        return rows[start:end]


WAYS = {"frames": Frames, "feed": Feed, "rows": Rows}


def contend(url, seconds, processes, way="frames", page=BARS_A_PAGE):
    """Run the processes together; return what each has done."""
    with contextlib.ExitStack() as running:
        programs = [
            running.enter_context(_program(url, number, seconds, way, page))
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
def _program(url, number, seconds, way, page):
    given = {"url": url, "seconds": seconds, "worker": number, "way": way, "page": page}
    arguments = [f"--{name}={value}" for name, value in given.items()]
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
            # An assertion of pandas compares the moments one by one, ten seconds a million bars.
            if not frame.drop(columns="symbol").equals(bars(count, 0, number)):
                lost += max(count - len(frame), 1)
    return lost


def main():
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--page", type=int, default=BARS_A_PAGE)
    parser.add_argument("--way", choices=tuple(WAYS), default="frames")
    parser.add_argument("--worker", type=int, help="for the processes that this one starts")
    given = parser.parse_args()
    if given.worker is not None:
        print(json.dumps(work(given.url, given.worker, given.seconds, given.way, given.page)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        url = given.url or f"{folder}/bars.db"
        outcome = outcome_of(url, given.seconds, given.processes, given.way, given.page)
        print(f"the store: {outcome}")
        if "://" not in url or url.startswith("postgresql:"):
            rows_url = given.url or f"{folder}/rows.db"
            rows = outcome_of(rows_url, given.seconds, given.processes, "rows", given.page)
            print(f"a row per bar: {rows}")
            print(f"the store writes {outcome.rate / rows.rate:.1f} times as many bars")
    return 0 if outcome.is_right else 1


@dataclass(frozen=True)
class Outcome:
    """What all processes have done together."""

    written: int
    rate: float
    errors: int
    lost: int
    slowest_s: float

    @property
    def is_right(self):
        return self.written > 0 and not self.errors and not self.lost

    def __str__(self):
        return (
            f"{self.written} bars, {self.rate:.0f} a second, {self.errors} errors, "
            f"{self.lost} lost, slowest step {self.slowest_s:.2f} s"
        )


def outcome_of(url, seconds, processes, way, page):
    """Run the processes together; return what they have done."""
    outcomes = contend(url, seconds, processes, way, page)
    written = sum(outcome["written"] for outcome in outcomes)
    return Outcome(
        written,
        written / seconds,
        sum(outcome["errors"] for outcome in outcomes),
        0 if way == "rows" else lost_bars(url, outcomes),
        max(outcome["slowest_s"] for outcome in outcomes),
    )


if __name__ == "__main__":
    sys.exit(main())
