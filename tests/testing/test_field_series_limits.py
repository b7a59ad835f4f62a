"""How many series a chart session of the loopback TradingView may have."""

import pytest

from tests.testing.client import NOW, names, token
from tvDatafeed.testing import FakeTradingView

TOO_MANY = "exceed limit of series in the session"


def series(client, name, session="cs_plain", symbol="sym_1"):
    """Create one more series, and return the answer."""
    client.say("create_series", session, name, "s1", symbol, "1D", 3, "")
    return client.messages()


def greeted(client, auth_token=None):
    """Open a session with one series."""
    client.greet()
    if auth_token:
        client.say("set_auth_token", auth_token)
    client.history()
    return client


@pytest.mark.parametrize("auth_token", [None, "widget_user_token-customer"])
def test_second_series_of_an_anonymous_session(client, server, auth_token):
    """A second series gets critical_error in the recorded words, and its session is aborted."""
    greeted(client, auth_token)
    (error,) = series(client, "sds_2")
    details = 'method: create_series. args: "[sds_2, s1, sym_1, 1D, 3, ]"'
    assert (error["m"], error["p"]) == ("critical_error", ["cs_plain", TOO_MANY, details])
    assert server.open_sessions == set()
    client.say("chart_create_session", "cs_2", "")
    assert names(client.history(session="cs_2"))[-1] == "series_completed"


def test_series_that_was_removed_or_replaced(client):
    """A series may be modified, created again under its name, and followed after its removal."""
    greeted(client)
    client.say("modify_series", "cs_plain", "sds_1", "s2", "sym_1", "60", "")
    assert names(client.messages())[-1] == "series_completed"
    assert names(series(client, "sds_1"))[-1] == "series_completed"
    client.say("remove_series", "cs_plain", "sds_1")
    assert names(series(client, "sds_2"))[-1] == "series_completed"


@pytest.mark.parametrize("plan", ["", "pro_premium"])
def test_series_of_an_account(client, plan):
    """A session of an account has ten series, the eleventh is refused."""
    greeted(client, token(plan=plan, exp=NOW + 60))
    for number in range(2, 11):
        assert names(series(client, f"sds_{number}"))[-1] == "series_completed"
    (error,) = series(client, "sds_11")
    assert error["p"][:2] == ["cs_plain", TOO_MANY]


def test_each_session_has_its_own_series(client):
    """An anonymous connection may have several sessions with one series each."""
    greeted(client)
    client.say("chart_create_session", "cs_2", "")
    assert names(client.history(session="cs_2"))[-1] == "series_completed"


def test_limit_can_be_set(connect, clock):
    """A server may allow another number of series for all clients."""
    with FakeTradingView(clock=clock, max_series=2) as server:
        client = greeted(connect(server))
        assert names(series(client, "sds_2"))[-1] == "series_completed"
        assert names(series(client, "sds_3")) == ["critical_error"]
