"""A refill that cannot be read is requested again, as the updates of a running series are."""

import time

import pytest

from tests.feed import BTC, MINUTE, Bars, Calls, live, until
from tvDatafeed import ProtocolError
from tvDatafeed.testing import ReplaceBars


def in_milliseconds(rows):
    """Return rows the last of which has its time in milliseconds."""
    return [*rows[:-1], [rows[-1][0] * 1000, *rows[-1][1:]]]


def negative(rows):
    """Return rows the first of which lies before all times that an index can hold."""
    return [[-1e12, *rows[0][1:]], *rows[1:]]


@pytest.mark.parametrize("rows", [in_milliseconds, negative])
def test_impossible_time_in_a_refill(server, rows):
    """The series is opened again after a pause, and has all bars; one error says why."""
    bars, errors = Bars(), Calls()
    with live(server, hooks={"on_error": errors}, max_retries=0) as tvl:
        seis = tvl.subscribe(*BTC, bars).seis
        assert bars.wait(1)
        server.inject(ReplaceBars(rows, times=2))
        server.now += 300
        server.drop_connections()
        assert bars.wait(6)
        assert until(lambda: [s.state for s in tvl.status()] == ["LIVE"])
        assert errors.wait(bool)
        assert tvl.status()[0].error is None
    assert [who for who, _error in errors.calls] == [seis]
    assert isinstance(errors.calls[0][1], ProtocolError)
    assert bars.opens == server.closed(count=6)


def test_refills_that_stay_unreadable_are_requested_ever_less_often(server):
    """The pause grows with each try, and another series continues meanwhile."""
    bars, other, errors = Bars(), Bars(), Calls()
    with live(server, hooks={"on_error": errors}, base_retry_delay=0.1, max_retry_delay=0.4) as tvl:
        tvl.subscribe(*BTC, bars)
        assert bars.wait(1)
        server.inject(ReplaceBars(in_milliseconds, times=3))
        started = time.monotonic()
        server.now += 60
        server.drop_connections()
        assert bars.wait(2)
        # 0.1, 0.2 and 0.4 s, each at least half.
        assert time.monotonic() - started > 0.3
        tvl.subscribe("BTCUSDT", "BINANCE", MINUTE, other)
        assert other.wait(1)
    assert bars.opens == server.closed(count=2)


def test_impossible_time_in_the_first_page(server, tvl):
    """A series that has never lived is refused with the reason, as before."""
    server.inject(ReplaceBars(in_milliseconds))
    with pytest.raises(ProtocolError, match="outside the years"):
        tvl.new_seis(*BTC)
    assert tvl.status() == []
