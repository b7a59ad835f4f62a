"""The SQLite engine: one file, for many threads and processes of one machine."""

import contextlib
import logging
import os
import sqlite3
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tvDatafeed.common.filelock import file_lock, open_lock_file
from tvDatafeed.common.perthread import PerThread
from tvDatafeed.exceptions import (
    StoreCorruptError,
    StoreError,
    StoreLockedError,
    StoreVersionError,
)
from tvDatafeed.store.engine import SCHEMA_VERSION
from tvDatafeed.store.tables import Row, TableTransaction, make_tables

logger: logging.Logger = logging.getLogger(__name__)

_TYPES = {"serial": "INTEGER PRIMARY KEY", "real": "REAL", "bytes": "BLOB"}
_ONLY_THE_USER, _ONLY_THE_USER_FOLDER = 0o600, 0o700
# Before this version two connections that checkpoint at the same time can damage the file
# ("WAL-reset bug", sqlite.org/wal.html), so that writers take turns with a lock of their own.
_SAFE_CHECKPOINTS = (3, 51, 3)
_NETWORK_FILE_SYSTEMS = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "9p", "afs", "ceph"}
_SUFFIXES = ("", "-wal", "-shm")
_CORRUPT = ("file is not a database", "malformed", "file is encrypted")
_USE_WAL = "PRAGMA journal_mode = WAL"
# Between two tries to use it.
_MODE_WAIT_S = 0.005
_USE_POSTGRESQL = "use postgresql://... for a store that several machines share"


@dataclass
class _Connection:
    """The connection of one thread, and the descriptor of the lock for its writes."""

    database: sqlite3.Connection
    lock: int | None


class SqliteEngine:
    """An `engine.Engine` on a file.

    Parameters
    ----------
    path
        The file; it is made when it is first used.
    timeout_s
        How long to wait for other writers.
    """

    name = "sqlite"

    def __init__(self, path: Path, timeout_s: float) -> None:
        self.path = path
        self.url: str = f"sqlite:///{path}"
        self._timeout_s = timeout_s
        self._needs_lock = sqlite3.sqlite_version_info < _SAFE_CHECKPOINTS
        self._is_ready = False
        self._connections = PerThread(self._connect, self._disconnect)

    def open(self) -> None:
        """See `engine.Engine`; a file that is not a database is moved aside."""
        if self._is_ready and self.path.exists():
            return
        try:
            self._initialize()
        except StoreCorruptError as error:
            self.move_aside(error)
            self._initialize()

    def _initialize(self) -> None:
        self._check_place()
        # What a thread has opened may be a file that was moved or removed since.
        self._connections.close()
        with self._execute_locked() as execute:
            if execute("SELECT name FROM sqlite_master WHERE name = 'meta'", ()):
                ((version,),) = execute("SELECT MAX(version) FROM meta", ()) or ((None,),)
                if version is not None and version > SCHEMA_VERSION:
                    raise StoreVersionError(
                        f"the bar store {self.path} has schema version {version}, and this "
                        f"tvDatafeed knows {SCHEMA_VERSION}",
                        hint="upgrade tvDatafeed, or name another file (TV_STORE_URL)",
                    )
            make_tables(execute, **_TYPES)
        self._is_ready = True

    def move_aside(self, error: StoreError) -> None:
        """Rename a damaged file, so that a new one can be made; nothing is deleted."""
        self._connections.close()
        self._is_ready = False
        place = next(
            place
            for number in range(1, 1000)
            if not (place := self.path.with_name(f"{self.path.name}.corrupt-{number}")).exists()
        )
        with self._mapped(), contextlib.suppress(FileNotFoundError):
            for suffix in _SUFFIXES:
                source = self.path.with_name(self.path.name + suffix)
                if source.exists():
                    source.rename(place.with_name(place.name + suffix))
            logger.warning(
                "the bar store %s is damaged (%s): it was renamed to %s, and a new one begins",
                self.path,
                error,
                place.name,
            )

    @contextmanager
    def reading(self) -> Generator[TableTransaction]:
        """See `engine.Engine`."""
        self.open()
        with self._mapped(), self._connections.using() as connection:
            execute = self._execute_of(connection)
            execute("BEGIN", ())
            try:
                yield TableTransaction(execute)
            finally:
                self._end(execute, "COMMIT")

    @contextmanager
    def writing(self) -> Generator[TableTransaction]:
        """See `engine.Engine`."""
        self.open()
        with self._execute_locked() as execute:
            yield TableTransaction(execute)

    @contextmanager
    def _execute_locked(self) -> Generator[Any]:
        """Run statements in a transaction that no other writer shares."""
        with self._mapped(), self._connections.using() as connection:
            execute = self._execute_of(connection)
            with contextlib.ExitStack() as held:
                if connection.lock is not None:
                    held.enter_context(file_lock(connection.lock, self._timeout_s))
                execute("BEGIN IMMEDIATE", ())
                try:
                    yield execute
                    execute("COMMIT", ())
                except BaseException:
                    self._end(execute, "ROLLBACK")
                    raise

    @staticmethod
    def _end(execute: Any, how: str) -> None:
        # Some errors have ended the transaction already.
        with contextlib.suppress(sqlite3.Error):
            execute(how, ())

    def versions(self) -> tuple[str, str]:
        """See `engine.Engine`."""
        return f"sqlite3 {sqlite3.sqlite_version}", sqlite3.sqlite_version

    def size_bytes(self) -> int:
        """See `engine.Engine`."""
        files = (self.path.with_name(self.path.name + suffix) for suffix in _SUFFIXES)
        return sum(file.stat().st_size for file in files if file.exists())

    def close(self) -> None:
        """See `engine.Engine`."""
        self._connections.close()

    def _check_place(self) -> None:
        kind = _file_system(self.path.parent)
        if kind in _NETWORK_FILE_SYSTEMS:
            raise StoreError(
                f"{self.path} is on a network file system ({kind}), where SQLite cannot share a "
                "file safely",
                hint=f"name a local file (TV_STORE_URL), or {_USE_POSTGRESQL}",
            )
        with self._mapped():
            self.path.parent.mkdir(mode=_ONLY_THE_USER_FOLDER, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
            os.close(os.open(self.path, flags, _ONLY_THE_USER))

    def _connect(self) -> _Connection:
        lock = open_lock_file(f"{self.path}.lock") if self._needs_lock else None
        try:
            # Used by one thread at a time, and closed by another one.
            database = sqlite3.connect(
                self.path, timeout=self._timeout_s, isolation_level=None, check_same_thread=False
            )
            connection = _Connection(database, lock)
        except BaseException:
            if lock is not None:
                os.close(lock)
            raise
        try:
            execute = self._execute_of(connection)
            _check_mode(_with_patience(_USE_WAL, execute, self._timeout_s), self.path)
            execute("PRAGMA synchronous = NORMAL", ())
        except BaseException:
            self._disconnect(connection)
            raise
        return connection

    def _disconnect(self, connection: _Connection) -> None:
        # The last connection to close checkpoints, as a writer does.
        with contextlib.ExitStack() as held:
            if connection.lock is not None:
                held.callback(os.close, connection.lock)
                with contextlib.suppress(TimeoutError):
                    held.enter_context(file_lock(connection.lock, self._timeout_s))
            connection.database.close()

    @staticmethod
    def _execute_of(connection: _Connection) -> Any:
        def execute(statement: str, values: Sequence[Any]) -> list[Row]:
            return connection.database.execute(statement, values).fetchall()

        return execute

    @contextmanager
    def _mapped(self) -> Generator[None]:
        """Raise a `StoreError` for an error of SQLite or of the operating system."""
        started = time.monotonic()
        try:
            yield
        except TimeoutError as error:
            raise self._locked(started) from error
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise StoreError(
                f"the bar store {self.path} cannot be used: {reason}",
                hint="check the folder and its permissions, or name another file (TV_STORE_URL)",
            ) from error
        except sqlite3.Error as error:
            raise self._error_of(error, started) from error

    def _locked(self, started: float) -> StoreLockedError:
        return StoreLockedError(
            f"the bar store {self.path} was locked by another program for "
            f"{time.monotonic() - started:.1f} s",
            hint="try again, or allow more time (TV_STORE_TIMEOUT)",
        )

    def _error_of(self, error: sqlite3.Error, started: float) -> StoreError:
        text = str(error)
        if "locked" in text or "busy" in text:
            return self._locked(started)
        if any(words in text for words in _CORRUPT):
            return StoreCorruptError(f"the bar store {self.path} is damaged: {text}")
        self._is_ready = False
        hints = {
            "full": "free some disk space, or limit the store (TV_STORE_MAX_BARS)",
            "readonly": "make the file and its folder writable, or name another (TV_STORE_URL)",
            "unable to open": "check the folder and its permissions, or name another file "
            "(TV_STORE_URL)",
        }
        hint = next((hint for words, hint in hints.items() if words in text), "")
        return StoreError(f"the bar store {self.path} cannot be used: {text}", hint=hint)


def _with_patience(statement: str, execute: Any, timeout_s: float) -> list[Row]:
    """Run a statement again while the file is locked.

    SQLite itself does not wait where two connections change the mode of a new file at once.
    """
    until = time.monotonic() + timeout_s
    while True:
        try:
            rows: list[Row] = execute(statement, ())
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() >= until:
                raise
        else:
            return rows
        time.sleep(_MODE_WAIT_S)


def _check_mode(rows: list[Row], path: Path) -> None:
    ((mode,),) = rows
    if mode != "wal":
        raise StoreError(
            f"SQLite cannot use its write-ahead log for {path} (it uses {mode!r})",
            hint=f"name a file on a local disk (TV_STORE_URL), or {_USE_POSTGRESQL}",
        )


def _file_system(folder: Path) -> str:
    """Return the kind of the file system that a folder is on; empty where unknown."""
    if str(folder).startswith(("\\\\", "//")) and os.name == "nt":
        return "cifs"
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    place = os.path.realpath(folder)
    mounts = {}
    for line in lines:
        before, _, after = line.partition(" - ")
        mounts[before.split()[4].replace("\\040", " ")] = after.split()[0]
    inside = [
        point for point in mounts if place == point or place.startswith(point.rstrip("/") + "/")
    ]
    return mounts[max(inside, key=len)] if inside else ""
