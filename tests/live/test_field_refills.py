"""Bars that were missed during an outage are all delivered, whatever else waits."""

import pandas as pd

from tests.feed import BTC, MINUTE, Bars, Calls, live, until
from tests.live.callbacks import Gate
from tests.scale import PATIENCE_S

OTHERS = (("BTCUSDT", "BINANCE", MINUTE), ("DOGEUSDT", "BINANCE", MINUTE))


def outage(server, tvl, minutes):
    """Lose all connections for some minutes, until each series has its missed bars."""
    delivered = [status.delivered for status in tvl.status()]
    server.now += minutes * 60
    server.drop_connections()
    return until(
        lambda: [s.delivered for s in tvl.status()] == [count + minutes for count in delivered]
    )


def test_refills_of_several_series_into_one_loop(server, tvl):
    """A loop over several series gets every bar that each of them missed."""
    seises = [tvl.new_seis(*names) for names in (BTC, *OTHERS)]
    bars = tvl.stream(*seises, max_queue=5)
    assert outage(server, tvl, 60)
    opens = {seis: [] for seis in seises}
    for _ in range(60 * len(seises)):
        seis, frame = next(bars)
        opens[seis].append(frame.index[0])
    expected = server.closed(count=60)
    assert all(times == expected for times in opens.values())
    assert [status.dropped for status in tvl.status()] == [0, 0, 0]


def test_two_outages_while_a_callback_is_busy(server):
    """A consumer that is busy during two outages gets the bars of both, in order."""
    gate, bars, errors = Gate(), Bars(), Calls()

    def slow(seis, data):
        gate(seis, data)
        bars(seis, data)

    with live(server, hooks={"on_error": errors}) as tvl:
        consumer = tvl.subscribe(*BTC, slow, max_queue=3)
        assert gate.entered.wait(PATIENCE_S)
        for _ in range(2):
            assert outage(server, tvl, 60)
        gate.open.set()
        assert bars.wait(121)
        assert consumer.dropped == 0
    assert errors.calls == []
    assert bars.opens == server.closed(count=121)


def test_bars_after_a_refill_drop_none_of_it(server, tvl):
    """Live bars that a busy consumer is too slow for leave the refilled bars before them."""
    gate, well, bars = Gate(), Bars(), Bars()

    def slow(seis, data):
        gate(seis, data)
        bars(seis, data)

    consumer = tvl.subscribe(*BTC, slow, max_queue=3)
    tvl.new_consumer(consumer.seis, well)
    assert gate.entered.wait(PATIENCE_S)
    assert outage(server, tvl, 30)
    for count in range(1, 6):
        server.move(60)
        assert well.wait(31 + count)
    gate.open.set()
    assert bars.wait(34)
    expected = server.closed(count=36)
    assert consumer.dropped == 2
    assert bars.opens == [*expected[:31], *expected[-3:]]


def test_waiting_refills_are_bounded(server):
    """Beyond ``max_bars`` missed bars of a series, ``max_queue`` bounds what waits."""
    gate, bars = Gate(), Bars()

    def slow(seis, data):
        gate(seis, data)
        bars(seis, data)

    with live(server, data={"max_bars": 20}) as tvl:
        consumer = tvl.subscribe(*BTC, slow, max_queue=3)
        assert gate.entered.wait(PATIENCE_S)
        for _ in range(3):
            assert outage(server, tvl, 15)
        assert consumer.dropped == 45 - 20 - 3
        gate.open.set()
        assert bars.wait(24)
    assert bars.opens[-1] == server.closed()[0]
    assert pd.Index(bars.opens).is_monotonic_increasing
