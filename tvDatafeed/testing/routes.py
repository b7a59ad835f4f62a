"""The plain HTTP side of the loopback TradingView: accounts, symbol search and symbol pages."""

import html
from dataclasses import replace
from email.utils import formatdate
from urllib.parse import unquote

from tvDatafeed.testing.accounts.signin import account_reply
from tvDatafeed.testing.market.market import Market
from tvDatafeed.testing.sessions.backend import Backend
from tvDatafeed.testing.sessions.search import search
from tvDatafeed.testing.wire.http11 import Reply, Request
from tvDatafeed.testing.wire.payloads import to_json

SEARCH_PATH = "/symbol_search/v3/"
# Older clients search here; the answer is a list.
OLD_SEARCH_PATH = "/symbol_search/"
# The page of a symbol; some clients request it to check that the symbol exists.
PAGE_PATH = "/symbols/"
ORIGINS = frozenset({"https://www.tradingview.com", "https://data.tradingview.com"})
# Three clients connect with the last of these; one note says that it gets 403.
WEBSOCKET_ORIGINS = ORIGINS | {"https://s.tradingview.com"}


def respond(request: Request, backend: Backend) -> Reply:
    """Return the reply to a plain HTTP request."""
    reply = account_reply(request, backend.accounts) or _other_reply(request, backend.market)
    date = formatdate(backend.accounts.rules.auth_clock(), usegmt=True)
    return replace(reply, date=date)


def _other_reply(request: Request, market: Market) -> Reply:
    path = request.path.rstrip("/") + "/"
    if request.method == "GET" and path.startswith(PAGE_PATH):
        return _page(unquote(path.removeprefix(PAGE_PATH).rstrip("/")), market)
    if request.method != "GET" or path not in {SEARCH_PATH, OLD_SEARCH_PATH}:
        return Reply(404, b"Not Found")
    if request.headers.get("origin") not in ORIGINS:
        return Reply(403, b"Forbidden")
    found = search(request.query, market)
    body = to_json(found if path == SEARCH_PATH else found["symbols"]).encode()
    return Reply(200, body, (("Content-Type", "application/json; charset=utf-8"),))


def _page(name: str, market: Market) -> Reply:
    # A page's path separates exchange and name by a hyphen; a colon works too.
    listing = market.find(name) or market.find(name.replace("-", ":", 1))
    if listing is None:
        return Reply(404, b"Not Found")
    title = f"<title>{html.escape(listing.description)}</title>"
    return Reply(200, title.encode(), (("Content-Type", "text/html; charset=utf-8"),))
