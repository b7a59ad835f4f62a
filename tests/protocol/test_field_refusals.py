"""What ends a connection for good, and what is worth another try."""

import pytest

from tests.protocol.packets import machine_with, server
from tvDatafeed.exceptions import ProtocolError, RateLimitError, WebSocketError
from tvDatafeed.protocol.refusals import is_connections_limit, is_limit_of_connection


@pytest.mark.parametrize(
    ("reason", "error", "retryable"),
    [
        ("Banned by IP", WebSocketError, False),
        ("user banned", WebSocketError, False),
        ("wrong data", ProtocolError, True),
        ("max sessions rate reached", RateLimitError, True),
        ("user connections limit reached", RateLimitError, True),
    ],
)
def test_ban_is_final_and_other_reasons_are_not(reason, error, retryable):
    """A ban in any spelling is never answered by another try."""
    machine = machine_with("cs_a")
    machine.receive(server("protocol_error", reason), now=1.0)
    (event,) = machine.events()
    assert (type(event.error), event.error.retryable) == (error, retryable)
    assert is_connections_limit(event.error) is ("connections" in reason)
    assert is_limit_of_connection(event.error) is (error is RateLimitError)


def test_ban_of_one_session():
    """Said of a session, it means the same."""
    machine = machine_with("cs_a")
    machine.receive(server("critical_error", "cs_a", "Banned by IP"), now=1.0)
    (event,) = machine.events()
    assert (type(event.error), event.error.retryable) == (WebSocketError, False)
