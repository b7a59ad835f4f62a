"""Numbers of other types."""

import pytest

from tvDatafeed.common.numbers import count, whole_number


@pytest.mark.parametrize("value", [True, False, 1.0, "1", None])
def test_what_is_no_whole_number(value):
    """Bools, floats and texts are not taken for numbers of things."""
    with pytest.raises(TypeError):
        whole_number(value)


def test_whole_numbers_of_numpy():
    """numpy's integers are numbers, its bool is not, and neither warns."""
    numpy = pytest.importorskip("numpy")
    assert whole_number(numpy.int64(7)) == 7
    with pytest.raises(TypeError):
        whole_number(numpy.bool_(True))


def test_a_count_is_a_whole_number_of_at_least_one():
    """numpy's integers are counts; 0, negative numbers and other types are not."""
    numpy = pytest.importorskip("numpy")
    counts = [count(value) for value in (1, numpy.int64(7))]
    assert counts == [1, 7]
    assert [type(value) for value in counts] == [int, int]
    for value in (0, -1, True, 1.5, "1", None):
        with pytest.raises(ValueError, match="must be a whole number of at least 1"):
            count(value)
