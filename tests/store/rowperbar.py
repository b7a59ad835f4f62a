"""A row for each bar in a table, as caches are commonly written, to compare the store with."""

import sqlite3

COLUMNS = ("time", "open", "high", "low", "close", "volume")
_TABLE = (
    "CREATE TABLE IF NOT EXISTS bar (symbol TEXT, time {0}, open {0}, high {0}, low {0}, "
    "close {0}, volume {0}, PRIMARY KEY (symbol, time))"
)
_NEWEST = f"SELECT {', '.join(COLUMNS)} FROM bar WHERE symbol = {{}} ORDER BY time DESC LIMIT {{}}"  # noqa: S608
_UPSERT = """INSERT INTO bar VALUES (%s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (symbol, time) DO UPDATE SET open = excluded.open, high = excluded.high,
    low = excluded.low, close = excluded.close, volume = excluded.volume"""


def rows_of(frame):
    """Return the bars of a frame as tuples."""
    times = frame.index.as_unit("ns").asi8 / 1e9
    return list(zip(times.tolist(), *frame.to_numpy().T.tolist(), strict=True))


def frame_of(rows):
    """Return the frame of rows, the newest first."""
    import pandas as pd  # noqa: PLC0415 - the workers that write need none

    frame = pd.DataFrame(rows[::-1], columns=COLUMNS)
    frame.index = pd.to_datetime(frame.pop("time"), unit="s", utc=True)
    return frame


class SqliteRows:
    """In SQLite, with the settings that the store uses; it waits for others as the store does."""

    def __init__(self, path):
        self._database = sqlite3.connect(path, timeout=30.0, isolation_level=None)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.execute(_TABLE.format("REAL"))

    def write(self, symbol, rows):
        self._database.execute("BEGIN IMMEDIATE")
        self._database.executemany(
            "INSERT OR REPLACE INTO bar VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(symbol, *row) for row in rows],
        )
        self._database.execute("COMMIT")

    def read(self, symbol, count):
        return frame_of(
            self._database.execute(_NEWEST.format("?", "?"), (symbol, count)).fetchall()
        )

    def close(self):
        self._database.close()


class PostgresRows:
    """In PostgreSQL."""

    def __init__(self, url):
        import psycopg  # noqa: PLC0415 - absent where there is no server

        self._database = psycopg.connect(url, autocommit=True)
        # Programs that make a table at the same moment collide.
        self._database.execute("SELECT pg_advisory_lock(1)")
        self._database.execute(_TABLE.format("DOUBLE PRECISION"))
        self._database.execute("SELECT pg_advisory_unlock(1)")

    def write(self, symbol, rows):
        with self._database.transaction(), self._database.cursor() as cursor:
            cursor.executemany(_UPSERT, [(symbol, *row) for row in rows])

    def read(self, symbol, count):
        return frame_of(
            self._database.execute(_NEWEST.format("%s", "%s"), (symbol, count)).fetchall()
        )

    def clear(self):
        self._database.execute("TRUNCATE bar")

    def close(self):
        self._database.close()


def open_rows(url):
    """Open the table of a database: of a PostgreSQL server's, else of a file."""
    return PostgresRows(url) if url.startswith("postgresql:") else SqliteRows(url)
