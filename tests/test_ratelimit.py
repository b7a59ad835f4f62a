"""The parts of tvDatafeed.ratelimit check their arguments, and their examples run."""

import doctest
import math

import pytest

from tvDatafeed import ratelimit
from tvDatafeed.exceptions import ConfigurationError
from tvDatafeed.ratelimit import CircuitBreaker, RateLimiter, RequestTracker


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
    """An invalid count is refused, by name, when the object is made."""
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
    """An invalid duration is refused, by name, when the object is made."""
    with pytest.raises(ConfigurationError, match="finite number of seconds") as caught:
        make(**{parameter: value})
    assert caught.value.parameter == parameter
    assert caught.value.value is value


def test_the_examples_run():
    """What the documentation shows is what happens."""
    assert doctest.testmod(ratelimit).failed == 0
