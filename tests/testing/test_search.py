"""The loopback TradingView's symbol search, asked over plain HTTP as other clients ask it."""

import dataclasses
import json
from urllib.parse import urlencode

import pytest

from tests.testing.client import ORIGIN, get
from tvDatafeed.testing import FakeTradingView, Market
from tvDatafeed.testing.market.market import LISTINGS

# Whatever else is listed, these are what the tests below are about.
STOCKS = "NASDAQ:AAPL", "NASDAQ:MSFT", "NYSE:IBM", "NYSE:BRK.B", "KRX:005930"
OTHERS = "BINANCE:BTCUSDT", "BITSTAMP:BTCUSD", "SP:SPX", "NSE:NIFTY", "NSE:NIFTY1!"


@pytest.fixture
def server():
    """A loopback TradingView with several contracts of a future, and 120 copies of a stock."""
    listed = {each.symbol: each for each in LISTINGS if each.symbol in {*STOCKS, *OTHERS}}
    future, stock = listed["NSE:NIFTY1!"], listed["NASDAQ:MSFT"]
    listings = (
        *listed.values(),
        dataclasses.replace(future, symbol="NSE:NIFTY2!"),
        dataclasses.replace(future, symbol="NSE:NIFTYZ2026", description="Dec 2026"),
        dataclasses.replace(future, symbol="CME_MINI:ES1!", description="E-mini S&P 500 Futures"),
        *(
            dataclasses.replace(stock, symbol=f"COPY:C{number:03}", description=f"No. {number}")
            for number in range(120)
        ),
    )
    with FakeTradingView(market=Market(listings)) as running:
        yield running


@pytest.fixture
def ask(server):
    """Search, and give the whole answer."""

    def asked(text="", **query):
        status, body = get(
            f"{server.search_url}?{urlencode({'text': text, **query})}", Origin=ORIGIN
        )
        assert status == 200
        return json.loads(body)

    return asked


def symbols(reply):
    """Return the ids of what was found, by the rule of public clients."""
    return [
        f"{item.get('prefix') or item['exchange'].split()[0].upper()}:{item['symbol']}"
        for item in reply["symbols"]
    ]


class TestText:
    @pytest.mark.parametrize("text", ["aapl", "AAPL", "apple", "nasdaq apple", "Inc nasdaq aap"])
    def test_every_word_matches_somewhere(self, ask, text):
        """Each word is found in the exchange, the name or the description, in any case."""
        assert symbols(ask(text)) == ["NASDAQ:AAPL"]

    @pytest.mark.parametrize("text", ["Apple+Inc", "APPLE%20INC", "+nasdaq + apple%20"])
    def test_spaces_of_public_clients(self, ask, text):
        """A space that was written as + or %20 before it was encoded parts words as well."""
        assert symbols(ask(text)) == ["NASDAQ:AAPL"]

    @pytest.mark.parametrize("text", ["nyse apple", "apple pie", "NASDAQ:AAPL", "aapl."])
    def test_no_word_is_left_over(self, ask, text):
        """A word that matches nowhere leaves nothing, an id with its colon among them."""
        assert ask(text) == {"symbols_remaining": 0, "symbols": []}

    def test_any_script(self, ask):
        """Words of any script are found."""
        assert symbols(ask("삼성전자")) == ["KRX:005930"]

    def test_exact_name_comes_first(self, ask):
        """What bears exactly the name asked for comes before what merely contains it."""
        first, *more = symbols(ask("btcusd"))
        assert first == "BITSTAMP:BTCUSD"
        assert "BINANCE:BTCUSDT" in more

    def test_keys_of_an_item(self, ask):
        """An item has the documented keys."""
        (item,) = ask("aapl")["symbols"]
        assert item.keys() >= {"found_by_isin", "currency_code", "provider_id", "source_id"}
        assert (item["description"], item["type"], item["country"]) == ("Apple Inc.", "stock", "US")
        assert item["source2"].keys() == {"id", "name", "description"}
        assert item["typespecs"] == ["common"]


class TestMarks:
    def test_marks_on_demand(self, ask):
        """With hl=1 the matches in symbol and description are marked, and nowhere else."""
        (item,) = ask("aap nasdaq inc apple", hl=1)["symbols"]
        assert item["symbol"] == "<em>AAP</em>L"
        assert item["description"] == "<em>Apple</em> <em>Inc</em>."
        assert item["exchange"] == "NASDAQ"

    @pytest.mark.parametrize("query", [{}, {"hl": 0}, {"hl": ""}])
    def test_clean_otherwise(self, ask, query):
        """Without it nothing is marked."""
        assert "<em>" not in str(ask("aapl", **query))

    def test_nothing_to_mark(self, ask):
        """Without a text there is nothing to mark."""
        assert "<em>" not in str(ask("", hl=1))


class TestFilters:
    def test_exchange(self, ask):
        """Only what is listed on the exchange comes, in any case."""
        assert symbols(ask(exchange="nyse")) == ["NYSE:IBM", "NYSE:BRK.B"]
        assert symbols(ask(exchange="NO SUCH")) == []

    @pytest.mark.parametrize(
        ("kind", "found"),
        [
            ("stock", "NASDAQ:AAPL"),
            ("stocks", "NASDAQ:AAPL"),
            ("index", "SP:SPX"),
            ("crypto", "BITSTAMP:BTCUSD"),
            ("futures", "NSE:NIFTY"),
        ],
    )
    @pytest.mark.parametrize("name", ["search_type", "type"])
    def test_kind(self, ask, name, kind, found):
        """Only what is of the kind comes, whichever way it is spelt."""
        reply = ask(**{name: kind})
        assert found in symbols(reply)
        assert len({item["type"] for item in reply["symbols"]}) == 1

    @pytest.mark.parametrize("kind", ["bond", "economic", "options", "cfd", "funds", "nonsense"])
    def test_kind_that_is_not_listed(self, ask, kind):
        """Of a kind that nothing is of, nothing comes."""
        assert symbols(ask(search_type=kind)) == []

    @pytest.mark.parametrize("kind", ["undefined", ""])
    def test_all_kinds(self, ask, kind):
        """The browser's word for no choice finds everything."""
        assert ask("a", search_type=kind, type=kind) == ask("a")

    def test_forex(self):
        """A pair of currencies is found as forex, and not as crypto."""
        found = {}
        with FakeTradingView() as server:
            for kind in ("forex", "crypto"):
                url = f"{server.search_url}?text=&exchange=FX_IDC&search_type={kind}"
                found[kind] = symbols(json.loads(get(url, Origin=ORIGIN)[1]))
        assert found == {"forex": ["FX_IDC:EURUSD", "FX_IDC:GBPUSD", "FX_IDC:USDJPY"], "crypto": []}
