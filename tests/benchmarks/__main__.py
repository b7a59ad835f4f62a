"""Print each figure beside its target and the floor.

``python -m tests.benchmarks [--enhanced PYTHON] [--tvkit PYTHON] [--runs N] [--only P3 S1 ...]
[--quick]``: P1 to P9 are the client, S1 to S8 the bar store, D1 to D5 delivery. The loopback server
runs in a process of its own, and each peer in an interpreter that has it, as `peer_enhanced` and
`peer_tvkit` say. Absolute times move with the machine; the ratios are taken in one run.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from tests.benchmarks import delivery, store, storeservers
from tests.benchmarks.depth import deep_history
from tests.benchmarks.live import growth_by_seises, idle_figures, live_figures
from tests.benchmarks.many import growth_by_symbols, many_symbols
from tests.benchmarks.measure import Figure, interleaved_ms, median_ms
from tests.benchmarks.scale_readers import shared_readers
from tests.benchmarks.scale_store import filled_store
from tests.benchmarks.server import NOW, server_process
from tests.benchmarks.shared import shared_feed
from tvDatafeed import Interval, TvDatafeed, TvDatafeedConfig
from tvDatafeed.config import NetworkConfig
from tvDatafeed.frames.history import history_to_frame
from tvDatafeed.protocol.events import SeriesRequest
from tvDatafeed.protocol.framing import encode
from tvDatafeed.protocol.literals import ANONYMOUS_TOKEN
from tvDatafeed.protocol.machine import Machine
from tvDatafeed.query.view import View
from tvDatafeed.testing import Market

BARS = 5000
SYMBOL = "NASDAQ:AAPL"

P1_RATIO = 2.5
P2_CPU_MS = 4.0
P2_RATIO = 15.0
P8_RATIO = 0.25


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--enhanced", help="an interpreter that has tvdatafeed-enhanced installed")
    parser.add_argument("--tvkit", help="an interpreter that has tvkit installed")
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--only", nargs="+", metavar="Pn", help="figures; default: all")
    parser.add_argument(
        "--quick", action="store_true", help="S4 with a million bars, S6 for five seconds"
    )
    arguments = parser.parse_args()
    runs, enhanced = arguments.runs, arguments.enhanced
    peers = {
        name: [python, f"tests/benchmarks/{script}.py"]
        for name, python, script in (
            ("tvdatafeed-enhanced", enhanced, "peer_enhanced"),
            ("tvkit", arguments.tvkit, "peer_tvkit"),
        )
        if python
    }
    print(f"Python {sys.version.split()[0]} on {sys.platform}; medians of {runs} runs\n")
    benchmarks: dict[str, Callable[[], Iterator[Figure]]] = {
        "P1": lambda: parsing(runs),
        "P2": lambda: warm_call(runs, enhanced),
        "P3 P4": lambda: many_symbols(peers, max(runs // 12, 3)),
        "P5 P9": lambda: deep_history(max(runs // 6, 5)),
        "P9": lambda: growth_by_symbols(max(runs // 3, 5)),
        "P6": lambda: live_figures(arguments.tvkit, max(runs * 5, 50)),
        "P7": idle_figures,
        "P9 P6": growth_by_seises,
        "P8": lambda: importing(max(runs // 6, 5)),
        "S1": lambda: store.reading(runs),
        "S2": lambda: store.writing(max(runs // 12, 3)),
        "S3": lambda: store.appending(runs),
        "S4": lambda: store.size(runs, quick=arguments.quick),
        "S5": lambda: store.warm_call(runs),
        "S6": lambda: storeservers.contention(5.0 if arguments.quick else 60.0),
        "S7": lambda: storeservers.server(max(runs // 12, 3)),
        "S8": store.importing,
        "D1": lambda: delivery.enqueueing(runs),
        "D2": lambda: delivery.posting(max(runs // 4, 5)),
        "D3": lambda: delivery.live_figures(max(runs * 5, 50)),
        "D4": delivery.memory,
        "D5": lambda: shared_feed(max(runs * 5, 50)),
        "R1": shared_readers,
        "R2": filled_store,
    }
    for names, benchmark in benchmarks.items():
        if not arguments.only or set(names.split()) & set(arguments.only):
            for figure in benchmark():
                print(figure, flush=True)


def parsing(runs: int) -> Iterator[Figure]:
    """P1: the text frame of 5000 bars to a DataFrame, against the floor."""
    text = history_text()
    work = f"text frame of {BARS} bars -> DataFrame"
    target = f"at most {P1_RATIO} x floor"

    def ours() -> object:
        machine = Machine(ANONYMOUS_TOKEN)
        machine.open("cs_a", SeriesRequest(SYMBOL, "1", BARS), now=0.0, deadline=1.0)
        machine.receive(text, 0.0)
        (event,) = machine.events()
        return history_to_frame(event.answer, View(count=BARS))

    try:
        floor = floor_of(text)
    except ImportError:
        took = median_ms(ours, runs=runs)
        yield Figure("P1", work, f"{took:.2f} ms (floor needs pysimdjson)", target, None)
        return
    took, floor_ms = interleaved_ms(ours, floor, runs=runs)
    ratio = took / floor_ms
    measured = f"{took:.2f} ms, floor {floor_ms:.2f}: {ratio:.2f} x"
    yield Figure("P1", work, measured, target, ratio <= P1_RATIO)


def warm_call(runs: int, peer: str | None) -> Iterator[Figure]:
    """P2: get_hist of 5000 bars on a warm connection, CPU of the client alone."""
    with server_process() as url:
        config = TvDatafeedConfig(network=NetworkConfig(ws_url=url))
        with TvDatafeed(verbose=False, config=config) as tv:

            def fetch() -> None:
                frame = tv.get_hist(SYMBOL, interval=Interval.in_1_minute, n_bars=BARS)
                if len(frame) != BARS:
                    raise SystemExit("the bars did not come")

            cpu_ms = median_ms(fetch, runs=runs, clock=time.process_time)
            wall_ms = median_ms(fetch, runs=runs)
        measured = f"{cpu_ms:.2f} ms CPU, {wall_ms:.2f} ms wall"
        work = f"get_hist of {BARS} bars, warm connection"
        yield Figure("P2", work, measured, f"at most {P2_CPU_MS} ms CPU", cpu_ms <= P2_CPU_MS)
        target = f"at least {P2_RATIO} x less CPU than the peer"
        if peer is None:
            yield Figure("P2", work, "no --enhanced given", target, None)
            return
        script = [peer, "tests/benchmarks/peer_enhanced.py", url, str(max(runs // 6, 5))]
        # The peer's package has our name, so our folder must not stand on its path.
        done = subprocess.run(script, capture_output=True, text=True, check=True)
        theirs = json.loads(done.stdout.splitlines()[-1])
    ratio = theirs["cpu_ms"] / cpu_ms
    measured = f"peer {theirs['cpu_ms']:.1f} ms CPU: {ratio:.1f} x"
    yield Figure("P2", work, measured, target, ratio >= P2_RATIO)


def importing(runs: int) -> Iterator[Figure]:
    """P8: import time against that of pandas, whole processes less an empty one."""

    def process(code: str) -> object:
        return lambda: subprocess.run([sys.executable, "-c", code], check=True)

    ours, theirs, empty = interleaved_ms(
        process("import tvDatafeed"), process("import pandas"), process("pass"), runs=runs
    )
    ours_ms, pandas_ms = ours - empty, theirs - empty
    ratio = ours_ms / pandas_ms
    measured = f"{ours_ms:.0f} ms, pandas {pandas_ms:.0f} ms: {ratio:.2f} x"
    target = f"at most {P8_RATIO} x import pandas"
    yield Figure("P8", "import tvDatafeed", measured, target, ratio <= P8_RATIO)


def history_text() -> str:
    """Write an answer of 5000 bars as the server writes it, timeline included."""
    bars = Market().bars(SYMBOL, "1", BARS, NOW)
    items = [{"i": i, "v": [float(bar[0]), *bar[1:]]} for i, bar in enumerate(bars)]
    series = {"node": "n", "s": items, "ns": {"d": "", "indexes": []}, "t": "s1"}
    timeline = {
        "index": 0,
        "zoffset": 0,
        "changes": [float(bar.time) for bar in bars],
        "marks": [[20, bar.time, i] for i, bar in enumerate(bars)],
        "index_diff": [],
    }
    payloads = [
        {"m": "timescale_update", "p": ["cs_a", {"sds_1": series}, timeline]},
        {"m": "series_completed", "p": ["cs_a", "sds_1", "streaming", "s1", {}]},
    ]
    return "".join(encode(json.dumps(p, separators=(",", ":"))) for p in payloads)


def floor_of(text: str) -> object:
    """Return the quickest way known: one translate pass and a numeric buffer, nothing checked."""
    import numpy as np  # noqa: PLC0415
    import pandas as pd  # noqa: PLC0415
    import simdjson  # noqa: PLC0415

    parser = simdjson.Parser()

    def floor() -> object:
        data = text.encode()
        start = data.index(b'"s":[') + 4
        end = data.index(b"]}],", start) + 3
        numbers = b"[" + data[start:end].translate(None, b'{}[]":iv') + b"]"
        cells = np.frombuffer(parser.parse(numbers).as_buffer(of_type="d")).reshape(-1, 7)
        index = pd.DatetimeIndex((cells[:, 1] * 1e9).astype("int64").view("M8[ns]"))
        frame = pd.DataFrame(
            np.ascontiguousarray(cells[:, 2:]),
            index=index,
            columns=["open", "high", "low", "close", "volume"],
            copy=False,
        )
        frame.insert(0, "symbol", SYMBOL)
        return frame

    return floor


if __name__ == "__main__":
    main()
