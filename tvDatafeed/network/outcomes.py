"""The outcomes of requests, where they go, and how long a request may take."""

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
    """Where the events of a request go."""

    def deliver(self, outcome: Outcome, /) -> object:
        """Accept an event, quickly; called without locks.

        `StreamStarted` and `StreamUpdated` come in the reader's thread, others in any. After Ctrl-C
        one may come twice.
        """


@dataclass(frozen=True)
class Limits:
    """How long a request may take, in seconds.

    Parameters
    ----------
    response_s
        The whole answer; of a long one, each further part.
    message_s
        One message of it; None for no limit of its own.
    """

    response_s: float
    message_s: float | None
