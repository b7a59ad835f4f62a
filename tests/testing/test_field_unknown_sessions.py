"""Commands of sessions that the loopback TradingView does not know end the connection."""

import pytest

from tests.testing.client import command, names
from tvDatafeed import TvDatafeed
from tvDatafeed.testing import FakeTradingView, Refusal

FLAGS = {"flags": ["force_permission"]}


def assert_closed(client, method, session):
    """Expect the protocol_error about a session, and then the end of the connection."""
    (error,) = client.messages()
    assert error["m"] == "protocol_error"
    assert error["p"][0].startswith(f'{{unknown_session_id,<<"{method}">>,<<"{session}">>')
    assert client.socket.recv() == ""


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("create_series", ["sds_1", "s1", "sym_1", "1D", 5, ""]),
        ("request_more_data", ["sds_1", 5]),
        ("quote_add_symbols", ["NASDAQ:AAPL"]),
        ("chart_delete_session", []),
        ("quote_delete_session", []),
    ],
)
def test_session_that_was_not_created(client, method, params):
    """Each command of an unknown session ends the connection, and names the command."""
    client.greet()
    client.say(method, "xs_unknown", *params)
    assert_closed(client, method, "xs_unknown")


def test_session_that_was_deleted(client):
    """A deleted chart session is unknown."""
    client.greet()
    client.say("chart_delete_session", "cs_plain")
    client.resolve()
    assert_closed(client, "resolve_symbol", "cs_plain")


def test_session_that_critical_error_ended(client):
    """A chart session is unknown after its critical_error."""
    client.greet()
    assert names(client.history(count=-1)) == ["critical_error"]
    client.say("switch_timezone", "cs_plain", "exchange")
    assert_closed(client, "switch_timezone", "cs_plain")


def test_dead_sessions_can_be_ignored(connect, clock):
    """A server may ignore commands of dead chart sessions, and still refuse unknown ones."""
    with FakeTradingView(clock=clock, ignore_dead_sessions=True) as server:
        client = connect(server)
        client.greet()
        assert names(client.history(count=-1)) == ["critical_error"]
        client.say("switch_timezone", "cs_plain", "exchange")
        client.say("chart_create_session", "cs_2", "")
        assert names(client.history(session="cs_2"))[-1] == "series_completed"
        client.say("switch_timezone", "cs_unknown", "exchange")
        assert_closed(client, "switch_timezone", "cs_unknown")


def test_old_clients_go_on_after_their_quote_flags(client):
    """A quote session that its flags have ended is ignored, and the chart is served."""
    client.greet()
    client.send(
        command("quote_create_session", "qs_1"),
        command("quote_add_symbols", "qs_1", "NASDAQ:AAPL", FLAGS),
        command("quote_fast_symbols", "qs_1", "NASDAQ:AAPL"),
    )
    assert names(client.messages()) == ["critical_error"]
    assert names(client.history())[-1] == "series_completed"


def test_delete_that_crosses_a_critical_error(client):
    """A dead session may be deleted, and a session of its name may be created again."""
    client.greet()
    assert names(client.history(count=-1)) == ["critical_error"]
    client.say("chart_delete_session", "cs_plain")
    client.say("chart_create_session", "cs_plain", "")
    assert names(client.history())[-1] == "series_completed"


def test_series_that_is_unknown(client):
    """Removing an unknown series is a critical_error."""
    client.greet()
    client.say("remove_series", "cs_plain", "sds_1")
    (error,) = client.messages()
    assert (error["m"], error["p"][0]) == ("critical_error", "cs_plain")


def test_client_sends_nothing_to_dead_sessions(clock):
    """A refused request and good ones share a connection, which continues."""
    with FakeTradingView(clock=clock) as server, TvDatafeed(config=server.config()) as tv:
        server.refuse("NYSE:IBM", Refusal("critical_error", "invalid parameters"))
        symbols = ["NYSE:IBM", "NASDAQ:AAPL", "NASDAQ:MSFT"]
        found = tv.get_hist_multi(symbols, n_bars=3, on_error="collect")
        assert {*found} == {"NASDAQ:AAPL", "NASDAQ:MSFT"}
        assert len(tv.get_hist("NASDAQ:AAPL", n_bars=3)) == 3
        assert server.connections_opened == 1
