"""Spans: the ranges of time that TradingView has answered, with bars or without.

A span is a pair of moments, epoch seconds UTC, both included. The spans of a series are disjoint
and ascending.
"""

import math
from collections.abc import Iterable

Span = tuple[float, float]
Spans = list[Span]


def added(spans: Iterable[Span], new: Span) -> Spans:
    """Return spans with one more; those that touch, with no moment between, become one."""
    lo, hi = new
    kept = []
    for span in spans:
        if span[1] < just_before(lo) or just_after(hi) < span[0]:
            kept.append(span)
        else:
            lo, hi = min(lo, span[0]), max(hi, span[1])
    return sorted([*kept, (lo, hi)])


def removed(spans: Iterable[Span], gone: Span, *, last_before: float, first_after: float) -> Spans:
    """Return spans without a range.

    Parameters
    ----------
    spans
        The spans.
    gone
        The range that is no longer known.
    last_before, first_after
        The bars around it, where the spans beside it end and begin.
    """
    kept = []
    for lo, hi in spans:
        if hi < gone[0] or lo > gone[1]:
            kept.append((lo, hi))
            continue
        if lo <= last_before < gone[0]:
            kept.append((lo, last_before))
        if gone[1] < first_after <= hi:
            kept.append((first_after, hi))
    return kept


def overlapping(spans: Iterable[Span], other: Span) -> Spans:
    """Return the spans that have a moment in common with another one."""
    return [span for span in spans if span[0] <= other[1] and span[1] >= other[0]]


def newest_until(spans: Iterable[Span], moment: float) -> Span | None:
    """Return the last span that begins at a moment or before."""
    return max((span for span in spans if span[0] <= moment), default=None)


def just_after(moment: float) -> float:
    """Return the next moment that a number can have."""
    return math.nextafter(moment, math.inf)


def just_before(moment: float) -> float:
    """Return the last moment before that a number can have."""
    return math.nextafter(moment, -math.inf)
