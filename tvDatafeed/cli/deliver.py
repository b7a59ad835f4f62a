"""The commands of delivery: messages to other servers, and alerts."""

import argparse

from tvDatafeed.cli.arguments import AddCommand, command_adder
from tvDatafeed.cli.console import EXIT_OK, note, show
from tvDatafeed.cli.deliverreceive import add_receive_command
from tvDatafeed.cli.deliverrun import add_run_command
from tvDatafeed.cli.outbox import add_outbox_commands

__all__ = ["add_deliver_commands"]

_DELIVER_EXAMPLES = """\
examples:
  tvdatafeed deliver run BINANCE:BTCUSDT --url https://example.org/bars
  tvdatafeed deliver receive              a receiver to try it with
  tvdatafeed deliver secret               a new secret to sign messages with
  tvdatafeed deliver test-alert           try the bot that sends alerts
  tvdatafeed deliver status               what waits in the outbox, and why
  tvdatafeed deliver ls --dead            what was refused or given up

Other users of the machine can read arguments: put secrets into variables.
"""
_NEW_EXAMPLES = """\
examples:
  export TV_WEBHOOK_SECRET=$(tvdatafeed deliver secret)

Sender and receiver need the same one. While a secret is replaced, the variable
holds the new one and the old one, separated by a space.
"""
_TEST_ALERT_EXAMPLES = """\
examples:
  tvdatafeed deliver test-alert
  tvdatafeed deliver test-alert "the disk is full"

The bot is that of TV_TELEGRAM_TOKEN, the chat that of TV_TELEGRAM_CHAT_ID. The
exit code is 1 when Telegram does not accept the message.
"""


def add_deliver_commands(command: AddCommand) -> None:
    """Add ``deliver`` and its commands to the parser.

    Parameters
    ----------
    command : callable
        Adds one, from its name, what runs it, a summary and examples.
    """
    group = command("deliver", None, "send bars and signals to other servers", _DELIVER_EXAMPLES)
    part = command_adder(group.add_subparsers(title="commands", metavar="COMMAND", required=True))
    add_run_command(part)
    add_receive_command(part)
    part("secret", _secret, "write a new secret to sign messages with", _NEW_EXAMPLES)
    alert = part("test-alert", _test_alert, "send an alert, and wait", _TEST_ALERT_EXAMPLES)
    alert.add_argument(
        "text", metavar="TEXT", nargs="?", default="tvDatafeed: this is a test", help="what it says"
    )
    add_outbox_commands(part)


def _secret(_arguments: argparse.Namespace) -> int:
    from tvDatafeed.delivery import new_secret  # noqa: PLC0415

    show(new_secret())
    return EXIT_OK


def _test_alert(arguments: argparse.Namespace) -> int:
    from tvDatafeed.config import TelegramConfig  # noqa: PLC0415
    from tvDatafeed.delivery import TelegramSender  # noqa: PLC0415

    config = TelegramConfig.from_env()
    sender = TelegramSender(config.token, config.chat_id, base_url=config.url)
    sender(arguments.text)
    note("the alert was sent")
    return EXIT_OK
