"""P1, P2 and P8: one answer to a frame, one warm call, and the import."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from tests.benchmarks.bare import BareClient
from tests.benchmarks.many import client_of, peer_figures
from tests.benchmarks.measure import Figure, cpu_s, interleaved_ms, ratio_of, require_bars, settled
from tests.benchmarks.server import NOW, server_process
from tvDatafeed import Interval
from tvDatafeed.frames.history import history_to_frame
from tvDatafeed.protocol.events import SeriesRequest
from tvDatafeed.protocol.framing import encode
from tvDatafeed.protocol.literals import ANONYMOUS_TOKEN
from tvDatafeed.protocol.machine import Machine
from tvDatafeed.query.view import View
from tvDatafeed.testing import Market

BARS = 5000
SYMBOL = "NASDAQ:AAPL"

P1_RATIO = 1.7
P2_RATIO, P2_PEER_RATIO = 2.1, 25.0
P8_RATIO = 0.15

NO_FLOOR = "the floor needs pysimdjson"


def parsing(runs: int) -> Iterator[Figure]:
    """P1: the text frame of 5000 bars to a DataFrame, against the floor."""
    text = history_text()
    work = f"text frame of {BARS} bars -> DataFrame"
    target = f"at most {P1_RATIO:g} x floor"

    def ours() -> pd.DataFrame:
        machine = Machine(ANONYMOUS_TOKEN)
        machine.open("cs_a", SeriesRequest(SYMBOL, "1", BARS), now=0.0, deadline=1.0)
        machine.receive(text, 0.0)
        (event,) = machine.events()
        return history_to_frame(event.answer, View(count=BARS))

    require_bars(ours(), BARS)
    try:
        frame_of = floor_way()
    except ImportError:
        (took,) = interleaved_ms(ours, runs=runs, clock=cpu_s)
        yield Figure("P1", work, f"{took:.2f} ms CPU ({NO_FLOOR})", target, None)
        return
    if not np.array_equal(ours().to_numpy()[:, 1:], frame_of(text).to_numpy()[:, 1:]):
        raise SystemExit("the floor has other bars")
    took, floor_ms = interleaved_ms(ours, lambda: frame_of(text), runs=runs, clock=cpu_s)
    ratio = ratio_of(took, floor_ms)
    measured = f"{took:.2f} ms CPU, floor {floor_ms:.2f}: {ratio:.2f} x"
    yield Figure("P1", work, measured, target, ratio <= P1_RATIO, value=ratio, unit="x")


def warm_call(runs: int, peer: str | None) -> Iterator[Figure]:
    """P2: get_hist of 5000 bars on a warm connection, CPU of the client alone.

    The floor is that of P1: the text is in memory, and becomes a frame. What a bare WebSocket and
    the same floor need together stands beside it: no client is quicker than that.
    """
    work = f"get_hist of {BARS} bars, warm connection"
    with server_process() as url:
        with client_of(url) as tv, BareClient(url) as bare:
            yield from _against_floor(work, tv.get_hist, bare, runs)
            # Without the floor in between, as the peer is measured.
            (cpu_ms,) = interleaved_ms(settled(lambda: _fetch(tv.get_hist)), runs=runs, clock=cpu_s)
            (wall_ms,) = interleaved_ms(lambda: _fetch(tv.get_hist), runs=runs)
        yield Figure("P2", "the same call, wall time", f"{wall_ms:.2f} ms", "", None, wall_ms, "ms")
        target = f"at least {P2_PEER_RATIO:g} x less CPU than the peer"
        if peer is None:
            yield Figure("P2", f"{work}, tvdatafeed-enhanced", "no --enhanced given", target, None)
            return
        script = [peer, "tests/benchmarks/peer_enhanced.py", url, str(max(runs // 6, 5))]
        theirs = peer_figures(script)
    ratio = ratio_of(theirs["cpu_ms"], cpu_ms)
    measured = f"{theirs['cpu_ms']:.1f} ms CPU, ours {cpu_ms:.2f}: {ratio:.1f} x"
    yield Figure(
        "P2",
        f"{work}, tvdatafeed-enhanced",
        measured,
        target,
        ratio >= P2_PEER_RATIO,
        value=ratio,
        unit="x",
        more_is_better=True,
    )


def _against_floor(
    work: str, get_hist: Callable[..., pd.DataFrame], bare: BareClient, runs: int
) -> Iterator[Figure]:
    target = f"at most {P2_RATIO:g} x floor, CPU against CPU"
    try:
        frame_of = floor_way()
    except ImportError:
        (cpu_ms,) = interleaved_ms(settled(lambda: _fetch(get_hist)), runs=runs, clock=cpu_s)
        yield Figure("P2", work, f"{cpu_ms:.2f} ms CPU ({NO_FLOOR})", target, None)
        return

    text = history_text()

    def bare_call() -> None:
        frame = frame_of(b"".join(bare.fetch([SYMBOL], "1", BARS)).decode())
        require_bars(frame, BARS)

    cpu_ms, floor_ms, bare_ms = interleaved_ms(
        settled(lambda: _fetch(get_hist)),
        settled(lambda: frame_of(text)),
        settled(bare_call),
        runs=runs,
        clock=cpu_s,
    )
    ratio = ratio_of(cpu_ms, floor_ms)
    measured = f"{cpu_ms:.2f} ms CPU, floor {floor_ms:.2f}: {ratio:.2f} x"
    yield Figure("P2", work, measured, target, ratio <= P2_RATIO, value=ratio, unit="x")
    measured = f"{bare_ms:.2f} ms CPU, {ratio_of(bare_ms, floor_ms):.2f} x floor"
    yield Figure("P2", "a bare WebSocket, then the floor", measured, "", None)


def _fetch(get_hist: Callable[..., pd.DataFrame]) -> None:
    require_bars(get_hist(SYMBOL, interval=Interval.in_1_minute, n_bars=BARS), BARS)


def importing(runs: int) -> Iterator[Figure]:
    """P8: import time against that of pandas, whole processes less an empty one."""

    # The first run, which is not counted, writes the bytecode that an installed package has.
    variables = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}

    def process(code: str) -> Callable[[], object]:
        return lambda: subprocess.run([sys.executable, "-c", code], check=True, env=variables)

    ours, theirs, empty = interleaved_ms(
        process("import tvDatafeed"), process("import pandas"), process("pass"), runs=runs
    )
    ours_ms, pandas_ms = ours - empty, theirs - empty
    ratio = ratio_of(ours_ms, pandas_ms)
    measured = f"{ours_ms:.0f} ms, pandas {pandas_ms:.0f} ms: {ratio:.2f} x"
    target = f"at most {P8_RATIO:g} x import pandas"
    holds = ratio <= P8_RATIO
    yield Figure("P8", "import tvDatafeed", measured, target, holds, value=ratio, unit="x")


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


def floor_way() -> Callable[[str], pd.DataFrame]:
    """Return the quickest way known: one translate pass and a numeric buffer, nothing checked."""
    import simdjson  # noqa: PLC0415 - absent unless the group benchmark is installed

    parser = simdjson.Parser()

    def frame_of(text: str) -> pd.DataFrame:
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

    return frame_of
