"""A server whose packets declare wrong lengths: the bars come, long before any deadline."""

import pytest

from tests.network.clients import SYMBOL, assert_right
from tests.scale import AT_ONCE_S, at_most

UPDATE = '{"m":"du","p":["cs_foreign00000",{}]}'


@pytest.mark.parametrize("declared", ["0", "5", "-5", "50", "3000", "10000000", "9999999999"])
@pytest.mark.parametrize("payload", [UPDATE, UPDATE[:-4]], ids=["whole", "truncated"])
def test_wrong_length_of_another_packet_costs_no_waiting(server, tv, declared, payload):
    """Too short, too long, negative or huge: the next answer on the connection is whole."""
    tv.get_hist(SYMBOL)
    server.send_raw(f"~m~{declared}~m~{payload}")
    with at_most(AT_ONCE_S):
        assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))
    assert 1 <= tv.stats()["violations"] <= 2
    assert tv.stats()["errors"] == {}
    assert server.connections_opened == 1
