"""The machine turns packets into the outcome of each request."""

import json

import pytest

from tests.protocol.packets import AAPL, bars_of, completed, machine_with, sent_by, server
from tvDatafeed.exceptions import (
    AuthenticationError,
    DataError,
    EntitlementError,
    ProtocolError,
    RateLimitError,
    SymbolNotFoundError,
    WebSocketError,
)
from tvDatafeed.protocol import series
from tvDatafeed.protocol.events import (
    Answered,
    ConnectionFailed,
    Redirected,
    RequestFailed,
    SeriesRequest,
)
from tvDatafeed.protocol.framing import encode
from tvDatafeed.protocol.literals import ANONYMOUS_TOKEN
from tvDatafeed.protocol.machine import MAX_VIOLATIONS, Machine

SECRET = "made-up-token-of-a-test"


def test_request_is_the_usual_sequence():
    """Token, session, symbol, series: what the minimal client of the recordings sends."""
    machine = Machine(ANONYMOUS_TOKEN)
    machine.open("cs_a", AAPL, now=0.0, deadline=60.0)
    sent = sent_by(machine)
    assert [message["m"] for message in sent] == [
        "set_auth_token",
        "chart_create_session",
        "resolve_symbol",
        "create_series",
    ]
    assert sent[0]["p"] == ["unauthorized_user_token"]
    assert sent[1]["p"] == ["cs_a", ""]
    symbol_id, symbol = sent[2]["p"][1:]
    assert json.loads(symbol.removeprefix("=")) == {
        "symbol": "NASDAQ:AAPL",
        "adjustment": "splits",
        "session": "regular",
    }
    assert sent[3]["p"] == ["cs_a", "sds_1", "s1", symbol_id, "1D", 2, ""]
    assert machine.data_to_send() == []


def test_answer_becomes_one_event():
    """Bars, symbol and completion are one history, and the session is freed."""
    machine = machine_with("cs_a")
    machine.receive(
        server("series_loading", "cs_a", "sds_1", "s1")
        + server("symbol_resolved", "cs_a", "sds_sym_1", {"timezone": "America/New_York"})
        + bars_of("cs_a")
        + completed("cs_a", {"data_completed": "end"}),
        now=1.0,
    )
    (event,) = machine.events()
    assert isinstance(event, Answered)
    history = event.answer
    assert (event.session, history.request) == ("cs_a", AAPL)
    assert [bar.time for bar in history.bars] == [100.0, 200.0]
    assert history.info == {"timezone": "America/New_York"}
    assert (history.update_mode, history.data_completed) == ("streaming", "end")
    assert (history.close_time_s, history.server_time_s) == (300, 500)
    assert sent_by(machine) == [{"m": "chart_delete_session", "p": ["cs_a"]}]
    assert machine.open_sessions == 0
    assert machine.events() == []


def test_live_updates_before_the_completion_count():
    """A du that comes while the answer is under way changes the bar it names."""
    machine = machine_with("cs_a")
    changed = [[200.0, 1.5, 9.0, 1.0, 8.0, 21.0]]
    machine.receive(bars_of("cs_a") + bars_of("cs_a", changed, method="du"), now=1.0)
    machine.receive(completed("cs_a"), now=1.0)
    (event,) = machine.events()
    assert [bar.close for bar in event.answer.bars] == [1.5, 8.0]


@pytest.mark.parametrize(
    "noise",
    [
        bars_of("cs_other"),
        bars_of("cs_a", series="sds_2"),
        bars_of("cs_a", [[150.0, 9, 9, 9, 9, 9]], turnaround="s0"),
        completed("cs_a", turnaround="s0"),
        completed("cs_other"),
        server("symbol_resolved", "cs_other", "sds_sym_1", {}),
        server("series_loading", "cs_other", "sds_1", "s1"),
        server("symbol_error", "cs_other", "sds_sym_1", "invalid symbol"),
        server("series_error", "cs_other", "sds_1", "s1", "resolve error"),
        server("critical_error", "qs_a", "invalid_parameters", "quote_add_symbols"),
        server("series_timeframe", "cs_a", "sds_1", "s1", 0, 1, "12M", True),
        server("timescale_update", "cs_a", {}, {"index": 300}),
        server("study_completed", "cs_a", "st1", "s1_st1"),
        encode('{"session_id":"0.1"}'),
        encode('{"session_id":"0.1","timestampMs":400000}'),
    ],
)
def test_what_is_not_ours_changes_nothing(noise):
    """Other sessions, other series, stale turnarounds and unknown messages leave a request be."""
    machine = machine_with("cs_a")
    machine.receive(noise + bars_of("cs_a") + noise + completed("cs_a"), now=1.0)
    (event,) = machine.events()
    assert [bar.time for bar in event.answer.bars] == [100.0, 200.0]
    assert machine.counters["violations"] == 0


def test_late_reply_of_a_closed_request_is_dropped():
    """What comes for a request that was given up does not reach the next one."""
    machine = machine_with("cs_a", "cs_b")
    machine.close("cs_a")
    machine.close("cs_a")
    assert sent_by(machine) == [{"m": "chart_delete_session", "p": ["cs_a"]}]
    machine.receive(bars_of("cs_a", [[1.0, 1, 1, 1, 1, 1]]) + completed("cs_a"), now=1.0)
    assert machine.events() == []
    assert machine.counters["dropped"] == 2
    machine.receive(bars_of("cs_b") + completed("cs_b"), now=1.0)
    (event,) = machine.events()
    assert event.session == "cs_b"


def test_completion_without_bars_is_an_empty_history():
    """No bars is an answer; what comes after it is dropped."""
    machine = machine_with("cs_a")
    machine.receive(completed("cs_a") + bars_of("cs_a"), now=1.0)
    (event,) = machine.events()
    assert list(event.answer.bars) == []


@pytest.mark.parametrize(
    ("reply", "kind", "reason"),
    [
        (("symbol_error", "sds_sym_1", "invalid symbol"), SymbolNotFoundError, None),
        (("series_error", "sds_1", "s1", "resolve error", "node"), SymbolNotFoundError, None),
        (
            ("symbol_error", "sds_sym_1", "permission denied", "group", "economics_paid"),
            EntitlementError,
            "permission denied (group economics_paid)",
        ),
        (("symbol_error", "sds_sym_1", "something new"), DataError, "something new"),
        (
            ("series_error", "sds_1", "s1", "seconds_not_entitled"),
            EntitlementError,
            "seconds_not_entitled",
        ),
        (
            ("series_error", "sds_1", "s1", "resolution_not_entitled"),
            EntitlementError,
            "resolution_not_entitled",
        ),
        (
            ("series_error", "sds_1", "s1", "custom_resolution"),
            EntitlementError,
            "custom_resolution",
        ),
        (
            ("series_error", "sds_1", "s1", "study_not_auth:BarSetRenko@tv-prostudies-40"),
            EntitlementError,
            "study_not_auth:BarSetRenko@tv-prostudies-40",
        ),
        (
            ("series_error", "sds_1", "s1", "unsupported resolution: INDEX:NDFI, 5"),
            DataError,
            "unsupported resolution: INDEX:NDFI, 5",
        ),
        (
            ("series_error", "sds_1", "s1", {"error": "too deep", "ctx": {"a": 1}}),
            DataError,
            "too deep",
        ),
        (("series_error", "sds_1", "s1", {"ctx": 1}), DataError, '{"ctx":1}'),
        (("series_error", "sds_1", "s1"), DataError, None),
        (
            ("critical_error", "invalid parameters", 'method: create_series. args: "[]"'),
            DataError,
            'invalid parameters (method: create_series. args: "[]")',
        ),
        (("critical_error", "invalid timezone"), DataError, "invalid timezone"),
    ],
)
def test_refusals_are_typed_and_end_their_request_alone(reply, kind, reason):
    """Each refusal is one exception with the server's reason; another request continues."""
    machine = machine_with("cs_a", "cs_b")
    method, *parameters = reply
    machine.receive(server(method, "cs_a", *parameters), now=1.0)
    (event,) = machine.events()
    assert isinstance(event, RequestFailed)
    assert type(event.error) is kind
    assert (event.error.reason or None) == reason
    assert "AAPL" in str(event.error)
    machine.receive(bars_of("cs_b") + completed("cs_b"), now=1.0)
    assert [e.session for e in machine.events()] == ["cs_b"]


def test_only_a_living_session_is_deleted():
    """After a critical_error the server has no such session; after other errors it has."""
    machine = machine_with("cs_a", "cs_b")
    machine.receive(server("critical_error", "cs_a", "invalid parameters"), now=1.0)
    machine.receive(server("series_error", "cs_b", "sds_1", "s1", "resolve error"), now=1.0)
    assert sent_by(machine) == [{"m": "chart_delete_session", "p": ["cs_b"]}]


def test_symbol_not_found_names_symbol_and_exchange():
    """The error has the parts of the symbol that was requested."""
    machine = machine_with("cs_a")
    machine.receive(server("symbol_error", "cs_a", "sds_sym_1", "invalid symbol"), now=1.0)
    (event,) = machine.events()
    assert (event.error.symbol, event.error.exchange) == ("AAPL", "NASDAQ")
    machine.open("cs_b", SeriesRequest("AAPL", "1D", 1), now=1.0, deadline=60.0)
    machine.receive(server("symbol_error", "cs_b", "sds_sym_1", "invalid symbol"), now=1.0)
    (event,) = machine.events()
    assert (event.error.symbol, event.error.exchange) == ("AAPL", None)


@pytest.mark.parametrize(
    ("reason", "kind", "retryable"),
    [
        ("bad auth token", AuthenticationError, False),
        ("user connections limit reached", RateLimitError, True),
        ("banned", WebSocketError, False),
        ("banned by ip", WebSocketError, False),
        ("wrong data", ProtocolError, True),
        ('{unknown_session_id,<<"create_series">>}', ProtocolError, True),
        (None, ProtocolError, True),
    ],
)
def test_connection_refusals_are_typed(reason, kind, retryable):
    """A protocol_error ends the connection with an exception that fits its reason."""
    machine = machine_with("cs_a")
    machine.receive(server("protocol_error", *([reason] if reason else [])), now=1.0)
    (event,) = machine.events()
    assert isinstance(event, ConnectionFailed)
    assert type(event.error) is kind
    assert event.error.retryable is retryable
    assert (reason or "") in str(event.error)


def test_nothing_is_heard_after_the_end():
    """Once the connection has failed its further words are not read."""
    machine = machine_with("cs_a")
    machine.receive(
        server("protocol_error", "wrong data") + bars_of("cs_a") + completed("cs_a"), now=1.0
    )
    machine.receive(completed("cs_a"), now=2.0)
    assert [type(event) for event in machine.events()] == [ConnectionFailed]


def test_redirect_ends_the_connection_with_the_host():
    """A redirect hello is reported with the host it names, and nothing is heard after it."""
    machine = machine_with("cs_a")
    redirect = encode('{"redirect":"prodata.tradingview.com"}')
    machine.receive(redirect + bars_of("cs_a") + completed("cs_a"), now=1.0)
    assert machine.events() == [Redirected("prodata.tradingview.com")]


def test_a_session_too_many_is_a_rate_limit():
    """A refusal to create the session is distinguished from a refusal of the request."""
    machine = machine_with("cs_a")
    details = 'method: chart_create_session. args: "[]"'
    machine.receive(server("critical_error", "cs_a", "session limit", details), now=1.0)
    (event,) = machine.events()
    assert isinstance(event.error, RateLimitError)


def test_secrets_in_the_servers_words_are_masked():
    """A server that repeats our token does not get it into an error."""
    machine = machine_with("cs_a", token=SECRET)
    machine.receive(server("critical_error", "cs_a", f"no {SECRET}", SECRET), now=1.0)
    machine.receive(server("protocol_error", f"bad token {SECRET}"), now=1.0)
    refused, ended = machine.events()
    for event in (refused, ended):
        assert SECRET not in str(event.error)
        assert "***" in str(event.error)


def test_long_and_earlier_tokens_are_masked_too():
    """Neither half a token at the end of a long reason, nor one that was replaced, is shown."""
    token = "eyJhbGciOiJSUzUxMiJ9." + "c2VjcmV0" * 60 + ".c2ln"
    machine = machine_with("cs_a", "cs_b", token=SECRET)
    machine.set_token(token)
    machine.receive(server("critical_error", "cs_a", f"bad token {token}"), now=1.0)
    machine.receive(server("critical_error", "cs_b", f"old token {SECRET}"), now=1.0)
    for event in machine.events():
        assert "c2VjcmV0" not in str(event.error)
        assert SECRET not in str(event.error)


def test_reasons_are_short_and_printable():
    """A reason of a megabyte or with control characters makes a readable message."""
    machine = machine_with("cs_a")
    machine.receive(server("critical_error", "cs_a", "x\x1b[31m\n" + "y" * 10**6), now=1.0)
    (event,) = machine.events()
    assert len(str(event.error)) < 1000
    assert str(event.error).isprintable()


@pytest.mark.parametrize("position", ["before", "between", "after"])
def test_heartbeats_are_echoed_even_glued_to_data(position):
    """Each heartbeat is sent back once, as it came, and the data beside it are read."""
    beat = encode("~h~7")
    text = {
        "before": beat + bars_of("cs_a") + completed("cs_a"),
        "between": bars_of("cs_a") + beat + completed("cs_a"),
        "after": bars_of("cs_a") + completed("cs_a") + beat,
    }[position]
    machine = machine_with("cs_a")
    machine.receive(text, now=1.0)
    assert len(machine.events()) == 1
    assert machine.data_to_send().count(beat) == 1


def test_too_many_violations_end_the_connection():
    """Three breaches of the rules are counted, the next one is the end."""
    machine = machine_with("cs_a")
    for _ in range(MAX_VIOLATIONS):
        machine.receive("junk", now=1.0)
    assert machine.events() == []
    assert machine.counters["violations"] == MAX_VIOLATIONS
    machine.receive("junk", now=1.0)
    (event,) = machine.events()
    assert isinstance(event.error, ProtocolError)


@pytest.mark.parametrize(
    "broken",
    [
        '{"m":"timescale_update","p":["cs_a",{"sds_1":{"s":[{"i":0,"v":[100.0,1.0',
        '{"m":"du","p":["cs_a",{"sds_1":{"s":[{"i":0,"v":[NaN]}]}}]}',
        '{"m":"du","p":["cs_a",{"sds_1":{"s":[{"i":0,"v":["x",1,1,1,1]}]}}]}',
    ],
    ids=["truncated", "not JSON", "wrong kind"],
)
def test_lost_part_of_an_answer_fails_its_request_alone(broken):
    """What is left of an answer never passes for the whole; other requests continue."""
    machine = machine_with("cs_a", "cs_b")
    machine.receive(encode(broken) + bars_of("cs_a") + completed("cs_a"), now=1.0)
    (event,) = machine.events()
    assert (event.session, type(event.error)) == ("cs_a", ProtocolError)
    assert "NASDAQ:AAPL" in str(event.error)
    machine.receive(bars_of("cs_b") + completed("cs_b"), now=1.0)
    assert isinstance(machine.events()[0], Answered)


@pytest.mark.parametrize(
    "lost",
    [
        "~m~9x9~m~" + bars_of("cs_a").partition("~m~")[2].partition("~m~")[2],
        "junk for cs_a",
        encode('{"t_ms":1,"m":"timescale_update","p":["cs_a",{"sds_1":{"s":[{"i":0,"v":[1,2'),
        encode('{ "p" : ["cs_a"'),
        f"~m~{10**9}~m~" + '{"m":"du","p":["cs_a"',
    ],
)
def test_whatever_is_lost_of_an_answer_spoils_it(lost):
    """A session's name in text that could not be read is enough: better asked again than short."""
    machine = machine_with("cs_a", "cs_b")
    machine.receive(lost, now=1.0)
    machine.receive(bars_of("cs_a") + completed("cs_a"), now=1.0)
    (event,) = machine.events()
    assert (event.session, type(event.error)) == ("cs_a", ProtocolError)
    assert event.error.retryable


def test_endless_series_is_refused(monkeypatch):
    """A server that sends bars without end is an error, not a memory."""
    assert series.MAX_BARS == 1_000_000
    monkeypatch.setattr(series, "MAX_BARS", 10_000)
    machine = machine_with("cs_a")
    rows = [[float(t), 1.0, 1.0, 1.0, 1.0] for t in range(600)]
    for page in range(17):
        moved = [[row[0] + page * 1e6, *row[1:]] for row in rows]
        machine.receive(bars_of("cs_a", moved), now=1.0)
    (event,) = machine.events()
    assert "more than 10000 bars" in str(event.error)


@pytest.mark.parametrize("clock", ["9" * 400, "1e308", '"soon"', "null", "-1e300"])
def test_hello_with_an_absurd_clock_has_none(clock):
    """The machine never raises, and no clock is better than a wrong one."""
    machine = machine_with("cs_a")
    machine.receive(encode(f'{{"session_id":"0.1","timestamp":{clock}}}'), now=0.0)
    machine.receive(encode(f'{{"session_id":"0.1","timestampMs":{clock}}}'), now=0.0)
    assert machine.server_time_s(0.0) is None


def test_bar_with_an_impossible_time_fails_its_request():
    """Nothing is dropped in silence: the request says which time was wrong."""
    machine = machine_with("cs_a")
    machine.receive(bars_of("cs_a", [[1786714200000.0, 1, 1, 1, 1, 1]]), now=1.0)
    (event,) = machine.events()
    assert isinstance(event.error, ProtocolError)
    assert "1786714200000" in str(event.error)
    assert machine.counters["violations"] == 1


def test_new_token_is_sent_on_the_same_connection():
    """Another token signs in again; the same one says nothing."""
    machine = machine_with("cs_a", token=SECRET)
    machine.set_token(SECRET)
    assert sent_by(machine) == []
    machine.set_token("another-token")
    assert sent_by(machine) == [{"m": "set_auth_token", "p": ["another-token"]}]


def test_repr_has_no_token():
    """The machine shows sessions and counters, never the token."""
    machine = machine_with("cs_a", token=SECRET)
    machine.receive(encode("~h~1"), now=0.0)
    assert SECRET not in repr(machine)
    assert "connecting open_sessions=1" in repr(machine)
    assert "'heartbeats': 1" in repr(machine)


def test_updates_that_overtook_the_page_count():
    """The page was made before them; and a message that comes twice is not news."""
    machine = machine_with("cs_a")
    old, new = [960.0, 1.0, 1.0, 1.0, 1.0, 1.0], [960.0, 1.0, 2.0, 1.0, 2.0, 2.0]
    older, newer = [900.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1020.0, 3.0, 3.0, 3.0, 3.0, 3.0]

    def sent(*rows, t_ms):
        update = {"s": [{"i": i, "v": v} for i, v in enumerate(rows)], "t": "s1"}
        machine.receive(server("timescale_update", "cs_a", {"sds_1": update}, t_ms=t_ms), now=1.0)

    sent(old, t_ms=961_000)
    machine.receive(bars_of("cs_a", [new], method="du"), now=1.0)
    sent(newer, t_ms=1_021_000)
    sent(old, t_ms=961_000)
    sent(older, old, t_ms=1_022_000)
    machine.receive(completed("cs_a", {"data_completed": "end"}), now=1.0)
    (event,) = machine.events()
    assert [bar.close for bar in event.answer.bars] == [1.0, 2.0, 3.0]
