"""Deleting and closing end every consumer once, and no call begins afterwards."""

import logging
import threading
import time

import pytest

from tests.feed import BTC, Bars, Calls, live, until
from tests.live.callbacks import Gate, logged
from tests.scale import PATIENCE_S, scaled
from tvDatafeed.live.livebar import LiveBar


def test_deleting_from_two_threads(server, tvl):
    """One of two deletions succeeds, and the other raises ValueError (row 74)."""
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
    """Waiting bars are dropped when a consumer is deleted."""
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
    """Waiting bars are delivered when a Seis is deleted."""
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
    """With ``drain`` waiting bars are delivered, and without it they are dropped."""
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
    """close() returns after its timeout and logs the name of the stuck callback (row 81)."""
    gate = Gate()
    tvl = live(server)
    consumer = tvl.subscribe(*BTC, gate)
    assert gate.entered.wait(PATIENCE_S)
    started = time.monotonic()
    assert tvl.close(timeout=0.3) is False
    assert time.monotonic() - started < scaled(4.0)
    warnings = [r.getMessage() for r in logged(caplog, logging.WARNING, "tvDatafeed.live.registry")]
    assert len(warnings) == 1
    assert consumer.name in warnings[0]
    assert until(lambda: "tvDatafeed-keeper" not in {t.name for t in threading.enumerate()})
    gate.open.set()
    consumer.join(PATIENCE_S)


def test_two_callbacks_that_end_the_feed_together(server, tvl):
    """Two callbacks that close the feed do not wait for each other (row 73)."""
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
    """A callback and a hook that close the feed do not wait for each other."""
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
    """close() waits for a callback that calls close() itself."""
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


def test_iterator_that_is_collected_while_a_bar_is_told(server, tvl):
    """An iterator may be collected during a delivery, while a lock is held."""
    seis = tvl.new_seis(*BTC)

    class Collecting(Bars):
        """A subscriber that has the iterator collected during a delivery."""

        notify_slow = finish = staticmethod(lambda _what: None)

        def deliver(self, item):
            iterators.clear()
            self(item.seis, item.frame())
            return False

    iterators = [tvl.stream(seis, replay_last=True)]
    next(iterators[0])
    bars = Collecting()
    # A subscriber of our own is added where iterators are; there is no public way.
    tvl._registry._registered[seis].series.add_iterator(bars, replay=False)
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
