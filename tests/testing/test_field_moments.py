"""The bars of an answer and the times in it are of one moment, however slow the answer is."""

import itertools
import json

import pytest

from tests.testing.client import NOW
from tvDatafeed.testing import FakeTradingView


@pytest.fixture
def server():
    """A server whose clock moves on each time it is read."""
    moments = itertools.count(NOW, 0.7)
    with FakeTradingView(clock=lambda: next(moments)) as running:
        yield running


def rows(message):
    return [item["v"] for item in message["p"][1]["sds_1"]["s"]]


def of_market(server, count, at_s):
    return [list(bar) for bar in server.market.bars("BITSTAMP:BTCUSD", "1", count, at_s)]


def test_answer_of_one_moment(server, connect):
    """The last bar is as it was at the time of the message, and all messages have that time."""
    client = connect(server)
    client.greet()
    for _ in range(20):
        history = client.history("BITSTAMP:BTCUSD", "1", 3)
        loading, update, completed = (m for m in history if m["m"] != "symbol_resolved")
        assert loading["t_ms"] == update["t_ms"] == completed["t_ms"]
        assert rows(update) == of_market(server, 3, completed["t_ms"] / 1000)


def test_older_page_of_one_moment(server, connect):
    """The answer to request_more_data has one time too."""
    client = connect(server)
    client.greet()
    client.history("BITSTAMP:BTCUSD", "1", 3)
    client.say("request_more_data", "cs_plain", "sds_1", 5)
    loading, update, completed = client.messages()
    assert loading["t_ms"] == update["t_ms"] == completed["t_ms"]


def test_update_of_one_moment(server, connect):
    """A bar that a tick adds is as it was at the time of its message."""
    client = connect(server)
    client.greet()
    client.history("BITSTAMP:BTCUSD", "1", 3)
    for _ in range(200):
        server.tick()
        update = json.loads(client.payloads()[-1])
        if update["m"] == "timescale_update":
            break
    assert rows(update) == of_market(server, 1, update["t_ms"] / 1000)
