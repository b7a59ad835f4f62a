"""The arguments of a search."""

import re

from tvDatafeed.exceptions import DataValidationError
from tvDatafeed.validators import Validators, check_count

# The kinds of symbols that the search accepts.
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
# One symbol, not a spread or words with a colon.
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
        The text, the exchange and the kind of symbol; empty for all exchanges or kinds.
    limit : int
        The maximum number of results.

    Raises
    ------
    DataValidationError
        If an argument is invalid.
    """

    def __init__(self, text: str, exchange: str, search_type: str, limit: int) -> None:
        if not isinstance(text, str) or not text.strip():
            raise DataValidationError("search_text", text, "must be a text that is not blank")
        if _LONE_SURROGATE.search(text):
            raise DataValidationError("search_text", text, "has half a character; pass whole ones")
        self.text: str = text.strip()
        self.exchange: str = Validators.validate_exchange(exchange) if exchange else ""
        # The form EXCHANGE:SYMBOL, which the search itself does not accept.
        if written := _SYMBOL_ON_EXCHANGE.match(self.text):
            named = written["exchange"].upper()
            if self.exchange in {"", named}:
                self.text, self.exchange = written["name"], named
        if not isinstance(search_type, str) or search_type not in SEARCH_TYPES:
            reason = f"must be one of {', '.join(sorted(SEARCH_TYPES - {''}))}, or empty"
            raise DataValidationError("search_type", search_type, reason)
        self.search_type = search_type
        self.limit: int = check_count("limit", limit)
