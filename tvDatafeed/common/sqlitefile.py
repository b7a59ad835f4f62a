"""An SQLite file that threads and processes of one machine share.

This module opens and locks the file, requires the write-ahead log, and maps errors; its users
define the content of the file.
"""

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from tvDatafeed.common.filelock import file_lock, open_lock_file

Row: TypeAlias = Sequence[Any]
Execute: TypeAlias = Callable[[str, Sequence[Any]], list[Row]]
Kind: TypeAlias = Literal["locked", "corrupt", "other"]

_ONLY_THE_USER, _ONLY_THE_USER_FOLDER = 0o600, 0o700
# Before this version two connections that checkpoint at the same time can damage the file
# ("WAL-reset bug", sqlite.org/wal.html), so writers use another lock.
_SAFE_CHECKPOINTS = (3, 51, 3)
_NETWORK_FILE_SYSTEMS = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "9p", "afs", "ceph"}
_SUFFIXES = ("", "-wal", "-shm")
_CORRUPT = ("file is not a database", "malformed", "file is encrypted")
_USE_WAL = "PRAGMA journal_mode = WAL"
# The pause between two tries.
_MODE_WAIT_S = 0.005
SQLITE_VERSION: str = sqlite3.sqlite_version


@dataclass(frozen=True)
class FileWords:
    """The words in the errors of a file.

    Parameters
    ----------
    noun
        The name of the file's purpose: "bar store".
    path_setting, timeout_setting
        The settings that name the file, and how long to wait for other programs.
    space_advice
        The next step on a full disk.
    sharing_advice
        The alternative if the file cannot be shared; may be empty.
    error
        Creates an error from a kind, a message and a hint.
    """

    noun: str
    path_setting: str
    timeout_setting: str
    space_advice: str
    sharing_advice: str
    error: Callable[[Kind, str, str], Exception]


@dataclass
class SqliteConnection:
    """A connection for one thread at a time, and the descriptor of the lock for its writes."""

    database: sqlite3.Connection
    lock: int | None

    def execute(self, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        """Run a statement; return its rows."""
        return self.database.execute(statement, values).fetchall()


class SqliteFile:
    """Opens connections to a file, and runs transactions on them.

    Parameters
    ----------
    path
        The file; `make` creates it.
    timeout_s
        How long to wait for other writers.
    words
        The words in errors.
    is_durable
        Whether a transaction survives a power failure after its end. Otherwise the last ones may be
        lost, but the file stays intact.
    """

    def __init__(
        self, path: Path, timeout_s: float, words: FileWords, *, is_durable: bool = False
    ) -> None:
        self.path = path
        self._timeout_s = timeout_s
        self._words = words
        self._synchronous = "FULL" if is_durable else "NORMAL"
        self._needs_lock = sqlite3.sqlite_version_info < _SAFE_CHECKPOINTS

    def make(self) -> None:
        """Create the file and its folder if they do not exist; only the user may read them."""
        kind = _file_system(self.path.parent)
        if kind in _NETWORK_FILE_SYSTEMS:
            raise self._error(
                "other",
                f"{self.path} is on a network file system ({kind}), where SQLite cannot share a "
                "file safely",
                f"name a local file ({self._words.path_setting})",
                self._words.sharing_advice,
            )
        with self.mapped():
            self.path.parent.mkdir(mode=_ONLY_THE_USER_FOLDER, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
            os.close(os.open(self.path, flags, _ONLY_THE_USER))

    def connect(self) -> SqliteConnection:
        """Open a connection; only one thread at a time may use it."""
        with self.mapped():
            lock = open_lock_file(f"{self.path}.lock") if self._needs_lock else None
            try:
                # One thread at a time uses it, and another thread may close it.
                database = sqlite3.connect(
                    self.path,
                    timeout=self._timeout_s,
                    isolation_level=None,
                    check_same_thread=False,
                )
                connection = SqliteConnection(database, lock)
            except BaseException:
                if lock is not None:
                    os.close(lock)
                raise
            try:
                self._check_mode(_with_patience(_USE_WAL, connection, self._timeout_s))
                connection.execute(f"PRAGMA synchronous = {self._synchronous}")
            except BaseException:
                self.disconnect(connection)
                raise
            return connection

    def disconnect(self, connection: SqliteConnection) -> None:
        """Close a connection; may be called in any thread."""
        # Closing the last connection checkpoints the file, like a writer.
        with contextlib.ExitStack() as held:
            if connection.lock is not None:
                held.callback(os.close, connection.lock)
                with contextlib.suppress(TimeoutError):
                    held.enter_context(file_lock(connection.lock, self._timeout_s))
            connection.database.close()

    @contextmanager
    def reading(self, connection: SqliteConnection) -> Generator[Execute]:
        """Open a transaction whose statements see one state of the file."""
        with self.mapped():
            self._begin(connection, "BEGIN")
            try:
                yield connection.execute
            finally:
                self._end(connection, "COMMIT")

    @contextmanager
    def writing(self, connection: SqliteConnection) -> Generator[Execute]:
        """Open a transaction that excludes other writers."""
        lock = connection.lock
        held = contextlib.nullcontext() if lock is None else file_lock(lock, self._timeout_s)
        with self.mapped(), held:
            self._begin(connection, "BEGIN IMMEDIATE")
            try:
                yield connection.execute
                connection.execute("COMMIT")
            except BaseException:
                self._end(connection, "ROLLBACK")
                raise

    @classmethod
    def _begin(cls, connection: SqliteConnection, how: str) -> None:
        if connection.database.in_transaction:
            # Ctrl-C came between the statement that starts the transaction and the block that ends
            # it.
            cls._end(connection, "ROLLBACK")
        connection.execute(how)

    @staticmethod
    def _end(connection: SqliteConnection, how: str) -> None:
        # Some errors end the transaction.
        with contextlib.suppress(sqlite3.Error):
            connection.execute(how)

    def move_aside(self) -> str:
        """Rename a damaged file, so that a new one can be created; return the new name."""
        place = next(
            place
            for number in range(1, 1000)
            if not (place := self.path.with_name(f"{self.path.name}.corrupt-{number}")).exists()
        )
        with self.mapped(), contextlib.suppress(FileNotFoundError):
            for suffix in _SUFFIXES:
                source = self.path.with_name(self.path.name + suffix)
                if source.exists():
                    source.rename(place.with_name(place.name + suffix))
        return place.name

    def size_bytes(self) -> int:
        """Return the size of the file and of its log."""
        files = (self.path.with_name(self.path.name + suffix) for suffix in _SUFFIXES)
        return sum(file.stat().st_size for file in files if file.exists())

    @contextmanager
    def mapped(self) -> Generator[None]:
        """Raise the user's error for one of SQLite or of the operating system."""
        started = time.monotonic()
        try:
            yield
        except TimeoutError as error:
            raise self._locked(started) from error
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise self._error(
                "other",
                f"the {self._words.noun} {self.path} cannot be used: {reason}",
                "check the folder and its permissions, or name another file "
                f"({self._words.path_setting})",
            ) from error
        except sqlite3.Error as error:
            raise self._error_of(error, started) from error

    def _error(self, kind: Kind, message: str, *hints: str) -> Exception:
        return self._words.error(kind, message, ", or ".join(filter(None, hints)))

    def _locked(self, started: float) -> Exception:
        return self._error(
            "locked",
            f"the {self._words.noun} {self.path} was locked by another program for "
            f"{time.monotonic() - started:.1f} s",
            f"try again{self._words.timeout_setting}",
        )

    def _error_of(self, error: sqlite3.Error, started: float) -> Exception:
        text = str(error)
        if "locked" in text or "busy" in text:
            return self._locked(started)
        if any(words in text for words in _CORRUPT):
            return self._error("corrupt", f"the {self._words.noun} {self.path} is damaged: {text}")
        setting = self._words.path_setting
        hints = {
            "full": self._words.space_advice,
            "disk I/O error": "check the disk, its free space, and limits on the size of files",
            "readonly": f"make the file and its folder writable, or name another ({setting})",
            "unable to open": "check the folder and its permissions, or name another file "
            f"({setting})",
        }
        hint = next((hint for words, hint in hints.items() if words in text), "")
        message = f"the {self._words.noun} {self.path} cannot be used: {text}"
        return self._error("other", message, hint)

    def _check_mode(self, rows: list[Row]) -> None:
        ((mode,),) = rows
        if mode != "wal":
            raise self._error(
                "other",
                f"SQLite cannot use its write-ahead log for {self.path} (it uses {mode!r})",
                f"name a file on a local disk ({self._words.path_setting})",
                self._words.sharing_advice,
            )


def _with_patience(statement: str, connection: SqliteConnection, timeout_s: float) -> list[Row]:
    """Run a statement again while the file is locked.

    SQLite itself does not wait if two connections change the mode of a new file at the same time.
    """
    until = time.monotonic() + timeout_s
    while True:
        try:
            return connection.execute(statement)
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() >= until:
                raise
        time.sleep(_MODE_WAIT_S)


def _file_system(folder: Path) -> str:
    """Return the kind of a folder's file system; empty if unknown."""
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
