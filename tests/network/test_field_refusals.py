"""A refusal is known by its words, whatever their letter case and what stands between them."""

import pytest

from tests.loopback import at_once
from tests.network.clients import SYMBOL, assert_right
from tvDatafeed import (
    AuthenticationError,
    DataError,
    EntitlementError,
    RateLimitError,
    SymbolNotFoundError,
    TvDatafeed,
    WebSocketError,
)
from tvDatafeed.testing import ProtocolErrorReply, Refusal


@pytest.mark.parametrize(
    ("message", "reason", "error"),
    [
        ("symbol_error", "Permission denied", EntitlementError),
        ("symbol_error", "PERMISSION_DENIED", EntitlementError),
        ("series_error", "Permission denied", EntitlementError),
        ("symbol_error", "unknown symbol", SymbolNotFoundError),
        ("symbol_error", "Invalid Symbol", SymbolNotFoundError),
        ("symbol_error", "no_such_symbol", SymbolNotFoundError),
        ("series_error", "Resolve Error", SymbolNotFoundError),
        ("series_error", "resolve_error", SymbolNotFoundError),
        ("series_error", "Resolution not entitled", EntitlementError),
        ("series_error", "custom resolution", EntitlementError),
        ("symbol_error", "something new", DataError),
    ],
)
def test_symbol_is_refused_in_any_spelling(server, tv, message, reason, error):
    """The words decide which error it is, and other words are a DataError with them."""
    server.refuse(SYMBOL, Refusal(message, reason))
    caught = at_once(lambda: tv.get_hist(SYMBOL), error)
    if error is DataError:
        assert reason in str(caught)


@pytest.mark.parametrize(
    "reason",
    [
        "bad auth token",
        "Bad Auth Token",
        "bad_auth_token",
        "auth token expired",
        "invalid_auth_token",
        "Authentication token is not valid",
        '{auth_token_expired,<<"x">>}',
    ],
)
def test_protocol_error_about_the_token_is_a_refused_token(server, tv, reason):
    """Any protocol_error that speaks of the auth token asks for a fresh one, after one try."""
    server.inject(ProtocolErrorReply(reason=reason, method="set_auth_token"))
    caught = at_once(lambda: tv.get_hist(SYMBOL), AuthenticationError)
    assert "auth_token" in str(caught)
    assert server.connections_opened == 1


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        ("User_Connections_Limit_Reached", RateLimitError),
        ("too many connections", RateLimitError),
        ("Banned by IP", WebSocketError),
        ("user banned", WebSocketError),
    ],
)
def test_connection_is_refused_in_any_spelling(server, reason, error):
    """A limit of connections and a ban are known in other spellings too."""
    server.inject(ProtocolErrorReply(reason=reason))
    with TvDatafeed(config=server.config(max_retries=0)) as tv:
        caught = at_once(lambda: tv.get_hist(SYMBOL), error)
    assert caught.retryable is (error is RateLimitError)


@pytest.mark.parametrize(
    ("message", "reason", "error"),
    [
        ("symbol_error", "Permission denied", EntitlementError),
        ("symbol_error", "Unknown symbol", SymbolNotFoundError),
    ],
)
def test_description_is_refused_in_any_spelling(server, tv, message, reason, error):
    """The description of a symbol has the same errors, and the connection continues."""
    server.refuse(SYMBOL, Refusal(message, reason))
    at_once(lambda: tv.get_symbol_info(SYMBOL), error)
    server.refuse(SYMBOL, None)
    assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))
    assert server.connections_opened == 1
