"""RateLimiter grants a burst of tokens and then a steady rate, in the order of the callers."""

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.callers import GRACE_S, Caller, Clock, refusal
from tvDatafeed.exceptions import RateLimitError
from tvDatafeed.ratelimit import RateLimiter

pauses = st.floats(0, 40)


class Sleeper(threading.Event):
    """A stop event, for one thread, whose waits move the clock and take no time."""

    def __init__(self, clock):
        super().__init__()
        self._clock = clock
        self.waits = []

    def wait(self, timeout=None):
        self.waits.append(timeout)
        self._clock.now += timeout
        return self.is_set()


class World:
    """A clock for many threads, and the number of those that wait for it."""

    def __init__(self):
        self.now = 1000.0
        self.changed = threading.Condition()
        self.sleepers = 0

    def __call__(self):
        return self.now

    def advance(self, seconds):
        with self.changed:
            self.now += seconds
            self.changed.notify_all()

    def until_sleeping(self, count):
        with self.changed:
            assert self.changed.wait_for(lambda: self.sleepers == count, GRACE_S)


class Stop(threading.Event):
    """A stop event whose waits last until the world's clock has moved far enough."""

    def __init__(self, world):
        super().__init__()
        self._world = world

    def set(self):
        super().set()
        self._world.advance(0)

    def wait(self, timeout=None):
        world = self._world
        with world.changed:
            wake_at = world.now + timeout
            world.sleepers += 1
            world.changed.notify_all()
            world.changed.wait_for(lambda: self.is_set() or world.now >= wake_at, GRACE_S)
            world.sleepers -= 1
            world.changed.notify_all()
        return self.is_set()


@pytest.fixture
def clock():
    """A clock that stands still."""
    return Clock()


def test_a_rested_limiter_grants_a_burst_and_then_one_token_at_a_time(clock):
    """The bucket holds burst_size tokens, and gains one every 60 / requests_per_minute seconds."""
    limiter = RateLimiter(30, 3, clock=clock)
    sleeper = Sleeper(clock)
    moments = []
    for _ in range(6):
        assert limiter.acquire(stop=sleeper) is True
        moments.append(clock.now - 1000)
    assert moments == [0, 0, 0, 2, 4, 6]
    assert sleeper.waits == [2, 2, 2]


@given(rate=st.integers(1, 10_000), burst=st.integers(1, 50), rest=pauses)
def test_a_burst_needs_no_wait_at_any_rate(rate, burst, rest):
    """Rounding never makes the last tokens of a full bucket come late."""
    clock = Clock()
    limiter = RateLimiter(rate, burst, clock=clock)
    clock.now += rest
    assert all(limiter.acquire(0) for _ in range(burst))
    assert refusal(limiter.acquire, 0).retry_after == pytest.approx(60 / rate, abs=1e-6)


def test_a_bucket_never_holds_more_than_a_burst(clock):
    """However long the rest was, the next token after a burst has to be waited for."""
    limiter = RateLimiter(60, 2, clock=clock)
    clock.now += 1e6
    assert limiter.acquire(0)
    assert limiter.acquire(0)
    assert refusal(limiter.acquire, 0).retry_after == 1


def test_the_defaults_are_sixty_a_minute_and_a_burst_of_ten():
    """A limiter without arguments runs on the monotonic clock."""
    limiter = RateLimiter()
    assert (limiter.requests_per_minute, limiter.burst_size) == (60, 10)
    for _ in range(10):
        assert limiter.acquire(0)
    assert 0 < refusal(limiter.acquire, 0).retry_after <= 1


def test_a_wait_that_would_be_too_long_is_refused_at_once(clock):
    """A refused caller does not wait first, and the error has the time to come back."""
    limiter = RateLimiter(60, 1, clock=clock)
    limiter.acquire()
    clock.now += 0.25
    sleeper = Sleeper(clock)
    error = refusal(limiter.acquire, 0.5, stop=sleeper)
    assert (error.limit, error.window, error.retry_after) == (60, 60, 0.75)
    assert sleeper.waits == []


def test_a_refused_caller_takes_no_token(clock):
    """After its retry_after a caller is served, also if others were refused meanwhile."""
    limiter = RateLimiter(60, 1, clock=clock)
    limiter.acquire()
    for _ in range(5):
        error = refusal(limiter.acquire, 0.5)
    clock.now += error.retry_after
    assert limiter.acquire(0)


def test_a_wait_may_take_all_of_its_timeout(clock):
    """A token that comes exactly at the end of the timeout is waited for."""
    limiter = RateLimiter(60, 1, clock=clock)
    limiter.acquire()
    assert limiter.acquire(1, stop=Sleeper(clock))
    assert clock.now == 1001


@pytest.mark.parametrize("timeout", [0, -1, -0.001])
def test_a_timeout_of_nothing_tries_once(clock, timeout):
    """An available token is taken, and a missing one is not waited for."""
    limiter = RateLimiter(60, 1, clock=clock)
    assert limiter.acquire(timeout)
    assert refusal(limiter.acquire, timeout).retry_after == 1


def test_a_wait_that_ends_early_goes_on(clock):
    """A token is never taken before it is due, even if the system wakes the thread too soon."""
    limiter = RateLimiter(60, 1, clock=clock)
    limiter.acquire()

    class Restless(Sleeper):
        def wait(self, timeout=None):
            return super().wait(timeout / 2 if len(self.waits) < 3 else timeout)

    assert limiter.acquire(stop=Restless(clock))
    assert clock.now == 1001


def test_without_a_stop_event_a_wait_takes_real_time():
    """On the real clock the second of two tokens comes a hundredth of a second later."""
    limiter = RateLimiter(6000, 1)
    before = time.monotonic()
    limiter.acquire()
    limiter.acquire()
    assert time.monotonic() - before > 0.009


def test_a_set_stop_event_takes_no_token(clock):
    """A caller whose stop event is set takes no token, even if one is available."""
    limiter = RateLimiter(60, 1, clock=clock)
    stop = threading.Event()
    stop.set()
    assert limiter.acquire(stop=stop) is False
    assert limiter.acquire(0) is True


def test_stop_ends_a_wait_and_hands_the_token_back():
    """The token of the last caller in the queue goes to the next caller."""
    world = World()
    limiter = RateLimiter(60, 1, clock=world)
    limiter.acquire()
    stop = Stop(world)
    waiting = Caller(limiter.acquire, stop=stop)
    world.until_sleeping(1)
    stop.set()
    assert waiting.result() is False
    assert refusal(limiter.acquire, 0).retry_after == 1


def test_who_stops_with_others_behind_loses_the_token():
    """A promise made to a later caller is kept, neither earlier nor later."""
    world = World()
    limiter = RateLimiter(60, 1, clock=world)
    limiter.acquire()
    stop = Stop(world)
    first = Caller(limiter.acquire, stop=stop)
    world.until_sleeping(1)
    second = Caller(limiter.acquire, stop=Stop(world))
    world.until_sleeping(2)
    stop.set()
    assert first.result() is False
    world.until_sleeping(1)
    assert refusal(limiter.acquire, 0).retry_after == 3
    world.advance(2)
    assert second.result() is True


def test_an_interrupted_wait_hands_the_token_back(clock):
    """Ctrl-C ends the wait, and the token goes to the next caller."""
    limiter = RateLimiter(60, 1, clock=clock)
    limiter.acquire()

    class Interrupted(threading.Event):
        def wait(self, timeout=None):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        limiter.acquire(stop=Interrupted())
    assert refusal(limiter.acquire, 0).retry_after == 1


def test_a_token_that_was_put_back_can_be_taken_at_once(clock):
    """A request that was never sent leaves its token to the next caller, and no more than that."""
    limiter = RateLimiter(60, 2, clock=clock)
    for _ in range(2):
        limiter.acquire(0)
    limiter.put_back()
    limiter.acquire(0)
    assert refusal(limiter.acquire, 0).retry_after == pytest.approx(1)


def test_a_bucket_never_holds_more_than_a_burst_however_many_are_put_back(clock):
    """Tokens that are put back into a full bucket are lost."""
    limiter = RateLimiter(60, 2, clock=clock)
    for _ in range(5):
        limiter.put_back()
    for _ in range(2):
        limiter.acquire(0)
    assert refusal(limiter.acquire, 0).retry_after == pytest.approx(1)


def test_threads_are_served_in_the_order_in_which_they_came():
    """Each second one token comes, and it goes to the thread that has waited longest."""
    world = World()
    limiter = RateLimiter(60, 1, clock=world)
    limiter.acquire()
    callers = []
    for waiting in range(1, 6):
        callers.append(Caller(limiter.acquire, stop=Stop(world)))
        world.until_sleeping(waiting)
    for left in reversed(range(5)):
        world.advance(1)
        world.until_sleeping(left)
        assert callers.pop(0).result() is True
        assert all(caller.is_alive() for caller in callers)


def test_others_are_answered_while_one_waits():
    """A waiting thread does not hold up a thread that would not wait."""
    world = World()
    limiter = RateLimiter(60, 1, clock=world)
    limiter.acquire()
    waiting = Caller(limiter.acquire, stop=Stop(world))
    world.until_sleeping(1)
    assert Caller(limiter.acquire, 0).result().retry_after == 2
    world.advance(1)
    assert waiting.result() is True


@given(
    rate=st.integers(1, 120),
    burst=st.integers(1, 20),
    steps=st.lists(st.tuples(pauses, st.integers(1, 50), st.none() | st.floats(0, 5)), max_size=20),
)
def test_no_minute_sees_more_than_a_burst_and_the_rate(rate, burst, steps):
    """Whenever callers come and however long they wait, both bounds together hold."""
    clock = Clock()
    limiter = RateLimiter(rate, burst, clock=clock)
    taken = []
    for pause, calls, timeout in steps:
        clock.now += pause
        for _ in range(calls):
            try:
                limiter.acquire(timeout, stop=Sleeper(clock))
            except RateLimitError:
                break
            taken.append(clock.now)
    allowed = rate + burst
    for first, one_too_many in zip(taken, taken[allowed:], strict=False):
        assert one_too_many - first > 60


@given(rate=st.integers(1, 600), burst=st.integers(1, 20), patience=st.lists(pauses, max_size=50))
def test_patience_is_rewarded_in_time(rate, burst, patience):
    """A wait is never longer than the timeout, and retry_after is when a token is there."""
    clock = Clock()
    limiter = RateLimiter(rate, burst, clock=clock)
    for _ in range(burst):
        assert limiter.acquire(0)
    for timeout in patience:
        before = clock.now
        wait = timeout
        try:
            limiter.acquire(timeout, stop=Sleeper(clock))
        except RateLimitError as error:
            wait = error.retry_after
        if wait == timeout:
            assert clock.now - before <= timeout + 1e-6
        else:
            assert wait > timeout
            assert clock.now == before
            assert limiter.acquire(wait, stop=Sleeper(clock))
            assert clock.now - before == pytest.approx(wait, abs=1e-6)
