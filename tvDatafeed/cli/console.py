"""Between a command and the shell it runs in: exit codes, formats, and a stdout that may close.

Results go to stdout and nothing else does; notes and errors are lines on stderr.
"""

import errno
import io
import json
import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from tvDatafeed.cli.numbers import with_texts
from tvDatafeed.cli.table import encodable

if TYPE_CHECKING:
    import pandas as pd

EXIT_OK = 0
EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it
EXIT_CLOSED_PIPE = 141  # 128 + SIGPIPE, as a shell reports it


class CommandError(Exception):
    """A failure that one line says all about."""

    def __init__(self, message: str, exit_code: int = EXIT_FAILURE) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class ClosedPipeError(Exception):
    """The reader of our output has seen enough."""


def _to_table(frame: "pd.DataFrame") -> str:
    return f"{with_texts(frame).to_string()}\n"


def _to_csv(frame: "pd.DataFrame") -> str:
    return frame.to_csv(lineterminator="\n")


def _to_json(frame: "pd.DataFrame") -> str:
    # DataFrame.to_json rounds to fifteen digits.
    rows = (
        {"datetime": moment.isoformat()} | {str(name): _or_null(row[name]) for name in row}
        for moment, row in zip(frame.index, frame.to_dict("records"), strict=True)
    )
    return "[\n" + ",\n".join(json.dumps(row, allow_nan=False) for row in rows) + "\n]\n"


def _or_null(cell: Any) -> Any:
    # JSON has no NaN.
    return None if isinstance(cell, float) and math.isnan(cell) else cell


def _to_parquet(frame: "pd.DataFrame") -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, engine="pyarrow")
    return buffer.getvalue()


RENDERERS: "dict[str, Callable[[pd.DataFrame], str | bytes]]" = {
    "table": _to_table,
    "csv": _to_csv,
    "json": _to_json,
    "parquet": _to_parquet,
}
# What programs read: times have their offset from UTC, as an hour may come twice.
WITH_OFFSETS = (_to_csv, _to_json)


def write_to_file(content: str | bytes, path: str) -> None:
    """Write a file, in UTF-8 where it is text.

    Raises
    ------
    CommandError
        When the file cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        Path(path).write_bytes(data)
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror or error}") from error


def write_to_stdout(content: str | bytes) -> None:
    """Write to stdout, now.

    Raises
    ------
    ClosedPipeError, CommandError
        As for `stdout_that_may_fail`.
    """
    with stdout_that_may_fail():
        if isinstance(content, bytes):
            sys.stdout.buffer.write(content)
        else:
            sys.stdout.write(encodable(content))
        sys.stdout.flush()


def show(text: str) -> None:
    """Write a line to stdout, now."""
    write_to_stdout(f"{text}\n")


def one_line(text: object) -> str:
    """Return a text, or that of an error, without breaks of lines."""
    return " ".join(str(text).split())


def text_line(text: object) -> str:
    """Return the line of a note, as people read it."""
    return f"tvdatafeed: {one_line(text)}"


# How notes are written; the last one counts.
_note_formats: list[Callable[[object], str]] = [text_line]


@contextmanager
def notes_as(line_of: Callable[[object], str]) -> Iterator[None]:
    """Write notes as the lines that a function makes of texts and errors."""
    _note_formats.append(line_of)
    try:
        yield
    finally:
        _note_formats.pop()


def note(text: object) -> None:
    """Write one line to stderr: a text, or an error."""
    sys.stderr.write(f"{_note_formats[-1](text)}\n")


@contextmanager
def stdout_that_may_fail() -> Iterator[None]:
    """Turn a failure of stdout into one of a command.

    Raises
    ------
    ClosedPipeError
        Whoever read our output has gone, as ``head`` does.
    CommandError
        Any other failure, such as a full disk.
    """
    try:
        yield
    except OSError as error:
        # What could not be sent is still in the buffer, and Python would try again at its exit.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        # Windows calls a pipe that was closed an invalid argument.
        if error.errno in {errno.EPIPE, errno.EINVAL}:
            raise ClosedPipeError from error
        raise CommandError(f"cannot write to stdout: {error.strerror or error}") from error


class _NoStdout(io.TextIOBase):
    """Stdout of a process that has none, as a windowed interpreter and some services."""

    def write(self, _text: str) -> NoReturn:
        """Refuse a text."""
        raise CommandError("there is no stdout to write to; hist can write a file: --output FILE")

    @property
    def buffer(self) -> "_NoStdout":
        """Where bytes go: they are refused too."""
        return self


@contextmanager
def streams_of_any_process() -> Iterator[None]:
    """Replace the standard streams that the process does not have.

    Notes and errors are dropped then, and answers are missing; results raise `CommandError`.
    """
    stdin = sys.stdin
    with ExitStack() as stack:
        if sys.stdout is None:
            stack.enter_context(redirect_stdout(_NoStdout()))
        if sys.stderr is None:
            nowhere = stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
            stack.enter_context(redirect_stderr(nowhere))
        if stdin is None:
            sys.stdin = io.StringIO()
            stack.callback(setattr, sys, "stdin", None)
        yield
