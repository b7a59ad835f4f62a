"""The helpers of utils."""

import doctest
import logging
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tvDatafeed import utils
from tvDatafeed.utils import (
    ContextTimer,
    chunk_list,
    clamp,
    format_timestamp,
    generate_chart_session_id,
    generate_session_id,
    log_execution_time,
    retry_with_backoff,
    safe_divide,
    timeout_decorator,
)


class Clock:
    """A clock that moves only when a test moves it."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Failing:
    """A function that fails a number of times before it succeeds."""

    def __init__(self, failures, error=OSError):
        self.failures = failures
        self.error = error
        self.calls = 0

    def __call__(self):
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error(f"failure {self.calls}")
        return "done"


@pytest.fixture
def slept(monkeypatch):
    """Return the list of delays that would have been slept."""
    delays = []
    monkeypatch.setattr("tvDatafeed.utils.time.sleep", delays.append)
    return delays


@pytest.fixture
def clock(monkeypatch):
    """Replace the clocks of the module."""
    clock = Clock()
    monkeypatch.setattr("tvDatafeed.utils.time.monotonic", clock)
    monkeypatch.setattr("tvDatafeed.utils.time.perf_counter", clock)
    return clock


@pytest.mark.parametrize(
    ("make", "pattern"),
    [
        (generate_session_id, r"qs_[a-z]{12}"),
        (lambda: generate_session_id("rs", 20), r"rs_[a-z]{20}"),
        (lambda: generate_session_id(prefix="x", length=1), r"x_[a-z]"),
        (generate_chart_session_id, r"cs_[a-z]{12}"),
        (lambda: generate_chart_session_id(5), r"cs_[a-z]{5}"),
    ],
)
def test_a_session_id_is_a_prefix_and_lowercase_letters(make, pattern):
    """Session ids have the form TradingView's own page uses."""
    assert re.fullmatch(pattern, make())


def test_session_ids_do_not_repeat():
    """Only their ids distinguish requests."""
    assert len({generate_chart_session_id() for _ in range(1000)}) == 1000


def test_a_success_at_once_needs_no_wait(slept):
    """A function that works is called once."""
    func = Failing(0)
    assert retry_with_backoff(func) == "done"
    assert func.calls == 1
    assert slept == []


def test_delays_double_up_to_the_bound_with_jitter(slept):
    """The k-th delay is within 20 % of the smaller of base times 2^k and the bound."""
    assert retry_with_backoff(Failing(6), max_retries=6, base_delay=1, max_delay=10) == "done"
    assert len(slept) == 6
    for delay, nominal in zip(slept, [1, 2, 4, 8, 10, 10], strict=True):
        assert nominal * 0.8 <= delay <= nominal * 1.2


def test_delays_are_not_all_alike(slept):
    """Clients that fail together do not come back together."""
    retry_with_backoff(Failing(20), max_retries=20, base_delay=1, max_delay=1)
    assert len(set(slept)) > 1


def test_the_bound_holds_for_the_first_delay_too(slept):
    """A base above the bound is cut to it."""
    retry_with_backoff(Failing(1), base_delay=100, max_delay=1)
    assert slept[0] <= 1.2


def test_many_retries_do_not_overflow(slept):
    """The delay stays finite however often it is doubled."""
    assert retry_with_backoff(Failing(2000), max_retries=2000) == "done"
    assert max(slept) <= 60 * 1.2


def test_the_last_failure_is_raised(slept):
    """After max_retries + 1 calls the caller gets the last error itself."""
    func = Failing(10)
    with pytest.raises(OSError, match="failure 4"):
        retry_with_backoff(func, max_retries=3)
    assert func.calls == 4
    assert len(slept) == 3


@pytest.mark.parametrize("max_retries", [0, -1])
def test_without_retries_there_is_one_call(slept, max_retries):
    """The function is called once even when no retry is allowed."""
    func = Failing(1)
    with pytest.raises(OSError, match="failure 1"):
        retry_with_backoff(func, max_retries=max_retries)
    assert func.calls == 1
    assert slept == []


def test_other_errors_pass_at_once(slept):
    """Only the listed exceptions are worth a retry."""
    func = Failing(1, KeyError)
    with pytest.raises(KeyError):
        retry_with_backoff(func, exceptions=(OSError,))
    assert func.calls == 1
    assert slept == []


def test_on_retry_is_told_attempt_and_error(slept):
    """The hook is called before each wait, with attempts counted from 1."""
    told = []

    def on_retry(attempt, error):
        told.append((attempt, str(error), len(slept)))

    retry_with_backoff(Failing(2), on_retry=on_retry)
    assert told == [(1, "failure 1", 0), (2, "failure 2", 1)]


def test_a_retry_does_not_log_the_text_of_an_error(slept, caplog):
    """An error's text may hold what must not be in a log."""
    caplog.set_level(logging.DEBUG)
    retry_with_backoff(Failing(1))
    assert "OSError" in caplog.text
    assert "failure 1" not in caplog.text


def test_the_timer_measures_a_block(clock, caplog):
    """The elapsed time is known after the block, and logged at DEBUG."""
    caplog.set_level(logging.DEBUG)
    timer = ContextTimer("download")
    with timer as entered:
        assert entered is timer
        clock.now += 2.5
        assert timer.elapsed == 0.0
    assert timer.elapsed == 2.5
    assert caplog.record_tuples == [("tvDatafeed.utils", logging.DEBUG, "download took 2.500 s")]


def test_the_timer_reports_a_failure_and_lets_it_pass(clock, caplog):
    """An exception is logged at ERROR, without its text, and reaches the caller."""
    own = logging.getLogger("test.timer")
    timer = ContextTimer(logger_instance=own)

    def work():
        clock.now += 1
        raise KeyError("hunter2")

    with pytest.raises(KeyError), timer:
        work()
    assert timer.elapsed == 1
    assert caplog.record_tuples == [
        ("test.timer", logging.ERROR, "Operation failed after 1.000 s with KeyError")
    ]


def test_a_timer_can_be_used_again(clock):
    """The second block is measured by itself."""
    timer = ContextTimer()
    with timer:
        clock.now += 5
    with timer:
        assert timer.elapsed == 0.0
        clock.now += 1
    assert timer.elapsed == 1


def test_a_decorated_function_logs_its_time(clock, caplog):
    """The decorator changes neither the result nor the name."""
    caplog.set_level(logging.DEBUG)

    @log_execution_time
    def add(a, b=0):
        clock.now += 3
        return a + b

    assert add(1, b=2) == 3
    assert add.__name__ == "add"
    assert "add took 3.000 s" in caplog.text


def test_a_call_that_took_too_long_raises_afterwards(clock):
    """The function runs to its end; only then its slowness is an error."""
    ended = []

    @timeout_decorator(2)
    def work(seconds):
        clock.now += seconds
        ended.append(seconds)
        return seconds

    assert work(2) == 2
    with pytest.raises(TimeoutError, match=r"work took 2\.500 s, more than the 2 s allowed"):
        work(2.5)
    assert ended == [2, 2.5]
    assert work.__name__ == "work"


@pytest.mark.parametrize(
    ("timestamp", "options", "text"),
    [
        (0, {}, "1970-01-01 00:00:00 UTC"),
        (1704067200.9, {}, "2024-01-01 00:00:00 UTC"),
        (-86400, {}, "1969-12-31 00:00:00 UTC"),
        (1704067200, {"fmt": "%d.%m.%Y"}, "01.01.2024"),
    ],
)
def test_a_timestamp_is_written_in_utc(timestamp, options, text):
    """The machine's timezone does not matter."""
    assert format_timestamp(timestamp, **options) == text


@given(st.lists(st.integers()), st.integers(1, 20))
def test_chunks_are_the_list_cut_into_pieces(items, size):
    """Nothing is lost or moved, and only the last piece may be shorter."""
    chunks = chunk_list(items, size)
    assert [item for chunk in chunks for item in chunk] == items
    assert all(len(chunk) == size for chunk in chunks[:-1])
    assert all(0 < len(chunk) <= size for chunk in chunks)


@pytest.mark.parametrize("size", [0, -1])
def test_chunks_need_a_positive_size(size):
    """A size below 1 is a mistake of the caller, not an empty answer."""
    with pytest.raises(ValueError, match="at least 1"):
        chunk_list([1], size)


@pytest.mark.parametrize(
    ("arguments", "result"), [((6, 3), 2.0), ((1, 0), 0.0), ((1, 0.0, -1.0), -1.0), ((0, 5), 0.0)]
)
def test_a_division_by_zero_has_an_answer(arguments, result):
    """The default stands in only where there is no quotient."""
    assert safe_divide(*arguments) == result


@pytest.mark.parametrize(("value", "result"), [(-1, 0), (0, 0), (5, 5), (10, 10), (11, 10)])
def test_a_value_is_kept_within_bounds(value, result):
    """Both bounds are allowed values."""
    assert clamp(value, 0, 10) == result


def test_the_examples_run():
    """What the documentation shows is what happens."""
    assert doctest.testmod(utils).failed == 0
