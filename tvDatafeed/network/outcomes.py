"""The outcomes of requests, their receivers, and the limits on the time of a request."""

from dataclasses import dataclass
from typing import Protocol, TypeAlias

from tvDatafeed.protocol.events import (
    Answered,
    Paged,
    RequestFailed,
    StreamStarted,
    StreamUpdated,
)

Outcome: TypeAlias = Answered | RequestFailed | Paged | StreamStarted | StreamUpdated


class OutcomeReceiver(Protocol):
    """The receiver of a request's events."""

    def deliver(self, outcome: Outcome, /) -> object:
        """Accept an event, quickly; called without locks.

        `StreamStarted` and `StreamUpdated` are delivered in the reader's thread, other events in
        any. After Ctrl-C an event may be delivered twice.
        """


@dataclass(frozen=True)
class Limits:
    """How long a request may take, in seconds.

    Parameters
    ----------
    response_s
        The whole answer; of a long one, each further part.
    message_s
        One message of the answer; None for no such limit.
    """

    response_s: float
    message_s: float | None
