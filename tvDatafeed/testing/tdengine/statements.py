"""The statements that the loopback TDengine understands; all others are syntax errors."""

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from tvDatafeed.testing.tdengine.errors import syntax_error
from tvDatafeed.testing.tdengine.words import RESERVED

Value = int | float | str | None

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<quoted>`[^`]*`)
      | (?P<text>'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*")
      | (?P<float>(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+)
      | (?P<whole>[0-9]+)(?![A-Za-z_0-9])
      | (?P<word>[A-Za-z_][A-Za-z_0-9]*)
      | (?P<sign><=|>=|<>|!=|[-+(),.;=<>*])
    )""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}
_TYPES = {"TIMESTAMP", "INT", "BIGINT", "DOUBLE", "VARCHAR", "BINARY"}
_SIZED = {"VARCHAR", "BINARY"}
_OPERATORS = {"=", "<", "<=", ">", ">="}
_MAX_TABLE_NAME = 192


class Name(NamedTuple):
    """A table and its database; the database is empty where it is not named."""

    database: str
    table: str


class Column(NamedTuple):
    """A column or a tag: name, type, and size of a text in bytes."""

    name: str
    kind: str
    size: int = 0


class Condition(NamedTuple):
    """A comparison of a column with a value, or with some."""

    column: str
    operator: str
    value: Value | tuple[Value, ...]


@dataclass(frozen=True)
class CreateDatabase:
    """CREATE DATABASE."""

    name: str
    if_not_exists: bool
    options: dict[str, Value]


@dataclass(frozen=True)
class AlterDatabase:
    """ALTER DATABASE."""

    name: str
    options: dict[str, Value]


@dataclass(frozen=True)
class DropDatabase:
    """DROP DATABASE."""

    name: str
    if_exists: bool


@dataclass(frozen=True)
class CreateTable:
    """CREATE TABLE or CREATE STABLE with columns; a super table has tags."""

    name: Name
    if_not_exists: bool
    columns: tuple[Column, ...]
    tags: tuple[Column, ...]


@dataclass(frozen=True)
class Using:
    """A super table and tags of one of its tables; without names the tags are in order."""

    stable: Name
    names: tuple[str, ...]
    values: tuple[Value, ...]


@dataclass(frozen=True)
class CreateChild:
    """CREATE TABLE ... USING."""

    name: Name
    if_not_exists: bool
    using: Using


@dataclass(frozen=True)
class Insert:
    """INSERT INTO of one table."""

    name: Name
    using: Using | None
    columns: tuple[str, ...]
    rows: list[tuple[Value, ...]]


@dataclass(frozen=True)
class Delete:
    """DELETE FROM."""

    name: Name
    where: tuple[Condition, ...]


@dataclass(frozen=True)
class Drop:
    """DROP TABLE."""

    name: Name
    if_exists: bool


@dataclass(frozen=True)
class ServerVersion:
    """SELECT SERVER_VERSION()."""


@dataclass(frozen=True)
class Select:
    """SELECT of columns, of a count, or of the names of tables."""

    name: Name
    # Each a column, "CAST" and its column, "COUNT", or "TBNAME".
    fields: tuple[tuple[str, str], ...]
    is_distinct: bool
    where: tuple[Condition, ...] = ()
    order: str = ""
    is_descending: bool = False
    limit: int | None = None
    options: dict[str, Value] = field(default_factory=dict)


Statement = (
    CreateDatabase
    | AlterDatabase
    | DropDatabase
    | CreateTable
    | CreateChild
    | Insert
    | Delete
    | Drop
    | ServerVersion
    | Select
)


def parse(sql: str) -> Statement:
    """Return a statement.

    Raises
    ------
    SqlError
        When it is not understood.
    """
    return _Parser(sql).statement()


class _Token(NamedTuple):
    kind: str
    text: str
    start: int


def _tokens(sql: str) -> list[_Token]:
    tokens, place, end = [], 0, len(sql.rstrip())
    while place < end:
        found = _TOKEN.match(sql, place)
        if found is None:
            raise syntax_error(sql[place:].strip())
        kind = found.lastgroup or ""
        tokens.append(_Token(kind, found[kind], found.start(kind)))
        place = found.end()
    if tokens and tokens[-1].text == ";":
        tokens.pop()
    return tokens


class _Parser:
    """Reads one statement from the left to the right."""

    def __init__(self, sql: str) -> None:
        self._sql = sql
        self._tokens = _tokens(sql)
        self._place = 0

    def statement(self) -> Statement:
        if self._accept("SELECT"):
            statement = self._select()
        elif self._accept("INSERT"):
            statement = self._insert()
        elif self._accept("CREATE"):
            statement = self._create()
        elif self._accept("DELETE"):
            self._expect("FROM")
            statement = Delete(self._name(), self._where())
        elif self._accept("DROP"):
            statement = self._drop()
        elif self._accept("ALTER"):
            self._expect("DATABASE")
            statement = AlterDatabase(self._identifier(), self._options())
        else:
            raise self._error()
        if self._place < len(self._tokens):
            raise self._error()
        return statement

    def _select(self) -> Statement:
        if self._accept("SERVER_VERSION"):
            self._expect("(")
            self._expect(")")
            return ServerVersion()
        is_distinct = self._accept("DISTINCT")
        fields = [self._field()]
        while self._accept(","):
            fields.append(self._field())
        self._expect("FROM")
        name, where = self._name(), self._where()
        order, is_descending, limit = "", False, None
        if self._accept("ORDER"):
            self._expect("BY")
            order = self._identifier()
            is_descending = self._accept("DESC")
            if not is_descending:
                self._accept("ASC")
        if self._accept("LIMIT"):
            limit = self._whole()
        return Select(name, tuple(fields), is_distinct, where, order, is_descending, limit)

    def _field(self) -> tuple[str, str]:
        if self._accept("CAST"):
            self._expect("(")
            column = self._identifier()
            for word in ("AS", "BIGINT", ")"):
                self._expect(word)
            return "CAST", column
        if self._accept("COUNT"):
            for sign in ("(", "*", ")"):
                self._expect(sign)
            return "COUNT", ""
        if self._accept("TBNAME"):
            return "TBNAME", ""
        return "COLUMN", self._identifier()

    def _where(self) -> tuple[Condition, ...]:
        conditions: list[Condition] = []
        if not self._accept("WHERE"):
            return ()
        while True:
            conditions.append(self._condition())
            if not self._accept("AND"):
                return tuple(conditions)

    def _condition(self) -> Condition:
        column = "TBNAME" if self._accept("TBNAME") else self._identifier()
        if self._accept("IN"):
            self._expect("(")
            values = [self._value()]
            while self._accept(","):
                values.append(self._value())
            self._expect(")")
            return Condition(column, "IN", tuple(values))
        token = self._next()
        if token.text not in _OPERATORS:
            raise self._error(token)
        return Condition(column, token.text, self._value())

    def _insert(self) -> Statement:
        self._expect("INTO")
        name = self._name()
        using = self._using() if self._accept("USING") else None
        columns: tuple[str, ...] = self._names() if self._sees("(") else ()
        self._expect("VALUES")
        rows = []
        while self._accept("("):
            row = [self._value()]
            while self._accept(","):
                row.append(self._value())
            self._expect(")")
            rows.append(tuple(row))
            self._accept(",")
        if not rows:
            raise self._error()
        return Insert(name, using, columns, rows)

    def _using(self) -> Using:
        stable = self._name()
        names: tuple[str, ...] = self._names() if self._sees("(") else ()
        self._expect("TAGS")
        self._expect("(")
        values = [self._value()]
        while self._accept(","):
            values.append(self._value())
        self._expect(")")
        return Using(stable, names, tuple(values))

    def _create(self) -> Statement:
        if self._accept("DATABASE"):
            if_not_exists = self._if_not_exists()
            return CreateDatabase(self._identifier(), if_not_exists, self._options())
        is_super = self._accept("STABLE")
        if not is_super:
            self._expect("TABLE")
        if_not_exists, name = self._if_not_exists(), self._name()
        if not is_super and self._accept("USING"):
            return CreateChild(name, if_not_exists, self._using())
        columns = self._columns()
        tags: tuple[Column, ...] = ()
        if is_super or self._sees("TAGS"):
            self._expect("TAGS")
            tags = self._columns()
        return CreateTable(name, if_not_exists, columns, tags)

    def _columns(self) -> tuple[Column, ...]:
        self._expect("(")
        columns = [self._column()]
        while self._accept(","):
            columns.append(self._column())
        self._expect(")")
        return tuple(columns)

    def _column(self) -> Column:
        name, kind = self._identifier(), self._next()
        if kind.kind != "word" or kind.text.upper() not in _TYPES:
            raise self._error(kind)
        size = 0
        if kind.text.upper() in _SIZED:
            self._expect("(")
            size = self._whole()
            self._expect(")")
        return Column(name, kind.text.upper(), size)

    def _drop(self) -> Statement:
        if self._accept("DATABASE"):
            if_exists = self._if_exists()
            return DropDatabase(self._identifier(), if_exists)
        self._expect("TABLE")
        if_exists = self._if_exists()
        return Drop(self._name(), if_exists)

    def _options(self) -> dict[str, Value]:
        options: dict[str, Value] = {}
        while self._place < len(self._tokens):
            word = self._next()
            if word.kind != "word" or word.text.upper() not in {"PRECISION", "KEEP"}:
                raise self._error(word)
            options[word.text.upper()] = self._value()
        return options

    def _if_not_exists(self) -> bool:
        if not self._accept("IF"):
            return False
        self._expect("NOT")
        self._expect("EXISTS")
        return True

    def _if_exists(self) -> bool:
        if not self._accept("IF"):
            return False
        self._expect("EXISTS")
        return True

    def _names(self) -> tuple[str, ...]:
        self._expect("(")
        names = [self._identifier()]
        while self._accept(","):
            names.append(self._identifier())
        self._expect(")")
        return tuple(names)

    def _name(self) -> Name:
        first = self._identifier()
        return Name(first, self._identifier()) if self._accept(".") else Name("", first)

    def _identifier(self) -> str:
        token = self._next()
        if token.kind == "quoted":
            name = token.text[1:-1]
        elif token.kind == "word" and token.text.upper() not in RESERVED:
            name = token.text.lower()
        else:
            raise self._error(token)
        if not name or "." in name or len(name) > _MAX_TABLE_NAME:
            raise self._error(token)
        return name

    def _value(self) -> Value:
        sign = self._accept("-")
        if not sign:
            self._accept("+")
        token = self._next()
        if token.kind == "whole":
            return -int(token.text) if sign else int(token.text)
        if token.kind == "float":
            return -float(token.text) if sign else float(token.text)
        if token.kind == "text" and not sign:
            return _unescaped(token.text)
        if token.kind == "word" and token.text.upper() == "NULL" and not sign:
            return None
        raise self._error(token)

    def _whole(self) -> int:
        token = self._next()
        if token.kind != "whole":
            raise self._error(token)
        return int(token.text)

    def _sees(self, text: str) -> bool:
        if self._place == len(self._tokens):
            return False
        token = self._tokens[self._place]
        return token.kind in {"word", "sign"} and token.text.upper() == text

    def _accept(self, text: str) -> bool:
        found = self._sees(text)
        self._place += found
        return found

    def _expect(self, text: str) -> None:
        if not self._accept(text):
            raise self._error()

    def _next(self) -> _Token:
        if self._place == len(self._tokens):
            raise self._error()
        self._place += 1
        return self._tokens[self._place - 1]

    def _error(self, token: _Token | None = None) -> Exception:
        if token is None and self._place < len(self._tokens):
            token = self._tokens[self._place]
        return syntax_error("" if token is None else self._sql[token.start :])


def _unescaped(literal: str) -> str:
    """Return the text of a literal, as "Escape Characters" in TDengine's documentation says."""
    delimiter, inner = literal[0], literal[1:-1]
    text, place = [], 0
    while place < len(inner):
        char = inner[place]
        if char == delimiter:
            place += 1
        elif char == "\\":
            place += 1
            char = inner[place]
            # These are meant for patterns and stay as they are.
            char = f"\\{char}" if char in "%_x" else _ESCAPED.get(char, char)
        text.append(char)
        place += 1
    return "".join(text)
