"""The tables of the loopback TDengine, in memory."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import singledispatchmethod
from operator import eq, ge, gt, le, lt
from typing import Any

from tvDatafeed.testing.tdengine import errors
from tvDatafeed.testing.tdengine.errors import SqlError
from tvDatafeed.testing.tdengine.statements import (
    AlterDatabase,
    Column,
    Condition,
    CreateChild,
    CreateDatabase,
    CreateTable,
    Delete,
    Drop,
    DropDatabase,
    Insert,
    Name,
    Select,
    ServerVersion,
    Using,
    Value,
    parse,
)

MAX_STATEMENT_CHARS = 1_048_576
_MAX_ROW_BYTES, _MAX_TAG_BYTES, _MAX_KEEP_DAYS = 65_531, 16_384, 365_000
_DEFAULT_KEEP_DAYS = 3650
_DAY_MS, _LATEST_MS = 86_400_000, 31_556_995_200_000
_BYTES = {"TIMESTAMP": 8, "INT": 4, "BIGINT": 8, "DOUBLE": 8}
_RANGES = {"INT": 2**31, "BIGINT": 2**63, "TIMESTAMP": 2**63}
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {"=": eq, "<": lt, "<=": le, ">": gt, ">=": ge}
_SYSTEM = "information_schema"

Row = list[Value]


@dataclass(frozen=True)
class Result:
    """The answer to a statement: columns with type and length, and rows."""

    columns: list[tuple[str, str, int]]
    rows: list[Row]


@dataclass
class _Table:
    """A table; a child has the columns of its super table, and values for its tags."""

    columns: tuple[Column, ...]
    stable: str = ""
    tags: dict[str, Value] = field(default_factory=dict)
    rows: dict[int, tuple[Value, ...]] = field(default_factory=dict)


@dataclass
class _Database:
    """A database and its options."""

    keep_days: int = _DEFAULT_KEEP_DAYS
    precision: str = "ms"
    stables: dict[str, CreateTable] = field(default_factory=dict)
    tables: dict[str, _Table] = field(default_factory=dict)


class Server:
    """All databases.

    Parameters
    ----------
    version
        What SERVER_VERSION answers.
    can_create
        Whether users may make and change databases.
    clock
        Returns the time in epoch seconds, for KEEP.
    """

    def __init__(
        self, version: str, *, can_create: bool = True, clock: Callable[[], float] = time.time
    ) -> None:
        self.version = version
        self.can_create = can_create
        self.row_limit: int | None = None
        self._clock = clock
        self._databases: dict[str, _Database] = {}

    def run(self, sql: str) -> Result:
        """Run a statement.

        Raises
        ------
        SqlError
            When a TDengine would refuse it, or when it is not understood.
        """
        if len(sql) > MAX_STATEMENT_CHARS:
            raise SqlError(errors.TOO_LONG_STATEMENT)
        return self._run(parse(sql))

    @singledispatchmethod
    def _run(self, statement: Any) -> Result:
        raise errors.syntax_error(type(statement).__name__)

    @_run.register
    def _(self, _statement: ServerVersion) -> Result:
        return Result([("server_version()", "VARCHAR", len(self.version))], [[self.version]])

    @_run.register
    def _(self, statement: CreateDatabase) -> Result:
        self._check_rights()
        if statement.name in self._databases:
            if statement.if_not_exists:
                return _affected(0)
            raise SqlError(errors.DATABASE_EXISTS)
        database = _Database()
        _set_options(database, statement.options)
        self._databases[statement.name] = database
        return _affected(0)

    @_run.register
    def _(self, statement: AlterDatabase) -> Result:
        self._check_rights()
        if "PRECISION" in statement.options:
            raise errors.syntax_error("PRECISION")
        _set_options(self._database(statement.name), statement.options)
        return _affected(0)

    @_run.register
    def _(self, statement: DropDatabase) -> Result:
        self._check_rights()
        if not statement.if_exists:
            self._database(statement.name)
        self._databases.pop(statement.name, None)
        return _affected(0)

    @_run.register
    def _(self, statement: CreateTable) -> Result:
        database = self._database(statement.name.database)
        name = statement.name.table
        if name in database.tables or name in database.stables:
            if statement.if_not_exists:
                return _affected(0)
            raise SqlError(errors.TABLE_EXISTS)
        _check_columns(statement)
        if statement.tags:
            database.stables[name] = statement
        else:
            database.tables[name] = _Table(statement.columns)
        return _affected(0)

    @_run.register
    def _(self, statement: CreateChild) -> Result:
        database = self._database(statement.name.database)
        name = statement.name.table
        if name in database.tables or name in database.stables:
            if statement.if_not_exists:
                return _affected(0)
            raise SqlError(errors.TABLE_EXISTS)
        database.tables[name] = self._child(statement.using, statement.name.database)
        return _affected(0)

    @_run.register
    def _(self, statement: Insert) -> Result:
        database = self._database(statement.name.database)
        table = database.tables.get(statement.name.table)
        is_new = table is None
        if table is None:
            if statement.using is None:
                raise SqlError(errors.NO_TABLE)
            table = self._child(statement.using, statement.name.database)
        elif statement.using and table.stable != statement.using.stable.table:
            raise SqlError(errors.OTHER_STABLE)
        names = statement.columns or tuple(column.name for column in table.columns)
        columns = {column.name: column for column in table.columns}
        if not set(names) <= set(columns) or len(set(names)) != len(names):
            raise SqlError(errors.BAD_COLUMN)
        oldest_ms = self._clock() * 1000.0 - database.keep_days * _DAY_MS
        # All rows are checked before the first one is kept.
        rows = {}
        for values in statement.rows:
            if len(values) != len(names):
                raise errors.syntax_error(str(values))
            given = dict(zip(names, values, strict=True))
            row = tuple(_checked(c, given.get(c.name)) for c in table.columns)
            when = row[0]
            if not isinstance(when, int):
                raise SqlError(errors.BAD_VALUE)
            if not oldest_ms <= when <= _LATEST_MS:
                raise SqlError(errors.OUT_OF_RANGE)
            rows[when] = _updated(table.rows.get(when), row, table.columns, names)
        if is_new:
            database.tables[statement.name.table] = table
        table.rows.update(rows)
        return _affected(len(statement.rows))

    @_run.register
    def _(self, statement: Delete) -> Result:
        database = self._database(statement.name.database)
        deleted = 0
        for table in self._tables(database, statement.name.table).values():
            first = table.columns[0].name
            if any(condition.column != first for condition in statement.where):
                raise SqlError(
                    0x2655, "The DELETE statement must have a definite time window range"
                )
            gone = [ms for ms in table.rows if _holds(statement.where, {first: ms})]
            deleted += len(gone)
            for ms in gone:
                del table.rows[ms]
        return _affected(deleted)

    @_run.register
    def _(self, statement: Drop) -> Result:
        database, name = self._database(statement.name.database), statement.name.table
        if name in database.stables:
            raise SqlError(errors.NO_TABLE)
        if name not in database.tables and not statement.if_exists:
            raise SqlError(errors.NO_TABLE)
        database.tables.pop(name, None)
        return _affected(0)

    @_run.register
    def _(self, statement: Select) -> Result:
        if statement.name.database == _SYSTEM:
            columns, rows = self._system(statement.name.table), self._system_rows(statement.name)
        else:
            database = self._database(statement.name.database)
            name = statement.name.table
            if name in database.stables:
                stable = database.stables[name]
                columns = (*stable.columns, *stable.tags)
            elif name in database.tables:
                columns = database.tables[name].columns
            else:
                raise SqlError(errors.NO_TABLE)
            is_names = all(kind == "TBNAME" for kind, _column in statement.fields)
            rows = list(_rows(self._tables(database, name), with_empty=is_names))
        return self._selected(statement, columns, rows)

    def _selected(
        self, statement: Select, columns: Iterable[Column], rows: Iterable[dict[str, Value]]
    ) -> Result:
        known = {column.name: column for column in columns}
        used = {c.column for c in statement.where} | {c for _kind, c in statement.fields if c}
        used |= {statement.order} if statement.order else set()
        if not used <= {*known, "TBNAME"}:
            raise SqlError(errors.BAD_COLUMN)
        found = [row for row in rows if _holds(statement.where, row)]
        if statement.order:
            found.sort(key=lambda row: _sortable(row[statement.order]))
            if statement.is_descending:
                found.reverse()
        kinds = {kind for kind, _column in statement.fields}
        if "COUNT" in kinds:
            if kinds != {"COUNT"}:
                raise errors.syntax_error("COUNT")
            return Result([("count(*)", "BIGINT", 8)], [[len(found)]])
        heads, out = [], []
        for kind, column in statement.fields:
            heads.append(_head(kind, known.get(column)))
        for row in found:
            values = [row["TBNAME" if kind == "TBNAME" else c] for kind, c in statement.fields]
            if not statement.is_distinct or values not in out:
                out.append(values)
        limits = [n for n in (statement.limit, self.row_limit) if n is not None]
        return Result(heads, out[: min(limits)] if limits else out)

    def _system(self, table: str) -> tuple[Column, ...]:
        if table == "ins_databases":
            return (
                Column("name", "VARCHAR", 64),
                Column("precision", "VARCHAR", 2),
                Column("keep", "VARCHAR", 32),
            )
        if table == "ins_disk_usage":
            sizes = (Column(name, "BIGINT") for name in ("wal", "data1", "data2", "data3"))
            return (Column("db_name", "VARCHAR", 64), *sizes)
        raise SqlError(errors.NO_TABLE)

    def _system_rows(self, name: Name) -> list[dict[str, Value]]:
        rows: list[dict[str, Value]] = []
        for database_name, database in self._databases.items():
            if name.table == "ins_databases":
                keep = ",".join([f"{database.keep_days}d"] * 3)
                rows.append({"name": database_name, "precision": database.precision, "keep": keep})
            else:
                cells = sum(len(t.rows) * len(t.columns) for t in database.tables.values())
                sizes: dict[str, Value] = {"wal": 1, "data1": cells // 128, "data2": 0, "data3": 0}
                rows.append({"db_name": database_name, **sizes})
        return rows

    def _check_rights(self) -> None:
        if not self.can_create:
            raise SqlError(errors.NO_PERMISSION)

    def _database(self, name: str) -> _Database:
        if name not in self._databases:
            raise SqlError(errors.NO_DATABASE)
        return self._databases[name]

    def _tables(self, database: _Database, name: str) -> dict[str, _Table]:
        if name in database.stables:
            return {n: table for n, table in database.tables.items() if table.stable == name}
        if name in database.tables:
            return {name: database.tables[name]}
        raise SqlError(errors.NO_TABLE)

    def _child(self, using: Using, database_name: str) -> _Table:
        database = self._database(using.stable.database or database_name)
        stable = database.stables.get(using.stable.table)
        if stable is None:
            raise SqlError(errors.NO_TABLE)
        names = using.names or tuple(tag.name for tag in stable.tags)
        tags = {tag.name: tag for tag in stable.tags}
        if not set(names) <= set(tags):
            raise SqlError(errors.BAD_TAG)
        if len(names) != len(using.values):
            raise SqlError(errors.TAGS_NOT_MATCHED)
        given = dict(zip(names, using.values, strict=True))
        values = {name: _checked(tag, given.get(name)) for name, tag in tags.items()}
        return _Table(stable.columns, using.stable.table, values)


def _affected(count: int) -> Result:
    return Result([("affected_rows", "INT", 4)], [[count]])


def _set_options(database: _Database, options: dict[str, Value]) -> None:
    keep = options.get("KEEP", database.keep_days)
    precision = options.get("PRECISION", database.precision)
    if not isinstance(keep, int) or not 1 <= keep <= _MAX_KEEP_DAYS:
        raise SqlError(errors.BAD_DATABASE_OPTION)
    if precision not in {"ms", "us", "ns"}:
        raise SqlError(errors.BAD_DATABASE_OPTION)
    database.keep_days, database.precision = keep, str(precision)


def _check_columns(table: CreateTable) -> None:
    if table.columns[0].kind != "TIMESTAMP":
        raise SqlError(0x2641, "First column must be timestamp")
    if len(table.columns) < 2:  # noqa: PLR2004
        raise SqlError(0x263F, "Illegal number of columns")
    names = [column.name for column in (*table.columns, *table.tags)]
    if len(set(names)) != len(names):
        raise SqlError(0x263C, "Duplicated column names")
    for columns, most in ((table.columns, _MAX_ROW_BYTES), (table.tags, _MAX_TAG_BYTES)):
        if sum(_BYTES.get(c.kind, c.size + 2) for c in columns) > most:
            raise SqlError(errors.ROW_TOO_LONG)


def _checked(column: Column, value: Value) -> Value:
    """Return a value as its column keeps it."""
    if value is None:
        return None
    if column.size:
        if not isinstance(value, str):
            raise SqlError(errors.BAD_VALUE)
        if len(value.encode("utf-8")) > column.size:
            raise SqlError(errors.TOO_LONG_VALUE)
        return value
    if isinstance(value, str):
        raise SqlError(errors.BAD_VALUE)
    if column.kind == "DOUBLE":
        return float(value)
    if not isinstance(value, int) or not -_RANGES[column.kind] <= value < _RANGES[column.kind]:
        raise SqlError(errors.BAD_VALUE)
    return value


def _updated(
    old: tuple[Value, ...] | None,
    new: tuple[Value, ...],
    columns: tuple[Column, ...],
    names: tuple[str, ...],
) -> tuple[Value, ...]:
    """Return a row whose named columns are replaced."""
    if old is None:
        return new
    pairs = zip(columns, old, new, strict=True)
    return tuple(after if column.name in names else before for column, before, after in pairs)


def _rows(tables: dict[str, _Table], *, with_empty: bool) -> Iterator[dict[str, Value]]:
    for name, table in tables.items():
        base = {"TBNAME": name, **table.tags}
        names = [column.name for column in table.columns]
        if with_empty:
            yield {**dict.fromkeys(names), **base}
            continue
        for _ms, row in sorted(table.rows.items()):
            yield {**dict(zip(names, row, strict=True)), **base}


def _holds(where: Iterable[Condition], row: dict[str, Value]) -> bool:
    for column, operator, value in where:
        own = row[column]
        if isinstance(value, tuple):
            if own not in value:
                return False
        elif own is None or not _OPERATORS[operator](own, value):
            return False
    return True


def _sortable(value: Value) -> tuple[bool, Any]:
    return value is not None, value


def _head(kind: str, column: Column | None) -> tuple[str, str, int]:
    if column is None:
        return "tbname", "VARCHAR", 192
    if kind == "CAST":
        return f"cast(`{column.name}` as bigint)", "BIGINT", 8
    return column.name, column.kind, column.size or _BYTES[column.kind]
