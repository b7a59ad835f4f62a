"""What the commands have in common: symbols, lengths of bars, timezones, numbers."""

import argparse
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from tvDatafeed.cli.console import EXIT_USAGE, CommandError
from tvDatafeed.cli.records import add_log_options
from tvDatafeed.exceptions import InvalidIntervalError
from tvDatafeed.interval import INTERVAL_TEXTS, CustomInterval, Interval, as_interval
from tvDatafeed.query.symbols import contract_symbol, full_symbol

# What adds a command: called with its name, what runs it, a summary and examples. A command that
# has commands of its own is run by none.
AddCommand: TypeAlias = Callable[
    [str, Callable[[argparse.Namespace], int] | None, str, str], argparse.ArgumentParser
]

# Their URL may be left out.
_REDIS_OPTIONS = ("--redis", "--from-redis")


def command_adder(
    commands: "argparse._SubParsersAction[Any]",
) -> AddCommand:
    """Return what adds a command to those of a parser."""

    def command(
        name: str, run: Callable[[argparse.Namespace], int] | None, summary: str, examples: str
    ) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = commands.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,  # an option that comes later must not break a script
        )
        if run is not None:
            added.set_defaults(command=run)
            add_log_options(added)
        return added

    return command


def add_series_options(command: argparse.ArgumentParser, default_interval: str) -> None:
    """Add ``--exchange`` and ``--interval`` to a command.

    Parameters
    ----------
    command
        The command's parser.
    default_interval
        The length of a bar unless another is asked for, as people write it.
    """
    add_exchange_option(command)
    add_interval_option(command, default_interval, default=as_interval(default_interval))


def add_exchange_option(command: argparse.ArgumentParser) -> None:
    """Add ``--exchange`` to a command."""
    command.add_argument("--exchange", help="where SYMBOL has none of its own")


def add_interval_option(
    command: argparse.ArgumentParser,
    default_words: str,
    *,
    default: Interval | CustomInterval | None = None,
    is_repeated: bool = False,
) -> None:
    """Add ``--interval`` to a command.

    Parameters
    ----------
    command
        The command's parser.
    default_words
        What the help says of the default.
    default
        The length of a bar unless another is asked for.
    is_repeated
        Whether the option may be given more than once; the intervals are a list then, or None.
    """
    lengths = " ".join(INTERVAL_TEXTS)
    again = "; may be given more than once" if is_repeated else ""
    command.add_argument(
        "--interval",
        action="append" if is_repeated else "store",
        type=_interval,
        default=default,
        metavar="LENGTH",
        help=f"length of a bar: {lengths} (m: minutes, M: months){again}; default: {default_words}",
    )


def add_timezone_option(command: argparse.ArgumentParser, default: str) -> None:
    """Add ``--timezone`` to a command, with words for its default."""
    command.add_argument(
        "--timezone",
        metavar="ZONE",
        help='zone of the times: UTC, an IANA name, or "exchange" for the symbol\'s own; '
        f"default: {default}",
    )


def add_redis_option(command: argparse.ArgumentParser, name: str, does: str) -> None:
    """Add an option to a command whose URL may be left out: it is empty then.

    Parameters
    ----------
    command
        The command's parser.
    name
        The option.
    does
        What it does, for the help.
    """
    command.add_argument(
        name,
        nargs="?",
        const="",
        metavar="URL",
        help=f"{does}; without a URL that of TV_REDIS_URL, which may hold a password",
    )


def mark_missing_urls(arguments: Sequence[str]) -> list[str]:
    """Return arguments in which ``--redis SYMBOL`` has no URL: the symbol is one of its own."""
    marked = list(arguments)
    for place, argument in enumerate(marked):
        if argument in _REDIS_OPTIONS and not any("://" in one for one in marked[place + 1 :][:1]):
            marked[place] = f"{argument}="
    return marked


def full_symbol_of(symbol: str, arguments: argparse.Namespace) -> str:
    """Return the full symbol that was asked for.

    Raises
    ------
    CommandError
        When its exchange is not known, or is known twice.
    """
    exchange, contract = arguments.exchange, arguments.fut_contract
    named, colon, name = symbol.partition(":")
    if not colon and not exchange:
        raise CommandError(
            f"{symbol!r} does not say its exchange: write EXCHANGE:{symbol} or add --exchange",
            EXIT_USAGE,
        )
    is_for_others = isinstance(arguments.symbol, list) and len(arguments.symbol) > 1
    if colon and exchange and exchange.upper() != named.upper() and not is_for_others:
        raise CommandError(f"{symbol!r} is not on {exchange}: leave one of both out", EXIT_USAGE)
    if ":" in name:  # a spread, complete in itself
        if contract is not None:
            raise CommandError(f"--fut-contract is for one symbol, not {symbol!r}", EXIT_USAGE)
        return full_symbol(symbol, None)
    return contract_symbol(full_symbol(symbol, exchange), contract)


def _interval(text: str) -> Interval | CustomInterval:
    try:
        return as_interval(text)
    except InvalidIntervalError as error:
        known, nearest = " ".join(INTERVAL_TEXTS), ", ".join(error.nearest)
        raise argparse.ArgumentTypeError(
            f"{text!r} is none of {known}; the nearest are {nearest}"
        ) from None


def whole_count(text: str) -> int:
    """Read a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def amount(noun: str, *, is_zero_allowed: bool = True) -> Callable[[str], float]:
    """Return what reads a finite number that is not negative.

    Parameters
    ----------
    noun
        What the number is, for the message about a text that is not one.
    is_zero_allowed
        Whether it may be 0.
    """
    limit = "of at least 0" if is_zero_allowed else "above 0"

    def read(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not (0 < number < math.inf or (is_zero_allowed and number == 0)):
            raise argparse.ArgumentTypeError(f"{text!r} is not a {noun} {limit}")
        return number

    return read
