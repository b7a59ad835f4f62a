"""Helpers of the commands of the bar store: the store itself, its series by name, tables."""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tvDatafeed.cli.console import write_to_stdout
from tvDatafeed.cli.table import described, encodable, printable, table
from tvDatafeed.config import StoreConfig

if TYPE_CHECKING:
    from tvDatafeed.store.barstore import BarStore
    from tvDatafeed.store.records import SeriesInfo


def unopened(arguments: argparse.Namespace) -> "BarStore":
    """Return the store of a command; nothing is opened yet."""
    from tvDatafeed.store.barstore import BarStore  # noqa: PLC0415 - help needs to be quick

    settings = StoreConfig.from_env()
    return BarStore(
        arguments.url or settings.url,
        max_bars=settings.max_bars,
        recheck_days=settings.recheck_days,
        timeout=settings.timeout,
    )


@contextmanager
def opened(arguments: argparse.Namespace) -> "Iterator[BarStore]":
    """Open the store of a command, and close it after the block."""
    with unopened(arguments) as store:
        yield store.connect()


def of_symbol(every: "Iterable[SeriesInfo]", symbol: str) -> "list[SeriesInfo]":
    """Return the series of a symbol, by any requested name and, without an exchange, of any."""
    wanted = symbol.upper()

    def is_named(name: str) -> bool:
        return name == wanted or (":" not in wanted and name.rpartition(":")[2] == wanted)

    return [info for info in every if any(map(is_named, (info.symbol, *info.names)))]


def show_table(
    heads: list[str],
    rows: list[list[Any]],
    *,
    numbers: tuple[int, ...] = (),
    spare: tuple[int, ...] = (),
) -> int:
    """Write a table; return the number of its lines.

    Parameters
    ----------
    heads, rows, numbers, spare
        As for `table.table`.
    """
    cells = [[printable(cell) for cell in row] for row in rows]
    return _write_lines(table(heads, cells, numbers=numbers, spare=spare))


def show_described(pairs: "Iterable[Sequence[Any]]") -> int:
    """Write names and their values, a line each or more; return the number of lines."""
    return _write_lines(described([(printable(n), printable(value)) for n, value in pairs]))


def _write_lines(lines: list[str]) -> int:
    write_to_stdout("".join(f"{encodable(line)}\n" for line in lines))
    return len(lines)
