"""Refusals: which of the server's error messages is which exception, in one table.

The literals are those of TradingView: ``invalid symbol`` and ``resolve error`` from recordings,
the entitlement reasons from the web client's own list, ``bad auth token`` from several clients.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from tvDatafeed.common.redaction import redact
from tvDatafeed.exceptions import (
    AuthenticationError,
    DataError,
    EntitlementError,
    ProtocolError,
    RateLimitError,
    SymbolNotFoundError,
    TvDatafeedError,
    WebSocketError,
)

# A reason is a few words; what is longer is no reason and would drown the message.
MAX_REASON_CHARACTERS = 200

_ENTITLEMENT_ENDING = "_not_entitled"
_ENTITLEMENT_BEGINNINGS = ("custom_resolution", "study_not_auth")
# What TradingView's price list says of what is refused with these words.
_NEEDS = {
    "seconds_not_entitled": "bars of seconds come with the Premium plan and those above it",
    "ticks_not_entitled": "bars of ticks come with the Expert plan and those above it",
    "resolution_not_entitled": "bars of this interval come with a paid plan",
    "custom_resolution": "intervals of one's own come with a paid plan",
}


def symbol_refused(symbol: str, reason: str, details: str = "") -> TvDatafeedError:
    """Say what a symbol_error means."""
    if reason == "invalid symbol":
        return _not_found(symbol)
    whole = _whole(reason, details)
    if reason.replace("_", " ") == "permission denied":
        return EntitlementError(symbol, whole, needs=_subscription(details))
    return DataError(f"TradingView refused the symbol {symbol}: {whole}", reason=whole)


def series_refused(symbol: str, reason: str) -> TvDatafeedError:
    """Say what a series_error means."""
    if reason == "resolve error":
        return _not_found(symbol)
    if reason.endswith(_ENTITLEMENT_ENDING) or reason.startswith(_ENTITLEMENT_BEGINNINGS):
        return EntitlementError(symbol, reason, needs=_NEEDS.get(reason))
    return DataError(f"TradingView refused the bars of {symbol}: {reason}", reason=reason)


def quote_refused(symbol: str, status: str, reason: str, details: str = "") -> TvDatafeedError:
    """Say what the status of a quote means that is not "ok"."""
    whole = _whole(reason, details)
    if "no_such_symbol" in (status, reason):
        return _not_found(symbol)
    if status == "permission_denied":
        return EntitlementError(symbol, whole, needs=_subscription(details))
    return DataError(f"TradingView refused the quote of {symbol}: {whole}", reason=whole)


def session_refused(symbol: str, reason: str, details: str = "") -> TvDatafeedError:
    """Say what a critical_error of a chart session means.

    The details begin with the method that was refused: a session that may not be created is one
    too many for this connection.
    """
    whole = _whole(reason, details)
    if "method: chart_create_session" in details:
        return RateLimitError(None, reason=whole)
    return DataError(f"TradingView refused the request for {symbol}: {whole}", reason=whole)


def connection_refused(reason: str) -> TvDatafeedError:
    """Say what a protocol_error means."""
    if reason == "bad auth token":
        return AuthenticationError(
            f"TradingView refused the auth token ({reason}). Pass a fresh auth_token"
        )
    if "connections limit" in reason:
        return RateLimitError(None, reason=reason)
    if reason.startswith("banned"):
        return WebSocketError(f"TradingView refused the connection: {reason}", retryable=False)
    return ProtocolError(f"TradingView ended the connection: {reason}")


def reason_text(reason: Any, secrets: Iterable[str] = ()) -> str:
    """Make a reason of any JSON type a short printable text without secrets."""
    if isinstance(reason, dict) and reason.get("error"):
        reason = reason["error"]
    if reason is None:
        return ""
    text = reason if isinstance(reason, str) else msgspec.json.encode(reason).decode()
    # First masked, then cut: half a secret would not be known for one.
    printable = "".join(c if c.isprintable() else " " for c in redact(text, secrets))
    if len(printable) > MAX_REASON_CHARACTERS:
        return printable[:MAX_REASON_CHARACTERS] + "..."
    return printable


def _subscription(details: str) -> str | None:
    """Say what a permission needs: the words after the refusal name it, as "group nse"."""
    kind, _, name = details.rpartition(" ")
    is_named = name and kind != "symbol"
    return f"TradingView sells these data as the subscription {name!r}" if is_named else None


def _whole(reason: str, details: str) -> str:
    return f"{reason} ({details})" if details else reason


def _not_found(symbol: str) -> SymbolNotFoundError:
    exchange, separator, name = symbol.partition(":")
    return SymbolNotFoundError(name, exchange) if separator else SymbolNotFoundError(symbol)
