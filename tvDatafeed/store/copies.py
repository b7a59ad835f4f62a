"""Copies of whole series, which are taken out of one store and put into another."""

import math
import time
from dataclasses import dataclass, field

from tvDatafeed.exceptions import DataNotFoundError, DataValidationError
from tvDatafeed.store.answers import parts_outside
from tvDatafeed.store.archive import Archive
from tvDatafeed.store.blocks import between
from tvDatafeed.store.engine import Resolved
from tvDatafeed.store.key import SeriesKey
from tvDatafeed.store.records import SeriesNotes, StoredSeries
from tvDatafeed.store.reports import moment
from tvDatafeed.store.spans import Span, Spans, added, overlapping


@dataclass(frozen=True)
class SeriesCopy:
    """A stored series with its bars.

    Parameters
    ----------
    key, no_older, checked_s, notes
        As for `records.StoredSeries`.
    packed
        All its bars, as in `protocol.series.Bars`.
    spans
        The ranges that were answered.
    """

    key: SeriesKey
    packed: bytes
    spans: Spans
    no_older: bool = False
    checked_s: float = 0.0
    notes: SeriesNotes = field(default_factory=SeriesNotes)


def copy_of(archive: Archive, key: SeriesKey) -> SeriesCopy:
    """Return a copy of a series.

    Raises
    ------
    DataNotFoundError
        When it is not in the store.
    StoreError
        When the store cannot be read.
    """
    with archive.reading() as transaction:
        series = transaction.find(key)
        if series is None:
            exchange, _, name = key.symbol.rpartition(":")
            raise DataNotFoundError(name, exchange, reason="it was removed from the store")
        return SeriesCopy(
            key,
            transaction.read(series, -math.inf, math.inf),
            transaction.spans(series),
            series.no_older,
            series.checked_s,
            series.info,
        )


def put_copy(archive: Archive, copy: SeriesCopy) -> int:
    """Add a copy to a store; existing bars stay.

    Returns
    -------
    int
        How many bars were added.

    Raises
    ------
    DataValidationError
        When the store has other bars in a range that both have: one of them is older than a
        restatement or a correction.
    StoreError
        When the store cannot be written.
    """
    with archive.writing() as transaction:
        series = transaction.add(copy.key)
        spans, bars_before = transaction.spans(series), series.bars
        shared = [_shared(one, span) for span in copy.spans for one in overlapping(spans, span)]
        for span in shared:
            if transaction.read(series, *span) != between(copy.packed, *span):
                lo, hi = (f"{moment(at_s):%Y-%m-%d}" for at_s in span)
                raise DataValidationError(
                    "bars",
                    f"{copy.key.symbol} {copy.key.interval}",
                    f"differ from those in the store between {lo} and {hi}: keep those, or clear "
                    "the symbol and import again",
                )
        for packed in parts_outside(copy.packed, shared):
            transaction.write(series, packed)
        for span in copy.spans:
            spans = added(spans, span)
        _take_notes(series, copy, is_new=not bars_before, is_compared=bool(shared))
        transaction.set_spans(series, spans)
        transaction.save(series)
        for name in copy.notes.names:
            # Of no account, so that the names that accounts have asked by stay what they are.
            transaction.set_resolved(
                name, f"import-{copy.key.feed}", Resolved(copy.key.symbol, copy.key.feed)
            )
    if archive.max_bars is not None:
        archive.evict(archive.max_bars, keep=copy.key)
    return series.bars - bars_before


def _shared(one: Span, other: Span) -> Span:
    return max(one[0], other[0]), min(one[1], other[1])


def _take_notes(series: StoredSeries, copy: SeriesCopy, *, is_new: bool, is_compared: bool) -> None:
    if is_new:
        series.checked_s = copy.checked_s
    else:
        # What was not compared may be of before a restatement.
        series.checked_s = min(series.checked_s, copy.checked_s) if is_compared else 0.0
    series.no_older = series.no_older or copy.no_older
    series.used_s = time.time()
    names = [*series.info.names, *copy.notes.names]
    if copy.notes.heard_s > series.info.heard_s or not series.info.symbol:
        series.info = copy.notes
    series.info.names = list(dict.fromkeys(names))
