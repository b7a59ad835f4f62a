"""The errors that an error was made of, from the outside in."""

from tvDatafeed.common.causes import causes_of


def test_reason_arguments_and_cause():
    """Each way of wrapping is followed, and a circle ends."""
    inner, middle, other = OSError("inner"), ValueError("middle"), KeyError("other")
    middle.reason = inner
    outer = RuntimeError("outer", other)
    outer.__cause__, inner.__cause__ = middle, outer
    assert set(causes_of(outer)) == {outer, other, middle, inner}
    assert next(causes_of(outer)) is outer


def test_no_error():
    """Nothing was made of nothing."""
    assert list(causes_of(None)) == []
