"""The tables of the outbox: statements, and what their rows mean."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tvDatafeed.common.sqlitefile import Execute
from tvDatafeed.delivery.messages import BAR_CLOSED, ClosedBar
from tvDatafeed.exceptions import OutboxError, OutboxFullError

SCHEMA_VERSION = 1
WAITING, DELIVERED, DEAD = 0, 1, 2

_TABLES = (
    # AUTOINCREMENT: a removed number is not reused, and readers continue after a number.
    """CREATE TABLE IF NOT EXISTS message (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, destination INTEGER NOT NULL, lane TEXT NOT NULL,
        id TEXT NOT NULL, type TEXT NOT NULL, body BLOB, digest BLOB, created REAL NOT NULL,
        due REAL NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, state INTEGER NOT NULL DEFAULT 0,
        status INTEGER, error TEXT, batch INTEGER, UNIQUE (destination, id))""",
    "CREATE INDEX IF NOT EXISTS waiting ON message (destination, lane, seq) WHERE state = 0",
    "CREATE INDEX IF NOT EXISTS delivered ON message (seq) WHERE state = 1",
    "CREATE INDEX IF NOT EXISTS dead ON message (seq) WHERE state = 2",
    """CREATE TABLE IF NOT EXISTS destination (
        id INTEGER PRIMARY KEY, url TEXT NOT NULL UNIQUE, state TEXT NOT NULL DEFAULT 'ok')""",
)
_WAITING = (
    "SELECT seq, id, type, body, created, due, attempts, batch FROM message"
    " WHERE destination = ? AND lane = ? AND state = 0"
)
_PAGES = (
    "SELECT page_count - freelist_count, page_size"
    " FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
)
_COUNT = "SELECT COUNT(*) FROM message"
_COUNTS = "SELECT COUNT(*), SUM(attempts > 0), MIN(created) FROM message"
# Old versions of SQLite have at most 999 values in a statement.
_UPDATED_ROWS = 500
# Removed at a time when the file is full.
_REMOVED_ROWS = 64
# What a row may need beside its body: a page in the table, one in each index, and one to split.
_SPARE_PAGES = 4


@dataclass(frozen=True)
class OutboxMessage:
    """A message in the outbox.

    Attributes
    ----------
    id : str
        Its id.
    destination : str
        Where it goes, without the query of the URL.
    type, lane : str
        Its type, and the lane whose order it keeps.
    attempts : int
        How many times it was sent.
    status : int or None
        The HTTP status code of the last answer; None without one.
    error : str or None
        What went wrong at the last attempt.
    created : float
        When it was enqueued, seconds since 1970.
    """

    id: str
    destination: str
    type: str
    lane: str
    attempts: int
    status: int | None
    error: str | None
    created: float


class NewMessage(NamedTuple):
    """A message to add; a digest shows whether a bar is a correction."""

    lane: str
    id: str
    type: str
    body: bytes
    digest: bytes | None = None


@dataclass(frozen=True)
class Row:
    """A message that waits, as its sender needs it."""

    seq: int
    id: str
    type: str
    body: bytes
    created_s: float
    due_s: float
    attempts: int
    batch: int | None


@dataclass(frozen=True)
class Outcome:
    """What an attempt makes of the rows of a message: their new state, and when they are due."""

    rows: Sequence[int]
    state: int
    attempts: int
    status: int | None = None
    error: str | None = None
    due_s: float = 0.0


def make_tables(execute: Execute) -> None:
    """Make the tables where there are none.

    Raises
    ------
    OutboxError
        A later version of this library has made them.
    """
    ((version,),) = execute("PRAGMA user_version", ())
    if version > SCHEMA_VERSION:
        raise OutboxError(
            f"the outbox has schema version {version}, and this tvDatafeed knows {SCHEMA_VERSION}; "
            "upgrade tvDatafeed, or name another file (TV_OUTBOX)"
        )
    for statement in _TABLES:
        execute(statement, ())
    execute(f"PRAGMA user_version = {SCHEMA_VERSION}", ())


class Rows:
    """The rows of the outbox within one transaction.

    Parameters
    ----------
    execute
        Runs a statement.
    """

    def __init__(self, execute: Execute) -> None:
        self._execute = execute
        # How many bytes surely fit into the file yet; known after the first message is added.
        self._room_bytes = self._spare_bytes = 0

    def destination(self, url: str) -> tuple[int, str]:
        """Return the number of a destination and its state, made at first use."""
        found = self._execute("SELECT id, state FROM destination WHERE url = ?", (url,))
        if not found:
            self._execute("INSERT INTO destination (url) VALUES (?)", (url,))
            return self.destination(url)
        return found[0][0], found[0][1]

    def set_state(self, destination: int, state: str) -> None:
        """Record whether a destination is "ok", "failing" or "disabled"."""
        self._execute("UPDATE destination SET state = ? WHERE id = ?", (state, destination))

    def add_bar(
        self,
        destination: int,
        bar: ClosedBar,
        message: NewMessage,
        created_s: float,
        max_bytes: int,
    ) -> None:
        """Add a bar, unless its last revision has the same numbers.

        Parameters
        ----------
        destination
            The number of the destination.
        bar
            The bar.
        message
            The bar's `message_of` for revision 0, which nearly all bars are: made beforehand, it
            delays none of the others that share the transaction.
        created_s, max_bytes
            When it is enqueued, and how large the file may be.
        """
        revision, digest = 0, None
        while found := self._execute(
            "SELECT digest FROM message WHERE destination = ? AND id = ?",
            (destination, message.id if not revision else bar.id(revision)),
        ):
            ((digest,),) = found
            revision += 1
        if digest == message.digest:
            return
        if revision:
            message = message_of(bar, revision, created_s)
        self._insert(destination, message, created_s, max_bytes)

    def add(self, destination: int, message: NewMessage, created_s: float, max_bytes: int) -> None:
        """Add a message, unless one with its id is there."""
        if not self._execute(
            "SELECT 1 FROM message WHERE destination = ? AND id = ?", (destination, message.id)
        ):
            self._insert(destination, message, created_s, max_bytes)

    def _insert(
        self, destination: int, message: NewMessage, created_s: float, max_bytes: int
    ) -> None:
        while not self._take_room(len(message.body), max_bytes):
            rows = self._execute(
                "SELECT seq FROM message WHERE state = 1 ORDER BY seq LIMIT ?", (_REMOVED_ROWS,)
            )
            if not rows:
                raise OutboxFullError(
                    f"the outbox holds {max_bytes} bytes of messages that are not delivered; "
                    "allow more (TV_OUTBOX_MAX_BYTES), or see why they wait "
                    "(tvdatafeed deliver status)"
                )
            self._execute("DELETE FROM message WHERE state = 1 AND seq <= ?", (rows[-1][0],))
        self._execute(
            "INSERT INTO message (destination, lane, id, type, body, digest, created, due)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                destination,
                message.lane,
                message.id,
                message.type,
                message.body,
                message.digest,
                created_s,
                created_s,
            ),
        )

    def _take_room(self, size_bytes: int, max_bytes: int) -> bool:
        """Whether a message fits; the file is measured only when the last answer is used up."""
        if self._room_bytes < size_bytes + self._spare_bytes:
            used_pages, page_bytes = self._pages()
            self._spare_bytes = _SPARE_PAGES * page_bytes
            self._room_bytes = max_bytes - used_pages * page_bytes
        left_bytes = self._room_bytes - size_bytes - self._spare_bytes
        if left_bytes < 0:
            return False
        self._room_bytes = left_bytes
        return True

    def used_bytes(self) -> int:
        """Return how many bytes of the file hold something."""
        used_pages, page_bytes = self._pages()
        return used_pages * page_bytes

    def _pages(self) -> tuple[int, int]:
        """Return how many pages of the file hold something, and how many bytes a page has."""
        ((used_pages, page_bytes),) = self._execute(_PAGES, ())
        return int(used_pages), int(page_bytes)

    def data_version(self) -> int:
        """Return a number that changes when another connection has changed the file."""
        ((version,),) = self._execute("PRAGMA data_version", ())
        return int(version)

    def lanes(self, destination: int) -> list[str]:
        """Return the lanes in which messages wait; by steps from lane to lane in the index."""
        step = "SELECT MIN(lane) FROM message WHERE destination = ?1 AND state = 0"
        rows = self._execute(
            f"WITH RECURSIVE found (lane) AS ({step} UNION ALL "
            f"SELECT ({step} AND lane > found.lane) FROM found WHERE found.lane IS NOT NULL)"
            " SELECT lane FROM found WHERE lane IS NOT NULL",
            (destination,),
        )
        return [row[0] for row in rows]

    def waiting(self, destination: int, lane: str, after: int, limit: int) -> list[Row]:
        """Return the first messages that wait in a lane."""
        rows = self._execute(
            f"{_WAITING} AND seq > ? ORDER BY seq LIMIT ?",
            (destination, lane, after, limit),
        )
        return [Row(*row) for row in rows]

    def frozen(self, destination: int, lane: str, batch: int) -> list[Row]:
        """Return the messages that were sent as one before."""
        rows = self._execute(
            f"{_WAITING} AND seq <= ? AND batch = ? ORDER BY seq",
            (destination, lane, batch, batch),
        )
        return [Row(*row) for row in rows]

    def freeze(self, rows: Sequence[Row]) -> None:
        """Record that rows are sent as one message, without later ones."""
        self._update("batch = ?", (rows[-1].seq,), [row.seq for row in rows])

    def settle(self, outcome: Outcome) -> None:
        """Record what an attempt made of its rows; the body of a delivered one is dropped."""
        body = "body = NULL, " if outcome.state == DELIVERED else ""
        self._update(
            f"{body}state = ?, attempts = ?, status = ?, error = ?, due = ?",
            (outcome.state, outcome.attempts, outcome.status, outcome.error, outcome.due_s),
            outcome.rows,
        )

    def _update(self, change: str, values: Sequence[Any], rows: Sequence[int]) -> None:
        """Change those of some rows that wait, many in a statement."""
        for start in range(0, len(rows), _UPDATED_ROWS):
            numbers = rows[start : start + _UPDATED_ROWS]
            marks = ", ".join("?" * len(numbers))
            self._execute(
                f"UPDATE message SET {change} WHERE seq IN ({marks}) AND state = 0",
                (*values, *numbers),
            )

    def last(self, destination: int) -> int:
        """Return the number of the last message that waits for a destination; 0 without one."""
        lanes = (self._last_of(destination, lane) for lane in self.lanes(destination))
        return max(lanes, default=0)

    def _last_of(self, destination: int, lane: str) -> int:
        ((last,),) = self._execute(
            "SELECT MAX(seq) FROM message WHERE destination = ? AND lane = ? AND state = 0",
            (destination, lane),
        )
        return int(last or 0)

    def is_waiting(self, destination: int, until: int) -> bool:
        """Whether a message up to a number waits for a destination."""
        for lane in self.lanes(destination):
            rows = self.waiting(destination, lane, 0, 1)
            if rows and rows[0].seq <= until:
                return True
        return False

    def messages(self, state: int) -> list[OutboxMessage]:
        """Return the messages of a state, in the order in which they came."""
        rows = self._execute(
            "SELECT m.id, d.url, type, lane, attempts, status, error, created"
            " FROM message m JOIN destination d ON d.id = m.destination"
            # The state as text, so that its index is used.
            f" WHERE m.state = {state:d} ORDER BY seq",
            (),
        )
        return [OutboxMessage(row[0], shown_url(row[1]), *row[2:]) for row in rows]

    def retry(self, message_id: str | None, now_s: float) -> int:
        """Make dead messages wait again, as if they were new, and enable their destinations."""
        what = "" if message_id is None else " AND id = ?"
        values = () if message_id is None else (message_id,)
        found = self._execute(f"SELECT seq, destination FROM message WHERE state = 2{what}", values)
        for seq, _destination in found:
            self._execute(
                "UPDATE message SET state = 0, attempts = 0, created = ?, due = ?, error = NULL,"
                " status = NULL WHERE seq = ?",
                (now_s, now_s, seq),
            )
        if message_id is not None and not found:
            waiting = self._execute(
                "SELECT seq, destination FROM message WHERE id = ? AND state = 0", (message_id,)
            )
            if not waiting:
                raise OutboxError(f"the outbox has no message {message_id!r} that is not delivered")
            for seq, destination in waiting:
                self._execute("UPDATE message SET due = ? WHERE seq = ?", (now_s, seq))
                self._enable(destination)
        for destination in {row[1] for row in found}:
            self._enable(destination)
        if message_id is None:
            self._execute("UPDATE destination SET state = 'ok' WHERE state = 'disabled'", ())
        return len(found)

    def _enable(self, destination: int) -> None:
        self._execute(
            "UPDATE destination SET state = 'ok' WHERE id = ? AND state = 'disabled'",
            (destination,),
        )

    def drop(self, message_id: str) -> None:
        """Remove a message that is not delivered."""
        found = self._execute("SELECT seq FROM message WHERE id = ? AND state != 1", (message_id,))
        if not found:
            raise OutboxError(f"the outbox has no message {message_id!r} that is not delivered")
        for (seq,) in found:
            self._execute("DELETE FROM message WHERE seq = ?", (seq,))

    def stats(self, now_s: float) -> dict[str, Any]:
        """Return the numbers of messages by state, and the states of the destinations."""
        ((delivered,),) = self._execute("SELECT COUNT(*) FROM message WHERE state = 1", ())
        ((dead,),) = self._execute("SELECT COUNT(*) FROM message WHERE state = 2", ())
        ((waiting, retrying, oldest_s),) = self._execute(f"{_COUNTS} WHERE state = 0", ())
        destinations = self._execute("SELECT url, state FROM destination ORDER BY id", ())
        return {
            "pending": waiting,
            "dead": dead,
            "delivered": delivered,
            "retrying": retrying or 0,
            "oldest_s": _age_s(oldest_s, now_s),
            "bytes": self.used_bytes(),
            "destinations": {shown_url(url): state for url, state in destinations},
        }

    def stats_of(self, destination: int, now_s: float) -> dict[str, Any]:
        """Return the figures of one destination."""
        where = "WHERE destination = ? AND state"
        ((waiting, retrying, oldest_s),) = self._execute(f"{_COUNTS} {where} = 0", (destination,))
        ((delivered,),) = self._execute(f"{_COUNT} {where} = 1", (destination,))
        ((dead,),) = self._execute(f"{_COUNT} {where} = 2", (destination,))
        ((state,),) = self._execute("SELECT state FROM destination WHERE id = ?", (destination,))
        return {
            "pending": waiting,
            "dead": dead,
            "delivered": delivered,
            "retrying": retrying or 0,
            "oldest_s": _age_s(oldest_s, now_s),
            "state": state,
        }


def message_of(bar: ClosedBar, revision: int, created_s: float) -> NewMessage:
    """Return the message of a revision of a bar; its lane is the series."""
    body = bar.body(revision, created_s)
    return NewMessage(bar.key, bar.id(revision), BAR_CLOSED, body, bar.digest)


def _age_s(since_s: float | None, now_s: float) -> float:
    return 0.0 if since_s is None else max(now_s - since_s, 0.0)


def shown_url(url: str) -> str:
    """Return a URL without its query, which often holds a token."""
    return url.partition("?")[0].partition("#")[0]
