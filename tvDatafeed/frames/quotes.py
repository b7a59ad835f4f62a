"""Convert quotes to a DataFrame."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tvDatafeed.frames.bars import NO_VALUE
from tvDatafeed.protocol.events import Quotes
from tvDatafeed.query.quotes import TEXT_FIELDS


def quotes_to_frame(
    quotes: Quotes, rows: Mapping[str, str], columns: Mapping[str, str]
) -> pd.DataFrame:
    """Build the DataFrame of some quotes.

    Parameters
    ----------
    quotes
        The answer.
    rows
        The index: the names of the rows and the symbols whose quotes they show.
    columns
        The names of the columns and the fields that they show.

    Refused symbols have no row; ``attrs["errors"]`` has their errors, by name.

    Returns
    -------
    pandas.DataFrame
        One row per symbol, index "symbol". A column is float64 if all its values are numbers, with
        NaN for a missing one; otherwise, and for known fields of text, it is object, with None for
        a missing value.
    """
    errors = {name: quotes.errors[full] for name, full in rows.items() if full in quotes.errors}
    names = [name for name in rows if name not in errors]
    shown = [quotes.by_symbol[rows[name]] for name in names]
    index = pd.Index(np.array(names, dtype=object), name="symbol")
    series = {}
    for name, field in columns.items():
        column = _quote_column([quote.get(field) for quote in shown], is_text=field in TEXT_FIELDS)
        # With an explicit dtype: pandas 3 would create a column of texts, in which None becomes
        # NaN.
        series[name] = pd.Series(column, index=index, dtype=column.dtype)
    frame = pd.DataFrame(series, index=index)
    if errors:
        frame.attrs["errors"] = errors
    return frame


def _quote_column(cells: list[Any], *, is_text: bool) -> npt.NDArray[Any]:
    if not is_text and all(cell is None or _is_number(cell) for cell in cells):
        numbers = np.array([math.nan if cell is None else float(cell) for cell in cells])
        numbers[numbers >= NO_VALUE] = math.nan
        return numbers
    column = np.empty(len(cells), dtype=object)
    column[:] = cells
    return column


def _is_number(cell: Any) -> bool:
    return isinstance(cell, int | float) and not isinstance(cell, bool)
