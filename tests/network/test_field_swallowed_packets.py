"""An address that swallows packets costs a quarter of a second, not the time to connect."""

import socket
import sys
import threading
from urllib.parse import urlsplit

import pytest

from tests.loopback import impatient
from tests.network.clients import SYMBOL, assert_right
from tests.network.test_field_addresses import MISSING, closed_port
from tests.network.test_proxies import serve_proxy
from tests.scale import AT_ONCE_S, PATIENCE_S, at_most
from tvDatafeed import TvDatafeed, TvDatafeedConfig, WebSocketError, WebSocketTimeoutError
from tvDatafeed.config import NetworkConfig
from tvDatafeed.testing import BlackHole

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="a full backlog drops SYNs on Linux only"
)


@pytest.fixture
def hole():
    """The address of a host that answers nothing."""
    with BlackHole() as hole:
        yield address(urlsplit(hole.ws_url).port)


@pytest.fixture
def look_ups(monkeypatch):
    """Make name lookups return other addresses before the true ones."""
    look_up = socket.getaddrinfo
    first = []

    def with_others(host, port, *args, **options):
        return [*first, *look_up(host, port, *args, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", with_others)
    return first


def address(port):
    """An address of this machine as a lookup returns it."""
    return (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))


@pytest.mark.parametrize("count", [1, 4])
def test_the_next_address_is_tried_after_a_short_wait(server, look_ups, hole, count):
    """Bars and searches come although the first addresses never answer."""
    look_ups += [hole] * count
    with TvDatafeed(config=impatient(server, connect_timeout=30.0)) as tv, at_most(AT_ONCE_S):
        assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))
        assert len(tv.search_symbol("AAPL", limit=1, raise_on_error=True)) == 1
        assert tv.stats()["errors"] == {}
    assert server.connections_opened == 1


def test_a_refusal_is_followed_by_the_next_address_at_once(server, look_ups, hole):
    """Addresses that refuse, or have no family here, do not use up the wait of the others."""
    look_ups += [address(closed_port())] * 20 + [MISSING] * 20
    with TvDatafeed(config=impatient(server)) as tv, at_most(AT_ONCE_S):
        assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))


def test_a_slow_address_still_counts(monkeypatch, server, hole):
    """An address that answers late is used although others were tried after it, and refused."""
    monkeypatch.setattr("tvDatafeed.network.sockets._NEXT_ADDRESS_S", 0.0)
    look_up = socket.getaddrinfo

    def true_one_first(host, port, *args, **options):
        return [*look_up(host, port, *args, **options), hole, address(closed_port())]

    monkeypatch.setattr(socket, "getaddrinfo", true_one_first)
    with TvDatafeed(config=impatient(server)) as tv, at_most(AT_ONCE_S):
        assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))


def test_the_deadline_holds_for_all_addresses_together(monkeypatch, hole):
    """Many silent addresses take no longer than one."""
    others = [hole] * 10 + [address(closed_port())]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: others)
    network = NetworkConfig(ws_url="ws://127.0.0.1:1/", max_retries=0, connect_timeout=0.5)
    with TvDatafeed(config=TvDatafeedConfig(network=network)) as tv, at_most(AT_ONCE_S):
        with pytest.raises(WebSocketTimeoutError, match="connect"):
            tv.get_hist(SYMBOL)


def test_close_ends_attempts_at_several_addresses(monkeypatch, hole):
    """Closing the client ends what it is connecting to, and every socket of that."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: [hole] * 3)
    network = NetworkConfig(ws_url="ws://127.0.0.1:1/", connect_timeout=60.0)
    errors = []

    def ask(tv):
        try:
            tv.get_hist(SYMBOL)
        except WebSocketError as error:
            errors.append(error)

    with TvDatafeed(config=TvDatafeedConfig(network=network)) as tv, at_most(AT_ONCE_S):
        thread = threading.Thread(target=ask, args=(tv,))
        thread.start()
        while not tv.stats()["open_connections"]:
            threading.Event().wait(0.01)
        tv.close()
        thread.join(PATIENCE_S)
    assert len(errors) == 1


def test_the_addresses_of_a_proxy_too(look_ups, hole):
    """A proxy's next address is tried after the short wait as well."""
    look_ups.append(hole)
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
