"""How the Seises of a feed are doing."""

import datetime as dt
from dataclasses import dataclass

from tvDatafeed.exceptions import TvDatafeedError
from tvDatafeed.live.seis import Seis

_COLUMNS = ("state", "last_bar", "delivered", "dropped", "corrections", "lag_ms", "error")


@dataclass(frozen=True, kw_only=True)
class SeisStatus:
    """How one Seis is doing.

    Attributes
    ----------
    seis : Seis
        The series.
    state : str
        "STARTING", "LIVE", "RECONNECTING", "FAILED" or "STOPPED".
    last_bar : datetime or None
        When the last closed bar opened, aware UTC; None before the first.
    delivered : int
        How many closed bars have come.
    dropped : int
        How many bars consumers and iterators were too slow for.
    corrections : int
        How many bars have changed after they were delivered as closed.
    lag_ms : float or None
        How long after its close the last bar was delivered, by the server's clock, in milliseconds.
    error : TvDatafeedError or None
        Why it has failed.
    """

    seis: Seis
    state: str
    last_bar: dt.datetime | None
    delivered: int
    dropped: int
    corrections: int
    lag_ms: float | None
    error: TvDatafeedError | None


class Statuses(list[SeisStatus]):
    """How the Seises of a feed are doing: a list, which a notebook shows as a table."""

    def _repr_html_(self) -> str:
        from tvDatafeed.frames.bars import html_table  # noqa: PLC0415 - pandas takes its time

        rows = []
        for status in self:
            seis = {"symbol": status.seis.full_symbol, "interval": status.seis.interval.value}
            cells = {name: getattr(status, name) for name in _COLUMNS}
            rows.append({name: "" if v is None else v for name, v in (seis | cells).items()})
        return html_table(rows)
