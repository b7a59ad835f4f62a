"""The command that runs another one and records its traffic with TradingView."""

import argparse
import os
from collections.abc import Callable, Sequence

from tvDatafeed.cli.arguments import AddCommand
from tvDatafeed.cli.console import EXIT_USAGE, CommandError, note
from tvDatafeed.config import recording_to

__all__ = ["add_record_command"]

_RECORD_EXAMPLES = """\
examples:
  tvdatafeed record session.jsonl -- hist NASDAQ:AAPL --bars 20
  tvdatafeed record session.jsonl -- live BINANCE:BTCUSDT --count 3
  tvdatafeed serve --replay session.jsonl          play it: the same command gets the same answers
  TV_RECORD=session.jsonl python bot.py            record a program

FILE must not exist: a recording is never mixed with another one. Tokens, cookies, passwords, codes
and names of users are replaced by asterisks; symbols and bars are not. Look through the file before
you give it away: it is text.
"""


def add_record_command(command: AddCommand, run: Callable[[Sequence[str]], int]) -> None:
    """Add ``record`` to the parser.

    Parameters
    ----------
    command : callable
        Adds one, from its name, what runs it, a summary and examples.
    run : callable
        Runs the recorded command, from its arguments, and returns the exit code.
    """

    def record(arguments: argparse.Namespace) -> int:
        return _record(arguments, run)

    parser = command(
        "record", record, "run a command and record its session, without secrets", _RECORD_EXAMPLES
    )
    parser.set_defaults(has_own_log=True)
    parser.add_argument("file", metavar="FILE", help="where to, such as session.jsonl")
    parser.add_argument(
        "arguments",
        metavar="-- COMMAND",
        nargs=argparse.REMAINDER,
        help="the command with its options, such as: hist NASDAQ:AAPL",
    )


def _record(arguments: argparse.Namespace, run: Callable[[Sequence[str]], int]) -> int:
    # Some versions of Python keep the two hyphens that end the options of this command.
    rest = arguments.arguments[arguments.arguments[:1] == ["--"] :]
    if not rest or rest[0] == "record":
        raise CommandError(
            f"say what to record: tvdatafeed record {arguments.file} -- hist NASDAQ:AAPL",
            EXIT_USAGE,
        )
    if arguments.debug:
        rest = [*rest, "--debug"]
    path = os.path.abspath(arguments.file)  # noqa: PTH100 - no link is followed
    if os.path.lexists(path):
        raise CommandError(
            f"{arguments.file} exists, and a recording is never mixed with another one: name "
            "another file",
            EXIT_USAGE,
        )
    if not os.access(os.path.dirname(path), os.W_OK):  # noqa: PTH120 - as above
        raise CommandError(f"cannot write {arguments.file}: its folder does not exist or is closed")
    from tvDatafeed.network.recording import finish_recording  # noqa: PLC0415 - rarely needed

    with recording_to(path):
        try:
            exit_code = run(rest)
        finally:
            recorder = finish_recording(path)
    if recorder is None or not (recorder.bytes_written or recorder.problem):
        note(f"nothing was recorded: {rest[0]} has sent nothing to TradingView")
    elif recorder.problem is None:
        note(
            f"recorded {recorder.bytes_written} bytes in {arguments.file}, secrets replaced: look "
            "through them before you give them away"
        )
    return exit_code
