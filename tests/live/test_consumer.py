"""A consumer has a bounded mailbox, and a slow one does not delay the others."""

import functools
import threading

import pandas as pd
import pytest

from tests.feed import BTC, Bars, Calls, live, until
from tests.live.callbacks import Gate
from tests.scale import PATIENCE_S
from tvDatafeed import Consumer, DataValidationError, Interval, Seis, SlowConsumerError
from tvDatafeed.live.mailbox import Mailbox


def test_slow_callback_harms_nobody_else(server):
    """A full mailbox drops its oldest bars, and that is one error for the episode (row 71)."""
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
        # The mailbox is empty: another episode is another error.
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
    """With ``on_slow="block"`` twice as many bars wait before the oldest are dropped."""
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
    """Invalid options are refused, and no consumer is started."""
    seis = tvl.new_seis(*BTC)
    with pytest.raises(DataValidationError) as caught:
        tvl.new_consumer(seis, Bars(), **options)
    assert caught.value.field == field
    with pytest.raises(DataValidationError):
        tvl.new_consumer(seis, "no callback")
    assert seis.get_consumers() == []


def test_names_of_consumers():
    """A consumer is named after its callback and its Seis, as in tvDatafeed 2.x."""
    seis = Seis("A", "B", Interval.in_daily)
    consumer = Consumer(seis, print)
    assert consumer.name == "print_A_B_1D"
    assert repr(consumer) == 'Consumer(Seis("A","B",Interval.in_daily),print)'
    assert str(consumer) == 'Seis("A","B",Interval.in_daily),callback=print'
    assert Consumer(seis, functools.partial(print)).name == "callback_A_B_1D"


def test_consumer_by_itself():
    """A consumer receives frames until it gets None, and ignores later ones."""
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
    """A mailbox is bounded and in order, and reports once that its reader is slow."""
    dropped = []

    class Item(int):
        refill_limit = 0

        def record_dropped(self):
            dropped.append(self)

    mailbox = Mailbox(3, slow_at=2)
    assert [mailbox.deliver(Item(n)) for n in range(5)] == [False, False, True, False, False]
    assert (len(mailbox), mailbox.dropped, dropped) == (3, 2, [0, 1])
    assert [mailbox.take() for _ in range(3)] == [2, 3, 4]
    # It is empty, and a reader that waits is not slow any more.
    taken = []
    taker = threading.Thread(target=lambda: taken.append(mailbox.take()))
    taker.start()
    assert until(lambda: mailbox._changed._waiters)  # nothing public shows that a thread waits
    mailbox.deliver(Item(5))
    taker.join(PATIENCE_S)
    assert taken == [5]
    assert [mailbox.deliver(Item(n)) for n in range(3)] == [False, False, True]
    mailbox.finish()
    assert mailbox.deliver(Item(9)) is False
    assert [mailbox.take() for _ in range(4)] == [0, 1, 2, None]
    mailbox.abort()
    assert mailbox.take() is None


@pytest.mark.parametrize("seis", [False, None, "BTCUSD", 3])
def test_consumer_of_no_seis(tvl, seis):
    """A consumer of anything but a registered Seis is refused."""
    with pytest.raises(ValueError, match="Seis is not listed"):
        tvl.new_consumer(seis, print)


def test_stream_that_is_too_slow(server):
    """An iterator's dropped bars are counted and reported until the iterator is closed."""
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
