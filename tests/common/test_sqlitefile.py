"""An SQLite file after Ctrl-C: the next transaction begins as any other."""

import pytest

from tvDatafeed.store import BarStore


@pytest.mark.parametrize(
    ("statement", "call"),
    [
        ("BEGIN", lambda store: store.read_cache("A", "note")),
        ("BEGIN IMMEDIATE", lambda store: store.write_cache("A", "note", 2)),
    ],
    ids=["reading", "writing"],
)
def test_transaction_that_nothing_has_ended(tmp_path, monkeypatch, statement, call):
    """A transaction whose beginner was interrupted before its block is rolled back by the next."""
    from tvDatafeed.common.sqlitefile import SqliteConnection  # noqa: PLC0415 - for the patch

    execute, interrupts = SqliteConnection.execute, [KeyboardInterrupt]

    def interrupted(self, text, values=()):
        rows = execute(self, text, values)
        if text == statement and interrupts:
            raise interrupts.pop()
        return rows

    with BarStore(tmp_path / "bars.db") as store:
        store.write_cache("A", "note", 1)
        monkeypatch.setattr(SqliteConnection, "execute", interrupted)
        with pytest.raises(KeyboardInterrupt):
            call(store)
        store.write_cache("A", "note", 3)
        assert store.read_cache("A", "note") == 3
