"""fut_contract asks for a contract of the symbol that it stands beside, or is refused."""

import pytest

from tests.loopback import impatient
from tvDatafeed import DataValidationError, TvDatafeedLive

FRONT = "NSE:NIFTY1!"


@pytest.mark.parametrize("symbol", ["NSE:NIFTY", "nse:nifty", " NSE:NIFTY "])
def test_symbol_that_names_its_exchange_has_contracts(tv, symbol):
    """The number of the contract counts, however the root is written."""
    assert tv.get_hist(symbol, fut_contract=1)["symbol"].unique() == [FRONT]
    assert tv.get_symbol_info(symbol, fut_contract=1).symbol == FRONT


def test_many_symbols_have_contracts(server, tv):
    """Each root has the contract, whichever way it is written, and is requested once."""
    frames = tv.get_hist_multi(["NSE:NIFTY", "NIFTY", "CME_MINI:ES"], "NSE", fut_contract=1)
    found = {name: frame["symbol"].iloc[0] for name, frame in frames.items()}
    assert found == {"NSE:NIFTY": FRONT, "NIFTY": FRONT, "CME_MINI:ES": "CME_MINI:ES1!"}
    assert len([m for m in server.received if m.method == "resolve_symbol"]) == 2


def test_live_feed_has_contracts(server):
    """get_hist of a live feed is that of TvDatafeed."""
    with TvDatafeedLive(config=impatient(server)) as tvl:
        assert tvl.get_hist("NSE:NIFTY", fut_contract=1)["symbol"].unique() == [FRONT]


@pytest.mark.parametrize(
    ("symbol", "exchange"),
    [
        pytest.param("NSE:NIFTY1!", None, id="continuous"),
        pytest.param("NIFTY1!", "NSE", id="continuous, exchange apart"),
        pytest.param("ES2!", "CME_MINI", id="second"),
        pytest.param("CME_MINI:ESZ2026", None, id="month"),
        pytest.param("esu2026", "CME_MINI", id="month in lower case"),
        pytest.param("NSE:NIFTY/NSE:BANKNIFTY", None, id="expression"),
        pytest.param("NIFTY*2", "NSE", id="expression of one symbol"),
    ],
)
def test_what_has_no_contracts_is_refused(server, tv, symbol, exchange):
    """A contract, or an expression, has no contracts of its own; nothing is sent."""
    for ask in (tv.get_hist, tv.get_symbol_info):
        with pytest.raises(DataValidationError) as caught:
            ask(symbol, exchange, fut_contract=1)
        assert caught.value.field == "fut_contract"
        assert symbol.upper() in str(caught.value)
    frames = tv.get_hist_multi([symbol], exchange, fut_contract=1, on_error="collect")
    assert isinstance(frames.errors[symbol], DataValidationError)
    assert server.accepted == 0


def test_number_is_checked_where_the_exchange_is_named(server, tv):
    """What is not a number of a contract is a ValueError for each spelling of a symbol."""
    with pytest.raises(ValueError, match=r"^not a valid contract$"):
        tv.get_hist("NSE:NIFTY", fut_contract=0)
    assert server.accepted == 0


def test_shares_with_signs_in_their_names_keep_them(tv):
    """'&' and '-' join no symbols: the root is requested, and TradingView decides."""
    for symbol in ("NSE:M&M", "NSE:BAJAJ-AUTO"):
        frames = tv.get_hist_multi([symbol], fut_contract=1, on_error="collect")
        assert not isinstance(frames.errors[symbol], DataValidationError)
        assert f"{symbol.partition(':')[2]}1!" in str(frames.errors[symbol])
