"""P3, P4 and P9 for symbols: many of them at once, beside what others need for the same."""

import json
import os
import statistics
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

from tests.benchmarks.bare import BareClient
from tests.benchmarks.measure import (
    Figure,
    best_ms,
    interleaved_s,
    line_through,
    ratio_of,
    require_bars,
    seconds_of,
)
from tests.benchmarks.server import STOCKS, server_process
from tvDatafeed import Interval, TvDatafeed, TvDatafeedConfig
from tvDatafeed.config import NetworkConfig

if TYPE_CHECKING:
    from tvDatafeed.store import BarStore

ROUND_TRIP_S = 0.05
DAILY_SYMBOLS, DAILY_BARS = STOCKS, 300
MINUTE_SYMBOLS, MINUTE_BARS = STOCKS[:20], 5000
COUNTS = [10, 20, 40, 60, 80, 100]
DAY, MINUTE = Interval.in_daily, Interval.in_1_minute
P3_S = 0.6
P4_S = 0.25
MIN_FIT = 0.98

Peers = dict[str, list[str]]


def client_of(url: str, store: "BarStore | None" = None) -> TvDatafeed:
    """Return a client of the server at this URL."""
    config = TvDatafeedConfig(network=NetworkConfig(ws_url=url))
    return TvDatafeed(verbose=False, config=config, store=store or False)


def fetch(
    tv: TvDatafeed, symbols: list[str], interval: Interval, count: int, at_once: int = 10
) -> None:
    """Fetch some bars of each symbol."""
    frames = tv.get_hist_multi(symbols, interval=interval, n_bars=count, max_concurrent=at_once)
    for symbol in symbols:
        require_bars(frames[symbol], count)


def many_symbols(peers: Peers, runs: int) -> Iterator[Figure]:
    """P3 and P4: each run on a new connection, over 50 ms, beside a bare WebSocket's.

    The transfer of P4 is the time in which the same answers reach a bare WebSocket that is open
    already, from a server without a round trip: the server's writing and the network's bytes.
    """
    with server_process(ROUND_TRIP_S) as url:

        def ours(symbols: list[str], interval: Interval, count: int, at_once: int = 10) -> float:
            with client_of(url) as tv:
                return seconds_of(lambda: fetch(tv, symbols, interval, count, at_once))

        def bare(symbols: list[str], interval: Interval, count: int) -> float:
            with ExitStack() as held:

                def connect_and_fetch() -> None:
                    client = held.enter_context(BareClient(url))
                    client.fetch(symbols, interval.value, count)

                return seconds_of(connect_and_fetch)

        rounds = [
            (
                ours(DAILY_SYMBOLS, DAY, DAILY_BARS),
                bare(DAILY_SYMBOLS, DAY, DAILY_BARS),
                ours(DAILY_SYMBOLS, DAY, DAILY_BARS, at_once=20),
                ours(MINUTE_SYMBOLS, MINUTE, MINUTE_BARS),
                bare(MINUTE_SYMBOLS, MINUTE, MINUTE_BARS),
            )
            for _ in range(runs + 1)
        ]
        # In the first round the server wrote its answers.
        daily_s, bare_daily_s, wider_s, minute_s, bare_minute_s = (
            statistics.median(taken) for taken in zip(*rounds[1:], strict=True)
        )
        theirs = {name: _peer(command, url) for name, command in peers.items()}
    transfer_s = _transfer_s(runs)
    work = (
        f"{len(DAILY_SYMBOLS)} symbols x {DAILY_BARS} bars, {ROUND_TRIP_S * 1000:g} ms round trip"
    )
    measured = f"{daily_s:.2f} s, bare {bare_daily_s:.2f}: {ratio_of(daily_s, bare_daily_s):.2f} x"
    target = f"at most {P3_S:g} s (10 round trips: {10 * ROUND_TRIP_S:g})"
    yield Figure("P3", work, measured, target, daily_s <= P3_S, value=daily_s, unit="s")
    measured = f"{wider_s:.2f} s"
    yield Figure("P3", f"{work}, 20 at once", measured, "as others do", None, wider_s, "s")
    for name, figures in theirs.items():
        best, in_turn = figures["daily_ms"] / 1000, figures["daily_in_turn_ms"] / 1000
        yield Figure(
            "P3",
            f"the same, {name}",
            f"{best:.2f} s at once, {in_turn:.1f} s in turn",
            f"{best / daily_s:.1f} x and {in_turn / daily_s:.0f} x ours",
            None,
        )
    work = (
        f"{len(MINUTE_SYMBOLS)} symbols x {MINUTE_BARS} bars, {ROUND_TRIP_S * 1000:g} ms round trip"
    )
    measured = (
        f"{minute_s:.2f} s, bare {bare_minute_s:.2f}: {ratio_of(minute_s, bare_minute_s):.2f} x"
    )
    target = f"at most {P4_S:g} s + transfer: {P4_S + transfer_s:.2f} s"
    holds = minute_s <= P4_S + transfer_s
    yield Figure("P4", work, measured, target, holds, value=minute_s, unit="s")
    for name, figures in theirs.items():
        their_s = figures["minute_ms"] / 1000
        yield Figure(
            "P4",
            f"the same, {name}",
            f"{their_s:.1f} s in turn",
            f"{their_s / minute_s:.0f} x ours",
            None,
        )


def _transfer_s(runs: int) -> float:
    with server_process() as url, BareClient(url) as bare:
        (taken,) = interleaved_s(
            [lambda: bare.fetch(MINUTE_SYMBOLS, MINUTE.value, MINUTE_BARS)], runs=runs
        )
    return statistics.median(taken)


def growth_by_symbols(runs: int) -> Iterator[Figure]:
    """P9: the time of a batch is a straight line in the number of its symbols."""
    with server_process() as url, client_of(url) as tv:
        works = [lambda n=count: fetch(tv, STOCKS[:n], DAY, DAILY_BARS) for count in COUNTS]
        times_ms = best_ms(works, runs=runs)
    slope, fit = line_through(COUNTS, times_ms)
    work = f"{COUNTS[0]} to {COUNTS[-1]} symbols x {DAILY_BARS} bars"
    measured = f"{slope:.2f} ms a symbol, R² {fit:.3f}"
    holds = fit >= MIN_FIT
    yield Figure("P9", work, measured, "a straight line", holds, value=slope, unit="ms")


def _peer(command: list[str], url: str) -> dict[str, float]:
    return peer_figures([*command, url, "--daily", *STOCKS, "--minute", *MINUTE_SYMBOLS])


def peer_figures(command: list[str]) -> dict[str, float]:
    """Run a peer's script in its own interpreter, and return the figures that it prints."""
    # A peer's package may have our name: no folder of ours may stand on its path.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason"])[-1]
        raise SystemExit(f"{command[0]}: {reason}")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures
