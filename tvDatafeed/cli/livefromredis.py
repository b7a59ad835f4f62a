"""Bars that another machine publishes in Redis, shown like those of a local feed."""

import argparse
import queue
from collections.abc import Sequence
from datetime import tzinfo
from typing import TYPE_CHECKING, Any

from tvDatafeed.cli.console import EXIT_OK, EXIT_USAGE, CommandError
from tvDatafeed.cli.liveshowing import BarScreen, SeriesState, follow_bars, write_bar

if TYPE_CHECKING:
    import pandas as pd

    from tvDatafeed.delivery.redisfeed import RedisFeed, RedisSeis

__all__ = ["follow_shared_feed"]

# The pause between two writes of a table, since its states change between bars.
_TICK_S = 1.0
# A stopped terminal shows only the newest bars later.
_KEPT_BARS = 10_000


def follow_shared_feed(
    symbols: Sequence[str],
    arguments: argparse.Namespace,
    zone: str | tzinfo | None,
    *,
    is_table: bool,
) -> int:
    """Show the closed bars of a shared feed; return the exit code.

    Parameters
    ----------
    symbols
        The full symbols.
    arguments
        The options of the command.
    zone
        The zone of the times; None for local time.
    is_table
        Whether a terminal shows a table.

    Raises
    ------
    CommandError
        An option does not apply here.
    """
    from tvDatafeed.delivery import RedisFeed  # noqa: PLC0415 - help needs to be quick

    if arguments.forming:
        raise CommandError("a shared feed has closed bars alone: leave --forming out", EXIT_USAGE)
    with RedisFeed(arguments.from_redis or None, timezone=zone) as feed:
        if is_table:
            _show_table(feed, symbols, arguments)
        else:
            for symbol in symbols:
                feed.subscribe(symbol, "", arguments.interval)
            follow_bars(feed.stream(), write_bar, arguments.count)
    return EXIT_OK


def _show_table(feed: "RedisFeed", symbols: Sequence[str], arguments: argparse.Namespace) -> None:
    coming: queue.SimpleQueue[tuple[RedisSeis, pd.DataFrame]] = queue.SimpleQueue()

    def put(seis: "RedisSeis", frame: "pd.DataFrame") -> None:
        if coming.qsize() < _KEPT_BARS:
            coming.put((seis, frame))

    seises = [feed.subscribe(symbol, "", arguments.interval, put) for symbol in symbols]
    closed = 0
    with BarScreen(lambda: _states(feed, seises), seises).shown() as screen:
        screen.draw()
        while arguments.count is None or closed < arguments.count:
            try:
                bar = coming.get(timeout=_TICK_S)
            except queue.Empty:
                screen.draw()
            else:
                screen.show(*bar)
                closed += 1


def _states(feed: "RedisFeed", seises: "Sequence[RedisSeis]") -> "dict[Any, SeriesState]":
    status = feed.status()
    state = "STARTING"
    if status["error"] is not None:
        state = f"RECONNECTING: {status['error']}"
    elif status["connected"]:
        state = "LIVE"
    known = status["series"]
    return {
        seis: SeriesState(state, known.get(str(seis), {}).get("delivered", 0)) for seis in seises
    }
