"""Writers are killed again and again: no half block, and every acknowledged bar is there.

``python -m tests.store.kill [--url URL | --server] [--times 50]``: a writer says after each write
how many bars it has stored, until it is killed in the middle of one. With ``--server`` a PostgreSQL
server is started, and that is killed in place of the writer. Exit code 0 when nothing was wrong.
"""

import argparse
import contextlib
import functools
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.programs import environment
from tests.store.bars import assert_stored, bars, next_bars
from tests.store.postgresserver import PostgresServer
from tvDatafeed import DataNotFoundError, Interval
from tvDatafeed.store import BarStore

SYMBOL = "TEST:KILLED"
# Prime, so that each write ends at another place of a block.
BARS_A_WRITE = 211
LONGEST_S = 0.15
# Beyond that the store is cleared: all bars are read again after each kill.
MOST_BARS = 20_000


def stored_bars(url):
    """Return how many bars are stored, all of them as they were written."""
    with BarStore(url) as store:
        try:
            frame = store.read_bars(
                SYMBOL, interval=Interval.in_1_minute, n_bars=10_000_000, timezone="UTC"
            )
        except DataNotFoundError:
            return 0
        assert_stored(frame, bars(len(frame)))
        (last,) = [info for info in store.series() if info.symbol == SYMBOL]
        assert last.bars == len(frame)
        assert len(store.coverage(SYMBOL, interval=Interval.in_1_minute)) == 1
    return len(frame)


@contextlib.contextmanager
def writer(url):
    """Run a writer that continues from what is stored; it is killed when the block ends."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.store.kill", "--url", url, "--write"],
        stdout=subprocess.PIPE,
        # What it says when its server is killed.
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        cwd=Path(__file__).parents[2],
        env=environment(),
    ) as program:
        try:
            yield program
        finally:
            program.kill()


def write(url):
    """Write until killed; say after each write how many bars are stored."""
    written = stored_bars(url)
    with BarStore(url) as store:
        while True:
            store.write_bars(
                next_bars(BARS_A_WRITE, written), SYMBOL, interval=Interval.in_1_minute
            )
            written += BARS_A_WRITE
            print(written, flush=True)


def kill_once(url, wait_s):
    """Kill a writer some time after its first write; return the bars it had acknowledged."""
    with writer(url) as program:
        return _acknowledged(program, wait_s, program.kill)


def kill_server_once(url, wait_s, server):
    """Kill the server below a writer and start it again; return the bars acknowledged."""
    with writer(url) as program:

        def kill():
            server.kill()
            program.kill()
            server.start()

        return _acknowledged(program, wait_s, kill)


def _acknowledged(program, wait_s, kill):
    first = program.stdout.readline()
    assert first, "the writer could not write"
    time.sleep(wait_s)
    kill()
    said = [first, *program.stdout.read().splitlines(keepends=True)]
    # The last line may have been cut.
    return max(int(line) for line in said if line.endswith("\n"))


def main():
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url")
    parser.add_argument("--server", action="store_true")
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    if given.write:
        write(given.url)
    if given.server:
        with contextlib.closing(PostgresServer()) as server:
            kill = functools.partial(kill_server_once, server=server)
            return kill_often(server.new_database(), given.times, kill)
    with tempfile.TemporaryDirectory() as folder:
        return kill_often(given.url or f"{folder}/bars.db", given.times, kill_once)


def kill_often(url, times, kill):
    """Kill what writes into a store, and read it after each time; return the exit code."""
    chance, unacknowledged = random.Random(1), 0
    checked = before = 0
    for _ in range(times):
        acknowledged = kill(url, chance.uniform(0.0, LONGEST_S))
        stored = stored_bars(url)
        if stored < acknowledged or stored % BARS_A_WRITE:
            print(f"{acknowledged} bars were acknowledged, and {stored} are stored")
            return 1
        unacknowledged += stored > acknowledged
        checked += max(stored - before, 0)
        before = stored
        if stored > MOST_BARS:
            with BarStore(url) as store:
                store.clear()
            before = 0
    print(
        f"killed {times} times: {checked} bars, none lost, no half write; "
        f"{unacknowledged} times the last write was stored before it was acknowledged"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
