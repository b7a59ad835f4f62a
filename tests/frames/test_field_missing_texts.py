"""A text that TradingView does not give is None, whichever pandas is installed."""

import json
import math

import pytest

from tests.symbology.test_search import Canned
from tvDatafeed.testing.faults import Fault

APPLE, INDEX = "NASDAQ:AAPL", "SP:SPX"
TEXTS = ["market_state", "description", "currency", "update_mode"]
FIELDS = {"current_session", "description", "currency_code", "update_mode", "type", "lp"}


class Without(Fault):
    """The quotes of some symbols lack fields."""

    def __init__(self, fields, symbols):
        super().__init__()
        object.__setattr__(self, "fields", fields)
        object.__setattr__(self, "symbols", symbols)

    def on_reply(self, _command, payloads):
        return [self._without(payload) for payload in payloads]

    def _without(self, payload):
        message = json.loads(payload)
        if message["m"] == "qsd" and message["p"][1]["n"] in self.symbols:
            for field in self.fields:
                message["p"][1]["v"].pop(field, None)
        return json.dumps(message)


@pytest.mark.parametrize("column", TEXTS)
def test_text_that_one_quote_lacks_is_none(server, tv, column):
    """Beside a text, None is missing; the column is object."""
    server.inject(Without(FIELDS, [INDEX]))
    quotes = tv.get_quotes([APPLE, INDEX])
    assert isinstance(quotes.loc[APPLE, column], str)
    assert quotes.loc[INDEX, column] is None
    assert quotes[column].tolist()[1] is None
    assert str(quotes[column].dtype) == "object"


def test_number_that_one_quote_lacks_is_nan(server, tv):
    """A number that is missing stays a number."""
    server.inject(Without(FIELDS, [INDEX]))
    last = tv.get_quotes([APPLE, INDEX])["last"]
    assert str(last.dtype) == "float64"
    assert math.isnan(last[INDEX])


def test_text_that_all_quotes_lack_is_none(server, tv):
    """A column of texts is one too where no quote has any."""
    server.inject(Without(FIELDS, [APPLE, INDEX]))
    quotes = tv.get_quotes([APPLE, INDEX], fields=[*TEXTS, "last"])
    assert [quotes[column].tolist() for column in TEXTS] == [[None, None]] * 4
    assert {str(quotes[column].dtype) for column in TEXTS} == {"object"}
    assert quotes["last"].isna().all()


def test_field_of_tradingviews_own_that_one_quote_lacks(server, tv):
    """What stands beside a text is None for every field, not for our columns alone."""
    server.inject(Without(FIELDS, [INDEX]))
    assert tv.get_quotes([APPLE, INDEX], fields=["type"])["type"].tolist() == ["stock", None]


def test_search_results_that_lack_a_text(server, tv):
    """What one result has and another lacks is None, as are lists."""
    answer = [
        {"symbol": "X", "country": "US", "isin": None, "typespecs": ["common"]},
        {"symbol": "Y", "logoid": "y", "isin": ["a"]},
    ]
    server.inject(Canned(answer))
    frame = tv.search_symbol("x", as_frame=True)
    assert frame["country"].tolist() == ["US", None]
    assert frame["logoid"].tolist() == [None, "y"]
    assert frame["isin"].tolist() == [None, None]
    assert {str(kind) for kind in frame.dtypes} == {"object"}
