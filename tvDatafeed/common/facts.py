"""The facts of a log record as fields, beside its text.

The names are those of the table in CONTRIBUTING.md. A record that a program's own handler or a
JSON log shows is filtered by them, and not by words of its text.
"""

import datetime as dt
from typing import Any

from tvDatafeed.common.redaction import masked_url, redact

__all__ = ["facts"]


def facts(
    about: object = None, /, *, error: BaseException | None = None, **fields: object
) -> dict[str, Any]:
    """Return the facts of a record, for ``extra=``.

    Parameters
    ----------
    about : object, optional
        A series (what has a symbol, an exchange and an interval), a consumer of one (what has a
        ``seis``), or a symbol as ``EXCHANGE:NAME``.
    error : exception, optional
        The cause: its text is the field ``reason``, and its class ``error_type``.
    **fields
        Further facts by their names. None is left out; a moment becomes text; a URL loses its
        password and its query; whatever looks like a token is hidden.

    Returns
    -------
    dict
        The fields: texts, numbers and booleans.

    Examples
    --------
    >>> facts("NASDAQ:AAPL", attempt=2, seconds=0.5, interval=None)
    {'symbol': 'AAPL', 'exchange': 'NASDAQ', 'attempt': 2, 'seconds': 0.5}
    """
    found = _series_of(about)
    if error is not None:
        found |= {"reason": str(error), "error_type": type(error).__name__}
    found |= fields
    return {name: _plain(name, value) for name, value in found.items() if value is not None}


def _series_of(about: object) -> dict[str, object]:
    series = getattr(about, "seis", about)
    symbol = series if isinstance(series, str) else getattr(series, "symbol", None)
    exchange, interval = getattr(series, "exchange", None), getattr(series, "interval", None)
    # A spread names the exchange of each of its symbols.
    if exchange is None and symbol is not None and symbol.count(":") == 1:
        exchange, _, symbol = symbol.partition(":")
    return {
        "symbol": symbol,
        "exchange": exchange,
        "interval": getattr(interval, "value", interval),
    }


def _plain(name: str, value: object) -> object:
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, dt.datetime):
        return value.isoformat()
    text = str(value)
    return redact(masked_url(text) if name == "url" else text, ())
