"""Consumers: isolated from each other, bounded, and honest about what goes wrong."""

import functools
import json
import logging
import sys
import threading
import time

import pandas as pd
import pytest

from tests.live import BTC, MINUTE, Bars, Calls, LiveServer, live, until
from tests.programs import run
from tests.scale import PATIENCE_S, scaled
from tvDatafeed import (
    Consumer,
    ConsumerError,
    DataValidationError,
    Interval,
    Seis,
    SlowConsumerError,
)
from tvDatafeed.liveframes import LiveBar
from tvDatafeed.mailbox import END, NOTHING, Mailbox


@pytest.fixture
def server():
    with LiveServer() as running:
        yield running


@pytest.fixture
def tvl(server):
    with live(server) as feed:
        yield feed


def logged(caplog, level, name="tvDatafeed.consumer"):
    return [r for r in caplog.records if r.name == name and r.levelno == level]


class Gate:
    """A callback that is held until it is let go."""

    def __init__(self):
        self.entered = threading.Event()
        self.open = threading.Event()

    def __call__(self, _seis, _data):
        self.entered.set()
        self.open.wait(PATIENCE_S)


def test_callback_that_raises_once(server, caplog):
    """Its traceback is logged, the hook is called, and the next bar comes (row 69)."""
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
    """The hook has each, the log not every one (row 70)."""
    errors = Calls()
    seis = tvl.new_seis(*BTC)
    tvl.new_consumer(seis, lambda *_: 1 / 0, on_error=errors)
    server.move(60 * 20)
    assert errors.wait(lambda calls: len(calls) == 21)
    assert len(logged(caplog, logging.ERROR)) == 1


def test_consumer_that_ends_at_its_first_error(server):
    """With the setting of older versions (decision 6)."""
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
    """It is logged, and all goes on."""

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
    assert logged(caplog, logging.ERROR, "tvDatafeed.hooks")


def test_slow_callback_harms_nobody_else(server):
    """Its mailbox fills, the oldest go, and that is one error for the episode (row 71)."""
    gate, well, errors = Gate(), Bars(), Calls()
    with live(server, hooks={"on_error": errors}) as tvl:
        seis = tvl.new_seis(*BTC)
        slow = tvl.new_consumer(seis, gate, max_queue=3)
        tvl.new_consumer(seis, well)
        assert gate.entered.wait(PATIENCE_S)
        for count in range(2, 12):
            server.move(60)
            assert well.wait(count)
        assert errors.wait(lambda calls: len(calls) == 1)
        ((who, error),) = errors.calls
        assert who is slow
        assert isinstance(error, SlowConsumerError)
        assert (slow.dropped, tvl.status()[0].dropped) == (7, 7)
        gate.open.set()
        assert until(lambda: slow.delivered == 4)
        # All was taken: another episode is told again.
        gate.open.clear()
        gate.entered.clear()
        server.move(60)
        assert gate.entered.wait(PATIENCE_S)
        server.move(60 * 5)
        assert errors.wait(lambda calls: len(calls) == 2)
        assert well.wait(17)
        gate.open.set()
        tvl.del_consumer(slow)
        assert tvl.status()[0].dropped == 9
    assert well.opens == server.closed(count=17)


def test_backlog_of_a_patient_consumer(server, tvl):
    """With ``on_slow="block"`` as many again wait before the oldest go."""
    gate, bars = Gate(), Bars()

    def slow(seis, data):
        gate(seis, data)
        bars(seis, data)

    errors = Calls()
    seis = tvl.new_seis(*BTC)
    consumer = tvl.new_consumer(seis, slow, max_queue=3, on_slow="block", on_error=errors)
    assert gate.entered.wait(PATIENCE_S)
    server.move(60 * 6)
    assert errors.wait(lambda calls: len(calls) == 1)
    gate.open.set()
    assert bars.wait(7)
    assert consumer.dropped == 0
    assert bars.opens == server.closed(count=7)


def _interrupt():
    raise KeyboardInterrupt


@pytest.mark.parametrize("leave", [lambda: sys.exit(3), _interrupt])
def test_callback_that_leaves(server, tvl, caplog, leave):
    """Only that consumer ends; the process and the others do not (row 72)."""
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
    """Without a deadlock, and within a second (row 73)."""
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
    """Hooks run in a thread of their own, and may end the feed they are told of."""
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


def test_deleting_from_two_threads(server, tvl):
    """One succeeds, and the other is told (row 74)."""
    for _ in range(20):
        seis = tvl.new_seis(*BTC)
        tvl.new_consumer(seis, Bars())
        go, results = threading.Barrier(2), []

        def delete(seis=seis, go=go, results=results):
            go.wait()
            try:
                results.append(tvl.del_seis(seis))
            except ValueError as error:
                results.append(str(error))

        threads = [threading.Thread(target=delete) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(results, key=str) == ["Seis is not listed", True]
    assert server.wait_until(lambda s: not s.open_sessions)


def test_no_call_begins_after_its_end(server, tvl):
    """Bars that wait are thrown away when a consumer is deleted."""
    gate, calls = Gate(), []

    def callback(seis, data):
        calls.append(data)
        gate(seis, data)

    seis = tvl.new_seis(*BTC)
    consumer = tvl.new_consumer(seis, callback)
    assert gate.entered.wait(PATIENCE_S)
    server.move(60 * 5)
    assert until(lambda: tvl.status()[0].delivered == 6)
    tvl.del_consumer(consumer)
    gate.open.set()
    consumer.join(PATIENCE_S)
    assert len(calls) == 1


def test_what_waits_is_delivered_when_a_seis_is_deleted(server, tvl):
    """The end comes after the bars."""
    gate, bars = Gate(), Bars()

    def callback(seis, data):
        gate(seis, data)
        bars(seis, data)

    seis = tvl.new_seis(*BTC)
    consumer = tvl.new_consumer(seis, callback)
    assert gate.entered.wait(PATIENCE_S)
    server.move(60 * 5)
    assert until(lambda: tvl.status()[0].delivered == 6)
    tvl.del_seis(seis)
    gate.open.set()
    consumer.join(PATIENCE_S)
    assert bars.opens == server.closed(count=6)


@pytest.mark.parametrize(("drain", "count"), [(True, 4), (False, 1)])
def test_close_and_what_waits(server, drain, count):
    """With ``drain`` what waits is delivered, without it is thrown away."""
    gate, bars = Gate(), Bars()

    def callback(seis, data):
        gate(seis, data)
        bars(seis, data)

    tvl = live(server)
    tvl.subscribe(*BTC, callback)
    assert gate.entered.wait(PATIENCE_S)
    server.move(60 * 3)
    assert until(lambda: tvl.status()[0].delivered == 4)
    threading.Timer(0.1, gate.open.set).start()
    assert tvl.close(drain=drain) is True
    assert len(bars.frames) == count


def test_close_with_a_callback_that_is_stuck(server, caplog):
    """It returns in its time, and names the callback (row 81)."""
    gate = Gate()
    tvl = live(server)
    consumer = tvl.subscribe(*BTC, gate)
    assert gate.entered.wait(PATIENCE_S)
    started = time.monotonic()
    assert tvl.close(timeout=0.3) is False
    assert time.monotonic() - started < scaled(4.0)
    warnings = [r.getMessage() for r in logged(caplog, logging.WARNING, "tvDatafeed.registry")]
    assert len(warnings) == 1
    assert consumer.name in warnings[0]
    assert until(lambda: "tvDatafeed-keeper" not in {t.name for t in threading.enumerate()})
    gate.open.set()
    consumer.join(PATIENCE_S)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"bars": "some"}, "bars"),
        ({"on_slow": "wait"}, "on_slow"),
        ({"max_queue": 0}, "max_queue"),
        ({"max_queue": "10"}, "max_queue"),
    ],
)
def test_options_that_cannot_be_right(server, tvl, options, field):
    """They are refused, and nothing is started."""
    seis = tvl.new_seis(*BTC)
    with pytest.raises(DataValidationError) as caught:
        tvl.new_consumer(seis, Bars(), **options)
    assert caught.value.field == field
    with pytest.raises(DataValidationError):
        tvl.new_consumer(seis, "no callback")
    assert seis.get_consumers() == []


def test_names_of_consumers():
    """As they always were, also of what has no name."""
    seis = Seis("A", "B", Interval.in_daily)
    consumer = Consumer(seis, print)
    assert consumer.name == "print_A_B_1D"
    assert repr(consumer) == 'Consumer(Seis("A","B",Interval.in_daily),print)'
    assert str(consumer) == 'Seis("A","B",Interval.in_daily),callback=print'
    assert Consumer(seis, functools.partial(print)).name == "callback_A_B_1D"


def test_consumer_by_itself():
    """Frames are put, None ends it, and what comes later is ignored."""
    bars = Bars()
    seis = Seis("A", "B", Interval.in_daily)
    consumer = Consumer(seis, bars)
    seis.add_consumer(consumer)
    consumer.start()
    frame = pd.DataFrame({"close": [1.0]})
    consumer.put(frame)
    consumer.put(frame)
    consumer.put(None)
    consumer.put(frame)
    consumer.join(PATIENCE_S)
    assert bars.frames == [frame, frame] or len(bars.frames) == 2
    assert (repr(consumer), str(consumer)) == ("Consumer(stopped)", "Consumer(stopped)")
    assert consumer.callback is None
    consumer.stop()
    consumer.put(frame)
    assert consumer.del_consumer() is True


def test_mailbox():
    """Bounded, in order, and told once when its taker is slow."""
    mailbox = Mailbox(3, slow_at=2)
    assert [mailbox.put(n) for n in range(5)] == [False, False, True, False, False]
    assert (len(mailbox), mailbox.dropped) == (3, 2)
    assert [mailbox.get(0) for _ in range(4)] == [2, 3, 4, NOTHING]
    assert [mailbox.put(n) for n in range(3)] == [False, False, True]
    mailbox.end()
    assert mailbox.put(9) is False
    assert [mailbox.get() for _ in range(4)] == [0, 1, 2, END]
    mailbox.end(discard=True)
    assert mailbox.get() is END


def test_two_callbacks_that_end_the_feed_together(server, tvl):
    """Neither waits for the other (row 73)."""
    meet, done = threading.Barrier(2), Calls()

    def callback(_seis, _data):
        meet.wait(PATIENCE_S)
        started = time.monotonic()
        tvl.close()
        done(time.monotonic() - started)

    seis = tvl.new_seis(*BTC)
    tvl.new_consumer(seis, callback)
    tvl.new_consumer(seis, callback)
    assert done.wait(lambda calls: len(calls) == 2)
    assert all(seconds < 1.0 for (seconds,) in done.calls)


def test_callback_and_hook_that_end_the_feed_together(server):
    """As two callbacks."""
    meet, done = threading.Barrier(2), Calls()

    def end(*_arguments):
        if not done.calls:
            meet.wait(PATIENCE_S)
            started = time.monotonic()
            tvl.del_tvdatafeed()
            done(time.monotonic() - started)

    def on_state(_seis, state):
        if state == "LIVE":
            end()

    with live(server, hooks={"on_state": on_state}) as tvl:
        tvl.subscribe(*BTC, end)
        assert done.wait(lambda calls: len(calls) == 2)
    assert all(seconds < 1.0 for (seconds,) in done.calls)


def test_close_waits_for_a_callback_that_closes(server, tvl):
    """A thread for which nobody waits waits for all others."""
    entered, go, ended = threading.Event(), threading.Event(), threading.Event()

    def callback(_seis, _data):
        entered.set()
        go.wait(PATIENCE_S)
        tvl.close()
        ended.set()

    tvl.subscribe(*BTC, callback)
    assert entered.wait(PATIENCE_S)
    go.set()
    assert tvl.close() is True
    assert ended.is_set()


@pytest.mark.parametrize("leave", [sys.exit, _interrupt], ids=["exit", "interrupt"])
def test_hook_that_exits_changes_nothing(server, caplog, leave):
    """It is logged, and the next call comes."""
    states = Calls()

    def on_state(seis, state):
        states(seis, state)
        leave()

    with live(server, hooks={"on_state": on_state}) as tvl:
        tvl.new_seis(*BTC)
        server.drop_connections()
        told = ["STARTING", "LIVE", "RECONNECTING", "LIVE"]
        assert states.wait(lambda calls: [state for _seis, state in calls] == told)
    assert logged(caplog, logging.ERROR, "tvDatafeed.hooks")


def test_hooks_are_called_one_after_the_other_through_restarts(server):
    """Also where a feed begins anew while a hook still runs."""
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


@pytest.mark.parametrize("seis", [False, None, "BTCUSD", 3])
def test_consumer_of_no_seis(tvl, seis):
    """As of one that is not listed."""
    with pytest.raises(ValueError, match="Seis is not listed"):
        tvl.new_consumer(seis, print)


def test_stream_that_is_too_slow(server):
    """What it drops is counted and told, as a consumer's is; and it is let go with its iterator."""
    errors = Calls()
    with live(server, hooks={"on_error": errors}) as tvl:
        seis = tvl.new_seis(*BTC)
        bars = tvl.stream(seis, max_queue=2)
        server.move(60 * 5)
        assert errors.wait(bool)
        ((who, error),) = errors.calls
        assert who is seis
        assert isinstance(error, SlowConsumerError)
        assert until(lambda: tvl.status()[0].dropped == 3)
        assert [next(bars)[1].index[0] for _ in range(2)] == server.closed(count=2)
        unused = tvl.stream(seis, max_queue=1)
        bars.close()
        unused.close()
        del bars, unused
        server.move(60 * 5)
        assert until(lambda: tvl.status()[0].delivered == 11)
        assert tvl.status()[0].dropped == 3


def test_iterator_that_is_collected_while_a_bar_is_told(server, tvl):
    """The garbage collector runs anywhere, also where a lock is held."""
    seis = tvl.new_seis(*BTC)

    class Collecting(Bars):
        """A receiver that has the iterator collected from within."""

        make_room = put = staticmethod(lambda _what: None)

        def offer(self, item):
            iterators.clear()
            self(item.seis, item.frame())

    iterators = [tvl.stream(seis, replay_last=True)]
    next(iterators[0])
    bars = Collecting()
    # Only a receiver of its own is called between two others.
    tvl._registry._listings[seis].channel.tap(bars, replay=False)
    server.move(60)
    assert bars.wait(1)
    server.move(60)
    assert bars.wait(2)


def test_what_is_built_when_its_consumer_is_ended_is_not_told(server, tvl, monkeypatch):
    """No call begins after ``del_consumer`` returned (row 74)."""
    building, go = threading.Event(), threading.Event()
    real = LiveBar.frame

    def frame(item):
        building.set()
        go.wait(PATIENCE_S)
        return real(item)

    monkeypatch.setattr(LiveBar, "frame", frame)
    bars = Bars()
    consumer = tvl.subscribe(*BTC, bars)
    assert building.wait(PATIENCE_S)
    assert tvl.del_consumer(consumer)
    go.set()
    consumer.join(PATIENCE_S)
    assert (bars.frames, consumer.delivered) == ([], 0)


@pytest.mark.parametrize(
    ("more", "is_shown"),
    [
        ("", True),
        ("logging.basicConfig(filename=os.devnull)", False),
        ("tvl.on_error = lambda who, error: None", False),
    ],
    ids=["nothing", "logging", "hook"],
)
@pytest.mark.slow
def test_error_that_nobody_would_see(server, more, is_shown):
    """Without a log and without a hook it stands on stderr, as of any thread."""
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
    assert ("LookupError: a bug of mine" in done.stderr) is is_shown
    assert ("callback_BTCUSD" in done.stderr or "BTCUSD" in done.stderr) is is_shown
