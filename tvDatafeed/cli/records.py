"""The log of a command on stderr: as text, or as one JSON object a line."""

import argparse
import datetime as dt
import json
import logging
import math
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tvDatafeed.cli.console import notes_as, one_line, text_line
from tvDatafeed.common.redaction import redact

__all__ = ["FORMATS", "JsonFormatter", "add_log_options", "notes_on_stderr", "records_on_stderr"]

FORMATS = ("text", "json")
_PROGRAM = "tvdatafeed"
# What each record has; the rest of its attributes are the fields that were logged with it.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_TEXT, _DEBUG_TEXT = f"{_PROGRAM}: %(message)s", "%(asctime)s %(name)s: %(message)s"


def add_log_options(command: argparse.ArgumentParser) -> None:
    """Add ``--debug`` and ``--log-format`` to a command."""
    command.add_argument(
        "--debug", action="store_true", help="log to stderr, with all that is sent"
    )
    command.add_argument(
        "--log-format",
        choices=FORMATS,
        default="text",
        help="lines on stderr: text, or JSON objects with the facts as fields; default: text",
    )


class JsonFormatter(logging.Formatter):
    """Makes one JSON object of a record, in one line of ASCII.

    Its fields are time (RFC 3339, UTC), level, logger and message, then those that the record was
    logged with, then error: type and message of an exception.

    Parameters
    ----------
    has_tracebacks
        Whether an exception also has its traceback.
    """

    def __init__(self, *, has_tracebacks: bool) -> None:
        super().__init__()
        self._has_tracebacks = has_tracebacks

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        line: dict[str, Any] = {
            "time": _rfc3339(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name, value in vars(record).items():
            if name not in _STANDARD:
                line.setdefault(name, _plain(value))
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            line["error"] = self._error(error)
        return json.dumps(line, allow_nan=False)

    def _error(self, error: BaseException) -> dict[str, str]:
        shown = {"type": type(error).__name__, "message": redact(str(error), ())}
        if self._has_tracebacks:
            shown["traceback"] = redact("".join(traceback.format_exception(error)), ())
        return shown


def _rfc3339(time_s: float) -> str:
    moment = dt.datetime.fromtimestamp(time_s, dt.timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | int | str):
        return value
    # JSON has no infinity.
    return value if isinstance(value, float) and math.isfinite(value) else str(value)


@contextmanager
def notes_on_stderr(arguments: argparse.Namespace) -> Iterator[None]:
    """Write the command's own notes in the chosen format."""
    formatter = JsonFormatter(has_tracebacks=arguments.debug)

    def line_of(text: object) -> str:
        is_error = isinstance(text, BaseException)
        level = logging.ERROR if is_error else logging.INFO
        note = logging.LogRecord(_PROGRAM, level, "", 0, one_line(text), None, None)
        if isinstance(text, BaseException):
            note.exc_info = (type(text), text, text.__traceback__)
        return formatter.format(note)

    with notes_as(text_line if arguments.log_format == "text" else line_of):
        yield


@contextmanager
def records_on_stderr(arguments: argparse.Namespace) -> Iterator[None]:
    """Show the library's log: always warnings, and more with --debug."""
    handler = logging.StreamHandler()
    if arguments.log_format == "json":
        handler.setFormatter(JsonFormatter(has_tracebacks=arguments.debug))
    else:
        handler.setFormatter(logging.Formatter(_DEBUG_TEXT if arguments.debug else _TEXT))
    library = logging.getLogger("tvDatafeed")
    level_before = library.level
    library.addHandler(handler)
    library.setLevel(logging.DEBUG if arguments.debug else logging.WARNING)
    try:
        yield
    finally:
        library.setLevel(level_before)
        library.removeHandler(handler)
