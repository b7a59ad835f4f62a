"""The symbol search of the loopback TradingView.

The keys of an item, and the meaning of `prefix`, are those that public clients rely on. Behaviour
without a recording is made up: where each word may match, that an exact name comes first, that an
unknown type has no results, and that the contracts of a future are not highlighted.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tvDatafeed.testing.market.listings import Listing
from tvDatafeed.testing.market.market import Market

_PAGE_SIZE = 50
# The search types of a client, and the symbol types that they include.
_KINDS = {
    "stock": {"stock", "dr"},
    "funds": {"fund", "structured"},
    "futures": {"futures"},
    "forex": {"forex"},
    "crypto": {"spot", "swap"},
    "index": {"index"},
    "bond": {"bond"},
    "economic": {"economic"},
    "options": {"option"},
    "cfd": {"cfd"},
}
_ALL_KINDS = {"", "undefined"}
# Made up, so that clients meet an exchange whose name differs from the prefix of its symbols. A
# real example is CME, whose symbols begin with CME_MINI.
_DISPLAY_NAMES = {"SP": "S&P Dow Jones"}
# A public client, @mathieuc/tradingview, sends spaces as + or %20 and encodes them twice.
_BETWEEN_WORDS = re.compile(r"(?:\s|\+|%20)+")
_CONTRACT = re.compile(r"(\d+!|[FGHJKMNQUVXZ]\d{4})$")


@dataclass
class _Found:
    """One search result: a listing, or all contracts of one future."""

    name: str
    listings: list[Listing]

    @property
    def is_root(self) -> bool:
        return self.listings[0].type == "futures"

    def matches(self, words: Iterable[str]) -> bool:
        texts = [self.name, self.listings[0].exchange, _display_name(self.listings[0])]
        texts += [text for each in self.listings for text in (each.name, each.description)]
        folded = [text.casefold() for text in texts]
        return all(any(word.casefold() in text for text in folded) for word in words)


def search(query: dict[str, str], market: Market) -> dict[str, Any]:
    """Return one page of results of the search API, version 3.

    Parameters
    ----------
    query
        The parameters of the request. Each word of `text` must match the exchange, the name or the
        description. `exchange` and `search_type` (in older clients `type`) filter, `start` is the
        number of results to skip, and ``hl=1`` highlights the matches.
    market
        The market to search.
    """
    words = [word for word in _BETWEEN_WORDS.split(query.get("text", "")) if word]
    exchange = query.get("exchange", "").upper()
    kind = (query.get("search_type") or query.get("type") or "").lower()
    start = int(query["start"]) if query.get("start", "").isdecimal() else 0
    found = [
        each
        for each in _grouped(filter(None, map(market.find, market.symbols)))
        if _is_of_kind(each.listings[0], kind)
        and exchange in {"", each.listings[0].exchange, _display_name(each.listings[0]).upper()}
        and each.matches(words)
    ]
    exact = {word.upper() for word in words}
    found.sort(key=lambda each: each.name.upper() not in exact)
    page = found[start : start + _PAGE_SIZE]
    marked = words if query.get("hl") == "1" else []
    return {
        "symbols_remaining": max(0, len(found) - start - len(page)),
        "symbols": [_item(each, marked) for each in page],
    }


def _grouped(listings: Iterable[Listing]) -> list[_Found]:
    """Group the contracts of each future at the position of the first contract."""
    groups: dict[tuple[str, ...], _Found] = {}
    for listing in listings:
        is_future = listing.type == "futures"
        name = _root(listing) if is_future else listing.name
        key = ("future", listing.exchange, name) if is_future else (listing.symbol,)
        groups.setdefault(key, _Found(name, [])).listings.append(listing)
    return list(groups.values())


def _root(listing: Listing) -> str:
    return listing.root or _CONTRACT.sub("", listing.name)


def _display_name(listing: Listing) -> str:
    return _DISPLAY_NAMES.get(listing.exchange) or listing.exchange.partition("_")[0]


def _is_of_kind(listing: Listing, kind: str) -> bool:
    if kind in _ALL_KINDS:
        return True
    types = _KINDS.get(kind) or _KINDS.get(f"{kind}s") or _KINDS.get(kind.removesuffix("s"), set())
    return listing.type in types


def _item(found: _Found, marked: list[str]) -> dict[str, Any]:
    listing = found.listings[0]
    display_name = _display_name(listing)
    item = {
        "symbol": _highlight(found.name, marked),
        "description": _highlight(listing.description, marked),
        "type": listing.type,
        "exchange": display_name,
        "found_by_isin": False,
        "found_by_cusip": False,
        "currency_code": listing.currency,
        "provider_id": listing.exchange.lower(),
        "source2": {
            "id": listing.exchange,
            "name": display_name,
            "description": display_name,
        },
        "source_id": listing.exchange,
        "country": listing.country,
        "is_primary_listing": True,
        "typespecs": [] if found.is_root else listing.info()["typespecs"],
    }
    if display_name.partition(" ")[0].upper() != listing.exchange:
        item["prefix"] = listing.exchange
    if found.is_root:
        item["contracts"] = [
            {
                "symbol": contract.name,
                "description": contract.description,
                "typespecs": contract.info()["typespecs"],
            }
            for contract in found.listings
        ]
    return item


def _highlight(name: str, words: list[str]) -> str:
    if not words:
        return name
    # The longest word first, so that it wins if two words match at the same place.
    pattern = "|".join(map(re.escape, sorted(words, key=len, reverse=True)))
    return re.sub(pattern, lambda match: f"<em>{match[0]}</em>", name, flags=re.IGNORECASE)
