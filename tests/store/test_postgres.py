"""The PostgreSQL engine: how it begins, what it refuses, and what its errors say."""

import contextlib
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading

import pytest

from tests.programs import run, start
from tests.scale import PATIENCE_S, at_most
from tests.store.bars import FIRST_S, assert_stored, bars
from tests.store.postgresserver import NO_SERVER, PASSWORD
from tvDatafeed import ConfigurationError, Interval
from tvDatafeed.store import (
    BarStore,
    StoreCorruptError,
    StoreError,
    StoreLockedError,
    StoreVersionError,
)

psycopg = pytest.importorskip("psycopg", reason=NO_SERVER)

SECRETS = (PASSWORD, PASSWORD.replace(" ", "%20"), "p@ssword", "p%40ssword")


@pytest.fixture
def url(postgres):
    """The URL of an empty database."""
    return postgres.new_database()


@contextlib.contextmanager
def session(url):
    """A connection of another program, in a transaction that ends with the block."""
    with psycopg.connect(url) as connection:
        yield connection


def execute(url, statement, *values):
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement, values or None)
        return cursor.fetchall() if cursor.description else []


def write(store, frame, symbol="TEST:A"):
    return store.write_bars(frame, symbol, interval=Interval.in_1_minute)


def read(store, symbol="TEST:A"):
    return store.read_bars(symbol, interval=Interval.in_1_minute, n_bars=99999, timezone="UTC")


def refused(url, kind=StoreError, timeout=30.0):
    """Return the text of the error with which a store is refused."""
    with BarStore(url, timeout=timeout) as store:
        with pytest.raises(StoreError) as caught:
            store.connect()
        health = store.health_check()
    assert type(caught.value) is kind
    assert not health.ok
    texts = (str(caught.value), repr(caught.value), health.detail, repr(store))
    pickled = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - our own
    for text in (*texts, str(pickled), str(caught.value.__cause__)):
        assert not any(secret in text for secret in SECRETS)
    return str(caught.value)


# Beginning


BEGIN = """
import sys
from tests.store.bars import bars
from tvDatafeed import Interval
from tvDatafeed.store import BarStore

with BarStore(sys.argv[1]) as store:
    print("ready", flush=True)
    sys.stdin.readline()
    store.initialize()
    store.write_bars(bars(10), f"TEST:P{sys.argv[2]}", interval=Interval.in_1_minute)
"""


@pytest.mark.slow
def test_eight_processes_make_the_tables_at_once(url):
    """Programs that begin at the same moment make one schema, and none of them fails."""
    with contextlib.ExitStack() as running:
        programs = [
            running.enter_context(start("-c", BEGIN, url, str(number), stdin=subprocess.PIPE))
            for number in range(8)
        ]
        for program in programs:
            assert program.stdout.readline() == "ready\n"
        for program in programs:
            program.stdin.write("\n")
            program.stdin.flush()
        outcomes = [program.communicate(timeout=PATIENCE_S)[1] for program in programs]
    assert outcomes == [""] * 8
    assert [program.returncode for program in programs] == [0] * 8
    assert execute(url, "SELECT version FROM meta") == [(1,)]
    with BarStore(url) as store:
        assert len(store.series()) == 8


def test_threads_make_the_tables_at_once(url):
    """So do threads, each with an engine of its own."""
    barrier, failures = threading.Barrier(8), []

    def begin():
        with BarStore(url) as store:
            barrier.wait()
            try:
                store.initialize()
            except StoreError as error:
                failures.append(error)

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert execute(url, "SELECT version FROM meta") == [(1,)]


def test_reader_needs_no_right_to_make_tables(postgres, url):
    """A user who may only read can open a store, and the error of a write names what it needs."""
    with BarStore(url) as store:
        write(store, bars(10))
    execute(url, "DROP ROLE IF EXISTS reader")
    execute(url, "CREATE ROLE reader LOGIN PASSWORD 'made-up'")
    execute(url, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    other = postgres.url(url.rpartition("/")[2], "reader", "made-up")
    with BarStore(other) as store:
        assert_stored(read(store), bars(10))
        with pytest.raises(StoreError, match="GRANT"):
            write(store, bars(20))
        assert_stored(read(store), bars(10))
    execute(url, "DROP OWNED BY reader")


def test_later_version_is_refused(url):
    """A store of a later version is left as it is."""
    with BarStore(url) as store:
        write(store, bars(10))
    execute(url, "UPDATE meta SET version = 99")
    assert "upgrade tvDatafeed" in refused(url, StoreVersionError)


def test_missing_psycopg_names_the_extra():
    """Without psycopg the error names what to install."""
    program = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from tvDatafeed import ConfigurationError\n"
        "from tvDatafeed.store import BarStore\n"
        "try: BarStore('postgresql://u:made-up@localhost/db')\n"
        "except ConfigurationError as error: print(error)\n"
    )
    done = run("-c", program)
    assert 'pip install "tvdatafeed[postgres]"' in done.stdout, done.stderr
    assert "made-up" not in done.stdout


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:s3cr%t@h/d",
        "postgresql://u:s3cr%t@h:port/d",
        "postgresql://u:x@h/d?password=s3cr%25t&unknown=1",
        "postgresql://[::1/d?password=s3cr%t",
    ],
)
def test_unreadable_url_is_refused_without_its_password(url):
    """What libpq cannot read is a wrong configuration."""
    with pytest.raises(ConfigurationError) as caught:
        BarStore(url)
    assert "s3cr" not in str(caught.value) + repr(caught.value) + str(caught.value.__context__)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:made-up@h:5432/d", "postgresql://u:***@h:5432/d"),
        ("postgres://u@h/d?password=made-up&sslmode=require", "postgres://u@h/d"),
        ("POSTGRESQL://h/d?sslpassword=made-up", "POSTGRESQL://h/d"),
        ("postgresql://h/d?user=u&password=made@up", "postgresql://h/d"),
        ("postgresql:///d?host=/run&user=u&password=made-up", "postgresql:///d"),
    ],
)
def test_url_is_shown_without_its_secrets(url, shown):
    """Neither the password nor options that may hold one are shown."""
    store = BarStore(url)
    assert (store.url, repr(store)) == (shown, f"<BarStore {shown}>")


# What the server refuses


def test_wrong_password(postgres, url):
    """A wrong password names the setting, and is shown nowhere."""
    text = refused(postgres.url(url.rpartition("/")[2], password="wr%20ng%40secret"))
    assert "check the user and the password" in text
    assert "secret" not in text


def test_unknown_database(postgres):
    """An unknown database says how to make it."""
    assert "CREATE DATABASE" in refused(postgres.url("no_such_database"))


def test_unreachable_server():
    """Where no server listens, the error names host and port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    text = refused(f"postgresql://bars:made-up@127.0.0.1:{port}/bars")
    assert f"127.0.0.1:{port}" in text
    assert "check that the server runs" in text
    assert "made-up" not in text


def test_silent_server():
    """A server that accepts and says nothing is given up after the timeout."""
    with socket.create_server(("127.0.0.1", 0)) as silent, at_most(8.0):
        port = silent.getsockname()[1]
        text = refused(f"postgresql://bars@127.0.0.1:{port}/bars", timeout=0.5)
    assert "check that the server runs" in text


def test_read_only_server(postgres, url):
    """A read-only database can be read; a write says what to do."""
    with BarStore(url) as store:
        write(store, bars(10))
    name = url.rpartition("/")[2]
    postgres.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with BarStore(url) as store:
        assert_stored(read(store), bars(10))
        with pytest.raises(StoreError, match="primary server"):
            write(store, bars(20))
        assert_stored(read(store), bars(10))
        postgres.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")


def test_disk_full(url):
    """A full disk says what to free; the transaction leaves nothing behind."""
    with BarStore(url) as store:
        write(store, bars(10))
        execute(
            url,
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$",
        )
        execute(
            url,
            "CREATE TRIGGER full_disk BEFORE INSERT ON block FOR EACH ROW WHEN (NEW.first > "
            f"{FIRST_S + 132_800}) EXECUTE FUNCTION full_disk()",
        )
        with pytest.raises(StoreError, match="TV_STORE_MAX_BARS"):
            write(store, bars(5000))
        assert_stored(read(store), bars(10))
        execute(url, "DROP TRIGGER full_disk ON block")
        write(store, bars(5000))
        assert_stored(read(store), bars(5000))


def test_tables_of_another_program(url):
    """A database whose tables are others is left alone."""
    execute(url, "CREATE TABLE meta (key TEXT)")
    assert "a database for bars alone" in refused(url)


def test_removed_tables_are_made_again(url):
    """After somebody has dropped the tables, one call fails and the next makes them."""
    with BarStore(url) as store:
        write(store, bars(10))
        execute(url, "DROP TABLE meta, series, block, span, name, document")
        with pytest.raises(StoreError):
            read(store)
        write(store, bars(5))
        assert_stored(read(store), bars(5))


def test_damaged_block(url):
    """A block that was changed is a `StoreCorruptError`, and its series can be written again."""
    with BarStore(url) as store:
        write(store, bars(10))
        execute(url, "UPDATE block SET data = set_byte(data, 20, 77)")
        with pytest.raises(StoreCorruptError):
            read(store)


def test_nothing_is_moved_aside_on_a_server(url):
    """What is damaged as a whole is an error that names a backup."""
    with BarStore(url) as store:
        engine = store.archive.engine
        with pytest.raises(StoreError, match="backup"):
            engine.move_aside(StoreCorruptError("invalid page"))


# Waiting


def test_locked_series(url):
    """A writer waits for another one for as long as the timeout says; a reader never waits."""
    with BarStore(url, timeout=0.3) as store, session(url) as other:
        write(store, bars(10))
        other.execute("SELECT * FROM series FOR UPDATE")
        with at_most(3.0), pytest.raises(StoreLockedError, match="TV_STORE_TIMEOUT"):
            write(store, bars(20))
        assert_stored(read(store), bars(10))
        other.rollback()
        write(store, bars(20))
        assert_stored(read(store), bars(20))


def test_without_a_timeout_a_writer_waits(url):
    """With timeout=-1 a writer waits for another one, and then writes."""
    with BarStore(url, timeout=-1) as store, session(url) as other:
        write(store, bars(10))
        other.execute("SELECT * FROM series FOR UPDATE")
        writer = threading.Thread(target=write, args=(store, bars(20)))
        writer.start()
        waiting = "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        while execute(url, waiting) == [(0,)]:
            assert writer.is_alive()
        other.rollback()
        writer.join()
        assert_stored(read(store), bars(20))


def test_slow_statement(url):
    """A statement that takes longer than the timeout is ended by the server."""
    with BarStore(url, timeout=0.3) as store, session(url) as other:
        write(store, bars(10))
        execute(
            url,
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "PERFORM pg_sleep(60); RETURN NEW; END $$",
        )
        execute(
            url, "CREATE TRIGGER slow BEFORE INSERT ON block FOR EACH ROW EXECUTE FUNCTION slow()"
        )
        with at_most(5.0), pytest.raises(StoreError, match="TV_STORE_TIMEOUT"):
            write(store, bars(20))
        assert_stored(read(store), bars(10))
        assert other.execute("SELECT 1").fetchall() == [(1,)]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot stop a process")
@pytest.mark.slow
def test_frozen_server(url):
    """A session that neither answers nor ends is given up, and the next call has another one."""
    with BarStore(url, timeout=0.5) as store:
        write(store, bars(10))
        pid = _session_of(url)
        os.kill(pid, signal.SIGSTOP)
        try:
            with at_most(8.0), pytest.raises(StoreError, match="has not answered"):
                read(store)
            assert_stored(read(store), bars(10))
        finally:
            os.kill(pid, signal.SIGCONT)


def _session_of(url):
    ((pid,),) = execute(
        url,
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'tvDatafeed' "
        "AND datname = current_database()",
    )
    return pid


def test_session_that_ended_between_calls_is_replaced(url):
    """A connection that the server has closed meanwhile is not an error: nothing was under way."""
    with BarStore(url) as store:
        write(store, bars(10))
        execute(url, "SELECT pg_terminate_backend(%s)", _session_of(url))
        assert_stored(read(store), bars(10))
        execute(url, "SELECT pg_terminate_backend(%s)", _session_of(url))
        write(store, bars(20))
        assert_stored(read(store), bars(20))


def test_session_that_ends_in_a_transaction(url):
    """What was under way is a `StoreError` and leaves nothing; the next call connects again."""
    with BarStore(url) as store:
        write(store, bars(10))
        engine = store.archive.engine
        with pytest.raises(StoreError, match="connects again"):
            _remove_without_server(engine, url)
        assert_stored(read(store), bars(10))


def _remove_without_server(engine, url):
    with engine.writing() as transaction:
        (series,) = transaction.all()
        transaction.remove(series)
        execute(url, "SELECT pg_terminate_backend(%s)", _session_of(url))
        transaction.all()


def test_reader_sees_one_state(url):
    """A reader keeps the generation that it has begun with while another one is swapped in."""
    with BarStore(url) as store, BarStore(url) as other:
        write(store, bars(3000))
        with store.archive.engine.reading() as transaction:
            (series,) = transaction.all()
            with other.archive.engine.writing() as writer:
                (same,) = writer.all()
                writer.restart(same)
            packed = transaction.read(series, 0.0, 1e12)
        assert len(packed) == 3000 * 48
        assert other.series()[0].bars == 0


def test_writers_of_many_series_never_wait_in_a_circle(url):
    """Programs that use and write the same series in opposite orders all continue."""
    names = [f"TEST:S{number}" for number in range(6)]
    errors = []
    with BarStore(url) as store:
        for name in names:
            write(store, bars(10), name)

    def work(order, number):
        try:
            with BarStore(url, timeout=5.0, max_bars=10_000) as store:
                for step in range(15):
                    for name in order:
                        read(store, name)
                    for name in order:
                        write(store, bars(5, step * 5), name)
                    if number == 0:
                        store.stats()
        except StoreError as error:
            errors.append(error)

    orders = [names, names[::-1], names[3:] + names[:3], names[::2] + names[1::2]]
    threads = [
        threading.Thread(target=work, args=(order, number)) for number, order in enumerate(orders)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    assert execute(url, deadlocks) == [(0,)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is POSIX")
@pytest.mark.slow
def test_forked_child_connects_anew(url):
    """A child has a connection of its own; its parent's continues after the child has ended."""
    program = (
        "import os, sys\n"
        "from tests.store.bars import bars\n"
        "from tvDatafeed import Interval\n"
        "from tvDatafeed.store import BarStore\n"
        "store = BarStore(sys.argv[1])\n"
        "store.write_bars(bars(10), 'TEST:A', interval=Interval.in_1_minute)\n"
        "child = os.fork()\n"
        "store.write_bars(bars(10, 10 + 10 * (child == 0)), 'TEST:A', interval="
        "Interval.in_1_minute)\n"
        "if child == 0: sys.exit(0)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "print(len(store.read_bars('TEST:A', interval=Interval.in_1_minute, n_bars=99)))\n"
        "store.close()\n"
    )
    done = run("-c", program, url)
    assert done.stdout == "30\n", done.stderr
