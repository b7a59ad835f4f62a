"""P5 and P9 for bars: how deep a history costs how much time and memory."""

import gc
import tracemalloc
from collections.abc import Iterator

from tests.benchmarks.many import MIN_FIT, client_of
from tests.benchmarks.measure import Figure, best_ms, line_through, require_bars
from tests.benchmarks.server import NOW, server_process
from tvDatafeed import Interval
from tvDatafeed.testing import Market
from tvDatafeed.testing.sessions.pages import bar_text

SYMBOL = "BINANCE:BTCUSDT"
COUNTS = [5_000, 10_000, 20_000, 30_000, 40_000]
MEMORY_RATIO = 2.0
MIB = 1 << 20


def deep_history(runs: int) -> Iterator[Figure]:
    """P5 and P9: 40 000 bars page by page, the line through fewer, and the peak of memory.

    The text that the target counts is that of the rows alone. The time axis, which the server sends
    with them and which is nearly as long, is not counted: that is the stricter reading.
    """
    deepest = COUNTS[-1]
    with server_process() as url, client_of(url) as tv:

        def fetch(count: int) -> int:
            frame = tv.get_hist(SYMBOL, interval=Interval.in_1_minute, n_bars=count)
            require_bars(frame, count)
            return int(frame.memory_usage(index=True).sum())

        times_ms = best_ms([lambda n=count: fetch(n) for count in COUNTS], runs=runs)
        gc.collect()
        tracemalloc.start()
        frame_bytes = fetch(deepest)
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    slope, fit = line_through(COUNTS, times_ms)
    work = f"{deepest} bars through paging"
    yield Figure(
        "P5", work, f"{times_ms[-1]:.0f} ms", "a line, see P9", None, value=times_ms[-1], unit="ms"
    )
    bars = Market().bars(SYMBOL, "1", deepest, NOW)
    text_bytes = sum(len(bar_text(i, bar)) + 1 for i, bar in enumerate(bars))
    ratio = (peak_bytes - frame_bytes) / text_bytes
    sizes = f"text {text_bytes / MIB:.1f}, frame {frame_bytes / MIB:.1f}"
    yield Figure(
        "P5",
        f"memory of {deepest} bars",
        f"peak {peak_bytes / MIB:.1f} MiB, {sizes}: {ratio:.2f} x",
        f"at most {MEMORY_RATIO:g} x text + frame",
        ratio <= MEMORY_RATIO,
        value=ratio,
        unit="x text",
    )
    measured = f"{slope * 1000:.2f} ms a 1000 bars, R² {fit:.3f}"
    yield Figure(
        "P9",
        f"{COUNTS[0]} to {deepest} bars",
        measured,
        "a straight line",
        fit >= MIN_FIT,
        value=slope * 1000,
        unit="ms",
    )
