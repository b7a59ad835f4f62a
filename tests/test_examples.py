"""The examples run as they stand, against the market inside them and against another."""

import contextlib
import json
import queue
import signal
import socket
import sqlite3
import sys
import threading
import time

import pytest

from tests.delivery.receiver import SECRET
from tests.delivery.redisserver import NO_SERVER, PASSWORD, RedisServer, has_server
from tests.loopback import NOW
from tests.programs import NO_ACCOUNT, ROOT, run, start
from tests.scale import PATIENCE_S
from tvDatafeed.testing import FakeTradingView, MarketClock

FOLDER = ROOT / "examples"
EXAMPLES = sorted(path for path in FOLDER.glob("*.py") if path.name != "service.py")
# They have an account, or configure logging.
QUIET = {"cookie_login.py", "quiet_mode.py", "two_factor_authentication.py"}
# Programs that would run until Ctrl-C get a limit.
ENDS = {"live_feed.py": ["BITSTAMP:BTCUSD", "0.5"], "trading_bot.py": ["--bars", "30"]}


DELIVERY = sorted((FOLDER / "delivery").glob("*.py"))


def example(name):
    return str(FOLDER / name)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
@pytest.mark.slow
def test_example_runs(path):
    """An example ends well, prints something, and warns of nothing but a missing account."""
    done = run("-W", "error", str(path), *ENDS.get(path.name, ()))
    assert (done.returncode, done.stderr) == (0, "" if path.name in QUIET else NO_ACCOUNT)
    assert done.stdout


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
@pytest.mark.slow
def test_example_has_help(path):
    """Its first line says what it is, and --real asks TradingView."""
    done = run(str(path), "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "--real" in done.stdout


@pytest.mark.parametrize(
    "name", ["basic_usage", "date_range_search", "many_symbols", "symbol_format_guide"]
)
@pytest.mark.slow
def test_real_is_the_service_of_the_environment(server, name):
    """With --real nothing is made up inside."""
    done = run("-W", "error", example(f"{name}.py"), "--real", server=server)
    assert (done.returncode, done.stderr) == (0, NO_ACCOUNT)
    assert server.connections_opened == 1


@pytest.mark.slow
def test_unknown_symbol():
    """The basic example says in one line that there is nothing to show."""
    done = run(example("basic_usage.py"), "NASDAQ:NOSUCH")
    assert done.returncode == 1
    warning, line = done.stderr.splitlines(keepends=True)
    assert warning == NO_ACCOUNT
    assert line.startswith("Nothing to show: Symbol 'NOSUCH' not found")


@pytest.mark.slow
def test_live_feed():
    """In a market in a hurry it prints bar after bar."""
    done = run("-W", "error", example("live_feed.py"), "BINANCE:BTCUSDT", "1")
    assert (done.returncode, done.stderr) == (0, NO_ACCOUNT)
    *bars, last = done.stdout.splitlines()
    assert len(bars) > 5
    assert f"LIVE, {len(bars)} bars" in last


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGTERM there")
@pytest.mark.slow
def test_trading_bot_goes_on_through_a_lost_connection():
    """It reports when the feed is back, and SIGTERM ends it cleanly."""
    back = threading.Event()

    def read(stdout):
        for line in stdout:
            if "back after" in line:
                back.set()

    clock = MarketClock(NOW, speed=1200.0)
    settings = {"TV_BASE_RETRY_DELAY": "0.05", "TV_REQUESTS_PER_MINUTE": "6000"}
    with (
        FakeTradingView(clock=clock, tick_interval_s=0.02) as server,
        start(example("trading_bot.py"), "--real", server=server, **settings) as bot,
    ):
        reader = threading.Thread(target=read, args=(bot.stdout,))
        reader.start()
        until = time.monotonic() + PATIENCE_S
        # A loss before the series was live is not an outage, so that one may not be enough.
        while not back.wait(0.2) and time.monotonic() < until:
            assert server.wait_until(lambda s: s.open_sessions)
            server.drop_connections()
        assert back.is_set()
        bot.send_signal(signal.SIGTERM)
        assert bot.wait(PATIENCE_S) == 0
        assert "Traceback" not in bot.stderr.read()
        reader.join(PATIENCE_S)


@pytest.mark.parametrize("path", DELIVERY, ids=lambda path: path.name)
@pytest.mark.slow
def test_delivery_example_has_help(path):
    """Its first line says what it is."""
    done = run("-W", "error", str(path), "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) > 5


def lines_of(program):
    """Read a program's output in a thread, and return a queue of its lines."""
    lines = queue.SimpleQueue()

    def read():
        for line in program.stdout:
            lines.put(line)

    threading.Thread(target=read).start()
    return lines


def wait_for(lines, words):
    """Return the next line that has some words."""
    while words not in (line := lines.get(timeout=PATIENCE_S)):
        pass
    return line


@pytest.mark.slow
def test_sender_and_receiver(tmp_path):
    """A receiver gets bars and a signal, also those that were sent while it was away, each once."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    database = tmp_path / "inbox.db"
    settings = {
        "TV_WEBHOOK_URL": f"http://127.0.0.1:{port}/bars",
        "TV_WEBHOOK_SECRET": SECRET,
        "TV_OUTBOX": str(tmp_path / "outbox.db"),
    }
    receiver = [example("delivery/receiver.py"), f"--port={port}", f"--database={database}"]
    clock = MarketClock(NOW, speed=600.0)
    with FakeTradingView(clock=clock, tick_interval_s=0.02) as server:
        arguments = [example("delivery/sender.py"), "BINANCE:BTCUSDT", "600"]
        with start(*arguments, server=server, **settings) as sender:
            sent = lines_of(sender)
            wait_for(sent, "retrying")
            for _time in range(2):
                with start(*receiver, **settings) as program:
                    lines = lines_of(program)
                    wait_for(lines, "POST to")
                    wait_for(lines, " bar.closed ")
                    wait_for(lines, " signal.created ")
                    program.terminate()
            sender.kill()
    with contextlib.closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT body FROM message ORDER BY rowid").fetchall()
    bodies = [json.loads(body) for (body,) in rows]
    times = [body["data"]["time_s"] for body in bodies if body["type"] == "bar.closed"]
    assert times == list(range(times[0], times[-1] + 60, 60))
    assert len(times) >= 2


@pytest.fixture
def redis():
    """A Redis server of one test."""
    if not has_server():
        pytest.skip(NO_SERVER)
    server = RedisServer(password=PASSWORD)
    yield server
    server.close()


@pytest.mark.slow
def test_shared_feed(redis):
    """Each reader gets each bar of the publisher, and the readers of a group share them."""
    settings = {"TV_REDIS_URL": redis.url}
    reader = [example("delivery/shared_feed_reader.py"), "BINANCE:BTCUSDT"]
    clock = MarketClock(NOW, speed=600.0)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(FakeTradingView(clock=clock, tick_interval_s=0.02))
        publisher = [example("delivery/shared_feed_publisher.py"), "BINANCE:BTCUSDT"]
        programs = [stack.enter_context(start(*publisher, server=server, **settings))]
        wait_for(lines_of(programs[0]), "is published")
        programs += [stack.enter_context(start(*reader, **settings)) for _reader in range(2)]
        group = [*reader, "--group=workers"]
        programs += [stack.enter_context(start(*group, **settings)) for _reader in range(2)]
        first, second, *of_group = [lines_of(program) for program in programs[1:]]
        bars = [wait_for(first, "BTCUSDT") for _bar in range(30)]
        assert [wait_for(second, "BTCUSDT") for _bar in range(30)] == bars
        shared = []
        for lines in of_group:
            shared += [wait_for(lines, "BTCUSDT") for _bar in range(2)]
        assert len(set(shared)) == 4
        for program in programs:
            program.kill()
    assert len(set(bars)) == 30


def test_shared_feed_needs_a_server_url():
    """Without a URL both programs name its variable."""
    for name in ("shared_feed_publisher", "shared_feed_reader"):
        done = run("-W", "error", example(f"delivery/{name}.py"))
        assert done.returncode == 2
        assert "TV_REDIS_URL" in done.stderr


def test_receiver_needs_a_secret():
    """Without a secret the receiver ends with the command that makes one."""
    done = run("-W", "error", example("delivery/receiver.py"))
    assert done.returncode == 2
    assert "tvdatafeed deliver secret" in done.stderr


def test_sender_needs_settings():
    """Without a URL the sender names its variable."""
    done = run("-W", "error", example("delivery/sender.py"))
    assert done.returncode == 2
    assert "TV_WEBHOOK_URL" in done.stderr


def test_examples_of_delivery_are_listed():
    """The README of the folder lists each of its files."""
    listed = (FOLDER / "delivery" / "README.md").read_text(encoding="utf-8")
    names = [*(path.name for path in DELIVERY), "compose.yaml"]
    assert all(f"]({name})" in listed for name in names)


def test_examples_are_listed():
    """The examples' README lists every example."""
    listed = (FOLDER / "README.md").read_text(encoding="utf-8")
    paths = [*EXAMPLES, *FOLDER.glob("*.ipynb")]
    assert all(f"]({path.name})" in listed for path in paths)


def test_notebook_has_its_outputs():
    """Every cell of code was run, in order, and none of them failed."""
    (path,) = FOLDER.glob("*.ipynb")
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert any("image/png" in output.get("data", {}) for output in outputs)


@pytest.mark.documentation
@pytest.mark.slow
def test_notebook_runs():
    """From its first cell to its last, in a kernel of its own."""
    (path,) = FOLDER.glob("*.ipynb")
    program = f"""
import nbclient, nbformat
notebook = nbformat.read({str(path)!r}, as_version=4)
nbclient.NotebookClient(notebook, timeout=60).execute()
print(sum(len(cell.get("outputs", ())) for cell in notebook.cells))
"""
    done = run("-c", program)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 10
