"""A silent connection is pinged and replaced, and an idle or old one is closed."""

import logging
import signal
import subprocess
import sys
import threading
import time

import pytest

from tests.loopback import NOW, impatient
from tests.network.clients import SYMBOL, assert_right, run_program
from tests.scale import AT_ONCE_S, PATIENCE_S, at_most
from tvDatafeed import TvDatafeed
from tvDatafeed.testing import FakeTradingView, HalfOpen, HeartbeatFlood, LateReply


def test_half_open_connection_is_noticed_and_replaced(server):
    """A peer that vanished silently is pinged and abandoned, and the request is sent again."""
    with FakeTradingView(clock=lambda: NOW, heartbeat_interval_s=60) as silent:
        silent.inject(HalfOpen(times=1))
        config = impatient(silent, silence_timeout=0.2, ping_timeout=0.2)
        with TvDatafeed(config=config) as tv, at_most(AT_ONCE_S):
            assert_right(silent, tv.get_hist(SYMBOL, timezone="UTC"))
        assert silent.connections_opened == 2


@pytest.mark.slow
def test_pong_is_a_sign_of_life():
    """A server that is silent and alive keeps its connection."""
    with FakeTradingView(clock=lambda: NOW, heartbeat_interval_s=60) as silent:
        silent.inject(LateReply(delay_s=1.0, times=1))
        config = impatient(silent, silence_timeout=0.1, ping_timeout=0.5)
        with TvDatafeed(config=config) as tv:
            assert_right(silent, tv.get_hist(SYMBOL, timezone="UTC"))
        assert silent.connections_opened == 1


def test_data_counts_as_life():
    """Without heartbeats a connection in use is not suspect."""
    with FakeTradingView(clock=lambda: NOW, heartbeat_interval_s=60) as silent:
        config = impatient(silent, silence_timeout=0.3, ping_timeout=0.01)
        with TvDatafeed(config=config) as tv:
            until, count = time.monotonic() + 0.6, 0
            while time.monotonic() < until:
                tv.get_hist(SYMBOL, n_bars=1)
                count += 1
            assert tv.stats()["errors"] == {}
        # On a fast machine the requests are more than one connection may open.
        assert silent.connections_opened == 1 + (count - 1) // 149


def test_quiet_market_is_no_fault():
    """While heartbeats come nothing else is needed: no reconnect, no error, one connection."""
    with FakeTradingView(clock=lambda: NOW, heartbeat_interval_s=0.05) as server:
        config = impatient(server, silence_timeout=0.2, ping_timeout=0.1)
        with TvDatafeed(config=config) as tv:
            tv.get_hist(SYMBOL)
            assert server.wait_until(lambda s: s.echoes >= 12)
            assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))
            assert tv.stats()["errors"] == {}
        assert server.connections_opened == 1


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGSTOP there")
@pytest.mark.slow
def test_client_that_slept(server):
    """A program that was stopped past every limit continues as if nothing had been."""
    program = """
        from tvDatafeed import TvDatafeed
        with TvDatafeed() as tv:
            print(len(tv.get_hist("NASDAQ:AAPL")), flush=True)
            input()
            print(len(tv.get_hist("NASDAQ:AAPL")), flush=True)
        """
    limits = {"TV_SILENCE_TIMEOUT": "0.2", "TV_PING_TIMEOUT": "0.1"}
    with run_program(program, server, stdin=subprocess.PIPE, **limits) as process:
        assert process.stdout.readline() == "10\n"
        process.send_signal(signal.SIGSTOP)
        # What passes here is the time of the sleep.
        threading.Event().wait(0.5)
        process.send_signal(signal.SIGCONT)
        with at_most(AT_ONCE_S):
            out, err = process.communicate("\n", timeout=PATIENCE_S)
    assert (process.returncode, out) == (0, "10\n")
    assert "Traceback" not in err


@pytest.mark.slow
def test_heartbeat_flood_starves_nobody(caplog):
    """Ten thousand heartbeats a second are echoed, data arrives, and the log stays quiet."""
    with FakeTradingView(clock=lambda: NOW) as server:
        server.inject(HeartbeatFlood(per_s=10_000))
        with (
            caplog.at_level(logging.INFO, "tvDatafeed"),
            TvDatafeed(config=impatient(server)) as tv,
        ):
            with at_most(10):
                for _ in range(5):
                    assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))
                assert server.wait_until(lambda s: s.echoes > 100)
        assert server.echoes <= tv.stats()["heartbeats"]
        assert not [r for r in caplog.records if r.name != "tvDatafeed.main"]


def test_idle_connection_is_closed_and_reopened(server):
    """After the idle timeout the connection is closed, and the next call opens another."""
    with TvDatafeed(config=impatient(server, idle_timeout=0.2)) as tv:
        tv.get_hist(SYMBOL)
        assert server.wait_until(lambda s: s.open_connections == 0)
        assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))
        assert tv.stats()["reconnects"] == 0
        assert tv.stats()["connections"] == 2


def test_old_connection_is_closed_when_nothing_runs(server):
    """Past its age a connection is not used again."""
    with TvDatafeed(config=impatient(server, max_connection_age=0.2)) as tv:
        tv.get_hist(SYMBOL)
        assert server.wait_until(lambda s: s.open_connections == 0)
        tv.get_hist(SYMBOL)
    assert server.connections_opened == 2


def test_limits_of_many_years_are_no_limits(server):
    """Timers of the system have a range; larger settings work too."""
    forever = 1e10
    config = impatient(
        server,
        silence_timeout=forever,
        idle_timeout=forever,
        max_connection_age=forever,
        max_response_time=forever,
    )
    with TvDatafeed(config=config) as tv:
        for _ in range(2):
            assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))
    assert server.connections_opened == 1


def test_connection_in_use_does_not_retire(server):
    """A place that is taken keeps the connection, however short the idle time."""
    config = impatient(server, idle_timeout=0.05, max_retries=0)
    with TvDatafeed(config=config) as tv:
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            tv.get_hist(SYMBOL, n_bars=1)
        assert tv.stats()["errors"] == {}
