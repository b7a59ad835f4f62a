"""Symbol search: TradingView's v3 endpoint, its marks removed.

The endpoint answers ``{"symbols_remaining": n, "symbols": [...]}`` and wants the Origin of
TradingView's site, else 403. Older ones answered a list, which is understood too.
"""

import re
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from tvDatafeed.exceptions import DataError, NetworkError, RateLimitError
from tvDatafeed.http import HttpClient

ORIGIN = "https://www.tradingview.com"

_KEYS = ("symbol", "description", "exchange", "type")
_MARK = re.compile(r"</?em>")


def search(
    client: HttpClient, url: str, text: str, exchange: str, deadline: float
) -> list[dict[str, Any]]:
    """Find symbols, the first page of them.

    Parameters
    ----------
    client
        Asks.
    url
        The endpoint.
    text
        What to look for.
    exchange
        The exchange to look on; empty for all.
    deadline
        On the monotonic clock, seconds.

    Returns
    -------
    list of dict
        As TradingView describes them, with at least symbol, description, exchange and type.

    Raises
    ------
    NetworkError
        The search cannot be reached, or does not answer.
    RateLimitError
        It asks to wait.
    DataError
        Its answer is none.
    """
    asked = {"text": text, "exchange": exchange, "lang": "en", "domain": "production"}
    headers = {"Origin": ORIGIN, "Referer": f"{ORIGIN}/"}
    reply = client.get(_with_query(url, asked), headers=headers, deadline=deadline)
    if reply.status == 429:  # noqa: PLR2004 - Too Many Requests
        raise RateLimitError(retry_after=reply.retry_after, reason="the symbol search says 429")
    if reply.status != 200:  # noqa: PLR2004 - OK
        retryable = reply.status >= 500  # noqa: PLR2004 - errors of the server
        raise NetworkError(f"the symbol search answers {reply.status}", retryable=retryable)
    try:
        answer = reply.json()
    except ValueError as error:
        raise DataError(f"the symbol search answers no JSON: {error}") from None
    found = answer.get("symbols") if isinstance(answer, dict) else answer
    if not isinstance(found, list):
        raise DataError("the symbol search answers no list of symbols")
    return [dict.fromkeys(_KEYS, "") | _unmarked(item) for item in found if isinstance(item, dict)]


def _unmarked(value: Any) -> Any:
    """Remove the marks around what was found."""
    if isinstance(value, str):
        return _MARK.sub("", value)
    if isinstance(value, list):
        return [_unmarked(item) for item in value]
    if isinstance(value, dict):
        return {name: _unmarked(item) for name, item in value.items()}
    return value


def _with_query(url: str, asked: dict[str, str]) -> str:
    parts = urlsplit(url)
    query = "&".join(filter(None, (parts.query, urlencode(asked))))
    return urlunsplit(parts._replace(query=query))
