"""How often we may ask, how often we did, and when we leave the server alone."""

import doctest
import gc
import math
import threading
import time
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.scale import scaled
from tvDatafeed import ratelimit
from tvDatafeed.exceptions import ConfigurationError, RateLimitError, WebSocketError
from tvDatafeed.ratelimit import CircuitBreaker, RateLimiter, RequestTracker

# How long a test waits for a thread that should need no time at all.
_GRACE_S = scaled(10.0)

pauses = st.floats(0, 40)


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


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
            assert self.changed.wait_for(lambda: self.sleepers == count, _GRACE_S)


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
            world.changed.wait_for(lambda: self.is_set() or world.now >= wake_at, _GRACE_S)
            world.sleepers -= 1
            world.changed.notify_all()
        return self.is_set()


class Caller(threading.Thread):
    """A thread that makes one call and keeps what came of it."""

    def __init__(self, func, *args, **kwargs):
        super().__init__(daemon=True)
        self._call = func, args, kwargs
        self.start()

    def run(self):
        func, args, kwargs = self._call
        try:
            self.outcome = func(*args, **kwargs)
        except RateLimitError as error:
            self.outcome = error

    def result(self):
        self.join(_GRACE_S)
        assert not self.is_alive()
        return self.outcome


@pytest.fixture
def clock():
    """A clock that stands still."""
    return Clock()


@pytest.fixture
def breaker(clock):
    """A breaker that opens at the third failure, for 30 seconds."""
    return CircuitBreaker(3, 30.0, clock=clock)


def fail(error=None):
    """Fail as the network does."""
    raise error or WebSocketError("connection reset")


def fail_often(breaker, times):
    """Let so many calls fail."""
    for _ in range(times):
        with pytest.raises(WebSocketError):
            breaker.call(fail)


def refusal(func, *args, **kwargs):
    """Return the error with which a call is refused."""
    with pytest.raises(RateLimitError) as caught:
        func(*args, **kwargs)
    return caught.value


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
    """Nobody waits first and fails then, and the error says when to come back."""
    limiter = RateLimiter(60, 1, clock=clock)
    limiter.acquire()
    clock.now += 0.25
    sleeper = Sleeper(clock)
    error = refusal(limiter.acquire, 0.5, stop=sleeper)
    assert (error.limit, error.window, error.retry_after) == (60, 60, 0.75)
    assert sleeper.waits == []


def test_a_refused_caller_takes_no_token(clock):
    """After its retry_after the caller is served, whoever else was refused meanwhile."""
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
    """A token that is there is taken, and one that is not is not waited for."""
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
    """Who is about to stop makes no request, even if it could be made at once."""
    limiter = RateLimiter(60, 1, clock=clock)
    stop = threading.Event()
    stop.set()
    assert limiter.acquire(stop=stop) is False
    assert limiter.acquire(0) is True


def test_stop_ends_a_wait_and_hands_the_token_back():
    """The token of the last one in the queue goes to whoever comes next."""
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
    """Ctrl-C ends the wait, and costs nobody a token."""
    limiter = RateLimiter(60, 1, clock=clock)
    limiter.acquire()

    class Interrupted(threading.Event):
        def wait(self, timeout=None):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        limiter.acquire(stop=Interrupted())
    assert refusal(limiter.acquire, 0).retry_after == 1


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
    """Nobody waits longer than the timeout, and retry_after is when a token is there."""
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


def test_requests_count_until_the_window_has_passed(clock):
    """A request counts for window_seconds and no longer."""
    tracker = RequestTracker(10, clock=clock)
    assert tracker.get_request_count() == 0
    tracker.add_request()
    clock.now += 4
    tracker.add_request()
    clock.now += 5.5
    assert tracker.get_request_count() == 2
    clock.now += 0.5
    assert tracker.get_request_count() == 1
    clock.now += 4
    assert tracker.get_request_count() == 0


def test_throttling_is_advised_from_the_limit_on(clock):
    """The advice holds as long as the window holds max_requests."""
    tracker = RequestTracker(10, max_requests=2, clock=clock)
    tracker.add_request()
    assert tracker.should_throttle() is False
    clock.now += 1
    tracker.add_request()
    assert tracker.should_throttle() is True
    clock.now += 9
    assert tracker.should_throttle() is False


def test_the_defaults_are_sixty_requests_in_sixty_seconds():
    """A tracker without arguments runs on the monotonic clock."""
    tracker = RequestTracker()
    assert (tracker.window_seconds, tracker.max_requests) == (60, 60)
    for _ in range(59):
        tracker.add_request()
    assert not tracker.should_throttle()
    tracker.add_request()
    assert tracker.should_throttle()


@given(pauses=st.lists(st.integers(0, 5)), window=st.integers(1, 20), limit=st.integers(1, 10))
def test_the_count_is_that_of_the_window_up_to_the_limit(pauses, window, limit):
    """It does not matter how often or when the count was asked for."""
    clock = Clock()
    tracker = RequestTracker(window, max_requests=limit, clock=clock)
    moments = []
    for pause in pauses:
        clock.now += pause
        tracker.add_request()
        moments.append(clock.now)
        recent = [moment for moment in moments if clock.now - moment < window]
        assert tracker.get_request_count() == min(len(recent), limit)


def test_requests_of_many_threads_are_all_counted():
    """No request is lost between two threads."""
    tracker = RequestTracker(max_requests=10_000)

    def work():
        for _ in range(500):
            tracker.add_request()
            tracker.should_throttle()

    for caller in [Caller(work) for _ in range(8)]:
        caller.result()
    assert tracker.get_request_count() == 4000


def test_a_closed_breaker_passes_arguments_results_and_errors_through(breaker):
    """Nothing but the count of failures tells that the breaker is there."""
    assert breaker.call(divmod, 7, 2) == (3, 1)
    assert breaker.call(int, "11", base=2) == 3
    error = WebSocketError("connection reset")
    with pytest.raises(WebSocketError) as caught:
        breaker.call(fail, error)
    assert caught.value is error
    assert breaker.state == "closed"


def test_failures_in_a_row_open_it(breaker):
    """The third failure in a row, and not one before, opens a breaker with a threshold of 3."""
    fail_often(breaker, 2)
    breaker.call(int)
    fail_often(breaker, 2)
    assert breaker.state == "closed"
    assert not breaker.is_open
    fail_often(breaker, 1)
    assert breaker.state == "open"
    assert breaker.is_open


def test_an_open_breaker_refuses_and_says_why(breaker, clock):
    """The refusal names the last failure, chains it, and says when to come back."""
    fail_often(breaker, 2)
    last = WebSocketError("handshake refused")
    with pytest.raises(WebSocketError):
        breaker.call(fail, last)
    clock.now += 12
    calls = []
    error = refusal(breaker.call, calls.append, 1)
    assert calls == []
    assert error.__cause__ is last
    assert error.limit is None
    assert error.retry_after == 18
    assert error.reason == "3 failures in a row, the last WebSocketError: handshake refused"
    assert error.reason in str(error)


def test_a_refusal_is_no_failure(breaker, clock):
    """Impatient callers do not keep the breaker open."""
    fail_often(breaker, 3)
    clock.now += 29
    refusal(breaker.call, int)
    clock.now += 1
    assert breaker.state == "half_open"
    assert breaker.call(int, "1") == 1


def test_a_successful_probe_closes_it(breaker, clock):
    """After the recovery the count of failures starts afresh."""
    fail_often(breaker, 3)
    clock.now += 30
    assert breaker.state == "half_open"
    assert not breaker.is_open
    breaker.call(int)
    assert breaker.state == "closed"
    fail_often(breaker, 2)
    assert breaker.state == "closed"


def test_a_failed_probe_opens_it_again(breaker, clock):
    """One failure is enough then, and the whole recovery time starts over."""
    fail_often(breaker, 3)
    clock.now += 100
    fail_often(breaker, 1)
    assert breaker.state == "open"
    error = refusal(breaker.call, int)
    assert error.retry_after == 30
    assert error.reason.startswith("4 failures in a row")


def test_others_are_refused_while_a_probe_is_under_way(breaker, clock):
    """Half-open means one call, and no lock is held over it."""
    fail_often(breaker, 3)
    clock.now += 30
    entered, release = threading.Event(), threading.Event()

    def probe():
        entered.set()
        return release.wait(_GRACE_S)

    probing = Caller(breaker.call, probe)
    assert entered.wait(_GRACE_S)
    assert Caller(lambda: breaker.state).result() == "half_open"
    assert isinstance(Caller(breaker.call, int).result(), RateLimitError)
    release.set()
    assert probing.result() is True
    assert breaker.state == "closed"


def test_calls_of_a_closed_breaker_run_side_by_side(breaker):
    """No call waits for another: all of them meet inside."""
    meeting = threading.Barrier(4, timeout=_GRACE_S)
    callers = [Caller(breaker.call, meeting.wait) for _ in range(4)]
    assert sorted(caller.result() for caller in callers) == [0, 1, 2, 3]


def test_an_interrupt_counts_neither_way(breaker):
    """Ctrl-C says nothing about the server: the row of failures is neither longer nor broken."""
    fail_often(breaker, 2)
    for _ in range(5):
        with pytest.raises(KeyboardInterrupt):
            breaker.call(fail, KeyboardInterrupt())
    assert breaker.state == "closed"
    fail_often(breaker, 1)
    assert breaker.state == "open"


def test_an_interrupted_probe_lets_another_one_through(breaker, clock):
    """Ctrl-C in the probe leaves the breaker half-open, with nobody inside."""
    fail_often(breaker, 3)
    clock.now += 30
    with pytest.raises(KeyboardInterrupt):
        breaker.call(fail, KeyboardInterrupt())
    assert breaker.state == "half_open"
    breaker.call(int)
    assert breaker.state == "closed"


def test_a_probe_that_never_ends_is_taken_for_lost(breaker, clock):
    """After another recovery time the next call is the probe."""
    fail_often(breaker, 3)
    clock.now += 30
    assert breaker.before() is True
    clock.now += 29
    assert refusal(breaker.before).retry_after == 1
    clock.now += 1
    assert breaker.state == "half_open"
    assert breaker.before() is True


def test_the_pieces_work_across_threads(breaker, clock):
    """An operation may begin in one thread and end in another."""
    for _ in range(3):
        assert breaker.before() is False
        Caller(breaker.failed, WebSocketError("connection reset")).result()
    assert breaker.is_open
    clock.now += 30
    assert breaker.before() is True
    Caller(breaker.succeeded).result()
    assert breaker.before() is False


def test_an_abandoned_probe_makes_room(breaker, clock):
    """A probe that was called off leaves its place to the next call."""
    fail_often(breaker, 3)
    clock.now += 30
    breaker.before()
    breaker.abandoned()
    assert breaker.before() is True


def test_nothing_is_abandoned_where_there_is_no_probe(breaker, clock):
    """Calling off an ordinary call changes neither a closed nor an open breaker."""
    breaker.abandoned()
    assert breaker.state == "closed"
    fail_often(breaker, 3)
    breaker.abandoned()
    assert refusal(breaker.before).retry_after == 30
    clock.now += 30
    breaker.call(int)
    breaker.abandoned()
    assert breaker.state == "closed"


def test_a_closed_breaker_keeps_no_error(breaker):
    """The traceback of a failure that is over does not keep the caller's frames alive."""
    error = WebSocketError("connection reset")
    seen = weakref.ref(error)
    for _ in range(3):
        breaker.failed(error)
    del error
    assert seen() is not None
    breaker.succeeded()
    gc.collect()
    assert seen() is None


def test_late_failures_do_not_keep_it_open(breaker, clock):
    """Calls that began before it opened may fail afterwards; only the reason is newer then."""
    fail_often(breaker, 3)
    clock.now += 10
    late = WebSocketError("late")
    breaker.failed(late)
    error = refusal(breaker.before)
    assert error.retry_after == 20
    assert error.__cause__ is late
    assert error.reason == "4 failures in a row, the last WebSocketError: late"


def test_a_late_success_closes_it(breaker):
    """A call that began before it opened, and succeeds, shows that the server answers."""
    fail_often(breaker, 3)
    breaker.succeeded()
    assert breaker.state == "closed"


def test_the_defaults_are_five_failures_and_sixty_seconds():
    """A breaker without arguments runs on the monotonic clock."""
    breaker = CircuitBreaker()
    assert (breaker.failure_threshold, breaker.recovery_timeout) == (5, 60)
    fail_often(breaker, 5)
    assert 0 < refusal(breaker.call, int).retry_after <= 60


@pytest.mark.parametrize("value", [0, -1, True, 1.5, "60", None, math.nan])
@pytest.mark.parametrize(
    ("make", "parameter"),
    [
        (RateLimiter, "requests_per_minute"),
        (RateLimiter, "burst_size"),
        (RequestTracker, "max_requests"),
        (CircuitBreaker, "failure_threshold"),
    ],
)
def test_a_number_of_requests_is_a_positive_int(make, parameter, value):
    """A count that is none is refused, by name, when the object is made."""
    with pytest.raises(ConfigurationError, match="whole number of at least 1") as caught:
        make(**{parameter: value})
    assert caught.value.parameter == parameter
    assert caught.value.value is value


@pytest.mark.parametrize("value", [0, -0.5, True, "60", None, math.nan, math.inf])
@pytest.mark.parametrize(
    ("make", "parameter"),
    [(RequestTracker, "window_seconds"), (CircuitBreaker, "recovery_timeout")],
)
def test_a_time_is_finite_and_positive(make, parameter, value):
    """A duration that is none is refused, by name, when the object is made."""
    with pytest.raises(ConfigurationError, match="finite number of seconds") as caught:
        make(**{parameter: value})
    assert caught.value.parameter == parameter
    assert caught.value.value is value


def test_the_examples_run():
    """What the documentation shows is what happens."""
    assert doctest.testmod(ratelimit).failed == 0
