"""The data token of a feed: available without a wait, and renewed before it expires.

The thread of the supervisor never waits for TradingView's sign-in: it opens series with the present
token while that is valid, and does its other work while there is no token.
"""

import functools
import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Protocol

from tvDatafeed.common.facts import facts
from tvDatafeed.exceptions import ThreadingError, TvDatafeedError
from tvDatafeed.network.dispatcher import TokenSource
from tvDatafeed.network.pool import WebSocketManager

logger: logging.Logger = logging.getLogger(__name__)

# Not longer, since a token expires by the wall clock, which may be set.
_LONGEST_PAUSE_S = 60.0
_CHECK_PAUSE_S = 1.0


class RenewableTokens(TokenSource, Protocol):
    """A source of data tokens that can renew them, such as `auth.account.Account`."""

    def good_token(self, refused: str | None = None) -> str | None:
        """Return a token at once; None if `token` or `token_after` would have to wait for one."""

    @property
    def is_renewing(self) -> bool:
        """Whether a renewal or a sign-in is under way."""

    def next_renewal_s(self) -> float | None:
        """Return when the token should be renewed, epoch seconds; None for never."""


class _SignIn:
    """A call that waits for a token in a separate thread."""

    def __init__(self, refused: str | None, obtain: Callable[[], str | None]) -> None:
        self.refused = refused
        self.is_finished = False
        self._obtain = obtain
        self._token: str | None = None
        self._error: Exception | None = None

    def start(self, wake: Callable[[], object]) -> None:
        """Start the thread, which wakes the supervisor at its end."""

        def run() -> None:
            try:
                self._token = self._obtain()
            except Exception as error:  # noqa: BLE001 - raised again where the token is needed
                self._error = error
            self.is_finished = True
            wake()

        threading.Thread(target=run, name="tvDatafeed-sign-in", daemon=True).start()

    def token(self) -> str | None:
        """Return the token, or raise the error of the sign-in."""
        if self._error is not None:
            raise self._error
        return self._token


class FeedTokens:
    """The tokens of a feed, for a thread that must not wait for them.

    It belongs to the thread of the supervisor.

    Parameters
    ----------
    tokens
        Where tokens come from.
    wake
        Wakes the supervisor; called in any thread.
    """

    def __init__(self, tokens: RenewableTokens, wake: Callable[[], object]) -> None:
        self._tokens = tokens
        self._wake = wake
        self._sign_in: _SignIn | None = None
        # Whether a renewal has failed, and that is in the log already.
        self._is_overdue = False

    def token(self) -> str | None:
        """Return the token to use; None during a sign-in, whose thread wakes the supervisor."""
        return self._get(None, self._tokens.token)

    def is_refused(self, token: str, error: TvDatafeedError) -> bool:
        """Return whether a request failed because of its token, so that another may help."""
        return self._tokens.is_refused(token, error)

    def token_after(self, token: str, error: TvDatafeedError) -> str | None:
        """Return another token after one was refused, as `token` does."""
        return self._get(token, functools.partial(self._tokens.token_after, token, error))

    def _get(self, refused: str | None, obtain: Callable[[], str | None]) -> str | None:
        token = self._tokens.good_token(refused)
        if token is not None:
            return token
        sign_in = self._sign_in
        if sign_in is not None and sign_in.is_finished:
            self._sign_in = None
            if sign_in.refused == refused:
                return sign_in.token()
        self._begin(refused, obtain)
        return None

    def begin(self) -> None:
        """Start a sign-in, unless one is running; called when no series waits for it.

        Raises
        ------
        ThreadingError
            The system cannot start a thread.
        """
        self._begin(None, self._tokens.token)

    def _begin(self, refused: str | None, obtain: Callable[[], str | None]) -> None:
        if self._sign_in is not None:
            return
        sign_in = _SignIn(refused, obtain)
        try:
            sign_in.start(self._wake)
        except RuntimeError as error:
            raise ThreadingError(f"no thread to sign in: {error}") from error
        self._sign_in = sign_in

    def forget(self) -> None:
        """Discard the result of a sign-in that no series waits for."""
        sign_in = self._sign_in
        if sign_in is None or not sign_in.is_finished:
            return
        self._sign_in = None
        try:
            sign_in.token()
        except TvDatafeedError as error:
            level, self._is_overdue = logging.DEBUG if self._is_overdue else logging.WARNING, True
            logger.log(
                level,
                "the token could not be renewed before it expires: %s",
                error,
                extra=facts(error=error),
            )
        else:
            self._is_overdue = False


class TokenRenewal:
    """Renews the token of a feed's connections when it is due.

    It belongs to the thread of the supervisor.

    Parameters
    ----------
    tokens
        Where tokens come from.
    feed_tokens
        The same source, without a wait.
    connections
        Returns the connections.
    on_renewed
        Called after the connections got another token.
    """

    def __init__(
        self,
        tokens: RenewableTokens,
        feed_tokens: FeedTokens,
        connections: Callable[[], WebSocketManager],
        on_renewed: Callable[[], object],
    ) -> None:
        self._tokens = tokens
        self._feed_tokens = feed_tokens
        self._connections = connections
        self._on_renewed = on_renewed
        self._not_before = -math.inf
        # Whether there may be a token that the open connections do not have yet.
        self._is_renewing = False
        self._newest: str | None = None

    def run_due(self) -> float:
        """Renew the token if it is due; return when to call again, on the monotonic clock."""
        now = time.monotonic()
        renewal_s, is_renewing = self._tokens.next_renewal_s(), self._tokens.is_renewing
        if renewal_s is None and not is_renewing and not self._is_renewing:
            return math.inf
        token = self._tokens.good_token()
        if token is not None and token != self._newest:
            self._newest = token
            self._connections().sign_in(token)
            self._on_renewed()
        self._is_renewing = is_renewing or self._tokens.is_renewing
        wait_s = math.inf if renewal_s is None else renewal_s - time.time()
        wait_s = max(wait_s, self._not_before - now)
        if not self._is_renewing and wait_s > 0:
            return now + min(wait_s, _LONGEST_PAUSE_S)
        if token is None and wait_s <= 0:
            # The next try comes after a pause, whatever the result of this one.
            self._not_before = now + _LONGEST_PAUSE_S
            try:
                self._feed_tokens.begin()
            except ThreadingError as error:
                logger.warning(
                    "the token could not be renewed before it expires: %s",
                    error,
                    extra=facts(error=error),
                )
        return now + _CHECK_PAUSE_S
