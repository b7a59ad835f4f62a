"""Packets: TradingView's ``~m~<length>~m~<payload>`` framing, as text in and payloads out.

The length counts UTF-16 code units, the unit of JavaScript's ``string.length``: a recorded
frame of 99 characters and 113 UTF-8 bytes declares 99. For characters outside the Basic
Multilingual Plane only the logic of the official client is known, so the decoder falls back
to code points and then to UTF-8 bytes where the exact cut does not end at a packet's end.
"""

import re
from dataclasses import dataclass, field

import msgspec

# Far above the largest known reply (20 000 bars are 1.9 M characters), far below a problem for
# memory.
MAX_PACKET_UNITS = 64 * 1024 * 1024
# A message of the server contains a few packets; a page with several charts came in 42.
MAX_PACKETS_PER_TEXT = 10_000
# A connection is closed after a few violations, so parsing further would waste time.
MAX_VIOLATIONS_PER_TEXT = 8

_LONGEST_HEADER = len("~m~") + 10 + len("~m~")
_HEADER = re.compile(r"~m~([0-9]{1,10})~m~")
_CUT_HEADER = re.compile(r"~(?:m(?:~(?:[0-9]{1,10}(?:~m?)?)?)?)?\Z")
_HEARTBEAT = re.compile(r"~h~[0-9]+")
_ASTRAL = re.compile("[\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Violation:
    """A breach of the wire's rules by the server.

    Parameters
    ----------
    what
        The rule that was broken, in words.
    lost
        All of the text that was lost with it; only the session ids in it show whose answer it
        belonged to.
    is_whole
        Whether the lost text is one whole message, so that it names its session if it has one.
        Otherwise it may be for any session.
    """

    what: str
    lost: str = field(default="", repr=False)
    is_whole: bool = False


def encode(payload: str) -> str:
    """Frame one payload.

    Parameters
    ----------
    payload
        The text to send; any string, of any characters.

    Returns
    -------
    str
        The packet, its length counted in UTF-16 code units.
    """
    return f"~m~{_units(payload)}~m~{payload}"


class PacketDecoder:
    """Cut a stream of text into payloads, in any slicing.

    A packet may be complete, joined to others, or spread over several texts. A wrong length or text
    outside a packet yields a `Violation`, and the decoder continues at the next header. Time is
    linear in the length of the text, and the buffer is limited to one packet.

    A packet whose declared length is too long ends at the next text that begins with a packet.
    TradingView itself never splits a packet over two messages (recorded 2025-12-18).

    Parameters
    ----------
    max_packet_units
        The longest packet that is accepted, in UTF-16 code units.
    """

    def __init__(self, max_packet_units: int = MAX_PACKET_UNITS) -> None:
        self._max_packet_units = max_packet_units
        self._held: list[str] = []
        self._missing_units = 0
        self._missing_bytes = 0

    def feed(self, text: str) -> list[str | Violation]:
        """Add the next text, and return the payloads that are now complete, in order."""
        if not text:
            return []
        if self._held and self._ends_held(text):
            held = "".join(self._held)
            self._held = []
            return [*self._cut(held, is_final=True), *self._cut(text)]
        if self._held:
            self._held.append(text)
            self._missing_units -= _units(text)
            self._missing_bytes -= _utf8_bytes(text)
            # Texts are joined only when the packet can be complete, so that nothing is copied
            # twice.
            if self._missing_units > 0 and self._missing_bytes != 0:
                return []
            text = "".join(self._held)
            self._held = []
        return self._cut(text)

    def _ends_held(self, text: str) -> bool:
        """Return whether a text is a new message, not the continuation of the held one."""
        header = _HEADER.match(text)
        if header is None:
            return False
        end = _payload_end(text, header.end(), int(header[1]))
        if end is not None and _is_readable(text[header.end() : end]):
            return True
        if len(self._held) > 1:
            return False  # the held text is read once, so that time stays linear
        first = _HEADER.match(self._held[0])
        # A complete JSON object has no continuation.
        return first is None or _is_readable(self._held[0][first.end() :])

    def _cut(self, text: str, *, is_final: bool = False) -> list[str | Violation]:
        """Return the packets of a text; the last one is held, unless the text is final."""
        packets: list[str | Violation] = []
        violations = 0
        position = 0
        while position < len(text) and violations < MAX_VIOLATIONS_PER_TEXT:
            if len(packets) >= MAX_PACKETS_PER_TEXT:
                packets.append(_violation("too many packets", text, position, len(text)))
                break
            header = _HEADER.match(text, position)
            if header is None:
                if _CUT_HEADER.match(text, position) and not is_final:
                    self._hold(text[position:], units=1)
                    break
                following = _next_header(text, position + 1)
                packets.append(_violation("text outside a packet", text, position, following))
                violations += 1
                position = following
                continue
            declared = int(header[1])
            start = header.end()
            if declared > self._max_packet_units:
                following = _next_header(text, start)
                packets.append(_violation("packet too long", text, position, following))
                violations += 1
                position = following
                continue
            end = _payload_end(text, start, declared)
            if end is None and not is_final:
                rest = text[start:]
                self._hold(
                    text[position:],
                    units=declared - _units(rest),
                    utf8_bytes=declared - _utf8_bytes(rest),
                )
                break
            if end is None or end < 0:
                end = _next_header(text, start)
                # Its payload is returned: parsing its JSON shows whether a part was lost. A packet
                # whose rest did not come is lost with its header, as one violation.
                if is_final and not _is_readable(text[start:end]):
                    start = end
                packets.append(_violation("wrong packet length", text, position, start))
                violations += 1
            if end > start:
                packets.append(text[start:end])
            position = end
        return packets

    def _hold(self, text: str, *, units: int, utf8_bytes: int = -1) -> None:
        self._held = [text]
        self._missing_units = units
        self._missing_bytes = utf8_bytes


def _payload_end(text: str, start: int, declared: int) -> int | None:
    """Return where the payload ends: None if it is incomplete, -1 if the length is wrong."""
    exact = _units_end(text, start, declared)
    if exact is not None and _is_boundary(text, exact):
        return exact
    if not text.isascii():
        code_points = start + declared
        if code_points <= len(text) and _is_boundary(text, code_points):
            return code_points
        in_bytes = _bytes_end(text, start, declared)
        # A truncated packet is never a JSON document, so the length was counted in bytes.
        if in_bytes is not None and _is_boundary(text, in_bytes) and _is_json(text[start:in_bytes]):
            return in_bytes
    if exact is None:
        return None
    # Garbage follows, but the packet itself is complete.
    return exact if _is_json(text[start:exact]) else -1


def _is_boundary(text: str, index: int) -> bool:
    return (
        index == len(text)
        or _HEADER.match(text, index) is not None
        or _CUT_HEADER.match(text, index) is not None
    )


def _units_end(text: str, start: int, units: int) -> int | None:
    end = start + units
    if not text.isascii():
        for astral in _ASTRAL.finditer(text, start, end):
            if astral.start() >= end:
                break
            end -= 1
    return end if end <= len(text) else None


def _bytes_end(text: str, start: int, size: int) -> int | None:
    encoded = text[start : start + size].encode("utf-8", "surrogatepass")
    if len(encoded) < size:
        return None
    try:
        return start + len(encoded[:size].decode("utf-8"))
    except UnicodeDecodeError:
        return None


def _is_json(payload: str) -> bool:
    try:
        msgspec.json.decode(payload)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return False
    return True


def _is_readable(payload: str) -> bool:
    return _HEARTBEAT.fullmatch(payload) is not None or _is_json(payload)


def _next_header(text: str, position: int) -> int:
    following = _HEADER.search(text, position) or _CUT_HEADER.search(
        text, max(position, len(text) - _LONGEST_HEADER)
    )
    return following.start() if following else len(text)


def _violation(what: str, text: str, start: int, end: int) -> Violation:
    return Violation(what, text[start:end])


def _units(text: str) -> int:
    if text.isascii():
        return len(text)
    return len(text) + sum(1 for _ in _ASTRAL.finditer(text))


def _utf8_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
