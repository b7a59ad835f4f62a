"""A retirement that the driver has cancelled is not repeated at once."""

import pytest

from tvDatafeed.protocol.events import Retired, SeriesRequest
from tvDatafeed.protocol.literals import ANONYMOUS_TOKEN
from tvDatafeed.protocol.machine import Machine, Timers


def retired_machine(**limits):
    """A machine that was retired 300 s after its start."""
    machine = Machine(ANONYMOUS_TOKEN, Timers(**limits))
    machine.start_timers(0.0)
    machine.tick(300.0)
    assert machine.events() == [Retired()]
    return machine


@pytest.mark.parametrize(
    ("limits", "again_at"),
    [
        ({"age_s": 300.0, "idle_s": 400.0}, 700.0),
        ({"age_s": 300.0}, None),
        ({"idle_s": 300.0}, 600.0),
        ({"idle_s": 0.0}, 301.0),
        ({"age_s": 0.0, "idle_s": 0.0}, 301.0),
    ],
)
def test_cancelled_retirement_is_not_due_at_once(limits, again_at):
    """The driver gets the event again after the idle time, at least a second, also past the age."""
    machine = retired_machine(**limits)
    machine.cancel_retirement(300.0)
    machine.tick(300.0)
    assert machine.events() == []
    assert machine.next_deadline() == again_at


def test_allowed_retirement_of_an_old_connection_is_immediate():
    """Past its age a connection ends as soon as the driver has no use for it."""
    machine = retired_machine(age_s=300.0)
    machine.cancel_retirement(300.0)
    machine.allow_retirement(300.5)
    assert machine.events() == [Retired()]


def test_allowed_retirement_of_an_idle_connection_waits():
    """The idle time begins when the driver has no use for the connection any more."""
    machine = retired_machine(idle_s=300.0)
    machine.cancel_retirement(300.0)
    machine.allow_retirement(310.0)
    assert machine.events() == []
    assert machine.next_deadline() == 610.0


def test_allowed_retirement_waits_for_an_open_session():
    """A connection with an open session is not retired."""
    machine = retired_machine(age_s=300.0)
    machine.cancel_retirement(300.0)
    machine.open("cs_a", SeriesRequest("NASDAQ:AAPL", "1D", 1), now=301.0, deadline=400.0)
    machine.allow_retirement(302.0)
    assert machine.events() == []


def test_retirement_that_was_not_cancelled_needs_no_permission():
    """Without a cancelled retirement the timers continue as they are."""
    machine = Machine(ANONYMOUS_TOKEN, Timers(age_s=300.0))
    machine.start_timers(0.0)
    machine.allow_retirement(400.0)
    assert machine.events() == []
    assert machine.next_deadline() == 300.0
