"""Unusual environments: each ends in the data or in one clear sentence."""

import pytest

from tests.programs import run

pytestmark = pytest.mark.slow

GET = """
from tvDatafeed import TvDatafeed
with TvDatafeed() as tv:
    bars = tv.get_hist("NASDAQ:AAPL", timezone={zone!r})
    print(len(bars), bars.index.tz)
"""
# Neither the system's zone files nor those of the package tzdata.
NO_ZONE_FILES = """
import sys, zoneinfo
sys.modules["tzdata"] = None
zoneinfo.reset_tzpath([])
"""
# As eventlet does: a class of its own, whose methods are attributes of its objects.
GREEN_SOCKETS = """
import socket
class Green:
    def __init__(self, *arguments, **options):
        self._sock = plain(*arguments, **options)
    def __getattr__(self, name):
        return getattr(self._sock, name)
plain = socket.socket
import ssl, tvDatafeed.network.sockets
socket.socket = Green
"""
# As a guard of tests does.
BLOCKED_SOCKETS = """
import socket
class BlockedError(RuntimeError): ...
def blocked(*_arguments, **_options):
    raise BlockedError("no sockets in tests")
socket.socket.connect = socket.socket.connect_ex = blocked
"""
# As in a windowed interpreter.
NO_STREAMS = "import sys\nsys.stdin = sys.stdout = sys.stderr = None\n"
COMMAND = """
from tvDatafeed.cli.app import main
import os
os._exit(main({arguments!r}))
"""


@pytest.mark.parametrize("zone", [None, "UTC"])
def test_no_zone_files_are_needed(server, zone):
    """Local time and UTC need no zone files."""
    done = run("-c", NO_ZONE_FILES + GET.format(zone=zone), server=server)
    assert done.stdout.split() == ["10", str(zone)], done.stderr


@pytest.mark.parametrize("zone", ["exchange", "Europe/Berlin"])
def test_missing_zone_files_are_named(server, zone):
    """A zone that exists is not called unknown: what is missing are the files."""
    done = run("-c", NO_ZONE_FILES + GET.format(zone=zone), server=server)
    last = done.stderr.splitlines()[-1]
    assert "ConfigurationError" in last
    assert "no zone files; pip install tzdata" in last


def test_zone_of_crypto_without_zone_files(server):
    """Crypto exchanges are in Etc/UTC, which needs no file."""
    program = NO_ZONE_FILES + GET.format(zone="exchange").replace("NASDAQ:AAPL", "BINANCE:BTCUSDT")
    assert run("-c", program, server=server).stdout.split() == ["10", "UTC"]


def test_sockets_of_another_class(server):
    """Sockets that eventlet has replaced are used and closed like others."""
    done = run("-c", GREEN_SOCKETS + GET.format(zone="UTC"), server=server)
    assert done.stdout.split() == ["10", "UTC"], done.stderr
    assert done.stderr.count("Traceback") == 0


def test_blocked_sockets(server):
    """An error that is not of the network is named in the sentence."""
    done = run("-c", BLOCKED_SOCKETS + GET.format(zone="UTC"), server=server)
    last = done.stderr.splitlines()[-1]
    assert last.endswith("NetworkError: the reader of the connection failed: BlockedError")


def test_command_without_streams_writes_a_file(server, tmp_path):
    """A windowed interpreter has no stdout: the file is written."""
    path = tmp_path / "bars.csv"
    arguments = ["hist", "NASDAQ:AAPL", "--output", str(path)]
    done = run("-c", NO_STREAMS + COMMAND.format(arguments=arguments), server=server)
    assert (done.returncode, done.stderr) == (0, "")
    assert path.read_text().count("NASDAQ:AAPL") == 10


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["hist", "NASDAQ:AAPL"], 1),
        (["hist", "NASDAQ:AAPL", "--format=parquet"], 1),
        (["hist", "AAPL"], 2),
        (["hist", "NASDAQ:NOPE"], 1),
        (["live", "BITSTAMP:BTCUSD", "--count=1"], 1),
        (["search", "apple"], 1),
        (["demo", "--bars=2"], 1),
        (["whoami"], 1),
        (["login"], 2),
        (["--nonsense"], 2),
    ],
)
def test_commands_without_streams_end(server, arguments, code):
    """Each has its exit code, and no traceback kills it."""
    done = run("-c", NO_STREAMS + COMMAND.format(arguments=arguments), server=server)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


@pytest.mark.parametrize("command", ["hist NASDAQ:AAPL", "live BITSTAMP:BTCUSD --count 1"])
def test_stdout_that_is_missing_is_named(server, command):
    """One sentence on stderr says it, and what writes a file."""
    program = "import sys\nsys.stdout = None\n" + COMMAND.format(arguments=command.split())
    done = run("-c", program, server=server)
    (line,) = done.stderr.splitlines()
    assert line.startswith("tvdatafeed: there is no stdout")
    assert "--output" in line


def test_texts_that_stdout_cannot_write(server):
    """A user's name in another script does not end a command: question marks stand for it."""
    program = """
import io, sys
sys.stdout = io.TextIOWrapper(sys.stdout.buffer, "ascii")
from tvDatafeed.cli.console import show
show("caf\\u00e9 \\U0001f680")
"""
    done = run("-c", program, server=server)
    assert done.stdout == "caf? ?\n", done.stderr
