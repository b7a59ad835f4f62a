"""The plain HTTP side of the loopback TradingView."""

import json
import socket

import pytest

from tests.scale import PATIENCE_S
from tests.testing.client import ORIGIN, get


class TestHttp:
    def test_home_page_of_an_anonymous_visitor(self, server):
        """The home page is a 200 without an auth_token."""
        status, page = get(server.base_url + "/")
        assert status == 200
        assert "auth_token" not in page
        assert server.http_requests[-1].path == "/"

    def test_other_pages(self, server):
        """Everything else is 404."""
        assert get(server.base_url + "/accounts/")[0] == 404

    def test_search_needs_an_origin(self, server):
        """The search without TradingView's origin is 403."""
        assert get(server.search_url + "?text=AAPL")[0] == 403

    @pytest.mark.parametrize("path", ["/symbol_search/v3", "/symbol_search/v3/"])
    def test_search_with_or_without_its_last_slash(self, server, path):
        """The search is found under both of the paths that clients use."""
        status, body = get(f"{server.base_url}{path}?text=aapl", Origin=ORIGIN)
        assert (status, json.loads(body)["symbols"][0]["symbol"]) == (200, "AAPL")

    @pytest.mark.parametrize("path", ["/symbol_search", "/symbol_search/"])
    def test_older_search(self, server, path):
        """The older search gives a list of the same items, to TradingView's origin alone."""
        url = f"{server.base_url}{path}?text=aapl&hl=1&exchange=&lang=en&type=&domain=production"
        (found,) = json.loads(get(url, Origin=ORIGIN)[1])
        assert (found["symbol"], found["exchange"]) == ("<em>AAPL</em>", "NASDAQ")
        assert get(url)[0] == 403

    @pytest.mark.parametrize(
        ("name", "status"),
        [
            ("NASDAQ:AAPL", 200),
            ("NASDAQ%3AAAPL", 200),
            ("NASDAQ-AAPL/", 200),
            ("NSE:NIFTY1!", 200),
            ("NASDAQ:NOSUCH", 404),
            ("", 404),
        ],
    )
    def test_page_of_a_symbol(self, server, name, status):
        """A symbol has a page and other names have not; clients check that before a request."""
        assert get(f"{server.base_url}/symbols/{name}")[0] == status

    def test_garbage_instead_of_http(self, server):
        """An invalid request gets 400."""
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as sock:
            sock.sendall(b"HELLO\r\n\r\n")
            assert sock.recv(1000).startswith(b"HTTP/1.1 400 ")
