"""What is asked of a machine, and what it has to tell: immutable values."""

from dataclasses import dataclass
from typing import Any

from tvDatafeed.exceptions import TvDatafeedError
from tvDatafeed.protocol.messages import Bar


@dataclass(frozen=True)
class SeriesRequest:
    """What is asked for: the last ``count`` bars of ``symbol`` (``EXCHANGE:SYMBOL``).

    ``interval`` is TradingView's own text ("1D"); ``session`` is "regular" or "extended".
    """

    symbol: str
    interval: str
    count: int
    session: str = "regular"
    adjustment: str = "splits"


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
    bars: list[Bar]
    info: dict[str, Any]
    update_mode: str
    data_completed: str | None
    close_time_s: float | None
    server_time_s: float | None


@dataclass(frozen=True)
class HistoryReady:
    """A request was answered whole; its session is closed."""

    session: str
    history: History


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
    """Nothing was heard for long: the driver pings, and says `Machine.alive` at the pong."""


@dataclass(frozen=True)
class Retired:
    """Nothing runs on the connection and it is idle or old; the driver closes it."""


@dataclass(frozen=True)
class Redirected:
    """The server sends its clients to another host; the driver goes there."""

    host: str


Event = HistoryReady | RequestFailed | ConnectionFailed | PingWanted | Retired | Redirected
