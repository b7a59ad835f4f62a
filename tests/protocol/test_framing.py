"""Packets in and out: the length rule, its fall-backs, and slices of any size."""

import json
import re
import timeit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tvDatafeed.protocol.framing import (
    MAX_PACKET_UNITS,
    MAX_PACKETS_PER_TEXT,
    MAX_VIOLATIONS_PER_TEXT,
    PacketDecoder,
    Violation,
    encode,
)

# What the wire carries: JSON objects with any text inside, and heartbeats.
TEXTS = st.text() | st.sampled_from(
    ["~m~12~m~", "~h~5", "삼성전자보통주", "\U0001f680", "~m", "~m~3"]
)
PAYLOADS = st.one_of(
    st.builds(
        lambda m, p: json.dumps({"m": m, "p": p}, ensure_ascii=False),
        TEXTS,
        st.lists(TEXTS, max_size=3),
    ),
    st.integers(0, 10**9).map(lambda n: f"~h~{n}"),
)


def utf16_units(text):
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def payloads(decoded):
    return [item for item in decoded if isinstance(item, str)]


def violations(decoded):
    return [item for item in decoded if isinstance(item, Violation)]


@given(st.text(st.characters()))
@example("\U0001f680")
@example("\ud83d\ude80")
def test_length_counts_utf16_code_units(payload):
    """The declared length is that of JavaScript's string, also for lone surrogates."""
    declared = re.match(r"~m~(\d+)~m~", encode(payload))
    assert int(declared[1]) == utf16_units(payload)


@given(st.text(st.characters(), min_size=1))
@example("~m~12~m~")
@example("~h~5")
@example("\ud83d\ude80 \U0001f680")
def test_any_payload_survives_the_round_trip(payload):
    """What is encoded alone is decoded as it was, whatever it holds."""
    assert PacketDecoder().feed(encode(payload)) == [payload]


@given(st.lists(PAYLOADS, max_size=6))
def test_packets_glued_together_come_apart(sent):
    """Packets of one message are cut where their lengths say."""
    assert PacketDecoder().feed("".join(map(encode, sent))) == sent


@given(st.lists(PAYLOADS, min_size=1, max_size=4), st.data())
def test_slicing_changes_nothing(sent, data):
    """Packets cut anywhere, in headers and inside characters' payloads, give the same payloads."""
    text = "".join(map(encode, sent))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    decoder = PacketDecoder()
    received = []
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        received += decoder.feed(text[start:end])
    assert received == sent


@given(st.lists(PAYLOADS, min_size=1, max_size=3))
def test_single_characters_are_slices_too(sent):
    """A stream that comes character by character gives the same payloads."""
    decoder = PacketDecoder()
    assert [p for c in "".join(map(encode, sent)) for p in decoder.feed(c)] == sent


@given(st.lists(st.text(alphabet='~mh0123456789-{}"a\U0001f680삼') | PAYLOADS.map(encode)))
def test_any_text_gives_payloads_or_violations(texts):
    """Nothing that the server sends raises, and payloads are never empty."""
    decoder = PacketDecoder()
    for text in texts:
        for item in decoder.feed(text):
            assert isinstance(item, Violation) or item


@pytest.mark.parametrize(
    "name",
    ["삼성전자보통주", "Dogecoin \U0001f415", "BTC₿ \U0001f680\U0001f680", "plain"],
)
@pytest.mark.parametrize(
    "length",
    [utf16_units, len, lambda text: len(text.encode())],
    ids=["code units", "code points", "bytes"],
)
@pytest.mark.parametrize("following", [[], ["~h~1"], ['{"m":"du","p":["cs_a"]}', "~h~12"]])
def test_length_is_understood_in_three_units(name, length, following):
    """A packet whose length counts code units, code points or bytes is cut at its end."""
    payload = json.dumps({"m": "qsd", "p": ["qs", {"n": "A", "v": name}]}, ensure_ascii=False)
    text = f"~m~{length(payload)}~m~{payload}" + "".join(map(encode, following))
    assert PacketDecoder().feed(text) == [payload, *following]


def test_length_in_bytes_is_understood_when_the_packet_comes_in_slices():
    """The end of a message settles how many bytes there were, also over several messages."""
    payload = '{"m":"qsd","p":["삼성전자보통주"]}'
    text = f"~m~{len(payload.encode())}~m~{payload}"
    decoder = PacketDecoder()
    assert decoder.feed(text[:20]) == []
    assert decoder.feed(text[20:]) == [payload]


@pytest.mark.parametrize("broken", ["~m~-5~m~", "~m~~m~", f"~m~{'9' * 40}~m~", "garbage", "~m~x"])
def test_text_outside_a_packet_is_one_violation(broken):
    """An invalid header is counted, and the packets around it arrive."""
    decoded = PacketDecoder().feed(encode('{"m":"a"}') + broken + encode("~h~2"))
    assert payloads(decoded) == ['{"m":"a"}', "~h~2"]
    assert len(violations(decoded)) == 1


@pytest.mark.parametrize("delta", [-5, -1, 1, 3, 5])
def test_wrong_length_is_a_violation_and_the_next_packet_arrives(delta):
    """A length that is off by a few is counted; the payload is saved and so is the next one."""
    payload = '{"m":"series_loading","p":["cs","sds_1","s1"]}'
    text = f"~m~{len(payload) + delta}~m~{payload}" + encode("~h~7") + encode("~h~8")
    decoded = PacketDecoder().feed(text)
    assert payloads(decoded) == [payload, "~h~7", "~h~8"]
    assert [v.what for v in violations(decoded)] == ["wrong packet length"]


@pytest.mark.parametrize(
    "payload", ['{"m":"series_loading","p":["cs","sds_1","s1"]}', '{"v":"삼성"}']
)
def test_wrong_length_at_the_end_waits_for_the_next_message(payload):
    """A last packet that says it is longer is given up when the next message proves it wrong."""
    decoder = PacketDecoder()
    assert decoder.feed(f"~m~{len(payload.encode()) + 4}~m~{payload}") == []
    decoded = decoder.feed(encode("~h~7"))
    assert payloads(decoded) == [payload, "~h~7"]
    assert len(violations(decoded)) == 1


def test_a_header_without_a_payload_is_a_violation():
    """A packet that was announced and never came leaves the next one whole."""
    decoded = PacketDecoder().feed("~m~3~m~" + encode("~h~7"))
    assert payloads(decoded) == ["~h~7"]
    assert len(violations(decoded)) == 1


def test_wrong_length_of_a_non_ascii_packet_is_a_violation():
    """No unit fits: the packet is cut at the next header."""
    payload = '{"v":"삼성\U0001f680"}'
    decoded = PacketDecoder().feed(f"~m~4~m~{payload}" + encode("~h~7"))
    assert payloads(decoded) == [payload, "~h~7"]
    assert len(violations(decoded)) == 1


def test_length_that_ends_inside_a_character_is_a_violation():
    """Bytes that end in the middle of a character do not make a payload."""
    payload = '{"v":"삼삼삼"}'
    decoded = PacketDecoder().feed(f"~m~8~m~{payload}" + encode("~h~7"))
    assert payloads(decoded) == [payload, "~h~7"]


def test_bytes_that_end_at_a_boundary_must_hold_json():
    """A cut that only looks like one in bytes is not taken for a payload."""
    text = f"~m~{len('삼삼'.encode())}~m~삼삼~m~4~m~~h~7"
    decoded = PacketDecoder().feed(text)
    assert payloads(decoded) == ["삼삼", "~h~7"]
    assert [v.what for v in violations(decoded)] == ["wrong packet length"]


def test_packet_beyond_the_budget_is_refused_by_its_header():
    """A giant packet is never waited for: its header is skipped and counted."""
    decoded = PacketDecoder().feed(f"~m~{MAX_PACKET_UNITS + 1}~m~" + encode("~h~7"))
    assert payloads(decoded) == ["~h~7"]
    assert [v.what for v in violations(decoded)] == ["packet too long"]


def test_a_text_of_violations_is_given_up():
    """After a few violations the rest of a text is not looked at: time stays linear."""
    decoded = PacketDecoder().feed("~m~2~m~{}x" * 50_000)
    assert len(violations(decoded)) == MAX_VIOLATIONS_PER_TEXT


def test_a_message_of_too_many_packets_is_given_up():
    """A message has a bound on its packets, and what lies beyond is one violation."""
    decoded = PacketDecoder().feed("~m~2~m~{}" * (MAX_PACKETS_PER_TEXT + 5))
    assert payloads(decoded) == ["{}"] * MAX_PACKETS_PER_TEXT
    (violation,) = violations(decoded)
    assert violation.lost == "~m~2~m~{}" * 5


def test_time_is_linear_also_behind_an_astral_character():
    """One emoji at the end does not make every packet before it slow."""

    def seconds(text):
        return min(timeit.repeat(lambda: PacketDecoder().feed(text), number=1, repeat=3))

    many = "~m~2~m~{}" * 9000
    assert seconds(many + encode("\U0001f680")) < 20 * seconds(many) + 0.05


def test_lost_text_is_kept_for_those_who_miss_it():
    """Text outside a packet, and a header too long, are returned completely; reprs stay short."""
    lost = "~m~9x9~m~" + "z" * 5000
    (violation,) = PacketDecoder().feed(lost)
    assert violation.lost == lost
    assert len(repr(violation)) < 300


def test_nothing_gives_nothing():
    """An empty message is neither a packet nor a violation."""
    assert PacketDecoder().feed("") == []


def test_code_points_of_nothing_but_astral_characters():
    """Two emoji declared as two are two, whatever unit the first one would fit."""
    packets = PacketDecoder().feed("~m~2~m~\U0001f680\U0001f680" + encode("~h~7"))
    assert packets == ["\U0001f680\U0001f680", "~h~7"]
