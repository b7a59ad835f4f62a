"""The proxy of the settings carries the connection, and its password is never shown."""

import contextlib
import socket
import threading

import pytest

from tests.loopback import impatient
from tests.network.clients import SYMBOL, assert_right
from tests.scale import AT_ONCE_S, PATIENCE_S, at_most
from tvDatafeed import TvDatafeed, TvDatafeedConfig, WebSocketError, WebSocketTimeoutError
from tvDatafeed.config import NetworkConfig


def serve_proxy(listener, replies, seen):
    """Accept one connection per reply, read its CONNECT, and send the reply."""
    for reply in replies:
        client = listener.accept()[0]
        with client:
            request = b""
            while b"\r\n\r\n" not in request:
                request += client.recv(4096)
            seen.append(request.decode())
            client.sendall(reply)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "407"),
        (b"HTTP/1.1 503 no\r\n\r\n", "503"),
        (b"nonsense\r\n\r\n", "proxy"),
        (b"", "proxy"),
    ],
)
def test_proxy_that_refuses_is_named_without_its_password(reply, words):
    """CONNECT has the credentials, and the error does not show them."""
    seen = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve_proxy, args=(listener, [reply], seen))
        thread.start()
        proxy = f"http://ann:hunter2@127.0.0.1:{listener.getsockname()[1]}"
        network = NetworkConfig(
            ws_url="ws://tradingview.invalid/", allow_insecure=True, proxy=proxy, max_retries=0
        )
        with TvDatafeed(config=TvDatafeedConfig(network=network)) as tv, at_most(AT_ONCE_S):
            with pytest.raises(WebSocketError, match=words) as caught:
                tv.get_hist(SYMBOL)
        thread.join(PATIENCE_S)
    assert seen[0].startswith("CONNECT tradingview.invalid:80 ")
    assert "Basic YW5uOmh1bnRlcjI=" in seen[0]
    for text in (str(caught.value), repr(network), repr(tv)):
        assert "hunter2" not in text
        assert "YW5u" not in text


def test_tunnel_of_a_proxy_carries_the_socket(server):
    """Behind CONNECT everything is as without."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def relay():
            client = listener.accept()[0]
            upstream = socket.create_connection(("127.0.0.1", server.port))
            client.recv(4096)
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")

            def pump(source, sink):
                with contextlib.suppress(OSError):
                    while data := source.recv(65536):
                        sink.sendall(data)
                with contextlib.suppress(OSError):
                    sink.shutdown(socket.SHUT_WR)

            back = threading.Thread(target=pump, args=(upstream, client))
            back.start()
            pump(client, upstream)
            back.join(PATIENCE_S)
            client.close()
            upstream.close()

        thread = threading.Thread(target=relay)
        thread.start()
        network = NetworkConfig(
            ws_url="ws://tradingview.invalid/socket.io/websocket",
            allow_insecure=True,
            proxy=f"http://127.0.0.1:{listener.getsockname()[1]}",
        )
        with TvDatafeed(config=TvDatafeedConfig(network=network)) as tv:
            assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))
        thread.join(PATIENCE_S)


def test_proxy_is_never_used_for_this_machine(server):
    """A proxy that is not running does not affect connections to the loopback."""
    with TvDatafeed(config=impatient(server, proxy="http://127.0.0.1:1")) as tv:
        assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy", "https_proxy"])
def test_proxies_of_other_programs_are_not_asked(server, monkeypatch, name):
    """Only TV_PROXY counts."""
    monkeypatch.setenv(name, "http://127.0.0.1:1")
    with TvDatafeed(config=impatient(server)) as tv:
        assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))


def test_proxy_that_drips_meets_the_connect_deadline():
    """Single bytes from a proxy do not extend the connect deadline, and all threads end."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip():
            client = listener.accept()[0]
            with client, contextlib.suppress(OSError):
                while not over.wait(0.05):
                    client.sendall(b"H")

        thread = threading.Thread(target=drip)
        thread.start()
        network = NetworkConfig(
            ws_url="ws://tradingview.invalid/",
            allow_insecure=True,
            proxy=f"http://127.0.0.1:{listener.getsockname()[1]}",
            connect_timeout=0.4,
            max_retries=0,
        )
        with TvDatafeed(config=TvDatafeedConfig(network=network)) as tv, at_most(AT_ONCE_S):
            with pytest.raises(WebSocketTimeoutError, match=r"connect timed out after 0\.4s"):
                tv.get_hist(SYMBOL)
        over.set()
        thread.join(PATIENCE_S)
