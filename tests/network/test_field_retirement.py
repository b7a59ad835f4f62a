"""A connection past its age waits, without work, for the slots that are taken."""

import collections
import threading

import pytest

from tests.loopback import impatient
from tests.network.clients import SYMBOL
from tests.scale import PATIENCE_S
from tvDatafeed import TvDatafeed
from tvDatafeed.protocol.machine import Machine

# Enough for any reader to spin, and for none that waits to wake often.
LOOK_S = 0.5
MOST_TICKS = 20


@pytest.mark.parametrize(
    "limits",
    [{"max_connection_age": 0.05}, {"idle_timeout": 0.05}],
    ids=["old", "idle"],
)
def test_reader_waits_while_answers_are_not_fetched(server, monkeypatch, limits):
    """A slow progress callable costs no CPU in the reader, and the connection ends after it."""
    ticks = collections.Counter()
    tick = Machine.tick

    def counted(machine, now):
        ticks[machine] += 1
        tick(machine, now)

    monkeypatch.setattr(Machine, "tick", counted)
    most = []

    def be_slow(done, _total, _name):
        if done == 1:
            assert server.wait_until(lambda s: not s.open_sessions)
            ticks.clear()
            # What passes here is what is measured.
            threading.Event().wait(LOOK_S)
            most.append(max(ticks.values(), default=0))

    with TvDatafeed(config=impatient(server, **limits)) as tv:
        tv.get_hist_multi([SYMBOL, "NASDAQ:MSFT"], progress=be_slow)
        assert server.wait_until(lambda s: s.open_connections == 0, PATIENCE_S)
    assert most[0] <= MOST_TICKS


def test_old_connection_ends_although_requests_follow_each_other(server):
    """A program that asks without a pause gets a new connection when one is too old."""
    with TvDatafeed(config=impatient(server, max_connection_age=0.1)) as tv:
        while server.connections_opened < 3:
            tv.get_hist(SYMBOL, n_bars=1)
        assert tv.stats()["errors"] == {}
