"""Real recordings as the oracle: the bytes of TradingView against a few lines of plain json."""

import json
import math
import re

import msgspec
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tvDatafeed import ProtocolError, SymbolNotFoundError, TvDatafeed
from tvDatafeed.protocol import messages
from tvDatafeed.protocol.bars import Bar
from tvDatafeed.protocol.events import Answered, RequestFailed, SeriesRequest
from tvDatafeed.protocol.framing import PacketDecoder, encode
from tvDatafeed.protocol.literals import ANONYMOUS_TOKEN
from tvDatafeed.protocol.machine import Machine
from tvDatafeed.testing.wire.recordings import Recording, SeriesIds

PAGE_PACKETS = 42
SINGLE_FRAMES = [
    ("2022-09-du-live-bar.json", messages.DataUpdate, 199),
    ("2023-11-protocol-error-bad-token.json", messages.ProtocolErrorReply, 45),
    ("2024-08-qsd-no-such-symbol.json", messages.QuoteData, 141),
    ("2025-03-critical-error-quote-flags.json", messages.CriticalError, 87),
    ("2026-01-series-completed-limit.json", messages.SeriesCompleted, 157),
    ("undated-qsd-nonascii-99-chars.json", messages.QuoteData, 99),
]


def plain_packets(text):
    """Cut a recording without our decoder: every declared length in it is its characters'."""
    packets, position = [], 0
    while position < len(text):
        header = re.compile(r"~m~(\d+)~m~").match(text, position)
        end = header.end() + int(header[1])
        packets.append(text[header.end() : end])
        position = end
    return packets


def plain_bars(payloads):
    """Read the bars of each session with plain json, the later word on a time winning."""
    sessions = {}
    for message in map(json.loads, payloads):
        if message.get("m") in {"timescale_update", "du"}:
            session, series = message["p"][:2]
            for update in series.values():
                for item in update.get("s", []):
                    sessions.setdefault(session, {})[item["v"][0]] = item["v"]
    return {name: [bars[t] for t in sorted(bars)] for name, bars in sessions.items()}


def agrees(decoded, plain):
    """Whether every decoded value is the recorded one, or a default for one that is absent."""
    if isinstance(decoded, dict):
        return all(agrees(v, plain[k]) if k in plain else is_default(v) for k, v in decoded.items())
    if isinstance(decoded, list):
        present = decoded[: len(plain)]
        return all(map(agrees, present, plain)) and all(map(is_default, decoded[len(plain) :]))
    return decoded == plain


def is_default(decoded):
    """Whether this stands for nothing; to_builtins writes NaN as None."""
    return decoded in (None, [], {}) or decoded != decoded  # noqa: PLR0124


@pytest.fixture(scope="module")
def page(captures):
    return (captures / "2023-06-browser-page.txt").read_text(encoding="utf-8")


def recorded(captures, name):
    return json.loads((captures / name).read_text(encoding="utf-8"))


def test_page_is_cut_into_its_packets(page):
    """All 42 packets of the browser page come out as they stand in the file."""
    packets = PacketDecoder().feed(page)
    assert packets == plain_packets(page)
    assert len(packets) == PAGE_PACKETS
    assert "".join(map(encode, packets)) == page


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_page_may_come_in_slices(page, data):
    """However the page is sliced, the packets are the same."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(page)), max_size=40)))
    decoder = PacketDecoder()
    slices = [page[a:b] for a, b in zip([0, *cuts], [*cuts, len(page)], strict=True)]
    assert [p for piece in slices for p in decoder.feed(piece)] == plain_packets(page)


def test_every_message_of_the_page_has_its_recorded_values(page):
    """Each of the 42 messages decodes to what plain json reads."""
    for payload in plain_packets(page):
        plain, message = json.loads(payload), messages.decode(payload)
        if isinstance(message, messages.Other):
            assert message.method == plain["m"] == "study_completed"
            assert json.loads(message.parameters) == plain["p"]
            continue
        decoded = msgspec.to_builtins(message)
        assert agrees(decoded, plain), plain["m"]
        if plain["m"] in {"timescale_update", "du"}:
            for name, update in plain["p"][1].items():
                assert len(message.p.series[name].s) == len(update.get("s", []))


def test_small_page_decodes_line_by_line(captures):
    """The 31 messages without bars have their recorded values too."""
    lines = (captures / "2023-06-browser-page-small.jsonl").read_text("utf-8").splitlines()
    assert len(lines) == 31
    for line in lines:
        message = messages.decode(line)
        if not isinstance(message, messages.Other):
            assert agrees(msgspec.to_builtins(message), json.loads(line))


@pytest.mark.parametrize("size", [None, 100_000, 1009])
@pytest.mark.slow
def test_page_runs_through_the_machine(page, size):
    """Six charts at once: each session's bars are its own, whole or in slices."""
    wanted = plain_bars(plain_packets(page))
    machine = Machine(ANONYMOUS_TOKEN)
    for session, bars in wanted.items():
        request = SeriesRequest(session, "1", len(bars))
        machine.open(session, request, now=0.0, deadline=60.0)
    # The page numbers its series, the machine calls each of them the first.
    text = re.sub(r'"sds_\d"', '"sds_1"', page)
    step = size or len(text)
    for start in range(0, len(text), step):
        machine.receive(text[start : start + step], now=1.0)
    events = [event for event in machine.events() if isinstance(event, Answered)]
    got = {e.session: [msgspec.to_builtins(bar) for bar in e.answer.bars] for e in events}
    charts = {s: bars for s, bars in wanted.items() if s in got}
    assert len(charts) == 6
    for session, bars in charts.items():
        assert [bar[: len(row)] for bar, row in zip(got[session], bars, strict=True)] == bars
    assert machine.counters["violations"] == 0
    modes = {event.answer.update_mode for event in events}
    assert modes == {"streaming", "delayed_streaming_900"}


def test_history_of_2026(captures):
    """The recorded session gives its five bars, its symbol and its clock."""
    texts = recorded(captures, "2026-08-history-ok.json")
    machine = Machine(ANONYMOUS_TOKEN)
    request = SeriesRequest("NASDAQ:AAPL", "1D", 5)
    machine.open("cs_m4euhx", request, now=0.0, deadline=60.0)
    for text in texts:
        machine.receive(text, now=1.0)
    (event,) = machine.events()
    (wanted,) = plain_bars(plain_packets(texts[1])).values()
    assert [msgspec.to_builtins(bar) for bar in event.answer.bars] == wanted
    info = next(json.loads(p) for p in plain_packets(texts[1]) if "symbol_resolved" in p)["p"][2]
    assert event.answer.info == info
    assert info["full_name"] == "BATS:AAPL"
    assert event.answer.close_time_s == 1787255999
    assert event.answer.server_time_s == 1787292487.429
    assert machine.counters["violations"] == 0


def test_refusal_of_2026(captures):
    """The recorded refusal of a symbol is an error at once, though nothing completes."""
    machine = Machine(ANONYMOUS_TOKEN)
    request = SeriesRequest("NASDAQ:NOPE", "1D", 5)
    machine.open("cs_urdpo2", request, now=0.0, deadline=60.0)
    for text in recorded(captures, "2026-08-history-error.json"):
        machine.receive(text, now=1.0)
    (event,) = machine.events()
    assert isinstance(event, RequestFailed)
    assert isinstance(event.error, SymbolNotFoundError)


@pytest.mark.parametrize(("name", "kind", "declared"), SINGLE_FRAMES)
def test_single_frames(captures, name, kind, declared):
    """Each recorded frame has its type, its values and its declared length."""
    payload = (captures / name).read_bytes().decode("utf-8")
    message = messages.decode(payload)
    assert isinstance(message, kind)
    assert agrees(msgspec.to_builtins(message), json.loads(payload))
    assert encode(payload) == f"~m~{declared}~m~{payload}"
    assert PacketDecoder().feed(f"~m~{declared}~m~{payload}" * 2) == [payload] * 2


def test_recorded_values_by_name(captures):
    """What the client reads out of single frames is what stands in them."""

    def read(name):
        return messages.decode((captures / name).read_text(encoding="utf-8")).p

    (bar,) = read("2022-09-du-live-bar.json").series["s1"].s
    assert bar.v == Bar(1663050540, 1721.18, 1721.75, 1721.17, 1721.74, 229.7826)
    assert read("2026-01-series-completed-limit.json").info.data_completed == "limit"
    assert read("2024-08-qsd-no-such-symbol.json").quote.errmsg == "no_such_symbol"
    assert (
        read("undated-qsd-nonascii-99-chars.json").quote.v["local_description"].startswith("삼성")
    )
    assert read("2025-03-critical-error-quote-flags.json").session.startswith("qs_")


def test_recorded_bad_token_ends_the_connection(captures):
    """The real words of a refused token are understood."""
    payload = (captures / "2023-11-protocol-error-bad-token.json").read_text(encoding="utf-8")
    machine = Machine("made-up")
    machine.receive(encode(payload), now=0.0)
    (event,) = machine.events()
    assert "bad auth token" in str(event.error)


def assert_frame_has(frame, bars):
    """Hold a frame to recorded bars, to the last digit."""
    assert [t.timestamp() for t in frame.index] == [bar[0] for bar in bars]
    columns = ["open", "high", "low", "close", "volume"]
    rows = frame[columns].to_numpy().tolist()
    assert rows == [[*bar[1:5], bar[5] if len(bar) > 5 else 0.0] for bar in bars]
    assert not any(math.isnan(cell) for row in rows for cell in row)


def test_history_of_2026_through_the_loopback(server, tv, captures):
    """The recorded answer, served again, is a frame with the recorded values."""
    payloads = plain_packets(recorded(captures, "2026-08-history-ok.json")[1])
    server.replay("NASDAQ:AAPL", payloads)
    frame = tv.get_hist("NASDAQ:AAPL", n_bars=5, timezone="UTC")
    (bars,) = plain_bars(payloads).values()
    assert_frame_has(frame, bars)
    assert frame.index[0] == pd.Timestamp("2026-08-14 13:30", tz="UTC")
    assert frame.attrs["last_bar_closed"] is True


def test_refusal_of_2026_through_the_loopback(server, tv, captures):
    """The recorded refusal, served again, raises."""
    server.replay("NASDAQ:NOPE", plain_packets(recorded(captures, "2026-08-history-error.json")[1]))
    with pytest.raises(SymbolNotFoundError):
        tv.get_hist("NASDAQ:NOPE")


@pytest.mark.slow
def test_charts_of_2023_through_the_loopback(server, tv, page):
    """Each chart of the page, served again, is a frame with the recorded values."""
    payloads = plain_packets(page)
    wanted = plain_bars(payloads)
    assert len(wanted) == 6
    for number, (session, bars) in enumerate(wanted.items()):
        server.replay(f"CHART:N{number}", [p for p in payloads if session in p])
        frame = tv.get_hist(f"CHART:N{number}", n_bars=5000, timezone="UTC")
        assert_frame_has(frame, bars)


@pytest.mark.slow
def test_each_session_of_the_page_by_its_name(server, tv, page):
    """Of a file with several charts the one that is named is served, else the first of them."""
    payloads = plain_packets(page)
    wanted = plain_bars(payloads)
    for number, (session, bars) in enumerate(wanted.items()):
        server.replay(f"CHART:N{number}", payloads, session=session)
        assert_frame_has(tv.get_hist(f"CHART:N{number}", n_bars=len(bars), timezone="UTC"), bars)
    server.replay("CHART:FIRST", payloads)
    frame = tv.get_hist("CHART:FIRST", n_bars=5000, timezone="UTC")
    assert_frame_has(frame, next(iter(wanted.values())))


def test_session_that_is_not_in_the_page(server, page):
    """An unrecorded session cannot be served, and the error lists the recorded ones."""
    with pytest.raises(ValueError, match=r"no chart session 'cs_none', but .*cs_0USnzSyOw3K4"):
        server.replay("CHART:NONE", plain_packets(page), session="cs_none")


def test_page_ends_where_its_recording_begins(server, tv, page):
    """A client that requests more bars than were recorded gets these, and the end of history."""
    server.replay("CHART:SHORT", plain_packets(page), session="cs_HkkyfdFBmlYf")
    frame = tv.get_hist("CHART:SHORT", n_bars=20_000, timezone="UTC")
    assert len(frame) == 368
    assert "request_more_data" in [entry.method for entry in server.received]
    assert frame.attrs["reason"] == "no older bars exist"


def test_studies_of_the_page_stay_behind(page):
    """Of a chart with a study, a client gets its own series alone, under its own names."""
    ids = SeriesIds("cs_mine", "my_symbol", "my_series", "my_turn")
    recording = Recording(plain_packets(page), "cs_qgmDV4kRhh9c")
    messages = list(map(json.loads, recording.payloads(ids)))
    assert {message["p"][0] for message in messages} == {"cs_mine"}
    assert [message["m"] for message in messages] == [
        "symbol_resolved",
        "series_timeframe",
        "timescale_update",
        "series_timeframe",
        "series_completed",
    ]
    assert messages[2]["p"][1].keys() == {"my_series"}
    assert {message["p"][1] for message in messages[3:]} == {"my_series"}


def test_recording_without_its_end_meets_the_deadline(server, page):
    """An answer whose completion was cut off is a timeout, never a part of the bars."""
    payloads = [p for p in plain_packets(page) if "series_completed" not in p]
    server.replay("CHART:CUT", [p for p in payloads if "cs_0USnzSyOw3K4" in p])
    with TvDatafeed(config=server.config(max_response_time=0.3)) as tv:
        with pytest.raises(Exception, match="3507 bars had arrived") as caught:
            tv.get_hist("CHART:CUT", n_bars=5000)
        assert not isinstance(caught.value, ProtocolError)
