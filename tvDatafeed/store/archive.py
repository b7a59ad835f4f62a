"""The archive: an engine, and the rules by which bars come into it and leave it."""

import dataclasses
import logging
import math
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Literal

from tvDatafeed.common.facts import facts
from tvDatafeed.exceptions import StoreCorruptError, StoreError
from tvDatafeed.protocol.events import History
from tvDatafeed.store.answers import ClosedPart, closed_part, compared, overlaps_of, parts_outside
from tvDatafeed.store.engine import Engine, Resolved, Transaction
from tvDatafeed.store.key import SeriesKey, feed_of, resolved_symbol
from tvDatafeed.store.records import SeriesNotes, StoredSeries
from tvDatafeed.store.spans import Span, added, overlapping, removed

logger: logging.Logger = logging.getLogger(__name__)

Restart = Literal["never", "if_restated", "always"]

# How long the counts of uses may wait for the next write.
_USES_WAIT_S = 60.0


@dataclasses.dataclass
class _Uses:
    """How a series was used since that was written last."""

    used_s: float = 0.0
    hits: int = 0
    misses: int = 0


class Archive:
    """Stored bars, for a store's own parts.

    Parameters
    ----------
    engine
        Where they are.
    max_bars
        How many bars are kept: beyond that the series that was used least recently goes first.
        None: all.
    recheck_days
        Days after which the oldest bars of a series are compared with TradingView's again.
    """

    def __init__(self, engine: Engine, *, max_bars: int | None, recheck_days: float) -> None:
        self.engine = engine
        self._max_bars = max_bars
        self._recheck_s = recheck_days * 86400.0
        # Each operation on it is one step: a count may be lost to another thread, and no lock held.
        self._uses: dict[SeriesKey, _Uses] = {}
        self._uses_since = math.inf
        self._is_failing = False
        # How often the store could not be used so far.
        self.failures: int = 0

    @contextmanager
    def reading(self) -> Generator[Transaction]:
        """Return a transaction that sees one state of the store."""
        if time.monotonic() - self._uses_since > _USES_WAIT_S:
            # Those who may only read can do so.
            try:
                self.write_uses()
            except StoreError as error:
                self.warn(error)
        with self.engine.reading() as transaction:
            yield transaction

    @contextmanager
    def writing(self, key: SeriesKey | None = None) -> Generator[Transaction]:
        """Return a transaction that changes the store.

        One that changes a single series names it: it locks no other one, and writes the counts of
        its uses. Before any other transaction all counts are written, and it locks series in the
        order of `Transaction.all`, so that programs never wait for each other in a circle.
        """
        if key is None:
            self.write_uses()
        taken = {} if key is None else self._taken_uses([key])
        with self._uses_kept_on_failure(taken), self.engine.writing() as transaction:
            _add_uses(transaction, taken)
            yield transaction

    def key_of(self, history: History) -> SeriesKey:
        """Return the key of an answer."""
        symbol = resolved_symbol(history.request.symbol, history.info)
        return SeriesKey.of(history.request, symbol, feed_of(history.update_mode))

    def keys_for(self, asked: str, account: str) -> list[Resolved]:
        """Return what a symbol was resolved to before: for this account, else for others."""
        with self.reading() as transaction:
            return transaction.resolved(asked, account)

    def absorb(self, history: History, account: str, *, restart: Restart) -> bool:
        """Store the closed bars of an answer.

        Parameters
        ----------
        history
            The answer.
        account
            Who asked.
        restart
            Whether what was stored before is forgotten: "if_restated" when the oldest bar that
            both have differs.

        Returns
        -------
        bool
            False when the series was restated and `restart` is "never"; nothing is stored then.
        """
        key, part, now_s = self.key_of(history), closed_part(history), time.time()
        with self.writing(key) as transaction:
            # The series is locked before the name, as by all others.
            series = transaction.add(key)
            _resolve(transaction, history.request.symbol, account, key)
            if part.span is None or _contradicts(transaction, series, part):
                return True
            spans = transaction.spans(series)
            overlaps = [
                compared(span, transaction.read(series, *span), part.packed)
                for span in overlaps_of(part, spans)
            ]
            is_restated = any(overlap.is_restated for overlap in overlaps)
            if is_restated and restart == "never":
                return False
            if restart == "always" or is_restated:
                logger.info(
                    "%s %s was restated: stored again",
                    key.symbol,
                    key.interval,
                    extra=facts(key.symbol, interval=key.interval),
                )
                transaction.restart(series)
                spans, overlaps, series.checked_s = [], [], now_s
            for overlap in overlaps:
                if not overlap.is_equal:
                    transaction.erase(series, *overlap.span)
            same = [overlap.span for overlap in overlaps if overlap.is_equal]
            for packed in parts_outside(part.packed, same):
                transaction.write(series, packed)
            if not overlaps:
                # What is stored beside it was not compared with anything yet.
                series.checked_s = now_s if not spans else 0.0
            transaction.set_spans(series, added(spans, part.span))
            series.no_older = series.no_older or part.no_older
            series.used_s = now_s
            series.info = _noted(series.info, history)
            transaction.save(series)
        self._evict(keep=key)
        return True

    def recheck(self, wanted: Iterable[tuple[str, str]]) -> None:
        """Compare the oldest bars of some series, symbol and interval, at the next request."""
        named = set(wanted)
        with self.writing() as transaction:
            for series in transaction.all():
                key = series.key
                if any((name, key.interval) in named for name in (key.symbol, *series.info.names)):
                    series.checked_s = 0.0
                    transaction.save(series)

    def is_due(self, series: StoredSeries) -> bool:
        """Whether the oldest bars of a series should be compared with TradingView's again."""
        return time.time() - series.checked_s >= self._recheck_s

    def note_checked(self, key: SeriesKey) -> None:
        """Record that the oldest bars of a series were compared."""
        with self.writing(key) as transaction:
            series = transaction.find(key)
            if series is not None:
                series.checked_s = time.time()
                transaction.save(series)

    def append(
        self,
        key: SeriesKey,
        asked: str,
        packed: bytes,
        span: Span,
        notes: SeriesNotes,
        *,
        account: str | None = None,
    ) -> None:
        """Store closed bars that did not come as an answer, and that their range is answered.

        Parameters
        ----------
        key
            The series.
        asked
            The symbol that it was asked by.
        packed
            The bars, ascending by time.
        span
            The range in which there are no other bars.
        notes
            What was heard beside them; without a description, the one before stays.
        account
            Who asked; None for a program that brings its own bars.
        """
        with self.writing(key) as transaction:
            series = transaction.add(key)
            spans = transaction.spans(series)
            if overlapping(spans, span):
                transaction.erase(series, *span)
            transaction.write(series, packed)
            both = added(spans, span)
            if not spans:
                series.checked_s = time.time()
            elif len(both) > len(spans):
                # What is stored beside it was not compared with it.
                series.checked_s = 0.0
            transaction.set_spans(series, both)
            if account is not None:
                _resolve(transaction, asked, account, key)
            series.used_s = time.time()
            series.info.names = list(dict.fromkeys([*series.info.names, asked]))
            if notes.symbol:
                series.info.symbol = notes.symbol
            series.info.update_mode = notes.update_mode or series.info.update_mode
            if notes.server_time_s > series.info.server_time_s:
                series.info.server_time_s = notes.server_time_s
                series.info.heard_s = notes.heard_s
            transaction.save(series)
        self._evict(keep=key)

    def forget(self, error: StoreCorruptError) -> None:
        """Remove damaged bars, so that they are requested again."""
        if error.damaged is None:
            self.engine.move_aside(error)
            return
        text, lo, hi = error.damaged
        logger.warning(
            "the bar store %s: %s; its bars are requested again",
            self.engine.url,
            error,
            extra=facts(error=error, url=self.engine.url),
        )
        key = SeriesKey.from_text(text)
        with self.writing(key) as transaction:
            series = transaction.find(key)
            if series is None:
                return
            transaction.erase(series, lo, hi)
            last_before, first_after = transaction.beside(series, lo, hi)
            spans = removed(
                transaction.spans(series),
                (lo, hi),
                last_before=-math.inf if last_before is None else last_before,
                first_after=math.inf if first_after is None else first_after,
            )
            transaction.set_spans(series, spans)
            transaction.save(series)

    def touch(self, key: SeriesKey, *, is_hit: bool) -> None:
        """Count a use of a series."""
        uses = self._uses.setdefault(key, _Uses())
        uses.used_s = time.time()
        uses.hits += is_hit
        uses.misses += not is_hit
        self._uses_since = min(self._uses_since, time.monotonic())

    def write_uses(self) -> None:
        """Write the counts of uses."""
        if not self._uses:
            return
        taken = self._taken_uses(list(self._uses))
        self._uses_since = math.inf
        with self._uses_kept_on_failure(taken):
            with self.engine.reading() as transaction:
                found = [series for key in taken if (series := transaction.find(key)) is not None]
            found.sort(key=lambda series: series.id)
            with self.engine.writing() as transaction:
                _add_uses(transaction, {series.key: taken[series.key] for series in found})

    def evict(self, max_bars: int, *, keep: SeriesKey | None = None) -> int:
        """Remove whole series, least recently used first, until at most `max_bars` are left."""
        with self.writing() as transaction:
            return _evicted(transaction, max_bars, keep=keep)

    @property
    def max_bars(self) -> int | None:
        """How many bars are kept; None: all."""
        return self._max_bars

    def warn(self, error: StoreError) -> None:
        """Log a failure of the store, once until it works again."""
        level = logging.DEBUG if self._is_failing else logging.WARNING
        self._is_failing = True
        self.failures += 1
        logger.log(
            level,
            "the bar store is not used: %s",
            error,
            extra=facts(error=error, url=self.engine.url),
        )

    def works(self) -> None:
        """Note that the store has worked, so that its next failure is logged again."""
        self._is_failing = False

    def _evict(self, *, keep: SeriesKey) -> None:
        if self._max_bars is None:
            return
        with self.engine.reading() as transaction:
            total = sum(series.bars for series in transaction.all())
        if total > self._max_bars:
            with self.writing() as transaction:
                _evicted(transaction, self._max_bars, keep=keep)

    def _taken_uses(self, keys: Iterable[SeriesKey]) -> dict[SeriesKey, _Uses]:
        found = ((key, self._uses.pop(key, None)) for key in keys)
        return {key: uses for key, uses in found if uses is not None}

    @contextmanager
    def _uses_kept_on_failure(self, taken: dict[SeriesKey, _Uses]) -> Generator[None]:
        try:
            yield
        except BaseException:
            for key, uses in taken.items():
                _add(self._uses.setdefault(key, _Uses()), uses)
            raise


def _add_uses(transaction: Transaction, taken: dict[SeriesKey, _Uses]) -> None:
    for key, uses in taken.items():
        series = transaction.find(key)
        if series is not None:
            _add(series, uses)
            transaction.save(series)


def _add(target: "StoredSeries | _Uses", uses: _Uses) -> None:
    target.used_s = max(target.used_s, uses.used_s)
    target.hits += uses.hits
    target.misses += uses.misses


def _evicted(transaction: Transaction, max_bars: int, *, keep: SeriesKey | None = None) -> int:
    every = sorted(transaction.all(), key=lambda series: series.used_s)
    total = before = sum(series.bars for series in every)
    for series in every:
        if total <= max_bars:
            break
        if series.key == keep or not series.bars:
            continue
        transaction.remove(series)
        total -= series.bars
    return before - total


def _contradicts(transaction: Transaction, series: StoredSeries, part: ClosedPart) -> bool:
    """Whether an answer says that there are no bars where some are stored: it is not believed."""
    return (
        not part.packed and part.span is not None and bool(transaction.read(series, *part.span, 1))
    )


def _resolve(transaction: Transaction, asked: str, account: str, key: SeriesKey) -> None:
    resolved = Resolved(key.symbol, key.feed)
    if transaction.resolved(asked, account) != [resolved]:
        transaction.set_resolved(asked, account, resolved)


def _noted(notes: SeriesNotes, history: History) -> SeriesNotes:
    server_time_s, heard_s = notes.server_time_s, notes.heard_s
    if history.server_time_s is not None and history.server_time_s >= server_time_s:
        server_time_s, heard_s = history.server_time_s, time.time()
    return SeriesNotes(
        symbol=history.info or notes.symbol,
        update_mode=history.update_mode,
        server_time_s=server_time_s,
        heard_s=heard_s,
        names=list(dict.fromkeys([*notes.names, history.request.symbol])),
    )
