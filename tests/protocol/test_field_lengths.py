"""A packet whose declared length is too long costs itself alone: the next message ends it."""

import pytest

from tests.protocol.packets import bars_of, completed, machine_with
from tvDatafeed.protocol.events import Answered
from tvDatafeed.protocol.framing import PacketDecoder, Violation, encode

LOADING = '{"m":"series_loading","p":["cs_a","sds_1","s1"]}'
FOLLOWING = ["~h~7", '{"m":"du","p":["cs_a",{}]}']


def packet(payload, beyond):
    """A packet that declares more units than it has."""
    return f"~m~{len(payload) + beyond}~m~{payload}"


def feed_all(*texts):
    decoder = PacketDecoder()
    return [item for text in texts for item in decoder.feed(text)]


def split(items):
    kinds = ([], [])
    for item in items:
        kinds[isinstance(item, Violation)].append(item)
    return kinds


@pytest.mark.parametrize("following", FOLLOWING)
@pytest.mark.parametrize("beyond", [12, 33, 1000, 10**7])
def test_next_message_ends_a_packet_that_is_too_long(beyond, following):
    """The payload is saved, the next message arrives whole, and one violation is counted."""
    payloads, violations = split(feed_all(packet(LOADING, beyond), encode(following)))
    assert payloads == [LOADING, following]
    assert [v.what for v in violations] == ["wrong packet length"]


def test_packets_behind_one_that_is_too_long_arrive():
    """What one packet has swallowed of its own message is cut at the next header."""
    glued = packet(LOADING, 1000) + encode("~h~7") + encode('{"m":"x"}')
    payloads, violations = split(feed_all(glued, encode("~h~8")))
    assert payloads == [LOADING, "~h~7", '{"m":"x"}', "~h~8"]
    assert len(violations) == 1


def test_truncated_payload_is_one_violation_with_all_that_was_lost():
    """A payload that never became whole is named with its header, and is not passed on."""
    payloads, (violation,) = split(feed_all(packet(LOADING[:-3], 3000), encode("~h~7")))
    assert payloads == ["~h~7"]
    assert "cs_a" in violation.lost


@pytest.mark.parametrize("cut", ["~m~1000~m~", "~m~10", "~"])
def test_next_message_ends_a_header_alone(cut):
    """A message that ends inside or behind a header costs itself alone."""
    payloads, violations = split(feed_all(cut, encode("~h~7")))
    assert payloads == ["~h~7"]
    assert len(violations) == 1


def test_messages_that_are_all_too_long_end_each_other():
    """Each is ended by the next one, although none of them is whole by its own length."""
    payloads, violations = split(feed_all(*[packet(LOADING, 10**5)] * 3))
    assert payloads == [LOADING] * 2
    assert len(violations) == 2


def test_header_inside_a_text_does_not_end_a_packet_that_was_split():
    """A proxy may cut messages anywhere, also before a header that a text of the JSON holds."""
    payload = '{"m":"qsd","p":["~m~12~m~ is a text","~m~4~m~"]}'
    text = encode(payload)
    first, second = text.index("~m~12"), text.index("~m~4~")
    pieces = text[:first], text[first:second], text[second:]
    assert feed_all(*pieces) == [payload]


def test_request_is_answered_although_a_packet_was_too_long():
    """The bars of such a packet count, and the answer is complete without its deadline."""
    machine = machine_with("cs_a")
    bars = bars_of("cs_a").split("~m~", 2)[2]
    machine.receive(packet(bars, 5000), now=1.0)
    machine.receive(completed("cs_a"), now=1.1)
    (event,) = machine.events()
    assert isinstance(event, Answered)
    assert len(event.answer.bars) == 2
    assert machine.counters["violations"] == 1
