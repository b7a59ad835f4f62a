"""What a store knows and reports: plain values."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tvDatafeed.store.key import Feed, SeriesKey


@dataclass
class SeriesNotes:
    """The facts about a series other than its bars.

    Parameters
    ----------
    symbol
        TradingView's description of the symbol (``symbol_resolved``).
    update_mode
        As in `protocol.events.History`.
    server_time_s
        The latest server's time of an answer, epoch seconds UTC.
    heard_s
        When that was heard, by this machine's clock, epoch seconds UTC.
    names
        The symbols that it was asked by.
    """

    symbol: dict[str, Any] = field(default_factory=dict)
    update_mode: str = ""
    server_time_s: float = 0.0
    heard_s: float = 0.0
    names: list[str] = field(default_factory=list)


@dataclass
class StoredSeries:
    """One series as an engine keeps it, without its bars.

    Parameters
    ----------
    id
        The engine's own number.
    key
        What distinguishes it from all others.
    generation
        Counts the restatements: a split makes a new generation of all bars.
    first, last
        When its first and last bar open, epoch seconds UTC; None without bars.
    bars
        The number of its bars.
    no_older
        Whether TradingView has said that no bars before the first exist.
    checked_s
        When its oldest bars were last compared with TradingView's, epoch seconds UTC.
    used_s
        When it was last read or written, epoch seconds UTC.
    hits, misses
        How many requests needed no more than its newest bars from TradingView, and how many did.
    info
        The symbol's description, the mode of its updates, the names it was asked by.
    """

    id: int
    key: SeriesKey
    generation: int = 0
    first: float | None = None
    last: float | None = None
    bars: int = 0
    no_older: bool = False
    checked_s: float = 0.0
    used_s: float = 0.0
    hits: int = 0
    misses: int = 0
    info: SeriesNotes = field(default_factory=SeriesNotes)


@dataclass(frozen=True)
class Document:
    """A JSON document of a program, or a symbol's description.

    Parameters
    ----------
    symbol, data_type, timeframe
        Its name.
    stored_s, used_s
        When it was written and last read, epoch seconds UTC.
    hits
        How often it was read.
    data
        The document as JSON.
    """

    symbol: str
    data_type: str
    timeframe: str
    stored_s: float
    used_s: float
    hits: int
    data: str


@dataclass(frozen=True)
class SeriesInfo:
    """One stored series, as `BarStore.series` reports it.

    Attributes
    ----------
    symbol : str
        The symbol as TradingView resolved it.
    names : tuple of str
        The symbols that it was asked by.
    interval : str
        TradingView's text, such as "1D".
    session, adjustment, currency, backadjusted, contract, feed
        The other fields of its key; `contract` is the number of a continuous future, else None.
    first, last : datetime or None
        When its first and last bar open, aware, UTC.
    bars : int
        The number of its bars.
    hits, misses : int
        How many requests needed no more than the newest bars from TradingView, and how many did.
    last_used : datetime
        When it was last read or written, aware, UTC.
    generation : int
        The number of its restatements, such as splits.
    no_older : bool
        Whether TradingView has no bars before the first one.
    """

    symbol: str
    names: tuple[str, ...]
    interval: str
    session: str
    adjustment: str
    currency: str | None
    backadjusted: bool
    contract: int | None
    feed: Feed
    first: datetime | None
    last: datetime | None
    bars: int
    hits: int
    misses: int
    last_used: datetime
    generation: int
    no_older: bool


@dataclass(frozen=True)
class StoreStats:
    """What a store holds and how it is used.

    Attributes
    ----------
    total_records : int
        Bars and documents.
    unique_symbols, series, documents : int
        Symbols with bars; series; documents.
    hits, misses : int
        Requests that needed no more than the newest bars from TradingView, and the others.
    hit_rate : float
        hits / (hits + misses), from 0 to 1; 0 before the first.
    size_bytes : int
        The size on disk.
    hot_symbols : list of (str, int)
        The symbols that are requested most, with their hits.
    engine, url : str
        "sqlite", "postgresql" or "tdengine"; where it is, without its password.
    """

    total_records: int
    unique_symbols: int
    series: int
    documents: int
    hits: int
    misses: int
    hit_rate: float
    size_bytes: int
    hot_symbols: list[tuple[str, int]]
    engine: str
    url: str


@dataclass(frozen=True)
class StoreHealth:
    """Whether a store answers.

    Attributes
    ----------
    ok : bool
        Whether it can be read.
    engine : str
        "sqlite", "postgresql" or "tdengine".
    driver_version, server_version : str
        The versions of the library and of the server; empty where unknown.
    latency_ms : float
        How long the answer took, milliseconds.
    detail : str
        The error, or where the store is.
    """

    ok: bool
    engine: str
    driver_version: str
    server_version: str
    latency_ms: float
    detail: str


@dataclass(frozen=True)
class StoreCheck:
    """One line of `BarStore.verify`.

    Attributes
    ----------
    name : str
        What was checked.
    ok : bool
        Whether it is right.
    detail : str
        What was found.
    hint : str
        What to do when it is not; empty otherwise.
    """

    name: str
    ok: bool
    detail: str
    hint: str = ""
