"""Channels: one Seis's way from its stream to those who are told of its bars."""

import datetime as dt
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tvDatafeed.exceptions import TvDatafeedError
from tvDatafeed.live.livebar import LiveBar, Look
from tvDatafeed.live.seis import Seis, State
from tvDatafeed.protocol.closing import LiveUpdate
from tvDatafeed.protocol.events import StreamStarted
from tvDatafeed.protocol.messages import Bar

_MILLISECONDS = 1000
_SHOWN = ("state", "last_bar", "delivered", "dropped", "corrections", "lag_ms", "error")


class Receiver(Protocol):
    """Who takes bars, quickly and in any thread: a consumer, or an iterator's mailbox."""

    def offer(self, item: LiveBar, /) -> object:
        """Take a bar."""

    def make_room(self, count: int, /) -> object:
        """Expect so many bars at once, which were missed and are there now."""

    def put(self, item: None, /) -> object:
        """Take the end: nothing more will come."""


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
        How many bars have changed after they were told as closed.
    lag_ms : float or None
        How long after its close the last bar was told, by the server's clock, in milliseconds.
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
            shown = {name: getattr(status, name) for name in _SHOWN}
            rows.append({name: "" if v is None else v for name, v in (seis | shown).items()})
        return html_table(rows)


class Channel:
    """What is known of one Seis, and who is told of it.

    Parameters
    ----------
    seis
        The series; its consumers are told.
    look
        How its bars are shown.
    on_gap, on_state, on_failure
        Have the program told, without making anyone wait: of bars that are missing, from and to as
        epoch seconds UTC; of a change of state; of an error.
    """

    def __init__(
        self,
        seis: Seis,
        look: Look,
        *,
        on_gap: Callable[[Seis, float, float], object],
        on_state: Callable[[Seis, State], object],
        on_failure: Callable[[Seis, TvDatafeedError], object],
    ) -> None:
        self.seis = seis
        self._look = look
        self._on_gap = on_gap
        self._on_state = on_state
        self._on_failure = on_failure
        self._lock = threading.Lock()
        # Whoever forgets an iterator ends it, in whatever thread and under whatever lock.
        self._taps: tuple[weakref.ref[Receiver], ...] = ()
        self._last: LiveBar | None = None
        self._state = State.STARTING
        self._error: TvDatafeedError | None = None
        self._delivered = 0
        self._corrections = 0
        self._lag_s: float | None = None

    def started(self, started: StreamStarted) -> None:
        """Take what the server says of the symbol, and the bars since the last one."""
        self._look.learn(started.info, started.update_mode)
        self._tell(started.update, is_refill=True)

    def moved(self, moved: LiveUpdate) -> None:
        """Tell what has happened; in the reader's thread."""
        self._tell(moved, is_refill=False)

    def _tell(self, moved: LiveUpdate, *, is_refill: bool) -> None:
        with self._lock:
            receivers = self.receivers()
            if is_refill:
                for receiver in receivers:
                    receiver.make_room(len(moved.closed))
            before: Bar | None = self._last.bar if self._last else None
            for bar in moved.closed:
                self._last = LiveBar(bar, is_closed=True, before=before, look=self._look)
                before = bar
                for receiver in receivers:
                    receiver.offer(self._last)
            if moved.forming is not None and receivers:
                item = LiveBar(moved.forming, is_closed=False, before=before, look=self._look)
                for receiver in receivers:
                    receiver.offer(item)
            self._delivered += len(moved.closed)
            self._corrections += moved.corrections
            if moved.closed:
                self._lag_s = moved.lag_s
        for start_s, end_s in moved.gaps:
            self._on_gap(self.seis, start_s, end_s)

    def state(self, state: State) -> None:
        """Note a change of state, and tell of it."""
        self._state = state
        if state is not State.FAILED:
            self._error = None
        self._on_state(self.seis, state)

    def failed(self, error: TvDatafeedError) -> None:
        """Note an error, and tell of it."""
        self._error = error
        self._on_failure(self.seis, error)

    def attach(self, receiver: Receiver, add: Callable[[], object], *, replay: bool) -> None:
        """Let somebody be told from now on, beginning with the bar that closed last."""
        with self._lock:
            add()
            if replay and self._last is not None:
                receiver.offer(self._last)

    def receivers(self) -> tuple[Receiver, ...]:
        """Give those who are told."""
        taps = (tap() for tap in self._taps)
        return (*self.seis.get_consumers(), *(tap for tap in taps if tap is not None))

    def tap(self, receiver: Receiver, *, replay: bool) -> None:
        """Let somebody be told who is no consumer, for as long as anyone holds it."""
        self.attach(receiver, lambda: self._add_tap(receiver), replay=replay)

    def _add_tap(self, receiver: Receiver) -> None:
        held = (tap for tap in self._taps if tap() is not None)
        self._taps = (*held, weakref.ref(receiver))

    def status(self) -> SeisStatus:
        """Say how the Seis is doing."""
        with self._lock:
            last = self._last
            return SeisStatus(
                seis=self.seis,
                state=self._state.value,
                last_bar=None if last is None else _moment(last.bar.time),
                delivered=self._delivered,
                dropped=self._look.dropped,
                corrections=self._corrections,
                lag_ms=None if self._lag_s is None else round(self._lag_s * _MILLISECONDS, 3),
                error=self._error,
            )


def _moment(time_s: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(time_s, dt.timezone.utc)
