"""Health: whether the Seises are followed, whether their markets are open, how late bars are."""

import json
import math
import threading

import pytest

from tests.feed import BTC, MINUTE, Bars, LiveServer, live, until
from tests.loopback import NOW
from tests.scale import PATIENCE_S
from tvDatafeed.live.health import overdue_s
from tvDatafeed.testing import NoCompletion, Refusal

AAPL = ("AAPL", "NASDAQ", MINUTE)
DAY_S = 86400
# The Friday of NOW in New York.
OPENS_S, CLOSES_S = NOW - 8.5 * 3600, NOW - 2 * 3600


def push_time(server):
    """Send a message that says what time it is, and nothing else that counts."""
    quote = {"m": "quote_completed", "p": ["qs_other", "A:B"], "t_ms": int(server.now * 1000)}
    server.push(json.dumps(quote))


def test_healthy_feed(server, tvl):
    """All is well, and JSON can express it."""
    assert tvl.health().ok
    assert not tvl.health().connected
    tvl.new_seis(*BTC)
    health = tvl.health()
    assert health.ok
    assert health.connected
    assert 0 <= health.heard_s < PATIENCE_S
    (seis,) = health.seises
    assert seis.state == "LIVE"
    assert seis.is_market_open is True
    assert seis.overdue_s == 0
    assert seis.queued == 0
    seen = json.loads(json.dumps(health.as_dict()))
    assert seen["ok"] is True
    assert seen["seises"][0]["symbol"] == "BITSTAMP:BTCUSD"
    assert seen["seises"][0]["last_bar"] == "2026-08-14T21:59:00+00:00"


@pytest.mark.parametrize(
    ("now", "is_open"),
    [
        (OPENS_S - 1, False),
        (OPENS_S, True),
        (CLOSES_S - 1, True),
        (CLOSES_S, False),
        # Saturday at noon; Monday at noon; Labor Day, a holiday.
        (OPENS_S + DAY_S + 9000, False),
        (OPENS_S + 3 * DAY_S + 9000, True),
        (OPENS_S + 24 * DAY_S + 9000, False),
    ],
)
def test_open_and_closed_markets(now, is_open):
    """By the symbol's own sessions and holidays, and the server's clock."""
    with LiveServer(now=now) as server, live(server) as tvl:
        tvl.new_seis(*AAPL)
        (seis,) = tvl.status()
        assert seis.is_market_open is is_open
        assert seis.overdue_s == 0
        assert tvl.health().ok


@pytest.mark.parametrize(
    ("session", "last_s", "length_s", "market_s", "expected"),
    [
        # A market that never closes: the bar after the last one closes two lengths after its open.
        ((-math.inf, math.inf), 0.0, 60.0, 122.0, 0.0),
        ((-math.inf, math.inf), 0.0, 60.0, 125.0, 3.0),
        ((-math.inf, math.inf), None, 60.0, 1000.0, 0.0),
        # The first bar of a session, and the last one, which the close shortens.
        ((1000.0, 2000.0), 0.0, 60.0, 1062.0, 0.0),
        ((1000.0, 2000.0), 0.0, 60.0, 1063.0, 1.0),
        ((1000.0, 2000.0), None, 60.0, 1063.0, 1.0),
        ((1000.0, 2010.0), 1900.0, 60.0, 2009.0, 0.0),
        ((1000.0, 9000.0), 1900.0, 3600.0, 8999.0, 0.0),
        # A day of a session ends with it; a month has up to 31 days.
        ((1000.0, 2000.0), -86400.0, 86400.0, 1999.0, 0.0),
        ((-math.inf, math.inf), 0.0, 30 * 86400.0, 60.9 * 86400, 0.0),
    ],
)
def test_overdue(session, last_s, length_s, market_s, expected):
    """How long ago the next bar should have closed."""
    assert overdue_s(session, last_s, length_s, market_s) == expected


def test_closed_market_is_never_overdue():
    """At the end of the session the last bar has come; nothing more is expected."""
    with LiveServer(now=CLOSES_S - 30) as server, live(server) as tvl:
        bars = Bars()
        tvl.subscribe(*AAPL, bars)
        server.move(30 + 3600)
        push_time(server)
        assert until(lambda: tvl.status()[0].is_market_open is False)
        assert tvl.status()[0].overdue_s == 0


def test_outage(server, tvl):
    """During an outage nothing is well, and the lag continues; afterwards all is."""
    bars = Bars()
    tvl.subscribe(*BTC, bars)
    assert bars.wait(1)
    server.now += 300
    server.tick()
    assert bars.wait(2)
    server.stop()
    assert until(lambda: tvl.status()[0].state == "RECONNECTING")
    health = tvl.health()
    assert not health.ok
    assert not health.connected
    assert until(lambda: tvl.health().heard_s > health.heard_s)


def test_lag_goes_on_while_reconnecting(server, tvl):
    """A bar that should have closed meanwhile counts, and is overdue."""
    tvl.new_seis(*BTC)
    # The client hears of the time, and of no bar, also when it opens the series again.
    server.inject(NoCompletion(times=1000))
    server.now += 200
    push_time(server)
    # The clock may have closed the bar that was forming.
    assert until(lambda: tvl.status()[0].overdue_s >= 78)
    server.stop()
    assert until(lambda: tvl.status()[0].state == "RECONNECTING")
    (seis,) = tvl.status()
    assert 78 <= seis.overdue_s < 138 + PATIENCE_S
    assert seis.lag_ms >= 78_000


def test_failed_seis(server, tvl):
    """One that has failed makes the feed unwell, and says why."""
    tvl.new_seis(*BTC)
    server.refuse("BITSTAMP:BTCUSD", Refusal("series_error", "permission denied"))
    server.drop_connections()
    assert until(lambda: tvl.status()[0].state == "FAILED")
    health = tvl.health()
    assert not health.ok
    assert "permission denied" in health.as_dict()["seises"][0]["error"]


def test_queue_of_a_slow_callback(server, tvl):
    """Bars that wait are counted, those of a loop over stream() too."""
    go_on, begun = threading.Event(), threading.Event()

    def slow(_seis, _data):
        begun.set()
        go_on.wait(PATIENCE_S)

    seis = tvl.new_seis(*BTC)
    tvl.new_consumer(seis, slow)
    assert begun.wait(PATIENCE_S)
    coming = tvl.stream(seis)
    server.move(60)
    assert until(lambda: tvl.health().seises[0].queued == 2)
    next(coming)
    assert tvl.health().seises[0].queued == 1
    go_on.set()
    assert until(lambda: tvl.health().seises[0].queued == 0)


def test_polled_feed_is_well_between_polls(server):
    """In poll mode there may be no connection between two polls."""
    with live(server, threads={"live_mode": "poll"}) as tvl:
        tvl.new_seis(*BTC)
        assert tvl.health().ok
        assert tvl.health().connected


def test_table_in_a_notebook(server, tvl):
    """The new fields are columns."""
    tvl.new_seis(*BTC)
    table = tvl.status()._repr_html_()
    assert "overdue_s" in table
    assert "is_market_open" in table
