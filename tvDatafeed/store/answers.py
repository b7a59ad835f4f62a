"""Answers of TradingView: which of their bars are stored, and how they agree with stored ones.

Only closed bars are stored. A range counts as answered up to the last moment at which a bar that
opened would have closed by now, with its data's delay, so that a bar that comes late is not lost.
"""

import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from tvDatafeed.interval import bar_seconds
from tvDatafeed.protocol.events import History
from tvDatafeed.protocol.series import CLOSED_MARGIN_S, EARLIEST_BAR_S
from tvDatafeed.store.blocks import ROW_BYTES, between, times_in
from tvDatafeed.store.spans import Span, Spans, just_before


@dataclass(frozen=True)
class ClosedPart:
    """What of an answer is final.

    Parameters
    ----------
    packed
        Its closed bars.
    span
        The range that it answers; None when it says nothing for sure.
    no_older
        Whether no bars before its first one exist.
    """

    packed: bytes
    span: Span | None
    no_older: bool


def closed_part(history: History) -> ClosedPart:
    """Return what of an answer can be stored."""
    packed, request = history.bars.packed, history.request
    forming_s = math.inf
    if packed and not history.last_bar_is_closed:
        forming_s = history.bars[-1].time
        packed = packed[:-ROW_BYTES]
    length_s = bar_seconds(request.interval)
    until_s = math.inf if request.until_s is None or request.is_live else request.until_s
    market_s = -math.inf
    if history.server_time_s is not None:
        market_s = history.server_time_s - history.delay_s
    hi = min(until_s, market_s - length_s - CLOSED_MARGIN_S, just_before(forming_s))
    # Only the server knows that there are no older bars: a plan's limit does not prove it.
    no_older = history.data_completed == "end"
    times = times_in(packed)
    if times:
        hi = max(hi, times[-1])
    lo = EARLIEST_BAR_S if no_older else (times[0] if times else math.inf)
    return ClosedPart(packed, (lo, hi) if lo <= hi else None, no_older)


@dataclass(frozen=True)
class Overlap:
    """A range that was stored before and is answered again.

    Parameters
    ----------
    span
        The range.
    is_equal
        Whether all its bars are the same, bit for bit.
    is_restated
        Whether its oldest bar differs: of a split or a dividend, all older bars differ too.
    """

    span: Span
    is_equal: bool
    is_restated: bool


def overlaps_of(part: ClosedPart, spans: Spans) -> Iterator[Span]:
    """Return the stored ranges from the first bar of an answer to its end."""
    if part.span is None or not part.packed:
        return
    first, last = times_in(part.packed[:ROW_BYTES])[0], part.span[1]
    for lo, hi in spans:
        if hi >= first and lo <= last:
            yield max(lo, first), min(hi, last)


def compared(span: Span, stored: bytes, packed: bytes) -> Overlap:
    """Compare the stored bars of a range with those of an answer."""
    new = between(packed, *span)
    if stored == new:
        return Overlap(span, is_equal=True, is_restated=False)
    return Overlap(span, is_equal=False, is_restated=stored[:ROW_BYTES] != new[:ROW_BYTES])


def parts_outside(packed: bytes, spans: Spans) -> Iterator[bytes]:
    """Return the packed bars that lie in none of some ranges, in contiguous pieces."""
    times = times_in(packed)
    start = 0
    for lo, hi in spans:
        before, beyond = bisect_right(times, just_before(lo)), bisect_right(times, hi)
        if before > start:
            yield packed[start * ROW_BYTES : before * ROW_BYTES]
        start = max(start, beyond)
    if start < len(times):
        yield packed[start * ROW_BYTES :]
