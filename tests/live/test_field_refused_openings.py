"""An account with too many connections is reported while a series is opened, too."""

import logging

import pytest

from tests.feed import BTC, MINUTE, Calls, live
from tvDatafeed import RateLimitError
from tvDatafeed.testing import ProtocolErrorReply

REASON = "user connections limit reached"


def complaints(caplog):
    """The warnings about connections."""
    return [r for r in caplog.records if r.levelno >= logging.WARNING and REASON in r.getMessage()]


@pytest.mark.parametrize("refusals", [1, 3])
def test_a_refused_first_opening_is_reported_once(server, caplog, refusals):
    """The hook has the reason once, however often the server refuses, and the series opens."""
    errors = Calls()
    server.inject(ProtocolErrorReply(reason=REASON, times=refusals))
    with live(server, hooks={"on_error": errors}) as tvl:
        seis = tvl.new_seis(*BTC)
        assert errors.wait(lambda calls: len(calls) == 1)
        assert [s.state for s in tvl.status()] == ["LIVE"]
    ((refused, error),) = errors.calls
    assert refused is seis
    assert isinstance(error, RateLimitError)
    assert error.reason == REASON
    assert len(complaints(caplog)) == 1


def test_it_is_reported_before_the_wait(server):
    """The hook is called when the server refuses, not when it accepts minutes later."""
    errors = Calls()
    server.inject(ProtocolErrorReply(reason=REASON))
    with live(server, hooks={"on_error": errors}, max_retries=2) as tvl:
        with pytest.raises(RateLimitError):
            tvl.new_seis(*BTC)
        assert errors.wait(lambda calls: len(calls) == 1)


def test_later_series_do_not_repeat_it(server):
    """Two series that are refused in one episode are one report."""
    errors = Calls()
    with live(server, hooks={"on_error": errors}, max_sessions=1) as tvl:
        server.inject(ProtocolErrorReply(reason=REASON, times=1))
        tvl.new_seis(*BTC)
        server.inject(ProtocolErrorReply(reason=REASON, times=1))
        tvl.new_seis("BTCUSDT", "BINANCE", MINUTE)
        assert errors.wait(lambda calls: len(calls) == 1)
    assert len(errors.calls) == 1


def test_another_fault_of_a_first_opening_is_not_reported(server):
    """What is cured by the next try reaches the log alone."""
    errors = Calls()
    server.inject(ProtocolErrorReply(reason="wrong_data", times=1))
    with live(server, hooks={"on_error": errors}) as tvl:
        tvl.new_seis(*BTC)
    assert errors.calls == []
