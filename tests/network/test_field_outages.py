"""An outage counts as one fault, however many connections and requests it ends."""

import threading
import time

import pytest

from tests.feed import BTC, MINUTE, Calls, live, until
from tests.loopback import impatient
from tests.network.clients import SYMBOL, ask_in_threads, assert_right
from tests.scale import AT_ONCE_S, PATIENCE_S, at_most, scaled
from tvDatafeed import TvDatafeed
from tvDatafeed.testing import ConnectSilence, LateReply, Refuse

COUNT = 8


def ask_during_a_loss(server, tv, how, *, before=1):
    """Ask in eight threads, end all their connections together, and return the results."""
    for _ in range(before):
        tv.get_hist(SYMBOL)
    server.inject(LateReply(delay_s=0.3, times=COUNT * 3))
    results = []
    asker = threading.Thread(target=lambda: results.extend(ask_in_threads(tv, [SYMBOL] * COUNT)))
    asker.start()
    assert server.wait_until(lambda s: len(s.open_sessions) == COUNT)
    server.drop_connections(how)
    dropped = time.monotonic()
    asker.join(PATIENCE_S)
    for frame in results:
        assert_right(server, frame)
    return time.monotonic() - dropped


@pytest.mark.parametrize("how", ["rst", 1001, 1008])
def test_an_outage_of_eight_connections_is_one_fault(server, how):
    """The next connection is opened after the first pause, and the statistics count one error."""
    limits = {"base_retry_delay": 0.1, "max_retry_delay": 60.0, "failure_threshold": 2}
    config = impatient(server, max_sessions=1, requests_per_minute=6000, burst_size=100, **limits)
    with TvDatafeed(config=config) as tv, at_most(AT_ONCE_S):
        ask_during_a_loss(server, tv, how)
        assert sum(tv.stats()["errors"].values()) == 1
    assert server.connections_opened == 2 * COUNT


def test_an_outage_before_the_first_answer_is_one_fault(server):
    """Connections that have answered nothing yet count once for the circuit breaker too."""
    config = impatient(
        server, max_sessions=1, requests_per_minute=6000, burst_size=100, failure_threshold=2
    )
    with TvDatafeed(config=config) as tv, at_most(AT_ONCE_S):
        ask_during_a_loss(server, tv, "fin", before=0)
        assert tv.stats()["errors"] == {"WebSocketError": 1}


def test_requests_of_one_lost_connection_are_one_error(server):
    """Eight requests that are lost with their connection count as one error."""
    with TvDatafeed(config=impatient(server)) as tv:
        ask_during_a_loss(server, tv, "rst")
        assert tv.stats()["errors"] == {"WebSocketError": 1}


def test_a_second_outage_counts_again(server):
    """Each of two outages, with answers in between, is a fault of its own."""
    config = impatient(server, max_sessions=1, requests_per_minute=6000, burst_size=100)
    with TvDatafeed(config=config) as tv:
        ask_during_a_loss(server, tv, "rst")
        ask_during_a_loss(server, tv, "rst")
        assert tv.stats()["errors"] == {"WebSocketError": 2}


def test_connections_that_are_refused_together_are_one_fault(server):
    """Several handshakes that fail at the same time do not open the circuit breaker."""
    config = impatient(
        server,
        max_sessions=1,
        requests_per_minute=6000,
        burst_size=100,
        failure_threshold=3,
        # Long after all of them have begun, however busy the machine.
        connect_timeout=scaled(1.0),
    )
    server.inject(ConnectSilence(times=3))
    with TvDatafeed(config=config) as tv, at_most(AT_ONCE_S):
        for frame in ask_in_threads(tv, [SYMBOL] * 3):
            assert_right(server, frame)


def test_series_survive_a_policy_close_of_their_connections(server):
    """Three connections that are closed with 1008 are one refusal: no Seis fails for good."""
    errors = Calls()
    with live(server, hooks={"on_error": errors}, max_sessions=1, base_retry_delay=0.1) as tvl:
        for name, exchange, interval in (BTC, ("BTCUSDT", "BINANCE", MINUTE)):
            tvl.new_seis(name, exchange, interval)
        tvl.new_seis("DOGEUSDT", "BINANCE", MINUTE)
        assert server.open_connections == 3
        server.inject(Refuse("fin", times=2))
        server.drop_connections(1008)
        assert until(lambda: len(server.open_sessions) == 3)
        assert until(lambda: {s.state for s in tvl.status()} == {"LIVE"})
    assert errors.calls == []
