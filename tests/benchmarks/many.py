"""P3, P4 and P9 for symbols: many of them at once, beside what others need for the same."""

import json
import subprocess
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tests.benchmarks.measure import Figure, best_ms, line_through
from tests.benchmarks.server import STOCKS, server_process
from tvDatafeed import Interval, TvDatafeed, TvDatafeedConfig
from tvDatafeed.config import NetworkConfig

if TYPE_CHECKING:
    from tvDatafeed.store import BarStore

ROUND_TRIP_S = 0.05
DAILY_BARS = 300
MINUTE_SYMBOLS = STOCKS[:20]
MINUTE_BARS = 5000
P3_S = 0.8
P4_S = 0.6
MIN_FIT = 0.98

Peers = dict[str, list[str]]


def client_of(url: str, store: "BarStore | None" = None) -> TvDatafeed:
    """Make a client of the server at this URL."""
    config = TvDatafeedConfig(network=NetworkConfig(ws_url=url))
    return TvDatafeed(verbose=False, config=config, store=store or False)


def fetch(
    tv: TvDatafeed, symbols: list[str], interval: Interval, count: int, at_once: int = 10
) -> float:
    """Fetch all of it, and say how many seconds it took."""
    started = time.perf_counter()
    frames = tv.get_hist_multi(symbols, interval=interval, n_bars=count, max_concurrent=at_once)
    took = time.perf_counter() - started
    if [len(frame) for frame in frames.values()] != [count] * len(symbols):
        raise SystemExit("the bars did not come")
    return took


def many_symbols(peers: Peers, runs: int) -> Iterator[Figure]:
    """P3 and P4: each run on a connection of its own, over 50 ms."""
    with server_process(ROUND_TRIP_S) as url:
        daily, wider, minute = [], [], []
        for _ in range(runs + 1):
            with client_of(url) as tv:
                daily.append(fetch(tv, STOCKS, Interval.in_daily, DAILY_BARS))
            with client_of(url) as tv:
                wider.append(fetch(tv, STOCKS, Interval.in_daily, DAILY_BARS, at_once=20))
            with client_of(url) as tv:
                minute.append(fetch(tv, MINUTE_SYMBOLS, Interval.in_1_minute, MINUTE_BARS))
        # The first run had the server write its answers.
        daily_s, wider_s, minute_s = (
            sorted(times[1:])[runs // 2] for times in (daily, wider, minute)
        )
        theirs = {name: _peer(command, url) for name, command in peers.items()}
    work = f"100 symbols x {DAILY_BARS} bars, 50 ms round trip"
    yield Figure("P3", work, f"{daily_s:.2f} s", f"at most {P3_S} s", daily_s <= P3_S)
    yield Figure("P3", "the same, max_concurrent=20", f"{wider_s:.2f} s", "as others do", None)
    for name, figures in theirs.items():
        best, in_turn = figures["daily_ms"] / 1000, figures["daily_in_turn_ms"] / 1000
        measured = f"{best:.2f} s at once, {in_turn:.1f} s in turn"
        yield Figure(
            "P3",
            f"the same, {name}",
            measured,
            f"{best / daily_s:.1f} x and {in_turn / daily_s:.0f} x ours",
            None,
        )
    work = f"20 symbols x {MINUTE_BARS} bars, 50 ms round trip"
    target = f"at most {P4_S} s + transfer"
    yield Figure("P4", work, f"{minute_s:.2f} s", target, minute_s <= P4_S)
    for name, figures in theirs.items():
        their_s = figures["minute_ms"] / 1000
        yield Figure(
            "P4",
            f"the same, {name}",
            f"{their_s:.1f} s in turn",
            f"{their_s / minute_s:.0f} x ours",
            None,
        )


def growth_by_symbols(runs: int) -> Iterator[Figure]:
    """P9: the time of a batch is a straight line in the number of its symbols."""
    counts = [10, 20, 40, 60, 80, 100]
    with server_process() as url, client_of(url) as tv:
        fetch(tv, STOCKS, Interval.in_daily, DAILY_BARS)
        works = [
            lambda n=count: fetch(tv, STOCKS[:n], Interval.in_daily, DAILY_BARS) for count in counts
        ]
        times_ms = best_ms(works, runs=runs)
    slope, fit = line_through(counts, times_ms)
    measured = f"{slope:.2f} ms a symbol, R² {fit:.3f}"
    yield Figure(
        "P9", f"10 to 100 symbols x {DAILY_BARS} bars", measured, "a straight line", fit >= MIN_FIT
    )


def _peer(command: list[str], url: str) -> dict[str, float]:
    script = [*command, url, "--daily", *STOCKS, "--minute", *MINUTE_SYMBOLS]
    done = subprocess.run(script, capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures
