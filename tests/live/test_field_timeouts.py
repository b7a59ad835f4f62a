"""Every method with a timeout accepts 0, None and -1; the last two mean no limit."""

import pytest

from tests.feed import BTC, Bars
from tests.scale import AT_ONCE_S, at_most


@pytest.mark.parametrize("timeout", [0, 0.0, None, -1])
def test_timeouts_of_the_feed(tvl, timeout):
    """The call does its work, however little time it may wait for a lock of another thread."""
    with at_most(AT_ONCE_S):
        seis = tvl.new_seis(*BTC)
        assert tvl.new_seis(*BTC, timeout=timeout) == seis
        consumers = [
            tvl.new_consumer(seis, Bars(), timeout=timeout),
            seis.new_consumer(Bars(), timeout=timeout),
            tvl.subscribe(*BTC, Bars(), timeout=timeout),
        ]
        assert len(tvl.get_hist(*BTC, 5, timeout=timeout)) == 5
        assert len(seis.get_hist(5, timeout=timeout)) == 5
        assert tvl.del_consumer(consumers[0], timeout=timeout)
        assert seis.del_consumer(consumers[1], timeout=timeout)
        assert consumers[2].del_consumer(timeout=timeout)
        assert seis.del_seis(timeout=timeout)
        assert tvl.wait(timeout)
        tvl.close(timeout)
    assert tvl.status() == []


@pytest.mark.parametrize("timeout", [-2, -0.5])
def test_negative_timeouts(tvl, timeout):
    """Other negative numbers are refused, and change nothing."""
    seis = tvl.new_seis(*BTC)
    calls = [
        lambda: tvl.new_seis(*BTC, timeout=timeout),
        lambda: tvl.new_consumer(seis, Bars(), timeout=timeout),
        lambda: tvl.subscribe(*BTC, Bars(), timeout=timeout),
        lambda: tvl.get_hist(*BTC, 5, timeout=timeout),
        lambda: seis.get_hist(5, timeout=timeout),
        lambda: tvl.del_seis(seis, timeout=timeout),
        lambda: tvl.wait(timeout),
        lambda: tvl.close(timeout),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="non-negative"):
            call()
    assert [s.seis for s in tvl.status()] == [seis]
    assert seis.get_consumers() == []
