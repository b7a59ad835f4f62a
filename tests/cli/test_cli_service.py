"""Commands as services: figures and health over HTTP, and signs of life for a service manager."""

import contextlib
import json
import re
import signal
import socket
import sys
import tempfile
import threading
import urllib.error
import urllib.request

import pytest

from tests.cli.command import lines_of, moving, needs_signals
from tests.delivery.receiver import SECRET, Receiver
from tests.feed import LiveServer, live, until
from tests.programs import start
from tests.scale import PATIENCE_S
from tvDatafeed.cli import main
from tvDatafeed.cli.service import as_service

SYMBOL = "BITSTAMP:BTCUSD"
LIVE = ("-m", "tvDatafeed", "live", SYMBOL)
needs_unix = pytest.mark.skipif(
    sys.platform == "win32" or not hasattr(socket, "AF_UNIX"), reason="no such sockets there"
)


@pytest.fixture
def server():
    with LiveServer() as running:
        yield running


class Manager:
    """What a service manager hears."""

    def __init__(self, path):
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self.reports = []

    def close(self):
        self._socket.close()

    def hear(self, name, timeout=PATIENCE_S):
        """Wait for a report that has a name, and return it."""
        self._socket.settimeout(timeout)
        while True:
            text = self._socket.recv(4096).decode()
            report = dict(line.split("=", 1) for line in text.splitlines())
            self.reports.append(report)
            if name in report:
                return report


@pytest.fixture
def manager(monkeypatch):
    """A service manager whose socket the environment names."""
    # A path of a socket has at most 104 bytes.
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        heard = Manager(f"{folder}/notify")
        monkeypatch.setenv("NOTIFY_SOCKET", heard.path)
        monkeypatch.delenv("WATCHDOG_USEC", raising=False)
        monkeypatch.delenv("WATCHDOG_PID", raising=False)
        yield heard
        heard.close()


def status_of(url):
    """The status and the JSON of an answer."""
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:  # noqa: S310 - ours
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def address_in(line):
    """The address that the first line of a command names."""
    found = re.search(r"figures at (http://\S+)/metrics, health at \1/health", line)
    assert found, line
    return found[1]


@needs_signals
@pytest.mark.slow
def test_live_serves_figures(server):
    """Beside its bars it serves both pages, and SIGTERM ends it with exit code 0."""
    with start(*LIVE, "--metrics-port", "0", server=server, TV_BASE_RETRY_DELAY="0.05") as program:
        url = address_in(program.stderr.readline())
        status, body = status_of(f"{url}/health")
        health = json.loads(body)
        assert (status, health["ok"]) == (200, True)
        assert health["seises"][0]["symbol"] == SYMBOL
        assert b'tvdatafeed_seis_bars_total{exchange="BITSTAMP"' in status_of(f"{url}/metrics")[1]
        server.stop()
        assert until(lambda: status_of(f"{url}/health")[0] == 503)
        server.start()
        assert until(lambda: status_of(f"{url}/health")[0] == 200)
        program.send_signal(signal.SIGTERM)
        assert program.wait(PATIENCE_S) == 0
        assert "Traceback" not in program.stderr.read()
    assert server.wait_until(lambda s: not s.open_sessions)


def test_figures_end_with_the_command(loopback, capsys):
    """After the last bar the port is free again, and no thread is left."""
    with moving(loopback):
        assert main(["live", SYMBOL, "--count", "2", "--metrics-port", "0"]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2
    (line,) = lines_of(err)
    port = int(address_in(line).rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)):
        pass


@pytest.mark.slow
def test_deliver_run_serves_figures(server, tmp_path):
    """Its outbox and its webhook are there too."""
    settings = {"TV_WEBHOOK_SECRET": SECRET, "TV_OUTBOX": str(tmp_path / "outbox.db")}
    with Receiver() as receiver:
        arguments = ("-m", "tvDatafeed", "deliver", "run", SYMBOL, "--url", receiver.url)
        with start(*arguments, "--metrics-port=0", server=server, **settings) as program:
            program.stderr.readline()
            url = address_in(program.stderr.readline())
            receiver.wait_for(1, PATIENCE_S)
            assert status_of(f"{url}/health")[0] == 200
            text = status_of(f"{url}/metrics")[1].decode()
            program.kill()
    assert "tvdatafeed_outbox_up 1.0" in text
    assert 'tvdatafeed_webhook_state{state="ok"} 1.0' in text


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (["--metrics-port", "65536"], 2, "'65536' is not a port between 0 and 65535"),
        (["--metrics-port", "-1"], 2, "--metrics-port"),
        (["--metrics-port", "0", "--metrics-host", "no-such.invalid"], 1, "no-such.invalid port 0"),
        (["--metrics-port", "0", "--from-redis", "redis://127.0.0.1:1"], 2, "deliver run --redis"),
    ],
)
def test_mistakes(loopback, capsys, arguments, exit_code, words):
    """Each is one line with the next step."""
    assert main(["live", SYMBOL, *arguments]) == exit_code
    out, err = capsys.readouterr()
    (line,) = lines_of(err)
    assert words in line
    assert out == ""


def test_port_in_use(loopback, capsys):
    """The line has the reason and names the option."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["live", SYMBOL, "--metrics-port", str(port)]) == 1
    (line,) = lines_of(capsys.readouterr().err)
    assert line.startswith(f"tvdatafeed: cannot listen on 127.0.0.1 port {port}: ")
    assert line.endswith("choose another --metrics-port, or 0 for a free one")
    assert loopback.wait_until(lambda s: not s.open_sessions)


def test_package_is_missing(loopback, capsys, monkeypatch):
    """The line has the command that installs it."""
    monkeypatch.delitem(sys.modules, "tvDatafeed.common.prometheus", raising=False)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    assert main(["live", SYMBOL, "--metrics-port", "0"]) == 2
    (line,) = lines_of(capsys.readouterr().err)
    assert 'pip install "tvdatafeed[metrics]"' in line


@needs_unix
def test_reports_of_a_command(loopback, capsys, manager):
    """It is ready once all is followed, and says when it ends; without a watchdog no more."""
    with moving(loopback):
        assert main(["live", SYMBOL, "--count", "2"]) == 0
    assert manager.hear("READY")["STATUS"].startswith("1 of 1 live, last bar 2026-08-14 2")
    manager.hear("STOPPING")
    assert [set(report) for report in manager.reports] == [
        {"READY", "STATUS"},
        {"STOPPING", "STATUS"},
    ]
    assert capsys.readouterr().err == ""


@needs_unix
def test_a_command_that_fails_is_never_ready(loopback, capsys, manager):
    """A symbol that TradingView does not know: the manager hears nothing, and has the exit code."""
    assert main(["live", "NASDAQ:NOPE"]) == 1
    with pytest.raises(TimeoutError):
        manager.hear("READY", 0.01)
    lines_of(capsys.readouterr().err)


@needs_unix
@needs_signals
@pytest.mark.parametrize("command", ["live", "deliver run"])
@pytest.mark.slow
def test_watchdog(server, manager, tmp_path, command):
    """Signs of life come twice in the watchdog's time, also while TradingView is away."""
    settings = {
        "TV_WEBHOOK_SECRET": SECRET,
        "TV_OUTBOX": str(tmp_path / "outbox.db"),
        "NOTIFY_SOCKET": manager.path,
        "WATCHDOG_USEC": "200000",
        "TV_BASE_RETRY_DELAY": "0.05",
    }
    with Receiver() as receiver:
        more = ("--url", receiver.url) if command == "deliver run" else ()
        arguments = ("-m", "tvDatafeed", *command.split(), SYMBOL, *more)
        with start(*arguments, server=server, **settings) as program:
            assert manager.hear("READY")["WATCHDOG"] == "1"
            for _ in range(5):
                assert manager.hear("WATCHDOG")["STATUS"].startswith("1 of 1 live, last bar 20")
            server.stop()
            while not manager.hear("WATCHDOG")["STATUS"].startswith("0 of 1 live"):
                pass
            for _ in range(5):
                manager.hear("WATCHDOG")
            server.start()
            while not manager.hear("WATCHDOG")["STATUS"].startswith("1 of 1 live"):
                pass
            program.send_signal(signal.SIGTERM)
            manager.hear("STOPPING")
            assert program.wait(PATIENCE_S) == 0


@needs_unix
def test_watchdog_of_another_process(loopback, manager, monkeypatch, capsys):
    """The variables of a parent process are not ours."""
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    with moving(loopback):
        assert main(["live", SYMBOL, "--count", "1"]) == 0
    assert "WATCHDOG" not in manager.hear("READY")
    capsys.readouterr()


@needs_unix
@pytest.mark.slow
def test_watchdog_of_a_feed_that_is_stuck(server, manager, monkeypatch, caplog):
    """Signs of life end while the feed's thread is stuck, and come again when it continues."""
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    stuck, go_on = threading.Event(), threading.Event()

    def hold(_series):
        stuck.set()
        go_on.wait(PATIENCE_S)

    with live(server) as tvl:
        seis = tvl.new_seis("BTCUSD", "BITSTAMP", "1m")
        with as_service(NoFigures, tvl):
            manager.hear("WATCHDOG")
            registry = tvl._registry
            registry._supervisor.command(hold, registry._registered[seis].series)
            assert stuck.wait(PATIENCE_S)
            assert not tvl.is_responsive(0.01)
            assert until(lambda: "does not answer" in caplog.text)
            with contextlib.suppress(TimeoutError):
                while manager.hear("WATCHDOG", 0.5):
                    pass
            seen = len(manager.reports)
            go_on.set()
            manager.hear("WATCHDOG")
            assert len(manager.reports) == seen + 1
            assert tvl.is_responsive()
    assert caplog.text.count("does not answer") == 1


class NoFigures:
    """The options of a command without --metrics-port."""

    metrics_port = None


def test_feed_that_answers(server):
    """Without Seises, with some, during an outage and after the end."""
    with live(server) as tvl:
        assert tvl.is_responsive()
        tvl.new_seis("BTCUSD", "BITSTAMP", "1m")
        assert tvl.is_responsive()
        server.stop()
        assert until(lambda: not tvl.health().ok)
        assert tvl.is_responsive()
        server.start()
        with pytest.raises(ValueError, match="non-negative"):
            tvl.is_responsive(-2)
    assert tvl.is_responsive(0)
