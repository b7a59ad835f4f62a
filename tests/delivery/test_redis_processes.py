"""Several processes share a feed through a server that is killed now and then."""

import contextlib
import signal
import sys
import threading

import pytest

from tests.delivery.redisprogram import SYMBOLS
from tests.feed import until
from tests.programs import start
from tests.scale import PATIENCE_S

pytestmark = pytest.mark.slow

COUNT = 150


class Reader:
    """A process that reads, and what it has printed."""

    def __init__(self, program):
        self.program = program
        self.lines = []
        assert program.stdout.readline() == "ready\n"
        self._thread = threading.Thread(target=self._collect)
        self._thread.start()

    def _collect(self):
        for line in self.program.stdout:
            self.lines.append(line.split())

    def bars(self, symbol):
        """The numbers of the bars of a series, as they came."""
        return [int(line[2]) for line in self.lines if line[:2] == ["bar", symbol]]

    def gaps(self, symbol):
        """The gaps of a series."""
        return [
            (int(a), int(b))
            for kind, name, a, *rest in self.lines
            if kind == "gap" and name == symbol
            for b in rest
        ]

    def kill(self):
        """End the process at once."""
        self.program.kill()
        self._thread.join(PATIENCE_S)


@contextlib.contextmanager
def readers(redis, prefix, count, *group):
    """Run some readers."""
    with contextlib.ExitStack() as programs:
        arguments = ("-m", "tests.delivery.redisprogram", "read", redis.url, prefix, *group)
        found = [programs.enter_context(start(*arguments)) for _reader in range(count)]
        running = [Reader(program) for program in found]
        try:
            yield running
        finally:
            for reader in running:
                reader.kill()


def publisher(redis, prefix, count=COUNT, maxlen=100_000, pause_s=0.01):
    """Start a program that publishes."""
    arguments = ("publish", redis.url, prefix, count, maxlen, pause_s)
    return start("-m", "tests.delivery.redisprogram", *map(str, arguments))


def _all_bars(running, symbol):
    return {number for reader in running for number in reader.bars(symbol)}


def _disturb(redis, running):
    """Restart the server with its data, then without them, while bars are on their way."""
    for number, lose_data in ((COUNT // 4, False), (COUNT // 2, True)):
        seen = lambda n=number: any(n in r.bars(SYMBOLS[0]) for r in running)  # noqa: E731
        assert until(seen)
        redis.restart(lose_data=lose_data)


def test_every_reader_gets_every_bar(own_redis, prefix):
    """Without a group, three processes get each bar once and in order, whatever the server does."""
    with readers(own_redis, prefix, 3) as running, publisher(own_redis, prefix) as program:
        _disturb(own_redis, running)
        assert program.stdout.readline() == "done\n"
        for reader in running:
            for symbol in SYMBOLS:
                assert until(lambda r=reader, s=symbol: len(r.bars(s)) >= COUNT)
    for reader in running:
        for symbol in SYMBOLS:
            assert reader.bars(symbol) == list(range(COUNT))
            assert reader.gaps(symbol) == []


def test_group_gets_every_bar(own_redis, prefix):
    """With a group, three processes get each bar at least once, one of them being killed."""
    with readers(own_redis, prefix, 3, "g") as running, publisher(own_redis, prefix) as program:
        assert until(lambda: len(running[0].bars(SYMBOLS[0])) > 5)
        running[0].kill()
        _disturb(own_redis, running)
        assert program.stdout.readline() == "done\n"
        for symbol in SYMBOLS:
            missing = lambda s=symbol: set(range(COUNT)) - _all_bars(running, s)  # noqa: E731
            assert until(lambda m=missing: not m()), missing()
    assert all(reader.gaps(symbol) == [] for reader in running for symbol in SYMBOLS)


@pytest.mark.skipif(sys.platform == "win32", reason="stops a process as POSIX does")
def test_trimmed_history_is_reported(own_redis, prefix):
    """A process that stood still while bars were trimmed hears exactly which ones."""
    count = 1000
    with readers(own_redis, prefix, 1) as (reader,):
        with publisher(own_redis, prefix, 10, pause_s=0) as program:
            assert program.stdout.readline() == "done\n"
        assert until(lambda: all(len(reader.bars(s)) == 10 for s in SYMBOLS))
        reader.program.send_signal(signal.SIGSTOP)
        with publisher(own_redis, prefix, count, maxlen=200, pause_s=0) as program:
            assert program.stdout.readline() == "done\n"
        reader.program.send_signal(signal.SIGCONT)
        for symbol in SYMBOLS:
            assert until(lambda s=symbol: reader.bars(s)[-1] == count - 1)
    for symbol in SYMBOLS:
        ((last, first),) = reader.gaps(symbol)
        assert reader.bars(symbol) == [*range(last + 1), *range(first, count)]
