"""Refusals: the table from the server's error messages to exceptions.

The literals are those of TradingView: ``invalid symbol`` and ``resolve error`` from recordings,
the entitlement reasons from the web client's own list, ``bad auth token`` from several clients.
They are compared as lower-case words: letter case, ``_`` and punctuation differ between servers.
"""

import re
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

# A reason is a few words; a longer text would hide the rest of the message.
MAX_REASON_CHARACTERS = 200

_NOT_FOUND = frozenset(
    {"invalid symbol", "unknown symbol", "no such symbol", "symbol not found", "resolve error"}
)
_PERMISSION_DENIED = "permission denied"
_ENTITLEMENT_ENDING = " not entitled"
_ENTITLEMENT_BEGINNINGS = ("custom resolution", "study not auth")
# TradingView's price list on the data that it refuses with these words.
_NEEDS = {
    "seconds not entitled": "bars of seconds come with the Premium plan and those above it",
    "ticks not entitled": "bars of ticks come with the Expert plan and those above it",
    "resolution not entitled": "bars of this interval come with a paid plan",
    "custom resolution": "intervals of one's own come with a paid plan",
}
# Any message about the token means that the token is refused.
_AUTH_TOKEN = re.compile(r"\bauth(entication|orization)? ?token\b")
_CONNECTIONS_LIMIT = re.compile(r"\bconnections? limit\b|\btoo many connections\b")
# A connection may open about 200 sessions in its lifetime.
_SESSIONS_LIMIT = re.compile(r"\bmax (state )?sessions\b|\bsessions? rate\b")
_CREATES_SESSION = re.compile(r"\b(chart|quote) create session\b")
_BANNED = re.compile(r"(user |ip )?(is )?banned\b")


def symbol_refused(
    symbol: str, reason: str, details: str = "", *, currency: str | None = None
) -> TvDatafeedError:
    """Return the error for a symbol_error; `currency` is the requested currency."""
    words = _words(reason)
    if words in _NOT_FOUND:
        return _not_found(symbol, currency)
    whole = _whole(reason, details)
    if words == _PERMISSION_DENIED:
        return EntitlementError(symbol, whole, needs=_subscription(details))
    return DataError(f"TradingView refused the symbol {symbol}: {whole}", reason=whole)


def series_refused(symbol: str, reason: str) -> TvDatafeedError:
    """Return the error for a series_error."""
    words = _words(reason)
    if words in _NOT_FOUND:
        return _not_found(symbol)
    is_denied = words == _PERMISSION_DENIED or words.endswith(_ENTITLEMENT_ENDING)
    if is_denied or words.startswith(_ENTITLEMENT_BEGINNINGS):
        return EntitlementError(symbol, reason, needs=_NEEDS.get(words))
    return DataError(f"TradingView refused the bars of {symbol}: {reason}", reason=reason)


def quote_refused(symbol: str, status: str, reason: str, details: str = "") -> TvDatafeedError:
    """Return the error for a quote whose status is not "ok"."""
    whole = _whole(reason, details)
    words = {_words(status), _words(reason)}
    if words & _NOT_FOUND:
        return _not_found(symbol)
    if _PERMISSION_DENIED in words:
        return EntitlementError(symbol, whole, needs=_subscription(details))
    return DataError(f"TradingView refused the quote of {symbol}: {whole}", reason=whole)


def session_refused(symbol: str, reason: str, details: str = "") -> TvDatafeedError:
    """Return the error for a critical_error of a session.

    The details begin with the refused method: if the session could not be created, the connection
    has too many. A message about the client means the same as in a protocol_error.
    """
    refused = _client_refused(reason)
    if refused is not None:
        return refused
    whole = _whole(reason, details)
    if _CREATES_SESSION.search(_words(details)):
        return RateLimitError(None, reason=whole)
    return DataError(f"TradingView refused the request for {symbol}: {whole}", reason=whole)


def connection_refused(reason: str) -> TvDatafeedError:
    """Return the error for a protocol_error."""
    refused = _client_refused(reason)
    return refused or ProtocolError(f"TradingView ended the connection: {reason}")


def _client_refused(reason: str) -> TvDatafeedError | None:
    """Return the error if the client, its account or its connection is refused; else None."""
    words = _words(reason)
    if _AUTH_TOKEN.search(words):
        return AuthenticationError(
            f"TradingView refused the auth token ({reason}). Pass a fresh auth_token"
        )
    if _CONNECTIONS_LIMIT.search(words):
        advice = "Close other programs and browser tabs that use this account."
        return RateLimitError(None, reason=reason, advice=advice)
    if _SESSIONS_LIMIT.search(words):
        return RateLimitError(None, reason=reason)
    if _BANNED.match(words):
        return WebSocketError(f"TradingView refused the connection: {reason}", retryable=False)
    return None


def is_connections_limit(error: TvDatafeedError) -> bool:
    """Return whether an account has too many connections: each new one closes the oldest."""
    return _is_rate_limit(error, _CONNECTIONS_LIMIT)


def is_limit_of_connection(error: TvDatafeedError) -> bool:
    """Return whether a connection cannot open more sessions, even if few are open."""
    return is_connections_limit(error) or _is_rate_limit(error, _SESSIONS_LIMIT)


def _is_rate_limit(error: TvDatafeedError, words: re.Pattern[str]) -> bool:
    reason = error.reason if isinstance(error, RateLimitError) else None
    return bool(reason and words.search(_words(reason)))


def reason_text(reason: Any, secrets: Iterable[str] = ()) -> str:
    """Return a reason of any JSON type as a short printable text without secrets."""
    if isinstance(reason, dict) and reason.get("error"):
        reason = reason["error"]
    if reason is None:
        return ""
    text = reason if isinstance(reason, str) else msgspec.json.encode(reason).decode()
    # First masked, then cut: half a secret would not be recognized.
    printable = "".join(c if c.isprintable() else " " for c in redact(text, secrets))
    if len(printable) > MAX_REASON_CHARACTERS:
        return printable[:MAX_REASON_CHARACTERS] + "..."
    return printable


def _words(text: str) -> str:
    """Return the words of a text in lower case, with single spaces between them."""
    return re.sub(r"[\W_]+", " ", text.casefold()).strip()


def _subscription(details: str) -> str | None:
    """Return the subscription that a permission needs; the reason names it, as in "group nse"."""
    kind, _, name = details.rpartition(" ")
    is_named = name and kind != "symbol"
    return f"TradingView sells these data as the subscription {name!r}" if is_named else None


def _whole(reason: str, details: str) -> str:
    return f"{reason} ({details})" if details else reason


def _not_found(symbol: str, currency: str | None = None) -> SymbolNotFoundError:
    exchange, separator, name = symbol.partition(":")
    parts = (name, exchange) if separator else (symbol,)
    return SymbolNotFoundError(*parts, currency=currency)
