"""A host has several addresses, and the system may lack the family of some of them."""

import socket
import threading

import pytest

from tests.loopback import impatient
from tests.network.clients import SYMBOL, assert_right
from tests.network.test_proxies import serve_proxy
from tests.scale import AT_ONCE_S, PATIENCE_S, at_most
from tvDatafeed import TvDatafeed, TvDatafeedConfig, WebSocketError
from tvDatafeed.config import NetworkConfig

# A family that no system has: a socket of it cannot be made, as one of IPv6 on a kernel without it.
MISSING_FAMILY = 250
MISSING = (MISSING_FAMILY, socket.SOCK_STREAM, 0, "", ("::1", 1, 0, 0))


@pytest.fixture
def addresses(monkeypatch):
    """Make name lookups return the true addresses between those that a test adds."""
    look_up = socket.getaddrinfo
    first, last = [], []

    def with_others(host, port, *args, **options):
        return [*first, *look_up(host, port, *args, **options), *last]

    monkeypatch.setattr(socket, "getaddrinfo", with_others)
    return first, last


def closed_port():
    """Return a port where connections are refused."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_family_that_the_system_lacks_is_passed_over(server, addresses):
    """The next address is tried when no socket can be made for the first."""
    first, _last = addresses
    first.append(MISSING)
    with TvDatafeed(config=impatient(server)) as tv, at_most(AT_ONCE_S):
        assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))
    assert tv.stats()["errors"] == {}


def test_search_passes_over_a_family_that_the_system_lacks(server, addresses):
    """HTTP requests try the next address too."""
    first, _last = addresses
    first.append(MISSING)
    with TvDatafeed(config=impatient(server)) as tv, at_most(AT_ONCE_S):
        found = tv.search_symbol("AAPL", limit=1, raise_on_error=True)
    assert len(found) == 1


def test_proxy_passes_over_a_family_that_the_system_lacks(addresses):
    """The proxy's next address is tried, and its answer counts."""
    first, _last = addresses
    first.append(MISSING)
    seen = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        replies = [b"HTTP/1.1 503 no\r\n\r\n"]
        thread = threading.Thread(target=serve_proxy, args=(listener, replies, seen))
        thread.start()
        network = NetworkConfig(
            ws_url="ws://tradingview.invalid/",
            allow_insecure=True,
            proxy=f"http://127.0.0.1:{listener.getsockname()[1]}",
            max_retries=0,
        )
        with TvDatafeed(config=TvDatafeedConfig(network=network)) as tv, at_most(AT_ONCE_S):
            with pytest.raises(WebSocketError, match="503"):
                tv.get_hist(SYMBOL)
        thread.join(PATIENCE_S)
    assert len(seen) == 1


def test_refusal_of_an_address_that_was_tried_is_the_error(addresses):
    """A family that the system lacks does not hide why the other address failed."""
    _first, last = addresses
    last.append(MISSING)
    network = NetworkConfig(ws_url=f"ws://127.0.0.1:{closed_port()}/", max_retries=0)
    with TvDatafeed(config=TvDatafeedConfig(network=network)) as tv, at_most(AT_ONCE_S):
        with pytest.raises(WebSocketError, match="refused"):
            tv.get_hist(SYMBOL)


def test_host_without_any_usable_address(monkeypatch):
    """When no address can be used the error is the system's, and it is ours."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: [MISSING])
    network = NetworkConfig(ws_url="ws://tradingview.invalid/", allow_insecure=True, max_retries=0)
    with TvDatafeed(config=TvDatafeedConfig(network=network)) as tv, at_most(AT_ONCE_S):
        with pytest.raises(WebSocketError, match="not supported"):
            tv.get_hist(SYMBOL)
