"""The renewal of the data token before it ends, so that no series is lost with it."""

import logging
import math
import time
from collections.abc import Callable
from typing import Protocol

from tvDatafeed.exceptions import TvDatafeedError
from tvDatafeed.network.dispatcher import TokenSource
from tvDatafeed.network.pool import WebSocketManager

logger: logging.Logger = logging.getLogger(__name__)

# Not longer, since the wall clock, by which a token ends, may be set.
_LONGEST_PAUSE_S = 60.0
_CHECK_PAUSE_S = 1.0


class RenewableTokens(TokenSource, Protocol):
    """Where data tokens come from, and when the next one does; `auth.account.Account` is one."""

    def next_renewal_s(self) -> float | None:
        """Return when the token is to be renewed, epoch seconds; None: never."""


class TokenRenewal:
    """Renews the token of a feed's connections when it is due.

    It belongs to the thread of the supervisor.

    Parameters
    ----------
    tokens
        Where tokens come from.
    connections
        Returns the connections.
    on_renewed
        Called after they were signed in with another token.
    """

    def __init__(
        self,
        tokens: RenewableTokens,
        connections: Callable[[], WebSocketManager],
        on_renewed: Callable[[], object],
    ) -> None:
        self._tokens = tokens
        self._connections = connections
        self._on_renewed = on_renewed
        self._not_before = -math.inf

    def run_due(self) -> float:
        """Renew the token if it is due; return when to call again, on the monotonic clock."""
        renewal_s = self._tokens.next_renewal_s()
        now = time.monotonic()
        if renewal_s is None:
            return math.inf
        wait_s = max(renewal_s - time.time(), self._not_before - now)
        if wait_s > 0:
            return now + min(wait_s, _LONGEST_PAUSE_S)
        try:
            self._connections().sign_in(self._tokens.token())
            self._on_renewed()
        except TvDatafeedError as error:
            logger.warning("the token could not be renewed before its end: %s", error)
            self._not_before = now + _LONGEST_PAUSE_S
        return now + _CHECK_PAUSE_S
