"""The health of a live feed: whether its Seises are followed as they should be."""

import math
from dataclasses import dataclass
from typing import Any

from tvDatafeed.live.status import Statuses
from tvDatafeed.protocol.series import CLOSED_MARGIN_S

__all__ = ["Health", "overdue_s"]

# A month counts as 30 days, a year as 360.
_LONGEST_MONTH = 31 / 30


@dataclass(frozen=True, kw_only=True)
class Health:
    """The health of a live feed at one moment.

    Attributes
    ----------
    ok : bool
        Whether all Seises are LIVE and the server answers on their connections. A feed without
        Seises is ok. A symbol without trades does not change ok: see `SeisStatus.overdue_s`.
    connected : bool
        Whether there are Seises and the server answers on the connection of each.
    heard_s : float or None
        Seconds since the last message of the server; None before the first.
    seises : list of SeisStatus
        One record for each Seis, as from `TvDatafeedLive.status`.
    """

    ok: bool
    connected: bool
    heard_s: float | None
    seises: Statuses

    def as_dict(self) -> dict[str, Any]:
        """Return the health as objects that JSON can express.

        Returns
        -------
        dict
            ``ok``, ``connected``, ``heard_s`` and ``seises``: a list of dicts with ``symbol``,
            ``interval``, ``state``, ``last_bar`` (RFC 3339 or None), ``is_market_open``,
            ``overdue_s``, ``queued``, ``heard_s`` and ``error`` (text or None).
        """
        seises = [
            {
                "symbol": status.seis.full_symbol,
                "interval": status.seis.interval.value,
                "state": status.state,
                "last_bar": None if status.last_bar is None else status.last_bar.isoformat(),
                "is_market_open": status.is_market_open,
                "overdue_s": status.overdue_s,
                "queued": status.queued,
                "heard_s": status.heard_s,
                "error": None if status.error is None else str(status.error),
            }
            for status in self.seises
        ]
        return {
            "ok": self.ok,
            "connected": self.connected,
            "heard_s": self.heard_s,
            "seises": seises,
        }


def overdue_s(
    session: tuple[float, float], last_s: float | None, length_s: float, market_s: float
) -> float:
    """Return how late the next closed bar is.

    Parameters
    ----------
    session
        When the market opened and closes, epoch seconds UTC; infinite if it never closes.
    last_s
        When the last closed bar opened, epoch seconds UTC; None without one.
    length_s
        The length of a bar in seconds; a month as 30 days.
    market_s
        The server's clock minus the delay of the data, epoch seconds UTC.

    Returns
    -------
    float
        Seconds; 0 when the bar may still form.
    """
    opens_s, closes_s = session
    begins_s = opens_s if last_s is None else max(last_s + length_s, opens_s)
    if math.isinf(begins_s):
        return 0.0
    ends_s = begins_s + length_s * (_LONGEST_MONTH if length_s >= 30 * 86400 else 1.0)
    return max(market_s - min(ends_s, closes_s) - CLOSED_MARGIN_S, 0.0)
