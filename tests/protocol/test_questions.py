"""What is asked, page after page, and when an answer is whole: without a server."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.packets import bars_of, completed, sent_by, server
from tvDatafeed.exceptions import (
    DataError,
    EntitlementError,
    ProtocolError,
    SymbolNotFoundError,
    WebSocketTimeoutError,
)
from tvDatafeed.protocol import refusals
from tvDatafeed.protocol.bars import Bar, Bars
from tvDatafeed.protocol.events import (
    Answered,
    History,
    Paged,
    QuotesRequest,
    RequestFailed,
    SeriesRequest,
    SymbolRequest,
)
from tvDatafeed.protocol.literals import ANONYMOUS_TOKEN
from tvDatafeed.protocol.machine import Machine
from tvDatafeed.protocol.series import CLOSED_MARGIN_S


def asking(request, session="cs_a", **limits):
    machine = Machine(ANONYMOUS_TOKEN)
    machine.open(session, request, now=0.0, deadline=60.0, **limits)
    return machine


def rows(first, last, length_s=1.0):
    return [[t * length_s, 1.0, 1.0, 1.0, 1.0, 1.0] for t in range(first, last + 1)]


def receive(machine, *packets, now=1.0):
    """Receive one message, and return the sent packets and the events."""
    machine.receive("".join(packets), now)
    return [(m["m"], *m["p"][1:]) for m in sent_by(machine)], machine.events()


def created(machine):
    return next(m["p"] for m in sent_by(machine) if m["m"] == "create_series")


MORE = "request_more_data"
DONE = ("chart_delete_session",)


def test_long_history_comes_page_by_page():
    """The missing number is requested, never more than a page, until there is enough."""
    machine = asking(SeriesRequest("A:B", "1", 25, page_size=10))
    assert created(machine)[5] == 10
    sent, events = receive(machine, bars_of("cs_a", rows(16, 25)), completed("cs_a"))
    assert (sent, events) == ([(MORE, "sds_1", 10)], [Paged("cs_a")])
    sent, events = receive(machine, bars_of("cs_a", rows(6, 15)), completed("cs_a"))
    assert (sent, events) == ([(MORE, "sds_1", 5)], [Paged("cs_a")])
    sent, (answered,) = receive(machine, bars_of("cs_a", rows(1, 5)), completed("cs_a"))
    assert sent == [DONE]
    assert [bar.time for bar in answered.answer.bars] == [float(t) for t in range(1, 26)]


def test_range_with_an_estimate():
    """After the estimated bars, as many are requested as may have opened since the begin."""
    machine = asking(SeriesRequest("A:B", "1", None, page_size=5, since_s=120.0, first_page=3))
    assert created(machine)[5] == 3
    assert receive(machine, bars_of("cs_a", rows(8, 10, 60.0)), completed("cs_a"))[0] == [
        (MORE, "sds_1", 5)
    ]
    assert receive(machine, bars_of("cs_a", rows(4, 7, 60.0)), completed("cs_a"))[0] == [
        (MORE, "sds_1", 3)
    ]
    sent, (answered,) = receive(machine, bars_of("cs_a", rows(1, 3, 60.0)), completed("cs_a"))
    assert sent == [DONE]
    assert [bar.time for bar in answered.answer.bars] == [60.0 * t for t in range(1, 11)]


@pytest.mark.parametrize("closes_s", [None, 660.0])
@pytest.mark.parametrize("mode", ["streaming", "delayed_streaming_900"])
def test_last_bar_is_closed(closes_s, mode):
    """It is after its close time, or else two lengths after its open, a margin and the delay."""
    over_s = (closes_s or 720.0) + CLOSED_MARGIN_S + (900 if "delayed" in mode else 0)
    bars, asked = Bars.of([Bar(*rows(10, 10, 60.0)[0])]), SeriesRequest("A:B", "1", 1)

    def is_closed(server_time_s):
        return History(asked, bars, {}, mode, None, closes_s, server_time_s).last_bar_is_closed

    assert is_closed(over_s + 0.1)
    assert not is_closed(over_s)
    assert not is_closed(None)


@pytest.mark.parametrize("said", ["end", "limit"])
def test_the_server_says_when_there_are_no_more(said):
    """At the end of history and at the plan's limit nothing more is requested."""
    machine = asking(SeriesRequest("A:B", "1", 25, page_size=10))
    sent_by(machine)
    sent, (answered,) = receive(
        machine, bars_of("cs_a", rows(1, 10)), completed("cs_a", {"data_completed": said})
    )
    assert sent == [DONE]
    assert (len(answered.answer.bars), answered.answer.data_completed) == (10, said)


def test_a_server_that_gives_less_at_a_time_is_asked_on():
    """Fewer bars than requested are the end only if the server says so, or sends none at all."""
    machine = asking(SeriesRequest("A:B", "1", 10))
    sent_by(machine)
    assert receive(machine, bars_of("cs_a", rows(7, 10)), completed("cs_a"))[0] == [
        (MORE, "sds_1", 6)
    ]
    assert receive(machine, bars_of("cs_a", rows(3, 6)), completed("cs_a"))[0] == [
        (MORE, "sds_1", 2)
    ]
    assert receive(machine, completed("cs_a"))[0] == [(MORE, "sds_1", 2)]
    sent, (answered,) = receive(machine, completed("cs_a"))
    assert sent == [DONE]
    assert len(answered.answer.bars) == 8
    assert answered.answer.data_completed is None


def test_two_completions_of_each_page_are_no_end():
    """A server that completes everything twice, as after a range, gives all bars all the same."""
    machine = asking(SeriesRequest("A:B", "1", 30, page_size=10))
    sent_by(machine)
    answers = [bars_of("cs_a", rows(t, t + 9)) for t in (21, 11, 1)]
    asked, events = 1, []
    for answer in answers:
        assert asked > 0
        for packets in ((answer, completed("cs_a")), (completed("cs_a"),)):
            sent, happened = receive(machine, *packets)
            asked += sum(command[0] == MORE for command in sent)
            events += happened
        asked -= 1
    (answered,) = [e for e in events if isinstance(e, Answered)]
    assert [bar.time for bar in answered.answer.bars] == [float(t) for t in range(1, 31)]
    # One request more than there are pages may be on its way, and not one for each completion.
    assert asked <= 1


def test_bars_up_to_a_moment_are_anchored_there():
    """The count has the moment's second in it, and bars that open later do not count."""
    machine = asking(SeriesRequest("A:B", "1", 3, until_s=20.5))
    assert created(machine)[5] == ["bar_count", 21, 3]
    live = bars_of("cs_a", rows(500, 500))
    sent, _ = receive(machine, bars_of("cs_a", rows(19, 21)), live, completed("cs_a"))
    assert sent == [(MORE, "sds_1", 1)]
    sent, (answered,) = receive(machine, bars_of("cs_a", rows(10, 18)), completed("cs_a"))
    assert sent == [DONE]
    assert [bar.time for bar in answered.answer.bars][-4:] == [19.0, 20.0, 21.0, 500.0]


def test_an_end_that_is_not_past_begins_at_the_latest_bar():
    """The count is plain, and what opens after the end does not count all the same."""
    machine = asking(SeriesRequest("A:B", "1", 3, until_s=20.5, is_live=True))
    assert created(machine)[5] == 3
    sent, _ = receive(machine, bars_of("cs_a", rows(19, 21)), completed("cs_a"))
    assert sent == [(MORE, "sds_1", 1)]


def test_a_range_is_paged_until_its_begin():
    """Pages are requested until one reaches back to the begin of the range."""
    machine = asking(SeriesRequest("A:B", "1", None, page_size=5, since_s=12.0, until_s=20.0))
    assert created(machine)[5] == ["bar_count", 21, 5]
    assert receive(machine, bars_of("cs_a", rows(16, 20)), completed("cs_a"))[0] == [
        (MORE, "sds_1", 5)
    ]
    sent, (answered,) = receive(machine, bars_of("cs_a", rows(11, 15)), completed("cs_a"))
    assert sent == [DONE]
    assert len(answered.answer.bars) == 10


def test_live_bars_between_pages_are_no_older_ones():
    """A new bar while pages come is kept, and does not pass for a page."""
    machine = asking(SeriesRequest("A:B", "1", 20, page_size=10))
    sent_by(machine)
    receive(machine, bars_of("cs_a", rows(11, 20)), completed("cs_a"))
    receive(machine, bars_of("cs_a", rows(20, 21), method="du"))
    _, (answered,) = receive(machine, bars_of("cs_a", rows(1, 10)), completed("cs_a"))
    assert [bar.time for bar in answered.answer.bars] == [float(t) for t in range(1, 22)]


def test_each_page_has_its_own_time():
    """The deadline of a page runs from the moment it is requested."""
    machine = asking(SeriesRequest("A:B", "1", 20, page_size=10), page_timeout_s=60.0)
    receive(machine, bars_of("cs_a", rows(11, 20)), completed("cs_a"), now=50.0)
    assert machine.next_deadline() == 110.0
    machine.tick(109.0)
    assert machine.events() == []
    machine.tick(110.0)
    (failed,) = machine.events()
    assert isinstance(failed.error, WebSocketTimeoutError)
    assert failed.error.timeout == 60.0
    assert "10 bars had arrived" in str(failed.error)


@given(
    st.integers(1, 60),
    st.integers(1, 25),
    st.integers(1, 60),
    st.lists(st.integers(1, 12), min_size=60, max_size=60),
)
def test_paging_gives_what_there_is(count, page_size, existing, sizes):
    """However much the server gives at a time, the newest bars come, each once, in order."""
    machine = asking(SeriesRequest("A:B", "1", count, page_size=page_size))
    oldest, events = existing + 1, []
    asked = [m for m in sent_by(machine) if m["m"] == "create_series"]
    for size in sizes:
        if not asked:
            break
        first = max(1, oldest - size)
        info = {"data_completed": "end"} if first == 1 else {}
        page = bars_of("cs_a", rows(first, oldest - 1))
        oldest = first
        machine.receive(page + completed("cs_a", info), now=1.0)
        events += machine.events()
        asked = [m for m in sent_by(machine) if m["m"] == MORE]
    (answered,) = [e for e in events if isinstance(e, Answered)]
    times = [bar.time for bar in answered.answer.bars]
    newest = [float(t) for t in range(1, existing + 1)][-count:]
    assert times[-count:] == newest


def test_options_of_a_symbol_go_into_its_name():
    """Adjustment, session, currency and back-adjustment stand in the symbol's JSON."""
    machine = asking(
        SeriesRequest(
            "A:B",
            "1",
            1,
            session="extended",
            adjustment="dividends",
            currency="EUR",
            backadjusted=True,
        )
    )
    (spec,) = [m["p"][2] for m in sent_by(machine) if m["m"] == "resolve_symbol"]
    assert json.loads(spec.removeprefix("=")) == {
        "symbol": "A:B",
        "adjustment": "dividends",
        "session": "extended",
        "currency-id": "EUR",
        "backadjustment": "default",
    }


def test_symbol_alone_is_described():
    """A symbol can be requested without bars."""
    machine = asking(SymbolRequest("A:B"))
    assert [m["m"] for m in sent_by(machine)] == [
        "set_auth_token",
        "chart_create_session",
        "resolve_symbol",
    ]
    loading = server("series_loading", "cs_a", "sds_1", "s1")
    sent, (answered,) = receive(
        machine, loading, server("symbol_resolved", "cs_a", "sds_sym_1", {"type": "stock"})
    )
    assert sent == [DONE]
    assert answered.answer.info == {"type": "stock"}
    machine.open("cs_b", SymbolRequest("A:C"), now=1.0, deadline=60.0)
    _, (failed,) = receive(machine, server("symbol_error", "cs_b", "sds_sym_1", "invalid symbol"))
    assert isinstance(failed.error, SymbolNotFoundError)


def quote(symbol, values, session="qs_a", status="ok", **more):
    return server("qsd", session, {"n": symbol, "s": status, "v": values, **more})


def quoted(symbol, session="qs_a"):
    return server("quote_completed", session, symbol)


def test_quotes_are_merged_until_each_is_complete():
    """Values of a symbol may come in several messages, and symbols in any order."""
    machine = asking(QuotesRequest(("A:B", "A:C"), ("lp", "volume")), "qs_a")
    assert [(m["m"], *m["p"]) for m in sent_by(machine)][1:] == [
        ("quote_create_session", "qs_a"),
        ("quote_set_fields", "qs_a", "lp", "volume"),
        ("quote_add_symbols", "qs_a", "A:B", "A:C"),
    ]
    sent, events = receive(machine, quote("A:C", {"lp": 1.0}), quote("A:B", {"lp": 2.0}))
    assert (sent, events) == ([], [])
    sent, events = receive(machine, quoted("A:B"), quote("A:X", {"lp": 9.0}), quoted("A:X"))
    assert (sent, events) == ([], [])
    sent, (answered,) = receive(machine, quote("A:C", {"volume": 5}), quoted("A:C"))
    assert sent == [("quote_delete_session",)]
    assert answered.answer.by_symbol == {"A:B": {"lp": 2.0}, "A:C": {"lp": 1.0, "volume": 5}}
    assert answered.answer.errors == {}


@pytest.mark.parametrize(
    ("status", "more", "kind", "words"),
    [
        ("error", {"errmsg": "no_such_symbol"}, SymbolNotFoundError, "'C' not found on A"),
        (
            "permission_denied",
            {"errmsg": "Permission denied", "v": {"alternative": "economics_paid"}},
            EntitlementError,
            "Permission denied (economics_paid)",
        ),
        ("error", {"errmsg": "too many"}, DataError, "too many"),
        ("odd", {}, DataError, "odd"),
    ],
)
def test_a_quote_that_is_refused_is_an_error_of_its_symbol(status, more, kind, words):
    """The refusal has its type and the server's reason, and the others are answered."""
    machine = asking(QuotesRequest(("A:B", "A:C"), ("lp",)), "qs_a")
    refused = server("qsd", "qs_a", {"n": "A:C", "s": status, "v": {}, **more})
    _, (answered,) = receive(machine, quote("A:B", {"lp": 2.0}), quoted("A:B"), refused)
    assert answered.answer.by_symbol == {"A:B": {"lp": 2.0}}
    error = answered.answer.errors["A:C"]
    assert type(error) is kind
    assert words in str(error)


def test_a_quote_session_may_die_or_take_too_long():
    """A critical_error of the session is the request's error, and its time has an end."""
    machine = asking(QuotesRequest(("A:B", "A:C"), ("lp",)), "qs_a")
    sent_by(machine)
    refused = server("critical_error", "qs_a", "invalid_parameters", "quote_add_symbols")
    sent, (failed,) = receive(machine, refused)
    assert sent == []
    assert type(failed.error) is DataError
    assert "A:B and 1 more" in str(failed.error)
    machine.open("qs_b", QuotesRequest(("A:B", "A:C"), ("lp",)), now=1.0, deadline=60.0)
    receive(machine, quote("A:B", {}, "qs_b"), quoted("A:B", "qs_b"))
    machine.tick(60.0)
    (failed,) = machine.events()
    assert "1 of 2 quotes had arrived" in str(failed.error)
    machine.open("cs_b", SymbolRequest("A:B"), now=61.0, deadline=62.0)
    machine.tick(62.0)
    (failed,) = machine.events()
    assert "nothing had arrived" in str(failed.error)


def test_a_text_where_a_number_should_be_is_nan():
    """Null and text in a bar are not numbers; what is not a bar at all is a breach of the rules."""
    machine = asking(SeriesRequest("A:B", "1", 1))
    _, (answered,) = receive(
        machine, bars_of("cs_a", [[1.0, None, "x", 1.0, 1.0, None]]), completed("cs_a")
    )
    (bar,) = answered.answer.bars
    assert [math.isnan(cell) for cell in (bar.open, bar.high, bar.low, bar.volume)] == [
        True,
        True,
        False,
        True,
    ]
    for cells in ([1.0, [], 1, 1, 1], [1.0], [], "row", [None, 1, 1, 1, 1]):
        machine = asking(SeriesRequest("A:B", "1", 1))
        machine.receive(server("du", "cs_a", {"sds_1": {"s": [{"i": 0, "v": cells}]}}), now=1.0)
        assert machine.counters["violations"] == 1
    (failed,) = machine.events()
    assert isinstance(failed, RequestFailed)
    assert isinstance(failed.error, ProtocolError)


@pytest.mark.parametrize(
    ("error", "needs"),
    [
        (refusals.series_refused("A:B", "seconds_not_entitled"), "with the Premium plan"),
        (refusals.series_refused("A:B", "ticks_not_entitled"), "with the Expert plan"),
        (refusals.series_refused("A:B", "resolution_not_entitled"), "with a paid plan"),
        (refusals.series_refused("A:B", "custom_resolution"), "with a paid plan"),
        (
            refusals.symbol_refused("A:B", "permission denied", "group economics_paid"),
            "as the subscription 'economics_paid'",
        ),
        (refusals.symbol_refused("A:B", "permission denied", "symbol A:B"), None),
        (refusals.symbol_refused("A:B", "permission denied"), None),
        (refusals.series_refused("A:B", "futures_not_entitled"), None),
    ],
)
def test_what_a_plan_lacks_is_named(error, needs):
    """Where TradingView's words say what it takes, the error says so too."""
    assert isinstance(error, EntitlementError)
    assert (needs is None) == (error.needs is None)
    if needs is not None:
        assert needs in error.needs
        assert needs in str(error)
    assert str(error).endswith("Sign in with an account whose plan does.")
