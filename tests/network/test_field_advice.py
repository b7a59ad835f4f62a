"""Errors of certificates, proxies and name lookups name the setting that helps."""

import datetime as dt
import socket
import ssl
import threading

import pytest
import trustme

from tests.loopback import NOW, impatient
from tests.network.clients import SYMBOL
from tests.network.test_proxies import serve_proxy
from tests.scale import AT_ONCE_S, PATIENCE_S, at_most
from tvDatafeed import (
    ConnectionError,  # noqa: A004 - our own
    TvDatafeed,
    TvDatafeedConfig,
    WebSocketError,
)
from tvDatafeed.config import NetworkConfig
from tvDatafeed.testing import FakeTradingView

DAY = dt.timedelta(days=1)


def errors_of(config):
    """Return the texts of what get_hist and a search raise."""
    with TvDatafeed(config=config) as tv, at_most(AT_ONCE_S):
        with pytest.raises(WebSocketError) as of_bars:
            tv.get_hist(SYMBOL)
        with pytest.raises(ConnectionError) as of_search:
            tv.search_symbol("AAPL", raise_on_error=True)
    return str(of_bars.value), str(of_search.value)


@pytest.mark.parametrize(
    ("name", "expires", "is_trusted", "advice"),
    [
        pytest.param("127.0.0.1", DAY, False, "TV_CA_FILE", id="authority not known"),
        pytest.param("127.0.0.1", -DAY, True, "check the clock", id="expired"),
        pytest.param("portal.invalid", DAY, True, "TV_PROXY", id="another server"),
    ],
)
def test_certificate(name, expires, is_trusted, advice, tmp_path):
    """Each kind of bad certificate leads to its own next step, for bars and for searches."""
    authority = trustme.CA()
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    until = dt.datetime.now(dt.timezone.utc) + expires
    authority.issue_cert(name, not_after=until).configure_cert(context)
    with FakeTradingView(clock=lambda: NOW, tls=context) as server:
        config = impatient(server, ca_file=str(file) if is_trusted else None)
        for text in errors_of(config):
            assert "certificate" in text
            assert advice in text


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "407; set user and password"),
        (b"HTTP/1.1 502 no\r\n\r\n", "502"),
        (b"", "it closed the connection"),
    ],
)
def test_proxy_that_refuses(reply, words):
    """The setting is named, and its password is not shown."""
    seen = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve_proxy, args=(listener, [reply, reply], seen))
        thread.start()
        network = NetworkConfig(
            ws_url="ws://tradingview.invalid/",
            allow_insecure=True,
            search_url="http://tradingview.invalid/",
            proxy=f"http://ann:hunter2@127.0.0.1:{listener.getsockname()[1]}",
            max_retries=0,
        )
        texts = errors_of(TvDatafeedConfig(network=network))
        thread.join(PATIENCE_S)
    for text in texts:
        assert words in text
        assert "check TV_PROXY" in text
        assert "hunter2" not in text


def test_proxy_that_does_not_listen():
    """A proxy that cannot be reached names its setting as well."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    network = NetworkConfig(
        ws_url="ws://tradingview.invalid/",
        allow_insecure=True,
        search_url="http://tradingview.invalid/",
        proxy=f"http://127.0.0.1:{port}",
        max_retries=0,
    )
    for text in errors_of(TvDatafeedConfig(network=network)):
        assert "refused; check TV_PROXY" in text


def test_name_that_cannot_be_looked_up(monkeypatch):
    """Without a network, or behind a proxy that nothing names, the proxy's setting is named."""

    def fail(*_args, **_options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    network = NetworkConfig(
        ws_url="ws://tradingview.invalid/",
        allow_insecure=True,
        search_url="http://tradingview.invalid/",
        max_retries=0,
    )
    for text in errors_of(TvDatafeedConfig(network=network)):
        assert "Name or service not known; check the network, or set TV_PROXY" in text
