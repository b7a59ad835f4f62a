"""The status of the Seises of a feed."""

import datetime as dt
from dataclasses import dataclass

from tvDatafeed.exceptions import TvDatafeedError
from tvDatafeed.live.seis import Seis

_COLUMNS = (
    *("state", "last_bar", "delivered", "dropped", "corrections", "lag_ms"),
    *("heard_s", "queued", "is_market_open", "overdue_s", "error"),
)


@dataclass(frozen=True, kw_only=True)
class SeisStatus:
    """The status of one Seis.

    Attributes
    ----------
    seis : Seis
        The series.
    state : str
        "STARTING", "LIVE", "RECONNECTING", "FAILED" or "STOPPED".
    last_bar : datetime or None
        When the last closed bar opened, aware UTC; None before the first.
    delivered : int
        How many closed bars were delivered.
    dropped : int
        How many bars were dropped because consumers and iterators were too slow.
    corrections : int
        How many bars have changed after they were delivered as closed.
    lag_ms : float or None
        How long after its close the last bar was delivered, by the server's clock, in milliseconds;
        while the series is not LIVE, at least the time for which the next bar is overdue.
    error : TvDatafeedError or None
        Why it has failed.
    heard_s : float or None
        Seconds since the last message on the connection of the series; None before the first.
    queued : int
        How many bars wait for callbacks and iterators.
    is_market_open : bool or None
        Whether the market is open now, by the symbol's sessions and holidays and the server's
        clock; None if they are not known.
    overdue_s : float
        Seconds since the next bar should have closed; 0 while the market is closed. A symbol
        without trades has no bars, so this alone does not mean a fault.
    """

    seis: Seis
    state: str
    last_bar: dt.datetime | None
    delivered: int
    dropped: int
    corrections: int
    lag_ms: float | None
    error: TvDatafeedError | None
    heard_s: float | None = None
    queued: int = 0
    is_market_open: bool | None = None
    overdue_s: float = 0.0


class Statuses(list[SeisStatus]):
    """The status of the Seises of a feed: a list, which a notebook shows as a table."""

    def _repr_html_(self) -> str:
        from tvDatafeed.frames.bars import html_table  # noqa: PLC0415 - pandas takes its time

        rows = []
        for status in self:
            seis = {"symbol": status.seis.full_symbol, "interval": status.seis.interval.value}
            cells = {name: getattr(status, name) for name in _COLUMNS}
            rows.append({name: "" if v is None else v for name, v in (seis | cells).items()})
        return html_table(rows)
