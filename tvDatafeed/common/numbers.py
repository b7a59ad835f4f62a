"""Numbers of other types than Python's own."""

import operator
from typing import Any


def whole_number(value: Any) -> int:
    """Return an int or an equivalent, such as numpy's integers, as an int.

    Raises
    ------
    TypeError
        If it is a bool, a float, a text or anything else.
    """
    # numpy's bool, by its name: in older numpy it has __index__, with a warning.
    if type(value).__name__ in {"bool", "bool_"}:
        raise TypeError("a bool is not a number")
    return operator.index(value)


def count(value: Any) -> int:
    """Return a whole number of at least 1, such as numpy's integers, as an int.

    Raises
    ------
    ValueError
        The value is anything else.
    """
    try:
        number = whole_number(value)
    except TypeError:
        number = 0
    if number < 1:
        raise ValueError("must be a whole number of at least 1")
    return number
