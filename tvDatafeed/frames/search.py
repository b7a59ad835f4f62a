"""Results of a symbol search become a DataFrame."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

_SEARCH_COLUMNS = ("symbol", "description", "exchange", "type", "full_name")


def search_to_frame(items: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Build the DataFrame of what a search has found.

    Returns
    -------
    pandas.DataFrame
        One row a result. Columns symbol, description, exchange, type and full_name, then the other
        texts, numbers and flags that any of them has; object, what is missing being None.
    """
    names = dict.fromkeys(_SEARCH_COLUMNS)
    for item in items:
        names |= dict.fromkeys(n for n, v in item.items() if not isinstance(v, list | dict))
    columns = {}
    for name in names:
        column = np.empty(len(items), dtype=object)
        cells = (item.get(name) for item in items)
        column[:] = [None if isinstance(cell, list | dict) else cell for cell in cells]
        # With its dtype: pandas 3 makes a column of texts of an array, where None becomes NaN.
        columns[name] = pd.Series(column, dtype=object)
    return pd.DataFrame(columns)
