"""The TDengine engine: a server or a cluster, through its REST interface.

TDengine has no transactions. What a transaction changes is collected, and written when its block
ends, in an order in which each state between two statements is a right one; `tdengine_series` says
how. Writers of one process take turns. Writers of several processes do not: the spans of one may be
lost in the same few milliseconds, and are requested again.
"""

import json
import re
import threading
from collections.abc import Generator, Iterable
from contextlib import contextmanager

from tvDatafeed.common.fork import call_in_forked_child
from tvDatafeed.exceptions import StoreError, StoreVersionError
from tvDatafeed.protocol.series import EARLIEST_BAR_S
from tvDatafeed.store.blocks import times_in
from tvDatafeed.store.engine import SCHEMA_VERSION, Resolved
from tvDatafeed.store.key import SeriesKey
from tvDatafeed.store.records import Document, StoredSeries
from tvDatafeed.store.spans import Spans
from tvDatafeed.store.tdengine_documents import HEADS, PARTS, DocumentStates
from tvDatafeed.store.tdengine_records import (
    FIRST_ROW_MS,
    MAX_RECORD_CHARS,
    Record,
    name_of,
    read_record,
)
from tvDatafeed.store.tdengine_rest import KEEP_DAYS, Refused, TdengineRest, quoted
from tvDatafeed.store.tdengine_series import BARS, RECORDS, SeriesState

NAMES, META = "names", "meta"
# Rows of 64 KB, which a record needs, exist since this version.
_OLDEST_SERVER = (3, 0, 5)
# Super tables: the columns and the tags of each.
_TABLES = {
    BARS: (
        (
            "`ts` TIMESTAMP, `open` DOUBLE, `high` DOUBLE, `low` DOUBLE, `close` DOUBLE, "
            "`volume` DOUBLE"
        ),
        (
            "`series` VARCHAR(32), `generation` INT, `symbol` VARCHAR(128), "
            "`resolution` VARCHAR(128), `feed` VARCHAR(128)"
        ),
    ),
    RECORDS: (f"`ts` TIMESTAMP, `data` VARCHAR({MAX_RECORD_CHARS})", "`series` VARCHAR(32)"),
    NAMES: ("`ts` TIMESTAMP, `data` VARCHAR(16000)", "`asked` VARCHAR(32)"),
    HEADS: (
        "`ts` TIMESTAMP, `info` VARCHAR(16000), `data` VARCHAR(40000)",
        "`document` VARCHAR(32)",
    ),
    PARTS: ("`ts` TIMESTAMP, `data` VARCHAR(40000)", "`document` VARCHAR(32)"),
}
# How many series one statement reads: of 60 KB each they fit into one answer.
_RECORDS_AT_ONCE = 100
_DAY_MINUTES = {"m": 1440.0, "h": 24.0, "d": 1.0, "": 1.0}
_KEEP = re.compile(r"([0-9]+)([mhd]?)")


class TdengineEngine:
    """An `engine.Engine` on a TDengine database.

    Parameters
    ----------
    url
        ``tdengine://user:password@host:6041/database``, or ``tdengine+https://...``. Without TLS
        the password and the bars can be read on the way.
    timeout_s
        How long one statement may take.

    Raises
    ------
    ConfigurationError
        When the URL cannot be used.
    """

    name = "tdengine"

    def __init__(self, url: str, timeout_s: float) -> None:
        self._rest = TdengineRest(url, timeout_s)
        self.url: str = self._rest.url
        self._is_ready = False
        self._writers = threading.Lock()
        call_in_forked_child(self._forget_writers)

    def open(self) -> None:
        """See `engine.Engine`; the database is made when the user may do so."""
        if self._is_ready:
            return
        self._check_server(self.versions()[1])
        rest = self._rest
        found = rest.ask(
            "SELECT `precision`, `keep` FROM information_schema.ins_databases "
            f"WHERE `name` = {quoted(rest.database)}"
        )
        if found:
            self._check_database(*found[0])
        else:
            try:
                rest.ask(rest.create_database())
            except Refused as error:
                raise StoreError(
                    f"the database {rest.database} of the bar store {self.url} does not exist, and "
                    f"cannot be made: {error}",
                    hint=f"let an administrator run: {rest.create_database()}",
                ) from error
        self._make_tables()
        self._is_ready = True

    def move_aside(self, error: StoreError) -> None:
        """See `engine.Engine`: a server's database cannot be renamed."""
        raise StoreError(
            f"the bar store {self.url} is damaged: {error}",
            hint="name another database (TV_STORE_URL), or let an administrator repair this one",
        ) from error

    @contextmanager
    def reading(self) -> "Generator[TdengineTransaction]":
        """See `engine.Engine`: each series is seen in the state of its record when it is found."""
        self.open()
        with self._noticed():
            yield TdengineTransaction(self._rest)

    @contextmanager
    def writing(self) -> "Generator[TdengineTransaction]":
        """See `engine.Engine`; what the block has changed is written when it ends."""
        self.open()
        # Held while statements are sent: a second writer would lose the spans of the first.
        with self._writers, self._noticed():
            transaction = TdengineTransaction(self._rest)
            yield transaction
            transaction.store()

    def versions(self) -> tuple[str, str]:
        """See `engine.Engine`."""
        ((version,),) = self._rest.ask("SELECT SERVER_VERSION()")
        return "REST", str(version)

    def size_bytes(self) -> int:
        """See `engine.Engine`; 0 when the server is too old to say it (before 3.3.5)."""
        try:
            rows = self._rest.ask(
                "SELECT `wal`, `data1`, `data2`, `data3` FROM information_schema.ins_disk_usage "
                f"WHERE `db_name` = {quoted(self._rest.database)}"
            )
        except Refused:
            return 0
        return sum(int(size or 0) for row in rows for size in row) * 1024

    def close(self) -> None:
        """See `engine.Engine`; each request has a connection of its own."""

    @contextmanager
    def _noticed(self) -> Generator[None]:
        """Look for the tables again after an error."""
        try:
            yield
        except Refused:
            self._is_ready = False
            raise

    def _check_server(self, version: str) -> None:
        numbers = tuple(int(part) for part in re.findall(r"[0-9]+", version)[:3])
        if numbers and numbers < _OLDEST_SERVER:
            needed = ".".join(str(part) for part in _OLDEST_SERVER)
            raise StoreError(
                f"the bar store {self.url} has TDengine {version}, which is too old",
                hint=f"upgrade it to {needed} or later",
            )

    def _check_database(self, precision: str, keep: str) -> None:
        """Refuse a database that would remove bars, or cut their times."""
        database = self._rest.database
        if precision != "ms":
            raise StoreError(
                f"the database {database} of {self.url} has the time precision {precision!r}",
                hint=f"name another database, made by: {self._rest.create_database()}",
            )
        days = [int(count) / _DAY_MINUTES[unit] for count, unit in _KEEP.findall(str(keep))]
        needed = -EARLIEST_BAR_S / 86400.0 + 365.25 * 60
        if days and max(days) < needed:
            raise StoreError(
                f"the database {database} of {self.url} keeps {max(days):.0f} days: older bars "
                "would disappear",
                hint=f"let an administrator run: ALTER DATABASE {database} KEEP {KEEP_DAYS}",
            )

    def _make_tables(self) -> None:
        rest = self._rest
        version = self._version()
        if version is not None:
            if version > SCHEMA_VERSION:
                raise StoreVersionError(
                    f"the bar store {self.url} has schema version {version}, and this tvDatafeed "
                    f"knows {SCHEMA_VERSION}",
                    hint="upgrade tvDatafeed, or name another database (TV_STORE_URL)",
                )
            return
        for name, (columns, tags) in _TABLES.items():
            rest.ask(f"CREATE STABLE IF NOT EXISTS {rest.table(name)} ({columns}) TAGS ({tags})")
        rest.ask(f"CREATE TABLE IF NOT EXISTS {rest.table(META)} (`ts` TIMESTAMP, `version` INT)")
        # Last: a store with a version has all its tables.
        rest.ask(f"INSERT INTO {rest.table(META)} VALUES ({FIRST_ROW_MS}, {SCHEMA_VERSION})")

    def _version(self) -> int | None:
        try:
            rows = self._rest.ask(
                f"SELECT `version` FROM {self._rest.table(META)} ORDER BY `ts` DESC LIMIT 1"
            )
        except Refused as error:
            if error.is_missing_table:
                return None
            raise
        return int(rows[0][0]) if rows else None

    def _forget_writers(self) -> None:
        self._writers = threading.Lock()


class TdengineTransaction:
    """An `engine.Transaction`; `store` writes what it has changed.

    Parameters
    ----------
    rest
        The server.
    """

    def __init__(self, rest: TdengineRest) -> None:
        self._rest = rest
        self._states: dict[SeriesKey, SeriesState] = {}
        self._names: dict[tuple[str, str], Resolved] = {}
        self._documents = DocumentStates(rest)

    def find(self, key: SeriesKey) -> StoredSeries | None:
        """See `engine.Transaction`."""
        state = self._states.get(key)
        if state is None:
            state = SeriesState(self._rest, key, read_record(self._rest, key))
            self._states[key] = state
        return state.record.series if state.is_known else None

    def add(self, key: SeriesKey) -> StoredSeries:
        """See `engine.Transaction`."""
        self.find(key)
        state = self._states[key]
        state.begin()
        return state.record.series

    def all(self) -> list[StoredSeries]:
        """See `engine.Transaction`."""
        newest: dict[SeriesKey, Record] = {}
        for row in self._rows(RECORDS, "`data`", _RECORDS_AT_ONCE):
            record = Record.from_text(row[0])
            key, generation = record.series.key, record.series.generation
            if key not in newest or newest[key].series.generation < generation:
                newest[key] = record
        for key, record in newest.items():
            self._states.setdefault(key, SeriesState(self._rest, key, record))
        known = [state.record.series for state in self._states.values() if state.is_known]
        return sorted(known, key=lambda series: series.key.text)

    def save(self, series: StoredSeries) -> None:
        """See `engine.Transaction`."""
        self._state(series).take(series)

    def remove(self, series: StoredSeries) -> None:
        """See `engine.Transaction`."""
        self._state(series).remove()

    def restart(self, series: StoredSeries) -> None:
        """See `engine.Transaction`: readers of this moment keep what they see for a minute."""
        self._state(series).restart(series)

    def spans(self, series: StoredSeries) -> Spans:
        """See `engine.Transaction`."""
        return list(self._state(series).record.spans)

    def set_spans(self, series: StoredSeries, spans: Spans) -> None:
        """See `engine.Transaction`."""
        self._state(series).set_spans(spans)

    def read(
        self,
        series: StoredSeries,
        lo: float,
        hi: float,
        newest: int | None = None,
        oldest: int | None = None,
    ) -> bytes:
        """See `engine.Transaction`."""
        return self._state(series).read(lo, hi, newest, oldest)

    def write(self, series: StoredSeries, packed: bytes) -> None:
        """See `engine.Transaction`."""
        if packed:
            self._state(series).write(packed)

    def erase(self, series: StoredSeries, lo: float, hi: float) -> None:
        """See `engine.Transaction`."""
        self._state(series).erase(lo, hi)

    def beside(
        self, series: StoredSeries, lo: float, hi: float
    ) -> tuple[float | None, float | None]:
        """See `engine.Transaction`."""
        state = self._state(series)
        before = times_in(state.read(float("-inf"), lo, newest=1))
        after = times_in(state.read(hi, float("inf"), oldest=1))
        return before[0] if before else None, after[0] if after else None

    def resolved(self, asked: str, account: str) -> list[Resolved]:
        """See `engine.Transaction`."""
        rows = self._rest.ask(
            f"SELECT `data` FROM {self._rest.table(NAMES)} WHERE `asked` = {quoted(name_of(asked))}"
        )
        found: dict[str, Resolved] = {}
        for (text,) in rows:
            values = json.loads(text)
            found[values["account"]] = Resolved(values["symbol"], values["feed"])
        for (name, owner), resolved in self._names.items():
            if name == asked:
                found[owner] = resolved
        if account in found:
            return [found[account]]
        return list(dict.fromkeys(found.values()))

    def set_resolved(self, asked: str, account: str, resolved: Resolved) -> None:
        """See `engine.Transaction`."""
        self._names[asked, account] = resolved

    def document(self, symbol: str, data_type: str, timeframe: str) -> Document | None:
        """See `engine.Transaction`."""
        return self._documents.find(symbol, data_type, timeframe)

    def documents(self) -> list[Document]:
        """See `engine.Transaction`."""
        return self._documents.all(self._rows(HEADS, "`info`", _RECORDS_AT_ONCE))

    def put_document(self, document: Document) -> None:
        """See `engine.Transaction`."""
        self._documents.put(document)

    def remove_documents(self, documents: Iterable[Document]) -> int:
        """See `engine.Transaction`."""
        return self._documents.remove(documents)

    def store(self) -> None:
        """Write all changes; readers see each series and document before or after its change."""
        for state in self._states.values():
            state.store()
        for (asked, account), resolved in self._names.items():
            values = {"account": account, "symbol": resolved.symbol, "feed": resolved.feed}
            self._rest.ask(
                f"INSERT INTO {self._rest.table('n_' + name_of(asked, account))} USING "
                f"{self._rest.table(NAMES)} (`asked`) TAGS ({quoted(name_of(asked))}) VALUES "
                f"({FIRST_ROW_MS}, {quoted(json.dumps(values))})"
            )
        self._documents.store()

    def _state(self, series: StoredSeries) -> SeriesState:
        if series.key not in self._states:
            self.find(series.key)
        return self._states[series.key]

    def _rows(self, stable: str, columns: str, at_once: int) -> list[list[str]]:
        """Return the rows of all tables of a super table."""
        rest, rows = self._rest, []
        names = [name for (name,) in rest.ask(f"SELECT DISTINCT TBNAME FROM {rest.table(stable)}")]
        for start in range(0, len(names), at_once):
            some = ", ".join(quoted(name) for name in names[start : start + at_once])
            rows += rest.ask(f"SELECT {columns} FROM {rest.table(stable)} WHERE TBNAME IN ({some})")
        return rows
