"""Programs of a benchmark that obey lines on their stdin and answer with lines of JSON."""

import json
import subprocess
import sys
from typing import Any

from tests.programs import ROOT, environment


class Program:
    """A module of this folder that runs in a process of its own.

    Parameters
    ----------
    module
        Its name within this folder.
    arguments
        Its command line.
    """

    def __init__(self, module: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"tests.benchmarks.{module}", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment(),
        )

    def send(self, line: str) -> None:
        """Write a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        """Wait for the next answer and return it."""
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise SystemExit("a program of the benchmark has ended")
        return json.loads(line)

    def ask(self, line: str) -> Any:
        """Write a line and return its answer."""
        self.send(line)
        return self.answer()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
