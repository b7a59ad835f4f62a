"""The tables of the SQL engines: series, blocks, spans, names and documents.

Statements are written once, with ``?`` for a value; an engine translates that for its driver.
"""

import dataclasses
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from tvDatafeed.exceptions import StoreCorruptError
from tvDatafeed.store import blocks
from tvDatafeed.store.blocks import BLOCK_BARS, SMALL_BLOCK_BARS, Block, DamagedBlockError
from tvDatafeed.store.engine import SCHEMA_VERSION, Resolved
from tvDatafeed.store.key import SeriesKey
from tvDatafeed.store.records import Document, SeriesNotes, StoredSeries
from tvDatafeed.store.spans import Spans, just_after, just_before

Row = Sequence[Any]
Execute = Callable[[str, Sequence[Any]], list[Row]]


# The types that differ between the engines stand in braces.
SCHEMA = (
    "CREATE TABLE IF NOT EXISTS meta (version INTEGER NOT NULL)",
    """CREATE TABLE IF NOT EXISTS series (
        id {serial}, key TEXT NOT NULL UNIQUE, generation INTEGER NOT NULL, info TEXT NOT NULL,
        first {real}, last {real}, bars BIGINT NOT NULL, no_older INTEGER NOT NULL,
        checked {real} NOT NULL, used {real} NOT NULL, hits BIGINT NOT NULL, misses BIGINT NOT NULL)
    """,
    """CREATE TABLE IF NOT EXISTS block (
        series BIGINT NOT NULL, generation INTEGER NOT NULL, first {real} NOT NULL,
        last {real} NOT NULL, n INTEGER NOT NULL, codec INTEGER NOT NULL, crc BIGINT NOT NULL,
        data {bytes} NOT NULL, PRIMARY KEY (series, generation, first))""",
    """CREATE TABLE IF NOT EXISTS span (
        series BIGINT NOT NULL, lo {real} NOT NULL, hi {real} NOT NULL, PRIMARY KEY (series, lo))
    """,
    """CREATE TABLE IF NOT EXISTS name (
        asked TEXT NOT NULL, account TEXT NOT NULL, symbol TEXT NOT NULL, feed TEXT NOT NULL,
        PRIMARY KEY (asked, account))""",
    """CREATE TABLE IF NOT EXISTS document (
        symbol TEXT NOT NULL, data_type TEXT NOT NULL, timeframe TEXT NOT NULL,
        stored {real} NOT NULL, used {real} NOT NULL, hits BIGINT NOT NULL, data TEXT NOT NULL,
        PRIMARY KEY (symbol, data_type, timeframe))""",
)
TABLES = ("meta", "series", "block", "span", "name", "document")

_SERIES = (
    "SELECT id, key, generation, first, last, bars, no_older, checked, used, hits, misses, info "
    "FROM series"
)
_BLOCK = "SELECT first, last, n, codec, crc, data FROM block WHERE series = ? AND generation = ?"
_INSERT_BLOCKS = "INSERT INTO block (series, generation, first, last, n, codec, crc, data) VALUES"
_OR_REPLACE_BLOCKS = (
    "ON CONFLICT (series, generation, first) DO UPDATE SET last = excluded.last, n = excluded.n, "
    "codec = excluded.codec, crc = excluded.crc, data = excluded.data"
)
# Of the last blocks, two grow; where more are not full, the next ones are read too.
_SPARE_BLOCKS = 2
# In a statement: each is a round trip to a server, and some databases have a limit on values.
_INSERTED_BLOCKS = 64


def make_tables(execute: Execute, **types: str) -> None:
    """Make the tables that do not exist, and record the version of the schema."""
    for statement in SCHEMA:
        execute(statement.format_map(types), ())
    if not execute("SELECT version FROM meta", ()):
        execute("INSERT INTO meta (version) VALUES (?)", (SCHEMA_VERSION,))


class TableTransaction:
    """A `Transaction` on these tables.

    Parameters
    ----------
    execute
        Runs a statement with its values, and returns all rows.
    row_lock
        What a statement ends with that locks the rows it reads: " FOR UPDATE" or nothing.
    """

    def __init__(self, execute: Execute, *, row_lock: str = "") -> None:
        self._execute = execute
        self._row_lock = row_lock
        # As they are in this transaction.
        self._found: dict[SeriesKey, StoredSeries] = {}
        self._spans: dict[int, Spans] = {}

    def find(self, key: SeriesKey) -> StoredSeries | None:
        """See `engine.Transaction`."""
        found = self._found.get(key)
        if found is None:
            rows = self._execute(f"{_SERIES} WHERE key = ?{self._row_lock}", (key.text,))
            if rows:
                found = self._found[key] = _series(rows[0], key)
        return found

    def add(self, key: SeriesKey) -> StoredSeries:
        """See `engine.Transaction`."""
        found = self.find(key)
        if found is None:
            new = StoredSeries(0, key)
            # The update locks one that another program has just made, so that it stays.
            self._execute(
                "INSERT INTO series (key, generation, info, bars, no_older, checked, used, hits, "
                "misses) VALUES (?, 0, ?, 0, 0, 0, 0, 0, 0) "
                "ON CONFLICT (key) DO UPDATE SET generation = series.generation",
                (key.text, _notes_text(new.info)),
            )
            found = self.find(key)
        if found is None:
            raise StoreCorruptError(f"the series {key.text} cannot be made")
        return found

    def all(self) -> list[StoredSeries]:
        """See `engine.Transaction`; when writing, all are locked, in the order of their numbers."""
        rows = self._execute(f"{_SERIES} ORDER BY id{self._row_lock}", ())
        return [_series(row, SeriesKey.from_text(row[1])) for row in rows]

    def save(self, series: StoredSeries) -> None:
        """See `engine.Transaction`."""
        self._execute(
            "UPDATE series SET info = ?, first = ?, last = ?, bars = ?, no_older = ?, checked = ?, "
            "used = ?, hits = ?, misses = ? WHERE id = ?",
            (
                _notes_text(series.info),
                series.first,
                series.last,
                series.bars,
                int(series.no_older),
                series.checked_s,
                series.used_s,
                series.hits,
                series.misses,
                series.id,
            ),
        )
        self._found[series.key] = series

    def remove(self, series: StoredSeries) -> None:
        """See `engine.Transaction`."""
        self._execute("DELETE FROM block WHERE series = ?", (series.id,))
        self._execute("DELETE FROM span WHERE series = ?", (series.id,))
        self._execute("DELETE FROM series WHERE id = ?", (series.id,))
        self._found.pop(series.key, None)

    def restart(self, series: StoredSeries) -> None:
        """See `engine.Transaction`: readers of this moment keep what they see."""
        series.generation += 1
        series.no_older = False
        self._execute(
            "UPDATE series SET generation = ? WHERE id = ?", (series.generation, series.id)
        )
        self._execute(
            "DELETE FROM block WHERE series = ? AND generation < ?", (series.id, series.generation)
        )
        self.set_spans(series, [])
        self._count(series)
        self.save(series)

    def spans(self, series: StoredSeries) -> Spans:
        """See `engine.Transaction`."""
        known = self._spans.get(series.id)
        if known is None:
            query = "SELECT lo, hi FROM span WHERE series = ? ORDER BY lo"
            known = [(lo, hi) for lo, hi in self._execute(query, (series.id,))]
            self._spans[series.id] = known
        return list(known)

    def set_spans(self, series: StoredSeries, spans: Spans) -> None:
        """See `engine.Transaction`."""
        before = dict(self.spans(series))
        after = dict(spans)
        for lo in before.keys() - after.keys():
            self._execute("DELETE FROM span WHERE series = ? AND lo = ?", (series.id, lo))
        for lo, hi in after.items():
            if before.get(lo) != hi:
                self._execute(
                    "INSERT INTO span (series, lo, hi) VALUES (?, ?, ?) "
                    "ON CONFLICT (series, lo) DO UPDATE SET hi = excluded.hi",
                    (series.id, lo, hi),
                )
        self._spans[series.id] = list(spans)

    def read(
        self,
        series: StoredSeries,
        lo: float,
        hi: float,
        newest: int | None = None,
        oldest: int | None = None,
    ) -> bytes:
        """See `engine.Transaction`."""
        query = f"{_BLOCK} AND last >= ? AND first <= ? ORDER BY first"
        values = [series.id, series.generation, lo, hi]
        count = oldest if newest is None else newest
        if count is None:
            return blocks.between(self._joined(series, self._execute(query, values)), lo, hi)
        query += "" if newest is None else " DESC"
        limit, found, start = count // BLOCK_BARS + _SPARE_BLOCKS, 0, 0
        needed: list[Row] = []
        while found < count:
            rows = self._execute(f"{query} LIMIT {limit} OFFSET {start}", values)
            for row in rows:
                if found < count:
                    needed.append(row)
                    found += row[2] if row[0] >= lo and row[1] <= hi else 0
            if len(rows) < limit:
                break
            start += limit
        size = count * blocks.ROW_BYTES
        packed = blocks.between(self._joined(series, needed), lo, hi)
        if not size:
            return b""
        return packed[:size] if newest is None else packed[-size:]

    def write(self, series: StoredSeries, packed: bytes) -> None:
        """See `engine.Transaction`.

        The blocks that the bars reach into, and those beside them that are not full, are divided
        again. Bars that are appended a few at a time first grow a small block of their own.
        """
        if not packed:
            return
        times = blocks.times_in(packed)
        if series.last is not None and times[0] > series.last:
            beside = self._last_blocks(series, len(times))
        else:
            beside = self._beside(series, times[0], times[-1])
        old = self._joined(series, beside)
        whole = blocks.merged(old, packed)
        whole_times = blocks.times_in(whole)
        first, last = whole_times[0], whole_times[-1]
        is_newest = series.last is None or last >= series.last
        made = blocks.make_blocks(whole, is_newest=is_newest)
        kept = {block.first for block in made}
        self._remove_blocks(series, [row[0] for row in beside if row[0] not in kept])
        self._insert(series, made)
        series.first = first if series.first is None else min(first, series.first)
        series.last = last if series.last is None else max(last, series.last)
        series.bars += (len(whole) - len(old)) // blocks.ROW_BYTES

    def erase(self, series: StoredSeries, lo: float, hi: float) -> None:
        """See `engine.Transaction`."""
        rows = self._execute(
            f"{_BLOCK} AND last >= ? AND first <= ?", (series.id, series.generation, lo, hi)
        )
        for row in rows:
            self._remove_blocks(series, [row[0]])
            if lo <= row[0] and row[1] <= hi:
                continue
            packed = _packed(series, row)
            times = blocks.times_in(packed)
            kept = (
                blocks.between(packed, times[0], just_before(lo)),
                blocks.between(packed, just_after(hi), times[-1]),
            )
            made = [blocks.make_block(piece, grows=False) for piece in kept if piece]
            self._insert(series, made)
        self._count(series)

    def beside(
        self, series: StoredSeries, lo: float, hi: float
    ) -> tuple[float | None, float | None]:
        """See `engine.Transaction`."""
        where = "FROM block WHERE series = ? AND generation = ?"
        ours = (series.id, series.generation)
        ((before,),) = self._execute(f"SELECT MAX(last) {where} AND last < ?", (*ours, lo))
        ((after,),) = self._execute(f"SELECT MIN(first) {where} AND first > ?", (*ours, hi))
        return before, after

    def resolved(self, asked: str, account: str) -> list[Resolved]:
        """See `engine.Transaction`."""
        rows = self._execute("SELECT account, symbol, feed FROM name WHERE asked = ?", (asked,))
        own = [Resolved(symbol, feed) for owner, symbol, feed in rows if owner == account]
        return own or list(dict.fromkeys(Resolved(symbol, feed) for _owner, symbol, feed in rows))

    def set_resolved(self, asked: str, account: str, resolved: Resolved) -> None:
        """See `engine.Transaction`."""
        self._execute(
            "INSERT INTO name (asked, account, symbol, feed) VALUES (?, ?, ?, ?) ON CONFLICT "
            "(asked, account) DO UPDATE SET symbol = excluded.symbol, feed = excluded.feed",
            (asked, account, *resolved),
        )

    def document(self, symbol: str, data_type: str, timeframe: str) -> Document | None:
        """See `engine.Transaction`."""
        rows = self._execute(
            "SELECT symbol, data_type, timeframe, stored, used, hits, data FROM document "
            "WHERE symbol = ? AND data_type = ? AND timeframe = ?",
            (symbol, data_type, timeframe),
        )
        return Document(*rows[0]) if rows else None

    def documents(self) -> list[Document]:
        """See `engine.Transaction`."""
        rows = self._execute(
            "SELECT symbol, data_type, timeframe, stored, used, hits, '' FROM document "
            "ORDER BY symbol, data_type, timeframe",
            (),
        )
        return [Document(*row) for row in rows]

    def put_document(self, document: Document) -> None:
        """See `engine.Transaction`."""
        self._execute(
            "INSERT INTO document (symbol, data_type, timeframe, stored, used, hits, data) "
            "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (symbol, data_type, timeframe) DO UPDATE "
            "SET stored = excluded.stored, used = excluded.used, hits = excluded.hits, "
            "data = excluded.data",
            dataclasses.astuple(document),
        )

    def remove_documents(self, documents: Iterable[Document]) -> int:
        """See `engine.Transaction`."""
        names = [(d.symbol, d.data_type, d.timeframe) for d in documents]
        for name in names:
            self._execute(
                "DELETE FROM document WHERE symbol = ? AND data_type = ? AND timeframe = ?", name
            )
        return len(names)

    def _last_blocks(self, series: StoredSeries, count: int) -> list[Row]:
        """Return the last blocks to which the bars are appended: empty for a new block."""
        query, ours = f"{_BLOCK} ORDER BY first DESC", (series.id, series.generation)
        last = self._execute(f"{query} LIMIT 1", ours)
        bars = last[0][2] if last else BLOCK_BARS
        if count <= SMALL_BLOCK_BARS < bars:
            return []
        if bars <= SMALL_BLOCK_BARS < bars + count:
            last = self._execute(f"{query} LIMIT 2", ours)[::-1]
        return [row for row in last if row[2] < BLOCK_BARS]

    def _beside(self, series: StoredSeries, first: float, last: float) -> list[Row]:
        """Return the blocks that overlap a range, and neighbours that are not full."""
        ours = (series.id, series.generation)
        reached = self._execute(
            f"{_BLOCK} AND last >= ? AND first <= ? ORDER BY first", (*ours, first, last)
        )
        lower = self._execute(f"{_BLOCK} AND last < ? ORDER BY first DESC LIMIT 1", (*ours, first))
        upper = self._execute(f"{_BLOCK} AND first > ? ORDER BY first LIMIT 1", (*ours, last))
        return [row for row in (*lower, *reached, *upper) if row in reached or row[2] < BLOCK_BARS]

    def _insert(self, series: StoredSeries, made: Sequence[Block]) -> None:
        for start in range(0, len(made), _INSERTED_BLOCKS):
            some = made[start : start + _INSERTED_BLOCKS]
            marks = ", ".join(["(?, ?, ?, ?, ?, ?, ?, ?)"] * len(some))
            self._execute(
                f"{_INSERT_BLOCKS} {marks} {_OR_REPLACE_BLOCKS}",
                [value for block in some for value in (series.id, series.generation, *block)],
            )

    def _remove_blocks(self, series: StoredSeries, firsts: Iterable[float]) -> None:
        for first in firsts:
            self._execute(
                "DELETE FROM block WHERE series = ? AND generation = ? AND first = ?",
                (series.id, series.generation, first),
            )

    def _count(self, series: StoredSeries) -> None:
        """Count the bars of a series again, after some were removed."""
        ((series.first, series.last, bars),) = self._execute(
            "SELECT MIN(first), MAX(last), SUM(n) FROM block WHERE series = ? AND generation = ?",
            (series.id, series.generation),
        )
        series.bars = int(bars or 0)

    def _joined(self, series: StoredSeries, rows: Iterable[Row]) -> bytes:
        ascending = sorted(rows, key=lambda row: row[0])
        return b"".join(_packed(series, row) for row in ascending)


def _packed(series: StoredSeries, row: Row) -> bytes:
    first, last, n, codec, crc, data = row
    try:
        return blocks.read_block(Block(first, last, n, codec, crc, bytes(data)))
    except DamagedBlockError as error:
        raise StoreCorruptError(
            f"a block of {series.key.symbol} {series.key.interval} is damaged: {error}",
            damaged=(series.key.text, first, last),
        ) from error


def _series(row: Row, key: SeriesKey) -> StoredSeries:
    number, _key, generation, first, last, bars, no_older, checked, used, hits, misses, info = row
    return StoredSeries(
        number,
        key,
        generation,
        first,
        last,
        int(bars),
        bool(no_older),
        checked,
        used,
        int(hits),
        int(misses),
        _notes(info),
    )


def _notes(text: str) -> SeriesNotes:
    try:
        values = msgspec.json.decode(text)
    except msgspec.DecodeError:
        # `json` has written NaN, or half of a surrogate pair.
        values = json.loads(text)
    return SeriesNotes(**values)


def _notes_text(notes: SeriesNotes) -> str:
    # Without a copy of the whole description, as dataclasses.asdict makes.
    return json.dumps(vars(notes), separators=(",", ":"))
