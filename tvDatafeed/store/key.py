"""The key of a stored series: which bars of which symbol, and of which feed."""

import functools
import json
import re
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from tvDatafeed.exceptions import DataValidationError
from tvDatafeed.protocol.events import SeriesRequest

Feed = Literal["realtime", "delayed"]

FEEDS: tuple[Feed, ...] = get_args(Feed)

_CONTRACT = re.compile(r"([0-9]+)!$")


@dataclass(frozen=True)
class SeriesKey:
    """What distinguishes one stored series from another.

    Parameters
    ----------
    symbol
        The symbol as TradingView resolved it: ``BATS:AAPL`` may answer for ``NASDAQ:AAPL``.
    interval, session, adjustment, currency, backadjusted
        As for `protocol.events.SeriesRequest`.
    feed
        "realtime" or "delayed". Two accounts may receive different bars of one symbol.
    """

    symbol: str
    interval: str
    session: str = "regular"
    adjustment: str = "splits"
    currency: str | None = None
    backadjusted: bool = False
    feed: Feed = "realtime"

    @classmethod
    def of(cls, request: SeriesRequest, symbol: str, feed: Feed) -> "SeriesKey":
        """Return the key of a request, with the symbol and the feed of its answer."""
        return cls(
            symbol,
            request.interval,
            request.session,
            request.adjustment,
            request.currency,
            request.backadjusted,
            feed,
        )

    @classmethod
    def from_text(cls, text: str) -> "SeriesKey":
        """Return the key that `text` has written."""
        return cls(**json.loads(text))

    @functools.cached_property
    def text(self) -> str:
        """The key as JSON; equal keys have equal texts."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return json.dumps(values, sort_keys=True, separators=(",", ":"))

    @property
    def contract(self) -> int | None:
        """The number of a continuous future: 1 for ``NSE:NIFTY1!``."""
        found = _CONTRACT.search(self.symbol)
        return int(found[1]) if found else None


def feed_of(update_mode: str) -> Feed:
    """Return the feed of an answer: "streaming" is real-time, all other modes are delayed."""
    return "realtime" if update_mode in {"", "streaming"} else "delayed"


def resolved_symbol(asked: str, info: dict[str, Any]) -> str:
    """Return the symbol whose bars TradingView sent, from its ``symbol_resolved`` message."""
    for name in ("full_name", "pro_name"):
        symbol = info.get(name)
        if isinstance(symbol, str) and symbol:
            return symbol
    return asked


def checked_feed(feed: str | None) -> Feed | None:
    """Return a feed that a caller has named.

    Raises
    ------
    DataValidationError
        When it is neither "realtime" nor "delayed" nor None.
    """
    for known in FEEDS:
        if feed == known:
            return known
    if feed is not None:
        raise DataValidationError("feed", feed, f"must be one of {', '.join(FEEDS)}, or None")
    return None
