"""The SQLite engine: one file, for many threads and processes of one machine."""

import logging
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tvDatafeed.common.facts import facts
from tvDatafeed.common.perthread import PerThread
from tvDatafeed.common.sqlitefile import SQLITE_VERSION, Execute, FileWords, Kind, SqliteFile
from tvDatafeed.exceptions import (
    StoreCorruptError,
    StoreError,
    StoreLockedError,
    StoreVersionError,
)
from tvDatafeed.store.engine import SCHEMA_VERSION
from tvDatafeed.store.tables import TableTransaction, make_tables

logger: logging.Logger = logging.getLogger(__name__)

_TYPES = {"serial": "INTEGER PRIMARY KEY", "real": "REAL", "bytes": "BLOB"}


def _store_error(kind: Kind, message: str, hint: str) -> StoreError:
    kinds: dict[Kind, type[StoreError]] = {
        "locked": StoreLockedError,
        "corrupt": StoreCorruptError,
        "other": StoreError,
    }
    return kinds[kind](message, hint=hint)


_WORDS = FileWords(
    noun="bar store",
    path_setting="TV_STORE_URL",
    timeout_setting=", or allow more time (TV_STORE_TIMEOUT)",
    space_advice="free some disk space, or limit the store (TV_STORE_MAX_BARS)",
    sharing_advice="use postgresql://... for a store that several machines share",
    error=_store_error,
)


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
        self._file = SqliteFile(path, timeout_s, _WORDS)
        self._is_ready = False
        self._connections = PerThread(self._file.connect, self._file.disconnect)

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
        self._file.make()
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
        place = self._file.move_aside()
        logger.warning(
            "the bar store %s is damaged (%s): it was renamed to %s, and a new one begins",
            self.path,
            error,
            place,
            extra=facts(error=error, path=place),
        )

    @contextmanager
    def reading(self) -> Generator[TableTransaction]:
        """See `engine.Engine`."""
        self.open()
        with (
            self._mapped(),
            self._connections.using() as connection,
            self._file.reading(connection) as execute,
        ):
            yield TableTransaction(execute)

    @contextmanager
    def writing(self) -> Generator[TableTransaction]:
        """See `engine.Engine`."""
        self.open()
        with self._execute_locked() as execute:
            yield TableTransaction(execute)

    @contextmanager
    def _execute_locked(self) -> Generator[Execute]:
        """Run statements in a transaction that no other writer shares."""
        with (
            self._mapped(),
            self._connections.using() as connection,
            self._file.writing(connection) as execute,
        ):
            yield execute

    @contextmanager
    def _mapped(self) -> Generator[None]:
        """Raise a `StoreError`; after one that a removed file may cause, check the file again."""
        try:
            with self._file.mapped():
                yield
        except (StoreLockedError, StoreCorruptError):
            raise
        except StoreError:
            self._is_ready = False
            raise

    def versions(self) -> tuple[str, str]:
        """See `engine.Engine`."""
        return f"sqlite3 {SQLITE_VERSION}", SQLITE_VERSION

    def size_bytes(self) -> int:
        """See `engine.Engine`."""
        return self._file.size_bytes()

    def close(self) -> None:
        """See `engine.Engine`."""
        self._connections.close()
