"""A pong confirms what was due when its ping was sent, and nothing that became due later."""

from tests.protocol.packets import server
from tvDatafeed.protocol.events import PingWanted, StreamRequest, StreamStarted, StreamUpdated
from tvDatafeed.protocol.machine import Machine

T0 = 1_000_020.0


def row(minute, close=1.0):
    return [T0 + 60 * minute, 1.0, 2.0, 0.5, close, 10.0]


def bars(session, *rows, closes, method="timescale_update"):
    items = [{"i": i, "v": v} for i, v in enumerate(rows)]
    update = {"sds_1": {"s": items, "t": "s1", "lbs": {"bar_close_time": T0 + closes}}}
    return server(method, session, update)


def following(**closes):
    """Return a machine that follows series, each with the close time of its last bar."""
    machine = Machine("unauthorized_user_token")
    machine.start_timers(0.0)
    for session, close_s in closes.items():
        machine.open(session, StreamRequest("NASDAQ:AAPL", "1"), now=0.0, deadline=60.0)
        done = server(
            "series_completed", session, "sds_1", "streaming", "s1", {}, t_ms=int((T0 + 70) * 1000)
        )
        machine.receive(bars(session, row(0), row(1), closes=close_s) + done, now=1.0)
    assert [type(event) for event in machine.events()] == [StreamStarted] * len(closes)
    return machine


def next_ping(machine):
    """Make the next bar due, and return when its ping is sent, and its payload."""
    due = machine.next_deadline()
    machine.tick(due)
    (ping,) = machine.events()
    assert isinstance(ping, PingWanted)
    return due, ping.payload


def closed(machine):
    events = machine.events()
    assert all(isinstance(event, StreamUpdated) for event in events)
    return [(e.session, [b.close for b in e.update.closed]) for e in events if e.update.closed]


def test_pong_of_an_older_ping():
    """A bar that became due later is not closed by it: its last update may stand behind it."""
    machine = following(cs_a=120, cs_b=125)
    _, first = next_ping(machine)
    due, second = next_ping(machine)
    machine.receive_pong(due + 0.1, first)
    assert closed(machine) == [("cs_a", [1.0])]
    machine.receive(bars("cs_b", row(1, 1.75), closes=125, method="du"), now=due + 0.2)
    assert closed(machine) == []
    # The update has made it wait again, with a ping of its own.
    machine.receive_pong(due + 0.3, second)
    assert closed(machine) == []
    machine.tick(machine.next_deadline())
    (ping,) = machine.events()
    machine.receive_pong(due + 0.5, ping.payload)
    assert closed(machine) == [("cs_b", [1.75])]


def test_pong_of_a_newer_ping():
    """A peer may answer the newest ping alone: that confirms the older ones too."""
    machine = following(cs_a=120, cs_b=125)
    _, first = next_ping(machine)
    due, second = next_ping(machine)
    machine.receive_pong(due + 0.1, second)
    assert closed(machine) == [("cs_a", [1.0]), ("cs_b", [1.0])]
    machine.receive_pong(due + 0.2, first)
    assert closed(machine) == []


def test_pong_without_a_ping():
    """A pong with another payload shows that the server is alive, and closes nothing."""
    machine = following(cs_a=120)
    due, payload = next_ping(machine)
    for unknown in (b"", b"999", payload + b"0"):
        machine.receive_pong(due + 0.1, unknown)
        assert closed(machine) == []
    assert machine.last_received_at == due + 0.1
    machine.receive_pong(due + 0.2, payload)
    assert closed(machine) == [("cs_a", [1.0])]


def test_pings_that_are_never_answered():
    """The machine remembers a bounded number of them, and a late pong still counts."""
    machine = following(cs_a=120)
    _, first = next_ping(machine)
    newest = first
    for number in range(150):
        machine.receive(bars("cs_a", row(1, 1.0 + number), closes=120, method="du"), now=55.0)
        machine.events()
        machine.tick(55.0)
        (ping,) = machine.events()
        newest = ping.payload
    machine.receive_pong(55.5, first)
    assert closed(machine) == []
    machine.receive_pong(55.6, newest)
    assert closed(machine) == [("cs_a", [150.0])]
