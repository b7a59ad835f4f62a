"""What to ask TradingView for, so that a request can be answered from the store.

Each question reaches into bars that are stored, so that a split, a dividend or a correction shows.
"""

import math
import re
import time
from dataclasses import dataclass, replace

from tvDatafeed.interval import bar_seconds
from tvDatafeed.protocol.events import SeriesRequest
from tvDatafeed.protocol.series import EARLIEST_BAR_S
from tvDatafeed.store.blocks import ROW_BYTES, times_in
from tvDatafeed.store.engine import Transaction
from tvDatafeed.store.records import SeriesNotes, StoredSeries
from tvDatafeed.store.spans import Span, Spans, newest_until

# Bars of the tail that are requested again: corrections of the last days, and a page of 2 KB.
LEAST_OVERLAP_BARS, MOST_OVERLAP_BARS = 20, 100
# The pages that are compared now and then.
_PAGE_BARS = 20
# Each hole is a round trip.
_MOST_HOLES = 3
_WEEK_S = 7 * 86400.0
_RANGE = re.compile(r"(\d{2})(\d{2})(?:F\d)?-(\d{2})(\d{2})")
_MINUTES_A_DAY = 24 * 60


@dataclass(frozen=True)
class Stored:
    """A series in one state of the store."""

    transaction: Transaction
    series: StoredSeries
    spans: Spans


def needs_newest(request: SeriesRequest) -> bool:
    """Whether the newest bars are requested, of which the last one may still form."""
    return request.until_s is None or request.is_live


def end_of(request: SeriesRequest) -> float:
    """Return the end of a request: its own, or infinity for the newest bars."""
    if request.until_s is None or request.is_live:
        return math.inf
    return request.until_s


def missing_tail(stored: Stored, request: SeriesRequest) -> SeriesRequest | None:
    """Return what to ask for the bars after those that are stored.

    Returns
    -------
    SeriesRequest or None
        None when the stored bars do not help.
    """
    base = newest_until(stored.spans, end_of(request))
    if base is None:
        return None
    length_s = bar_seconds(request.interval)
    overlap = _overlap_bars(stored.series, length_s)
    times = times_in(stored.transaction.read(stored.series, *base, overlap))
    if not times:
        return None
    end_s = min(end_of(request), _server_now_s(stored.series.info))
    new = _expected_bars(stored, base, times[-1], end_s, length_s)
    if request.count is not None and new >= request.count:
        return None
    if request.count is None and request.since_s is not None and request.since_s > base[1]:
        return None
    return replace(
        request,
        count=None,
        since_s=times[0],
        first_page=len(times) + new + 1,
    )


def missing_older(
    stored: Stored, request: SeriesRequest, base: Span, missing: int | None
) -> SeriesRequest | None:
    """Return what to ask for the bars before a span.

    Parameters
    ----------
    stored, request
        The series, and the request for it.
    base
        The span.
    missing
        How many bars are missing before it; None for those since the begin of the request.

    Returns
    -------
    SeriesRequest or None
        None when there are too many holes: to ask for everything is quicker then.
    """
    length_s = bar_seconds(request.interval)
    first = times_in(stored.transaction.read(stored.series, *base, oldest=1))
    until_s = first[0] if first else base[0]
    below = [span for span in stored.spans if span[1] < base[0]]
    lower = newest_until(below, math.inf)
    needed_s = request.since_s if missing is None else until_s - 2 * missing * length_s
    if len([span for span in below if needed_s is None or span[1] >= needed_s]) > _MOST_HOLES:
        return None
    hole = math.inf if lower is None else (until_s - lower[1]) / length_s
    older = replace(request, count=None, since_s=None, until_s=until_s, is_live=False)
    if missing is not None and hole > missing:
        # One more, the first that is stored.
        return replace(older, count=missing + 1)
    since_s = request.since_s
    if lower is not None and (since_s is None or lower[1] >= since_s):
        overlap = _overlap_bars(stored.series, length_s)
        times = times_in(stored.transaction.read(stored.series, *lower, overlap))
        since_s = times[0] if times else lower[0]
        hole += len(times)
    elif since_s is not None:
        hole = (until_s - since_s) / length_s
    if since_s is None:
        return replace(older, count=missing)
    return replace(older, since_s=since_s, first_page=max(int(hole), 0) + 2)


def pages_to_compare(
    stored: Stored, request: SeriesRequest, *, is_tail_asked: bool
) -> list[SeriesRequest]:
    """Return questions for the oldest and the newest stored bars of each span.

    Parameters
    ----------
    stored, request
        The series, and the request for it.
    is_tail_asked
        Whether the newest bars of all are requested anyway.
    """
    questions = []
    for span in stored.spans:
        read = stored.transaction.read
        oldest = times_in(read(stored.series, *span, oldest=_PAGE_BARS))
        newest = times_in(read(stored.series, *span, newest=_PAGE_BARS))
        pages = [oldest]
        if newest != oldest and not (is_tail_asked and span == stored.spans[-1]):
            pages.append(newest)
        questions += [
            replace(request, count=len(times), since_s=None, until_s=times[-1], is_live=False)
            for times in pages
            if times
        ]
    return questions


def is_oldest(stored: Stored, span: Span) -> bool:
    """Whether no bars exist before a span."""
    return stored.series.no_older and span[0] <= EARLIEST_BAR_S


def session_bars(session: str, length_s: float) -> int:
    """Return how many bars one session has.

    Parameters
    ----------
    session
        TradingView's text, such as ``"0930-1600"`` or ``"24x7"``.
    length_s
        The length of a bar, seconds.
    """
    minutes = 0
    # Days with other hours follow after a bar, ranges of one day are joined by commas.
    for found in _RANGE.finditer(session.partition("|")[0].partition(":")[0]):
        opens, closes = (int(found[i]) * 60 + int(found[i + 1]) for i in (1, 3))
        minutes += (closes - opens) % _MINUTES_A_DAY or _MINUTES_A_DAY
    return math.ceil((minutes or _MINUTES_A_DAY) * 60 / length_s)


def _server_now_s(notes: SeriesNotes) -> float:
    """Return the server's clock, carried forward by this machine's since it was heard."""
    now_s = time.time()
    if not notes.server_time_s:
        return now_s
    return notes.server_time_s + max(now_s - notes.heard_s, 0.0)


def _overlap_bars(series: StoredSeries, length_s: float) -> int:
    session = session_bars(str(series.info.symbol.get("session") or ""), length_s)
    return min(max(LEAST_OVERLAP_BARS, session), MOST_OVERLAP_BARS)


def _expected_bars(stored: Stored, base: Span, last_s: float, end_s: float, length_s: float) -> int:
    """Estimate how many bars have opened since the last stored one.

    The same hours a week ago had as many, weekend included; more come as a further page.
    """
    elapsed_s = max(end_s - last_s, 0.0)
    most = int(elapsed_s / length_s) + 1
    week_ago = last_s - _WEEK_S, last_s - _WEEK_S + elapsed_s
    if elapsed_s > _WEEK_S or not (base[0] <= week_ago[0] and most > LEAST_OVERLAP_BARS):
        return most
    then = len(stored.transaction.read(stored.series, *week_ago)) // ROW_BYTES
    return min(most, then + then // 10 + 2)
