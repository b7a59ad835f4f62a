"""What is asked of a machine, and what it has to tell: immutable values."""

from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from tvDatafeed.exceptions import TvDatafeedError
from tvDatafeed.protocol.closing import LiveUpdate
from tvDatafeed.protocol.messages import Bar
from tvDatafeed.protocol.series import Bars

# How many bars are asked for in one answer: what TradingView gives without an account.
PAGE_SIZE_BARS = 5000


@dataclass(frozen=True)
class SeriesRequest:
    """Ask for bars of a symbol: the last ones, those up to a moment, or those since one.

    Parameters
    ----------
    symbol
        ``EXCHANGE:SYMBOL``.
    interval
        TradingView's own text ("1D").
    count
        How many bars; None for all since `since_s`.
    session
        "regular" or "extended".
    adjustment
        "splits", "dividends" or "none".
    currency
        The currency to convert prices to; None for the symbol's own.
    backadjusted
        Whether the contracts of a continuous future are joined without gaps.
    page_size
        How many bars are asked for at a time.
    since_s, until_s
        Epoch seconds UTC. Older bars than the first are not needed, and none that opens after the
        second counts; the answer may hold both. None: no limit.
    is_live
        Whether to begin at the latest bar although there is an end, which is not in the past.
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

    prefix: ClassVar[str] = "cs"


@dataclass(frozen=True)
class SymbolRequest:
    """Ask what a symbol is; as `SeriesRequest`, without bars."""

    symbol: str
    session: str = "regular"

    prefix: ClassVar[str] = "cs"


@dataclass(frozen=True)
class QuotesRequest:
    """Ask for the fields of some symbols' quotes, by TradingView's own names ("lp")."""

    symbols: tuple[str, ...]
    fields: tuple[str, ...]

    prefix: ClassVar[str] = "qs"

    @property
    def symbol(self) -> str:
        """The symbols, as a message names them."""
        first, *others = self.symbols
        return f"{first} and {len(others)} more" if others else first


@dataclass(frozen=True)
class StreamRequest:
    """Follow the bars of a symbol, from the one on that was told as closed last.

    Parameters
    ----------
    symbol, interval, session
        As for `SeriesRequest`.
    after
        The last bar that was told as closed. Those that have closed since are told first, as many
        as `max_bars` hold. None: only the bar that closed last is.
    max_bars
        How many bars are asked for at the most to reach back to `after`.
    follow
        Whether the session stays open and tells what happens; otherwise it ends with its answer.
    """

    symbol: str
    interval: str
    session: str = "regular"
    after: Bar | None = None
    max_bars: int = PAGE_SIZE_BARS
    follow: bool = True

    prefix: ClassVar[str] = "cs"


Request: TypeAlias = SeriesRequest | SymbolRequest | QuotesRequest | StreamRequest


@dataclass(frozen=True)
class History:
    """The answer to a `SeriesRequest`.

    Parameters
    ----------
    request
        What was asked for.
    bars
        Ascending, unique by time; empty when the server completed without any.
    info
        The server's description of the symbol (``symbol_resolved``).
    update_mode
        "streaming", "delayed_streaming_900" (15 minutes), "endofday".
    data_completed
        "end" when no older bars exist, "limit" at the plan's limit, None when there may be more.
    close_time_s
        When the last bar closes, epoch seconds UTC.
    server_time_s
        The server's clock at the end of the answer, epoch seconds UTC.
    """

    request: SeriesRequest
    bars: Bars
    info: dict[str, Any]
    update_mode: str
    data_completed: str | None
    close_time_s: float | None
    server_time_s: float | None


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
        What was asked for.
    by_symbol
        The values of those that were given; fields without a value are missing.
    errors
        By symbol, why those others were refused.
    """

    request: QuotesRequest
    by_symbol: dict[str, dict[str, Any]]
    errors: dict[str, TvDatafeedError]


Answer: TypeAlias = History | SymbolDescription | Quotes


@dataclass(frozen=True)
class Answered:
    """A request was answered whole, at a moment of the driver's clock; its session is closed."""

    session: str
    answer: Answer
    at: float


@dataclass(frozen=True)
class StreamStarted:
    """A series is followed from now on, or was looked at once; then its session is closed.

    Parameters
    ----------
    session
        Its session.
    request
        What was asked for.
    info
        The server's description of the symbol.
    update_mode
        As in `History`.
    update
        What has happened since the bar that was told last.
    closes_at_s
        When the clock closes the last bar, epoch seconds UTC of the market; infinity when it is.
    market_time_s
        The server's clock less the delay of the data, epoch seconds UTC; None when not known.
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
    """Something has happened to a series that is followed."""

    session: str
    update: LiveUpdate


@dataclass(frozen=True)
class Paged:
    """A part of a long answer has come, the next one was asked for, and its time runs anew."""

    session: str


@dataclass(frozen=True)
class RequestFailed:
    """A request was refused or ran out of time; its session is closed."""

    session: str
    error: TvDatafeedError


@dataclass(frozen=True)
class ConnectionFailed:
    """The connection is of no more use; the driver closes it."""

    error: TvDatafeedError


@dataclass(frozen=True)
class PingWanted:
    """A sign of life is wanted: the driver pings, and says `Machine.receive_pong` at the pong."""


@dataclass(frozen=True)
class Retired:
    """Nothing runs on the connection and it is idle or old; the driver closes it."""


@dataclass(frozen=True)
class Redirected:
    """The server sends its clients to another host; the driver goes there."""

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
