"""Closing, or dropping, a client ends its calls, threads and connections."""

import gc
import sys
import threading
import warnings

import pytest

from tests.loopback import impatient
from tests.network.clients import SYMBOL, ask_in_threads
from tests.scale import AT_ONCE_S, PATIENCE_S, at_most
from tvDatafeed import TvDatafeed
from tvDatafeed.protocol.machine import Machine
from tvDatafeed.testing import ConnectSilence, Refuse


def test_close_during_the_backoff_is_immediate(server):
    """A call that waits for its next try ends when the object is closed."""
    server.inject(Refuse("rst"))
    tv = TvDatafeed(config=server.config(base_retry_delay=30, max_retry_delay=30))
    results = []
    thread = threading.Thread(target=lambda: results.extend(ask_in_threads(tv, [SYMBOL])))
    thread.start()
    assert server.wait_until(lambda s: s.accepted >= 1)
    while not tv.stats()["errors"]:
        thread.join(0.01)
    with at_most(AT_ONCE_S):
        assert tv.close() is True
        thread.join(PATIENCE_S)
    assert "closed by this program" in str(results[0])


def test_close_during_the_connect_is_immediate(server):
    """A call that waits for a handshake ends when the object is closed, and so does its thread."""
    server.inject(ConnectSilence())
    tv = TvDatafeed(config=impatient(server, connect_timeout=PATIENCE_S))
    results = []
    thread = threading.Thread(target=lambda: results.extend(ask_in_threads(tv, [SYMBOL])))
    thread.start()
    assert server.wait_until(lambda s: s.accepted >= 1)
    with at_most(AT_ONCE_S):
        assert tv.close() is True
        thread.join(PATIENCE_S)
    assert "closed by this program" in str(results[0])


def test_close_from_many_threads(server):
    """Closing twice, at once, and in `with` is closing."""
    with TvDatafeed(config=impatient(server)) as tv:
        tv.get_hist(SYMBOL)
        threads = [threading.Thread(target=tv.close) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
    assert server.wait_until(lambda s: s.open_connections == 0)


def test_dropped_object_closes_itself(server):
    """What a program lets go ends its thread and socket, with a ResourceWarning."""
    tv = TvDatafeed(config=impatient(server))
    tv.get_hist(SYMBOL)
    with pytest.warns(ResourceWarning, match="was not closed"):
        del tv
        gc.collect()
    assert server.wait_until(lambda s: s.open_connections == 0)


def test_closed_object_is_dropped_in_silence(server):
    """After close() there is nothing to warn about."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tv = TvDatafeed(config=impatient(server))
        tv.get_hist(SYMBOL)
        tv.close()
        del tv
        gc.collect()


@pytest.mark.slow
def test_cell_run_fifty_times_leaves_nothing_behind(server):
    """Threads stay as many as they were; the fixture counts descriptors too."""
    threads = threading.active_count()
    tv = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        for _ in range(50):
            tv = TvDatafeed(config=impatient(server, requests_per_minute=600, burst_size=100))
            tv.get_hist(SYMBOL, n_bars=1)
        tv.close()
        gc.collect()
    assert server.wait_until(lambda s: s.open_connections == 0)
    # The server's own threads of fifty connections end with them.
    assert server.wait_until(lambda _: threading.active_count() <= threads)


def test_dropped_object_is_closed_even_when_warnings_are_errors(server, monkeypatch):
    """A dropped object is closed before its ResourceWarning is raised."""
    tv = TvDatafeed(config=impatient(server))
    tv.get_hist(SYMBOL)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # The errors of a finalizer go to this hook.
        monkeypatch.setattr(sys, "unraisablehook", lambda _unraised: None)
        del tv
        gc.collect()
    assert server.wait_until(lambda s: s.open_connections == 0)


def test_collector_may_run_in_the_reader(server, monkeypatch):
    """An object in a cycle that is collected by its own reader, under its lock, ends it."""
    receive = Machine.receive

    def collect_and_receive(machine, text, now):
        gc.collect()
        receive(machine, text, now)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        tv = TvDatafeed(config=impatient(server))
        tv.get_hist(SYMBOL)
        tv.myself = tv
        monkeypatch.setattr(Machine, "receive", collect_and_receive)
        del tv
        server.send_raw("~m~4~m~~h~1")
        assert server.wait_until(lambda s: s.open_connections == 0)
        # The reader warns when it has closed: its warning belongs to this test.
        for thread in threading.enumerate():
            if thread.name.startswith("tvDatafeed"):
                thread.join(PATIENCE_S)
