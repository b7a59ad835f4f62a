"""A redirect is followed within the same site and taken back when its target dies."""

import pytest

from tests.loopback import NOW, impatient
from tests.network.clients import SYMBOL, assert_right
from tests.scale import AT_ONCE_S, at_most
from tvDatafeed import TvDatafeed, WebSocketError
from tvDatafeed.testing import FakeTradingView, Redirect


def test_redirect_is_followed_once_for_all(server):
    """The hello of one host leads to another, where the request is repeated and stays."""
    with FakeTradingView(clock=lambda: NOW) as first:
        first.inject(Redirect(f"127.0.0.1:{server.port}"))
        with TvDatafeed(config=impatient(first)) as tv:
            assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))
            assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))
    assert first.connections_opened == 1
    assert server.connections_opened == 1


def test_redirect_in_circles_ends(server):
    """Two servers that send the client to each other are an error after twenty redirects."""
    with FakeTradingView(clock=lambda: NOW) as other:
        other.inject(Redirect(f"127.0.0.1:{server.port}"))
        server.inject(Redirect(f"127.0.0.1:{other.port}"))
        config = impatient(server, burst_size=100, max_retries=0)
        with TvDatafeed(config=config) as tv, at_most(10), pytest.raises(WebSocketError):
            tv.get_hist(SYMBOL)
        assert server.connections_opened + other.connections_opened == 21


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.2",
        "9.9.0.1",
        "127.0.0.1:99999",
        "127.0.0.1:",
        "a..b",
        "",
        "a b",
        "h/x@127.0.0.1",
    ],
)
def test_redirect_to_another_site_is_not_followed(server, host):
    """A redirect to another site is an error, and the token is not sent there."""
    server.inject(Redirect(host))
    with TvDatafeed(config=impatient(server, max_retries=0)) as tv, at_most(AT_ONCE_S):
        with pytest.raises(WebSocketError):
            tv.get_hist(SYMBOL)
    assert server.connections_opened == 1


def test_redirect_whose_target_dies_is_taken_back(server):
    """When the other host is gone, the one of the settings is requested again."""
    with FakeTradingView(clock=lambda: NOW) as first:
        first.inject(Redirect(f"127.0.0.1:{server.port}", times=1))
        with TvDatafeed(config=impatient(first)) as tv, at_most(AT_ONCE_S):
            assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))
            server.stop()
            assert_right(first, tv.get_hist(SYMBOL, timezone="UTC"))
