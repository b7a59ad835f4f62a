"""A connect meets its deadline, and only a trusted certificate is accepted."""

import ssl
import sys

import pytest
import trustme

from tests.loopback import NOW, impatient
from tests.network.clients import SYMBOL, assert_right
from tests.scale import AT_ONCE_S, at_most
from tvDatafeed import TvDatafeed, TvDatafeedConfig, WebSocketError, WebSocketTimeoutError
from tvDatafeed.config import NetworkConfig
from tvDatafeed.network import sockets
from tvDatafeed.testing import BlackHole, ConnectSilence, FakeTradingView, TlsGarbage, TlsStall


@pytest.mark.skipif(sys.platform != "linux", reason="a full backlog drops SYNs on Linux only")
def test_syn_black_hole_meets_the_connect_timeout():
    """A host that does not answer is given up after the connect timeout, not the system's."""
    with BlackHole() as hole:
        config = hole.config(connect_timeout=0.3, max_retries=0)
        with TvDatafeed(config=config) as tv, at_most(AT_ONCE_S):
            with pytest.raises(WebSocketTimeoutError, match="connect"):
                tv.get_hist(SYMBOL)


@pytest.fixture(scope="module")
def authority():
    """A certificate authority of the tests' own."""
    return trustme.CA()


@pytest.fixture
def tls_server(authority):
    """A loopback TradingView behind TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with FakeTradingView(clock=lambda: NOW, tls=context) as running:
        yield running


def test_own_authority_is_trusted_by_ca_file(tls_server, authority, tmp_path):
    """With its authority in ca_file a TLS server is as good as any."""
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    with TvDatafeed(config=impatient(tls_server, ca_file=str(file))) as tv:
        for _ in range(3):
            assert_right(tls_server, tv.get_hist(SYMBOL, timezone="UTC"))
        frame = tv.get_hist("BINANCE:BTCUSDT", n_bars=5000, timezone="UTC")
        assert_right(tls_server, frame, "BINANCE:BTCUSDT", len(frame))


def test_certificate_that_is_not_trusted_is_fatal(tls_server):
    """An untrusted certificate is raised after one attempt."""
    with TvDatafeed(config=impatient(tls_server)) as tv, at_most(AT_ONCE_S):
        with pytest.raises(WebSocketError, match="certificate") as caught:
            tv.get_hist(SYMBOL)
    assert caught.value.retryable is False
    assert tls_server.accepted == 1
    assert tls_server.connections_opened == 0


@pytest.mark.parametrize(
    ("fault", "error"),
    [(TlsStall(), WebSocketTimeoutError), (TlsGarbage(), WebSocketError)],
    ids=repr,
)
def test_tls_that_stalls_or_is_none(tls_server, fault, error):
    """The connect deadline covers the TLS handshake, and an answer in plain text is an error."""
    tls_server.inject(fault)
    config = impatient(tls_server, connect_timeout=0.3, max_retries=0)
    with TvDatafeed(config=config) as tv, at_most(AT_ONCE_S):
        with pytest.raises(error) as caught:
            tv.get_hist(SYMBOL)
    assert type(caught.value) is error
    assert tls_server.connections_opened == 0


def test_address_that_swallows_packets_does_not_hide_the_next(server, monkeypatch):
    """Of two addresses the second is tried in time, whatever the first one does."""
    look_up = sockets.look_up
    with BlackHole() as hole:
        silent_port = int(hole.ws_url.split(":")[2].split("/")[0])
        monkeypatch.setattr(
            sockets,
            "look_up",
            lambda host, port: [*look_up(host, silent_port), *look_up(host, port)],
        )
        with TvDatafeed(config=impatient(server, connect_timeout=1.0)) as tv, at_most(AT_ONCE_S):
            assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))
        assert tv.stats()["errors"] == {}


def test_patience_for_a_message_does_not_shorten_the_connect(server):
    """A handshake that times out is tried again, however short ws_timeout is."""
    server.inject(ConnectSilence(times=1))
    config = impatient(server, connect_timeout=0.6)
    with TvDatafeed(ws_timeout=0.3, config=config) as tv, at_most(AT_ONCE_S):
        assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))


@pytest.mark.parametrize("host", ["data..tradingview.com", "a" * 64 + ".invalid"])
def test_host_that_is_no_name_is_a_fatal_error_of_ours(host):
    """A label that is empty or too long is a fatal error that names the host."""
    config = TvDatafeedConfig(network=NetworkConfig(ws_url=f"ws://{host}/", allow_insecure=True))
    with TvDatafeed(config=config) as tv, at_most(AT_ONCE_S):
        with pytest.raises(WebSocketError) as caught:
            tv.get_hist(SYMBOL)
    assert host in str(caught.value)
    assert caught.value.retryable is False
