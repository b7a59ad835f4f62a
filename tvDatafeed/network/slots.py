"""The state of a request without a connection: when to try again, why, and who is woken."""

from dataclasses import dataclass
from typing import Protocol

from tvDatafeed.exceptions import TvDatafeedError


class Notifier(Protocol):
    """A waiter that is woken when it may try to get a slot again."""

    def wake(self) -> object:
        """Wake the waiter; may be called in any thread, without locks."""


@dataclass(frozen=True)
class NoSlot:
    """No connection has a free slot, and none may be opened yet.

    Parameters
    ----------
    retry_at
        When one may be opened, on the monotonic clock; a slot may become free before.
    error
        The error for a request whose deadline comes before that.
    """

    retry_at: float
    error: TvDatafeedError
