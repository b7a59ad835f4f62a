"""The outbox: messages on disk until they are delivered."""

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tvDatafeed.common.facts import facts
from tvDatafeed.common.fork import call_in_forked_child
from tvDatafeed.common.sqlitefile import FileWords, Kind, SqliteConnection, SqliteFile
from tvDatafeed.config import DeliveryConfig
from tvDatafeed.delivery.groupcommit import GroupCommit
from tvDatafeed.delivery.rows import DEAD, WAITING, OutboxMessage, Rows, make_tables
from tvDatafeed.exceptions import OutboxError

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Outbox", "OutboxMessage"]

logger: logging.Logger = logging.getLogger(__name__)

_T = TypeVar("_T")

_FILE_NAME = "outbox.db"
# Other programs hold the file for some milliseconds; a callback must not wait for a stuck one.
_LOCK_TIMEOUT_S = 30.0


class _DamagedError(OutboxError):
    """The file is not a database any more."""


def _error(kind: Kind, message: str, hint: str) -> OutboxError:
    text = f"{message}; {hint}" if hint else message
    if kind == "corrupt":
        return _DamagedError(text)
    return OutboxError(text, retryable=True)


_WORDS = FileWords(
    noun="outbox",
    path_setting="TV_OUTBOX",
    timeout_setting="",
    space_advice="free some disk space",
    sharing_advice="",
    error=_error,
)


class Outbox:
    """Messages that wait in an SQLite file, for threads and processes of one machine.

    Parameters
    ----------
    path : str or path, optional
        The file. Default: ``TV_OUTBOX``, else one in the user's data folder.
    max_bytes : int, optional
        How many bytes it may have. Default: ``TV_OUTBOX_MAX_BYTES``, else 256 MB.

    Attributes
    ----------
    path : pathlib.Path
        The file.

    Examples
    --------
    ::

        with Outbox() as outbox:
            print(outbox.stats()["pending"])
    """

    def __init__(
        self, path: str | os.PathLike[str] | None = None, *, max_bytes: int | None = None
    ) -> None:
        if path is None or max_bytes is None:
            config = DeliveryConfig.from_env()
            path = path or config.outbox or _default_path()
            max_bytes = config.outbox_max_bytes if max_bytes is None else max_bytes
        checked = DeliveryConfig(outbox=os.fsdecode(path), outbox_max_bytes=max_bytes)
        self.path: Path = Path(checked.outbox or "").absolute()
        self.max_bytes: int = checked.outbox_max_bytes
        self._file = SqliteFile(self.path, _LOCK_TIMEOUT_S, _WORDS, is_durable=True)
        self._connection: SqliteConnection | None = None
        self._is_closed = False
        self._inherited: list[SqliteConnection] = []
        self._commit: GroupCommit[Rows] = GroupCommit(self._transaction)
        # Destinations, and what is called after a change that another thread should know. Each
        # change and each copy is one step, so that it needs no lock.
        self._listeners: dict[tuple[str, Callable[[str | None], None]], None] = {}
        call_in_forked_child(self._forget)

    def __repr__(self) -> str:
        return f"<Outbox {self.path}>"

    def __enter__(self) -> "Self":
        self.open()
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def pending(self) -> list[OutboxMessage]:
        """Return the messages that wait, oldest first.

        Returns
        -------
        list of OutboxMessage
            Those that were tried, and those that were not.
        """
        return self.run(lambda rows: rows.messages(WAITING))

    def dead(self) -> list[OutboxMessage]:
        """Return the messages that were refused or given up, oldest first.

        Returns
        -------
        list of OutboxMessage
            They stay until `retry` or `drop`.
        """
        return self.run(lambda rows: rows.messages(DEAD))

    def retry(self, id: str | None = None) -> int:  # noqa: A002 - as in the message
        """Send dead messages again, as if they were new.

        Destinations that were disabled by status 410 are enabled.

        Parameters
        ----------
        id : str, optional
            One message; one that waits is sent at once. Default: all that are dead.

        Returns
        -------
        int
            How many dead messages wait now.

        Raises
        ------
        OutboxError
            There is no such message, or the file cannot be written.
        """
        number = self.run(lambda rows: rows.retry(id, time.time()))
        self._notify_all()
        return number

    def drop(self, id: str) -> None:  # noqa: A002 - as in the message
        """Remove a message that is not delivered.

        Parameters
        ----------
        id : str
            The message.

        Raises
        ------
        OutboxError
            There is no such message, or the file cannot be written.
        """
        self.run(lambda rows: rows.drop(id))
        self._notify_all()

    def stats(self) -> dict[str, Any]:
        """Return figures.

        Returns
        -------
        dict
            ``pending``, ``dead``, ``delivered`` and ``retrying``: numbers of messages, those that
            are delivered as far as they are remembered; ``oldest_s``: the age of the oldest that
            waits; ``bytes``; ``destinations``: URL to "ok", "failing" or "disabled".
        """
        return self.run(lambda rows: rows.stats(time.time()))

    def open(self) -> None:
        """Keep the file open between its uses again, after `close`."""
        self._is_closed = False

    def close(self) -> None:
        """Close the file.

        A later use, such as that of a thread that still sends, opens the file and closes it again.
        """
        # A transaction that runs now closes the file itself, or ends before `run_alone` begins.
        self._is_closed = True
        self._commit.run_alone(self._disconnect)

    def run(self, function: Callable[[Rows], _T]) -> _T:
        """Call a function with the rows, in a transaction that is on disk when this returns."""
        return self._commit.run(function)

    def listen(self, url: str, listener: Callable[[str | None], None]) -> None:
        """Call `listener` with a lane that has a new message; None: look at all lanes."""
        self._listeners[url, listener] = None

    def unlisten(self, url: str, listener: Callable[[str | None], None]) -> None:
        """Call `listener` no more."""
        self._listeners.pop((url, listener), None)

    def notify(self, url: str, lane: str | None) -> None:
        """Call the listeners of a destination."""
        for destination, listener in tuple(self._listeners):
            if destination == url:
                listener(lane)

    def _notify_all(self) -> None:
        for _destination, listener in tuple(self._listeners):
            listener(None)

    def data_version(self) -> int:
        """Return a number that changes when another connection has changed the file."""
        return self._commit.run(Rows.data_version)

    def _transaction(self, function: Callable[[Rows], None]) -> None:
        try:
            self._write(function)
        finally:
            if self._is_closed:
                self._disconnect()

    def _write(self, function: Callable[[Rows], None]) -> None:
        try:
            connection = self._connected()
            with self._file.writing(connection) as execute:
                function(Rows(execute))
        except _DamagedError as error:
            self._disconnect()
            place = self._file.move_aside()
            logger.error(  # noqa: TRY400 - the traceback says nothing more
                "%s: it was renamed to %s, and a new one begins",
                error,
                place,
                extra=facts(error=error, path=place),
            )
            with self._file.writing(self._connected()) as execute:
                function(Rows(execute))
        except OutboxError:
            # Whatever happened to the file, it is opened again.
            self._disconnect()
            raise

    def _connected(self) -> SqliteConnection:
        if self._connection is not None and self.path.exists():
            return self._connection
        self._disconnect()
        self._file.make()
        self._connection = connection = self._file.connect()
        with self._file.writing(connection) as execute:
            make_tables(execute)
        return connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._file.disconnect(connection)

    def _forget(self) -> None:
        # The parent uses it: a child must neither use nor close it.
        if self._connection is not None:
            self._inherited.append(self._connection)
        self._connection = None
        self._listeners = {}
        self._commit.reset()


def _default_path() -> str:
    import platformdirs  # noqa: PLC0415 - needed by few

    return os.path.join(platformdirs.user_data_dir("tvDatafeed"), _FILE_NAME)  # noqa: PTH118
