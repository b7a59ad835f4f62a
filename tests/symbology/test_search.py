"""Symbol search against the loopback TradingView."""

import datetime as dt
import json
import logging
import time

import pytest

from tests.loopback import impatient
from tests.scale import scaled
from tvDatafeed import (
    DataError,
    DataValidationError,
    NetworkError,
    RateLimitError,
    SymbolNotFoundError,
    TvDatafeed,
    TvDatafeedConfig,
)
from tvDatafeed.config import NetworkConfig
from tvDatafeed.testing import (
    FakeTradingView,
    Fault,
    HttpHtml,
    HttpReset,
    HttpStall,
    HttpStatus,
    Listing,
    Market,
)
from tvDatafeed.testing.wire.actions import SendSlowly
from tvDatafeed.testing.wire.http11 import Reply

SEARCH = "/symbol_search/v3/"


def test_symbols_are_found_without_marks(tv):
    """A list of dicts with the promised keys, and no <em> anywhere in them."""
    found = tv.search_symbol("aapl")
    assert found[0]["symbol"] == "AAPL"
    assert found[0]["exchange"] == "NASDAQ"
    assert all({"symbol", "description", "exchange", "type"} <= item.keys() for item in found)
    assert "<em>" not in str(found)


def test_exchange_narrows_the_search(server, tv):
    """Only symbols of the exchange come, and it is requested in upper case."""
    assert tv.search_symbol("a", "nyse") != []
    assert {item["exchange"] for item in tv.search_symbol("a", "nyse")} == {"NYSE"}
    request = server.http_requests[-1]
    assert request.query["exchange"] == "NYSE"
    assert request.headers["origin"] == "https://www.tradingview.com"


def test_what_is_not_found_is_an_empty_list(tv):
    """Nothing found is not an error, also for those who want errors."""
    assert tv.search_symbol("no such thing", raise_on_error=True) == []


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        *(({"text": text}, "search_text") for text in ("", "  ", None, 5, "half \ud83d")),
        ({"text": "a", "exchange": "no exchange"}, "exchange"),
        *(({"text": "a", "search_type": x}, "search_type") for x in ("shares", None, ["stock"])),
        ({"text": "a", "limit": 0}, "limit"),
        ({"text": "a", "limit": "all"}, "limit"),
    ],
)
def test_arguments_that_cannot_be_right(server, tv, arguments, field):
    """It is reported before anything is sent."""
    with pytest.raises(DataValidationError) as caught:
        tv.search_symbol(**arguments)
    assert caught.value.field == field
    assert server.accepted == 0


@pytest.mark.parametrize("exchange", ["", "nasdaq"])
def test_a_symbol_as_it_is_written(server, tv, exchange):
    """An exchange before a colon is taken for one, which the search itself does not do."""
    (found,) = tv.search_symbol(" nasdaq:aapl", exchange)
    assert found["full_name"] == "NASDAQ:AAPL"
    query = server.http_requests[-1].query
    assert (query["text"], query["exchange"]) == ("aapl", "NASDAQ")


@pytest.mark.parametrize(
    ("text", "exchange"),
    [
        ("Berkshire: class B", ""),
        ("NASDAQ:AAPL/NASDAQ:MSFT", ""),
        ("_A:B", ""),
        ("NASDAQ:", ""),
        (":AAPL", ""),
        ("NASDAQ:AAPL", "NYSE"),
    ],
)
def test_other_texts_with_a_colon(server, tv, text, exchange):
    """What is not a symbol of the exchange that is searched is looked for as it stands."""
    assert tv.search_symbol(text, exchange, raise_on_error=True) == []
    query = server.http_requests[-1].query
    assert (query["text"], query["exchange"]) == (text, exchange)


@pytest.fixture
def crowded():
    """A TradingView with 137 symbols that are called alike."""
    listings = tuple(
        Listing(f"X:ALIKE{number:03}", f"Alike {number}", 1.0, dt.date(2020, 1, 1))
        for number in range(137)
    )
    with FakeTradingView(market=Market(listings)) as server:
        yield server


@pytest.mark.parametrize(("limit", "pages"), [(1, 1), (50, 1), (51, 2), (137, 3), (1000, 3)])
def test_more_than_a_page(crowded, limit, pages):
    """Pages are requested until there are enough, each result once and in order."""
    with TvDatafeed(config=crowded.config()) as tv:
        found = tv.search_symbol("alike", limit=limit)
    assert [item["symbol"] for item in found] == [f"ALIKE{n:03}" for n in range(min(limit, 137))]
    assert [r.query["start"] for r in crowded.http_requests] == ["0", "50", "100"][:pages]


def test_a_page_that_fails_does_not_lose_the_others(crowded, caplog):
    """What came before is given, with a WARNING; those who want errors get the error."""
    with TvDatafeed(config=crowded.config()) as tv:

        class SecondPage(HttpStatus):
            def on_http(self, request, reply):
                return super().on_http(request, reply) if request.query["start"] == "50" else None

        crowded.inject(SecondPage(500, path=SEARCH))
        caplog.clear()
        assert len(tv.search_symbol("alike", limit=137)) == 50
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert len(tv.search_symbol("alike", limit=137, as_frame=True)) == 50
        with pytest.raises(NetworkError):
            tv.search_symbol("alike", limit=137, raise_on_error=True)


@pytest.mark.slow
def test_one_deadline_covers_all_pages(crowded):
    """Pages that come in time each, but not together, end at the limit of the whole search."""

    class Slow(Fault):
        def on_http(self, _request, reply):
            return [SendSlowly(reply.encode(), len(reply.encode()) / 0.6)]  # a page in 0.6 s

    crowded.inject(Slow())
    with TvDatafeed(config=crowded.config(max_response_time=1.0)) as tv:
        started = time.monotonic()
        assert len(tv.search_symbol("alike", limit=137)) == 50
        assert time.monotonic() - started < scaled(4.0)


class Canned(Fault):
    """The search answers this instead."""

    def __init__(self, answer):
        super().__init__()
        object.__setattr__(self, "answer", answer)

    def on_http(self, request, _reply):
        return [Reply(200, json.dumps(self.answer).encode()).encode()]


ES = {
    "symbol": "<em>ES</em>",
    "description": "E-mini S&P 500",
    "type": "futures",
    "exchange": "CME",
    "prefix": "CME_MINI",
    "currency_code": "USD",
    "contracts": [
        {"symbol": "<em>ES</em>1!", "description": "", "typespecs": ["continuous"]},
        {"symbol": "ESZ2026", "description": "Dec 2026", "typespecs": []},
        {"description": "nameless"},
        "ESH2027",
    ],
}


def test_contracts_follow_their_root(server, tv):
    """Each contract is a result of its own that get_hist takes; the root keeps its list."""
    server.inject(Canned({"symbols_remaining": 0, "symbols": [ES]}))
    root, front, december = tv.search_symbol("es", search_type="futures")
    assert (root["symbol"], len(root["contracts"])) == ("ES", 4)
    assert (front["symbol"], front["full_name"]) == ("ES1!", "CME_MINI:ES1!")
    assert front["description"] == "E-mini S&P 500"
    assert december == {
        "symbol": "ESZ2026",
        "description": "E-mini S&P 500: Dec 2026",
        "exchange": "CME",
        "type": "futures",
        "prefix": "CME_MINI",
        "currency_code": "USD",
        "typespecs": [],
        "root": "ES",
        "full_name": "CME_MINI:ESZ2026",
    }
    assert [x["symbol"] for x in tv.search_symbol("es", limit=2)] == ["ES", "ES1!"]


@pytest.mark.parametrize(
    ("item", "name"),
    [
        ({"symbol": "AAPL", "exchange": "NASDAQ"}, "NASDAQ:AAPL"),
        ({"symbol": "BTC", "exchange": "Kraken Pro"}, "KRAKEN:BTC"),
        ({"symbol": "ES1!", "exchange": "CME", "prefix": "CME_MINI"}, "CME_MINI:ES1!"),
        ({"symbol": "X", "exchange": None, "description": None}, "X"),
        ({"symbol": 5930, "exchange": "KRX", "description": 7}, "KRX:5930"),
        ({"symbol": "NASDAQ:AAPL", "exchange": "NASDAQ", "type": []}, "NASDAQ:AAPL"),
        ({}, ""),
    ],
)
def test_the_name_to_ask_for(server, tv, item, name):
    """It is made of the prefix, or of the first word of the exchange, and texts are texts."""
    server.inject(Canned([item, 5]))
    (found,) = tv.search_symbol("x")
    assert found["full_name"] == name
    assert all(isinstance(found[k], str) for k in ("symbol", "description", "exchange", "type"))


def test_contracts_are_described_like_their_root(server, tv):
    """A contract has all that its root has, except for what it says itself; null says nothing."""
    bare = {"symbol": "ES1!", "exchange": None, "type": None, "description": 5}
    root = ES | {"typespecs": ["root"], "country": "US", "logoid": "sp", "contracts": [bare]}
    server.inject(Canned([root]))
    found, contract = tv.search_symbol("es")
    assert contract.keys() == found.keys() - {"contracts"} | {"root"}
    assert contract["typespecs"] == []
    assert (contract["exchange"], contract["type"]) == ("CME", "futures")
    assert contract["description"] == "E-mini S&P 500: 5"


def test_the_next_page_begins_behind_all_that_came(server, tv):
    """An invalid item counts for the start of the next page; a page of such items is the last."""
    server.inject(Canned({"symbols_remaining": 9, "symbols": [5, {"symbol": "X"}]}))
    assert len(tv.search_symbol("x", limit=2)) == 2
    assert [r.query["start"] for r in server.http_requests] == ["0", "2"]
    server.clear_faults()
    server.inject(Canned({"symbols_remaining": 9, "symbols": [5, None]}))
    assert tv.search_symbol("x", raise_on_error=True) == []
    assert len(server.http_requests) == 3


@pytest.mark.parametrize("levels", [100, 900])
def test_an_answer_that_nests_without_end(server, tv, levels):
    """It is an error of the answer like another."""
    body = b'[{"symbol":"X","k":' + b"[" * levels + b"]" * levels + b"}]"
    server.inject(HttpStatus(200, body, path=SEARCH))
    assert tv.search_symbol("x") == []
    with pytest.raises(DataError):
        tv.search_symbol("x", raise_on_error=True)


@pytest.mark.slow
def test_a_server_that_never_ends_is_not_followed(server, tv):
    """Pages are bounded, whatever the server says of those that remain."""
    server.inject(Canned({"symbols_remaining": 10**9, "symbols": [{"symbol": "X"}]}))
    config = server.config(requests_per_minute=100_000, burst_size=1000)
    with TvDatafeed(config=config) as patient:
        assert len(patient.search_symbol("x", limit=10**6)) == 100
    server.clear_faults()
    server.inject(Canned({"symbols_remaining": 7, "symbols": []}))
    assert tv.search_symbol("x") == []


def test_results_as_a_frame(server, tv):
    """A row a result, the usual columns first, no lists."""
    frame = tv.search_symbol("a", as_frame=True)
    assert list(frame.columns)[:5] == ["symbol", "description", "exchange", "type", "full_name"]
    assert "typespecs" not in frame
    assert frame["full_name"].tolist() == [x["full_name"] for x in tv.search_symbol("a")]
    assert {str(kind) for kind in frame.dtypes} == {"object"}
    server.inject(Canned([{"symbol": "X", "rank": 1}, {"symbol": "Y", "rank": [2]}]))
    assert tv.search_symbol("x", as_frame=True)["rank"].tolist() == [1, None]
    server.clear_faults()
    empty = tv.search_symbol("no such thing", as_frame=True)
    assert list(empty.columns) == ["symbol", "description", "exchange", "type", "full_name"]
    assert len(empty) == 0


def test_results_as_text(server, tv):
    """A line a result in the old form, and how to use them."""
    text = TvDatafeed.format_search_results(
        [{"symbol": "AAPL", "exchange": "NASDAQ", "description": None}, *[{"symbol": "B"}] * 11]
    )
    lines = text.splitlines()
    assert lines[0] == "Found 12 results (showing first 10):"
    assert lines[2] == f" 1. {'NASDAQ:AAPL':30s} | {'N/A':40s} | Type: N/A"
    assert lines[11] == f"10. {'N/A:B':30s} | {'N/A':40s} | Type: N/A"
    assert lines[-2].startswith('Usage: tv.get_hist("EXCHANGE:SYMBOL"')
    assert lines[-1].startswith('Example: tv.get_hist("NASDAQ:AAPL"')
    for nothing in ([], None, tv.search_symbol("no such thing", as_frame=True)):
        assert TvDatafeed.format_search_results(nothing) == "No results found."
    odd = TvDatafeed.format_search_results([{"description": float("nan"), "type": 5}])
    assert f" 1. {'N/A:N/A':30s} | {'N/A':40s} | Type: 5" in odd
    server.inject(Canned([ES]))
    found = tv.search_symbol("es")
    assert 'tv.get_hist("CME_MINI:ES1!"' in TvDatafeed.format_search_results(found, 1)
    frame = tv.search_symbol("es", as_frame=True)
    assert 'tv.get_hist("CME_MINI:ES1!"' in TvDatafeed.format_search_results(frame)
    assert TvDatafeed.format_search_results(frame).count("CME_MINI:") == 4
    assert "showing first 0" in TvDatafeed.format_search_results(found, -5)


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
@pytest.mark.slow
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


@pytest.mark.parametrize(
    ("symbol", "suggestions"),
    [
        ("NASDAQ:APPL", ["NASDAQ:AAPL"]),  # misspelt
        ("NYSE:MSFT", ["NASDAQ:MSFT"]),  # on another exchange
        ("AAPL", ["NASDAQ:AAPL"]),  # on the one that is the default
        ("BITSTAMP:BTCUSDD", ["BITSTAMP:BTCUSD", "BINANCE:BTCUSDT"]),  # most like it first
        ("NASDAQ:ZZZZ", []),
    ],
)
def test_a_symbol_that_does_not_exist_has_neighbours(tv, symbol, suggestions):
    """The error names what may have been meant, whichever call it is."""
    calls = [
        lambda: tv.get_hist(symbol),
        lambda: tv.get_hist_multi([symbol]),
        lambda: tv.get_symbol_info(symbol),
    ]
    for call in calls:
        with pytest.raises(SymbolNotFoundError) as caught:
            call()
        assert list(caught.value.suggestions) == suggestions
        shown = f"Did you mean {' or '.join(suggestions)}?" if suggestions else "Look its name"
        assert shown in str(caught.value)


def test_many_symbols_are_not_searched_for_each(server, tv):
    """An invalid symbol among many raises at once."""
    frames = tv.get_hist_multi(["APPL", "AAPL"], "NASDAQ", on_error="collect")
    assert frames.errors["APPL"].suggestions == ()
    assert not server.http_requests


def test_a_search_that_fails_takes_no_error_away(server, tv):
    """The symbol does not exist, whatever else."""
    server.inject(HttpStatus(503, path=SEARCH, times=None))
    with pytest.raises(SymbolNotFoundError) as caught:
        tv.get_hist("NASDAQ:APPL")
    assert caught.value.suggestions == ()


def test_a_search_that_stalls_is_not_waited_for(server, tv, monkeypatch):
    """The error comes after three seconds at most, which are shorter here."""
    monkeypatch.setattr("tvDatafeed.symbology.search._SUGGESTIONS_S", 0.2)
    server.inject(HttpStall(path=SEARCH))
    started = time.monotonic()
    with pytest.raises(SymbolNotFoundError):
        tv.get_hist("NASDAQ:APPL")
    assert time.monotonic() - started < scaled(4.0)


def test_tradingview_is_not_asked_about_a_symbol_of_another_server(server):
    """Who tests against this machine is alone on it."""
    config = server.config(search_url=NetworkConfig().search_url)
    with TvDatafeed(config=config) as tv, pytest.raises(SymbolNotFoundError) as caught:
        tv.get_hist("NASDAQ:APPL")
    assert caught.value.suggestions == ()
