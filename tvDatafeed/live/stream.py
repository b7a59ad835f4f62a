"""A stream: one series that a live feed wants, and where it left off."""

import threading
from collections.abc import Callable
from typing import Protocol

from tvDatafeed.exceptions import TvDatafeedError
from tvDatafeed.interval import Interval
from tvDatafeed.live.seis import State
from tvDatafeed.network.connection import Connection, Outcome
from tvDatafeed.network.dispatcher import Batch
from tvDatafeed.protocol.closing import LiveUpdate
from tvDatafeed.protocol.events import StreamStarted, StreamUpdated
from tvDatafeed.protocol.messages import Bar


class Listener(Protocol):
    """Who is told of a stream.

    `started` and `moved` are called in the reader's thread, under the connection's lock: they are
    quick. The others are called in the thread that keeps the streams.
    """

    def started(self, started: StreamStarted) -> None:
        """Take what the server says of the symbol, and the bars since the last one."""

    def moved(self, moved: LiveUpdate) -> None:
        """Take what has happened."""

    def state(self, state: State) -> None:
        """Take a change of state."""

    def failed(self, error: TvDatafeedError) -> None:
        """Take an error."""


class Stream:
    """One series that is wanted, and where it left off.

    Parameters
    ----------
    symbol
        The full symbol.
    interval
        The length of a bar.
    listener
        Who is told.

    Attributes
    ----------
    settled : threading.Event
        Set when the stream has started for the first time, or never will.
    error : TvDatafeedError or None
        Why it has failed.
    """

    def __init__(self, symbol: str, interval: Interval, listener: Listener) -> None:
        self.symbol = symbol
        self.interval = interval
        self.listener = listener
        self.settled: threading.Event = threading.Event()
        self.error: TvDatafeedError | None = None
        self.state = State.STARTING
        self.is_wanted = True
        self.has_lived = False
        self.batch: Batch | None = None
        self.connection: Connection | None = None
        self.session: str | None = None
        self.tries = 0
        # Losses one after the other of sessions on which nothing had happened yet.
        self.losses = 0
        # In vain, one after the other, and the news that there were before.
        self.looks = 0
        self.old_news = 0
        self.has_complained = False
        # Written by the reader of the connection alone, while there is one.
        self.after: Bar | None = None
        self.news: int = 0
        self.opening_news = 0
        self.is_forming: bool = False
        self.quiet: Callable[[Stream], None] = lambda _stream: None

    def __repr__(self) -> str:
        return f"<Stream {self.symbol} {self.interval.value} {self.state.value}>"

    def put(self, outcome: Outcome) -> None:
        """Take an event of the connection."""
        match outcome:
            case StreamUpdated(update=update):
                self.listener.moved(update)
                self._note(update)
                if update.by_clock:
                    self.quiet(self)
                return
            case StreamStarted(update=update):
                self.listener.started(outcome)
                self._note(update)
        if self.batch is not None:
            self.batch.put(outcome)

    def _note(self, update: LiveUpdate) -> None:
        # Not before it was told: whatever fails there is asked for once more.
        self.after = update.last or self.after
        self.is_forming = update.forming is not None
        self.news += not update.by_clock
