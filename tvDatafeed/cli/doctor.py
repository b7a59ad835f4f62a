"""The command that finds what is wrong between this machine and TradingView."""

import argparse
import contextlib
import dataclasses
import json
from typing import TYPE_CHECKING

from tvDatafeed.cli.arguments import AddCommand
from tvDatafeed.cli.console import EXIT_FAILURE, EXIT_OK, EXIT_USAGE, CommandError, show
from tvDatafeed.cli.table import encodable, printable, terminal_columns, wrapped
from tvDatafeed.query.symbols import full_symbol

if TYPE_CHECKING:
    from tvDatafeed.common.checks import Check

__all__ = ["add_doctor_command"]

_DOCTOR_EXAMPLES = """\
examples:
  tvdatafeed doctor
  tvdatafeed doctor --symbol NASDAQ:AAPL
  tvdatafeed doctor --json | jq -r '.checks[] | select(.ok == false).name'

The first check that fails names the layer where it is. A check that needs one that failed is not
tried. Signing in is done as by "tvdatafeed hist": a password is sent only where neither a token,
nor cookies, nor a login that was kept will do. No secret is shown. The exit code is 1 when a
check fails.
"""
_DEFAULT_SYMBOL = "BINANCE:BTCUSDT"
_MARKS = {True: "ok", False: "FAIL", None: "-"}
_NAME_WIDTH = 12
# In a terminal with fewer columns, a message stands below the name of its check.
_LEAST_COLUMNS = 60
_NARROW_INDENT = " " * len("FAIL  ")


def add_doctor_command(command: AddCommand) -> None:
    """Add ``doctor`` to the parser.

    Parameters
    ----------
    command : callable
        Adds one, from its name, what runs it, a summary and examples.
    """
    doctor = command(
        "doctor", _doctor, "find what is wrong between here and TradingView", _DOCTOR_EXAMPLES
    )
    doctor.add_argument(
        "--symbol",
        default=_DEFAULT_SYMBOL,
        metavar="EXCHANGE:SYMBOL",
        help=f"symbol of the bars and quotes; default: {_DEFAULT_SYMBOL}",
    )
    doctor.add_argument("--json", action="store_true", help="as one JSON object")


def _doctor(arguments: argparse.Namespace) -> int:
    from tvDatafeed.cli.examination import examine  # noqa: PLC0415 - help needs to be quick

    if ":" not in arguments.symbol:
        raise CommandError(
            f"{arguments.symbol!r} does not say its exchange: write EXCHANGE:{arguments.symbol}",
            EXIT_USAGE,
        )
    symbol = full_symbol(arguments.symbol, None)
    checks: list[Check] = []
    with contextlib.closing(examine(symbol)) as coming:
        for check in coming:
            checks.append(check)
            if not arguments.json:
                _show(check)
    failed = [check.name for check in checks if check.ok is False]
    if arguments.json:
        shown = [dataclasses.asdict(c) | {"seconds": round(c.seconds, 3)} for c in checks]
        show(json.dumps({"ok": not failed, "symbol": symbol, "checks": shown}))
    elif failed:
        show(f"\nthe first that failed: {failed[0]}")
    else:
        show("\nall is well")
    return EXIT_FAILURE if failed else EXIT_OK


def _show(check: "Check") -> None:
    head = f"{_MARKS[check.ok]:<4}  {check.name:<{_NAME_WIDTH}}  {check.seconds:5.2f} s  "
    columns = terminal_columns()
    is_narrow = columns < _LEAST_COLUMNS
    indent = _NARROW_INDENT if is_narrow else " " * len(head)
    lines = wrapped(printable(check.message), columns - len(indent))
    if check.advice:
        lines += wrapped(f"next step: {printable(check.advice)}", columns - len(indent))
    shown = [indent + line for line in lines]
    if is_narrow:
        shown.insert(0, head.rstrip())
    else:
        shown[0] = head + lines[0]
    show("\n".join(map(encodable, shown)))
