"""Numbers of other types."""

import pytest

from tvDatafeed.common.numbers import whole_number


@pytest.mark.parametrize("value", [True, False, 1.0, "1", None])
def test_what_is_no_whole_number(value):
    """Bools, floats and texts are not taken for numbers of things."""
    with pytest.raises(TypeError):
        whole_number(value)


def test_whole_numbers_of_numpy():
    """numpy's integers are numbers, its bool is none, and neither warns."""
    numpy = pytest.importorskip("numpy")
    assert whole_number(numpy.int64(7)) == 7
    with pytest.raises(TypeError):
        whole_number(numpy.bool_(True))
