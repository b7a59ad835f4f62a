"""What a store needs of its engine: transactions over series, spans, bars and documents."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from tvDatafeed.exceptions import StoreError
from tvDatafeed.store.key import Feed, SeriesKey
from tvDatafeed.store.records import Document, StoredSeries
from tvDatafeed.store.spans import Spans

# The version of the schema; a store of a later one is refused.
SCHEMA_VERSION = 1


class Resolved(NamedTuple):
    """What a symbol was resolved to when an account asked for it last."""

    symbol: str
    feed: Feed


class Transaction(Protocol):
    """One consistent view of a store, and the changes that become visible together.

    Bars are packed rows, as in `protocol.series.Bars`. Only what `Engine.writing` gives may
    change anything. Each method raises `StoreError`; `read` also raises `StoreCorruptError`.
    """

    def find(self, key: SeriesKey) -> StoredSeries | None:
        """Return a series; in a writing transaction, its other writers wait from now on."""

    def add(self, key: SeriesKey) -> StoredSeries:
        """Return a series; create it if it does not exist."""

    def all(self) -> list[StoredSeries]:
        """Return all series; when writing, other writers of each wait from here on."""

    def save(self, series: StoredSeries) -> None:
        """Store the attributes of a series; called after each change of its bars."""

    def remove(self, series: StoredSeries) -> None:
        """Remove a series with all that belongs to it."""

    def restart(self, series: StoredSeries) -> None:
        """Begin another generation of a series, without bars and spans."""

    def spans(self, series: StoredSeries) -> Spans:
        """Return the ranges that were answered."""

    def set_spans(self, series: StoredSeries, spans: Spans) -> None:
        """Replace them."""

    def read(
        self,
        series: StoredSeries,
        lo: float,
        hi: float,
        newest: int | None = None,
        oldest: int | None = None,
    ) -> bytes:
        """Return the bars that open in a range: all, the `newest` of them, or the `oldest`."""

    def write(self, series: StoredSeries, packed: bytes) -> None:
        """Add bars, ascending by time; one that opens at the time of another replaces it."""

    def erase(self, series: StoredSeries, lo: float, hi: float) -> None:
        """Remove the bars that open in a range, damaged ones too."""

    def beside(
        self, series: StoredSeries, lo: float, hi: float
    ) -> tuple[float | None, float | None]:
        """Return the last bar before a range without bars and the first one after it."""

    def resolved(self, asked: str, account: str) -> list[Resolved]:
        """Return what a symbol was resolved to: for this account, else for all others."""

    def set_resolved(self, asked: str, account: str, resolved: Resolved) -> None:
        """Remember it."""

    def document(self, symbol: str, data_type: str, timeframe: str) -> Document | None:
        """Return a document."""

    def documents(self) -> list[Document]:
        """Return all documents, with empty data."""

    def put_document(self, document: Document) -> None:
        """Add or replace a document."""

    def remove_documents(self, documents: Iterable[Document]) -> int:
        """Remove documents; return how many there were."""


class Engine(Protocol):
    """A place that keeps bars. All methods may be called from any thread."""

    name: str
    # Where it is, without its password.
    url: str

    def open(self) -> None:
        """Connect, and create the schema if it does not exist.

        Raises
        ------
        StoreError
            When it cannot be reached; `StoreVersionError` when its schema is of a later version.
        """

    def move_aside(self, error: StoreError) -> None:
        """Move a wholly damaged store aside and start a new one; raise if that is impossible.

        Nothing is deleted.
        """

    def reading(self) -> AbstractContextManager[Transaction]:
        """Return a transaction that sees one state of the store."""

    def writing(self) -> AbstractContextManager[Transaction]:
        """Return a transaction that is stored when its block ends without an error."""

    def versions(self) -> tuple[str, str]:
        """Return the versions of the driver and of the server."""

    def size_bytes(self) -> int:
        """Return the size on disk."""

    def close(self) -> None:
        """Close all connections; a later call opens them again."""
