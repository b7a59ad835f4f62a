"""The live feed in a program: its end, its signals, its forks, and a thousand Seises."""

import _thread
import contextlib
import dataclasses
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings

import pytest

from tests.feed import BTC, MINUTE, Bars, Calls, LiveServer, live, until
from tests.programs import NO_ACCOUNT
from tests.scale import PATIENCE_S, scaled
from tvDatafeed import ThreadingError, WebSocketError
from tvDatafeed.testing import CloseCode, ConnectSilence, LateReply, Market, Refuse

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process there")
# Python 3.12.0 and 3.12.1 start no thread once the main thread has come to its end.
CAN_START_LATE = not (3, 12, 0) <= sys.version_info[:3] < (3, 12, 2)

BOT = """
    import signal, sys, threading
    from tvDatafeed import Interval, TvDatafeedLive
    from tvDatafeed.config import NetworkConfig, TvDatafeedConfig

    def callback(seis, data):
        sys.stdout.write(f"{data.index[0]}\\n")
        sys.stdout.flush()

    network = NetworkConfig.from_env()
    tvl = TvDatafeedLive()
    tvl.subscribe("BTCUSD", "BITSTAMP", Interval.in_1_minute, callback)
    """


# A callback that never comes back, and has been called.
STUCK = """
        entered = threading.Event()
        def stuck(seis, data):
            entered.set()
            threading.Event().wait()
        tvl.subscribe("BTCUSD", "BITSTAMP", Interval.in_1_minute, stuck)
        entered.wait()
""".strip()


@contextlib.contextmanager
def bot(server, more="", **variables):
    """Run the bot with some more lines, in a process of its own."""
    text = textwrap.dedent(BOT) + textwrap.dedent(more)
    settings = {"TV_BASE_RETRY_DELAY": "0.05", "TV_MAX_RETRY_DELAY": "0.2", "TV_TIMEZONE": "UTC"}
    environment = {**os.environ, "TV_WS_URL": server.ws_url, **settings, **variables}
    with subprocess.Popen(
        [sys.executable, "-c", text],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def lines_of(process, count):
    """Read so many lines of what a bot prints; one that prints nothing is ended."""
    patience = threading.Timer(PATIENCE_S, process.kill)
    patience.start()
    try:
        return [process.stdout.readline().strip() for _ in range(count)]
    finally:
        patience.cancel()
        patience.join()


def printed(server, count):
    return [str(moment) for moment in server.closed(count=count)]


def ended(process):
    """The exit code and the error output of a bot that ends by itself."""
    _out, err = process.communicate(timeout=PATIENCE_S)
    return process.returncode, err


@pytest.mark.skipif(not CAN_START_LATE, reason="a fault of Python 3.12.0 and 3.12.1")
@pytest.mark.slow
def test_script_that_falls_off_its_end_goes_on(server):
    """It delivers, and survives three restarts of the server (row 80)."""
    with bot(server) as process:
        assert lines_of(process, 1) == printed(server, 1)
        for _ in range(3):
            server.stop()
            server.now += 120
            server.start()
            assert lines_of(process, 2) == printed(server, 2)
            server.move(60)
            assert lines_of(process, 1) == printed(server, 1)
        process.terminate()
        assert ended(process)[0] != 0


@pytest.mark.slow
def test_script_with_daemon_threads_ends(server):
    """With ``TV_DAEMON`` nothing keeps the program, and the server sees its end (row 80)."""
    with bot(server, TV_DAEMON="1") as process:
        assert ended(process) == (0, NO_ACCOUNT)
    assert server.wait_until(lambda s: not s.open_connections)


@pytest.mark.slow
def test_script_that_closes_ends(server):
    """After `close`, after `del_tvdatafeed`, after the last `del_seis`, and out of ``with``."""
    for more in (
        "tvl.close()",
        "tvl.del_tvdatafeed()",
        "tvl.del_seis(tvl.status()[0].seis)",
        "with tvl: pass",
        "for c in tvl.status()[0].seis.get_consumers(): c.del_consumer()",
    ):
        with bot(server, more) as process:
            assert ended(process) == (0, NO_ACCOUNT)
    assert server.wait_until(lambda s: not s.open_connections)


@pytest.mark.slow
def test_script_whose_callback_is_stuck_can_end(server):
    """Once the feed is closed; a WARNING names the callback (row 81)."""
    more = f"""
        import logging
        logging.basicConfig()
        {STUCK}
        print(tvl.close(timeout=0.2), flush=True)
        """
    with bot(server, more) as process:
        assert lines_of(process, 2)[-1] == "False"
        code, err = ended(process)
    assert code == 0
    assert "stuck_BTCUSD_BITSTAMP_1 still runs" in err


@posix_only
@pytest.mark.parametrize(
    "more",
    [
        "tvl.wait()",
        "with tvl: threading.Event().wait()",
        "for _ in tvl.stream(): pass",
    ],
)
@pytest.mark.slow
def test_ctrl_c(server, more):
    """The feed is closed, and KeyboardInterrupt comes out (row 79)."""
    with bot(server, "sys.stdout.write('ready\\n'); sys.stdout.flush()\n" + more) as process:
        assert set(lines_of(process, 2)) == {"ready", *printed(server, 1)}
        # The signal is for the wait, and not for the import of what it needs.
        time.sleep(0.3)
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        code, err = ended(process)
        assert time.monotonic() - started < scaled(5.0)
    assert code == -signal.SIGINT
    assert err.strip().endswith("KeyboardInterrupt")
    assert server.wait_until(lambda s: not s.open_sessions)


@posix_only
@pytest.mark.slow
def test_ctrl_c_twice(server):
    """The second one does not wait for the callback that the first one waits for."""
    more = f"""
        {STUCK}
        sys.stdout.write("ready\\n")
        sys.stdout.flush()
        tvl.wait()
        """
    with bot(server, more, TV_SHUTDOWN_TIMEOUT="60") as process:
        assert set(lines_of(process, 2)) == {"ready", *printed(server, 1)}
        time.sleep(0.3)
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        # The first one deletes what is listed, and then waits.
        assert server.wait_until(lambda s: not s.open_sessions)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        code, err = ended(process)
        assert time.monotonic() - started < scaled(10.0)
    assert code == -signal.SIGINT
    assert err.strip().endswith("KeyboardInterrupt")


@posix_only
@pytest.mark.slow
def test_ctrl_c_leaves_nothing_locked(server):
    """Wherever it comes: what is interrupted can be called again, by anybody."""
    with live(server) as tvl:
        seis = tvl.new_seis(*BTC)

        def interrupt():
            while not is_over.wait(0.001):
                _thread.interrupt_main()

        def strike(_number, _frame):
            # Once for each try below: another one would hit the test instead of what it calls.
            if armed:
                armed.clear()
                raise KeyboardInterrupt

        armed, is_over, interruptions = [], threading.Event(), 0
        other = threading.Thread(target=interrupt)
        before = signal.signal(signal.SIGINT, strike)
        try:
            other.start()
            while interruptions < 50:
                try:
                    armed.append(True)
                    while True:
                        tvl.status()
                        tvl.del_consumer(tvl.new_consumer(seis, print, 5.0), 5.0)
                except KeyboardInterrupt:
                    interruptions += 1
        finally:
            is_over.set()
            other.join()
            signal.signal(signal.SIGINT, before)
        assert tvl.new_consumer(seis, Bars(), 1.0)


@posix_only
@pytest.mark.slow
def test_ctrl_c_of_one_who_waits_for_what_others_list(server):
    """The Seis stays for the others; one that nobody else has asked for goes."""
    bars = Bars()
    server.inject(LateReply(delay_s=1.0, times=1))
    with live(server, max_response_time=10.0) as tvl:
        results = []
        other = threading.Thread(target=lambda: results.append(tvl.subscribe(*BTC, bars)))
        other.start()
        assert server.wait_until(lambda s: len(s.open_sessions) == 1)
        with interrupted_in(0.2), pytest.raises(KeyboardInterrupt):
            tvl.new_seis(*BTC)
        other.join(PATIENCE_S)
        assert bars.wait(1)
        server.inject(LateReply(delay_s=1.0, times=1))
        with interrupted_in(0.2), pytest.raises(KeyboardInterrupt):
            tvl.new_seis("BTCUSDT", "BINANCE", MINUTE)
        assert [status.seis for status in tvl.status()] == [results[0].seis]


@contextlib.contextmanager
def interrupted_in(seconds):
    """Have Ctrl-C come after a while."""
    timer = threading.Timer(seconds, _thread.interrupt_main)
    timer.start()
    try:
        yield
    finally:
        timer.join()


@posix_only
@pytest.mark.slow
def test_sigterm_as_the_readme_has_it(server):
    """``sys.exit`` in a handler leaves the block that closes the feed."""
    more = """
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        with tvl:
            sys.stdout.write("ready\\n")
            sys.stdout.flush()
            tvl.wait()
        """
    with bot(server, more) as process:
        assert "ready" in lines_of(process, 2)
        process.terminate()
        assert ended(process) == (0, NO_ACCOUNT)
    assert server.wait_until(lambda s: not s.open_sessions)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is POSIX")
@pytest.mark.slow
def test_fork(server):
    """The parent is not disturbed; the child may ask, and is told why it cannot follow (row 82)."""
    bars = Bars()
    with live(server) as tvl:
        seis = tvl.subscribe(*BTC, bars).seis
        assert bars.wait(1)
        with warnings.catch_warnings():
            # Forking a process with threads is what is tested.
            warnings.simplefilter("ignore", DeprecationWarning)
            with tvl._registry._lock:  # the child inherits it as another thread held it
                child = os.fork()
        if child == 0:
            code = 1
            try:
                for call in (
                    lambda: tvl.new_seis("BTCUSDT", "BINANCE", MINUTE),
                    lambda: tvl.new_consumer(seis, print),
                    lambda: tvl.del_seis(seis),
                    tvl.wait,
                    tvl.status,
                ):
                    try:
                        call()
                    except ThreadingError:
                        continue
                    os._exit(2)
                code = 0 if len(tvl.get_hist("AAPL", "NASDAQ")) == 10 else 3
                tvl.close()
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        server.move(60)
        assert bars.wait(2)
        assert server.connections_opened == 2
    assert bars.opens == server.closed(count=2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is POSIX")
@pytest.mark.slow
def test_fork_of_a_feed_that_was_not_used(server):
    """It is the parent's all the same (row 82)."""
    with live(server) as tvl:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                tvl.new_seis(*BTC)
            except ThreadingError as error:
                code = 0 if "before fork" in str(error) else 2
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        bars = Bars()
        tvl.subscribe(*BTC, bars)
        assert bars.wait(1)


@pytest.mark.slow
def test_cell_run_fifty_times(server):
    """Threads and descriptors stay as many as they were (row 84)."""
    threads = threading.active_count()
    for _ in range(50):
        with live(server) as tvl:
            tvl.subscribe(*BTC, Bars())
    assert until(lambda: threading.active_count() <= threads)


def test_dropped_feed_without_a_seis(server):
    """What is idle is closed by the collector (row 83)."""
    tvl = live(server)
    tvl.get_hist("AAPL", "NASDAQ")
    tvl.new_seis(*BTC)
    tvl.del_tvdatafeed()
    with pytest.warns(ResourceWarning, match="was not closed"):
        del tvl
        gc.collect()
    assert server.wait_until(lambda s: not s.open_connections)


@pytest.mark.parametrize("fault", [Refuse(), ConnectSilence(), CloseCode(1001)], ids=repr)
def test_close_while_it_reconnects(server, fault):
    """From many threads at once, in a pause or in a connect (row 85)."""
    tvl = live(server, base_retry_delay=60.0, max_retry_delay=60.0)
    states = Calls()
    tvl.on_state = states
    tvl.subscribe(*BTC, Bars())
    server.inject(fault)
    server.drop_connections()
    assert states.wait(lambda calls: calls[-1:] and calls[-1][1] == "RECONNECTING")
    threading.Event().wait(0.1)
    results = []
    threads = [threading.Thread(target=lambda: results.append(tvl.close())) for _ in range(8)]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert time.monotonic() - started < scaled(4.0)
    assert results == [True] * 8


def test_close_races_new_seis(server):
    """Whoever comes first: what is listed in the end is served (row 85)."""
    with live(server) as tvl:
        for _ in range(30):
            go, listed = threading.Barrier(2), []

            def close(go=go):
                go.wait()
                tvl.close()

            def follow(go=go, listed=listed):
                go.wait()
                bars = Bars()
                # What is closed in between is not listed, or not connected, any more.
                with contextlib.suppress(ValueError, WebSocketError):
                    listed.append((tvl.subscribe(*BTC, bars), bars))

            threads = [threading.Thread(target=close), threading.Thread(target=follow)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(PATIENCE_S)
            assert not any(thread.is_alive() for thread in threads)
            # One that was listed before the close has ended with it.
            for consumer, bars in listed:
                assert bars.wait(1) or not consumer.is_alive()
        bars = Bars()
        tvl.subscribe(*BTC, bars)
        server.move(60)
        assert bars.wait(2)


@pytest.mark.slow
def test_last_del_seis_races_new_seis(server):
    """The new one is always served, whatever of the feed ends at that moment (row 76)."""
    with live(server) as tvl:
        stop = threading.Event()
        served = []

        def delete_all():
            while not stop.wait(0.001):
                # One that starts would never be served if it were deleted at once.
                for status in [s for s in tvl.status() if s.state == "LIVE"]:
                    try:
                        tvl.del_seis(status.seis)
                    except ValueError:
                        continue

        def list_and_wait(name, exchange):
            while not stop.is_set():
                try:
                    consumer = tvl.subscribe(name, exchange, MINUTE, Bars())
                except ValueError:
                    continue  # it was deleted in between
                served.append(consumer)

        threads = [
            threading.Thread(target=delete_all),
            threading.Thread(target=list_and_wait, args=("BTCUSD", "BITSTAMP")),
            threading.Thread(target=list_and_wait, args=("BTCUSDT", "BINANCE")),
        ]
        for thread in threads:
            thread.start()
        assert until(lambda: len(served) > 100)
        stop.set()
        for thread in threads:
            thread.join(PATIENCE_S)
        assert not any(thread.is_alive() for thread in threads)
        bars = Bars()
        tvl.subscribe("BTCUSD", "BITSTAMP", MINUTE, bars)
        server.move(60)
        assert bars.wait(2)
    assert server.wait_until(lambda s: not s.open_sessions)


@pytest.mark.slow
def test_a_crowd_of_seises():
    """As many connections as the cap asks for, all back after a break (rows 86, 87)."""
    names = [f"S{n:03}" for n in range(100)]
    bitcoin = Market().find("BITSTAMP:BTCUSD")
    market = Market(tuple(dataclasses.replace(bitcoin, symbol=f"NASDAQ:{n}") for n in names))
    errors, returns = Calls(), Calls()
    hooks = {"on_error": errors, "on_reconnect": returns, "on_gap": errors}
    with LiveServer(market=market) as server, live(server, hooks=hooks, max_sessions=10) as tvl:
        bars = Bars()

        def follow(part):
            for name in part:
                tvl.subscribe(name, "NASDAQ", MINUTE, bars)

        threads = [threading.Thread(target=follow, args=(names[n::10],)) for n in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
        assert len(server.open_sessions) == 100
        assert server.open_connections == 10
        assert bars.wait(100)
        server.now += 60
        server.drop_connections()
        # One word for all of them, when the last is back.
        assert returns.wait(bool, scaled(60.0))
        assert bars.wait(200)
        assert {s.state for s in tvl.status()} == {"LIVE"}
        assert len(server.open_sessions) == 100
        assert errors.calls == []
        started = time.monotonic()
        assert tvl.close()
        assert time.monotonic() - started < scaled(4.0)
    assert len(returns.calls) == 1
    assert len(bars.frames) == 200
