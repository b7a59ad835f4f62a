"""Convert the results of a symbol search to a DataFrame."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

_SEARCH_COLUMNS = ("symbol", "description", "exchange", "type", "full_name")


def search_to_frame(items: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Build the DataFrame of the results of a search.

    Returns
    -------
    pandas.DataFrame
        One row per result. Columns symbol, description, exchange, type and full_name, then all
        other texts, numbers and flags of the results; dtype object, with None for missing values.
    """
    names = dict.fromkeys(_SEARCH_COLUMNS)
    for item in items:
        names |= dict.fromkeys(n for n, v in item.items() if not isinstance(v, list | dict))
    columns = {}
    for name in names:
        column = np.empty(len(items), dtype=object)
        cells = (item.get(name) for item in items)
        column[:] = [None if isinstance(cell, list | dict) else cell for cell in cells]
        # With an explicit dtype: pandas 3 would create a column of texts, in which None becomes
        # NaN.
        columns[name] = pd.Series(column, dtype=object)
    return pd.DataFrame(columns)
