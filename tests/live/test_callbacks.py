"""Callbacks and hooks may fail, exit and call any method without harm to the feed."""

import json
import logging
import sys
import time

import pytest

from tests.feed import BTC, MINUTE, Bars, Calls, live, until
from tests.live.callbacks import logged
from tests.programs import run
from tests.scale import PATIENCE_S
from tvDatafeed import ConsumerError


def test_callback_that_raises_once(server, caplog):
    """The traceback is logged, the hook is called, and the next bar comes (row 69)."""
    errors = Calls()
    bars = Bars(before=lambda _s, _d: 1 / 0 if len(errors.calls) == 0 else None)
    with live(server, hooks={"on_error": errors}) as tvl:
        consumer = tvl.subscribe(*BTC, bars)
        assert errors.wait(lambda calls: len(calls) == 1)
        server.move(60)
        assert bars.wait(1)
        assert consumer.is_alive()
    assert bars.opens == server.closed()
    ((who, error),) = errors.calls
    assert who is consumer
    assert isinstance(error, ZeroDivisionError)
    (record,) = logged(caplog, logging.ERROR)
    assert "BTCUSD_BITSTAMP_1" in record.getMessage()
    assert record.exc_info


def test_callback_that_always_raises(server, tvl, caplog):
    """The hook gets every error, and the log only the first of an episode (row 70)."""
    errors = Calls()
    seis = tvl.new_seis(*BTC)
    tvl.new_consumer(seis, lambda *_: 1 / 0, on_error=errors)
    server.move(60 * 20)
    assert errors.wait(lambda calls: len(calls) == 21)
    assert len(logged(caplog, logging.ERROR)) == 1


def test_consumer_that_ends_at_its_first_error(server):
    """With ``stop_consumer_on_error`` the first error ends the consumer (decision 6)."""
    errors, well = Calls(), Bars()
    threads = {"stop_consumer_on_error": True}
    with live(server, threads=threads, hooks={"on_error": errors}) as tvl:
        consumer = tvl.subscribe(*BTC, lambda *_: 1 / 0)
        assert errors.wait(lambda calls: len(calls) == 1)
        consumer.join(PATIENCE_S)
        seis = tvl.status()[0].seis
        assert seis.get_consumers() == []
        tvl.new_consumer(seis, well)
        server.move(60)
        assert well.wait(2)
    ((who, error),) = errors.calls
    assert who is consumer
    assert isinstance(error, ConsumerError)
    assert isinstance(error.__cause__, ZeroDivisionError)
    assert error.seis == seis


def test_hook_that_raises_changes_nothing(server, caplog):
    """An error of a hook is logged, and the feed goes on."""

    def broken(*_arguments):
        raise LookupError("the hook itself")

    bars = Bars(before=lambda *_: 1 / 0)
    well = Bars()
    hooks = dict.fromkeys(("on_error", "on_state", "on_gap", "on_reconnect"), broken)
    with live(server, hooks=hooks) as tvl:
        tvl.subscribe(*BTC, bars)
        tvl.subscribe(*BTC, well)
        server.now += 60
        server.drop_connections()
        assert well.wait(2)
    assert logged(caplog, logging.ERROR)
    assert logged(caplog, logging.ERROR, "tvDatafeed.live.callbacks")


def _interrupt():
    raise KeyboardInterrupt


@pytest.mark.parametrize("leave", [lambda: sys.exit(3), _interrupt])
def test_callback_that_leaves(server, tvl, caplog, leave):
    """A callback that exits ends only its consumer (row 72)."""
    well = Bars()
    seis = tvl.new_seis(*BTC)
    consumer = tvl.new_consumer(seis, lambda *_: leave())
    tvl.new_consumer(seis, well)
    consumer.join(PATIENCE_S)
    assert not consumer.is_alive()
    assert until(lambda: len(seis.get_consumers()) == 1)
    server.move(60)
    assert well.wait(2)
    assert len(logged(caplog, logging.ERROR)) == 1


@pytest.mark.parametrize(
    "act",
    [
        lambda tvl, seis: tvl.del_seis(seis),
        lambda tvl, seis: seis.get_consumers()[0].del_consumer(),
        lambda tvl, seis: tvl.new_seis("BTCUSDT", "BINANCE", MINUTE),
        lambda tvl, seis: tvl.new_consumer(seis, Bars()),
        lambda tvl, seis: tvl.get_hist("AAPL", "NASDAQ"),
        lambda tvl, seis: seis.get_hist(3),
        lambda tvl, seis: tvl.del_tvdatafeed(),
        lambda tvl, seis: tvl.close(),
        lambda tvl, seis: tvl.status(),
        lambda tvl, seis: tvl.stream(seis).close(),
    ],
    ids=range(10),
)
def test_callback_may_call_anything(server, tvl, act):
    """A callback may call any method, and returns within a second (row 73)."""
    done = Calls()

    def callback(seis, _data):
        started = time.monotonic()
        act(tvl, seis)
        done(time.monotonic() - started)

    tvl.subscribe(*BTC, callback)
    assert done.wait(bool)
    assert done.calls[0][0] < 1.0


@pytest.mark.parametrize("name", ["on_state", "on_error"])
def test_hook_may_call_anything(server, name):
    """Hooks run in their own thread, and may close the feed that calls them."""
    done = Calls()

    def hook(*_arguments):
        if not done.calls:
            tvl.close()
            done()

    with live(server) as tvl:
        tvl.subscribe(*BTC, Bars())
        setattr(tvl, name, hook)
        session = next(iter(server.open_sessions))
        refusal = {"m": "series_error", "p": [session, "sds_1", "s1", "gone", "n"]}
        server.push(json.dumps(refusal))
        assert done.wait(bool)
        assert until(lambda: not tvl.status())


@pytest.mark.parametrize("leave", [sys.exit, _interrupt], ids=["exit", "interrupt"])
def test_hook_that_exits_changes_nothing(server, caplog, leave):
    """An exit from a hook is logged, and the next call comes."""
    states = Calls()

    def on_state(seis, state):
        states(seis, state)
        leave()

    with live(server, hooks={"on_state": on_state}) as tvl:
        tvl.new_seis(*BTC)
        server.drop_connections()
        told = ["STARTING", "LIVE", "RECONNECTING", "LIVE"]
        assert states.wait(lambda calls: [state for _seis, state in calls] == told)
    assert logged(caplog, logging.ERROR, "tvDatafeed.live.callbacks")


def test_hooks_are_called_one_after_the_other_through_restarts(server):
    """Hooks never overlap, also if a feed starts again while a hook still runs."""
    running, most, states = [], [], []

    def on_state(_seis, state):
        running.append(state)
        most.append(len(running))
        time.sleep(0.01)  # as a hook that takes its time, so that two would meet
        states.append(state)
        running.pop()

    with live(server, hooks={"on_state": on_state}) as tvl:
        for _ in range(10):
            tvl.del_seis(tvl.new_seis(*BTC))
        assert until(lambda: states.count("STOPPED") == 10)
    assert set(most) == {1}
    assert states == ["STARTING", "LIVE", "STOPPED"] * 10


@pytest.mark.parametrize(
    ("more", "shown"),
    [
        ("", 1),
        ("tvl.on_error = lambda who, error: None", 1),
        ("logging.basicConfig(filename=os.devnull)", 0),
        ("logging.getLogger('tvDatafeed').addHandler(logging.NullHandler())", 0),
    ],
    ids=["nothing", "hook", "logging", "silenced"],
)
@pytest.mark.slow
def test_error_without_configured_logging(server, more, shown):
    """Unless logging is configured, stderr has an error of a callback once, with its traceback."""
    program = f"""
import logging, os
from tvDatafeed import Interval, TvDatafeedLive

def callback(seis, data):
    raise LookupError("a bug of mine")

tvl = TvDatafeedLive()
{more}
tvl.subscribe("BTCUSD", "BITSTAMP", Interval.in_1_minute, callback)
tvl.close()
"""
    done = run("-c", program, server=server)
    assert done.returncode == 0
    assert done.stderr.count("LookupError: a bug of mine") == shown
    assert done.stderr.count("the callback of callback_BTCUSD_BITSTAMP_1 raised") == shown
