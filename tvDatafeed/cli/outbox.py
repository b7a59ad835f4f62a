"""The commands of the outbox: waiting and undelivered messages."""

import argparse
import dataclasses
import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from tvDatafeed.cli.arguments import AddCommand, amount
from tvDatafeed.cli.console import EXIT_OK, note, show
from tvDatafeed.cli.storeopening import show_described, show_table
from tvDatafeed.cli.watching import watch

if TYPE_CHECKING:
    from tvDatafeed.delivery.outbox import Outbox
    from tvDatafeed.delivery.rows import OutboxMessage

__all__ = ["add_outbox_commands"]

_STATUS_EXAMPLES = """\
examples:
  tvdatafeed deliver status
  tvdatafeed deliver status --watch
  tvdatafeed deliver status --json | jq .pending
"""
_LS_EXAMPLES = """\
examples:
  tvdatafeed deliver ls                            what waits, oldest first
  tvdatafeed deliver ls --dead                     what was refused or given up
  tvdatafeed deliver ls --dead --json | jq -r .id
"""
_RETRY_EXAMPLES = """\
examples:
  tvdatafeed deliver retry                         what was refused or given up
  tvdatafeed deliver retry bar_ABCDEFGHIJKLMNOPQRSTUVWXYZ

A message that waits is sent at once. Destinations that answered 410 (gone) are
enabled.
"""
_DROP_EXAMPLES = """\
examples:
  tvdatafeed deliver drop bar_ABCDEFGHIJKLMNOPQRSTUVWXYZ

The exit code is 1 when the outbox has no such message.
"""


def add_outbox_commands(part: AddCommand) -> None:
    """Add ``status``, ``ls``, ``retry`` and ``drop`` to the commands of ``deliver``.

    Parameters
    ----------
    part : callable
        Adds one, from its name, what runs it, a summary and examples.
    """
    status = part("status", _status, "show what waits in the outbox, and why", _STATUS_EXAMPLES)
    status.add_argument("--watch", action="store_true", help="show it again until Ctrl-C")
    status.add_argument(
        "--every",
        type=amount("number of seconds", is_zero_allowed=False),
        default=5.0,
        metavar="SECONDS",
        help="with --watch: time between two looks; default: %(default)g",
    )
    status.add_argument("--json", action="store_true", help="one JSON object, a line for each look")
    listed = part("ls", _list, "list the messages of the outbox", _LS_EXAMPLES)
    listed.add_argument("--dead", action="store_true", help="those refused or given up")
    listed.add_argument("--json", action="store_true", help="write one JSON object a line")
    retry = part("retry", _retry, "send undelivered messages again", _RETRY_EXAMPLES)
    retry.add_argument("id", metavar="ID", nargs="?", help="default: all that are dead")
    drop = part("drop", _drop, "remove an undelivered message", _DROP_EXAMPLES)
    drop.add_argument("id", metavar="ID", help="the message")
    for command in (status, listed, retry, drop):
        command.add_argument(
            "--outbox", metavar="PATH", help="the file; default: TV_OUTBOX, else your data folder"
        )


def _opened(arguments: argparse.Namespace) -> "Outbox":
    from tvDatafeed.delivery import Outbox  # noqa: PLC0415 - SQLite and HTTP, when they are needed

    return Outbox(arguments.outbox)


def _status(arguments: argparse.Namespace) -> int:
    with _opened(arguments) as outbox:
        if not arguments.watch:
            _show_status(outbox, outbox.stats(), arguments)
        else:
            watch(
                outbox.stats,
                lambda stats, _uptime_s: _show_status(outbox, stats, arguments),
                arguments.every,
                is_json=arguments.json,
            )
    return EXIT_OK


def _show_status(outbox: "Outbox", stats: dict[str, Any], arguments: argparse.Namespace) -> int:
    """Write the contents of an outbox; return the number of lines."""
    if arguments.json:
        show(json.dumps(stats))
        return 1
    rows: list[list[Any]] = [
        ["outbox", outbox.path],
        ["size", f"{stats['bytes']:,} bytes"],
        ["waiting", f"{stats['pending']:,}, {stats['retrying']:,} of them tried before"],
        ["oldest", f"{stats['oldest_s'] or 0:,.0f} s old"],
        ["dead", f"{stats['dead']:,}"],
        ["delivered", f"{stats['delivered']:,} that are remembered"],
        *([state, url] for url, state in sorted(stats["destinations"].items())),
    ]
    return show_described(rows)


def _list(arguments: argparse.Namespace) -> int:
    with _opened(arguments) as outbox:
        messages = outbox.dead() if arguments.dead else outbox.pending()
    if arguments.json:
        for message in messages:
            show(json.dumps(dataclasses.asdict(message)))
    elif messages:
        heads = ["ID", "CREATED", "TRIES", "STATUS", "LANE", "DESTINATION", "ERROR"]
        cells = [_cells(message) for message in messages]
        show_table(heads, cells, numbers=(2, 3), spare=(6, 5, 1, 3, 2))
    else:
        note("the outbox has no such messages")
    return EXIT_OK


def _cells(message: "OutboxMessage") -> list[Any]:
    created = datetime.fromtimestamp(message.created, timezone.utc)
    return [
        message.id,
        f"{created:%Y-%m-%d %H:%M:%S}",
        message.attempts,
        "" if message.status is None else message.status,
        message.lane,
        message.destination,
        message.error or "",
    ]


def _retry(arguments: argparse.Namespace) -> int:
    with _opened(arguments) as outbox:
        number = outbox.retry(arguments.id)
    note(f"{number} dead message{'' if number == 1 else 's'} wait{'s' if number == 1 else ''} now")
    return EXIT_OK


def _drop(arguments: argparse.Namespace) -> int:
    with _opened(arguments) as outbox:
        outbox.drop(arguments.id)
    note(f"{arguments.id} was dropped")
    return EXIT_OK
