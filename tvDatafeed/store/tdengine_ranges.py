"""Ranges of time, as pairs of moments that are both included, and as whole milliseconds."""

import math
from collections.abc import Iterable, Iterator

from tvDatafeed.exceptions import StoreError
from tvDatafeed.protocol.series import EARLIEST_BAR_S, LATEST_BAR_S
from tvDatafeed.store.spans import Span, Spans, added

EVERYTHING = (float(EARLIEST_BAR_S), float(LATEST_BAR_S))


def union(spans: Iterable[Span], more: Iterable[Span]) -> Spans:
    """Return the spans of both; those that touch become one."""
    result = list(spans)
    for span in more:
        result = added(result, span)
    return result


def intersected(spans: Iterable[Span], place: Span) -> Iterator[Span]:
    """Yield the parts of spans in a range."""
    for lo, hi in spans:
        if hi >= place[0] and lo <= place[1]:
            yield max(lo, place[0]), min(hi, place[1])


def without(spans: Iterable[Span], gone: Span) -> Iterator[Span]:
    """Yield spans without a range."""
    for lo, hi in spans:
        if hi < gone[0] or lo > gone[1]:
            yield lo, hi
            continue
        if lo < gone[0]:
            yield lo, math.nextafter(gone[0], -math.inf)
        if hi > gone[1]:
            yield math.nextafter(gone[1], math.inf), hi


def without_all(spans: Iterable[Span], gone: Iterable[Span]) -> Spans:
    """Return spans without some ranges."""
    result = list(spans)
    for span in gone:
        result = list(without(result, span))
    return result


def is_inside(span: Span, spans: Spans) -> bool:
    """Whether one of some spans has all of another."""
    return any(lo <= span[0] and span[1] <= hi for lo, hi in spans)


def runs(times: Iterable[int], wanted: set[int]) -> Iterator[tuple[int, int]]:
    """Yield ranges that have all times that are not wanted, and no others."""
    run: list[int] = []
    for ms in times:
        if ms not in wanted:
            run.append(ms)
        elif run:
            yield run[0], run[-1]
            run = []
    if run:
        yield run[0], run[-1]


def milliseconds(moment: float) -> int:
    """Return a moment in milliseconds.

    Raises
    ------
    StoreError
        When it has a fraction of one.
    """
    ms = round(moment * 1000.0)
    if ms / 1000.0 != moment:
        raise StoreError(f"TDengine cannot store the time {moment!r}: it has whole milliseconds")
    return ms


def whole_range(span: Span) -> tuple[int, int]:
    """Return the first and the last millisecond in a range."""
    lo, hi = max(span[0], EVERYTHING[0]), min(span[1], EVERYTHING[1])
    # A product may be off by its last digit, in either direction.
    first, last = math.floor(lo * 1000.0) - 1, math.ceil(hi * 1000.0) + 1
    while first / 1000.0 < lo:
        first += 1
    while last / 1000.0 > hi:
        last -= 1
    return first, last
