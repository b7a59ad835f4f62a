"""The arguments of a call for quotes, and the request made from them."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from tvDatafeed.exceptions import DataValidationError
from tvDatafeed.query.history import check_on_error
from tvDatafeed.query.symbols import (
    SymbolsLike,
    full_symbol,
    names_with_exchanges,
    unique_names,
)

if TYPE_CHECKING:
    from tvDatafeed.protocol.events import Quotes, QuotesRequest


# The default columns of a quote: our names and TradingView's fields.
QUOTE_COLUMNS: Mapping[str, str] = {
    "last": "lp",
    "change": "ch",
    "change_percent": "chp",
    "bid": "bid",
    "ask": "ask",
    "volume": "volume",
    "market_state": "current_session",
    "description": "description",
    "currency": "currency_code",
    "update_mode": "update_mode",
}
# The columns of texts, also if all quotes lack them.
TEXT_FIELDS = frozenset({"current_session", "description", "currency_code", "update_mode"})


class QuotesQuery:
    """Checked arguments of a call for quotes.

    Parameters
    ----------
    symbols, exchange, fields, on_error
        As for `TvDatafeed.get_quotes`.

    Attributes
    ----------
    rows : dict of str to str
        The full symbols, by the symbols as the caller passed them.
    columns : dict of str to str
        TradingView's fields, by the names that the caller passed.

    Raises
    ------
    DataValidationError
        If a symbol or a field is invalid, or there is none.
    """

    def __init__(
        self,
        symbols: SymbolsLike,
        exchange: str | None,
        fields: Iterable[str] | None,
        on_error: str = "raise",
    ) -> None:
        check_on_error(on_error)
        self._collects = on_error == "collect"
        self.rows: dict[str, str] = {
            name: full_symbol(name, place)
            for name, place in names_with_exchanges(symbols, exchange).items()
        }
        names = list(QUOTE_COLUMNS) if fields is None else unique_names(fields)
        for name in names:
            if not isinstance(name, str) or not name.strip():
                raise DataValidationError("fields", name, "must be the name of a field")
        self.columns: dict[str, str] = {name: QUOTE_COLUMNS.get(name, name) for name in names}
        for what, given in (("symbols", self.rows), ("fields", self.columns)):
            if not given:
                raise DataValidationError(what, [], "must name at least one")

    def checked(self, quotes: "Quotes") -> "Quotes":
        """Return an answer, or raise the first of its errors unless they are collected."""
        if not self._collects:
            for refusal in quotes.errors.values():
                raise refusal
        return quotes

    def request(self) -> "QuotesRequest":
        """Return the request."""
        from tvDatafeed.protocol.events import QuotesRequest  # noqa: PLC0415 - as above

        symbols, fields = self.rows.values(), self.columns.values()
        return QuotesRequest(tuple(dict.fromkeys(symbols)), tuple(dict.fromkeys(fields)))
