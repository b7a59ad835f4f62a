"""The open sessions of one connection, and the deadlines of their requests."""

import enum
import math
from dataclasses import dataclass
from typing import cast

from tvDatafeed.protocol.questions import RequestHandler, StreamHandler


class SessionState(enum.Enum):
    """The life of a session; it ends when it leaves `Sessions`."""

    # The answer is not complete; the deadlines of the request apply.
    AWAITING = "awaiting"
    # A live series; it has no deadline, and `CloseSchedule` knows when its last bar closes.
    FOLLOWING = "following"


@dataclass
class Pending:
    """An open session and the deadlines of its request, on the driver's clock in seconds."""

    symbol: str
    handler: RequestHandler
    deadline: float
    requested_at: float
    last_received_at: float
    message_timeout_s: float | None
    page_timeout_s: float | None
    state: SessionState = SessionState.AWAITING
    # The last change of a live series.
    updated_at: float = -math.inf

    @property
    def stream(self) -> StreamHandler:
        """The handler of a session in FOLLOWING."""
        return cast("StreamHandler", self.handler)


class Sessions:
    """The open sessions by id.

    `awaiting` contains the sessions in AWAITING. They are few, and their deadlines are checked
    after every message; a connection may have a thousand more in FOLLOWING.
    """

    def __init__(self) -> None:
        self.by_id: dict[str, Pending] = {}
        self.awaiting: dict[str, Pending] = {}

    @property
    def are_any_followed(self) -> bool:
        """Whether any session is in FOLLOWING."""
        return len(self.by_id) > len(self.awaiting)

    def add(self, session: str, pending: Pending) -> None:
        """Add a session in AWAITING."""
        self.by_id[session] = self.awaiting[session] = pending

    def follow(self, session: str) -> None:
        """Change a session from AWAITING to FOLLOWING."""
        self.awaiting.pop(session).state = SessionState.FOLLOWING

    def remove(self, session: str) -> Pending | None:
        """Remove a session in any state; return None when it is not open."""
        pending = self.by_id.pop(session, None)
        if pending is not None and pending.state is SessionState.AWAITING:
            del self.awaiting[session]
        return pending
