"""A limit of sessions that has passed is forgotten; one that stays is tried ever less often."""

import types

import pytest

from tests.feed import BTC, Calls, live
from tests.loopback import impatient
from tests.network.clients import SYMBOL, ask_in_threads
from tvDatafeed import Interval, TvDatafeed
from tvDatafeed.network import sessionlimit
from tvDatafeed.testing import FakeTradingView, LateReply, SessionCap

INTERVALS = [interval for interval in Interval if interval.value.isdigit()]


class Clock:
    """The clock of the limits, which a test moves."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        """Return the time."""
        return self.now


@pytest.fixture
def clock(monkeypatch):
    """The clock of the limits."""
    moved = Clock()
    monkeypatch.setattr(sessionlimit, "time", types.SimpleNamespace(monotonic=moved.monotonic))
    return moved


def ask(tv, count):
    """Ask for some symbols at a time; each must be answered."""
    for frame in ask_in_threads(tv, [SYMBOL] * count):
        assert len(frame) == 10


def refusals(tv):
    """How many sessions were refused so far."""
    return tv.stats()["errors"].get("RateLimitError", 0)


def test_a_passing_refusal_is_forgotten_in_half_a_minute(server, clock):
    """Later connections carry as many requests as the settings say."""
    server.inject(SessionCap(limit=1), LateReply(delay_s=0.2))
    with TvDatafeed(config=quick(server)) as tv:
        ask(tv, 4)
        assert refusals(tv)
        server.clear_faults()
        server.inject(LateReply(delay_s=0.2))
        tv.close()
        clock.now += 31
        opened = server.connections_opened
        ask(tv, 4)
    assert server.connections_opened == opened + 1


def test_a_limit_that_stays_is_tried_ever_less_often(clock):
    """The second try comes after a minute, the third after two, the last ones after the longest."""
    tries = tries_in(clock, minutes=30, feed_is_used_every_s=5)
    # After 30, 60, 120 and 240 s, and then every 300 s.
    assert tries == pytest.approx(4 + (30 * 60 - 450) / 300, abs=1)


def test_a_limit_is_tried_no_more_often_than_it_is_met(clock):
    """Where a series is added once in ten minutes, that is how often one is refused."""
    assert tries_in(clock, minutes=60, feed_is_used_every_s=600) == 6


def tries_in(clock, *, minutes, feed_is_used_every_s):
    """Return how often a feed tries more than two sessions on a connection that accepts two."""
    with FakeTradingView() as server:
        server.inject(SessionCap(limit=2))
        errors = Calls()
        with live(server, hooks={"on_error": errors}) as tvl:
            for interval in INTERVALS[:2]:
                tvl.new_seis(*BTC[:2], interval)
            seis = tvl.new_seis(*BTC[:2], INTERVALS[2])
            first = refusals(tvl)
            for _ in range(minutes * 60 // feed_is_used_every_s):
                clock.now += feed_is_used_every_s
                tvl.del_seis(seis)
                seis = tvl.new_seis(*BTC[:2], INTERVALS[2])
            assert errors.calls == []
            return refusals(tvl) - first


def test_a_refusal_of_many_is_no_proof_of_a_lower_limit(clock):
    """A refusal on a connection that carries more does not prolong the belief in fewer."""
    known = sessionlimit.KnownLimit(25, 300.0)
    known.learn(2)
    clock.now += 20
    known.learn(20)
    assert known.look()[0] == 2
    clock.now += 11
    assert known.look()[0] == 25


def test_a_connection_that_carries_more_goes_on_with_that(clock):
    """A lower limit of another connection does not apply to an open one until it is tried."""
    known = sessionlimit.KnownLimit(25, 300.0)
    rich = sessionlimit.SessionLimit(known)
    known.learn(2)
    assert rich.room(10) == 15
    assert sessionlimit.SessionLimit(known).room(1) == 1
    clock.now += 31
    assert sessionlimit.SessionLimit(known).room(1) == 24
    known.learn(2)
    assert rich.room(10) == 0


def quick(server):
    """The configuration of a client that may open many connections."""
    return impatient(server, requests_per_minute=6000, burst_size=100)
