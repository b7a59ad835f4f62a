"""The arguments of a search."""

import re

from tvDatafeed.exceptions import DataValidationError
from tvDatafeed.validators import Validators, check_count

# The kinds that the search knows.
SEARCH_TYPES = frozenset(
    {
        "",
        "undefined",
        "stock",
        "stocks",
        "funds",
        "futures",
        "forex",
        "crypto",
        "index",
        "bond",
        "economic",
        "options",
        "cfd",
    }
)
# One symbol, neither a spread nor words with a colon among them.
_SYMBOL_ON_EXCHANGE = re.compile(r"(?P<exchange>[^\W_][\w.&-]{0,127}):(?P<name>[^\s:]+)\Z")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class SearchQuery:
    """Checked arguments of a search.

    Parameters
    ----------
    text, exchange, search_type, limit
        As for `TvDatafeed.search_symbol`.

    Attributes
    ----------
    text, exchange, search_type : str
        What to look for, where, and of which kind; empty for everywhere and for all kinds.
    limit : int
        How many results at the most.

    Raises
    ------
    DataValidationError
        When one of them cannot be right.
    """

    def __init__(self, text: str, exchange: str, search_type: str, limit: int) -> None:
        if not isinstance(text, str) or not text.strip():
            raise DataValidationError("search_text", text, "must be a text that is not blank")
        if _LONE_SURROGATE.search(text):
            raise DataValidationError("search_text", text, "has half a character; pass whole ones")
        self.text: str = text.strip()
        self.exchange: str = Validators.validate_exchange(exchange) if exchange else ""
        # As symbols are written, which the search itself does not understand.
        if written := _SYMBOL_ON_EXCHANGE.match(self.text):
            named = written["exchange"].upper()
            if self.exchange in {"", named}:
                self.text, self.exchange = written["name"], named
        if not isinstance(search_type, str) or search_type not in SEARCH_TYPES:
            reason = f"must be one of {', '.join(sorted(SEARCH_TYPES - {''}))}, or empty"
            raise DataValidationError("search_type", search_type, reason)
        self.search_type = search_type
        self.limit: int = check_count("limit", limit)
