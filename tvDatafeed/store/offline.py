"""Answers from the store alone."""

import math
from dataclasses import replace

from tvDatafeed.protocol.events import History, SeriesRequest
from tvDatafeed.store.blocks import times_in
from tvDatafeed.store.engine import Transaction
from tvDatafeed.store.questions import Stored, end_of, is_oldest
from tvDatafeed.store.readthrough import stored_history
from tvDatafeed.store.records import StoredSeries
from tvDatafeed.store.spans import Span, Spans, just_before


def stored_answer(
    transaction: Transaction, series: StoredSeries, request: SeriesRequest
) -> History:
    """Return the stored bars that a request asks for, all of them closed."""
    stored = Stored(transaction, series, transaction.spans(series))
    end_s = end_of(request)
    if request.count is None:
        since_s = -math.inf if request.since_s is None else request.since_s
        before = transaction.read(series, -math.inf, just_before(since_s), 1)
        packed = before + transaction.read(series, since_s, end_s)
        is_whole = _is_covered(stored, since_s, min(end_s, series.last or end_s))
    else:
        packed = transaction.read(series, -math.inf, end_s, request.count)
        times = times_in(packed)
        is_whole = len(times) >= request.count or _reaches_oldest(stored)
        is_whole = is_whole and bool(times) and _is_covered(stored, times[0], times[-1])
    return replace(stored_history(request, packed, stored), is_partial=not is_whole)


def _reaches_oldest(stored: Stored) -> bool:
    return bool(stored.spans) and is_oldest(stored, stored.spans[0])


def _is_covered(stored: Stored, lo: float, hi: float) -> bool:
    """Whether all bars of a range are stored."""
    spans: Spans = stored.spans
    holder: Span | None = next((span for span in spans if span[0] <= hi <= span[1]), None)
    return holder is not None and (holder[0] <= lo or is_oldest(stored, holder))
