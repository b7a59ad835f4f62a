"""Symbol search: TradingView's v3 endpoint, page by page, its marks removed.

The endpoint answers ``{"symbols_remaining": n, "symbols": [...]}``, fifty at a time, and wants the
Origin of TradingView's site, else 403. Older ones answered a list, which is understood too. A
future is one item for its root, which cannot be charted, with its ``contracts``, which can.
"""

import logging
import re
import time
from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from tvDatafeed.common.facts import facts
from tvDatafeed.common.hosts import is_loopback
from tvDatafeed.config import NetworkConfig
from tvDatafeed.exceptions import (
    DataError,
    NetworkError,
    RateLimitError,
    SymbolNotFoundError,
    TvDatafeedError,
)
from tvDatafeed.network.http import HttpClient
from tvDatafeed.query.search import SearchQuery
from tvDatafeed.ratelimit import RateLimiter
from tvDatafeed.symbology.results import full_name, text_of

logger: logging.Logger = logging.getLogger(__name__)
# Where a search that fails has always been reported.
client_logger: logging.Logger = logging.getLogger("tvDatafeed.main")

ORIGIN = "https://www.tradingview.com"
# At fifty symbols a page more than any word has; a server that never ends is not followed.
MAX_PAGES = 100

# How many are looked at for those that are most like a name, and how many of these are shown.
_CANDIDATES = 50
_SUGGESTIONS = 3
_SUGGESTIONS_S = 3.0
_BEGINNING = 2

_KEYS = ("symbol", "description", "exchange", "type")
_MARK = re.compile(r"</?em>")
# TradingView's items are three levels deep; what is far deeper is no answer.
_MAX_DEPTH = 32


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
        found, size, remaining = _page(client, url, query, start, deadline)
        for item in found:
            for symbol in _with_contracts(item):
                yield symbol
                given += 1
                if given == query.limit:
                    return
        start += size
        if not found or remaining <= 0:
            return


def find(
    query: SearchQuery,
    network: NetworkConfig,
    limiter: RateLimiter,
    seconds: float,
    *,
    raise_on_error: bool,
) -> list[dict[str, Any]]:
    """Find symbols, the ones that fit best first.

    Parameters
    ----------
    query
        What to look for, and how many at the most.
    network
        Where to search.
    limiter
        Asked before each request.
    seconds
        How long all pages may take.
    raise_on_error
        Whether a search that fails raises. Otherwise it is a WARNING, and what came before.

    Raises
    ------
    NetworkError, DataError
        With `raise_on_error`: the search cannot be reached, or answers no symbols.
    """
    found: list[dict[str, Any]] = []
    client = HttpClient(network, limiter=limiter)
    try:
        for item in search(client, network.search_url, query, time.monotonic() + seconds):
            found.append(item)  # noqa: PERF402 - what came before an error is kept
    except (NetworkError, DataError) as error:
        if raise_on_error:
            raise
        client_logger.warning(
            "the symbol search failed: %s", error, extra=facts(error=error, query=query.text)
        )
    return found


def with_suggestions(
    error: TvDatafeedError, network: NetworkConfig, limiter: RateLimiter, seconds: float
) -> TvDatafeedError:
    """Find what somebody may have meant by a symbol that does not exist.

    Parameters
    ----------
    error
        The error of the symbol; one that is not a `SymbolNotFoundError` is returned as it is.
    network
        Where to search.
    limiter
        Asked before each request.
    seconds
        How long that may take; never more than three.

    Returns
    -------
    TvDatafeedError
        The same with at most three symbols, the one that is most like it first. There are none
        when the search says nothing in time; or belongs to TradingView, and the symbols do not.
    """
    if not isinstance(error, SymbolNotFoundError):
        return error
    symbol = f"{error.exchange}:{error.symbol}" if error.exchange else error.symbol
    found = _nearest(symbol, network, limiter, min(seconds, _SUGGESTIONS_S))
    return SymbolNotFoundError(
        error.symbol,
        error.exchange,
        reason=error.reason,
        suggestions=found,
        currency=error.currency,
    )


def _nearest(
    symbol: str, network: NetworkConfig, limiter: RateLimiter, seconds: float
) -> list[str]:
    if _is_at_home(network.ws_url) and not _is_at_home(network.search_url):
        return []
    client = HttpClient(network)
    deadline = time.monotonic() + seconds
    _place, _, name = symbol.rpartition(":")
    found: dict[str, float] = {}
    try:
        # What is misspelt at its end is found by its beginning.
        for text in dict.fromkeys((name, name[:_BEGINNING])):
            query = SearchQuery(text, "", "", _CANDIDATES)
            # One page each: an error is not delayed, and handshakes keep a quarter of the burst.
            limiter.acquire_spare(max(limiter.burst_size // 4, 1))
            for item in search(client, network.search_url, query, deadline):
                found[item["full_name"]] = _likeness(symbol, item["full_name"])
            if found:
                break
    except (NetworkError, DataError) as error:
        logger.debug("no suggestions for %s: %s", symbol, error, extra=facts(symbol, error=error))
    return sorted(found, key=lambda full: found[full], reverse=True)[:_SUGGESTIONS]


def _is_at_home(url: str) -> bool:
    return is_loopback(urlsplit(url).hostname or "")


def _likeness(one: str, other: str) -> float:
    """Say how much two symbols are alike; the exchange counts less than the name."""
    name, other_name = (text.rpartition(":")[2] for text in (one, other))
    likeness_of_names = SequenceMatcher(a=name, b=other_name).ratio()
    return likeness_of_names + SequenceMatcher(a=one, b=other).ratio()


def _page(
    client: HttpClient, url: str, query: SearchQuery, start: int, deadline: float
) -> tuple[list[dict[str, Any]], int, int]:
    """Ask for a page; gives its items, its size with all that is none, and what remains."""
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
    return items, len(found), remaining if isinstance(remaining, int) else 0


def _with_contracts(item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield _complete(item)
    contracts = item.get("contracts")
    common = {key: value for key, value in item.items() if key != "contracts"} | {"typespecs": []}
    for contract in contracts if isinstance(contracts, list) else ():
        if isinstance(contract, dict) and text_of(contract.get("symbol")):
            own = {key: value for key, value in contract.items() if value is not None}
            given = (text_of(each.get("description")) for each in (item, own))
            names = {
                "description": ": ".join(dict.fromkeys(filter(None, given))),
                "root": text_of(item.get("symbol")),
            }
            yield _complete(common | own | names)


def _complete(item: dict[str, Any]) -> dict[str, Any]:
    texts = {key: text_of(item.get(key)) for key in _KEYS}
    return texts | item | texts | {"full_name": full_name(item)}


def _unmarked(value: Any, depth: int = 0) -> Any:
    """Remove the marks around what was found."""
    if depth > _MAX_DEPTH:
        raise DataError(f"the symbol search answers with more than {_MAX_DEPTH} levels")
    if isinstance(value, str):
        return _MARK.sub("", value)
    if isinstance(value, list):
        return [_unmarked(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {name: _unmarked(item, depth + 1) for name, item in value.items()}
    return value


def _with_query(url: str, asked: dict[str, str]) -> str:
    parts = urlsplit(url)
    query = "&".join(filter(None, (parts.query, urlencode(asked))))
    return urlunsplit(parts._replace(query=query))
