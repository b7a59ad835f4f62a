"""Contracts whose year has two digits are contracts already, and roots with numbers are not."""

import pytest

from tvDatafeed import DataValidationError


@pytest.mark.parametrize(
    ("symbol", "exchange"),
    [
        ("NIFTY26DEC", "NSE"),
        ("NSE:NIFTY26DEC", None),
        ("nse:nifty26decfut", None),
        ("BANKNIFTYDEC26", "NSE"),
        ("NSE:NIFTY24DEC26FUT", None),
        ("NSE:RELIANCE29DEC2026FUT", None),
        ("MCX:CRUDEOIL27JAN", None),
        ("CME_MINI:ESZ26", None),
        ("6EH27", "CME"),
        ("NSE:M&MZ26", None),
        ("NSE:BAJAJ-AUTO26DEC", None),
    ],
)
def test_contract_is_refused(server, tv, symbol, exchange):
    """The error names the symbol, and nothing is sent."""
    for ask in (tv.get_hist, tv.get_symbol_info):
        with pytest.raises(DataValidationError, match="is a contract already") as caught:
            ask(symbol, exchange, fut_contract=1)
        assert caught.value.field == "fut_contract"
        assert symbol.upper() in str(caught.value)
    assert server.accepted == 0


@pytest.mark.parametrize(
    "symbol", ["HNX:VN30", "BIST:XU030", "OSE:NK225M", "NSE:NIFTY", "NSE:DEC", "X:MAR26", "X:Z26"]
)
def test_root_is_asked_for(tv, symbol):
    """Roots that end in a number or are called like a month keep their contracts."""
    frames = tv.get_hist_multi([symbol], fut_contract=1, on_error="collect")
    if symbol in frames.errors:
        assert not isinstance(frames.errors[symbol], DataValidationError)
        assert f"{symbol.partition(':')[2]}1!" in str(frames.errors[symbol])
    else:
        assert frames[symbol]["symbol"].iloc[0] == f"{symbol}1!"
