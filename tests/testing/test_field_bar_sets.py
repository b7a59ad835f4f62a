"""Renko and other bars that the loopback TradingView does not compute are refused."""

import json

import pytest

from tests.testing.client import NOW, names, token


def wrapped(**keys):
    symbol = {"symbol": "BINANCE:BTCUSDT", "adjustment": "splits"}
    return "=" + json.dumps({"symbol": symbol, **keys})


def answer(client, spec, auth_token=None, interval="15"):
    """Return the answer to a series of a symbol."""
    client.greet()
    if auth_token:
        client.say("set_auth_token", auth_token)
    client.say("resolve_symbol", "cs_plain", "sym_1", spec)
    client.say("create_series", "cs_plain", "sds_1", "s1", "sym_1", interval, 5, "")
    messages = []
    while not messages or messages[-1]["m"] not in {"series_error", "series_completed"}:
        messages += client.messages()
    return messages


@pytest.mark.parametrize(
    "name",
    [
        "BarSetRenko@tv-prostudies-40",
        "BarSetPriceBreak@tv-prostudies-34",
        "BarSetKagi@tv-prostudies-34",
        "BarSetPnF@tv-prostudies-34",
    ],
)
@pytest.mark.parametrize("interval", ["15", "1D"])
def test_bars_that_need_a_plan(client, name, interval):
    """Without a plan a good symbol is followed by the recorded reason, and by no bars."""
    messages = answer(client, wrapped(type=f"{name}!", inputs={}), interval=interval)
    assert {*names(messages)} == {"series_loading", "symbol_resolved", "series_error"}
    assert messages[-1]["p"][:4] == ["cs_plain", "sds_1", "s1", f"study_not_auth:{name}"]


@pytest.mark.parametrize(
    "name", ["BarSetHeikenAshi@tv-basicstudies-60", "BarSetRange@tv-basicstudies-72"]
)
def test_bars_that_are_not_computed(client, name):
    """Other bar sets are never answered with the market's own bars."""
    error = answer(client, wrapped(type=f"{name}!"))[-1]
    assert (error["m"], error["p"][3]) == ("series_error", f"unsupported bar set:{name}")


def test_renko_with_a_plan(client):
    """With a plan Renko is not refused for its plan, and is not answered with other bars."""
    auth_token = token(plan="pro_premium", exp=NOW + 60)
    error = answer(client, wrapped(type="BarSetRenko@tv-prostudies-40!"), auth_token)[-1]
    assert error["p"][3] == "unsupported bar set:BarSetRenko@tv-prostudies-40"


def test_replay(client):
    """A symbol of a replay session is not answered with bars up to now."""
    error = answer(client, wrapped(replay="rs_1"))[-1]
    assert (error["m"], error["p"][3]) == ("series_error", "unsupported bar set:replay")


def test_wrapped_symbol_alone(client):
    """A wrapper without another bar set is answered with the market's bars."""
    assert answer(client, wrapped())[-1]["m"] == "series_completed"
