"""The figures of the live feed measure what they say: a slowed path shows, and only where it is.

All limits are lower ones, which a slow machine cannot miss.
"""

import threading
import time

import pytest

from tests.benchmarks import live
from tests.benchmarks.live import (
    beside_a_blocked_callback,
    beside_slow_callbacks,
    cost_of_seises,
    cost_of_threads,
    many_at_once,
    one_seis,
    resident_kilobytes,
)
from tvDatafeed.live.livebar import LiveBarFormat
from tvDatafeed.live.seis import Consumer

pytestmark = pytest.mark.slow

WAIT_S = 0.05


@pytest.fixture
def slow_frames(monkeypatch):
    """Slow down the frames of the feed; gives the threads that built one."""
    built = []
    frame = LiveBarFormat.frame

    def slowed(self, item):
        built.append(threading.current_thread())
        time.sleep(WAIT_S)
        return frame(self, item)

    monkeypatch.setattr(LiveBarFormat, "frame", slowed)
    return built


def test_a_slow_path_shows_with_one_seis(slow_frames):
    """A wait between the wire and the callback is in the p50."""
    figure, _histogram = one_seis(3)
    assert figure.value >= WAIT_S * 1000


def test_a_slow_path_shows_with_many_seises(slow_frames):
    """A wait is in the time of the Seises; the bare threads do not run that code."""
    (figure,) = many_at_once(4, 2)
    assert float(figure.measured.split(" ms")[0]) >= WAIT_S * 1000
    # Of each Seis the bar that had closed before, the warm-up and two rounds.
    assert len(slow_frames) == 4 * 4
    assert all(isinstance(thread, Consumer) for thread in slow_frames)


def test_bare_threads_build_the_same_frames():
    """The bare threads pass on a frame for each bar, each in a thread of its own."""
    frames, threads, done = [], set(), threading.Semaphore(0)

    def receive(_number, frame):
        frames.append(frame)
        threads.add(threading.current_thread())
        done.release()

    bare = live.BareThreads(3, receive)
    for _round in range(2):
        bare.wake()
        for _call in range(3):
            done.acquire()
    bare.end()
    assert len(threads) == 3
    assert [frame.shape for frame in frames] == [(1, 6)] * 6
    assert not any(isinstance(thread, Consumer) for thread in threads)


@pytest.mark.parametrize("benchmark", [beside_a_blocked_callback, beside_slow_callbacks])
def test_a_reader_that_waits_for_its_listeners_shows(benchmark, monkeypatch):
    """If the delivery to the other consumers waited, the Seis beside them would be late."""
    deliver = Consumer.deliver

    def waiting(self, item):
        callback = self.callback
        if getattr(callback, "_then", None) is not None:
            time.sleep(WAIT_S)
        return deliver(self, item)

    monkeypatch.setattr(Consumer, "deliver", waiting)
    arguments = (2, 2) if benchmark is beside_slow_callbacks else (2,)
    (figure,) = benchmark(*arguments)
    assert float(figure.measured.split(",")[0]) >= WAIT_S * 1000


def test_a_lost_bar_ends_the_benchmark():
    """A feed that loses bars has no figures."""
    calls = live.Calls()
    for seis in ("a", "b", "a"):
        calls(seis, None)
    with pytest.raises(SystemExit, match="1 Seises were not called 2 times"):
        calls.check(2)


@pytest.mark.skipif(resident_kilobytes() is None, reason="the system does not report memory")
def test_memory_of_a_seis_shows(monkeypatch):
    """What a Seis keeps is in its memory, and not in that of a bare thread."""
    created = LiveBarFormat.__init__
    megabyte = 1024 * 1024

    def larger(self, *arguments):
        self.kept = b"x" * (4 * megabyte)
        created(self, *arguments)

    monkeypatch.setattr(LiveBarFormat, "__init__", larger)
    assert cost_of_seises(8, 0.0)["kilobytes"] >= 2 * 1024
    assert cost_of_threads(8)["kilobytes"] < 2 * 1024
