"""After an outage the live feed refills the missing bars and reports what it cannot refill."""

import logging
import threading
import time

import pandas as pd
import pytest

from tests.feed import BTC, MINUTE, Bars, Calls, live, until
from tests.scale import PATIENCE_S
from tvDatafeed import Interval
from tvDatafeed.testing import CloseCode, SessionCap


def test_server_that_restarts(server):
    """After each of three restarts the missed bars follow, and the return is reported once."""
    bars, returns = Bars(), Calls()
    with live(server, hooks={"on_reconnect": returns}) as tvl:
        tvl.subscribe(*BTC, bars)
        for count in (1, 2, 3):
            server.move(60)
            assert bars.wait(count * 3 - 1)
            server.stop()
            server.now += 120
            server.start()
            assert bars.wait(count * 3 + 1)
            assert returns.wait(lambda calls, count=count: len(calls) == count)
        assert tvl.stats()["reconnects"] >= 3
    assert bars.opens == server.closed(count=10)
    for start, end in returns.calls:
        assert start.utcoffset().total_seconds() == 0
        assert start < end


def test_a_gap_longer_than_a_page(server):
    """The bars of one page are refilled, and the rest is reported as a gap (row 18)."""
    bars, gaps = Bars(), Calls()
    with live(server, hooks={"on_gap": gaps}, data={"max_bars": 50}) as tvl:
        seis = tvl.new_seis(*BTC)
        seis.new_consumer(bars)
        assert bars.wait(1)
        last = server.closed()[0]
        server.now += 200 * 60
        server.drop_connections()
        assert bars.wait(50)
        assert gaps.wait(lambda calls: len(calls) == 1)
    assert bars.opens == [last, *server.closed(count=49)]
    ((told, start, end),) = gaps.calls
    assert told is seis
    assert (pd.Timestamp(start), pd.Timestamp(end)) == (last, bars.opens[1])


@pytest.mark.slow
def test_storm_is_bounded(server, caplog):
    """A server that accepts and drops at once is asked ever less often (row 20)."""
    bars = Bars()
    with live(server, base_retry_delay=0.05, max_retry_delay=0.4) as tvl:
        tvl.subscribe(*BTC, bars)
        assert bars.wait(1)
        server.inject(CloseCode(1001))
        accepted = server.accepted
        server.drop_connections()
        started = time.monotonic()
        assert server.wait_until(lambda s: s.accepted - accepted >= 6)
        # 0.05 s or a fifth of the outage, each at least half.
        assert time.monotonic() - started > 0.125
        # First, so that the series is opened with it.
        server.now += 60
        server.clear_faults()
        assert bars.wait(2)
    warnings = [r for r in caplog.records if r.name == "tvDatafeed.network"]
    assert len([r for r in warnings if r.levelno == logging.WARNING]) <= 3


def test_session_cap_opens_further_connections(server):
    """Beyond the limit of sessions another connection carries the Seises (row 43)."""
    names = [s.partition(":") for s in server.market.symbols][:12]
    server.inject(SessionCap(limit=5))
    bars = Bars()
    with live(server, max_sessions=6) as tvl:
        for exchange, _, name in names:
            tvl.new_seis(name, exchange, Interval.in_daily)
        tvl.subscribe(*BTC, bars)
        assert len(server.open_sessions) == 13
        assert server.open_connections >= 3
        server.move(60)
        assert bars.wait(2)
        server.drop_connections()
        assert server.wait_until(lambda s: len(s.open_sessions) == 13, PATIENCE_S)
        assert until(lambda: all(s.state == "LIVE" for s in tvl.status()))


def test_bug_in_the_reader_is_survived(server, monkeypatch, caplog):
    """A bug in the reader is logged with its traceback, and the feed recovers (row 89)."""
    bars = Bars()
    with live(server) as tvl:
        tvl.subscribe(*BTC, bars)
        assert bars.wait(1)
        from tvDatafeed.live.fanout import Fanout  # noqa: PLC0415 - to be broken

        real, broken = Fanout.deliver, []

        def deliver(fanout, update, **how):
            if not broken:
                broken.append(True)
                raise MemoryError
            return real(fanout, update, **how)

        monkeypatch.setattr(Fanout, "deliver", deliver)
        server.move(60)
        server.move(60)
        assert bars.wait(3)
    assert any("please report" in r.getMessage() for r in caplog.records)
    assert bars.opens == server.closed(count=3)


@pytest.mark.slow
def test_an_outage_longer_than_a_mailbox(server):
    """All missed bars are delivered, and no consumer is reported as slow (row 18)."""
    bars, errors, gaps = Bars(), Calls(), Calls()
    with live(server, hooks={"on_error": errors, "on_gap": gaps}) as tvl:
        consumer = tvl.subscribe(*BTC, bars, max_queue=10)
        assert bars.wait(1)
        server.now += 1500 * 60
        server.drop_connections()
        assert bars.wait(1501, 60.0)
        assert consumer.dropped == 0
        (status,) = tvl.status()
        assert (status.dropped, status.delivered) == (0, 1501)
    assert (errors.calls, gaps.calls) == ([], [])
    assert bars.opens == server.closed(count=1501)


def test_what_is_listed_while_a_feed_is_closed_goes_on(server):
    """A Seis that is registered while the feed closes loses its connection and recovers."""
    entered, go, bars = threading.Event(), threading.Event(), Bars()

    def slow(_seis, _data):
        entered.set()
        go.wait(PATIENCE_S)

    with live(server) as tvl:
        tvl.subscribe(*BTC, slow)
        assert entered.wait(PATIENCE_S)
        closing = threading.Thread(target=tvl.close)
        closing.start()
        assert until(lambda: not tvl.status())
        tvl.subscribe("BTCUSDT", "BINANCE", MINUTE, Bars())
        tvl.subscribe(*BTC, bars)
        assert bars.wait(1)
        go.set()
        closing.join(PATIENCE_S)
        assert not closing.is_alive()
        assert server.wait_until(lambda s: len(s.open_sessions) == 2)
        server.move(60)
        assert bars.wait(2)
        assert until(lambda: all(s.state == "LIVE" for s in tvl.status()))
    assert bars.opens == server.closed(count=2)


def test_the_gap_begins_where_the_server_was_heard_last(server):
    """A gap begins at the last receive, not when the loss was noticed."""
    bars, returns = Bars(), Calls()
    with live(server, hooks={"on_reconnect": returns}) as tvl:
        tvl.subscribe(*BTC, bars)
        assert bars.wait(1)
        (connection,) = tvl._connections()._connections  # no public clock shows it
        heard_s = connection.last_received_time_s()
        threading.Event().wait(0.3)
        server.drop_connections()
        assert returns.wait(bool)
        ((start, end),) = returns.calls
        assert abs(start.timestamp() - heard_s) < 0.1
        assert end > start
