"""Symbol search against the loopback TradingView."""

import logging

import pytest

from tests.loopback import impatient
from tvDatafeed import (
    DataError,
    DataValidationError,
    NetworkError,
    RateLimitError,
    TvDatafeed,
    TvDatafeedConfig,
)
from tvDatafeed.config import NetworkConfig
from tvDatafeed.testing import HttpHtml, HttpReset, HttpStall, HttpStatus

SEARCH = "/symbol_search/v3/"


def test_symbols_are_found_without_marks(tv):
    """A list of dicts with the promised keys, and no <em> anywhere in them."""
    found = tv.search_symbol("aapl")
    assert found[0]["symbol"] == "AAPL"
    assert found[0]["exchange"] == "NASDAQ"
    assert all({"symbol", "description", "exchange", "type"} <= item.keys() for item in found)
    assert "<em>" not in str(found)


def test_exchange_narrows_the_search(server, tv):
    """Only symbols of the exchange come, and it is asked for in upper case."""
    assert tv.search_symbol("a", "nyse") != []
    assert {item["exchange"] for item in tv.search_symbol("a", "nyse")} == {"NYSE"}
    request = server.http_requests[-1]
    assert request.query["exchange"] == "NYSE"
    assert request.headers["origin"] == "https://www.tradingview.com"


def test_what_is_not_found_is_an_empty_list(tv):
    """Nothing found is no error, also for those who want errors."""
    assert tv.search_symbol("no such thing", raise_on_error=True) == []


@pytest.mark.parametrize("text", ["", "  ", None, 5])
def test_blank_text_is_a_mistake(server, tv, text):
    """It is told before anything is sent."""
    with pytest.raises(DataValidationError) as caught:
        tv.search_symbol(text)
    assert caught.value.field == "search_text"
    with pytest.raises(DataValidationError):
        tv.search_symbol("a", "no exchange")
    assert server.accepted == 0


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (HttpStatus(500, path=SEARCH), NetworkError),
        (HttpStatus(403, path=SEARCH), NetworkError),
        (HttpStatus(429, retry_after=7, path=SEARCH), RateLimitError),
        (HttpReset(path=SEARCH), NetworkError),
        (HttpStall(path=SEARCH), NetworkError),
        (HttpHtml(path=SEARCH), DataError),
        (HttpStatus(200, b'{"symbols":5}', path=SEARCH), DataError),
        (HttpStatus(200, b"[1", path=SEARCH), DataError),
    ],
    ids=repr,
)
def test_search_that_fails(server, caplog, fault, error):
    """An empty list and a WARNING as ever, or the error for those who want it."""
    server.inject(fault)
    with TvDatafeed(config=impatient(server, max_response_time=0.5)) as tv:
        caplog.clear()
        with caplog.at_level(logging.WARNING, "tvDatafeed"):
            assert tv.search_symbol("aapl") == []
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        with pytest.raises(error):
            tv.search_symbol("aapl", raise_on_error=True)


def test_search_that_cannot_be_reached():
    """An outage is an error of the network, never "not listed"."""
    network = NetworkConfig(search_url="http://127.0.0.1:1/v3/?hl=1")
    tv = TvDatafeed(config=TvDatafeedConfig(network=network))
    with pytest.raises(NetworkError):
        tv.search_symbol("aapl", raise_on_error=True)
