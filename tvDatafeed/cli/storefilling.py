"""The commands that fill a bar store, and write it into files."""

import argparse
import dataclasses
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from tvDatafeed.cli.account import account_config, make_client
from tvDatafeed.cli.arguments import full_symbol_of
from tvDatafeed.cli.bars import check_pyarrow, wants_progress
from tvDatafeed.cli.console import EXIT_FAILURE, EXIT_OK, EXIT_USAGE, CommandError, note, show
from tvDatafeed.cli.storeopening import of_symbol, opened, show_table
from tvDatafeed.cli.table import printable
from tvDatafeed.config import StoreConfig
from tvDatafeed.exceptions import TvDatafeedError
from tvDatafeed.interval import Interval
from tvDatafeed.main import TvDatafeed


def warm_store(arguments: argparse.Namespace) -> int:
    """Fetch bars into the store; return the exit code."""
    arguments.symbol = list(_symbols(arguments.symbol))
    symbols = [full_symbol_of(symbol, arguments) for symbol in arguments.symbol]
    # The client has no store: the store of --url is filled.
    config = dataclasses.replace(account_config(), store=StoreConfig())
    started = time.perf_counter()
    with opened(arguments) as store, make_client(TvDatafeed, arguments, config) as client:
        results = store.warm(
            client,
            symbols,
            None,
            arguments.interval or [Interval.in_daily],
            arguments.bars,
            progress=wants_progress(arguments),
        )
        place, is_kept = store.url, not store.archive.failures
    seconds = time.perf_counter() - started
    failed = [[name, result["error"]] for name, result in results.items() if result["error"]]
    bars = sum(result["bars"] for result in results.values())
    show(
        f"warmed {len(results) - len(failed)} of {len(results)} symbols: {bars:,} bars in "
        f"{seconds:.1f} s, in {printable(place)}"
    )
    if failed:
        show_table(["FAILED", "WHY"], failed)
    if not is_kept:
        raise CommandError(f"not all of these bars were stored; {place} failed meanwhile")
    return EXIT_FAILURE if failed else EXIT_OK


def _symbols(texts: Iterable[str]) -> Iterator[str]:
    """Return symbols, with each @FILE replaced by its symbols."""
    for text in texts:
        if not text.startswith("@"):
            yield text
            continue
        path, found = text[1:], 0
        try:
            content = sys.stdin.read() if path == "-" else Path(path).read_text("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise CommandError(f"cannot read {path}: {reason or error}", EXIT_USAGE) from error
        for line in content.splitlines():
            for symbol in line.partition("#")[0].split():
                found += 1
                yield symbol
        if not found:
            raise CommandError(f"{path} has no symbols: write one a line", EXIT_USAGE)


def export_files(arguments: argparse.Namespace) -> int:
    """Write series into Parquet files; return the exit code."""
    check_pyarrow()
    from tvDatafeed.store.parquet import export_series  # noqa: PLC0415 - an extra

    folder = Path(arguments.folder)
    failed = done = bars = 0
    with opened(arguments) as store:
        every = store.series()
        wanted = every
        if arguments.symbol:
            wanted = [
                info for info in every if any(of_symbol([info], one) for one in arguments.symbol)
            ]
        missing = [one for one in arguments.symbol if not of_symbol(every, one)]
        if not every:
            missing = [store.url]
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CommandError(f"cannot make {folder}: {error.strerror or error}") from error
        for info in wanted:
            try:
                export_series(store, info, folder)
            except TvDatafeedError as error:
                note(f"{info.symbol} {info.interval}: {error}")
                failed += 1
            else:
                done, bars = done + 1, bars + info.bars
    for one in missing:
        note(f"{one}: nothing is stored")
    show(f"wrote {done:,} series, {bars:,} bars, into {folder}")
    return EXIT_FAILURE if failed or missing else EXIT_OK


def import_files(arguments: argparse.Namespace) -> int:
    """Read Parquet files into the store; return the exit code."""
    check_pyarrow()
    from tvDatafeed.store.parquet import import_series  # noqa: PLC0415 - an extra

    failed = done = bars = 0
    with opened(arguments) as store:
        for path in _files(arguments.file):
            try:
                imported = import_series(store, path)
            except TvDatafeedError as error:
                note(f"{path.name}: {error}")
                failed += 1
            else:
                done, bars = done + 1, bars + imported.bars
        place = store.url
    show(f"read {done:,} series, {bars:,} new bars, into {printable(place)}")
    return EXIT_FAILURE if failed else EXIT_OK


def _files(names: Iterable[str]) -> Iterator[Path]:
    """Return files, with each folder replaced by its files."""
    for name in names:
        path = Path(name)
        if not path.is_dir():
            yield path
            continue
        inside = sorted(path.glob("*.parquet"))
        if not inside:
            raise CommandError(f"{name} has no file that ends in .parquet", EXIT_USAGE)
        yield from inside
