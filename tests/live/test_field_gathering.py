"""Series that a limit has spread over many connections come together again when it has passed."""

import threading
import time
import types

import pytest

from tests.feed import Bars, Calls, LiveServer, live, until
from tests.scale import PATIENCE_S
from tvDatafeed import Interval
from tvDatafeed.auth.account import Account
from tvDatafeed.live import gathering
from tvDatafeed.network import sessionlimit
from tvDatafeed.testing import SessionCap

MEMORY_S = 0.2
INTERVALS = [interval for interval in Interval if interval.value.isdigit()][:6]


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """Limits are forgotten, and series gathered, after a fraction of a second."""
    monkeypatch.setattr(sessionlimit, "_FIRST_MEMORY_S", MEMORY_S)
    monkeypatch.setattr(gathering, "_PAUSE_S", MEMORY_S)


@pytest.fixture
def server():
    """A server whose heartbeats let the client look at once whether a connection is idle."""
    with LiveServer(heartbeat_interval_s=0.05) as running:
        yield running


@pytest.fixture
def hooks():
    """What a feed reports but must not."""
    return {"on_error": Calls(), "on_gap": Calls(), "on_reconnect": Calls()}


@pytest.fixture
def feed(server, hooks):
    """A feed of six series on three connections, and the bars of each."""
    server.inject(SessionCap(limit=2))
    with live(server, idle_timeout=MEMORY_S, hooks=hooks) as tvl:
        tvl.bars = {interval: Bars() for interval in INTERVALS}
        for interval, bars in tvl.bars.items():
            tvl.subscribe("BTCUSD", "BITSTAMP", interval, bars)
        assert until(lambda: len(server.open_sessions) == 6)
        assert server.open_connections == 3
        yield tvl
    assert {name: hook.calls for name, hook in hooks.items()} == {name: [] for name in hooks}


def assert_no_bar_is_lost(server, bars):
    """Each closed minute was delivered once, in order."""
    assert until(lambda: bars.opens[-1] == server.closed()[-1])
    assert bars.opens == server.closed(count=len(bars.opens))


def test_series_come_together_when_the_limit_has_passed(server, feed):
    """One connection carries them all, the others are closed, and no bar is lost."""
    server.clear_faults()
    bars = feed.bars[Interval.in_1_minute]

    def is_together():
        count = len(bars.frames)
        server.move(60)
        assert bars.wait(count + 1)
        return server.open_connections == 1

    assert until(is_together)
    assert len(server.open_sessions) == 6
    assert server.connections_opened == 3
    assert_no_bar_is_lost(server, bars)


def test_series_stay_where_the_limit_stays(server, feed, monkeypatch):
    """Each try costs one refused session, not one of each connection; nothing else changes."""
    bars = feed.bars[Interval.in_1_minute]
    moments = [time.monotonic()]
    clock = types.SimpleNamespace(monotonic=lambda: moments[-1])
    monkeypatch.setattr(sessionlimit, "time", clock)
    for tries in range(4):
        refused = refusals(feed)
        # Longer than any limit is believed.
        moments.append(moments[-1] + 1000)
        assert until(lambda count=refused: refusals(feed) > count)
        assert until(lambda: len(server.open_sessions) == 6)
        # Before the first one, a limit may have been forgotten by the real clock.
        assert refusals(feed) == refused + 1 or not tries
        server.move(60)
        assert_no_bar_is_lost(server, bars)
    assert server.open_connections == 3
    assert server.connections_opened == 3


def refusals(tvl):
    """How many sessions were refused so far."""
    return tvl.stats()["errors"].get("RateLimitError", 0)


def test_a_limit_of_more_is_used(server, feed):
    """Where the server accepts four now, two connections are enough."""
    server.clear_faults()
    server.inject(SessionCap(limit=4))
    assert until(lambda: server.open_connections == 2)
    assert until(lambda: len(server.open_sessions) == 6)
    assert server.connections_opened == 3


def test_series_that_are_left_over_come_together(server, hooks):
    """Where most series of three connections were removed, the rest needs one."""
    with live(server, max_sessions=4, idle_timeout=MEMORY_S, hooks=hooks) as tvl:
        names = [*server.market.symbols][:4]
        seises = [tvl.new_seis(name, "", i) for name in names for i in INTERVALS[:3]]
        assert server.open_connections == 3
        for seis in [s for at, s in enumerate(seises) if at % 4]:
            tvl.del_seis(seis)
        assert server.wait_until(lambda s: s.open_connections == 1, PATIENCE_S)
        assert until(lambda: len(server.open_sessions) == 3)
    assert {name: hook.calls for name, hook in hooks.items()} == {name: [] for name in hooks}


def test_series_stay_while_there_is_no_good_token(server, feed, monkeypatch):
    """An open session needs no token, and a new one would have to wait for it."""
    with monkeypatch.context() as without:
        without.setattr(Account, "good_token", lambda *_: None)
        server.clear_faults()
        assert until(lambda: len(server.open_sessions) == 6)
        sessions = set(server.open_sessions)
        # What passes here is the time after which the limit is forgotten, some times.
        threading.Event().wait(5 * MEMORY_S)
        assert server.open_sessions == sessions
    assert server.wait_until(lambda s: s.open_connections == 1, PATIENCE_S)
    assert until(lambda: len(server.open_sessions) == 6)


def test_full_connections_are_left_alone(server, hooks):
    """Where a move would close no connection, or the one left is well used, no series is moved."""
    with live(server, max_sessions=4, idle_timeout=MEMORY_S, hooks=hooks) as tvl:
        seises = [
            tvl.new_seis(name, "", i) for name in server.market.symbols[:3] for i in INTERVALS
        ]
        sessions = set(server.open_sessions)
        tvl.del_seis(seises[0])
        # What passes here is the time after which the feed looks, some times.
        threading.Event().wait(5 * MEMORY_S)
        assert len(server.open_sessions) == 17
        assert server.open_sessions < sessions
    assert {name: hook.calls for name, hook in hooks.items()} == {name: [] for name in hooks}
