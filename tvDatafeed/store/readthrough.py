"""Reading through: answer a request from the store, and request the rest from TradingView.

A conversation is a generator: it yields questions for TradingView and receives the answers. It
does no network I/O itself, so that many of them can share a dispatcher.
"""

import math
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias, cast

from tvDatafeed.exceptions import StoreCorruptError, StoreError, TvDatafeedError
from tvDatafeed.network.dispatcher import Dispatcher
from tvDatafeed.protocol.bars import Bars
from tvDatafeed.protocol.events import History, SeriesRequest
from tvDatafeed.store.archive import Archive, Restart
from tvDatafeed.store.blocks import ROW_BYTES, between, merged
from tvDatafeed.store.engine import Transaction
from tvDatafeed.store.key import SeriesKey
from tvDatafeed.store.questions import (
    Stored,
    end_of,
    is_oldest,
    missing_older,
    missing_tail,
    needs_newest,
    pages_to_compare,
)
from tvDatafeed.store.spans import newest_until

Answers: TypeAlias = "list[History | TvDatafeedError]"
Conversation: TypeAlias = "Generator[list[SeriesRequest], Answers, History]"

# Each step fills a hole; if there are more, the whole range is requested.
_MAX_STEPS = 20


def conversation(
    archive: Archive, request: SeriesRequest, account: str, *, refresh: bool = False
) -> Conversation:
    """Answer a request from the store, and request the rest from TradingView.

    Parameters
    ----------
    archive
        The store.
    request
        The request.
    account
        Who asks: accounts may receive different bars.
    refresh
        Whether everything is requested from TradingView, and the answer stored.

    Yields
    ------
    list of SeriesRequest
        Questions; send their answers, or errors, in the same order.

    Raises
    ------
    TvDatafeedError
        The error of a question.
    """
    reading = _Reading(archive, request, account)
    if not refresh:
        try:
            history = yield from reading.from_store()
        except StoreError as error:
            archive.warn(error)
        else:
            if history is not None:
                archive.works()
                return history
    return (yield from reading.from_server())


def answers(
    dispatcher: Dispatcher, conversations: Sequence[Conversation], window: int
) -> "Generator[tuple[int, History | TvDatafeedError]]":
    """Run conversations over a dispatcher, a few at a time.

    Close the generator to cancel the rest.

    Yields
    ------
    tuple
        The index of a conversation, and its answer or its error, as it comes.

    Raises
    ------
    TvDatafeedError
        When there is no token, which is not the failure of one conversation.
    """
    waiting = deque(enumerate(conversations))
    open_ones: dict[int, _Round] = {}
    try:
        while waiting or open_ones:
            while waiting and len(open_ones) < window:
                index, talk = waiting.popleft()
                result = _advance(dispatcher, open_ones, index, talk, None)
                if result is not None:
                    yield index, result
            received = dispatcher.next() if open_ones else None
            if received is None:
                continue
            (index, place), answer = received
            current = open_ones[index]
            current.answers[place] = cast("History | TvDatafeedError", answer)
            if None in current.answers:
                continue
            result = _advance(dispatcher, open_ones, index, current.talk, current.answers)
            if result is not None:
                yield index, result
    finally:
        dispatcher.release()
        for current in open_ones.values():
            current.talk.close()


@dataclass
class _Round:
    """The questions of one conversation that wait for their answers."""

    talk: Conversation
    answers: "list[History | TvDatafeedError | None]"


def _advance(
    dispatcher: Dispatcher,
    open_ones: dict[int, _Round],
    index: int,
    talk: Conversation,
    received: "list[History | TvDatafeedError | None] | None",
) -> "History | TvDatafeedError | None":
    """Continue a conversation; return its result, or None if it has sent another request."""
    open_ones.pop(index, None)
    try:
        questions = next(talk) if received is None else talk.send(cast("Answers", received))
    except StopIteration as end:
        return cast("History", end.value)
    except TvDatafeedError as error:
        return error
    open_ones[index] = _Round(talk, [None] * len(questions))
    for place, question in enumerate(questions):
        dispatcher.add((index, place), question)
    return None


@dataclass
class _Progress:
    """What the answers of one conversation have said so far."""

    newest: History | None = None
    # What the server said of the end of its bars: "limit", or that it has sent no more.
    shortfall: str | None = None
    is_exhausted: bool = False
    asked_older: bool = False
    # Whether the oldest bars were compared, and whether another series had to be looked at.
    is_checked: bool = False
    has_moved: bool = False


class _Reading:
    """One conversation."""

    def __init__(self, archive: Archive, request: SeriesRequest, account: str) -> None:
        self._archive = archive
        self._request = request
        self._account = account
        self._is_restated = False
        # Whether the key is the one by which this account's bars are stored.
        self._is_resolved = False
        self._key = SeriesKey.of(request, request.symbol, "realtime")
        self._progress = _Progress()

    def from_server(self) -> Conversation:
        """Ask for everything, and store the answer."""
        (answer,) = yield [self._request]
        if isinstance(answer, TvDatafeedError):
            raise answer
        try:
            restart: Restart = "always" if self._is_restated else "if_restated"
            self._archive.absorb(answer, self._account, restart=restart)
            self._archive.touch(self._archive.key_of(answer), is_hit=False)
            self._archive.works()
        except StoreError as error:
            self._recover(error)
        return answer

    def _recover(self, error: StoreError) -> None:
        self._archive.warn(error)
        if isinstance(error, StoreCorruptError):
            try:
                self._archive.forget(error)
            except StoreError as again:
                self._archive.warn(again)

    def from_store(self) -> "Generator[list[SeriesRequest], Answers, History | None]":
        """Answer from the store; return None if everything must be requested."""
        for _step in range(_MAX_STEPS):
            try:
                found, pages = self._look()
            except StoreCorruptError as error:
                self._archive.forget(error)
                continue
            if isinstance(found, History) and not pages:
                self._archive.touch(self._key, is_hit=not self._progress.asked_older)
                return found
            asked = [found] if isinstance(found, SeriesRequest) else []
            if not asked and not pages:
                return None
            key = self._key
            answers = yield [*asked, *pages]
            if not self._absorb([_checked(answer) for answer in answers], asked):
                return None
            # Bars of another series were not compared with those that are stored of it.
            if pages and self._key == key:
                self._archive.note_checked(self._key)
                self._progress.is_checked = True
        return None

    def _look(self) -> "tuple[History | SeriesRequest | None, list[SeriesRequest]]":
        """Return the answer or the next question, and the pages to compare."""
        with self._archive.reading() as transaction:
            if not self._is_resolved:
                known = transaction.resolved(self._request.symbol, self._account)
                if not known:
                    return None, []
                self._key = SeriesKey.of(self._request, known[0].symbol, known[0].feed)
                self._is_resolved = True
            stored = _stored(transaction, self._key)
            if stored is None:
                return None, []
            found = self._next(stored, self._progress)
            is_due = not self._progress.is_checked and self._archive.is_due(stored.series)
            if found is None or not is_due:
                return found, []
            is_tail = isinstance(found, SeriesRequest) and self._progress.newest is None
            is_tail_asked = is_tail and not self._progress.asked_older
            return found, pages_to_compare(stored, self._request, is_tail_asked=is_tail_asked)

    def _absorb(self, histories: list[History], asked: list[SeriesRequest]) -> bool:
        """Store answers; return False when what was found before cannot be used."""
        for history in histories:
            key = self._archive.key_of(history)
            if key != self._key:
                # The account receives another feed now, or the symbol is another one.
                self._archive.absorb(history, self._account, restart="if_restated")
                is_second, self._progress = self._progress.has_moved, _Progress(has_moved=True)
                self._key = key
                return not is_second
            if not self._archive.absorb(history, self._account, restart="never"):
                self._is_restated = True
                return False
        if asked:
            _note(self._progress, asked[0], histories[0])
        return True

    def _next(self, stored: Stored, progress: _Progress) -> "SeriesRequest | History | None":
        """Return the next question, or the answer, or None if everything must be requested."""
        request = self._request
        end_s = end_of(request)
        base = newest_until(stored.spans, end_s)
        if base is None:
            return None
        newest = progress.newest
        if newest is None and (needs_newest(request) or base[1] < end_s):
            return missing_tail(stored, request)
        packed = b"" if newest is None else newest.bars.packed
        if request.count is None:
            return self._range(stored, progress, packed)
        bars = stored.transaction.read(stored.series, base[0], end_s, request.count)
        bars = merged(bars, packed)
        missing = request.count - len(between(bars, -math.inf, end_s)) // ROW_BYTES
        is_end = is_oldest(stored, base)
        if missing > 0 and not is_end and not progress.is_exhausted:
            progress.asked_older = True
            return missing_older(stored, request, base, missing)
        return self._composed(stored, progress, bars, is_end=is_end and missing > 0)

    def _range(
        self, stored: Stored, progress: _Progress, packed: bytes
    ) -> "SeriesRequest | History | None":
        request, end_s = self._request, end_of(self._request)
        since_s = -math.inf if request.since_s is None else request.since_s
        base = newest_until(stored.spans, end_s) or (math.inf, math.inf)
        # A bar at the begin or before it shows that nothing is missing there.
        before = b""
        if base[0] <= since_s:
            before = stored.transaction.read(stored.series, base[0], since_s, 1)
        is_end = is_oldest(stored, base)
        if not before and not is_end and not progress.is_exhausted:
            progress.asked_older = True
            return missing_older(stored, request, base, None)
        bars = stored.transaction.read(stored.series, max(base[0], since_s), end_s)
        bars = merged(merged(before, bars), packed)
        return self._composed(stored, progress, bars, is_end=is_end and not before)

    def _composed(
        self, stored: Stored, progress: _Progress, packed: bytes, *, is_end: bool
    ) -> History:
        newest, notes = progress.newest, stored.series.info
        if newest is not None:
            history = replace(newest, request=self._request, bars=Bars(packed))
        else:
            history = stored_history(self._request, packed, stored)
        return replace(
            history,
            info=history.info or notes.symbol,
            data_completed="end" if is_end else progress.shortfall,
        )


def stored_history(request: SeriesRequest, packed: bytes, stored: Stored) -> History:
    """Return stored bars as an answer: all of them are closed."""
    notes, bars = stored.series.info, Bars(packed)
    return History(
        request=request,
        bars=bars,
        info=notes.symbol,
        update_mode=notes.update_mode,
        data_completed=None,
        close_time_s=-math.inf,
        server_time_s=notes.server_time_s,
    )


def _note(progress: _Progress, question: SeriesRequest, answer: History) -> None:
    """Record the facts of an answer other than its bars."""
    if progress.newest is None and not progress.asked_older:
        progress.newest = answer
        return
    has_more = bool(answer.bars) and answer.bars[0].time < (question.until_s or math.inf)
    if answer.data_completed == "limit" or (not has_more and answer.data_completed is None):
        progress.shortfall, progress.is_exhausted = answer.data_completed, True


def _stored(transaction: Transaction, key: SeriesKey) -> Stored | None:
    series = transaction.find(key)
    if series is None or not series.bars:
        return None
    return Stored(transaction, series, transaction.spans(series))


def _checked(answer: "History | TvDatafeedError") -> History:
    if isinstance(answer, TvDatafeedError):
        raise answer
    return answer
