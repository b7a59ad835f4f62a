"""The clocks of the benchmark."""

import re

import pytest

from tests.benchmarks import measure
from tests.benchmarks.measure import Figure


def work_of(clock, seconds):
    """Work that takes a number of seconds each time, one after the other."""
    durations = iter(seconds)
    return lambda: clock.skip(next(durations))


def test_the_median_leaves_out_the_run_that_warms_up(clock):
    (median_ms,) = measure.interleaved_ms(work_of(clock, [500, 1, 3, 2]), runs=3)
    assert 2000 <= median_ms < 500_000


def test_the_shortest_time_leaves_out_the_run_that_warms_up(clock):
    (best_ms,) = measure.best_ms([work_of(clock, [0, 700, 500])], runs=2)
    assert best_ms >= 500_000


def test_works_are_run_in_turn(clock):
    order = []
    measure.interleaved_s([lambda: order.append("a"), lambda: order.append("b")], runs=3)
    assert order == ["a", "b"] * 4


def test_what_one_work_takes_is_not_counted_for_another(clock):
    slow, quick = measure.interleaved_ms(lambda: clock.skip(500), lambda: None, runs=3)
    assert slow >= 500_000 > quick


def test_one_run_is_timed(clock):
    assert measure.seconds_of(lambda: clock.skip(500)) >= 500


def test_another_clock_can_be_used():
    ticks = iter([1.0, 1.25])
    ((taken,),) = measure.interleaved_s([lambda: None], runs=1, clock=lambda: next(ticks))
    assert taken == 0.25


def test_percentiles():
    assert measure.p50_p99([float(n) for n in range(1000, 0, -1)]) == (500.5, 991.0)


def test_a_straight_line_has_its_slope_and_fits():
    assert measure.line_through([1, 2, 3], [10.0, 12.0, 14.0]) == pytest.approx((2.0, 1.0))


def test_a_bent_line_does_not_fit():
    assert measure.line_through([1, 2, 3, 4], [1.0, 1.0, 1.0, 10.0])[1] < 0.9


def test_a_floor_that_the_clock_did_not_see_makes_an_infinite_ratio():
    assert measure.ratio_of(3.0, 2.0) == 1.5
    assert measure.ratio_of(3.0, 0.0) == float("inf")


def test_a_missing_bar_stops_the_benchmark():
    measure.require_bars([1, 2], 2)
    with pytest.raises(SystemExit, match="1 of 2 bars came"):
        measure.require_bars([1], 2)


@pytest.mark.parametrize(("holds", "mark"), [(True, "holds"), (False, "FALLS SHORT"), (None, "-")])
def test_a_line_has_the_figure_its_target_and_whether_it_holds(holds, mark):
    line = str(Figure("P1", "a work", "2 ms, floor 1", "at most 3 ms", holds))
    assert re.split(" {2,}", line) == ["P1", "a work", "2 ms, floor 1", "at most 3 ms", mark]
