"""The machine changes its state as the table says and meets its deadlines."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.packets import AAPL, bars_of, completed, machine_with, sent_by, server
from tvDatafeed.exceptions import WebSocketTimeoutError
from tvDatafeed.protocol.events import Answered, ConnectionFailed, PingWanted, Retired
from tvDatafeed.protocol.framing import encode
from tvDatafeed.protocol.literals import ANONYMOUS_TOKEN
from tvDatafeed.protocol.machine import ConnectionState, Machine, Timers


def living_machine(**limits):
    timers = Timers(**{"silence_s": 20.0, "ping_s": 5.0, "idle_s": 60.0, "age_s": 300.0, **limits})
    machine = Machine(ANONYMOUS_TOKEN, timers)
    assert machine.next_deadline() is None
    machine.start_timers(0.0)
    machine.data_to_send()
    return machine


def machine_in(state):
    """Return a machine in a state, at most 8 seconds after its timers started."""
    machine = Machine(ANONYMOUS_TOKEN, Timers(silence_s=5.0, ping_s=20.0, idle_s=10.0))
    if state is ConnectionState.CONNECTING:
        return machine
    machine.start_timers(0.0)
    if state is ConnectionState.PROBING:
        machine.open("cs_a", AAPL, now=0.0, deadline=1000.0)
        machine.tick(5.0)
        machine.close("cs_a")
        return machine
    machine.receive(encode("~h~1"), now=8.0)
    if state is not ConnectionState.OPEN:
        {
            ConnectionState.RETIRED: be_idle,
            ConnectionState.REDIRECTED: receive_redirect,
            ConnectionState.FAILED: receive_protocol_error,
        }[state](machine)
    return machine


def start_timers(machine):
    machine.start_timers(9.0)


def receive_heartbeat(machine):
    machine.receive(encode("~h~1"), now=9.0)


def receive_pong(machine):
    machine.receive_pong(9.0)


def be_silent(machine):
    machine.open("cs_s", AAPL, now=9.0, deadline=1000.0)
    machine.tick(machine.next_deadline())


def be_idle(machine):
    machine.tick(10.0)


def cancel_retirement(machine):
    machine.cancel_retirement(9.0)


def receive_redirect(machine):
    machine.receive(encode('{"redirect":"prodata.tradingview.com"}'), now=9.0)


def receive_protocol_error(machine):
    machine.receive(server("protocol_error", "wrong data"), now=9.0)


CHANGES = {
    (ConnectionState.CONNECTING, start_timers): ConnectionState.OPEN,
    (ConnectionState.CONNECTING, receive_redirect): ConnectionState.REDIRECTED,
    (ConnectionState.CONNECTING, receive_protocol_error): ConnectionState.FAILED,
    (ConnectionState.OPEN, be_silent): ConnectionState.PROBING,
    (ConnectionState.OPEN, be_idle): ConnectionState.RETIRED,
    (ConnectionState.OPEN, receive_redirect): ConnectionState.REDIRECTED,
    (ConnectionState.OPEN, receive_protocol_error): ConnectionState.FAILED,
    (ConnectionState.PROBING, receive_heartbeat): ConnectionState.OPEN,
    (ConnectionState.PROBING, receive_pong): ConnectionState.OPEN,
    (ConnectionState.PROBING, be_silent): ConnectionState.FAILED,
    (ConnectionState.PROBING, be_idle): ConnectionState.RETIRED,
    # Any message is an answer to the ping first.
    (ConnectionState.PROBING, receive_redirect): ConnectionState.REDIRECTED,
    (ConnectionState.PROBING, receive_protocol_error): ConnectionState.FAILED,
    (ConnectionState.RETIRED, cancel_retirement): ConnectionState.OPEN,
}
STEPS = (
    start_timers,
    receive_heartbeat,
    receive_pong,
    be_silent,
    be_idle,
    cancel_retirement,
    receive_redirect,
    receive_protocol_error,
)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
@pytest.mark.parametrize("state", ConnectionState)
def test_each_state_changes_as_its_table_says(state, step):
    """A step that is not in the table leaves the state unchanged."""
    machine = machine_in(state)
    assert machine.state is state
    step(machine)
    assert machine.state is CHANGES.get((state, step), state)


@pytest.mark.parametrize(
    "state", [ConnectionState.RETIRED, ConnectionState.REDIRECTED, ConnectionState.FAILED]
)
def test_timers_end_with_the_connection(state):
    """After the end nothing has a deadline, and no further event comes."""
    machine = machine_in(state)
    machine.events()
    assert machine.next_deadline() is None
    machine.tick(10_000.0)
    machine.receive(bars_of("cs_a"), now=10_000.0)
    assert machine.events() == []


def test_a_retirement_that_is_cancelled_is_repeated_after_the_idle_time():
    """The idle time starts again."""
    machine = machine_in(ConnectionState.RETIRED)
    machine.cancel_retirement(12.0)
    machine.receive(encode("~h~1"), now=21.0)
    machine.events()
    assert machine.next_deadline() == 22.0
    machine.tick(22.0)
    assert machine.events() == [Retired()]


def test_silence_is_asked_and_then_given_up():
    """After the silence limit a ping is wanted; without a sign of life the connection fails."""
    machine = living_machine()
    assert machine.next_deadline() == 20.0
    machine.tick(20.0)
    assert machine.events() == [PingWanted()]
    assert machine.next_deadline() == 25.0
    machine.tick(24.9)
    assert machine.events() == []
    machine.tick(25.0)
    (event,) = machine.events()
    assert isinstance(event.error, WebSocketTimeoutError)
    assert event.error.timeout == 25.0
    assert event.error.retryable


@pytest.mark.parametrize("sign", ["pong", "heartbeat", "data"])
def test_any_sign_of_life_ends_the_silence(sign):
    """A pong, a heartbeat and data all count as life."""
    machine = living_machine(idle_s=1000.0)
    machine.tick(20.0)
    if sign == "pong":
        machine.receive_pong(24.0)
    else:
        machine.receive(encode("~h~1") if sign == "heartbeat" else bars_of("cs_x"), 24.0)
    machine.tick(25.0)
    assert machine.events() == [PingWanted()]
    assert machine.next_deadline() == 44.0


def test_a_long_sleep_is_one_detection():
    """After eight hours there is one ping and one end, not one for every period missed."""
    machine = living_machine(idle_s=math.inf, age_s=math.inf)
    machine.tick(8 * 3600.0)
    machine.tick(8 * 3600.0 + 5)
    machine.tick(8 * 3600.0 + 6)
    assert [type(event) for event in machine.events()] == [PingWanted, ConnectionFailed]


def test_idle_connection_is_retired():
    """Sixty seconds after the last request nothing keeps the connection open."""
    machine = living_machine(silence_s=math.inf)
    machine.open("cs_a", AAPL, now=1.0, deadline=61.0)
    machine.receive(bars_of("cs_a") + completed("cs_a"), now=10.0)
    machine.events()
    assert machine.next_deadline() == 70.0
    machine.receive(encode("~h~1"), now=60.0)
    machine.tick(69.9)
    assert machine.events() == []
    machine.tick(70.0)
    assert machine.events() == [Retired()]


def test_old_connection_is_retired_when_nothing_runs():
    """Past its age a connection ends with its last request, not during it."""
    machine = living_machine(silence_s=math.inf)
    machine.open("cs_a", AAPL, now=299.0, deadline=359.0)
    machine.tick(310.0)
    assert machine.events() == []
    machine.receive(bars_of("cs_a") + completed("cs_a"), now=320.0)
    machine.events()
    machine.tick(320.0)
    assert machine.events() == [Retired()]


def test_time_of_a_message_begins_with_the_connection():
    """While the connection is being made its own deadline counts."""
    machine = machine_with("cs_a", deadline=60.0, message_timeout_s=5.0)
    assert machine.next_deadline() == 60.0
    machine.tick(10.0)
    assert machine.events() == []
    machine.start_timers(10.0)
    assert machine.next_deadline() == 15.0


def test_retirement_can_be_taken_back():
    """A connection that somebody is about to use stays."""
    machine = living_machine(silence_s=math.inf)
    machine.tick(60.0)
    assert machine.events() == [Retired()]
    machine.cancel_retirement(60.0)
    machine.open("cs_a", AAPL, now=61.0, deadline=90.0)
    machine.receive(bars_of("cs_a") + completed("cs_a"), now=62.0)
    assert isinstance(machine.events()[0], Answered)


def test_whole_answer_has_a_deadline():
    """A request that is not complete in time fails with what was awaited and what had come."""
    machine = machine_with("cs_a", deadline=60.0)
    machine.receive(bars_of("cs_a"), now=59.0)
    assert machine.next_deadline() == 60.0
    machine.tick(59.9)
    assert machine.events() == []
    machine.tick(60.0)
    (event,) = machine.events()
    assert isinstance(event.error, WebSocketTimeoutError)
    assert event.error.timeout == 60.0
    assert "NASDAQ:AAPL" in event.error.operation
    assert event.error.detail == "2 bars had arrived"
    assert sent_by(machine) == [{"m": "chart_delete_session", "p": ["cs_a"]}]
    assert machine.next_deadline() is None


def test_heartbeats_do_not_feed_the_patience_for_data():
    """A request without a message of its own fails, though the connection lives."""
    machine = machine_with("cs_a", deadline=60.0, message_timeout_s=30.0)
    machine.start_timers(0.0)
    machine.receive(server("series_loading", "cs_a", "sds_1", "s1"), now=10.0)
    machine.receive(encode("~h~1") + bars_of("cs_other"), now=39.0)
    assert machine.next_deadline() == 40.0
    machine.tick(40.0)
    (event,) = machine.events()
    assert isinstance(event.error, WebSocketTimeoutError)
    assert event.error.timeout == 30.0


def test_each_request_has_its_own_time():
    """The next deadline is the nearest, and only its request fails."""
    machine = machine_with("cs_a", deadline=60.0)
    machine.open("cs_b", AAPL, now=5.0, deadline=20.0)
    assert machine.next_deadline() == 20.0
    machine.tick(20.0)
    assert [event.session for event in machine.events()] == ["cs_b"]
    assert machine.next_deadline() == 60.0


REPLIES = st.sampled_from(
    [
        bars_of("cs_a"),
        bars_of("cs_b"),
        completed("cs_a"),
        completed("cs_b"),
        server("symbol_error", "cs_a", "sds_sym_1", "invalid symbol"),
        server("series_error", "cs_a", "sds_1", "s1", "resolve error"),
        server("critical_error", "cs_b", "invalid parameters"),
        server("protocol_error", "wrong data"),
        encode("~h~1"),
        encode("{"),
        "junk",
    ]
)


@given(st.lists(REPLIES | st.floats(0, 100), max_size=20))
def test_each_request_ends_at_most_once(steps):
    """Whatever is said in whatever order, a request has one outcome and time ends the rest."""
    machine = machine_with("cs_a", "cs_b", deadline=60.0, message_timeout_s=30.0)
    now = 0.0
    events = []
    for step in steps:
        if isinstance(step, float):
            now += step
            machine.tick(now)
        else:
            machine.receive(step, now)
        events += machine.events()
    machine.tick(1000.0)
    events += machine.events()
    outcomes = [e.session for e in events if not isinstance(e, ConnectionFailed)]
    assert sorted(outcomes) == ["cs_a", "cs_b"]
    assert sum(isinstance(e, ConnectionFailed) for e in events) <= 1
