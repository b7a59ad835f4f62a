"""The connections used alone: connect, is_connected, disconnect; and one connection a request."""

import threading

import pytest

from tests.loopback import NOW, impatient
from tests.network.clients import SYMBOL, assert_right
from tests.scale import AT_ONCE_S, PATIENCE_S, at_most
from tvDatafeed import Interval, SymbolNotFoundError, TvDatafeed, TvDatafeedError, TvDatafeedLive
from tvDatafeed.network import NetworkConfig, WebSocketManager
from tvDatafeed.testing import (
    BlackHole,
    CloseCode,
    FakeTradingView,
    HalfOpen,
    MarketClock,
    NoCompletion,
    UpgradeStatus,
)


def test_connect_and_disconnect(server):
    """Connect opens one connection, is_connected asks it, and disconnect closes it."""
    manager = WebSocketManager(server.config())
    assert not manager.is_connected()
    assert manager.connect() is True
    assert manager.connect() is True
    assert manager.is_connected() is True
    assert server.connections_opened == 1
    assert manager.disconnect() is None
    assert manager.is_connected() is False
    assert server.wait_until(lambda s: s.open_connections == 0)
    assert manager.connect()
    manager.disconnect()
    assert server.connections_opened == 2


def test_with_a_network_config(server):
    """A NetworkConfig does as well, and `with` connects and disconnects."""
    with WebSocketManager(server.config().network) as manager:
        assert manager.is_connected()
        assert server.open_connections == 1
    assert server.wait_until(lambda s: s.open_connections == 0)


def test_connect_tries_again(server):
    """Faults that pass are tried again, with the configured number of tries."""
    server.inject(UpgradeStatus(status=503, times=2))
    with WebSocketManager(impatient(server, max_retries=2)) as manager:
        assert manager.is_connected()
    assert len(server.handshakes) == 3


@pytest.mark.parametrize(
    ("status", "text"), [(503, "not available"), (403, "refused the handshake")]
)
def test_connect_fails(server, status, text):
    """When all tries have failed, connect returns False and last_error says why."""
    server.inject(UpgradeStatus(status=status))
    manager = WebSocketManager(impatient(server, max_retries=1))
    with at_most(AT_ONCE_S):
        assert manager.connect() is False
    assert text in str(manager.last_error)
    assert len(server.handshakes) == 2
    server.clear_faults()
    assert manager.connect() is True
    manager.disconnect()


def test_no_server():
    """Without a server, connect returns False, and last_error has the reason of the system."""
    with FakeTradingView() as server:
        config = impatient(server, max_retries=1)
    manager = WebSocketManager(config)
    assert manager.connect() is False
    assert "connect failed" in str(manager.last_error)
    manager.disconnect()


def test_open_circuit():
    """While no connection is tried after too many failures, connect returns False at once."""
    with FakeTradingView() as server:
        config = impatient(server, max_retries=3, failure_threshold=2)
    manager = WebSocketManager(config)
    assert manager.connect() is False
    with at_most(AT_ONCE_S):
        assert manager.connect() is False
    assert manager.last_error is not None
    manager.disconnect()


def test_server_that_answers_no_ping(server):
    """A connection whose server has fallen silent is not connected, within ping_timeout."""
    with WebSocketManager(impatient(server, ping_timeout=0.2, max_retries=0)) as manager:
        assert manager.is_connected()
        server.inject(HalfOpen())
        server.push('{"m":"x","p":[]}')
        with at_most(AT_ONCE_S):
            assert not manager.is_connected()


def test_server_that_accepts_alone():
    """A server that accepts TCP and says nothing is a failure within connect_timeout."""
    with BlackHole() as hole:
        network = hole.config(connect_timeout=0.2, ping_timeout=0.1, max_retries=0)
        manager = WebSocketManager(network)
        with at_most(AT_ONCE_S):
            assert manager.connect() is False
        assert manager.last_error is not None
        manager.disconnect()


def test_disconnect_while_connecting(server):
    """Disconnect in another thread ends connect."""
    server.inject(UpgradeStatus(status=503))
    manager = WebSocketManager(server.config(base_retry_delay=300.0, max_retry_delay=300.0))
    results = []
    thread = threading.Thread(target=lambda: results.append(manager.connect()))
    thread.start()
    assert server.wait_until(lambda s: s.handshakes)
    manager.disconnect()
    thread.join(PATIENCE_S)
    assert results == [False]


def unshared(server, **settings):
    return impatient(server, reuse_connections=False, **settings)


def test_each_request_has_its_connection(server):
    """Without reuse each request opens a connection, and closes it when it is answered."""
    with TvDatafeed(config=unshared(server)) as tv:
        for count in (1, 2, 3):
            assert_right(server, tv.get_hist(SYMBOL, n_bars=10, timezone="UTC"))
            assert server.connections_opened == count
            assert server.wait_until(lambda s: s.open_connections == 0)
        tv.get_quotes([SYMBOL])
        assert server.connections_opened == 4
    assert server.wait_until(lambda s: s.open_connections == 0)


def test_many_symbols(server):
    """Each symbol of many has its own connection; none carries two sessions."""
    symbols = ["NASDAQ:AAPL", "NYSE:IBM", "BINANCE:BTCUSDT", "NASDAQ:MSFT"]
    with TvDatafeed(config=unshared(server, burst_size=50)) as tv:
        frames = tv.get_hist_multi(symbols, n_bars=5)
        assert [len(frame) for frame in frames.values()] == [5] * 4
        assert server.connections_opened == 4
        assert server.wait_until(lambda s: s.open_connections == 0)
        created = [m.connection for m in server.received if m.method == "chart_create_session"]
        assert sorted(created) == [1, 2, 3, 4]


def test_threads(server):
    """Threads that ask at the same time share no connection."""
    with TvDatafeed(config=unshared(server, burst_size=50)) as tv:
        threads = [
            threading.Thread(target=tv.get_hist, args=(SYMBOL,), kwargs={"n_bars": 3})
            for _ in range(5)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
    assert server.connections_opened == 5


def test_errors_close_too(server):
    """A refused symbol, a time-out and a retried fault leave no connection open."""
    config = unshared(server, max_response_time=0.5, max_retries=1)
    with TvDatafeed(config=config) as tv:
        with pytest.raises(SymbolNotFoundError):
            tv.get_hist("NASDAQ:NONE")
        assert server.wait_until(lambda s: s.open_connections == 0)
        server.inject(NoCompletion(times=1))
        with pytest.raises(TvDatafeedError):
            tv.get_hist(SYMBOL, n_bars=3)
        assert server.wait_until(lambda s: s.open_connections == 0)
        opened = server.connections_opened
        server.inject(CloseCode(times=1))
        assert len(tv.get_hist(SYMBOL, n_bars=3)) == 3
        assert server.connections_opened == opened + 2
        assert server.wait_until(lambda s: s.open_connections == 0)


def test_live_feed_keeps_its_connection():
    """Live series share a connection of their own; requests beside them have others."""
    with FakeTradingView(clock=MarketClock(NOW, speed=0)) as server:
        with TvDatafeedLive(config=unshared(server)) as tvl:
            seises = [
                tvl.new_seis(symbol, "BINANCE", Interval.in_1_minute)
                for symbol in ("BTCUSDT", "DOGEUSDT")
            ]
            bars = tvl.stream(*seises, bars="closed")
            assert server.wait_until(lambda s: len(s.open_sessions) == 2)
            assert server.connections_opened == 1
            for count in (2, 3):
                tvl.get_hist(SYMBOL, n_bars=3)
                assert server.connections_opened == count
                assert server.wait_until(lambda s: s.open_connections == 1)
            server.step(60)
            assert {next(bars)[0] for _ in seises} == set(seises)
            live = {m.connection for m in server.received if m.method == "create_series"}
            assert live == {1, 2, 3}
            assert len(server.open_sessions) == 2


def test_variable(monkeypatch):
    """TV_REUSE_CONNECTIONS sets it."""
    monkeypatch.setenv("TV_REUSE_CONNECTIONS", "off")
    assert NetworkConfig.from_env().reuse_connections is False
