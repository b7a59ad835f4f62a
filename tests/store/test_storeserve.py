"""``tvdatafeed store serve``: how it starts, what it refuses, how it ends."""

import signal
import socket
import sys

import pytest

from tests.loopback import NOW
from tests.programs import run, start
from tests.store.webserver import Client
from tvDatafeed.testing import FakeTradingView, MarketClock

pytest.importorskip("fastapi", reason="the extra server is not installed")

COMMAND = ("-W", "error", "-m", "tvDatafeed", "store", "serve")
TOKEN = "canary-8J2q"
pytestmark = pytest.mark.slow


def serve(path, *options, **settings):
    return start(*COMMAND, "--port", "0", "--url", str(path), *options, **settings)


@pytest.mark.skipif(sys.platform == "win32", reason="a child cannot be sent Ctrl-C there")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_ctrl_c(tmp_path, number):
    """It prints its address, answers, and ends with exit code 0 and no traceback."""
    with serve(tmp_path / "bars.db") as program:
        address = program.stdout.readline().strip()
        with Client(address) as client:
            assert client.get("/api/cache/health").json()["ok"] is True
            assert "Bar store" in client.get("/").text
            program.send_signal(number)
            _rest, notes = program.communicate()
    assert program.returncode == 0
    assert notes.count("\n") == 1
    assert "bars.db" in notes


@pytest.mark.skipif(sys.platform == "win32", reason="a child cannot be sent Ctrl-C there")
def test_it_warms_with_the_settings_of_the_environment(tmp_path):
    """A job asks the TradingView that the environment names; Ctrl-C ends the command meanwhile."""
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    with (
        FakeTradingView(clock=MarketClock(NOW, speed=0), round_trip_s=1000.0) as server,
        serve(tmp_path / "bars.db", server=server, TV_STORE_TOKEN=TOKEN) as program,
    ):
        address = program.stdout.readline().strip()
        with Client(address) as client:
            order = {"symbols": ["NASDAQ:AAPL"], "n_bars": 10}
            answer = client.post("/api/cache/warm", headers=bearer, json=order)
            assert answer.status_code == 202
            assert server.wait_until(lambda market: market.connections_opened == 1)
            program.send_signal(signal.SIGINT)
            rest, notes = program.communicate()
    assert program.returncode == 0
    assert "Traceback" not in notes
    assert TOKEN not in rest + notes


def test_a_port_that_is_taken(tmp_path):
    """The failure is one sentence."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run(*COMMAND, "--port", port, "--url", str(tmp_path / "bars.db"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"tvdatafeed: cannot listen on 127.0.0.1 port {port}: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7"])  # noqa: S104
def test_a_host_that_others_reach_needs_a_token(tmp_path, host):
    """It does not start, names the variable, and makes no file."""
    done = run(*COMMAND, "--host", host, "--port", "0", "--url", str(tmp_path / "bars.db"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "TV_STORE_TOKEN" in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param(["--port", "65536"], "'65536' is not a port", id="port"),
        pytest.param(["--url", "mysql://ann:hunter2@h/db"], "must be sqlite://", id="url"),
        pytest.param(["--host", "no.such.host.invalid"], "TV_STORE_TOKEN", id="host"),
    ],
)
def test_bad_arguments(options, words):
    """A mistake is one sentence, without a password."""
    done = run(*COMMAND, *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert "hunter2" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_extra_is_named():
    """Without FastAPI the command says what to install."""
    program = (
        "import sys; sys.modules['fastapi'] = None\n"
        "from tvDatafeed.cli import main\n"
        "sys.exit(main(['store', 'serve', '--port', '0']))"
    )
    done = run("-c", program)
    assert done.returncode == 2
    assert "tvdatafeed[server]" in done.stderr
