"""Without a network the error says so, at once and after many tries."""

import socket
import threading

import pytest

from tests.network.clients import SYMBOL, warnings_of
from tests.scale import AT_ONCE_S, at_most
from tvDatafeed import TvDatafeed, TvDatafeedConfig, WebSocketError
from tvDatafeed.config import NetworkConfig

LOOK_UP = "the name tradingview.invalid cannot be looked up"


@pytest.fixture
def no_network(monkeypatch):
    """Make name lookups fail as they do without a network; return how many there were."""
    asked = []

    def fail(*_args, **_options):
        asked.append(threading.get_ident())
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    return asked


def config(url="ws://tradingview.invalid/", **limits):
    """Return settings whose tries follow each other at once."""
    quick = {"base_retry_delay": 0.01, "max_retry_delay": 0.02, "burst_size": 100, **limits}
    quick["allow_insecure"] = True
    return TvDatafeedConfig(network=NetworkConfig(ws_url=url, **quick))


def first_cause(error):
    """Follow the causes of an error to the first one."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


@pytest.mark.usefixtures("no_network")
def test_each_call_says_what_failed():
    """Also where no connection is tried any more, the first cause is the name lookup."""
    with TvDatafeed(config=config(max_retries=2)) as tv, at_most(AT_ONCE_S):
        for _ in range(4):
            with pytest.raises(WebSocketError, match=LOOK_UP) as caught:
                tv.get_hist(SYMBOL)
            assert "rate limit" not in str(caught.value).lower()
            assert isinstance(first_cause(caught.value), socket.gaierror)
    assert "no connection is tried for another" in str(caught.value)
    assert str(caught.value).count("URL") == 1
    assert LOOK_UP in str(caught.value.__cause__)


def test_one_warning_while_it_is_tried_again(no_network, caplog):
    """The first failure is a WARNING when it happens, and the rest of them are not."""
    with TvDatafeed(config=config(max_retries=3)) as tv, at_most(AT_ONCE_S):
        with pytest.raises(WebSocketError):
            tv.get_hist(SYMBOL)
    assert len(no_network) == 4
    (record,) = warnings_of(caplog)
    assert LOOK_UP in record.getMessage()


@pytest.mark.usefixtures("no_network")
def test_symbols_of_one_call_say_it_too():
    """Each of many symbols has the lookup as its first cause."""
    with TvDatafeed(config=config(max_retries=8)) as tv, at_most(AT_ONCE_S):
        frames = tv.get_hist_multi([SYMBOL, "NASDAQ:MSFT"], on_error="collect")
    for error in frames.errors.values():
        assert LOOK_UP in str(error)
        assert "rate limit" not in str(error).lower()
        assert isinstance(first_cause(error), socket.gaierror)


def test_server_that_refuses_is_named_by_the_breaker():
    """Another fault than a lookup is the first cause as well."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"ws://127.0.0.1:{listener.getsockname()[1]}/"
    settings = config(url, max_retries=9, failure_threshold=2)
    with TvDatafeed(config=settings) as tv, at_most(AT_ONCE_S):
        with pytest.raises(WebSocketError, match="no connection is tried for another") as caught:
            tv.get_hist(SYMBOL)
    assert "refused" in str(caught.value)
    assert isinstance(first_cause(caught.value), OSError)
    assert "rate limit" not in str(caught.value).lower()
