"""Programs that run in a process of their own and find the loopback TradingView."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

from tests.scale import scaled

ROOT = Path(__file__).parents[1]
# What a program without an account and without configured logging has on stderr.
NO_ACCOUNT = "no account: TradingView limits what it gives to anonymous users\n"
# Far beyond what any of them needs; a test that hangs should fail and say where.
TIMEOUT_S = scaled(60.0)


def urls(server):
    """The variables that make programs talk to a server."""
    return {
        "TV_WS_URL": server.ws_url,
        "TV_BASE_URL": server.base_url,
        "TV_SEARCH_URL": server.search_url,
    }


def environment(server=None):
    """The environment of a program: this checkout's package, no login, no settings but URLs."""
    ignored = ("TV_", "PYTHONUNBUFFERED")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(ignored)}
    ours = {"PYTHONPATH": str(ROOT), "TV_TOKEN_CACHE": "off"}
    return inherited | ours | (urls(server) if server else {})


def run(*arguments, server=None, **options):
    """Run Python to its end and return what it did."""
    return subprocess.run(
        [sys.executable, *arguments],
        check=False,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=environment(server),
        timeout=TIMEOUT_S,
        **options,
    )


@contextlib.contextmanager
def start(*arguments, server=None, stdout=subprocess.PIPE, stdin=None, **settings):
    """Start Python and give the process, its output in pipes; it ends with the block."""
    with subprocess.Popen(
        [sys.executable, *arguments],
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=environment(server) | settings,
    ) as program:
        try:
            yield program
            program.wait(TIMEOUT_S)
        finally:
            # After a test that failed it would wait for a word that never comes.
            program.kill()
