"""The commands that show the contents of a bar store."""

import argparse
import dataclasses
import json
from datetime import datetime
from typing import TYPE_CHECKING

from tvDatafeed.cli.bars import write_bars
from tvDatafeed.cli.console import EXIT_FAILURE, EXIT_OK, note, show
from tvDatafeed.cli.storeopening import of_symbol, opened, show_described, show_table
from tvDatafeed.cli.watching import watch
from tvDatafeed.config import TvDatafeedConfig
from tvDatafeed.interval import as_interval

if TYPE_CHECKING:
    from tvDatafeed.store.records import SeriesInfo, StoreStats

_TIME = "%Y-%m-%d %H:%M"


def show_stats(arguments: argparse.Namespace) -> int:
    """Show the contents and the use of the store; return the exit code."""
    with opened(arguments) as store:
        if not arguments.watch:
            _show_stats(store.stats(), arguments)
        else:
            watch(
                store.stats,
                lambda stats, uptime_s: _show_stats(stats, arguments, uptime_s=uptime_s),
                arguments.every,
                is_json=arguments.json,
            )
    return EXIT_OK


def _show_stats(
    stats: "StoreStats", arguments: argparse.Namespace, *, uptime_s: float | None = None
) -> int:
    """Write the contents of a store; return the number of lines."""
    if arguments.json:
        uptime = {} if uptime_s is None else {"uptime_s": round(uptime_s, 3)}
        show(json.dumps(dataclasses.asdict(stats) | uptime))
        return 1
    hot = ", ".join(f"{symbol} {hits:,}" for symbol, hits in stats.hot_symbols)
    rows = {
        "store": stats.url,
        "size": _size_text(stats.size_bytes),
        "records": f"{stats.total_records:,}: {stats.series:,} series of "
        f"{stats.unique_symbols:,} symbols, {stats.documents:,} documents",
        "hit rate": f"{stats.hit_rate:.1%} of {stats.hits + stats.misses:,} requests",
        "hot symbols": hot or "none yet",
    }
    if uptime_s is not None:
        minutes, seconds = divmod(int(uptime_s), 60)
        rows["uptime"] = f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
    return show_described(rows.items())


def list_series(arguments: argparse.Namespace) -> int:
    """List the series; return the exit code."""
    with opened(arguments) as store:
        every = store.series()
    if arguments.json:
        for info in every:
            show(json.dumps(dataclasses.asdict(info), default=_as_json))
        return EXIT_OK
    rows = [
        [
            info.symbol,
            info.interval,
            f"{info.bars:,}",
            _time(info.first),
            _time(info.last),
            f"{info.hits:,}",
            _time(info.last_used),
            _kind(info),
        ]
        for info in every
    ]
    heads = ["SYMBOL", "INTERVAL", "BARS", "FIRST", "LAST", "HITS", "USED", "KIND"]
    show_table(heads, rows, numbers=(2, 5), spare=(6, 5, 3, 4))
    return EXIT_OK


def show_coverage(arguments: argparse.Namespace) -> int:
    """Show which ranges are stored; return the exit code."""
    wanted = None if arguments.interval is None else arguments.interval.value
    rows = []
    with opened(arguments) as store:
        for info in of_symbol(store.series(), arguments.symbol):
            if wanted in {None, info.interval}:
                spans = store.coverage(
                    info.symbol,
                    None,
                    as_interval(info.interval),
                    extended_session=info.session == "extended",
                    adjustment=info.adjustment,  # type: ignore[arg-type]  # as it was stored
                    currency=info.currency,
                    backadjusted=info.backadjusted,
                    feed=info.feed,
                )
                rows += [(info, lo, hi) for lo, hi in spans]
        place = store.url
    if not rows:
        note(f"nothing of {arguments.symbol} is in the store {place}")
        return EXIT_FAILURE
    if arguments.json:
        for info, lo, hi in rows:
            line = {"symbol": info.symbol, "interval": info.interval, "kind": _kind(info)}
            show(json.dumps(line | {"from": lo.isoformat(), "to": hi.isoformat()}))
        return EXIT_OK
    cells = [
        [info.symbol, info.interval, _time(lo), _time(hi), _kind(info)] for info, lo, hi in rows
    ]
    show_table(["SYMBOL", "INTERVAL", "FROM", "TO", "KIND"], cells)
    return EXIT_OK


def read_bars(arguments: argparse.Namespace) -> int:
    """Write stored bars; return the exit code."""
    from tvDatafeed.store.locations import default_path  # noqa: PLC0415 - help needs to be quick

    config = TvDatafeedConfig.from_env()
    place = arguments.url or config.store.url or str(default_path())
    return write_bars(
        arguments,
        dataclasses.replace(config, store=dataclasses.replace(config.store, url=place)),
    )


def _kind(info: "SeriesInfo") -> str:
    """Return what distinguishes a series from others of its symbol and interval."""
    words = (
        info.feed,
        info.session if info.session != "regular" else "",
        info.adjustment if info.adjustment != "splits" else "",
        info.currency or "",
        "backadjusted" if info.backadjusted else "",
    )
    return " ".join(filter(None, words))


def _time(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:{_TIME}}"


def _as_json(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _size_text(size_bytes: int) -> str:
    size, unit = float(size_bytes), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:  # noqa: PLR2004 - of each unit to the next
            break
        size, unit = size / 1000, larger
    return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
