"""Retries: the schedule, and the helpers for a program's own senders."""

import asyncio
import doctest
import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tvDatafeed.delivery import (
    RetryExhaustedError,
    RetryPolicy,
    calculate_backoff_delay,
    retry,
    retry_async,
    with_retry,
)
from tvDatafeed.exceptions import ConfigurationError, NetworkError, RateLimitError


class Fakes:
    """A clock that stands still while nothing sleeps, and numbers that are not random."""

    def __init__(self, random=0.5):
        self.now = 0.0
        self.pauses = []
        self.number = random

    def sleep(self, seconds):
        self.pauses.append(seconds)
        self.now += seconds

    async def sleep_async(self, seconds):
        self.sleep(seconds)

    def options(self, *, is_async=False):
        return {
            "sleep": self.sleep_async if is_async else self.sleep,
            "random": lambda: self.number,
            "clock": lambda: self.now,
        }


class Sender:
    """Fails some times with errors in order, then returns what it was called with."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.calls = 0

    def send(self, *args, **kwargs):
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return args, kwargs

    async def send_async(self, *args, **kwargs):
        return self.send(*args, **kwargs)


def decorated(sender, fakes, *args, **options):
    return with_retry(*args, **options, **fakes.options())(sender.send)


def decorated_async(sender, fakes, *args, **options):
    wrapped = with_retry(*args, **options, **fakes.options(is_async=True))(sender.send_async)
    assert inspect.iscoroutinefunction(wrapped)
    return lambda *a, **k: asyncio.run(wrapped(*a, **k))


def awaited(sender, fakes, *args, **options):
    options.update(fakes.options(is_async=True))
    return lambda *a, **k: asyncio.run(
        retry_async(lambda: sender.send_async(*a, **k), *args, **options)
    )


WAYS = pytest.mark.parametrize("way", [decorated, decorated_async, awaited])


def test_the_schedule():
    """Pauses double from 5 s up to 15 minutes, counted from 0; jitter is the whole pause."""
    policy = RetryPolicy()
    full = [5, 10, 20, 40, 80, 160, 320, 640, 900, 900]
    assert [policy.delay_s(n, random=lambda: 1.0) for n in range(10)] == full
    assert [policy.delay_s(n, random=lambda: 0.5) for n in range(10)] == [s / 2 for s in full]
    assert [policy.delay_s(n, random=lambda: 0.0) for n in range(10)] == [0] * 10
    assert RetryPolicy(5.0, 2.0, 900.0, 0.0).delay_s(3) == 40


@given(
    st.floats(0, 1e6), st.floats(1, 100), st.floats(0, 1e6), st.floats(0, 1), st.integers(0, 10**9)
)
def test_a_pause_is_bounded(base_s, factor, max_delay_s, jitter, attempt):
    """No pause is longer than the longest, however many attempts there were."""
    policy = RetryPolicy(base_s, factor, max_delay_s, jitter)
    longest = policy.delay_s(attempt, random=lambda: 1.0)
    assert 0 <= policy.delay_s(attempt) <= longest * (1 + 1e-9)
    assert longest <= max_delay_s * (1 + 1e-9)


def test_backoff_of_a_program():
    """The function has the same schedule with bounds of its own."""
    assert [calculate_backoff_delay(n, jitter=False) for n in range(6)] == [5, 10, 20, 40, 80, 120]
    assert calculate_backoff_delay(2, 1.0, 3.0, 100.0, False) == 9
    assert all(0 <= calculate_backoff_delay(n) <= 120 for n in range(2000))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("base_s", -1),
        ("base_s", float("nan")),
        ("base_s", "5"),
        ("factor", 0.5),
        ("factor", float("inf")),
        ("max_delay_s", -1),
        ("jitter", 1.1),
        ("jitter", -0.1),
        ("jitter", True),
        ("attempts", 0),
        ("attempts", 1.5),
        ("give_up_s", None),
    ],
)
def test_a_policy_is_checked(name, value):
    """A policy that cannot work cannot be made."""
    with pytest.raises(ConfigurationError) as caught:
        RetryPolicy(**{name: value})
    assert caught.value.parameter == name


@WAYS
def test_success_after_failures(way):
    """The call returns what the first attempt that succeeds returns."""
    fakes, sender = Fakes(1.0), Sender(OSError(), ValueError())
    assert way(sender, fakes)(1, two=2) == ((1,), {"two": 2})
    assert fakes.pauses == [5, 10]


@WAYS
def test_giving_up_after_attempts(way):
    """The error carries the number of attempts and the last error, which is its cause."""
    fakes, errors = Fakes(1.0), [OSError(n) for n in range(9)]
    sender = Sender(*errors)
    with pytest.raises(RetryExhaustedError) as caught:
        way(sender, fakes, RetryPolicy(attempts=3))()
    assert (caught.value.attempts, caught.value.last_error) == (3, errors[2])
    assert caught.value.__cause__ is errors[2]
    assert fakes.pauses == [5, 10]


@WAYS
def test_giving_up_after_a_time(way):
    """No attempt is made after the time of the policy."""
    fakes, sender = Fakes(1.0), Sender(*[OSError()] * 99)
    with pytest.raises(RetryExhaustedError) as caught:
        way(sender, fakes, RetryPolicy(give_up_s=60.0))()
    assert fakes.pauses == [5, 10, 20]
    assert caught.value.attempts == sender.calls == 4


@WAYS
def test_five_attempts_without_a_policy(way):
    """Without a policy a program waits for minutes at most."""
    fakes, sender = Fakes(1.0), Sender(*[OSError()] * 99)
    with pytest.raises(RetryExhaustedError):
        way(sender, fakes)()
    assert sender.calls == 5
    assert sum(fakes.pauses) == 75


@WAYS
def test_other_errors_are_raised_at_once(way):
    """Only the errors that are named are followed by another attempt."""
    fakes, sender = Fakes(), Sender(OSError(), KeyError("key"))
    with pytest.raises(KeyError):
        way(sender, fakes, on=(OSError, NetworkError))()
    assert sender.calls == 2
    interrupted = Sender(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        way(interrupted, fakes)()
    assert interrupted.calls == 1


@WAYS
def test_retry_after(way):
    """A pause that a server asks for is kept, up to an hour."""
    errors = [RateLimitError(retry_after=seconds) for seconds in (30, 1, 10**6, float("nan"))]
    fakes, sender = Fakes(1.0), Sender(*errors)
    way(sender, fakes)()
    assert fakes.pauses == [30, 10, 3600, 40]


def test_a_cancelled_task_ends():
    """A task that is cancelled while it waits ends at once."""

    async def run():
        reached = asyncio.Event()

        async def sleep(_seconds):
            reached.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(retry_async(Sender(OSError()).send_async, sleep=sleep))
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())


def test_the_real_pauses():
    """Without fakes the program's own clock and sleep are used."""
    policy = RetryPolicy(0.001, attempts=3)
    assert with_retry(policy)(Sender(OSError(), OSError()).send)() == ((), {})
    assert asyncio.run(retry_async(Sender(OSError()).send_async, policy)) == ((), {})


def test_a_decorated_function_keeps_its_name():
    """The decorator changes neither name nor documentation."""

    @with_retry()
    def post():
        """Post."""

    assert (post.__name__, post.__doc__) == ("post", "Post.")


def test_the_error_does_not_repeat_a_foreign_text():
    """The text of another library's error may hold a token: its class alone is shown."""
    with pytest.raises(RetryExhaustedError) as caught:
        with_retry(RetryPolicy(attempts=1))(Sender(OSError("hunter2")).send)()
    assert "hunter2" not in str(caught.value)
    assert "OSError" in str(caught.value)
    with pytest.raises(RetryExhaustedError, match="no route"):
        with_retry(RetryPolicy(attempts=1))(Sender(NetworkError("no route")).send)()


def test_the_examples_run():
    """What the documentation shows is what happens."""
    assert doctest.testmod(retry).failed == 0
