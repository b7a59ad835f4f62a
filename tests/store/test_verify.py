"""The verification of a store finds what is wrong with it, and leaves nothing behind."""

import contextlib
import shutil
import sqlite3
import struct
import threading
import time
from types import SimpleNamespace

import pytest

from tests.scale import AT_ONCE_S, at_most
from tvDatafeed.exceptions import StoreError
from tvDatafeed.store import BarStore
from tvDatafeed.store.key import SeriesKey
from tvDatafeed.store.records import Document

NAMES = [
    "driver and version",
    "server reachable",
    "server version",
    "privileges",
    "schema",
    "clock and time precision",
    "write and read back",
    "upsert",
    "restatement swap",
    "retention",
    "concurrent writers",
    "disk space",
    "clean-up",
]
ROW = struct.Struct("=6d")
KEY = SeriesKey("NASDAQ:AAPL", "1D")


@pytest.fixture
def store(tmp_path):
    with BarStore(tmp_path / "bars.db") as opened:
        yield opened


class Faulty:
    """A transaction of a real engine that does one thing wrong."""

    def __init__(self, real, fault):
        self._real = real
        self._fault = fault

    def __getattr__(self, name):
        return getattr(self._real, name)

    def write(self, series, packed):
        rows = list(ROW.iter_unpack(packed))
        if self._fault == "loses a bar" and len(rows) > 5:
            rows = rows[:-1]
        if self._fault == "cuts times":
            rows = list({int(row[0]): (float(int(row[0])), *row[1:]) for row in rows}.values())
        if self._fault == "keeps the first":
            stored = ROW.iter_unpack(self._real.read(series, -9e9, 9e9))
            known = {row[0] for row in stored}
            rows = [row for row in rows if row[0] not in known]
        if self._fault == "loses threads" and threading.current_thread() is not MAIN:
            rows = rows[1:]
        self._real.write(series, b"".join(ROW.pack(*row) for row in rows))

    def restart(self, series):
        if self._fault == "mixes generations":
            return
        self._real.restart(series)

    def read(self, series, lo, hi, *counts):
        packed = self._real.read(series, lo, hi, *counts)
        if self._fault == "removes old bars":
            return b"".join(ROW.pack(*row) for row in ROW.iter_unpack(packed) if row[0] >= 0)
        return packed

    def remove(self, series):
        if self._fault != "removes nothing":
            self._real.remove(series)


class FaultyEngine:
    """A real engine whose transactions are faulty."""

    def __init__(self, real, fault):
        self.real = real
        self.name, self.url = real.name, real.url
        self._fault = fault

    def __getattr__(self, name):
        return getattr(self.real, name)

    @contextlib.contextmanager
    def reading(self):
        with self.real.reading() as transaction:
            yield Faulty(transaction, self._fault)

    @contextlib.contextmanager
    def writing(self):
        with self.real.writing() as transaction:
            yield Faulty(transaction, self._fault)


MAIN = threading.main_thread()


def failed_of(checks):
    assert [check.name for check in checks] == NAMES
    assert all(check.hint for check in checks if not check.ok)
    assert not any(check.hint for check in checks if check.ok)
    return {check.name: check for check in checks if not check.ok}


def names_in(engine):
    with engine.reading() as transaction:
        series = [series.key.symbol for series in transaction.all()]
        return series + [document.symbol for document in transaction.documents()]


def test_all_hold(store):
    """Thirteen checks hold in a store that works, and its own records stay as they were."""
    with store.archive.writing() as transaction:
        series = transaction.add(KEY)
        transaction.write(series, ROW.pack(0.0, 1, 1, 1, 1, 1))
        transaction.save(series)
    before = store.series()
    checks = store.verify()
    assert failed_of(checks) == {}
    assert checks[0].detail.startswith("sqlite3 3.")
    assert "1 series, 0 documents" in checks[4].detail
    assert store.series() == before
    assert store.stats().documents == 0


@pytest.mark.parametrize(
    ("fault", "names"),
    [
        ("loses a bar", {"write and read back", "restatement swap", "concurrent writers"}),
        ("cuts times", {"clock and time precision"}),
        ("keeps the first", {"upsert"}),
        ("mixes generations", {"restatement swap"}),
        ("removes old bars", {"retention"}),
        ("loses threads", {"concurrent writers"}),
    ],
)
def test_faults(fault, names, store):
    """Each fault of an engine fails the check that is for it, and what was written is removed."""
    real = store.archive.engine
    store.archive.engine = FaultyEngine(real, fault)
    failed = failed_of(store.verify())
    store.archive.engine = real
    assert names <= set(failed)
    assert not {"privileges", "schema", "clean-up"} & set(failed)
    assert names_in(real) == []


def test_rows_that_cannot_be_removed(store):
    """A user who may not delete fails privileges and clean-up; the checks between do not run."""
    real = store.archive.engine
    store.archive.engine = FaultyEngine(real, "removes nothing")
    failed = failed_of(store.verify())
    store.archive.engine = real
    assert "DELETE" in failed["privileges"].hint
    assert failed["upsert"].detail == "not checked: privileges failed"
    assert failed["upsert"].hint == "see privileges"
    assert "tvdatafeed store clear" in failed["clean-up"].hint


def test_unreachable(tmp_path):
    """Of a store that cannot be opened the driver alone is checked."""
    (tmp_path / "file").write_text("")
    with BarStore(tmp_path / "file" / "bars.db") as store:
        failed = failed_of(store.verify())
    assert list(failed) == NAMES[1:]
    assert "TV_STORE_URL" in failed["server reachable"].hint
    assert failed["server reachable"].hint not in failed["server reachable"].detail
    others = [failed[name].detail for name in NAMES[2:]]
    assert set(others) == {"not checked: server reachable failed"}


def test_locked(store, tmp_path):
    """A store that another program has locked fails at the first write, and not once a check."""
    with BarStore(tmp_path / "bars.db", timeout=0.3) as other:
        other.connect()
        with at_most(AT_ONCE_S), store.archive.writing():
            failed = failed_of(other.verify())
    assert "locked" in failed["privileges"].detail
    assert "TV_STORE_TIMEOUT" in failed["privileges"].hint
    assert set(NAMES[5:11]) < set(failed)
    assert not {"schema", "disk space", "clean-up"} & set(failed)


def test_later_schema(store, tmp_path):
    """A store of a later version is reached, and its schema is what fails."""
    store.connect()
    store.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "bars.db")) as database:
        database.execute("UPDATE meta SET version = 99")
        database.commit()
    with BarStore(tmp_path / "bars.db") as later:
        failed = failed_of(later.verify())
    assert list(failed)[:2] == ["privileges", "schema"]
    assert "version 99" in failed["schema"].detail
    assert failed["privileges"].detail == "not checked: schema failed"


def test_clock(store):
    """A series that was used in the future means that a clock is wrong."""
    with store.archive.writing() as transaction:
        series = transaction.add(KEY)
        series.used_s = time.time() + 86400.0
        transaction.save(series)
    failed = failed_of(store.verify())
    assert list(failed) == ["clock and time precision"]
    assert "NTP" in failed["clock and time precision"].hint


def test_disk_space(store, monkeypatch):
    """Too little room is found before a disk is full."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: SimpleNamespace(free=1000))
    failed = failed_of(store.verify())
    assert list(failed) == ["disk space"]
    assert "TV_STORE_MAX_BARS" in failed["disk space"].hint


@pytest.mark.parametrize("error", [StoreError("gone"), RuntimeError("a bug")])
def test_never_raises(error, store, monkeypatch):
    """Whatever an engine raises is the detail of a check."""

    def fail():
        raise error

    monkeypatch.setattr(store.archive.engine, "size_bytes", fail)
    failed = failed_of(store.verify())
    assert list(failed) == ["disk space"]
    assert str(error) in failed["disk space"].detail


def test_interrupt(store, monkeypatch):
    """Ctrl-C ends a verification, and what it has written is removed."""
    real = store.archive.engine

    def interrupted():
        assert len(names_in(real)) > 3
        raise KeyboardInterrupt

    monkeypatch.setattr(real, "size_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.verify()
    assert names_in(real) == []


def test_what_another_verification_left(store):
    """What a killed verification left is removed; what runs at this moment is left alone."""
    now_s = time.time()
    with store.archive.writing() as transaction:
        for name, age_s in (("OLD", 7200.0), ("NEW", 10.0)):
            series = transaction.add(SeriesKey(f"TVDATAFEED-VERIFY:{name}", "1D"))
            series.used_s = now_s - age_s
            transaction.save(series)
            transaction.put_document(
                Document(
                    f"TVDATAFEED-VERIFY:{name}", "verify", "", now_s - age_s, now_s - age_s, 0, "{}"
                )
            )
    assert failed_of(store.verify()) == {}
    assert names_in(store.archive.engine) == ["TVDATAFEED-VERIFY:NEW"] * 2
