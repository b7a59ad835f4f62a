"""A port that is of TLS where the URL is not, or the other way round, is an error that says so."""

import contextlib
import socket
import ssl
import threading

import pytest
import trustme

from tests.loopback import NOW, impatient
from tests.network.clients import SYMBOL
from tests.scale import AT_ONCE_S, PATIENCE_S, at_most
from tvDatafeed import NetworkError, TvDatafeed, TvDatafeedConfig, WebSocketError
from tvDatafeed.config import NetworkConfig
from tvDatafeed.testing import FakeTradingView

ALERT = b"\x15\x03\x01\x00\x02\x02\x46"
BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


@contextlib.contextmanager
def port_that_answers(reply):
    """A port that reads something, answers with some bytes and closes."""

    def answer(client):
        client.settimeout(PATIENCE_S)
        client.recv(65536)
        client.sendall(reply)
        client.shutdown(socket.SHUT_WR)
        while client.recv(65536):
            pass

    def serve():
        with contextlib.suppress(OSError):
            while True:
                with listener.accept()[0] as client, contextlib.suppress(OSError):
                    answer(client)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(PATIENCE_S)


def config_of(port, *, secure):
    """Settings whose URLs name a port of this machine."""
    s = "s" if secure else ""
    urls = {
        "ws_url": f"ws{s}://127.0.0.1:{port}/socket.io/websocket",
        "base_url": f"http{s}://127.0.0.1:{port}",
        "search_url": f"http{s}://127.0.0.1:{port}/symbol_search/v3/",
    }
    return TvDatafeedConfig(network=NetworkConfig(**urls, max_retries=0))


def errors_of(config):
    """Return what get_hist and a search raise."""
    with TvDatafeed(config=config) as tv, at_most(AT_ONCE_S):
        with pytest.raises(WebSocketError) as of_bars:
            tv.get_hist(SYMBOL)
        with pytest.raises(NetworkError) as of_search:
            tv.search_symbol("AAPL", raise_on_error=True)
    return of_bars.value, of_search.value


@pytest.mark.parametrize("reply", [BAD_REQUEST, b"220 mail.invalid ESMTP\r\n"])
def test_tls_where_there_is_none(reply):
    """Plain text in answer to a TLS handshake names the URL's setting and the proxy's."""
    with port_that_answers(reply) as port:
        of_bars, of_search = errors_of(config_of(port, secure=True))
    assert "not TLS; check the port in TV_WS_URL, or set TV_PROXY" in str(of_bars)
    assert "not TLS; check the port in TV_BASE_URL and TV_SEARCH_URL, or" in str(of_search)
    assert not of_bars.retryable
    assert not of_search.retryable


@pytest.mark.parametrize("reply", [ALERT, b""], ids=["an alert", "the end"])
def test_no_tls_where_there_is_some(reply):
    """What a port of TLS answers to plain HTTP leads to the scheme of the URL."""
    with port_that_answers(reply) as port:
        of_bars, of_search = errors_of(config_of(port, secure=False))
    assert "if this port uses TLS, write wss:// in TV_WS_URL" in str(of_bars)
    assert "write https:// in TV_BASE_URL and TV_SEARCH_URL" in str(of_search)


def test_a_server_that_says_400_to_plain_http():
    """The status that web servers have for it has the same advice."""
    with port_that_answers(BAD_REQUEST) as port:
        of_bars, _of_search = errors_of(config_of(port, secure=False))
    assert "status 400; if this port uses TLS, write wss:// in TV_WS_URL" in str(of_bars)


def test_a_server_that_resets_the_connection():
    """Python's own TLS server resets a connection that begins with HTTP."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with FakeTradingView(clock=lambda: NOW, tls=context) as server:
        of_bars, of_search = errors_of(config_of(server.port, secure=False))
    assert "wss:// in TV_WS_URL" in str(of_bars)
    assert "https:// in TV_BASE_URL" in str(of_search)


def test_a_connection_that_breaks_later_has_no_such_advice(server):
    """Where the handshake has succeeded, the scheme is right."""
    with TvDatafeed(config=impatient(server, max_retries=0)) as tv:
        tv.get_hist(SYMBOL)
        server.stop()
        with pytest.raises(WebSocketError) as caught:
            tv.get_hist(SYMBOL)
    assert "TLS" not in str(caught.value)
