"""CircuitBreaker opens after failures in a row and lets one probe through."""

import gc
import threading
import weakref

import pytest

from tests.callers import GRACE_S, Caller, Clock, refusal
from tvDatafeed.exceptions import RateLimitError, WebSocketError
from tvDatafeed.ratelimit import CircuitBreaker


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
    """Make a number of calls that fail."""
    for _ in range(times):
        with pytest.raises(WebSocketError):
            breaker.call(fail)


def test_a_closed_breaker_passes_arguments_results_and_errors_through(breaker):
    """A closed breaker changes neither arguments nor results nor errors."""
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
        return release.wait(GRACE_S)

    probing = Caller(breaker.call, probe)
    assert entered.wait(GRACE_S)
    assert Caller(lambda: breaker.state).result() == "half_open"
    assert isinstance(Caller(breaker.call, int).result(), RateLimitError)
    release.set()
    assert probing.result() is True
    assert breaker.state == "closed"


def test_calls_of_a_closed_breaker_run_side_by_side(breaker):
    """No call waits for another: all of them meet inside."""
    meeting = threading.Barrier(4, timeout=GRACE_S)
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
    """Ctrl-C in the probe leaves the breaker half-open, without a probe."""
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
