"""The user and password of a proxy are in no error and no log, however the URL is written."""

import logging
import pickle
import traceback

import pytest

from tests.scale import AT_ONCE_S, at_most
from tvDatafeed import ConfigurationError, NetworkError, TvDatafeed, TvDatafeedConfig
from tvDatafeed.config import NetworkConfig

# Each has the password "canary2", or one with it, and no proxy listens.
UNREADABLE = [
    "ann:canary2@127.0.0.1:1",
    "ann:canary2@proxy",
    "https://ann:canary2@127.0.0.1:1",
    "socks5://ann:canary2@127.0.0.1:1",
    "http://ann:canary2@127.0.0.1:port",
    "http://ann:canary2@127.0.0.1:99999",
    "http://ann:canary2@",
    "http://ann:canary2@[::1",
    "http://ann:x/canary2@127.0.0.1:1",
    "http://ann:x?canary2@127.0.0.1:1",
    "http://ann:x#canary2@127.0.0.1:1",
    "http://ann:8080/canary2@127.0.0.1:1",
    "http://ann:canary2 @127.0.0.1:1",
    "http://ann:x\ncanary2@127.0.0.1:1",
    "http:/ann:canary2@127.0.0.1:1",
    "//ann:canary2@127.0.0.1:1",
]
READABLE = [
    "http://ann:canary2@127.0.0.1:1",
    "http://canary2:x@127.0.0.1:1/",
    "http://ann:x@canary2@127.0.0.1:1",
    "http://ann:%2Fcanary2%0D%0A@127.0.0.1:1",
    "http://ann:canary2@proxy.invalid:1",
]


def assert_hidden(error):
    """Look for the password in an error, in what it was raised from and in its pickle."""
    assert "canary2" not in "".join(traceback.format_exception_only(type(error), error))
    assert b"canary2" not in pickle.dumps(error)
    link = error
    while link is not None:
        assert "canary2" not in repr(link) + repr(vars(link))
        link = link.__cause__ or link.__context__


@pytest.mark.parametrize("proxy", UNREADABLE)
@pytest.mark.parametrize("by", ["parameter", "environment"])
def test_a_proxy_that_cannot_be_read(monkeypatch, proxy, by):
    """The error names the setting and the host, and not who the user is."""
    monkeypatch.setenv("TV_PROXY", proxy)
    make = TvDatafeedConfig.from_env if by == "environment" else NetworkConfig
    with pytest.raises(ConfigurationError, match=r"(?i)proxy='.*\*\*\*@") as caught:
        make(**({"proxy": proxy} if by == "parameter" else {}))
    assert_hidden(caught.value)


def test_the_characters_that_end_a_host_are_named():
    """A password with a slash leads to the way in which it can be written."""
    with pytest.raises(ConfigurationError, match="%2F"):
        NetworkConfig(proxy="http://ann:8080/canary2@127.0.0.1:1")
    assert NetworkConfig(proxy="http://ann:8080%2Fcanary2@127.0.0.1:1").proxy
    assert NetworkConfig(proxy="http://127.0.0.1:1/").proxy


@pytest.mark.parametrize("proxy", READABLE)
def test_a_proxy_that_cannot_be_reached(caplog, proxy):
    """Neither what is raised nor what is logged has the user or the password."""
    caplog.set_level(logging.DEBUG)
    network = NetworkConfig(
        ws_url="ws://tradingview.invalid/",
        search_url="http://tradingview.invalid/",
        allow_insecure=True,
        proxy=proxy,
        max_retries=1,
        base_retry_delay=0.02,
    )
    with TvDatafeed(config=TvDatafeedConfig(network=network)) as tv, at_most(AT_ONCE_S):
        for call in (
            lambda: tv.get_hist("NASDAQ:AAPL"),
            lambda: tv.search_symbol("AAPL", raise_on_error=True),
        ):
            with pytest.raises(NetworkError, match="TV_PROXY") as caught:
                call()
            assert_hidden(caught.value)
        assert "canary2" not in repr(tv) + repr(network) + str(tv.stats())
    assert "canary2" not in caplog.text


@pytest.mark.parametrize("name", ["ws_url", "base_url", "search_url"])
@pytest.mark.parametrize("rest", ["ann:canary2@h", "ann:x/canary2@h", "ann:x#canary2@h"])
def test_other_urls_hide_theirs_too(name, rest):
    """A URL with a user in it is refused without showing it, with or without its scheme."""
    scheme = "wss" if name == "ws_url" else "https"
    for url in (rest, f"{scheme}://{rest}"):
        with pytest.raises(ConfigurationError, match=r"\*\*\*@h") as caught:
            NetworkConfig(**{name: url})
        assert_hidden(caught.value)
