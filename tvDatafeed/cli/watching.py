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
    """Look at something and show it, until Ctrl-C.

    Parameters
    ----------
    look
        Returns what is shown. When it fails later than the first time, a line says so.
    show
        Writes it, with the seconds since the begin, and returns the number of lines.
    every_s
        Seconds between two looks.
    is_json
        Whether each look is a line of its own; otherwise a terminal shows the last one alone.

    Raises
    ------
    TvDatafeedError
        The first look fails.
    """
    started, height = time.monotonic(), 0
    is_screen = sys.stdout.isatty() and not is_json and not terminal_is_dumb()
    seen = look()
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            if is_screen and height:
                # Back to the first line of the last time; the rest is written over.
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
