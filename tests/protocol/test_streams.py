"""A series that is followed: how it starts, what it reports, and how it ends."""

import json
import math

import pytest

from tests.protocol.packets import sent_by, server
from tvDatafeed.exceptions import (
    DataError,
    ProtocolError,
    SymbolNotFoundError,
    WebSocketTimeoutError,
)
from tvDatafeed.protocol.bars import Bar
from tvDatafeed.protocol.events import (
    ConnectionFailed,
    Paged,
    PingWanted,
    RequestFailed,
    SeriesRequest,
    StreamRequest,
    StreamStarted,
    StreamUpdated,
    SymbolRequest,
)
from tvDatafeed.protocol.framing import encode
from tvDatafeed.protocol.machine import Machine

MINUTE = StreamRequest("NASDAQ:AAPL", "1")
T0 = 1_000_020.0


def row(minute, close=1.0):
    return [T0 + 60 * minute, 1.0, 2.0, 0.5, close, 10.0]


def bars(*rows, method="timescale_update", at=None, closes=60, turnaround="s1"):
    items = [{"i": i, "v": v} for i, v in enumerate(rows)]
    last = {"bar_close_time": rows[-1][0] + closes} if rows else {}
    stamp = {} if at is None else {"t_ms": int((T0 + at) * 1000)}
    update = {"sds_1": {"s": items, "t": turnaround, "lbs": last}}
    return server(method, "cs_a", update, **stamp)


def completed(at, mode="streaming", **info):
    stamp = int((T0 + at) * 1000)
    return server("series_completed", "cs_a", "sds_1", mode, "s1", info, t_ms=stamp)


def resolved():
    return server("symbol_resolved", "cs_a", "sds_sym_1", {"timezone": "Etc/UTC"})


def machine_following(request=MINUTE, now=0.0):
    machine = Machine("unauthorized_user_token")
    machine.start_timers(now)
    machine.open("cs_a", request, now=now, deadline=60.0, message_timeout_s=30.0)
    return machine


def started(*rows, request=MINUTE, at=70, mode="streaming"):
    machine = machine_following(request)
    machine.data_to_send()
    machine.receive(resolved() + bars(*rows) + completed(at, mode), now=1.0)
    (event,) = machine.events()
    assert isinstance(event, StreamStarted)
    return machine, event


def times(update):
    return [(b.time - T0) / 60 for b in update.closed]


def test_it_begins_with_the_bar_that_closed_last():
    """Two bars are requested: the one that forms, and the one before, which is reported."""
    machine = machine_following()
    assert sent_by(machine)[-1]["p"] == ["cs_a", "sds_1", "s1", "sds_sym_1", "1", 2, ""]
    machine.receive(resolved() + bars(row(0), row(1)) + completed(70), now=1.0)
    (event,) = machine.events()
    assert (event.session, event.request, event.update_mode) == ("cs_a", MINUTE, "streaming")
    assert event.info == {"timezone": "Etc/UTC"}
    assert (times(event.update), event.update.forming.time) == ([0], T0 + 60)
    assert (event.market_time_s, event.closes_at_s, event.at) == (T0 + 70, T0 + 122, 1.0)
    assert machine.data_to_send() == []
    assert machine.open_sessions == 1


def test_a_new_bar_closes_the_one_before():
    """An update of the last bar is reported as forming; a new bar closes it."""
    machine, _ = started(row(0), row(1))
    machine.receive(bars(row(1, 1.5), method="du"), now=2.0)
    (event,) = machine.events()
    assert event == StreamUpdated("cs_a", event.update)
    assert (event.update.closed, event.update.forming.close) == ((), 1.5)
    machine.receive(bars(row(2), at=121), now=52.0)
    (event,) = machine.events()
    assert (times(event.update), event.update.closed[0].close) == ([1], 1.5)
    assert event.update.lag_s == 1.0


def test_the_clock_of_the_server_closes_a_bar():
    """It is carried forward on the driver's clock; a pong says that nothing is on its way."""
    machine, _ = started(row(0), row(1))
    # The server's clock was 70 at 1.0, and the bar closes at 120, two seconds being allowed.
    due = machine.next_deadline()
    assert 53.0 < due < 53.1
    machine.tick(53.0)
    assert machine.events() == []
    machine.tick(due)
    assert machine.events() == [PingWanted()]
    assert machine.next_deadline() is None
    machine.receive_pong(due + 0.1)
    (event,) = machine.events()
    assert (times(event.update), event.update.by_clock) == ([1], True)
    assert machine.next_deadline() is None
    machine.tick(1000.0)
    machine.receive_pong(1000.0)
    assert machine.events() == []


def test_what_was_sent_before_the_close_and_comes_after_it_counts():
    """A line that is slow makes no wrong bar: its last word is waited for."""
    machine, _ = started(row(0), row(1))
    machine.tick(machine.next_deadline())
    machine.receive(bars(row(1, 1.7), method="du"), now=60.0)
    machine.receive(bars(row(1, 1.75), method="du"), now=60.0)
    ping, *changes = machine.events()
    assert ping == PingWanted()
    assert [change.update.forming.close for change in changes] == [1.7, 1.75]
    # What was due is due again, since nothing is closed yet.
    machine.tick(machine.next_deadline())
    machine.receive_pong(61.0)
    _ping, event = machine.events()
    assert event.update.closed[0].close == 1.75


def test_a_server_that_answers_no_ping_is_believed_after_a_while():
    """Its next heartbeat closes the bar."""
    machine, _ = started(row(0), row(1))
    machine.tick(machine.next_deadline())
    for now, count in ((60.0, 0), (63.5, 1)):
        machine.events()
        machine.receive("~m~4~m~~h~1", now=now)
        assert len(machine.events()) == count


def test_a_clock_that_is_set_back_closes_nothing_early():
    """The server's newest time counts, and the close is checked again later."""
    machine, _ = started(row(0), row(1))
    due = machine.next_deadline()
    machine.receive(bars(row(1, 1.5), at=30), now=11.0)
    machine.events()
    later = machine.next_deadline()
    assert later > due + 30
    machine.tick(due)
    assert machine.events() == []
    # Set back once more between the ping and its pong: the bar is not over any more.
    machine.tick(later)
    late = server("series_loading", "cs_b", "sds_1", "s1", t_ms=int((T0 + 121.9) * 1000))
    machine.receive(late, now=later + 0.1)
    machine.receive_pong(later + 0.1)
    assert machine.events() == [PingWanted()]
    assert machine.next_deadline() > later


def test_an_answer_that_comes_late_closes_nothing_that_it_does_not_know():
    """Another session's later time says that the bar is over, but not how it ended."""
    machine = machine_following()
    later = server("series_loading", "cs_b", "sds_1", "s1", t_ms=(T0 + 200) * 1000)
    machine.receive(bars(row(0), row(1)) + later + completed(70), now=1.0)
    (event,) = machine.events()
    assert (times(event.update), event.update.forming.time) == ([0], T0 + 60)
    assert event.market_time_s == T0 + 70


@pytest.mark.parametrize("text", [encode("nonsense"), encode("{]}"), encode("~h~x")])
def test_a_message_that_is_lost_ends_a_stream(text):
    """Its session is unknown, and it is better opened again than missing a change."""
    machine, _ = started(row(0), row(1))
    machine.open("cs_b", MINUTE, now=1.0, deadline=60.0)
    for session in ("cs_c", "cs_d"):
        machine.open(session, SeriesRequest("A", "1", count=9), now=1.0, deadline=60.0)
    machine.open("cs_e", SymbolRequest("A"), now=1.0, deadline=60.0)
    # One has a page of its bars, and would not miss the next one.
    machine.receive(bars(row(0), row(1)).replace("cs_a", "cs_d"), now=1.0)
    machine.receive(completed(70).replace("cs_a", "cs_d"), now=1.0)
    machine.receive(text, now=2.0)
    events = machine.events()
    assert {event.session for event in events} >= {"cs_a", "cs_b", "cs_d"}
    failed = [event for event in events if isinstance(event, RequestFailed)]
    assert {(e.session, e.error.retryable) for e in failed} == {
        ("cs_a", True),
        ("cs_b", True),
        ("cs_d", True),
    }
    assert machine.open_sessions == 2


def test_a_lost_message_that_names_its_session_ends_that_one_alone():
    """The others have lost nothing."""
    machine, _ = started(row(0), row(1))
    machine.open("cs_b", MINUTE, now=1.0, deadline=60.0)
    machine.receive(encode('{"m":"du","p":["cs_b",]}}'), now=2.0)
    assert [event.session for event in machine.events()] == ["cs_b"]


def test_streams_wake_one_after_the_other():
    """Each closes its bar at its own time, and none is looked at for another's."""
    machine, _ = started(row(0), row(1))
    machine.open("cs_b", MINUTE, now=1.0, deadline=60.0)
    items = [{"i": i, "v": row(n)} for i, n in enumerate((0, 2))]
    update = {"sds_1": {"s": items, "t": "s1", "lbs": {"bar_close_time": T0 + 180}}}
    done = server("series_completed", "cs_b", "sds_1", "streaming", "s1", {})
    machine.receive(json_packet("timescale_update", "cs_b", update) + done, now=1.0)
    machine.events()
    told = []
    for _ in range(2):
        machine.tick(machine.next_deadline())
        machine.receive_pong(machine.last_received_at + 60.0)
        told += [event.session for event in machine.events() if isinstance(event, StreamUpdated)]
    assert told == ["cs_a", "cs_b"]
    # One pong closes what was due before it, and not what became due since.
    machine.tick(machine.next_deadline() or 1e6)
    assert machine.next_deadline() is None


def test_delayed_data_are_of_the_past():
    """A quarter of an hour ago is now, and a bar closes by that clock."""
    machine, event = started(row(0), row(1), at=970, mode="delayed_streaming_900")
    assert event.market_time_s == T0 + 70
    assert 53.0 < machine.next_deadline() < 53.1


def test_without_a_clock_only_a_successor_closes():
    """A server that never reports its time has none that could be carried forward."""
    machine = machine_following()
    message = server("series_completed", "cs_a", "sds_1", "streaming", "s1")
    machine.receive(bars(row(0), row(1)) + message, now=1.0)
    (event,) = machine.events()
    assert (event.market_time_s, machine.next_deadline()) == (None, None)
    assert times(event.update) == [0]


def test_it_goes_on_from_the_bar_that_was_told_last():
    """A few bars are requested first, and more until the last one is among them."""
    request = StreamRequest("NASDAQ:AAPL", "1", after=Bar(*row(0)))
    machine = machine_following(request)
    assert sent_by(machine)[-1]["p"][-2:] == [3, ""]
    machine.receive(resolved() + bars(row(8), row(9), row(10)) + completed(610), now=1.0)
    assert machine.events() == [Paged("cs_a")]
    assert sent_by(machine) == [{"m": "request_more_data", "p": ["cs_a", "sds_1", 9]}]
    machine.receive(bars(*(row(n) for n in range(-1, 8))) + completed(610), now=1.0)
    (event,) = machine.events()
    assert times(event.update) == list(range(1, 10))
    assert event.update.gaps == ()


def test_what_cannot_be_reached_is_a_gap():
    """At most this number of bars is requested; the rest is reported as missing."""
    request = StreamRequest("NASDAQ:AAPL", "1", after=Bar(*row(0)), max_bars=5)
    machine = machine_following(request)
    machine.receive(bars(row(98), row(99), row(100)) + completed(6010), now=1.0)
    machine.data_to_send()
    machine.receive(bars(row(96), row(97)) + completed(6010), now=1.0)
    event = machine.events()[-1]
    assert times(event.update) == [96, 97, 98, 99]
    assert event.update.gaps == ((T0, T0 + 96 * 60),)


@pytest.mark.parametrize(("info", "gaps"), [("end", 1), ("limit", 1)])
def test_history_that_begins_later_is_a_gap(info, gaps):
    """Bars between the last one and the oldest are missing, whatever the server says of them."""
    request = StreamRequest("NASDAQ:AAPL", "1", after=Bar(*row(0)))
    machine = machine_following(request)
    machine.receive(bars(row(2), row(3)) + completed(190, data_completed=info), now=1.0)
    (event,) = machine.events()
    assert len(event.update.gaps) == gaps
    assert times(event.update) == [2]


def test_an_answer_without_bars_is_none():
    """Where there are some: what completes before its bars come is requested again."""
    request = StreamRequest("NASDAQ:AAPL", "1", after=Bar(*row(0)))
    machine = machine_following(request)
    machine.receive(completed(70), now=1.0)
    (event,) = machine.events()
    assert isinstance(event.error, ProtocolError)
    assert event.error.retryable
    machine = machine_following()
    machine.receive(completed(70), now=1.0)
    (event,) = machine.events()
    assert event.update.is_empty


@pytest.mark.parametrize(("number", "gaps"), [(1, ()), (5, ((T0, T0 + 5 * 60),))])
def test_an_answer_without_bars_is_believed_in_the_end(number, gaps):
    """A stream that accepts it starts, and the next closed bar shows whether bars are missing."""
    request = StreamRequest("NASDAQ:AAPL", "1", after=Bar(*row(0)), accepts_no_bars=True)
    machine = machine_following(request)
    machine.receive(completed(70), now=1.0)
    (event,) = machine.events()
    assert isinstance(event, StreamStarted)
    assert event.update.is_empty
    update = bars(row(number), row(number + 1), method="du", at=60 * number + 70)
    machine.receive(update, now=2.0)
    (event,) = machine.events()
    assert times(event.update) == [number]
    assert event.update.gaps == gaps


def test_a_look_ends_with_its_answer():
    """Without following the session is freed at once."""
    request = StreamRequest("NASDAQ:AAPL", "1", follow=False)
    machine, event = started(row(0), row(1), request=request)
    assert times(event.update) == [0]
    assert sent_by(machine) == [{"m": "chart_delete_session", "p": ["cs_a"]}]
    assert machine.open_sessions == 0


def test_a_stream_has_no_deadline_once_it_runs():
    """Silence is a quiet market; before the start it is a timeout."""
    machine, _ = started(row(0), row(1))
    machine.tick(50.0)
    machine.tick(10_000.0)
    assert not any(isinstance(e, RequestFailed | ConnectionFailed) for e in machine.events())
    machine = machine_following()
    machine.tick(30.0)
    (event,) = machine.events()
    assert isinstance(event.error, WebSocketTimeoutError)


def test_other_messages_of_the_session_change_nothing():
    """Stale turnarounds, future tick marks, other series, empty updates, a second completion."""
    machine, _ = started(row(0), row(1))
    future = server("timescale_update", "cs_a", {}, {"index": 2, "changes": [T0 + 600]})
    other = server("du", "cs_a", {"sds_2": {"s": [{"i": 0, "v": row(5)}], "t": "s1"}})
    noise = [bars(row(9), turnaround="s0"), bars(), future, other, completed(71)]
    machine.receive("".join(noise), now=2.0)
    assert machine.events() == []


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (server("symbol_error", "cs_a", "sds_sym_1", "invalid symbol"), SymbolNotFoundError),
        (server("series_error", "cs_a", "sds_1", "s1", "something"), DataError),
        (server("critical_error", "cs_a", "invalid parameters", "x"), DataError),
    ],
)
def test_a_refusal_ends_it(message, error):
    """Also while it is followed, when a symbol is delisted."""
    for machine in (machine_following(), started(row(0), row(1))[0]):
        machine.receive(message, now=2.0)
        (event,) = machine.events()
        assert (event.session, type(event.error)) == ("cs_a", error)
        assert machine.open_sessions == 0


def test_a_time_that_no_bar_has_ends_it():
    """Milliseconds, say: the update is a violation, and nothing of it is taken."""
    machine, _ = started(row(0), row(1))
    machine.receive(bars([1.7e12, 1.0, 1.0, 1.0, 1.0, 1.0]), now=2.0)
    (event,) = machine.events()
    assert isinstance(event, RequestFailed)
    assert machine.counters["violations"] == 1


def test_updates_without_close_times_and_bars_of_any_interval():
    """An interval that is not known has no length, and then only a successor closes."""
    request = StreamRequest("NASDAQ:AAPL", "7")
    machine = machine_following(request)
    update = {"sds_1": {"s": [{"i": 0, "v": row(0)}, {"i": 1, "v": row(7)}], "t": "s1"}}
    machine.receive(json_packet("timescale_update", "cs_a", update) + completed(430), now=1.0)
    (event,) = machine.events()
    assert (times(event.update), event.closes_at_s) == ([0], math.inf)
    update = {"sds_1": {"s": [{"i": 2, "v": row(14)}], "t": "s1"}}
    machine.receive(json_packet("du", "cs_a", update), now=2.0)
    (event,) = machine.events()
    assert times(event.update) == [7]


def json_packet(method, *parameters):
    return server(method, *json.loads(json.dumps(parameters)))
