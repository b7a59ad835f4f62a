"""A store that fails: the error says what to do, and the bars still come."""

import contextlib
import os
import sqlite3
import stat
import subprocess
import sys

import pandas as pd
import pytest

from tests.loopback import NOW
from tests.programs import environment
from tests.store.bars import assert_stored, bars, next_bars
from tvDatafeed import Interval, TvDatafeed
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


def hist(server, store, n_bars=300, **options):
    with TvDatafeed(config=server.config(), store=store) as tv:
        return tv.get_hist(*AAPL, n_bars=n_bars, timezone="UTC", **options)


def expected(server, n_bars=300):
    return hist(server, False, n_bars)


def assert_answers(server, store, caplog, n_bars=300):
    """The bars come from TradingView, and one WARNING says why."""
    caplog.clear()
    with store:
        frame = hist(server, store, n_bars)
    pd.testing.assert_frame_equal(frame, expected(server, n_bars))
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
    """A block whose checksum is wrong is requested again, with one WARNING."""
    fill(server, path)
    with sqlite3.connect(path) as database:
        database.execute("UPDATE block SET data = zeroblob(length(data))")
    database.close()
    with BarStore(path) as store, pytest.raises(StoreCorruptError, match="block"):
        store.read_bars(*AAPL)
    message = assert_answers(server, BarStore(path), caplog)
    assert "requested again" in message
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


@pytest.fixture
def small_disk(tmp_path):
    """A file system with room for a megabyte, and what gives it more."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options):
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        return subprocess.run(command, check=False, capture_output=True).returncode

    if sys.platform != "linux" or mount("size=1m") != 0:
        pytest.skip("needs the right to mount a file system")
    try:
        yield folder, lambda: mount("remount,size=16m")
    finally:
        subprocess.run(["umount", str(folder)], check=True)  # noqa: S607 - as mount


def write_until_refused(store):
    """Write pages until the store refuses one; return the bars acknowledged, and the error."""
    for count in range(0, 1_000_000, 1000):
        frame = next_bars(1000, count)
        try:
            store.write_bars(frame, "TEST:FULL", interval=Interval.in_1_minute)
        except StoreError as error:
            return count, error
    raise AssertionError("no page was refused")


def fill_up(path):
    """Write a file until the disk has no room."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as rest:
        while True:
            rest.write(bytes(512))


def read_all(store):
    return store.read_bars(
        "TEST:FULL", interval=Interval.in_1_minute, n_bars=10_000_000, timezone="UTC"
    )


def test_full_disk(server, small_disk, caplog):
    """A disk that is really full: the error says what to free, and what was written stays."""
    folder, enlarge = small_disk
    with BarStore(folder / "bars.db") as store:
        count, error = write_until_refused(store)
        assert count > 0
        assert "full" in str(error)
        assert "TV_STORE_MAX_BARS" in str(error)
        assert_stored(read_all(store), bars(count))
        # The room that is left in the files takes a small answer; the bars come in any case.
        fill_up(folder / "rest")
        assert "full" in assert_answers(server, BarStore(folder / "bars.db"), caplog, 10_000)
        enlarge()
        frame = next_bars(5000, count)
        store.write_bars(frame, "TEST:FULL", interval=Interval.in_1_minute)
        assert_stored(read_all(store), bars(count + 5000))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of a file")
def test_file_that_may_not_grow(tmp_path):
    """A quota, or a limit on files: the error says where to look, and what was written stays."""
    path = tmp_path / "bars.db"
    code = (
        "import resource, signal, sys\n"
        "from tests.store.test_faults import write_until_refused\n"
        "from tvDatafeed.store import BarStore\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
        "store = BarStore(sys.argv[1])\n"
        "print(*write_until_refused(store))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        check=True,
        capture_output=True,
        text=True,
        env=environment(),
    )
    count, message = done.stdout.split(" ", 1)
    assert int(count) > 0
    assert "free space" in message
    with BarStore(path) as store:
        assert_stored(read_all(store), bars(int(count)))


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
            except BaseException:  # noqa: BLE001 - a test's child must not continue
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
