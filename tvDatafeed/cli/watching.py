"""Figures that are shown again and again, until Ctrl-C."""

import contextlib
import sys
import time
from collections.abc import Callable
from typing import TypeVar

from tvDatafeed.cli.console import note, write_to_stdout
from tvDatafeed.config import terminal_is_dumb
from tvDatafeed.exceptions import TvDatafeedError

_T = TypeVar("_T")


def watch(
    look: Callable[[], _T], show: Callable[[_T, float], int], every_s: float, *, is_json: bool
) -> None:
    """Show figures again and again, until Ctrl-C.

    Parameters
    ----------
    look
        Returns the figures. If it fails after the first time, a line reports that.
    show
        Writes them, with the seconds since the start, and returns the number of lines.
    every_s
        Seconds between two calls of `look`.
    is_json
        Whether each result is a line of its own; otherwise a terminal shows only the last one.

    Raises
    ------
    TvDatafeedError
        The first call of `look` fails.
    """
    started, height = time.monotonic(), 0
    is_screen = sys.stdout.isatty() and not is_json and not terminal_is_dumb()
    seen = look()
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            if is_screen and height:
                # Move to the first line of the previous output, which is overwritten.
                write_to_stdout(f"\x1b[{height}F\x1b[J")
            height = show(seen, time.monotonic() - started)
            while True:
                time.sleep(every_s)
                try:
                    seen = look()
                except TvDatafeedError as error:
                    note(error)
                    height = 0
                else:
                    break
