"""A hole that the server cannot fill is reported, whatever the server says of its history."""

import json
from dataclasses import dataclass

import pandas as pd
import pytest

from tests.feed import BTC, Bars, Calls, live
from tvDatafeed.testing import ReplaceBars


@dataclass(frozen=True)
class ShortHistory(ReplaceBars):
    """The server has its last bars alone, and says that none are older."""

    def _apply(self, command, payloads, /):
        answer = super()._apply(command, payloads)
        return answer and [_ended(payload) for payload in answer]


def _ended(payload):
    message = json.loads(payload)
    if message["m"] == "series_completed":
        message["p"][4]["data_completed"] = "end"
    return json.dumps(message)


def outage(server, minutes, kept):
    """Return the bars and the gaps of an outage after which the server has some bars alone."""
    bars, gaps = Bars(), Calls()
    with live(server, hooks={"on_gap": gaps}) as tvl:
        tvl.subscribe(*BTC, bars)
        assert bars.wait(1)
        server.inject(ShortHistory(lambda rows: rows[-kept:]))
        server.now += minutes * 60
        server.drop_connections()
        assert bars.wait(kept)
    times = [(pd.Timestamp(start), pd.Timestamp(end)) for _seis, start, end in gaps.calls]
    return bars.opens, times


def test_history_that_ends_after_the_last_bar(server):
    """Bars between the last one and the server's oldest are a gap, also where that is the end."""
    opens, gaps = outage(server, 10, kept=3)
    assert opens == [server.closed(count=11)[0], *server.closed(count=2)]
    assert gaps == [(opens[0], opens[1])]


@pytest.mark.parametrize("minutes", [1, 2])
def test_history_that_ends_at_the_next_bar(server, minutes):
    """Where the server's oldest bar follows the last one, none is missing."""
    opens, gaps = outage(server, minutes, kept=minutes + 1)
    assert opens == server.closed(count=minutes + 1)
    assert gaps == []
