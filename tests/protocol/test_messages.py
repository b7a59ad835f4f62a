"""Payloads in, typed messages out; and the client's own payloads."""

import json
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tvDatafeed.protocol import messages
from tvDatafeed.protocol.bars import Bar
from tvDatafeed.protocol.framing import Violation

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
METHODS = st.sampled_from(
    ["timescale_update", "du", "series_completed", "symbol_error", "qsd", "new_thing", 5, None]
)


def decode(method, *parameters, **envelope):
    return messages.decode(json.dumps({"m": method, "p": parameters, **envelope}))


def test_update_gives_bars_by_name():
    """A timescale_update is decoded to bars, turnaround and close time."""
    update = decode(
        "timescale_update",
        "cs_a",
        {
            "sds_1": {
                "node": "n",
                "s": [{"i": 0, "v": [1786714200.0, 306.0, 307.5, 304.3, 305.9, 28229375.0]}],
                "ns": {"d": "", "indexes": []},
                "t": "s1",
                "lbs": {"bar_close_time": 1787255999},
            }
        },
        {"index": 0, "changes": [1786714200.0], "marks": []},
        t=1787292487,
        t_ms=1787292487429,
    )
    assert isinstance(update, messages.TimescaleUpdate)
    assert update.t_ms == 1787292487429
    series = update.p.series["sds_1"]
    assert (update.p.session, series.t, series.lbs.bar_close_time) == ("cs_a", "s1", 1787255999)
    assert series.s[0].v == Bar(1786714200, 306, 307.5, 304.3, 305.9, 28229375)


@pytest.mark.parametrize(
    ("cells", "bar"),
    [
        ([1.0, 2, 3, 4, 5], Bar(1, 2, 3, 4, 5, math.nan)),
        ([1.0, 2, 3, 4, 5, 6, 7], Bar(1, 2, 3, 4, 5, 6)),
        ([1, None, "x", 4, 5, None], Bar(1, math.nan, math.nan, 4, 5, math.nan)),
        ([1.5, 2, 3, 4, 1e100, 1e100], Bar(1.5, 2, 3, 4, 1e100, 1e100)),
        ([1, 2, 3, 4, 5, 263973060.00000003], Bar(1, 2, 3, 4, 5, 263973060.00000003)),
    ],
    ids=["no volume", "open interest", "null and text", "no value", "noisy volume"],
)
def test_bars_of_every_width_are_read(cells, bar):
    """Five cells, six, or more; where there is no number, there is NaN."""
    update = decode("du", "cs_a", {"s1": {"s": [{"i": 0, "v": cells}]}})
    read = msgspec.structs.astuple(update.p.series["s1"].s[0].v)
    assert read == pytest.approx(msgspec.structs.astuple(bar), rel=0, abs=0, nan_ok=True)


@pytest.mark.parametrize(
    ("series", "bars"),
    [
        ({}, {}),
        ({"st1": {"st": [{"i": -1000193, "v": [1.0, 2.0]}], "t": "s1_st1"}}, {"st1": 0}),
        ({"s1": {"s": [], "ns": {"d": "", "indexes": "nochange"}, "t": "s2"}}, {"s1": 0}),
    ],
    ids=["future tick marks", "study only", "cleared"],
)
def test_updates_without_bars_have_none(series, bars):
    """Tick marks of the future, studies and cleared series are updates without bars."""
    update = decode("timescale_update", "cs_a", series, {"index": 300})
    assert {name: len(item.s) for name, item in update.p.series.items()} == bars


def test_old_completion_has_no_info():
    """A series_completed of four parameters is as good as one of five."""
    completed = decode("series_completed", "cs_a", "s1", "streaming", "s1")
    assert completed.p.info is None
    completed = decode(
        "series_completed", "cs_a", "s1", "streaming", "s1", {"data_completed": "end"}
    )
    assert completed.p.info.data_completed == "end"


@pytest.mark.parametrize("payload", ["~h~1", "~h~1234567"])
def test_heartbeat_keeps_its_text(payload):
    """A heartbeat is sent back as it came."""
    assert messages.decode(payload) == messages.Heartbeat(payload)


def test_hello_is_known_by_its_session():
    """The hello has no method; its clock is in milliseconds, or in seconds."""
    hello = messages.decode('{"session_id":"0.1","timestamp":7,"timestampMs":7123}')
    assert hello == messages.Hello("0.1", 7123)
    assert messages.decode('{"session_id":"0.1","timestamp":7}') == messages.Hello("0.1", 7000)
    assert messages.decode('{"session_id":"0.1"}') == messages.Hello("0.1", None)


def test_redirect_names_a_host():
    """A hello may send the client to another host."""
    assert messages.decode('{"redirect":"prodata"}') == messages.Redirect("prodata")


def test_socket_io_prefix_is_understood():
    """The prefix of the official decoder stands before JSON."""
    assert messages.decode('~j~{"redirect":"prodata"}') == messages.Redirect("prodata")


@pytest.mark.parametrize(
    "payload",
    [
        '{"m":"tickmark_update","p":["cs",{}]}',
        '{"m":"du"}',
        '{"m":"du","p":{"a":1}}',
        '{"m":5,"p":[]}',
        '{"p":[1]}',
        "{}",
    ],
    ids=["unknown method", "no parameters", "no list", "number", "no method", "nothing"],
)
def test_what_is_not_understood_is_other(payload):
    """Unknown messages are not violations: the server may grow."""
    assert isinstance(messages.decode(payload), messages.Other)


def test_extra_fields_and_parameters_are_ignored():
    """What the server adds to a known message does not matter."""
    message = decode("series_loading", "cs", "s1", "s1", {"new": 1}, fresh=[1])
    assert message == messages.SeriesLoading(p=messages.SeriesParameters("cs", "s1", "s1"))


@pytest.mark.parametrize(
    "payload",
    [
        '{"m":"du","p":["cs",{"s1":{"s":[{"i":0,"v":[1,2,3',
        '{"m":"du","p":["cs",{"s1":{"s":[{"i":0,"v":["x",2,3,4,5]}]}}]}',
        '{"m":"du","p":["cs",{"s1":{"s":[{"i":0,"v":[1,NaN,3,4,5]}]}}]}',
        '{"m":"du","p":["cs",{"s1":{"s":[{"i":0,"v":[1,Infinity,3,4,5]}]}}]}',
        '{"m":"du","p":["cs",{"s1":{"s":[{"i":0,"v":[1,' + "9" * 400 + ",3,4,5]}]}}]}",
        '{"m":"du","p":["cs",{"s1":{"s":[{"i":0,"v":[1,1e400,3,4,5]}]}}]}',
        '{"m":"du","p":' + "[" * 10_000 + "]" * 10_000 + "}",
        '{"m":"x","p":' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"m":"qsd","p":["\\ud800",{"n":"a","s":"ok"}]}',
        '{"m":"qsd","p":["\ud800",{"n":"a","s":"ok"}]}',
        '{"m":"series_completed","p":["cs"]}',
        "~h~",
        "~h~x",
        "[1]",
        "5",
        "nonsense",
    ],
)
def test_broken_payloads_are_violations(payload):
    """What cannot be read, or has parameters of the wrong kind, is a violation."""
    assert isinstance(messages.decode(payload), Violation)


@given(st.text() | st.builds(lambda m, p: json.dumps({"m": m, "p": p}), METHODS, JSON))
def test_no_payload_raises(payload):
    """Any text is a message or a violation."""
    assert messages.decode(payload) is not None


SENDABLE = st.text(st.characters(exclude_categories=["Cs"]))


@given(SENDABLE, st.lists(SENDABLE | st.integers(-(2**63), 2**63 - 1) | st.booleans()))
def test_client_messages_are_compact_json(method, parameters):
    """A message is read back as it was meant, without spaces between its parts."""
    text = messages.encode(method, *parameters)
    assert json.loads(text) == {"m": method, "p": parameters}
    assert text == json.dumps(json.loads(text), separators=(",", ":"), ensure_ascii=False)


def test_symbol_is_sent_as_the_web_client_sends_it(captures):
    """The symbol's JSON stands behind an equals sign, as in the recorded client frame."""
    recorded = json.loads((captures / "undated-resolve-symbol-future.json").read_text())["p"][2]
    sent = messages.encode_symbol("CME_MINI:ES1!", adjustment="splits", session="regular")
    assert sent[0] == recorded[0] == "="
    ours, theirs = json.loads(sent[1:]), json.loads(recorded[1:])
    assert {k: ours[k] for k in ours.keys() & theirs.keys()} == {
        k: theirs[k] for k in ours.keys() & theirs.keys()
    }
    assert " " not in sent
