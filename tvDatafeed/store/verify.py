"""Thirteen checks of a store, on any engine, with series of its own that are removed again."""

import contextlib
import math
import re
import secrets
import shutil
import struct
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, Protocol

from tvDatafeed.exceptions import StoreError, StoreVersionError
from tvDatafeed.store.archive import Archive
from tvDatafeed.store.engine import SCHEMA_VERSION, Engine, Transaction
from tvDatafeed.store.key import SeriesKey
from tvDatafeed.store.records import Document, StoreCheck, StoredSeries
from tvDatafeed.store.spans import Spans

# No exchange of this name exists, so that no series of a user is touched.
_EXCHANGE = "TVDATAFEED-VERIFY"
# What a verification left that was killed; one that runs elsewhere at this moment is younger.
_LEFT_S = 3600.0
_DAY_S = 86400.0
# More than one block.
_MANY_BARS = 1100
_WRITERS, _WRITES, _BARS_AT_ONCE = 4, 5, 10
_CLOCK_TOLERANCE_S = 60.0
_LEAST_TIME_S = 1_735_689_600.0  # 2025-01-01, before this module was written
_LEAST_FREE_BYTES = 256 * 1024 * 1024
# The first versions with INSERT ... ON CONFLICT; an engine itself refuses what else is too old.
_LEAST_VERSIONS = {"sqlite": (3, 24), "postgresql": (9, 5)}
_OLDEST_S = -3_124_224_000.0  # 1870-12-31, older than any series seen
_PACK = struct.Struct("=6d").pack

_DRIVER = "driver and version"
_REACHABLE = "server reachable"
_VERSION = "server version"
_PRIVILEGES = "privileges"
_SCHEMA = "schema"
_CLEAN_UP = "clean-up"


class Store(Protocol):
    """What is verified: a `BarStore`, which imports this module."""

    @property
    def archive(self) -> Archive:
        """The parts below."""


class _FailedError(Exception):
    """A check that found something wrong."""

    def __init__(self, detail: str, hint: str) -> None:
        super().__init__(detail)
        self.hint = hint


class _UndoneError(Exception):
    """Ends a transaction so that none of its changes is stored."""


class _Check(NamedTuple):
    """A check, and those that must have succeeded before it can run."""

    name: str
    run: "Callable[[_Verification], str]"
    needs: tuple[str, ...] = (_REACHABLE,)


def verify(store: Store) -> list[StoreCheck]:
    """Check what a store needs; see `BarStore.verify`.

    Parameters
    ----------
    store : Store
        The store; it is made when there is none.

    Returns
    -------
    list of StoreCheck
        Thirteen, always in the same order. A check that needs one which failed has failed too.
    """
    verification = _Verification(store.archive.engine)
    results: dict[str, StoreCheck] = {}
    try:
        for check in _CHECKS:
            failed = next((name for name in check.needs if not results[name].ok), None)
            results[check.name] = (
                _result(check, verification)
                if failed is None
                else StoreCheck(
                    check.name,
                    ok=False,
                    detail=f"not checked: {failed} failed",
                    hint=f"see {failed}",
                )
            )
    finally:
        if _CLEAN_UP not in results:  # Ctrl-C
            with contextlib.suppress(Exception):
                verification.clean_up()
    return [results[name] for name in _ORDER]


def _result(check: _Check, verification: "_Verification") -> StoreCheck:
    try:
        detail, hint = check.run(verification), None
    except _FailedError as error:
        detail, hint = str(error), error.hint
    except StoreError as error:
        # A long message is cut, inside its hint too.
        detail = str(error).partition(f"; {error.hint[:30]}")[0] if error.hint else str(error)
        hint = error.hint or "see the message; the store's log or its server may say more"
    except Exception as error:  # noqa: BLE001 - as promised
        detail, hint = f"{type(error).__name__}: {error}", "report this, with the engine's version"
    return StoreCheck(check.name, ok=hint is None, detail=" ".join(detail.split()), hint=hint or "")


class _Verification:
    """One run of the checks.

    Parameters
    ----------
    engine
        The engine that is checked.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._prefix = f"{_EXCHANGE}:{secrets.token_hex(4)}-".upper()
        self._versions: tuple[str, str] | None = None
        self._open_error: StoreError | None = None

    def driver(self) -> str:
        """Check that the driver can be loaded."""
        try:
            self._versions = self.engine.versions()
        except StoreError:
            # The engine would not exist without its driver.
            return f"the driver of {self.engine.name} is loaded; the server does not answer"
        return self._versions[0]

    def reachable(self) -> str:
        """Check that the file can be opened, or that the server answers."""
        started = time.perf_counter()
        try:
            self.engine.open()
        except StoreError as error:
            self._open_error = error
            answers = self.engine.name != "sqlite" and self._versions is not None
            if not answers and not isinstance(error, StoreVersionError):
                raise
        latency_ms = (time.perf_counter() - started) * 1000.0
        return f"{self.engine.url} in {latency_ms:.1f} ms"

    def server_version(self) -> str:
        """Check that the server is not too old."""
        server = (self._versions or self.engine.versions())[1]
        least = _LEAST_VERSIONS.get(self.engine.name, ())
        numbers = tuple(map(int, re.findall(r"[0-9]+", server)[: len(least)]))
        if numbers < least:
            wanted = ".".join(map(str, least))
            raise _FailedError(
                f"{server} is older than {wanted}", f"upgrade it to {wanted} or later"
            )
        return server

    def schema(self) -> str:
        """Check that the tables exist, in a version that this library knows."""
        if self._open_error is not None:
            raise self._open_error
        with self.engine.reading() as transaction:
            series = [s for s in transaction.all() if not _is_ours(s.key.symbol)]
            documents = [d for d in transaction.documents() if not _is_ours(d.symbol)]
        return f"version {SCHEMA_VERSION}: {len(series)} series, {len(documents)} documents"

    def privileges(self) -> str:
        """Check that rows of each kind can be added, changed and removed."""
        key, document = self._key("privileges"), self._document()
        with self.engine.writing() as transaction:
            series = self._added(transaction, key)
            transaction.write(series, _bars(0.0, 1))
            transaction.save(series)
            transaction.put_document(document)
        with self.engine.writing() as transaction:
            series = self._added(transaction, key)
            transaction.set_spans(series, [(0.0, 1.0)])
            transaction.erase(series, 0.0, 1.0)
            transaction.save(series)
            transaction.remove_documents([document])
            transaction.remove(series)
        with self.engine.reading() as transaction:
            if transaction.find(key) is not None:
                raise _FailedError("a series cannot be removed", "allow DELETE to the store's user")
        return "read, add, change and remove"

    def clock(self) -> str:
        """Check that no clock is wrong, and that times are kept to the millisecond."""
        now_s = time.time()
        with self.engine.reading() as transaction:
            used_s = max((s.used_s for s in transaction.all()), default=0.0)
        if now_s < _LEAST_TIME_S or used_s - now_s > _CLOCK_TOLERANCE_S:
            ahead = f": a series was used {used_s - now_s:.0f} s later than that"
            raise _FailedError(
                f"this machine's clock says {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime())} UTC"
                + (ahead if used_s > now_s else ""),
                "set the clocks of all machines that use the store (NTP)",
            )
        at_ms = int(now_s) * 1000
        times = [(at_ms + ms) / 1000 for ms in (0, 1, 125, 999, 1000)]
        packed = b"".join(_PACK(at_s, 1.0, 1.0, 1.0, 1.0, 1.0) for at_s in times)
        self._written(self._key("clock"), packed)
        if self._read(self._key("clock"))[1] != packed:
            raise _FailedError(
                "times are not kept to the millisecond", "name another database (TV_STORE_URL)"
            )
        return "the clock agrees with what is stored; milliseconds are kept"

    def read_back(self) -> str:
        """Check that numbers come back bit for bit."""
        rows = [
            _PACK(_DAY_S * day, 0.1 + 0.2, 1 / 3 + day, 1e-8, 123456789.123456789, volume)
            for day, volume in enumerate([math.nan, 0.0, 1e15 + 0.5])
        ]
        packed = b"".join(rows) + _bars(_DAY_S * len(rows), _MANY_BARS)
        key, spans = self._key("read"), [(-_DAY_S, -1.0), (0.0, _DAY_S * 5000)]
        started = time.perf_counter()
        self._written(key, packed, spans)
        series, found, found_spans = self._read(key)
        took_ms = (time.perf_counter() - started) * 1000.0
        if found != packed or found_spans != spans or series.bars != _count(packed):
            raise _FailedError(
                f"{_count(packed)} bars were written, and {series.bars} others read",
                "do not use this store; report this, with the engine's version",
            )
        return f"{_count(packed)} bars, bit for bit, in {took_ms:.0f} ms"

    def upsert(self) -> str:
        """Check that a bar replaces the one of the same time."""
        key = self._key("upsert")
        self._written(key, _bars(0.0, 5))
        changed = _bars(_DAY_S * 3, 4, price=70.0)
        self._written(key, changed)
        series, found, _spans = self._read(key)
        if found != _bars(0.0, 3) + changed or series.bars != _count(found):
            raise _FailedError(
                f"{series.bars} bars where 7 are expected",
                "do not use this store; report this, with the engine's version",
            )
        return "2 bars replaced, 2 added"

    def swap(self) -> str:
        """Check that a restated series appears at once, and not at all when that breaks off."""
        key = self._key("swap")
        old, new = _bars(0.0, _MANY_BARS), _bars(0.0, _MANY_BARS, price=25.0)
        self._written(key, old)
        with contextlib.suppress(_UndoneError), self.engine.writing() as transaction:
            self._restated(transaction, key, new)
            raise _UndoneError
        hint = "do not use this store; report this, with the engine's version"
        if self._read(key)[1] != old:
            raise _FailedError("a swap that broke off has changed the series", hint)
        generation = self._read(key)[0].generation
        is_read, is_swapped = threading.Event(), threading.Event()

        def seen() -> set[bytes]:
            found: set[bytes] = set()
            try:
                while not (is_swapped.is_set() and found):
                    found.add(self._read(key)[1])
                    is_read.set()
            finally:
                is_read.set()
            return found

        with ThreadPoolExecutor(1) as reader:
            reading = reader.submit(seen)
            try:
                is_read.wait()
                with self.engine.writing() as transaction:
                    self._restated(transaction, key, new)
            finally:
                is_swapped.set()
            is_mixed = not reading.result() <= {old, new}
        series, found, _spans = self._read(key)
        if is_mixed or found != new or series.generation <= generation:
            raise _FailedError("old and new bars were mixed", hint)
        return f"{_count(new)} bars swapped while another thread read them"

    def retention(self) -> str:
        """Check that bars of any age stay."""
        today_s = time.time() // _DAY_S * _DAY_S
        packed = b"".join(_bars(start_s, 1) for start_s in (_OLDEST_S, 0.0, today_s))
        self._written(self._key("retention"), packed)
        found = self._read(self._key("retention"))[1]
        if found != packed:
            raise _FailedError(
                f"of bars of 1870, 1970 and today, {_count(found)} stayed",
                "let the database keep all ages (for TDengine: KEEP 365000)",
            )
        return "bars from 1870 to today are kept"

    def writers(self) -> str:
        """Check that threads that write one series lose nothing."""
        key = self._key("writers")

        def write(number: int) -> None:
            for turn in range(_WRITES):
                day = (turn * _WRITERS + number) * _BARS_AT_ONCE
                self._written(key, _bars(day * _DAY_S, _BARS_AT_ONCE))

        with ThreadPoolExecutor(_WRITERS) as threads:
            list(threads.map(write, range(_WRITERS)))
        expected = _bars(0.0, _WRITERS * _WRITES * _BARS_AT_ONCE)
        series, found, _spans = self._read(key)
        if found != expected or series.bars != _count(expected):
            raise _FailedError(
                f"{_WRITERS} threads wrote {_count(expected)} bars, and {_count(found)} are there",
                "do not use this store; report this, with the engine's version",
            )
        return f"{_WRITERS} threads, {_count(expected)} bars of one series"

    def disk_space(self) -> str:
        """Check that the disk has room; a server's disk cannot be seen from here."""
        size = _megabytes(self.engine.size_bytes())
        if self.engine.name != "sqlite":
            return f"the store has {size}; what its server has free is not known here"
        folder = Path(self.engine.url.removeprefix("sqlite:///")).parent
        free = shutil.disk_usage(folder).free
        if free < _LEAST_FREE_BYTES:
            raise _FailedError(
                f"{_megabytes(free)} are free in {folder}",
                "free some disk space, or limit the store (TV_STORE_MAX_BARS)",
            )
        return f"the store has {size}, and {_megabytes(free)} are free"

    def clean_up(self) -> str:
        """Remove what the checks have written, and what a killed verification left."""
        series, documents = self._left()
        if not series and not documents:
            return "nothing is left"
        with self.engine.writing() as transaction:
            for one in series:
                found = transaction.find(one.key)
                if found is not None:
                    transaction.remove(found)
            transaction.remove_documents(documents)
        if any(self._left()):
            raise _FailedError(
                f"series of {_EXCHANGE} are left",
                f"remove them: tvdatafeed store clear, for each of {_EXCHANGE}",
            )
        return f"{len(series)} series removed"

    def _left(self) -> tuple[list[StoredSeries], list[Document]]:
        since_s = time.time() - _LEFT_S

        def is_removed(symbol: str, used_s: float) -> bool:
            return symbol.startswith(self._prefix) or (_is_ours(symbol) and used_s < since_s)

        with self.engine.reading() as transaction:
            return (
                [s for s in transaction.all() if is_removed(s.key.symbol, s.used_s)],
                [d for d in transaction.documents() if is_removed(d.symbol, d.used_s)],
            )

    def _key(self, name: str) -> SeriesKey:
        return SeriesKey(f"{self._prefix}{name}".upper(), "1D")

    def _document(self) -> Document:
        now_s = time.time()
        return Document(f"{self._prefix}DOCUMENT", "verify", "", now_s, now_s, 0, "{}")

    @staticmethod
    def _added(transaction: Transaction, key: SeriesKey) -> StoredSeries:
        series = transaction.add(key)
        series.used_s = time.time()
        return series

    def _written(self, key: SeriesKey, packed: bytes, spans: Spans | None = None) -> None:
        with self.engine.writing() as transaction:
            series = self._added(transaction, key)
            transaction.write(series, packed)
            if spans is not None:
                transaction.set_spans(series, spans)
            transaction.save(series)

    def _restated(self, transaction: Transaction, key: SeriesKey, packed: bytes) -> None:
        series = self._added(transaction, key)
        transaction.restart(series)
        transaction.write(series, packed)
        transaction.save(series)

    def _read(self, key: SeriesKey) -> tuple[StoredSeries, bytes, Spans]:
        with self.engine.reading() as transaction:
            series = transaction.find(key)
            if series is None:
                raise _FailedError(
                    "what was written is not there",
                    "do not use this store; report this, with the engine's version",
                )
            packed = transaction.read(series, -math.inf, math.inf)
            return series, packed, transaction.spans(series)


_NEEDS_WRITING = (_REACHABLE, _SCHEMA, _PRIVILEGES)
# In the order in which they run: whether rows can be written is known after the schema.
_CHECKS = (
    _Check(_DRIVER, _Verification.driver, ()),
    _Check(_REACHABLE, _Verification.reachable, ()),
    _Check(_VERSION, _Verification.server_version),
    _Check(_SCHEMA, _Verification.schema),
    _Check(_PRIVILEGES, _Verification.privileges, (_REACHABLE, _SCHEMA)),
    _Check("clock and time precision", _Verification.clock, _NEEDS_WRITING),
    _Check("write and read back", _Verification.read_back, _NEEDS_WRITING),
    _Check("upsert", _Verification.upsert, _NEEDS_WRITING),
    _Check("restatement swap", _Verification.swap, _NEEDS_WRITING),
    _Check("retention", _Verification.retention, _NEEDS_WRITING),
    _Check("concurrent writers", _Verification.writers, _NEEDS_WRITING),
    _Check("disk space", _Verification.disk_space),
    _Check(_CLEAN_UP, _Verification.clean_up, (_REACHABLE, _SCHEMA)),
)
_ORDER = (
    _DRIVER,
    _REACHABLE,
    _VERSION,
    _PRIVILEGES,
    _SCHEMA,
    *(check.name for check in _CHECKS[5:]),
)


def _is_ours(symbol: str) -> bool:
    return symbol.startswith(f"{_EXCHANGE}:")


def _bars(start_s: float, count: int, price: float = 50.0) -> bytes:
    """Return some daily bars."""
    days: Iterable[int] = range(count)
    rows = (
        (
            start_s + day * _DAY_S,
            price,
            price + 1.5,
            price - 1.5,
            price + 0.1,
            100.0 + (start_s // _DAY_S + day) % 7,
        )
        for day in days
    )
    return b"".join(_PACK(*row) for row in rows)


def _count(packed: bytes) -> int:
    return len(packed) // len(_PACK(0, 0, 0, 0, 0, 0))


def _megabytes(size_bytes: float) -> str:
    return f"{size_bytes / 1e6:,.1f} MB"
