"""Suggestions for an unknown symbol cost no waiting, and leave handshakes their share."""

import pytest

from tests.loopback import impatient
from tests.scale import at_most
from tvDatafeed import SymbolNotFoundError, TvDatafeed


@pytest.mark.parametrize("burst", [1, 4, 10])
def test_many_unknown_symbols_come_at_once(server, burst):
    """One call after the other fails at once, and a new connection can be opened afterwards."""
    config = impatient(server, requests_per_minute=6, burst_size=burst)
    suggested = []
    with TvDatafeed(config=config) as tv, at_most(4.0):
        for _ in range(12):
            with pytest.raises(SymbolNotFoundError) as caught:
                tv.get_hist("NASDAQ:APPL")
            suggested.append(bool(caught.value.suggestions))
        if burst > 1:
            tv.close()
            assert len(tv.get_hist("NASDAQ:AAPL")) == 10
    assert suggested[0] is (burst > 1)
    assert suggested[-1] is False
    assert len(server.http_requests) < burst
