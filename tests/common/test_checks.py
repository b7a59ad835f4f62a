"""Checks run one after the other, each within its limit."""

import threading

import pytest

from tests.scale import PATIENCE_S, at_most
from tvDatafeed.common.checks import Finding, Step, run_checks


def explain(error):
    return Finding(False, str(error))


def outcomes(steps, limit_s=PATIENCE_S):
    return {c.name: (c.ok, c.message, c.advice) for c in run_checks(steps, limit_s, explain)}


def fail(_deadline):
    raise ValueError("broken")


def test_text_is_a_success():
    """A check may return a finding, or a text where all is well."""
    steps = [
        Step("one", lambda _: "fine", 1.0, advice="not needed"),
        Step("two", lambda _: Finding(None, "nothing to check"), 1.0, advice="not needed"),
    ]
    assert outcomes(steps) == {"one": (True, "fine", ""), "two": (None, "nothing to check", "")}


@pytest.mark.parametrize(
    ("finding", "advice"), [(Finding(False, "broken"), "own"), (Finding(False, "broken", "b"), "b")]
)
def test_advice_of_the_step_is_the_last_resort(finding, advice):
    """A failure that names a next step keeps it."""
    (outcome,) = outcomes([Step("one", lambda _: finding, 1.0, advice="own")]).values()
    assert outcome == (False, "broken", advice)


def test_what_needs_a_failure_is_not_tried():
    """The first failure on the way is named, however many steps lie between; others run."""
    tried = []
    steps = [
        Step("a", fail, 1.0),
        Step("b", tried.append, 1.0, ("a",)),
        Step("c", tried.append, 1.0, ("b",)),
        Step("d", lambda _: "fine", 1.0),
        Step("e", lambda _: "fine", 1.0, ("d",)),
    ]
    found = outcomes(steps)
    assert tried == []
    assert found["a"] == (False, "broken", "")
    assert found["b"] == found["c"] == (None, "not tried, since a failed", "")
    assert found["d"] == found["e"] == (True, "fine", "")


def test_check_without_an_end_is_left_alone():
    """It fails after its limit, and the next one runs."""
    over = threading.Event()
    steps = [
        Step("endless", lambda _: str(over.wait(PATIENCE_S)), 0.05, advice="wait"),
        Step("next", lambda _: "fine", 1.0),
    ]
    with at_most(4):
        found = outcomes(steps)
    over.set()
    assert found["endless"] == (False, "no answer within 0.1 s", "wait")
    assert found["next"] == (True, "fine", "")


def test_limit_of_all():
    """When the time for all is over the rest is not tried."""
    steps = [
        Step("slow", lambda _: str(threading.Event().wait(0.1)), 1.0),
        Step("late", fail, 1.0),
    ]
    found = outcomes(steps, 0.05)
    assert found["slow"][0] is True
    assert found["late"] == (None, "not tried: 0.05 s were over", "")
