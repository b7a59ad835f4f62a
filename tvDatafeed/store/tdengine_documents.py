"""JSON documents in TDengine: a head row, and rows of parts for what does not fit into it.

The head is one row that is written in one statement, after the parts that it names. A document
whose parts are missing, since two writers replaced it at the same time, does not exist.
"""

import json
import uuid
import zlib
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from tvDatafeed.exceptions import StoreError
from tvDatafeed.store.records import Document
from tvDatafeed.store.tdengine_records import FIRST_ROW_MS, name_of
from tvDatafeed.store.tdengine_rest import MAX_STATEMENT_BYTES, Refused, TdengineRest, quoted

HEADS, PARTS = "document", "document_part"
_PART_CHARS = 20_000
_MAX_INFO_CHARS = 16_000

_Name = tuple[str, str, str]


class DocumentStates:
    """The documents of one transaction.

    Parameters
    ----------
    rest
        The server.
    """

    def __init__(self, rest: TdengineRest) -> None:
        self._rest = rest
        # None: removed.
        self._changed: dict[_Name, Document | None] = {}

    def find(self, *name: str) -> Document | None:
        """Return a document."""
        symbol, data_type, timeframe = name
        if (symbol, data_type, timeframe) in self._changed:
            return self._changed[symbol, data_type, timeframe]
        head = self._head(name)
        if head is None:
            return None
        info, inline = head
        text = inline or ""
        if info["parts"] is not None:
            text = "".join(row[0] for row in self._parts(info["parts"]))
        if zlib.crc32(text.encode("ascii")) != info["crc"]:
            return None
        return replace(_document(info), data=_decoded(text))

    def all(self, rows: Iterable[list[str]]) -> list[Document]:
        """Return all documents, with empty data, from their heads."""
        found: dict[_Name, Document] = {}
        for (text,) in rows:
            document = _document(json.loads(text))
            found[_name(document)] = document
        for name, changed in self._changed.items():
            found.pop(name, None)
            if changed is not None:
                found[name] = replace(changed, data="")
        return sorted(found.values(), key=_name)

    def put(self, document: Document) -> None:
        """Add or replace a document."""
        self._changed[_name(document)] = document

    def remove(self, documents: Iterable[Document]) -> int:
        """Remove documents; return how many."""
        names = [_name(document) for document in documents]
        for name in names:
            self._changed[name] = None
        return len(names)

    def store(self) -> None:
        """Write what has changed."""
        for name, document in self._changed.items():
            before = self._head(name)
            old = before[0]["parts"] if before else None
            table = self._rest.table(f"d_{name_of(*name)}")
            if document is None:
                self._rest.ask(f"DROP TABLE IF EXISTS {table}")
            else:
                self._put(table, document)
            if old is not None:
                self._rest.ask(f"DROP TABLE IF EXISTS {self._rest.table(old)}")

    def _put(self, table: str, document: Document) -> None:
        rest, tag = self._rest, quoted(name_of(*_name(document)))
        text = _encoded(document.data)
        parts = None
        if len(text) > _PART_CHARS:
            parts = f"p_{name_of(*_name(document))}_{uuid.uuid4().hex[:12]}"
            self._put_parts(parts, tag, text)
        info = {
            "name": _name(document),
            "stored": document.stored_s,
            "used": document.used_s,
            "hits": document.hits,
            "parts": parts,
            "crc": zlib.crc32(text.encode("ascii")),
        }
        shown = json.dumps(info)
        if len(shown) > _MAX_INFO_CHARS:
            raise StoreError("the name of a document is too long for TDengine")
        inline = quoted(text) if parts is None else "NULL"
        rest.ask(
            f"INSERT INTO {table} USING {rest.table(HEADS)} (`document`) TAGS ({tag}) VALUES "
            f"({FIRST_ROW_MS}, {quoted(shown)}, {inline})"
        )

    def _put_parts(self, name: str, tag: str, text: str) -> None:
        rest = self._rest
        rest.ask(
            f"CREATE TABLE {rest.table(name)} USING {rest.table(PARTS)} (`document`) TAGS ({tag})"
        )
        head = f"INSERT INTO {rest.table(name)} VALUES"
        rows: list[str] = []
        size = len(head)
        for number, start in enumerate(range(0, len(text), _PART_CHARS)):
            row = f" ({FIRST_ROW_MS + number}, {quoted(text[start : start + _PART_CHARS])})"
            if size + len(row) > MAX_STATEMENT_BYTES:
                rest.ask(head + "".join(rows))
                rows, size = [], len(head)
            rows.append(row)
            size += len(row)
        rest.ask(head + "".join(rows))

    def _head(self, name: Iterable[str]) -> "tuple[dict[str, Any], str | None] | None":
        rows = self._rows(
            f"SELECT `info`, `data` FROM {self._rest.table('d_' + name_of(*name))} "
            "ORDER BY `ts` DESC LIMIT 1"
        )
        return (json.loads(rows[0][0]), rows[0][1]) if rows else None

    def _parts(self, name: str) -> list[list[str]]:
        rows: list[list[str]] = []
        # A page of parts is about 4 MB.
        while True:
            page = self._rows(
                f"SELECT `data` FROM {self._rest.table(name)} WHERE `ts` >= "
                f"{FIRST_ROW_MS + len(rows)} ORDER BY `ts` ASC LIMIT 200"
            )
            if not page:
                return rows
            rows += page

    def _rows(self, statement: str) -> list[list[Any]]:
        try:
            return self._rest.ask(statement)
        except Refused as error:
            if error.is_missing_table:
                return []
            raise


def _name(document: Document) -> _Name:
    return document.symbol, document.data_type, document.timeframe


def _document(info: dict[str, Any]) -> Document:
    symbol, data_type, timeframe = info["name"]
    return Document(symbol, data_type, timeframe, info["stored"], info["used"], info["hits"], "")


def _encoded(text: str) -> str:
    """Return a text as JSON in ASCII, which is never empty: an empty literal may mean NULL."""
    return json.dumps(text)


def _decoded(text: str) -> str:
    return str(json.loads(text))
