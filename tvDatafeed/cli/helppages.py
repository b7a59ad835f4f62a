"""Help pages that fit a terminal: no line above 80 columns, and no word is broken."""

import argparse
import itertools
import re
import shutil
import textwrap
from collections.abc import Iterator
from typing import Any

__all__ = ["HelpFormatter"]

_MAX_COLUMNS = 80
# What argparse leaves free at the right.
_MARGIN = 2
_MIN_WIDTH = 38
_GAP = 2
# Below the heading of the commands.
_COMMAND_INDENT = 2
# A comment below its example, and the rest of an example that takes two lines.
_DEEPER = " " * 6
# An option and its value stay on one line.
_OPTION = re.compile(r"--[\w-]+ [^-\s]\S*")
_JOINT = "\0"
# An example: a command, and often a comment.
_EXAMPLE = re.compile(r"  (?P<command>\S.*?)(?: {3,}(?P<comment>\S.*))?")


class HelpFormatter(argparse.HelpFormatter):
    """Lays out a help page: paragraphs are filled, and examples keep their lines.

    In a description or an epilog, a line that is indented is an example. It may have a comment,
    three blanks or more after the command. All other lines are text.

    Parameters
    ----------
    prog
        The name of the program.
    options
        What the version of argparse gives to a formatter, such as whether there are colours.
    """

    def __init__(self, prog: str, **options: Any) -> None:
        columns = min(shutil.get_terminal_size().columns, _MAX_COLUMNS)
        super().__init__(prog, **{"width": max(columns - _MARGIN, _MIN_WIDTH), **options})

    def add_argument(self, action: argparse.Action) -> None:
        """Add an argument; the names of commands count for the width of the left column."""
        super().add_argument(action)
        if isinstance(action.choices, dict):  # of commands
            longest = max(map(len, action.choices)) + self._current_indent + _COMMAND_INDENT
            self._action_max_length = max(self._action_max_length, longest)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return _filled(text, width)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines: list[str] = []
        for is_example, group in itertools.groupby(text.splitlines(), _is_example):
            if is_example:
                lines += _examples(list(group), width + _MARGIN)  # they are not filled
            else:
                lines += _paragraphs(group, width)
        return "\n".join(f"{indent}{line}".rstrip() for line in lines)


def _is_example(line: str) -> bool:
    return line.startswith("  ")


def _paragraphs(lines: Iterator[str], width: int) -> list[str]:
    filled: list[str] = []
    for is_blank, group in itertools.groupby(lines, lambda line: not line.strip()):
        text = list(group)
        filled += text if is_blank else _filled(" ".join(text), width)
    return filled


def _examples(lines: list[str], width: int) -> list[str]:
    """Lay out examples: comments one below the other, and below the command where they must."""
    found = [match for line in lines if (match := _EXAMPLE.fullmatch(line))]
    pairs = [("  " + match["command"], match["comment"] or "") for match in found]
    room = width - max((len(comment) for _command, comment in pairs), default=0)
    column = _GAP + max(
        (len(command) for command, comment in pairs if comment and len(command) + _GAP <= room),
        default=0,
    )
    laid_out: list[str] = []
    for command, comment in pairs:
        if comment and len(command) + _GAP <= column:
            laid_out.append(f"{command:<{column}}{comment}")
            continue
        laid_out += _continued(command, width)
        if comment:
            laid_out += [f"{_DEEPER}{line}" for line in _filled(comment, width - len(_DEEPER))]
    return laid_out


def _continued(command: str, width: int) -> list[str]:
    """Break a command that is too long, as a shell reads it; an option keeps its value."""
    if len(command) <= width:
        return [command]
    kept = _OPTION.sub(lambda option: option[0].replace(" ", _JOINT), command.strip())
    first, *rest = _filled(kept, width - len(_DEEPER) - len(" \\"))
    pieces = [f"  {first}", *(f"{_DEEPER}{line}" for line in rest)]
    pieces = [piece.replace(_JOINT, " ") for piece in pieces]
    return [f"{piece} \\" for piece in pieces[:-1]] + pieces[-1:]


def _filled(text: str, width: int) -> list[str]:
    return textwrap.wrap(
        " ".join(text.split()), width, break_long_words=False, break_on_hyphens=False
    )
