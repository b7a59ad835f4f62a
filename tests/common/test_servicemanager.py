"""Reports to the service manager: datagrams to the socket that it names."""

import contextlib
import os
import socket
import sys
import tempfile

import pytest

from tvDatafeed.common.servicemanager import ServiceManager

needs_unix = pytest.mark.skipif(
    not hasattr(socket, "AF_UNIX") or sys.platform == "win32", reason="no such sockets there"
)


@contextlib.contextmanager
def listening(address):
    """A service manager's socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(address)
        receiver.settimeout(5)
        yield receiver


@pytest.fixture
def path():
    """A path that is short enough for a socket."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield f"{folder}/notify"


@needs_unix
def test_report(path):
    """A report is one datagram with a line for each fact, whatever is in its text."""
    with listening(path) as receiver:
        manager = ServiceManager(path)
        assert manager.is_there
        assert manager.notify(READY=1, STATUS="all\nis\twell; Ünïcode")
        assert receiver.recv(4096).decode() == "READY=1\nSTATUS=all is well; Ünïcode"


@pytest.mark.skipif(sys.platform != "linux", reason="abstract names are Linux's")
def test_abstract_name():
    """A name that begins with @ is not a file."""
    name = f"tvdatafeed-test-{os.getpid()}"
    with listening(f"\0{name}") as receiver:
        assert ServiceManager(f"@{name}").notify(WATCHDOG=1)
        assert receiver.recv(4096) == b"WATCHDOG=1"


@pytest.mark.parametrize("address", [None, "", "relative/path", "vsock:2:1234"])
def test_no_service_manager(address, caplog):
    """Without a socket, or with one of another kind, nothing is sent and nothing is logged."""
    manager = ServiceManager(address)
    assert not manager.is_there
    assert not manager.notify(READY=1)
    assert caplog.records == []


def test_without_such_sockets(monkeypatch, caplog):
    """Where the system has none, as Windows, nothing happens."""
    monkeypatch.delattr(socket, "AF_UNIX", raising=False)
    manager = ServiceManager("/run/notify")
    assert not manager.is_there
    assert not manager.notify(READY=1)
    assert caplog.records == []


@needs_unix
def test_socket_that_is_gone(path, caplog):
    """One WARNING until it is back, and one for the next time."""
    manager = ServiceManager(path)
    assert not manager.notify(WATCHDOG=1)
    assert not manager.notify(WATCHDOG=1)
    with listening(path) as receiver:
        assert manager.notify(WATCHDOG=1)
        assert receiver.recv(4096) == b"WATCHDOG=1"
    assert not manager.notify(STOPPING=1)
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert path in caplog.text


@needs_unix
def test_name_that_is_too_long(caplog):
    """A path that no socket can have is a WARNING, and no error."""
    assert not ServiceManager("/" + "x" * 300).notify(READY=1)
    assert len(caplog.records) == 1
