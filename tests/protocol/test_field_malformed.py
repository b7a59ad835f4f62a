"""What a malformed message costs: its own request, or nothing; never the connection."""

import pytest

from tests.protocol.packets import bars_of, completed, machine_with, server
from tvDatafeed.exceptions import ProtocolError, SymbolNotFoundError
from tvDatafeed.protocol.events import Answered, RequestFailed, StreamRequest
from tvDatafeed.protocol.framing import encode
from tvDatafeed.protocol.machine import MAX_VIOLATIONS, ConnectionState, Machine

BAD_DU = '{"m":"du","p":["%s",{"sds_1":{"s":[{"i":0,"v":["x",1,1,1,1]}]}}]}'
MANY = 3 * MAX_VIOLATIONS


def following():
    machine = Machine("token")
    machine.open("cs_live", StreamRequest("NASDAQ:AAPL", "1D"), now=0.0, deadline=60.0)
    machine.start_timers(0.0)
    machine.receive(bars_of("cs_live") + completed("cs_live"), now=1.0)
    machine.events()
    return machine


@pytest.mark.parametrize(
    "payload", [BAD_DU % "cs_other", "[]", "17", '"text"', '{"m":"qsd","p":[1]}']
)
def test_series_goes_on_beside_malformed_messages_of_others(payload):
    """A live series, which could not see a loss, is not opened again for them."""
    machine = following()
    for _ in range(MANY):
        machine.receive(encode(payload), now=2.0)
    assert machine.events() == []
    assert machine.state is ConnectionState.OPEN
    assert (machine.counters["ignored"], machine.counters["violations"]) == (MANY, 0)


@pytest.mark.parametrize("payload", ['{"m":"du","p":["cs_', '{"m":"du","p":[1,', "ping"])
def test_series_is_opened_again_when_a_cut_message_may_have_been_its_own(payload):
    """A message without a whole document fails what could not see the loss, and nothing else."""
    machine = following()
    for _ in range(MANY):
        machine.receive(encode(payload), now=2.0)
    (event,) = machine.events()
    assert (event.session, type(event.error)) == ("cs_live", ProtocolError)
    assert machine.counters["violations"] == MANY


def test_malformed_messages_fail_the_requests_that_they_name():
    """However many there are, the connection continues and other requests are answered."""
    names = [f"cs_{n}_" for n in range(MANY)]
    machine = machine_with("cs_good", *names)
    for name in names:
        machine.receive(encode(BAD_DU % name), now=1.0)
    events = machine.events()
    assert [e.session for e in events] == names
    assert all(isinstance(e, RequestFailed) for e in events)
    assert machine.counters["violations"] == MANY
    machine.receive(bars_of("cs_good") + completed("cs_good"), now=1.0)
    (event,) = machine.events()
    assert isinstance(event, Answered)


def test_violations_of_the_framing_still_end_the_connection():
    """Messages that cannot be read do not count among them."""
    machine = machine_with("cs_a")
    for _ in range(MAX_VIOLATIONS):
        machine.receive(encode("ping") + "junk", now=1.0)
    assert machine.events() == []
    machine.receive("junk", now=1.0)
    (event,) = machine.events()
    assert "4 times" in str(event.error)


@pytest.mark.parametrize(
    "message",
    [
        server("series_loading", "cs_a", {"id": "sds_1"}, 1),
        server("series_timeframe", "cs_a", "sds_1", "s1", 0.5, {}, [], "yes"),
        server("symbol_resolved", "cs_a", 1, {}),
        server("brand_new", "cs_a", "sds_1"),
    ],
)
def test_parts_that_are_not_read_may_have_any_form(message):
    """A request continues when the server changes what this library does not use."""
    machine = machine_with("cs_a")
    machine.receive(message + bars_of("cs_a") + completed("cs_a"), now=1.0)
    (event,) = machine.events()
    assert isinstance(event, Answered)
    assert machine.counters["violations"] == 0


def test_refusal_of_another_form_is_still_a_refusal():
    """Its reason counts, not the id of the symbol beside it."""
    machine = machine_with("cs_a")
    machine.receive(server("symbol_error", "cs_a", {"id": 1}, "invalid symbol"), now=1.0)
    (event,) = machine.events()
    assert isinstance(event.error, SymbolNotFoundError)
