"""The reasons for which a series is refused: its symbol, its kind of bars, the client's plan."""

from tvDatafeed.testing.sessions.backend import Refusal
from tvDatafeed.testing.sessions.chart import ChartSeries

_FREE_MINUTES = frozenset({1, 2, 3, 5, 10, 15, 30, 45, 60, 120, 180, 240, 1440})
_PAID_BAR_SET = "@tv-prostudies-"


def series_refusal(series: ChartSeries, refusal: Refusal | None, plan: str) -> str | None:
    """Return the reason of the series_error of a series; None if it is served.

    Parameters
    ----------
    series
        The series.
    refusal
        The refusal of its symbol that a test has requested.
    plan
        The client's plan.
    """
    if refusal and refusal.message == "series_error":
        return refusal.reason
    if refusal or series.symbol.listing is None:
        return "resolve error"
    if bar_set := series.symbol.bar_set:
        # Made up for those that no plan is needed for, and for replays: they are not computed.
        needs_plan = _PAID_BAR_SET in bar_set and not plan
        return f"{'study_not_auth' if needs_plan else 'unsupported bar set'}:{bar_set}"
    minutes = series.interval if series.interval.isdigit() else "1"
    not_entitled = {
        "ticks_not_entitled": series.interval.endswith("T"),
        # The real server's answer for these intervals is not known.
        "resolution_not_entitled": series.interval.endswith("R"),
        "seconds_not_entitled": series.interval.endswith("S") and not plan,
        "custom_resolution": int(minutes) not in _FREE_MINUTES and not plan,
    }
    return next((reason for reason, is_so in not_entitled.items() if is_so), None)
