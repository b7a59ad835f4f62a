"""Request handlers: the commands of each kind of request, and when its answer is complete.

A handler returns the commands to send (a method and its parameters) and receives the messages of
its session. It uses neither the connection nor the time.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

from tvDatafeed.exceptions import ProtocolError, TvDatafeedError
from tvDatafeed.interval import bar_seconds
from tvDatafeed.protocol import messages, refusals
from tvDatafeed.protocol.closing import CloseTracker
from tvDatafeed.protocol.events import (
    Answer,
    History,
    Quotes,
    QuotesRequest,
    Request,
    SeriesRequest,
    StreamRequest,
    StreamStarted,
    StreamUpdated,
    SymbolDescription,
    SymbolRequest,
)
from tvDatafeed.protocol.series import Series, check_time, delay_seconds

_SERIES_ID = "sds_1"
_SYMBOL_ID = "sds_sym_1"
_TURNAROUND = "s1"
# The next bar opens within this many lengths of a bar: months differ in length, and so do days on
# which clocks change.
_NEXT_BAR = 1.5

Command: TypeAlias = tuple[object, ...]
# The result of a message: the answer, a change of a live series, the refusal, the commands that
# request the next page, or nothing yet.
Step: TypeAlias = "Answer | StreamStarted | StreamUpdated | TvDatafeedError | list[Command] | None"
Text: TypeAlias = Callable[[object], str]


class RequestHandler(ABC):
    """The state of one request on its own session.

    Parameters
    ----------
    session
        A fresh session id.
    text
        Returns a reason of the server as printable text without secrets.
    """

    def __init__(self, session: str, text: Text) -> None:
        self._session = session
        self._text = text

    @abstractmethod
    def open_commands(self) -> list[Command]:
        """Return the commands that open the session and send the request."""

    @abstractmethod
    def close_command(self) -> Command:
        """Return the command that deletes the session on the server."""

    @abstractmethod
    def receive(self, message: messages.Message, server_time_s: float | None) -> Step:
        """Process one message of the session.

        Parameters
        ----------
        message
            The message.
        server_time_s
            The server's clock when it sent the message, epoch seconds UTC; None if not known.

        Raises
        ------
        BadUpdateError
            When the message has bars with impossible times, or too many bars.
        """

    @property
    def progress(self) -> str:
        """How much of the answer has arrived, for the text of an error."""
        return "nothing had arrived"

    @property
    def detects_losses(self) -> bool:
        """Whether the answer stays incomplete when one of its messages is lost."""
        return True


class _ChartHandler(RequestHandler):
    """A request on a chart session; its first command resolves a symbol."""

    def __init__(
        self, session: str, symbol: str, text: Text, *, currency: str | None = None
    ) -> None:
        super().__init__(session, text)
        self._symbol = symbol
        self._currency = currency
        self._info: dict[str, Any] = {}

    def close_command(self) -> Command:
        """Return the command that deletes the chart session."""
        return ("chart_delete_session", self._session)

    def _resolve_commands(self, **options: object) -> list[Command]:
        symbol = messages.encode_symbol(self._symbol, **options)
        return [
            ("chart_create_session", self._session, ""),
            ("resolve_symbol", self._session, _SYMBOL_ID, symbol),
        ]

    def _refusal(self, message: messages.Message) -> TvDatafeedError | None:
        match message:
            case messages.SymbolError(p=refusal):
                parts = (refusal.detail, refusal.subject)
                details = " ".join(self._text(part) for part in parts if part is not None)
                return refusals.symbol_refused(
                    self._symbol, self._text(refusal.reason), details, currency=self._currency
                )
            case messages.SeriesError(p=refusal):
                return refusals.series_refused(self._symbol, self._text(refusal.reason))
            case messages.CriticalError(p=refusal):
                reason, details = self._text(refusal.reason), self._text(refusal.details)
                return refusals.session_refused(self._symbol, reason, details)
        return None


class HistoryHandler(_ChartHandler):
    """Requests bars page by page until there are enough.

    The first page ends at the last bar, or at the end of the request: ``["bar_count", moment, n]``,
    the form of the web client. Older pages are requested by request_more_data, one at a time.
    """

    def __init__(self, session: str, request: SeriesRequest, text: Text) -> None:
        super().__init__(session, request.symbol, text, currency=request.currency)
        self._request = request
        self._series = Series()
        self._oldest_s: float | None = None
        self._is_probing = False
        # The latest time at which the server sent a message, epoch milliseconds.
        self._newest_ms = 0.0
        # The server's clock when the newest bar had its present values: later pages do not
        # contain it.
        self._newest_at_s: float | None = None
        self._has_completed = False

    @property
    def progress(self) -> str:
        """The number of bars that have arrived."""
        return f"{len(self._series)} bars had arrived"

    @property
    def detects_losses(self) -> bool:
        """Whether the first page is missing: a gap between two pages cannot be seen."""
        return self._oldest_s is None

    def open_commands(self) -> list[Command]:
        """Return the commands that request the symbol and the first page of its bars."""
        request = self._request
        count: object = self._next_size()
        if request.until_s is not None and not request.is_live:
            # One second later, so that the page contains a bar that opens at this moment, whether
            # or not the server includes the end.
            count = ["bar_count", int(request.until_s // 1) + 1, count]
        create = self._session, _SERIES_ID, _TURNAROUND, _SYMBOL_ID, request.interval, count, ""
        resolve = self._resolve_commands(
            **{
                "adjustment": request.adjustment,
                "session": request.session,
                "currency-id": request.currency,
                "backadjustment": "default" if request.backadjusted else None,
            }
        )
        return [*resolve, ("create_series", *create)]

    def receive(self, message: messages.Message, server_time_s: float | None) -> Step:
        """Add bars, and request another page until there are enough."""
        match message:
            case messages.TimescaleUpdate(p=p) | messages.DataUpdate(p=p):
                update = p.series.get(_SERIES_ID)
                # Another turnaround is an earlier generation of the series.
                if update is None or update.t not in (None, _TURNAROUND):
                    return None
                if self._is_outdated(message, update):
                    self._series.add(update)
                elif self._series.merge(update) and self._has_completed:
                    self._newest_at_s = server_time_s
            case messages.SeriesCompleted(p=p) if p.turnaround in (None, _TURNAROUND):
                return self._complete(p, server_time_s)
            case messages.SymbolResolved(p=p):
                self._info = p.info
        return self._refusal(message)

    def _is_outdated(
        self, message: messages.TimescaleUpdate | messages.DataUpdate, update: messages.SeriesUpdate
    ) -> bool:
        """Return whether newer values have already arrived: it is late, or a duplicate."""
        newest_ms, sent_ms = self._newest_ms, message.t_ms or 0
        self._newest_ms = max(newest_ms, sent_ms)
        if 0 < sent_ms < newest_ms:
            return True
        # Live updates are newer than an older page, regardless of when it arrives.
        is_page = isinstance(message, messages.TimescaleUpdate)
        return is_page and self._series.overlaps_from_below(update)

    def _complete(
        self, completed: messages.CompletedParameters, server_time_s: float | None
    ) -> History | list[Command] | None:
        data_completed = completed.info.data_completed if completed.info else None
        if not self._has_completed:
            self._has_completed, self._newest_at_s = True, server_time_s
        oldest_s = self._series.oldest_s
        has_grown = oldest_s != self._oldest_s
        self._oldest_s = oldest_s
        is_whole = oldest_s is None or data_completed in ("end", "limit") or self._has_enough()
        if not is_whole and (has_grown or not self._is_probing):
            # A completion without older bars can be a second one of the previous page. If the
            # answer to one more request has none either, no older bars exist.
            is_requested, self._is_probing = self._is_probing, not has_grown
            return None if is_requested else [self._more()]
        return History(
            request=self._request,
            bars=self._series.bars,
            info=self._info,
            update_mode=completed.update_mode,
            data_completed=data_completed,
            close_time_s=self._series.close_time_s,
            server_time_s=self._newest_at_s,
        )

    def _more(self) -> Command:
        return ("request_more_data", self._session, _SERIES_ID, self._next_size())

    def _has_enough(self) -> bool:
        since_s = self._request.since_s
        if since_s is not None and self._oldest_s is not None and self._oldest_s <= since_s:
            return True
        return self._request.count is not None and self._missing() <= 0

    def _next_size(self) -> int:
        request, oldest_s = self._request, self._oldest_s
        size = request.page_size
        if request.count is not None:
            return max(1, min(size, self._missing()))
        if request.first_page is None or request.since_s is None:
            return size
        if oldest_s is None:
            return min(size, request.first_page)
        length_s = bar_seconds(request.interval)
        return max(1, min(size, int((oldest_s - request.since_s) / length_s) + 1))

    def _missing(self) -> int:
        until_s = self._request.until_s
        count = len(self._series) if until_s is None else self._series.count(until_s)
        return (self._request.count or 0) - count


class StreamHandler(HistoryHandler):
    """Follows a live series: first the bars since the last known one, then each update."""

    # The forming bar, the one before, and the last known bar.
    _FEW_BARS = 3

    def __init__(self, session: str, request: StreamRequest, text: Text) -> None:
        after = request.after
        history = SeriesRequest(
            request.symbol,
            request.interval,
            count=self._FEW_BARS - 1 if after is None else None,
            session=request.session,
            since_s=None if after is None else after.time,
        )
        super().__init__(session, history, text)
        self._stream = request
        self._length_s = bar_seconds(request.interval)
        self._delay_s = 0.0
        self._tracker: CloseTracker | None = None
        # The last known bar, if the server has no bars; later bars may follow a gap.
        self._last_s: float | None = None

    @property
    def detects_losses(self) -> bool:
        """Always False: the lost message may have been the last change of a bar."""
        return False

    @property
    def closes_at_s(self) -> float:
        """When the server's clock closes the last bar, epoch seconds UTC; infinity: none forms."""
        return math.inf if self._tracker is None else self._tracker.closes_at_s + self._delay_s

    def receive(self, message: messages.Message, server_time_s: float | None) -> Step:
        """Collect the first bars, then process updates of the newest ones."""
        if self._tracker is None:
            step = super().receive(message, server_time_s)
            if not isinstance(step, History):
                return step
            if self._stream.after and not step.bars and not self._stream.accepts_no_bars:
                return ProtocolError(
                    f"TradingView sent no bars for {self._symbol}, although some exist"
                )
            return self._start(step)
        match message:
            case messages.TimescaleUpdate(p=p) | messages.DataUpdate(p=p):
                update = p.series.get(_SERIES_ID)
                if update is None or not update.s or update.t not in (None, _TURNAROUND):
                    return None
                bars = [item.v for item in update.s]
                for bar in bars:
                    check_time(bar.time)
                self._tracker.add(bars, update.lbs.bar_close_time if update.lbs else None)
                return self._collect(self._tracker, server_time_s, by_clock=False)
        return self._refusal(message)

    def close_by_clock(self, server_time_s: float | None) -> StreamUpdated | None:
        """Close the last bar if the server's clock has passed its close time."""
        if self._tracker is None or server_time_s is None or server_time_s <= self.closes_at_s:
            return None
        return self._collect(self._tracker, server_time_s, by_clock=True)

    def _collect(
        self, tracker: CloseTracker, server_time_s: float | None, *, by_clock: bool
    ) -> StreamUpdated | None:
        market_time_s = None if server_time_s is None else server_time_s - self._delay_s
        update = tracker.collect_closed(market_time_s, by_clock=by_clock)
        last_s = self._last_s
        if last_s is not None and update.closed:
            self._last_s = None
            if self._is_gap(last_s, update.closed[0].time):
                update = replace(update, gaps=((last_s, update.closed[0].time), *update.gaps))
        return None if update.is_empty else StreamUpdated(self._session, update)

    def _start(self, history: History) -> StreamStarted:
        after, bars = self._stream.after, history.bars
        self._delay_s = delay_seconds(history.update_mode)
        self._tracker = tracker = CloseTracker(after, self._length_s)
        tracker.add(bars, history.close_time_s)
        market_time_s = None
        if history.server_time_s is not None:
            market_time_s = history.server_time_s - self._delay_s
        update = tracker.collect_closed(market_time_s)
        if after is None:
            update = replace(update, closed=update.closed[-1:])
        elif not bars:
            self._last_s = after.time
        elif self._is_gap(after.time, bars[0].time):
            # Also if the server has no older bars: it may have lost the bars in between.
            update = replace(update, gaps=((after.time, bars[0].time), *update.gaps))
        # From now on the tracker keeps the necessary bars.
        self._series, self._info = Series(), {}
        return StreamStarted(
            session=self._session,
            request=self._stream,
            info=history.info,
            update_mode=history.update_mode,
            update=update,
            closes_at_s=tracker.closes_at_s,
            market_time_s=market_time_s,
        )

    def _is_gap(self, last_s: float, first_s: float) -> bool:
        """Return whether bars may exist between two; without a known length, if they differ."""
        known_s = self._length_s if math.isfinite(self._length_s) else 0.0
        return first_s - last_s > known_s * _NEXT_BAR

    def _has_enough(self) -> bool:
        return super()._has_enough() or len(self._series) >= self._stream.max_bars

    def _next_size(self) -> int:
        after = self._stream.after
        if after is None or self._oldest_s is None:
            return self._FEW_BARS if after is not None else super()._next_size()
        missing = int((self._oldest_s - after.time) / self._length_s) + 1
        return max(1, min(missing, self._stream.max_bars - len(self._series)))


class SymbolHandler(_ChartHandler):
    """Requests the description of a symbol."""

    def __init__(self, session: str, request: SymbolRequest, text: Text) -> None:
        super().__init__(session, request.symbol, text)
        self._request = request

    def open_commands(self) -> list[Command]:
        """Return the commands that resolve the symbol."""
        return self._resolve_commands(adjustment="splits", session=self._request.session)

    def receive(self, message: messages.Message, _server_time_s: float | None) -> Step:
        """Return the description when it arrives."""
        if isinstance(message, messages.SymbolResolved):
            return SymbolDescription(self._request, message.p.info)
        return self._refusal(message)


class QuotesHandler(RequestHandler):
    """Requests the quotes of some symbols, once each.

    The first values of a symbol may arrive in several messages, followed by quote_completed. A
    refused symbol has no quote_completed.
    """

    def __init__(self, session: str, request: QuotesRequest, text: Text) -> None:
        super().__init__(session, text)
        self._request = request
        self._values: dict[str, dict[str, Any]] = {symbol: {} for symbol in request.symbols}
        self._errors: dict[str, TvDatafeedError] = {}
        self._awaited = set(request.symbols)

    @property
    def progress(self) -> str:
        """The number of quotes that have arrived."""
        total = len(self._request.symbols)
        return f"{total - len(self._awaited)} of {total} quotes had arrived"

    def open_commands(self) -> list[Command]:
        """Return the commands that request the fields of all symbols."""
        return [
            ("quote_create_session", self._session),
            ("quote_set_fields", self._session, *self._request.fields),
            ("quote_add_symbols", self._session, *self._request.symbols),
        ]

    def close_command(self) -> Command:
        """Return the command that deletes the quote session."""
        return ("quote_delete_session", self._session)

    def receive(self, message: messages.Message, _server_time_s: float | None) -> Step:
        """Collect values until each symbol is complete or refused."""
        match message:
            case messages.QuoteData(p=p) if p.quote.n in self._values:
                self._add_quote(p.quote)
            case messages.QuoteCompleted(p=p):
                self._awaited.discard(p.symbol)
            case messages.CriticalError(p=refusal):
                reason, details = self._text(refusal.reason), self._text(refusal.details)
                return refusals.session_refused(self._request.symbol, reason, details)
        if self._awaited:
            return None
        values = {s: v for s, v in self._values.items() if s not in self._errors}
        return Quotes(self._request, values, self._errors)

    def _add_quote(self, quote: messages.QuoteState) -> None:
        if quote.s == "ok":
            self._values[quote.n].update(quote.v)
            return
        details = " ".join(self._text(value) for value in quote.v.values())
        reason = self._text(quote.errmsg or quote.s)
        self._errors[quote.n] = refusals.quote_refused(quote.n, quote.s, reason, details)
        self._awaited.discard(quote.n)


def handler_for(session: str, request: Request, text: Text) -> RequestHandler:
    """Return the handler for a request."""
    if isinstance(request, SeriesRequest):
        return HistoryHandler(session, request, text)
    if isinstance(request, StreamRequest):
        return StreamHandler(session, request, text)
    if isinstance(request, SymbolRequest):
        return SymbolHandler(session, request, text)
    return QuotesHandler(session, request, text)
