"""A connection on which only heartbeats come fails with all live series, as one fault."""

from tests.protocol.packets import AAPL, bars_of, completed, server
from tvDatafeed.exceptions import WebSocketTimeoutError
from tvDatafeed.protocol.events import ConnectionFailed, RequestFailed, StreamRequest
from tvDatafeed.protocol.framing import encode
from tvDatafeed.protocol.machine import ConnectionState, Machine, Timers


def machine_following(*sessions, asked_at=100.0):
    """A machine with live series, and a request that is due half a minute after it is sent."""
    machine = Machine("token", Timers(silence_s=20.0, ping_s=5.0))
    machine.start_timers(0.0)
    for session in sessions:
        machine.open(session, StreamRequest("NASDAQ:AAPL", "1D"), now=0.0, deadline=60.0)
        machine.receive(bars_of(session) + completed(session), now=1.0)
    machine.open("cs_asked", AAPL, now=asked_at, deadline=asked_at + 30.0)
    machine.events()
    return machine


def beat(machine, start, end):
    for second in range(start, end):
        machine.receive(encode(f"~h~{second}"), now=float(second))
        machine.tick(float(second))


def test_request_without_an_answer_ends_the_connection_of_live_series():
    """Heartbeats continue, and yet one timeout shows that the series get nothing either."""
    machine = machine_following("cs_a", "cs_b")
    beat(machine, 100, 130)
    assert machine.events() == []
    machine.tick(130.0)
    failed, ended = machine.events()
    assert isinstance(failed, RequestFailed)
    assert isinstance(ended, ConnectionFailed)
    assert isinstance(ended.error, WebSocketTimeoutError)
    assert "heartbeats" in str(ended.error)
    assert machine.state is ConnectionState.FAILED
    # The last heartbeat came at 129.
    assert machine.last_served_at == 1.0


def test_connection_that_answers_other_sessions_goes_on():
    """A request without an answer is its own fault when a live series has an update meanwhile."""
    machine = machine_following("cs_a")
    machine.receive(server("du", "cs_a", {}), now=110.0)
    beat(machine, 111, 131)
    (failed,) = machine.events()
    assert isinstance(failed, RequestFailed)
    assert machine.state is ConnectionState.OPEN
    assert machine.last_served_at == 130.0


def test_connection_without_live_series_goes_on():
    """It may still answer others, whose deadlines hold; new requests go elsewhere."""
    machine = machine_following()
    beat(machine, 100, 132)
    (failed,) = machine.events()
    assert isinstance(failed, RequestFailed)
    assert machine.is_unresponsive


def test_timeout_while_the_server_is_pinged_ends_it_too():
    """A server that was silent for long, and has not answered the ping, has failed once."""
    machine = machine_following("cs_a", asked_at=0.0)
    machine.receive(encode("~h~1"), now=9.0)
    machine.tick(29.5)
    machine.events()
    assert machine.state is ConnectionState.PROBING
    machine.open("cs_more", AAPL, now=29.5, deadline=30.0)
    machine.tick(30.0)
    assert [type(e) for e in machine.events()].count(ConnectionFailed) == 1
    machine.tick(60.0)
    assert machine.events() == []
