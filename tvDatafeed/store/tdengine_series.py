"""One series in TDengine: its record, its table of bars, and how both are written without a lock.

There are no transactions. These rules make every state that a reader can meet a right one:

- The **record** is one row, written in one statement: the name of the table of bars, the spans,
  and the ranges of time for which the table is vouched. Bars outside these ranges are not read, so
  that bars of a writer that was stopped, or has lost against another, are never seen.
- Bars are written **before** the record that vouches for them. A bar that replaces another is
  written over it; bars that are gone are removed after all others were written.
- A restatement makes a **table of its own**, with a name that no other writer can choose, and then
  a record with a higher generation, which is the one that counts. The old table is removed a
  minute after that, so that readers of the old record still find it.
- A table is made by who has chosen its name, never by an insert: a writer that comes late, after
  the series was removed, gets an error. A record whose table is missing is damage, which is
  forgotten and asked for again.
- Two writers of one record: each reads it once more before it is written and adds what the other
  has added. If both do so in the same few milliseconds, the spans of one are lost, and with them
  its bars; these are requested again. A span is never kept without its bars.
"""

import dataclasses
import math
import struct
import time
import uuid
from typing import Any

from tvDatafeed.exceptions import StoreCorruptError, StoreError, StoreLockedError
from tvDatafeed.store.blocks import ROW_BYTES, between, merged, times_in
from tvDatafeed.store.key import SeriesKey
from tvDatafeed.store.records import StoredSeries
from tvDatafeed.store.spans import Span, Spans, added
from tvDatafeed.store.tdengine_ranges import (
    EVERYTHING,
    intersected,
    is_inside,
    milliseconds,
    runs,
    union,
    whole_range,
    without,
    without_all,
)
from tvDatafeed.store.tdengine_records import (
    FIRST_ROW_MS,
    MAX_RECORD_CHARS,
    Record,
    read_record,
    record_table,
    series_id,
    table_name,
)
from tvDatafeed.store.tdengine_rest import (
    MAX_STATEMENT_BYTES,
    Refused,
    TdengineRest,
    number,
    quoted,
)

BARS, RECORDS = "bars", "series"
# How long a replaced table stays for its readers.
_GRACE_S = 60.0
# About 4 MB of JSON; an answer has at most 8.
PAGE_ROWS = 40_000
_ROW = struct.Struct("6d")
_BAR_COLUMNS = "CAST(`ts` AS BIGINT), `open`, `high`, `low`, `close`, `volume`"
_MAX_TAG_CHARS = 120


class SeriesState:
    """A series in one transaction: the stored state, and the state to store.

    Parameters
    ----------
    rest
        The server.
    key
        The series.
    record
        Its record; None when there is none yet.
    """

    def __init__(self, rest: TdengineRest, key: SeriesKey, record: Record | None) -> None:
        self._rest = rest
        self.key = key
        self._name = table_name(key)
        self._before = record
        self.is_changed: bool = False
        self.is_removed: bool = False
        self._pending = b""
        self._erased: Spans = []
        self._has_table = record is not None
        self.record: Record = record or Record(
            StoredSeries(series_id(key), key), self._new_table(0)
        )
        if record is not None:
            self._before = dataclasses.replace(record, series=dataclasses.replace(record.series))
        # The vouched ranges of the table in which nothing was replaced.
        self._kept: Spans = list(self.record.vouched)

    @property
    def is_known(self) -> bool:
        """Whether the series exists."""
        return not self.is_removed and (self._before is not None or self.is_changed)

    def begin(self) -> None:
        """Create the series if it does not exist."""
        if self.is_removed:
            self.is_removed = False
            self._restart()
        self.is_changed = self.is_changed or self._before is None

    def take(self, series: StoredSeries) -> None:
        """Note the attributes of a series."""
        self.record.series = series
        self.is_changed = True

    def remove(self) -> None:
        """Remove the series."""
        self.is_removed = self.is_changed = True

    def restart(self, series: StoredSeries) -> None:
        """Begin another generation."""
        self.take(series)
        self._restart()

    def _restart(self) -> None:
        series, old = self.record.series, self.record
        series.generation += 1
        series.no_older, series.first, series.last, series.bars = False, None, None, 0
        replaced = [*old.replaced, (old.table, time.time())] if self._has_table else old.replaced
        self.record = Record(series, self._new_table(series.generation), [], [], replaced)
        self._kept, self._erased, self._pending, self._has_table = [], [], b"", False

    def set_spans(self, spans: Spans) -> None:
        """Replace the answered ranges."""
        self.record.spans = list(spans)
        self.record.vouched = union(self.record.vouched, spans)
        self.is_changed = True

    def read(
        self, lo: float, hi: float, newest: int | None = None, oldest: int | None = None
    ) -> bytes:
        """Return bars; see `engine.Transaction.read`."""
        count = oldest if newest is None else newest
        if count is not None and count <= 0:
            return b""
        found = b""
        ranges = list(intersected(self._kept, (lo, hi)))
        for place in reversed(ranges) if newest is not None else ranges:
            missing = None if count is None else count - len(found) // ROW_BYTES
            more = self._stored(place, missing, is_newest=newest is not None)
            found = more + found if newest is not None else found + more
            if count is not None and len(found) >= count * ROW_BYTES:
                break
        found = merged(found, between(self._pending, lo, hi))
        if count is None:
            return found
        return found[-count * ROW_BYTES :] if newest is not None else found[: count * ROW_BYTES]

    def write(self, packed: bytes) -> None:
        """Add bars."""
        times = times_in(packed)
        first, last = times[0], times[-1]
        for moment in times:
            milliseconds(moment)
        old = set(times_in(self.read(first, last)))
        self._pending = merged(self._pending, packed)
        series, record = self.record.series, self.record
        series.bars += len(set(times) - old)
        series.first = first if series.first is None else min(first, series.first)
        series.last = last if series.last is None else max(last, series.last)
        record.vouched = added(record.vouched, (first, last))
        self.is_changed = True

    def erase(self, lo: float, hi: float) -> None:
        """Remove bars."""
        lo, hi = max(lo, EVERYTHING[0]), min(hi, EVERYTHING[1])
        try:
            gone = len(self.read(lo, hi)) // ROW_BYTES
        except StoreCorruptError:
            # Its table is missing: nothing is left to erase, and another one begins.
            self._restart()
            self.is_changed = True
            return
        self._erased = added(self._erased, (lo, hi))
        self._kept = list(without(self._kept, (lo, hi)))
        self.record.vouched = list(without(self.record.vouched, (lo, hi)))
        times = times_in(self._pending)
        if times:
            self._pending = between(
                self._pending, -math.inf, math.nextafter(lo, -math.inf)
            ) + between(self._pending, math.nextafter(hi, math.inf), math.inf)
        series = self.record.series
        series.bars -= gone
        if gone:
            series.first = _time_of(self.read(*EVERYTHING, oldest=1))
            series.last = _time_of(self.read(*EVERYTHING, newest=1))
        self.is_changed = True

    def store(self) -> None:
        """Write what has changed: bars, then the record."""
        if not self.is_changed:
            return
        if self.is_removed:
            self._drop_all()
            return
        if self._before is None:
            self._adopt(read_record(self._rest, self.key))
        has_table, self._has_table = self._has_table, True
        if not has_table:
            self._make_table()
        self._insert_bars()
        if has_table:
            self._remove_strays()
        self._join(read_record(self._rest, self.key))
        self._drop_replaced()
        self._write_record()

    def _stored(self, place: Span, count: int | None, *, is_newest: bool) -> bytes:
        """Return bars of the table, ascending; at most `count` from one end of the range."""
        lo, hi = whole_range(place)
        rows: list[tuple[Any, ...]] = []
        order = "DESC" if is_newest else "ASC"
        while lo <= hi:
            limit = PAGE_ROWS if count is None else min(count - len(rows), PAGE_ROWS)
            page = self._ask_bars(
                f"SELECT {_BAR_COLUMNS} FROM {self._rest.table(self.record.table)} "
                f"WHERE `ts` >= {lo} AND `ts` <= {hi} ORDER BY `ts` {order} LIMIT {limit}"
            )
            rows += page
            # A server may send fewer rows than requested: only an empty page is the end.
            if not page or (count is not None and len(rows) >= count) or self._is_end(page, order):
                break
            lo, hi = (lo, page[-1][0] - 1) if is_newest else (page[-1][0] + 1, hi)
        if is_newest:
            rows.reverse()
        pack, nan = _ROW.pack, math.nan
        return b"".join(
            pack(ms / 1000.0, *(nan if value is None else value for value in values))
            for ms, *values in rows
        )

    def _is_end(self, page: list[tuple[Any, ...]], order: str) -> bool:
        series = self.record.series
        last = series.last if order == "ASC" else series.first
        return last is not None and page[-1][0] == milliseconds(last)

    def _ask_bars(self, statement: str) -> list[tuple[Any, ...]]:
        try:
            return self._rest.ask_bars(statement)
        except Refused as error:
            if not error.is_missing_table:
                raise
            self._raise_missing(error)
            raise

    def _raise_missing(self, error: Refused) -> None:
        now = read_record(self._rest, self.key)
        name = f"{self.key.symbol} {self.key.interval}"
        if now is None or now.table != self.record.table:
            raise StoreLockedError(
                f"the stored bars of {name} were replaced by another program while they were read",
                hint="try again",
            ) from error
        raise StoreCorruptError(
            f"the table with the bars of {name} is missing",
            damaged=(self.key.text, *EVERYTHING),
        ) from error

    def _make_table(self) -> None:
        key = self.key
        tags = ", ".join(
            [
                quoted(self._name),
                str(self.record.series.generation),
                quoted(_shown(key.symbol)),
                quoted(_shown(key.interval)),
                quoted(_shown(key.feed)),
            ]
        )
        self._rest.ask(
            f"CREATE TABLE {self._rest.table(self.record.table)} USING {self._rest.table(BARS)} "
            f"(`series`, `generation`, `symbol`, `resolution`, `feed`) TAGS ({tags})"
        )

    def _insert_bars(self) -> None:
        head = f"INSERT INTO {self._rest.table(self.record.table)} VALUES"
        rows: list[str] = []
        size = len(head)
        for moment, *values in _ROW.iter_unpack(self._pending):
            numbers = ", ".join(number(value) for value in values)
            row = f" ({milliseconds(moment)}, {numbers})"
            if size + len(row) > MAX_STATEMENT_BYTES:
                self._rest.ask(head + "".join(rows))
                rows, size = [], len(head)
            rows.append(row)
            size += len(row)
        if rows:
            self._rest.ask(head + "".join(rows))

    def _remove_strays(self) -> None:
        """Remove the bars in newly confirmed ranges that do not belong to the series."""
        old = self._kept_before()
        ranges: Spans = []
        for span in self.record.vouched:
            ranges += without_all([span], old)
        for span in self._erased:
            ranges = added(ranges, span)
        table = self._rest.table(self.record.table)
        for span in ranges:
            lo, hi = whole_range(span)
            if lo > hi:
                continue
            where = f"WHERE `ts` >= {lo} AND `ts` <= {hi}"
            expected = times_in(between(self._pending, *span))
            counted = self._rest.ask(f"SELECT COUNT(*) FROM {table} {where}")
            # Some versions answer without a row when they count none.
            count = int(counted[0][0] or 0) if counted else 0
            if count < len(expected):
                raise StoreError(
                    f"the bar store {self._rest.url} has kept {count} of {len(expected)} bars",
                    hint="check the database's KEEP and its disks",
                )
            if count == len(expected):
                continue
            wanted = {milliseconds(moment) for moment in expected}
            for first, last in runs(self._times(lo, hi), wanted):
                self._rest.ask(f"DELETE FROM {table} WHERE `ts` >= {first} AND `ts` <= {last}")

    def _kept_before(self) -> Spans:
        """Return the ranges that were vouched before, except what was erased."""
        if self._before is None or self._before.table != self.record.table:
            return []
        return without_all(self._before.vouched, self._erased)

    def _times(self, lo: int, hi: int) -> list[int]:
        table, found = self._rest.table(self.record.table), []
        while lo <= hi:
            page = self._rest.ask(
                f"SELECT CAST(`ts` AS BIGINT) FROM {table} WHERE `ts` >= {lo} AND `ts` <= {hi} "
                f"ORDER BY `ts` ASC LIMIT {PAGE_ROWS}"
            )
            if not page:
                break
            found += [int(row[0]) for row in page]
            lo = found[-1] + 1
        return found

    def _adopt(self, theirs: Record | None) -> None:
        """Continue with the record that another writer has made meanwhile."""
        if theirs is None:
            return
        ours = self.record
        self._before = Record(
            dataclasses.replace(theirs.series, hits=0, misses=0, bars=0), theirs.table
        )
        self._has_table, ours.table = True, theirs.table
        ours.series.generation = theirs.series.generation
        self._join(theirs)

    def _join(self, theirs: Record | None) -> None:
        """Add what another writer has stored since this transaction has read the record."""
        before, ours = self._before, self.record
        if before is None:
            if theirs is not None:
                raise self._overtaken("made")
            return
        if theirs is None:
            raise self._overtaken("removed")
        if theirs.table != before.table:
            raise self._overtaken("restated")
        if ours.table != theirs.table:
            return  # A restatement replaces all of it.
        news = [span for span in theirs.vouched if not is_inside(span, before.vouched)]
        if news:
            ours.spans = union(ours.spans, without_all(theirs.spans, self._erased))
            ours.vouched = union(ours.vouched, without_all(theirs.vouched, self._erased))
            ours.vouched = union(ours.vouched, ours.spans)
        series, their, old = ours.series, theirs.series, before.series
        series.bars += their.bars - old.bars
        series.first = _pick(min, series.first, their.first) if news else series.first
        series.last = _pick(max, series.last, their.last) if news else series.last
        series.hits += their.hits - old.hits
        series.misses += their.misses - old.misses
        series.info.names = list(dict.fromkeys([*their.info.names, *series.info.names]))
        ours.replaced = theirs.replaced
        self._before = dataclasses.replace(theirs, series=dataclasses.replace(their))

    def _overtaken(self, how: str) -> StoreLockedError:
        return StoreLockedError(
            f"the stored series {self.key.symbol} {self.key.interval} was {how} by another program "
            "while it was written",
            hint="try again",
        )

    def _write_record(self) -> None:
        record = self.record
        text = record.text
        while len(text) > MAX_RECORD_CHARS and record.spans:
            # Ranges that are not known to be answered are requested again.
            record.spans = record.spans[len(record.spans) // 2 + 1 :]
            record.vouched = list(record.spans)
            text = record.text
        if len(text) > MAX_RECORD_CHARS:
            raise StoreError(f"the description of {self.key.symbol} is too long for TDengine")
        using = ""
        if self._before is None:
            using = f" USING {self._rest.table(RECORDS)} (`series`) TAGS ({quoted(self._name)})"
        self._rest.ask(
            f"INSERT INTO {self._rest.table(record_table(self.key))}{using} VALUES "
            f"({FIRST_ROW_MS + record.series.generation}, {quoted(text)})"
        )

    def _drop_replaced(self) -> None:
        now_s, left = time.time(), []
        for table, since_s in self.record.replaced:
            if 0.0 <= now_s - since_s < _GRACE_S:
                left.append((table, since_s))
            else:
                self._rest.ask(f"DROP TABLE IF EXISTS {self._rest.table(table)}")
        self.record.replaced = left

    def _drop_all(self) -> None:
        self._rest.ask(f"DROP TABLE IF EXISTS {self._rest.table(record_table(self.key))}")
        found = self._rest.ask(
            f"SELECT DISTINCT TBNAME FROM {self._rest.table(BARS)} "
            f"WHERE `series` = {quoted(self._name)}"
        )
        for (table,) in found:
            self._rest.ask(f"DROP TABLE IF EXISTS {self._rest.table(table)}")

    def _new_table(self, generation: int) -> str:
        return f"b_{self._name}_{generation}_{uuid.uuid4().hex[:12]}"


def _shown(text: str) -> str:
    """Return a text for people who look into the database; nothing reads it."""
    return "".join(c if " " <= c <= "~" else "?" for c in text)[:_MAX_TAG_CHARS]


def _time_of(packed: bytes) -> float | None:
    return times_in(packed)[0] if packed else None


def _pick(choose: Any, one: float | None, other: float | None) -> float | None:
    known = [value for value in (one, other) if value is not None]
    return choose(known) if known else None
