"""The requests that a machine sends and the events that it returns: immutable values."""

from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

from tvDatafeed.exceptions import TvDatafeedError
from tvDatafeed.interval import bar_seconds
from tvDatafeed.protocol.bars import Bar, Bars
from tvDatafeed.protocol.closing import LiveUpdate
from tvDatafeed.protocol.series import delay_seconds, last_bar_is_closed

# The number of bars in one page: TradingView's limit without an account.
PAGE_SIZE_BARS = 5000


@dataclass(frozen=True)
class SeriesRequest:
    """Request bars of a symbol: the last ones, those up to a moment, or those since one.

    Parameters
    ----------
    symbol
        ``EXCHANGE:SYMBOL``.
    interval
        TradingView's own text ("1D").
    count
        The number of bars; None for all since `since_s`.
    session
        "regular" or "extended".
    adjustment
        "splits", "dividends" or "none".
    currency
        The currency that prices are converted to; None for the symbol's own.
    backadjusted
        Whether the contracts of a continuous future are joined without gaps.
    page_size
        The number of bars that are requested at a time.
    since_s, until_s
        Epoch seconds UTC. Bars that open before `since_s` or after `until_s` are not wanted; the
        answer may still contain them. None: no limit.
    is_live
        Whether to start at the latest bar although `until_s` is set, because it is not in the past.
    first_page
        The number of bars of the first page, which should reach back to `since_s`; its answer shows
        how many are missing. None: `page_size`.
    """

    symbol: str
    interval: str
    count: int | None
    session: str = "regular"
    adjustment: str = "splits"
    currency: str | None = None
    backadjusted: bool = False
    page_size: int = PAGE_SIZE_BARS
    since_s: float | None = None
    until_s: float | None = None
    is_live: bool = False
    first_page: int | None = None

    prefix: ClassVar[str] = "cs"


@dataclass(frozen=True)
class SymbolRequest:
    """Request the description of a symbol; the fields are those of `SeriesRequest`."""

    symbol: str
    session: str = "regular"

    prefix: ClassVar[str] = "cs"


@dataclass(frozen=True)
class QuotesRequest:
    """Request fields of the quotes of some symbols, by TradingView's own names ("lp")."""

    symbols: tuple[str, ...]
    fields: tuple[str, ...]

    prefix: ClassVar[str] = "qs"

    @property
    def symbol(self) -> str:
        """The symbols, for the text of an error."""
        first, *others = self.symbols
        return f"{first} and {len(others)} more" if others else first


@dataclass(frozen=True)
class StreamRequest:
    """Follow the bars of a symbol, from the last known closed bar on.

    Parameters
    ----------
    symbol, interval, session
        As for `SeriesRequest`.
    after
        The last known closed bar. The bars that have closed since are reported first, up to
        `max_bars`. None: only the last closed bar is reported.
    max_bars
        The maximum number of bars that are requested to reach back to `after`.
    follow
        Whether the session stays open for updates; otherwise it ends with its answer.
    accepts_no_bars
        Whether the series starts without bars although `after` is given. Otherwise such an answer
        is an error, since it may be temporary.
    """

    symbol: str
    interval: str
    session: str = "regular"
    after: Bar | None = None
    max_bars: int = PAGE_SIZE_BARS
    follow: bool = True
    accepts_no_bars: bool = False

    prefix: ClassVar[str] = "cs"


Request: TypeAlias = SeriesRequest | SymbolRequest | QuotesRequest | StreamRequest


@dataclass(frozen=True)
class History:
    """The answer to a `SeriesRequest`.

    Parameters
    ----------
    request
        The request.
    bars
        Ascending, unique by time; empty when the server completed the answer without bars.
    info
        The server's description of the symbol (``symbol_resolved``).
    update_mode
        "streaming", "delayed_streaming_900" (15 minutes), "endofday".
    data_completed
        "end" when no older bars exist, "limit" at the plan's limit, None when more may exist.
    close_time_s
        When the last bar closes, epoch seconds UTC.
    server_time_s
        The server's clock when the last bar had these values, epoch seconds UTC.
    is_partial
        Whether bars are missing because only the store was used and does not have them.
    """

    request: SeriesRequest
    bars: Bars
    info: dict[str, Any]
    update_mode: str
    data_completed: str | None
    close_time_s: float | None
    server_time_s: float | None
    is_partial: bool = False

    @property
    def delay_s(self) -> int:
        """How far the data lag behind the market, seconds."""
        return delay_seconds(self.update_mode)

    @property
    def last_bar_is_closed(self) -> bool:
        """Whether the last bar can no longer change.

        If the server did not send its close time, a bar is closed twice its length after its open.
        """
        close_time_s = self.close_time_s
        if close_time_s is None and self.bars:
            length_s = bar_seconds(self.request.interval)
            close_time_s = self.bars[-1].time + 2 * length_s
        return last_bar_is_closed(close_time_s, self.server_time_s, delay_s=self.delay_s)


@dataclass(frozen=True)
class SymbolDescription:
    """The answer to a `SymbolRequest`: the server's own description (``symbol_resolved``)."""

    request: SymbolRequest
    info: dict[str, Any]


@dataclass(frozen=True)
class Quotes:
    """The answer to a `QuotesRequest`.

    Parameters
    ----------
    request
        The request.
    by_symbol
        The values of the symbols that were answered; fields without a value are missing.
    errors
        The errors of the symbols that were refused.
    """

    request: QuotesRequest
    by_symbol: dict[str, dict[str, Any]]
    errors: dict[str, TvDatafeedError]


Answer: TypeAlias = History | SymbolDescription | Quotes


@dataclass(frozen=True)
class Answered:
    """A request was answered, at a moment of the driver's clock; its session is closed."""

    session: str
    answer: Answer
    at: float


@dataclass(frozen=True)
class StreamStarted:
    """A live series has started. Without `follow` its session is already closed.

    Parameters
    ----------
    session
        The session of the series.
    request
        The request.
    info
        The server's description of the symbol.
    update_mode
        As in `History`.
    update
        The changes since the last known closed bar.
    closes_at_s
        When the clock closes the last bar, epoch seconds UTC of the market; infinity when it is
        closed.
    market_time_s
        The server's clock less the delay of the data, epoch seconds UTC; None if not known.
    at
        The moment on the driver's clock.
    """

    session: str
    request: StreamRequest
    info: dict[str, Any]
    update_mode: str
    update: LiveUpdate
    closes_at_s: float
    market_time_s: float | None
    at: float = 0.0


@dataclass(frozen=True)
class StreamUpdated:
    """A live series has changed.

    Parameters
    ----------
    session
        The session of the series.
    update
        The changes.
    silent_s
        How long the series had no update before, in seconds, if the update is stale; otherwise 0.
    """

    session: str
    update: LiveUpdate
    silent_s: float = 0.0


@dataclass(frozen=True)
class Paged:
    """A page of a long answer has arrived, and the next one was requested with a new deadline."""

    session: str


@dataclass(frozen=True)
class RequestFailed:
    """A request was refused, timed out or lost a part of its answer; its session is closed."""

    session: str
    error: TvDatafeedError


@dataclass(frozen=True)
class ConnectionFailed:
    """The connection has failed; the driver closes it."""

    error: TvDatafeedError


@dataclass(frozen=True)
class PingWanted:
    """The driver must send a ping, and call `Machine.receive_pong` at the pong.

    Parameters
    ----------
    payload
        The payload of the ping, which its pong repeats: the number of the ping.
    """

    payload: bytes = field(default=b"", compare=False)


@dataclass(frozen=True)
class Retired:
    """No session is open and the connection is idle or old; the driver closes it.

    `Machine.cancel_retirement` keeps it open instead.
    """


@dataclass(frozen=True)
class Redirected:
    """The server redirects to another host; the driver connects there."""

    host: str


Event: TypeAlias = (
    Answered
    | StreamStarted
    | StreamUpdated
    | Paged
    | RequestFailed
    | ConnectionFailed
    | PingWanted
    | Retired
    | Redirected
)
