"""The plain HTTP side of the loopback TradingView: the home page and the symbol search."""

import re

from tvDatafeed.testing.listings import Listing
from tvDatafeed.testing.market import Market
from tvDatafeed.testing.payloads import to_json
from tvDatafeed.testing.websocket import Request, http_reply

SEARCH_PATH = "/symbol_search/v3/"
ORIGINS = frozenset({"https://www.tradingview.com", "https://data.tradingview.com"})

_PAGE_SIZE = 50
# An anonymous visitor's page names no auth_token; a client takes that for expired cookies.
_HOME = b"""<!DOCTYPE html>
<html lang="en"><head><title>TradingView</title></head>
<body><script>var is_authenticated = false; var user = {"username":"Guest","is_pro":false};</script>
</body></html>
"""


def respond(request: Request, market: Market) -> bytes:
    """Return the response to a request that is no upgrade."""
    if request.method == "GET" and request.path == "/":
        return http_reply(200, _HOME)
    if request.method == "GET" and request.path == SEARCH_PATH:
        if request.headers.get("origin") not in ORIGINS:
            return http_reply(403, b"Forbidden")
        body = to_json(_search(request.query, market)).encode()
        return http_reply(200, body, content_type="application/json; charset=utf-8")
    return http_reply(404, b"Not Found")


def _search(query: dict[str, str], market: Market) -> dict[str, object]:
    text, exchange = query.get("text", ""), query.get("exchange", "")
    start = int(query["start"]) if query.get("start", "").isdigit() else 0
    found = [
        listing
        for listing in filter(None, map(market.find, market.symbols))
        if exchange.upper() in {"", listing.exchange}
        and any(text.upper() in name.upper() for name in (listing.name, listing.description))
    ]
    page = found[start : start + _PAGE_SIZE]
    return {
        "symbols_remaining": max(0, len(found) - start - len(page)),
        "symbols": [_item(listing, text if query.get("hl") == "1" else "") for listing in page],
    }


def _item(listing: Listing, highlighted: str) -> dict[str, object]:
    return {
        "symbol": _highlight(listing.name, highlighted),
        "description": _highlight(listing.description, highlighted),
        "type": listing.type,
        "exchange": listing.exchange,
        "found_by_isin": False,
        "found_by_cusip": False,
        "currency_code": listing.currency,
        "provider_id": listing.exchange.lower(),
        "source2": {
            "id": listing.exchange,
            "name": listing.exchange,
            "description": listing.exchange,
        },
        "source_id": listing.exchange,
        "country": listing.country,
        "is_primary_listing": True,
        "typespecs": listing.info()["typespecs"],
    }


def _highlight(name: str, text: str) -> str:
    if not text:
        return name
    return re.sub(re.escape(text), lambda match: f"<em>{match[0]}</em>", name, flags=re.IGNORECASE)
