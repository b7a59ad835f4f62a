"""Symbols as TradingView names them, and lists of names."""

from collections.abc import Iterable
from typing import Any

from tvDatafeed.common.numbers import whole_number
from tvDatafeed.validators import Validators


def unique_names(names: str | Iterable[str]) -> list[str]:
    """Return names as a list, each once; a lone text is one name."""
    return list(dict.fromkeys([names] if isinstance(names, str) else names))


def full_symbol(symbol: str, exchange: str | None) -> str:
    """Return a symbol as TradingView has it, ``EXCHANGE:SYMBOL``.

    Parameters
    ----------
    symbol
        With its exchange or without.
    exchange
        Not looked at when the symbol names one.

    Raises
    ------
    DataValidationError
        When symbol or exchange can be none.
    """
    name = Validators.validate_symbol(symbol, allow_formatted=True)
    if ":" in name:
        return name
    return f"{Validators.validate_exchange(exchange or '')}:{name}"


def contract_symbol(full: str, symbol: str, contract: Any) -> str:
    """Return the symbol of a continuous future.

    Parameters
    ----------
    full
        The root's `full_symbol`.
    symbol
        As the caller wrote it: one that names its exchange is complete, as it always was.
    contract
        The number of the contract, or None.

    Raises
    ------
    ValueError
        When it is no whole number of at least 1.
    """
    if contract is None or ":" in symbol:
        return full
    try:
        number = whole_number(contract)
    except TypeError:
        number = 0
    if number < 1:
        raise ValueError("not a valid contract")
    return f"{full}{number}!"
