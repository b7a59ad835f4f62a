"""The recordings of December 2025 and June 2026: an older page, and a chart with a study."""

import dataclasses
import json

import msgspec
import pytest

from tests.loopback import impatient
from tests.test_recordings import agrees, assert_frame_has, plain_bars, plain_packets, recorded
from tests.testing.client import command
from tvDatafeed import TvDatafeed
from tvDatafeed.config import DataConfig
from tvDatafeed.protocol import messages
from tvDatafeed.protocol.events import Answered, SeriesRequest
from tvDatafeed.protocol.framing import PacketDecoder, encode
from tvDatafeed.protocol.literals import ANONYMOUS_TOKEN
from tvDatafeed.protocol.machine import Machine
from tvDatafeed.testing.wire.recordings import Recording, SeriesIds

OLDER_PAGE = "2025-12-prodata-older-page.json"
WITH_STUDY = "2026-06-bybit-15m-with-study-rsi.json"
SLICES = [None, 4096, 1009]


def texts_of(captures, name):
    """Return the messages of the server, in their order."""
    return [
        entry["data"] if isinstance(entry, dict) else entry
        for entry in recorded(captures, name)
        if isinstance(entry, str) or entry["from"] == "server"
    ]


def sliced(text, size):
    step = size or len(text)
    return [text[start : start + step] for start in range(0, len(text), step)]


def of_series(payloads, session, bars_at_least=1):
    """Return the recorded bars of a chart session."""
    bars = plain_bars(payloads)[session]
    assert len(bars) >= bars_at_least
    return bars


@pytest.mark.parametrize("name", [OLDER_PAGE, WITH_STUDY])
@pytest.mark.parametrize("size", SLICES)
def test_packets(captures, name, size):
    """Each recorded message is cut into its packets, whole and in slices."""
    for text in texts_of(captures, name):
        decoder = PacketDecoder()
        packets = [packet for piece in sliced(text, size) for packet in decoder.feed(piece)]
        assert packets == plain_packets(text)
        assert "".join(map(encode, packets)) == text


@pytest.mark.parametrize("name", [OLDER_PAGE, WITH_STUDY])
def test_values(captures, name):
    """Each recorded message decodes to the values that plain json reads."""
    payloads = [p for text in texts_of(captures, name) for p in plain_packets(text)]
    for payload in payloads:
        if payload.startswith("~h~"):
            continue
        message, plain = messages.decode(payload), json.loads(payload)
        if isinstance(message, messages.Other):
            assert message.method in {"study_loading", "study_completed"}
            assert json.loads(message.parameters) == plain["p"]
        else:
            # The only message whose fields have other names in the client is the hello.
            plain["timestamp_ms"] = plain.get("timestampMs")
            assert agrees(msgspec.to_builtins(message), plain), plain.get("m")


@pytest.mark.parametrize("size", SLICES)
def test_older_page_through_the_machine(captures, size):
    """The client requests the recorded page in the recorded words, and joins it to the first."""
    session = "cs_1EScFq71Fjjf"
    # The page names its series sds_2, the machine its own sds_1.
    texts = [text.replace('"sds_2"', '"sds_1"') for text in texts_of(captures, OLDER_PAGE)]
    machine = Machine(ANONYMOUS_TOKEN)
    request = SeriesRequest("NSE:JUNIPER", "188", 532, page_size=300)
    machine.open(session, request, now=0.0, deadline=60.0)
    sent = ""
    for text in texts:
        for piece in sliced(text, size):
            machine.receive(piece, now=1.0)
        sent += "".join(machine.data_to_send())
    assert encode(command("request_more_data", session, "sds_1", 232)) in sent
    (event,) = [event for event in machine.events() if isinstance(event, Answered)]
    payloads = [p for text in texts for p in plain_packets(text) if not p.startswith("~h~")]
    wanted = of_series(payloads, session, 532)
    assert [msgspec.to_builtins(bar) for bar in event.answer.bars] == wanted
    # An older page carries the close time of the newest bar, not that of its own last one.
    assert event.answer.close_time_s == 1766040780
    assert machine.counters["violations"] == 0


@pytest.mark.parametrize("size", SLICES)
def test_chart_with_a_study_through_the_machine(captures, size):
    """The bars of a chart are complete while its study is still being computed."""
    machine = Machine(ANONYMOUS_TOKEN)
    request = SeriesRequest("BYBIT:BTCUSDT.P", "15", 300)
    machine.open("cs_1Gnv1tJjLsRx", request, now=0.0, deadline=60.0)
    texts = texts_of(captures, WITH_STUDY)
    for text in texts:
        for piece in sliced(text, size):
            machine.receive(piece, now=1.0)
    (event,) = [event for event in machine.events() if isinstance(event, Answered)]
    payloads = [p for text in texts for p in plain_packets(text)]
    assert [msgspec.to_builtins(bar) for bar in event.answer.bars] == of_series(
        payloads, "cs_1Gnv1tJjLsRx", 300
    )
    assert event.answer.info["pro_name"] == "BYBIT:BTCUSDT.P"
    assert event.answer.close_time_s == 1781042400
    assert machine.counters["violations"] == 0


@pytest.mark.parametrize(("n_bars", "older"), [(300, 0), (301, 1), (532, 1), (5000, 2)])
def test_older_page_through_the_loopback(server, captures, n_bars, older):
    """The recorded page is served to the request for older bars, and only to that."""
    payloads = [p for text in texts_of(captures, OLDER_PAGE) for p in plain_packets(text)]
    server.replay("NSE:JUNIPER", payloads)
    bars = of_series([p for p in payloads if "{" in p], "cs_1EScFq71Fjjf", 532)
    config = dataclasses.replace(impatient(server), data=DataConfig(max_bars=300))
    with TvDatafeed(config=config) as tv:
        frame = tv.get_hist("NSE:JUNIPER", n_bars=n_bars, timezone="UTC")
    assert_frame_has(frame, bars[-n_bars:])
    asked = [entry for entry in server.received if entry.method == "request_more_data"]
    assert len(asked) == older


def test_chart_with_a_study_through_the_loopback(server, tv, captures):
    """The recorded chart, served again, is a frame with the recorded values."""
    payloads = [p for text in texts_of(captures, WITH_STUDY) for p in plain_packets(text)]
    server.replay("BYBIT:BTCUSDT.P", payloads)
    frame = tv.get_hist("BYBIT:BTCUSDT.P", n_bars=300, timezone="UTC")
    assert_frame_has(frame, of_series(payloads, "cs_1Gnv1tJjLsRx", 300))


def test_answers_of_a_recording(captures):
    """The first answer has no older bars, and the answer to modify_series is left out."""
    payloads = [p for text in texts_of(captures, OLDER_PAGE) for p in plain_packets(text)]
    recording = Recording(payloads)
    ids = SeriesIds("cs_mine", "my_symbol", "my_series", "my_turn")
    first = [json.loads(payload) for payload in recording.payloads(ids)]
    page = [json.loads(payload) for payload in recording.page_payloads(ids, 0)]
    assert [message["m"] for message in first] == [
        "series_loading",
        "symbol_resolved",
        "timescale_update",
        "series_completed",
    ]
    assert [message["m"] for message in page] == [
        "timescale_update",
        "series_loading",
        "timescale_update",
        "series_completed",
    ]
    assert page[2]["p"][1]["my_series"]["s"][0]["i"] == -232
    assert recording.page_payloads(ids, 1) == []
