"""Symbol search: TradingView's v3 endpoint, page by page, its marks removed.

The endpoint answers ``{"symbols_remaining": n, "symbols": [...]}``, fifty at a time, and wants the
Origin of TradingView's site, else 403. Older ones answered a list, which is understood too. A
future is one item for its root, which cannot be charted, with its ``contracts``, which can.
"""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from tvDatafeed.exceptions import DataError, NetworkError, RateLimitError
from tvDatafeed.http import HttpClient
from tvDatafeed.query import SearchQuery
from tvDatafeed.results import full_name

ORIGIN = "https://www.tradingview.com"
# At fifty symbols a page more than any word has; a server that never ends is not followed.
MAX_PAGES = 100

_KEYS = ("symbol", "description", "exchange", "type")
_MARK = re.compile(r"</?em>")
# What a contract has in common with its root.
_OF_ROOT = ("exchange", "prefix", "type", "currency_code", "country", "provider_id", "source_id")


def search(client: HttpClient, url: str, query: SearchQuery, deadline: float) -> Iterator[Any]:
    """Find symbols, the ones that fit best first.

    Parameters
    ----------
    client
        Asks.
    url
        The endpoint.
    query
        What to look for, and how many at the most.
    deadline
        Of all pages, on the monotonic clock, seconds.

    Yields
    ------
    dict
        As TradingView describes a symbol, with at least symbol, description, exchange, type and
        full_name, which is what `get_hist` takes.

    Raises
    ------
    NetworkError
        The search cannot be reached, or does not answer.
    RateLimitError
        It asks to wait.
    DataError
        Its answer is none.
    """
    start = given = 0
    for _ in range(MAX_PAGES):
        found, remaining = _page(client, url, query, start, deadline)
        for item in found:
            for symbol in _with_contracts(item):
                yield symbol
                given += 1
                if given == query.limit:
                    return
        start += len(found)
        if not found or remaining <= 0:
            return


def _page(
    client: HttpClient, url: str, query: SearchQuery, start: int, deadline: float
) -> tuple[list[dict[str, Any]], int]:
    """Ask for a page; gives its items, and how many more there are."""
    asked = {
        "text": query.text,
        "exchange": query.exchange,
        "lang": "en",
        "search_type": query.search_type or "undefined",
        "domain": "production",
        "start": str(start),
    }
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
    remaining = answer.get("symbols_remaining") if isinstance(answer, dict) else 0
    items = [_unmarked(item) for item in found if isinstance(item, dict)]
    return items, remaining if isinstance(remaining, int) else 0


def _with_contracts(item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield _complete(item)
    contracts = item.get("contracts")
    for contract in contracts if isinstance(contracts, list) else ():
        if isinstance(contract, dict) and contract.get("symbol"):
            given = (item.get("description"), contract.get("description"))
            description = ": ".join(dict.fromkeys(str(text) for text in given if text))
            yield _complete(
                {key: item[key] for key in _OF_ROOT if key in item}
                | contract
                | {"description": description, "root": item.get("symbol", "")}
            )


def _complete(item: dict[str, Any]) -> dict[str, Any]:
    whole = {key: item.get(key) or "" for key in _KEYS} | {
        key: value for key, value in item.items() if key not in _KEYS
    }
    return whole | {"full_name": full_name(whole)}


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
