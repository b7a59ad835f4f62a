"""A refill that stays unreadable for long never ends a series that has lived."""

import pytest

from tests.feed import BTC, Bars, Calls, live, live_config, until
from tvDatafeed import ProtocolError, TvDatafeedLive
from tvDatafeed.testing import HostileJson, ReplaceBars, TruncatedJson


def in_milliseconds(rows):
    """Return rows the last of which has its time in milliseconds."""
    return [*rows[:-1], [rows[-1][0] * 1000, *rows[-1][1:]]]


def test_refills_that_stay_unreadable(server):
    """However many connections they cost, the series is opened again; one error says why."""
    bars, errors, states = Bars(), Calls(), Calls()
    hooks = {"on_error": errors, "on_state": states}
    with live(server, hooks=hooks, max_retries=0) as tvl:
        seis = tvl.subscribe(*BTC, bars).seis
        assert bars.wait(1)
        server.inject(ReplaceBars(in_milliseconds, times=14))
        server.now += 300
        server.drop_connections()
        assert bars.wait(6)
        assert until(lambda: [s.state for s in tvl.status()] == ["LIVE"])
        assert not server.faults
    assert [who for who, _error in errors.calls] == [seis]
    assert isinstance(errors.calls[0][1], ProtocolError)
    assert "FAILED" not in [state for _seis, state in states.calls]
    assert bars.opens == server.closed(count=6)


@pytest.mark.parametrize(
    "fault",
    [TruncatedJson(times=6), HostileJson("long_number", times=6), HostileJson("deep", times=6)],
    ids=repr,
)
def test_refills_that_are_malformed_otherwise(server, fault):
    """A first page that is cut or hostile costs a series nothing but time."""
    bars, states = Bars(), Calls()
    with live(server, hooks={"on_state": states}, max_retries=0) as tvl:
        tvl.subscribe(*BTC, bars)
        assert bars.wait(1)
        server.inject(fault)
        server.now += 300
        server.drop_connections()
        assert bars.wait(6)
    assert "FAILED" not in [state for _seis, state in states.calls]
    assert bars.opens == server.closed(count=6)


def test_unreadable_pages_in_poll_mode(server):
    """Each poll is a first page: one that cannot be read is requested again after a pause."""
    bars, errors, states = Bars(), Calls(), Calls()
    threads = {"live_mode": "poll", "retry_sleep": 0.1}
    # A bar is about to close, so that the next poll is soon.
    server.now += 59.8
    config = live_config(server, threads=threads, max_retries=0)
    with TvDatafeedLive(config=config, on_error=errors, on_state=states) as tvl:
        tvl.subscribe(*BTC, bars)
        assert bars.wait(1)
        server.inject(ReplaceBars(in_milliseconds, times=14))
        server.now += 300
        assert bars.wait(6)
    assert len(errors.calls) == 1
    assert "FAILED" not in [state for _seis, state in states.calls]
    assert bars.opens == server.closed(count=6)
