"""The outbox: what is on disk when a call returns, and what happens to the file."""

import os
import sqlite3
import stat
import threading

import pytest

from tests.delivery.hooks import make_hook
from tests.delivery.receiver import Receiver
from tests.scale import PATIENCE_S
from tvDatafeed.delivery import Outbox, OutboxError, OutboxMessage
from tvDatafeed.exceptions import ConfigurationError

# Nothing listens there, and nothing is sent elsewhere.
URL = "http://127.0.0.1:1/hook?token=hunter2"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "outbox.db"


def enqueue(path, *values, **options):
    """Enqueue events for a receiver that is down; return their ids."""
    with make_hook(URL, path, **options) as hook:
        return [hook.send("a.b", value) for value in values]


def test_messages_outlive_their_program(path):
    """What waits is there for another program, with its data."""
    ids = enqueue(path, 1, 2)
    with Outbox(path) as outbox:
        messages = outbox.pending()
        assert [message.id for message in messages] == ids
        assert {type(message) for message in messages} == {OutboxMessage}
        assert {message.destination for message in messages} == {"http://127.0.0.1:1/hook"}
        assert {(message.type, message.lane) for message in messages} == {("a.b", "a.b")}
        stats = outbox.stats()
    assert (stats["pending"], stats["dead"], stats["delivered"]) == (2, 0, 0)
    assert set(stats["destinations"]) == {"http://127.0.0.1:1/hook"}
    assert stats["oldest_s"] >= 0
    assert stats["bytes"] > 0


def test_many_threads_share_commits(path):
    """Threads that enqueue together lose nothing, and each lane keeps its order."""
    sent = {}

    def work(hook, lane):
        sent[lane] = [hook.send("a.b", n, lane=lane) for n in range(50)]

    with Receiver() as receiver, make_hook(receiver.url, path) as hook:
        threads = [threading.Thread(target=work, args=(hook, f"lane {n}")) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert hook.flush(PATIENCE_S)
        accepted = receiver.accepted
    assert len(accepted) == 400
    for ids in sent.values():
        assert [i for i in accepted if i in set(ids)] == ids


def test_commit_that_fails_reaches_each_caller(path):
    """An error of one call is its own; the file is as before."""
    with Outbox(path) as outbox:
        with pytest.raises(OutboxError, match="no message"):
            outbox.drop("evt_none")
        with pytest.raises(OutboxError, match="no message"):
            outbox.retry("evt_none")
        assert outbox.retry() == 0
        assert outbox.pending() == outbox.dead() == []


def test_dropped_message_is_not_sent(path):
    """A message that was dropped is gone."""
    first, second = enqueue(path, 1, 2)
    with Outbox(path) as outbox:
        outbox.drop(first)
        assert [message.id for message in outbox.pending()] == [second]


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_files_are_the_user_s_alone(path):
    """Others cannot read what waits."""
    with make_hook(URL, path) as hook:
        hook.send("a.b", 1)
        modes = {stat.S_IMODE(item.stat().st_mode) for item in path.parent.iterdir()}
    assert modes == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_damaged_file_is_moved_aside(path, caplog):
    """A file that is not a database is renamed, and a new outbox begins."""
    path.parent.mkdir()
    path.write_bytes(b"a letter to a friend" * 100)
    ids = enqueue(path, 1)
    assert "outbox.db.corrupt-1" in caplog.text
    assert path.with_name("outbox.db.corrupt-1").read_bytes().startswith(b"a letter")
    with Outbox(path) as outbox:
        assert [message.id for message in outbox.pending()] == ids


def test_later_version_is_refused(path):
    """An outbox of a later version stays as it is."""
    enqueue(path, 1)
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with Outbox(path) as outbox, pytest.raises(OutboxError, match="upgrade"):
        outbox.pending()


def test_folder_that_cannot_be_made(tmp_path):
    """A path below a file is one sentence, which names the setting."""
    (tmp_path / "file").write_text("x")
    with (
        Outbox(tmp_path / "file" / "o.db") as outbox,
        pytest.raises(OutboxError, match="TV_OUTBOX"),
    ):
        outbox.pending()


def test_settings_of_the_environment(tmp_path, monkeypatch):
    """Without arguments the environment names the file and its limit."""
    monkeypatch.setenv("TV_OUTBOX", str(tmp_path / "mine.db"))
    monkeypatch.setenv("TV_OUTBOX_MAX_BYTES", "300000")
    with Outbox() as outbox:
        assert (outbox.path, outbox.max_bytes) == (tmp_path / "mine.db", 300_000)
    with pytest.raises(ConfigurationError, match="256000"):
        Outbox(max_bytes=1000)


def test_delivered_messages_make_room(path):
    """A file that is full of delivered messages takes new ones, and does not grow."""
    with Receiver() as receiver:
        outbox = Outbox(path, max_bytes=256_000)
        with make_hook(receiver.url, outbox) as hook:
            for number in range(100):
                hook.send("a.b", f"{number}" + "x" * 10_000)
                if number % 10 == 9:
                    assert hook.flush(PATIENCE_S)
            for number in range(2000):
                hook.send("a.b", number, lane=f"{number % 8}")
                if number % 200 == 199:
                    assert hook.flush(PATIENCE_S)
            stats = outbox.stats()
        outbox.close()
    assert stats["bytes"] <= 256_000
    assert 0 < stats["delivered"] < 2100
    assert path.stat().st_size <= 300_000
