"""When a request has no connection yet: until when, why, and who is woken then."""

from dataclasses import dataclass
from typing import Protocol

from tvDatafeed.exceptions import TvDatafeedError


class Notifier(Protocol):
    """A waiter that is woken when it may ask for a slot again."""

    def wake(self) -> object:
        """Wake the waiter; called in any thread, without locks."""


@dataclass(frozen=True)
class NoSlot:
    """No connection has a free slot, and none may be opened yet.

    Parameters
    ----------
    retry_at
        When one may be opened, on the monotonic clock; a slot may become free before.
    error
        What is wrong, for a request whose time ends before.
    """

    retry_at: float
    error: TvDatafeedError
