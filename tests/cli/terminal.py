"""A program in a terminal: what its lines show."""

import contextlib
import os
import re
import subprocess
import sys
import threading

from tests.programs import environment
from tests.scale import PATIENCE_S


class Screen:
    """A terminal that knows what the table needs: to go up, and to clear a line."""

    def __init__(self):
        self.lines = [""]
        self.row = 0

    def take(self, text):
        """Show what a program writes."""
        for piece in re.findall(r"\x1b\[\d*[A-Z]|\r?\n|[^\x1b\r\n]+", text):
            if up := re.fullmatch(r"\x1b\[(\d+)F", piece):
                self.row -= int(up[1])
            elif piece == "\x1b[K":
                continue
            elif piece.endswith("\n"):
                self.row += 1
                self.lines += [""] * (self.row - len(self.lines) + 1)
            else:
                self.lines[self.row] = piece


@contextlib.contextmanager
def terminal(*arguments, server=None, columns=120, **settings):
    """Start a command in a terminal, and return the program, its screen and a condition.

    The condition is notified when the screen has changed. POSIX alone has such terminals.
    """
    import fcntl  # noqa: PLC0415 - POSIX
    import pty  # noqa: PLC0415 - as above
    import struct  # noqa: PLC0415 - for the size of a terminal
    import termios  # noqa: PLC0415 - as above

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    program = subprocess.Popen(
        [sys.executable, "-m", "tvDatafeed", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(server) | {"TERM": "xterm", **settings},
    )
    os.close(theirs)
    screen, changed = Screen(), threading.Condition()

    def read():
        with contextlib.suppress(OSError):  # what a closed terminal gives
            while data := os.read(ours, 65536):
                with changed:
                    screen.take(data.decode())
                    changed.notify_all()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield program, screen, changed
    finally:
        program.kill()
        program.wait()
        reader.join(PATIENCE_S)
        os.close(ours)
