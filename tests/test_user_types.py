"""The types of the package as its users' editors see them: pyright, strict, on their programs."""

import importlib.metadata
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pages import PYTHON_BLOCKS
from tests.programs import ROOT
from tests.scale import scaled

PYRIGHT = shutil.which("pyright")
STUBS = list(importlib.metadata.distributions(name="pandas-stubs"))
# Nothing is left out of it: pandas' stubs know all that our pages use.
STRICT = {"typeCheckingMode": "strict"}
_TIMEOUT_S = scaled(300.0)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (PYRIGHT and STUBS), reason="needs pyright and pandas-stubs"),
]

# What each expression is, as an editor shows it.
REVEALED = """
from typing import Literal

import pandas as pd
from typing_extensions import assert_type

from tvDatafeed import Consumer, Interval, Seis, TvDatafeed, TvDatafeedLive
from tvDatafeed.interval import CustomInterval, IntervalLike
from tvDatafeed.store import BarStore


def on_bar(seis: Seis, bar: pd.DataFrame) -> None:
    assert_type(seis.interval, Interval | CustomInterval)
    assert_type(seis.interval.seconds, int)


def bars_of(tv: TvDatafeed, interval: IntervalLike) -> pd.DataFrame:
    return tv.get_hist("AAPL", "NASDAQ", interval, 10)


tvl = TvDatafeedLive()
seis = assert_type(tvl.new_seis("AAPL", "NASDAQ", "1h"), Seis)
assert_type(tvl.new_seis("AAPL", "NASDAQ", Interval.in_1_hour, 5), Seis | Literal[False])
assert_type(tvl.new_seis("AAPL", "NASDAQ", seis.interval, timeout=5), Seis | Literal[False])
assert_type(seis.new_consumer(on_bar), Consumer)
assert_type(seis.new_consumer(lambda seis, bar: print(seis.symbol, bar["close"])), Consumer)
assert_type(tvl.new_consumer(seis, on_bar, bars="all"), Consumer)
assert_type(tvl.subscribe("AAPL", "NASDAQ", "6h", on_bar), Consumer)
assert_type(tvl.get_hist("AAPL", "NASDAQ", "1d"), pd.DataFrame)
assert_type(seis.get_hist(n_bars=3), pd.DataFrame)
for followed, bar in tvl.stream():
    assert_type(followed, Seis)
    assert_type(bar, pd.DataFrame)
with BarStore("bars.db") as store:
    store.warm(tvl, ["AAPL"], "NASDAQ", ["1d", Interval.in_1_hour, seis.interval])
    assert_type(store.read_bars("AAPL", "NASDAQ", "1d"), pd.DataFrame)
assert_type(Interval("1h"), Interval)
"""

# Each line has one mistake.
MISTAKES = """
from tvDatafeed import Interval, TvDatafeed, TvDatafeedLive

TvDatafeed().get_hist("AAPL", "NASDAQ", 60)
TvDatafeed().get_hist("AAPL", "NASDAQ", interval=None)
TvDatafeed().get_hist("AAPL", adjustment="split")
TvDatafeedLive().new_seis("AAPL", "NASDAQ", Interval)
TvDatafeedLive().new_seis("AAPL", "NASDAQ", "1h", 5).symbol
TvDatafeedLive().subscribe("AAPL", "NASDAQ", "1h", lambda seis: None)
TvDatafeedLive().subscribe("AAPL", "NASDAQ", "1h", lambda seis, bar: seis.nonsense)
"""


# The packages that others need refuse, by their own types, what they document.
BLOCKS = {block.name: block.code for block in PYTHON_BLOCKS if block.needs is None}
PROGRAMS = {**BLOCKS, "revealed": REVEALED.lstrip(), "mistaken": MISTAKES.lstrip()}


def complaints(folder, programs):
    """What pyright finds in programs, by program: line, rule and message."""
    for name, text in programs.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    settings = STRICT | {"include": ["."], "extraPaths": [str(ROOT)]}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    done = subprocess.run(
        [PYRIGHT, "--outputjson", "--pythonpath", sys.executable, "--project", str(folder)],
        check=False,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=_TIMEOUT_S,
        cwd=folder,
    )
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] == len(programs), done.stderr
    found = {}
    for one in report["generalDiagnostics"]:
        line = one["range"]["start"]["line"] + 1
        complaint = line, one.get("rule"), one["message"]
        found.setdefault(Path(one["file"]).stem, []).append(complaint)
    return found


def test_programs_of_users(tmp_path):
    """Each block as it stands, and what an editor shows of results; mistakes are underlined."""
    # One run for all of them: to start and to read pandas' stubs takes most of the time.
    found = complaints(tmp_path, PROGRAMS)
    underlined = {line for line, _rule, _message in found.pop("mistaken", ())}
    assert found == {}
    lines = PROGRAMS["mistaken"].splitlines()
    assert underlined == {n for n, line in enumerate(lines, 1) if line.startswith("TvDatafeed")}
    assert len(BLOCKS) > 45
