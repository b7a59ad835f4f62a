"""Answers that contradict what is stored, or say less than they seem to."""

from dataclasses import replace

import pytest

from tests.store.exchange import Exchange
from tests.store.test_equality import assert_same, frame, query, talk
from tvDatafeed.protocol.bars import Bars
from tvDatafeed.store import BarStore
from tvDatafeed.store.readthrough import conversation


class OddExchange(Exchange):
    """An exchange whose answers a test changes."""

    change = staticmethod(lambda answer: answer)

    def answer(self, request):
        return self.change(super().answer(request))


@pytest.fixture
def exchange():
    made = OddExchange()
    made.pass_time(500)
    return made


@pytest.fixture
def store(tmp_path):
    with BarStore(tmp_path / "bars.db") as made:
        yield made


def fetch(store, exchange, count):
    asked = query(count)
    request = asked.request("NASDAQ:AAPL")
    return frame(talk(conversation(store.archive, request, "one"), exchange), asked.view())


def test_empty_answer_is_not_believed(store, exchange):
    """An "end" without bars does not make a hole of what is stored or still to come."""
    whole = fetch(store, exchange, 100)
    exchange.change = lambda answer: replace(answer, bars=Bars(), data_completed="end")
    fetch(store, exchange, 100)
    exchange.change = lambda answer: answer
    exchange.pass_time(7)
    again = fetch(store, exchange, 106)
    assert len(again) == 106
    assert set(whole.index[:-1]) <= set(again.index)


def test_plan_limit_is_no_end(store, exchange):
    """Older bars beyond a plan's limit are requested again, and come when the plan has them."""

    def limited(answer):
        return replace(answer, bars=answer.bars[-50:], data_completed="limit")

    exchange.change = limited
    assert len(fetch(store, exchange, 200)) == 50
    frame_of_limit = fetch(store, exchange, 200)
    assert frame_of_limit.attrs["reason"] == "the plan's limit of bars is reached"
    assert store.series()[0].no_older is False
    exchange.change = lambda answer: answer
    assert len(fetch(store, exchange, 200)) == 200


def test_answer_without_a_clock_stores_no_empty_range(store, exchange):
    """Where the server does not say what time it is, nothing beyond its last bar is known."""
    exchange.change = lambda answer: replace(answer, server_time_s=None, close_time_s=None)
    fetch(store, exchange, 50)
    (span,) = store.coverage("AAPL", "NASDAQ")
    assert span[1].timestamp() == store.series()[0].last.timestamp()


def test_forming_bar_is_never_stored(store, exchange):
    """The last bar of an open day comes with the answer, and stays out of the store."""
    while exchange.now_s - exchange.bars[-1].time > 3600:
        exchange.pass_time(0.01)
    got = fetch(store, exchange, 30)
    assert got.attrs["last_bar_closed"] is False
    assert store.series()[0].last == got.index[-2]
    assert_same(got, fetch(store, exchange, 30))
