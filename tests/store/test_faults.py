"""A store that fails: the error says what to do, and the bars still come."""

import os
import sqlite3
import stat
import sys

import pandas as pd
import pytest

from tests.loopback import NOW
from tvDatafeed import TvDatafeed
from tvDatafeed.exceptions import (
    StoreCorruptError,
    StoreError,
    StoreLockedError,
    StoreVersionError,
)
from tvDatafeed.store import BarStore
from tvDatafeed.testing import FakeTradingView, MarketClock

AAPL = ("AAPL", "NASDAQ")


@pytest.fixture
def server():
    with FakeTradingView(clock=MarketClock(NOW, speed=0)) as running:
        yield running


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store" / "bars.db"


def hist(server, store, **options):
    with TvDatafeed(config=server.config(), store=store) as tv:
        return tv.get_hist(*AAPL, n_bars=300, timezone="UTC", **options)


def expected(server):
    return hist(server, False)


def assert_answers(server, store, caplog):
    """The bars come from TradingView, and one WARNING says why."""
    caplog.clear()
    with store:
        frame = hist(server, store)
    pd.testing.assert_frame_equal(frame, expected(server))
    said = [r for r in caplog.records if r.levelname == "WARNING" and "store" in r.message]
    assert len(said) == 1
    return said[0].message


def fill(server, path):
    with BarStore(path) as store:
        hist(server, store)


def test_files_are_the_user_s_alone(server, path):
    """The folder and the files of a new store cannot be read by others."""
    fill(server, path)
    if os.name == "posix":
        modes = {item.name: stat.S_IMODE(item.stat().st_mode) for item in path.parent.iterdir()}
        assert set(modes.values()) == {0o600}
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_file_that_is_no_database(server, path, caplog):
    """It is moved aside, never deleted, and a new store begins."""
    path.parent.mkdir()
    path.write_bytes(b"a letter to a friend" * 100)
    message = assert_answers(server, BarStore(path), caplog)
    assert "bars.db.corrupt-1" in message
    aside = path.with_name("bars.db.corrupt-1")
    assert aside.read_bytes().startswith(b"a letter")
    with BarStore(path) as store:
        assert len(store.read_bars(*AAPL, n_bars=300)) == 300


def test_damaged_block_is_fetched_again(server, path, caplog):
    """A block whose checksum is wrong is asked for again, with one WARNING."""
    fill(server, path)
    with sqlite3.connect(path) as database:
        database.execute("UPDATE block SET data = zeroblob(length(data))")
    database.close()
    with BarStore(path) as store, pytest.raises(StoreCorruptError, match="block"):
        store.read_bars(*AAPL)
    message = assert_answers(server, BarStore(path), caplog)
    assert "asked for again" in message
    with BarStore(path) as store:
        assert len(store.read_bars(*AAPL, n_bars=300)) == 300


def test_locked_file(server, path, caplog):
    """Another program that keeps the file locked costs the timeout, and no bars."""
    fill(server, path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        store = BarStore(path, timeout=0.1)
        message = assert_answers(server, store, caplog)
        assert "TV_STORE_TIMEOUT" in message
        with pytest.raises(StoreLockedError, match="locked"):
            store.write_cache("NASDAQ:AAPL", "note", 1)
        store.close()
    finally:
        other.close()


def test_later_version_is_refused(server, path, caplog):
    """A store of a later version is left as it is."""
    fill(server, path)
    with sqlite3.connect(path) as database:
        database.execute("UPDATE meta SET version = 99")
    database.close()
    with BarStore(path) as store, pytest.raises(StoreVersionError, match="upgrade tvDatafeed"):
        store.connect()
    assert "version 99" in assert_answers(server, BarStore(path), caplog)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full")
def test_folder_that_cannot_be_made(server, tmp_path, caplog):
    """A path below a file is one sentence."""
    (tmp_path / "file").write_text("x")
    store = BarStore(tmp_path / "file" / "bars.db")
    assert "TV_STORE_URL" in assert_answers(server, store, caplog)
    with pytest.raises(StoreError, match="permissions"):
        store.connect()
    assert not store.health_check().ok


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_child_uses_a_connection_of_its_own(server, path):
    """A child reads and writes, and leaves its parent's connection as it is."""
    with BarStore(path) as store:
        hist(server, store)
        child = os.fork()
        if child == 0:
            try:
                store.write_cache("NASDAQ:AAPL", "from the child", len(store.read_bars(*AAPL)))
                os._exit(0)
            except BaseException:  # noqa: BLE001 - a test's child must not go on
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        assert store.read_cache("NASDAQ:AAPL", "from the child") == 10
        assert len(store.read_bars(*AAPL, n_bars=300)) == 300


def test_only_with_a_broken_store_is_a_store_error(server, path):
    """`store="only"` has no other way: it raises the store's error."""
    path.parent.mkdir()
    path.mkdir()
    with (
        TvDatafeed(config=server.config(), store=path) as tv,
        pytest.raises(StoreError, match="TV_STORE_URL"),
    ):
        tv.get_hist(*AAPL, store="only")
