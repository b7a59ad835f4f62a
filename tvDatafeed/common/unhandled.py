"""Errors of a program's functions that none of its hooks receives."""

import logging
import sys
import traceback


def show_without_log(logger: logging.Logger, who: object, error: BaseException) -> None:
    """Write an error to stderr, unless logging is configured: then it is already in the log."""
    ancestor: logging.Logger | None = logger
    while ancestor is not None:
        if any(not isinstance(handler, logging.NullHandler) for handler in ancestor.handlers):
            return
        ancestor = ancestor.parent
    if sys.stderr is not None:
        lines = traceback.format_exception(type(error), error, error.__traceback__)
        sys.stderr.write(f"tvDatafeed: {who}:\n{''.join(lines)}")
