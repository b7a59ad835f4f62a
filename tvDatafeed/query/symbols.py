"""Symbols as TradingView names them, and lists of names."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from tvDatafeed.common.numbers import whole_number
from tvDatafeed.exceptions import DataValidationError
from tvDatafeed.validators import Validators

_MONTH = "JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC"
# A continuous contract (ES1!), or one of a month: its letter and the year (ESZ2026, ESZ26), or the
# form of Indian brokers (NIFTY26DEC, NIFTY24DEC26FUT, NIFTYDEC26). A letter with two digits needs
# at least two characters before it, since HNX:VN30 is a root that ends in a number.
_CONTRACT = re.compile(
    rf"\d!|[FGHJKMNQUVXZ]20\d\d\Z|[^:]{{2}}[FGHJKMNQUVXZ][23]\d\Z"
    rf"|[^:]\d\d({_MONTH})(FUT)?\Z|[^:]({_MONTH})(20)?[23]\d(FUT)?\Z"
)
# The operators in TradingView's expressions; names of shares also contain '-' and '&'.
_EXPRESSION = re.compile(r"[/*+^()]|:.*:")


# One symbol, several, or a mapping from symbols to exchanges.
SymbolsLike: TypeAlias = str | Iterable[str] | Mapping[str, str]


def unique_names(names: str | Iterable[str]) -> list[str]:
    """Return names as a list, each once; a lone text is one name."""
    return list(dict.fromkeys([names] if isinstance(names, str) else names))


def names_with_exchanges(symbols: SymbolsLike, exchange: str | None) -> "dict[str, str | None]":
    """Return the exchange of each symbol, by the symbols as they were passed.

    Parameters
    ----------
    symbols
        One symbol, several, or a mapping of symbols to exchanges.
    exchange
        The exchange of symbols without one.
    """
    if isinstance(symbols, Mapping):
        return {name: place or exchange for name, place in symbols.items()}
    return dict.fromkeys(unique_names(symbols), exchange)


def full_symbol(symbol: str, exchange: str | None) -> str:
    """Return a symbol in TradingView's form, ``EXCHANGE:SYMBOL``.

    Parameters
    ----------
    symbol
        The symbol, with or without its exchange.
    exchange
        Ignored if the symbol has one.

    Raises
    ------
    DataValidationError
        If the symbol or the exchange is invalid.
    """
    if isinstance(symbol, Iterable) and not isinstance(symbol, str | bytes):
        raise DataValidationError(
            "symbol",
            symbol,
            f"must be one symbol such as 'NASDAQ:AAPL', not {type(symbol).__name__}; "
            "get_hist_multi takes several, and new_seis follows them one by one",
        )
    name = Validators.validate_symbol(symbol, allow_formatted=True)
    if ":" in name:
        return name
    return f"{Validators.validate_exchange(exchange or '')}:{name}"


def contract_symbol(full: str, contract: Any) -> str:
    """Return the symbol of a continuous future.

    Parameters
    ----------
    full
        The root's `full_symbol`.
    contract
        The number of the contract, or None.

    Raises
    ------
    ValueError
        If it is not a whole number of at least 1.
    DataValidationError
        If the symbol is already a contract, or an expression of several symbols.
    """
    if contract is None:
        return full
    try:
        number = whole_number(contract)
    except TypeError:
        number = 0
    if number < 1:
        raise ValueError("not a valid contract")
    if _CONTRACT.search(full):
        raise DataValidationError(
            "fut_contract", contract, f"{full} is a contract already; leave fut_contract out"
        )
    if _EXPRESSION.search(full):
        raise DataValidationError(
            "fut_contract", contract, f"counts the contracts of one future, and {full} is not one"
        )
    return f"{full}{number}!"


def named_symbols(
    symbols: SymbolsLike, exchange: str | None, fut_contract: int | None
) -> "dict[str, str | DataValidationError]":
    """Return the full symbol of each symbol as it was passed, or the error if it is invalid."""
    named: dict[str, str | DataValidationError] = {}
    for name, place in names_with_exchanges(symbols, exchange).items():
        try:
            named[name] = contract_symbol(full_symbol(name, place), fut_contract)
        except DataValidationError as error:
            named[name] = error
    return named
