"""The examples run as they stand."""

import pytest

from tests.loopback import NOW
from tests.programs import ROOT, run
from tvDatafeed.testing import FakeTradingView, MarketClock

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
# Those that would go on until Ctrl-C are given an end.
ARGUMENTS = {"live_feed.py": ["BITSTAMP:BTCUSD", "0.5"]}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_example_runs(example, server):
    """An example ends well, prints something, and leaves nothing on stderr."""
    done = run("-W", "error", str(example), *ARGUMENTS.get(example.name, ()), server=server)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_example_of_an_unknown_symbol(server):
    """The basic example says in one line that there is nothing to show."""
    done = run(str(ROOT / "examples" / "basic_usage.py"), "NASDAQ:NOSUCH", server=server)
    assert done.returncode == 1
    assert done.stderr.startswith("Nothing to show: Symbol 'NOSUCH' not found")
    assert done.stderr.count("\n") == 1


def test_example_of_the_live_feed():
    """In a market in a hurry it prints bar after bar."""
    clock = MarketClock(NOW, speed=1200.0)
    with FakeTradingView(clock=clock, tick_interval_s=0.02) as server:
        example = str(ROOT / "examples" / "live_feed.py")
        done = run("-W", "error", example, "BINANCE:BTCUSDT", "1", server=server)
    assert (done.returncode, done.stderr) == (0, "")
    *bars, last = done.stdout.splitlines()
    assert len(bars) > 5
    assert f"LIVE, {len(bars)} bars" in last


def test_examples_are_listed():
    """The examples' README lists every example."""
    listed = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    assert all(f"]({path.name})" in listed for path in EXAMPLES)
