"""Messages that cannot be read: ignored, unless they name a request; then they cost it alone."""

import pytest

from tests.loopback import impatient
from tests.network.clients import SYMBOL, assert_right
from tests.scale import AT_ONCE_S, at_most
from tvDatafeed import TvDatafeed
from tvDatafeed.protocol.framing import encode
from tvDatafeed.testing import HostileJson, ReplaceBars

MALFORMED = [
    '{"m":"du","p":["cs_of_another",{"sds_1":{"s":[{"i":0,"v":["x"]}]}}]}',
    '{"m":"series_completed","p":["cs_of_another"]}',
    '{"m":"symbol_resolved","p":["cs_of_another","sds_sym_1",null]}',
    '{"m":"qsd","p":[{"n":"NASDAQ:AAPL"}]}',
    '{"m":"critical_error","p":[]}',
    '{"m":"series_loading","p":[null]}',
    '{"m":"du","p":[{}]}',
    '"ping"',
    "[]",
    "17",
]


def test_malformed_messages_of_no_request_are_ignored_and_counted(server, tv):
    """Ten of them, of known types, leave the connection as it is, and the next answer is whole."""
    tv.get_hist(SYMBOL)
    before = tv.stats()["ignored"]
    for payload in MALFORMED:
        server.send_raw(encode(payload))
    with at_most(AT_ONCE_S):
        assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))
    stats = tv.stats()
    assert stats["ignored"] - before >= len(MALFORMED)
    assert (stats["violations"], stats["errors"]) == (0, {})
    assert server.connections_opened == 1


@pytest.mark.parametrize("kind", ["nan", "long_number", "deep"])
def test_request_whose_messages_are_malformed_costs_no_connection(server, kind):
    """It is requested again as often as configured, over the connection that answers others."""
    server.inject(HostileJson(kind, times=6))
    with TvDatafeed(config=impatient(server, max_retries=8)) as tv:
        assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))
        assert 1 < tv.stats()["errors"]["ProtocolError"] <= 6
    assert server.connections_opened == 1


def test_impossible_bars_cost_no_connection(server, tv):
    """Five answers with a time that no bar has fail, and the connection continues."""
    server.inject(ReplaceBars([[1786714200000.0, 1, 1, 1, 1, 1]], times=5))
    failures = 0
    for _ in range(5):
        try:
            tv.get_hist(SYMBOL)
        except Exception:  # noqa: BLE001 - which error it is has tests of its own
            failures += 1
    assert failures == 5
    assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))
    assert server.connections_opened == 1
