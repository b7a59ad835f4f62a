"""The states of a live series: every change of them is a row of one table."""

from enum import Enum

from tvDatafeed.live.seis import State


class SeriesEvent(Enum):
    """What happens to a series, as far as its state changes."""

    WANTED = "a program has registered it, or tries again what has failed"
    OPENED = "its session has started"
    LOST = "its session or the connection has ended"
    DELAYED = "it could not be opened, and will be tried again"
    REFUSED = "it cannot be opened, and trying again will not help"
    RELEASED = "no program wants it any more"


# Every change of a series' state. Other changes do not happen.
NEXT_STATE: dict[tuple[State, SeriesEvent], State] = {
    (State.STARTING, SeriesEvent.WANTED): State.STARTING,
    (State.STARTING, SeriesEvent.OPENED): State.LIVE,
    (State.STARTING, SeriesEvent.DELAYED): State.RECONNECTING,
    (State.STARTING, SeriesEvent.REFUSED): State.FAILED,
    (State.STARTING, SeriesEvent.RELEASED): State.STOPPED,
    # A silent series is opened again; a polled series is opened for each bar.
    (State.LIVE, SeriesEvent.OPENED): State.LIVE,
    (State.LIVE, SeriesEvent.LOST): State.RECONNECTING,
    (State.LIVE, SeriesEvent.DELAYED): State.RECONNECTING,
    (State.LIVE, SeriesEvent.REFUSED): State.FAILED,
    (State.LIVE, SeriesEvent.RELEASED): State.STOPPED,
    (State.RECONNECTING, SeriesEvent.OPENED): State.LIVE,
    (State.RECONNECTING, SeriesEvent.LOST): State.RECONNECTING,
    (State.RECONNECTING, SeriesEvent.DELAYED): State.RECONNECTING,
    (State.RECONNECTING, SeriesEvent.REFUSED): State.FAILED,
    (State.RECONNECTING, SeriesEvent.RELEASED): State.STOPPED,
    (State.FAILED, SeriesEvent.WANTED): State.STARTING,
    (State.FAILED, SeriesEvent.RELEASED): State.STOPPED,
    (State.STOPPED, SeriesEvent.RELEASED): State.STOPPED,
}
