"""Without a network each way in says so within one attempt, and names the lookup in the end."""

import dataclasses
import logging
import socket
import threading

import pytest

from tests.network.clients import SYMBOL
from tests.network.test_field_no_network import LOOK_UP, config, first_cause
from tests.scale import AT_ONCE_S, PATIENCE_S, at_most
from tvDatafeed import Interval, TvDatafeed, TvDatafeedLive
from tvDatafeed.cli.app import main
from tvDatafeed.config import AuthConfig
from tvDatafeed.exceptions import NetworkError, RateLimitError

HTTP = "http://tradingview.invalid/"


class Network:
    """A resolver that answers nothing; the lookups after the first wait until they may continue."""

    def __init__(self):
        self.count = 0
        self.may_go_on = threading.Event()

    def look_up(self, *_args, **_options):
        self.count += 1
        if self.count > 1:
            self.may_go_on.wait(PATIENCE_S)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


class Warned(logging.Handler):
    """Sets an event at the first WARNING of the network."""

    def __init__(self, network):
        super().__init__(logging.WARNING)
        self.network = network
        self.lookups = []
        self.texts = []
        self.came = threading.Event()

    def emit(self, record):
        if "requested again" in record.getMessage():
            self.lookups.append(self.network.count)
            self.texts.append(record.getMessage())
            self.came.set()


@pytest.fixture
def network(monkeypatch):
    """Make all lookups but the first wait until the first WARNING was logged."""
    offline = Network()
    monkeypatch.setattr(socket, "getaddrinfo", offline.look_up)
    yield offline
    offline.may_go_on.set()


@pytest.fixture
def warned(network):
    """Watch the log."""
    handler = Warned(network)
    logger = logging.getLogger("tvDatafeed")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def in_thread(call):
    """Call something in a thread; return the thread, and the list of what it raised."""
    raised = []

    def work():
        try:
            call()
        except Exception as error:  # noqa: BLE001 - what comes is what is tested
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    return thread, raised


REQUESTS = {
    "get_hist": lambda tv: tv.get_hist(SYMBOL),
    "get_hist_multi": lambda tv: tv.get_hist_multi([SYMBOL, "NASDAQ:MSFT"]),
    "get_quotes": lambda tv: tv.get_quotes(SYMBOL),
    "get_symbol_info": lambda tv: tv.get_symbol_info(SYMBOL),
    "new_seis": lambda tv: tv.new_seis("AAPL", "NASDAQ", Interval.in_1_minute, timeout=1.0),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_warning_within_one_attempt(name, network, warned):
    """The WARNING is there before a second lookup has ended, once; the error names the lookup."""
    kind = TvDatafeedLive if name == "new_seis" else TvDatafeed
    with kind(config=config(max_retries=2)) as tv, at_most(10):
        thread, raised = in_thread(lambda: REQUESTS[name](tv))
        assert warned.came.wait(PATIENCE_S)
        assert network.count <= 2
        network.may_go_on.set()
        thread.join(PATIENCE_S)
    assert LOOK_UP in warned.texts[0]
    assert len(warned.texts) == 1
    (error,) = raised
    assert isinstance(first_cause(error), socket.gaierror)
    assert not isinstance(error, RateLimitError)
    assert "rate limit" not in str(error).lower()


@pytest.mark.parametrize("calls", [1, 4])
def test_no_token_of_the_limiter_is_left(network, calls):
    """Where the tries have used up what may be sent, the lookup stays the reason."""
    network.may_go_on.set()
    limits = {"requests_per_minute": 1, "burst_size": 2, "max_response_time": 0.5}
    settings = config(max_retries=9, **limits)
    with TvDatafeed(config=settings) as tv, at_most(AT_ONCE_S * 2):
        for _ in range(calls):
            with pytest.raises(NetworkError, match=LOOK_UP) as caught:
                tv.get_hist(SYMBOL)
            assert isinstance(first_cause(caught.value), socket.gaierror)
            assert not isinstance(caught.value, RateLimitError)


@pytest.mark.parametrize("calls", [1, 4])
def test_search_without_a_network(network, calls):
    """A search is one attempt: it fails at once, however often it is made."""
    network.may_go_on.set()
    limits = {"requests_per_minute": 1, "burst_size": 2, "max_response_time": 0.5}
    settings = config(search_url=HTTP, **limits)
    with TvDatafeed(config=settings) as tv, at_most(AT_ONCE_S):
        for _ in range(calls):
            with pytest.raises(NetworkError, match=LOOK_UP) as caught:
                tv.search_symbol("AAPL", raise_on_error=True)
            assert isinstance(first_cause(caught.value), socket.gaierror)


def test_search_after_requests_without_a_network(network):
    """Handshakes that were never made leave the search its share of what may be sent."""
    network.may_go_on.set()
    limits = {"requests_per_minute": 1, "burst_size": 2, "max_response_time": 0.5}
    settings = config(search_url=HTTP, max_retries=3, **limits)
    with TvDatafeed(config=settings) as tv, at_most(AT_ONCE_S):
        with pytest.raises(NetworkError, match=LOOK_UP):
            tv.get_hist(SYMBOL)
        with pytest.raises(NetworkError, match=LOOK_UP):
            tv.search_symbol("AAPL", raise_on_error=True)


def test_search_that_is_refused():
    """A server that refuses connections is the reason too, however often it does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    settings = config(search_url=url, requests_per_minute=1, burst_size=2, max_response_time=0.5)
    with TvDatafeed(config=settings) as tv, at_most(AT_ONCE_S):
        for _ in range(4):
            with pytest.raises(NetworkError, match="refused"):
                tv.search_symbol("AAPL", raise_on_error=True)


def test_search_that_does_not_raise_warns(network, caplog):
    """Without raise_on_error the WARNING has the reason."""
    with TvDatafeed(config=config(search_url=HTTP)) as tv, at_most(AT_ONCE_S):
        assert tv.search_symbol("AAPL") == []
    (text,) = [r.getMessage() for r in caplog.records if "search failed" in r.getMessage()]
    assert LOOK_UP in text


@pytest.mark.parametrize(
    "credentials",
    [
        pytest.param({"username": "ann", "password": "hunter2"}, id="password"),
        pytest.param({"sessionid": "a", "sessionid_sign": "b"}, id="cookies"),
    ],
)
@pytest.mark.usefixtures("network")
def test_sign_in_without_a_network(credentials):
    """A sign-in is one attempt as well: it raises at once, and names the lookup."""
    auth = AuthConfig(token_cache=False, **credentials)
    settings = dataclasses.replace(config(base_url=HTTP), auth=auth)

    def ask():
        with TvDatafeed(config=settings) as tv:
            tv.get_hist(SYMBOL)

    with at_most(AT_ONCE_S), pytest.raises(NetworkError, match=LOOK_UP) as caught:
        ask()
    assert isinstance(first_cause(caught.value), socket.gaierror)


def test_command_line_shows_it(network, monkeypatch, capsys):
    """stderr has one line when it is tried again, and the error at the end."""
    network.may_go_on.set()
    variables = {
        "TV_WS_URL": "ws://tradingview.invalid/",
        "TV_ALLOW_INSECURE": "true",
        "TV_BASE_RETRY_DELAY": "0.01",
        "TV_MAX_RETRY_DELAY": "0.02",
        "TV_TOKEN_CACHE": "off",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert main(["hist", SYMBOL]) == 1
    again, failed = capsys.readouterr().err.splitlines()
    assert "is requested again" in again
    assert LOOK_UP in again
    assert LOOK_UP in failed
