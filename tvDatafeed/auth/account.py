"""The data token of a client, and its replacement when the server refuses it."""

import dataclasses
import logging
import time
from typing import TYPE_CHECKING, Any

from tvDatafeed.common.once import Once
from tvDatafeed.exceptions import (
    AuthenticationError,
    ConfigurationError,
    TvDatafeedError,
    WebSocketTimeoutError,
)
from tvDatafeed.protocol.literals import ANONYMOUS_TOKEN

if TYPE_CHECKING:
    from tvDatafeed.auth.authenticator import Authenticator
    from tvDatafeed.config import AuthConfig, NetworkConfig, TvDatafeedConfig
    from tvDatafeed.ratelimit import RateLimiter


# A program may make an object for each question, and has read it then.
_NO_ACCOUNT = Once()


def make_authenticator(
    config: "TvDatafeedConfig", limiter: "RateLimiter"
) -> "Authenticator | None":
    """Return an authenticator if there are credentials; with a password, sign in at once.

    Raises
    ------
    TvDatafeedError
        If the password is refused or cannot be sent.
    """
    if config.network.record is not None:
        from tvDatafeed.network.recording import learn_settings  # noqa: PLC0415 - rarely needed

        learn_settings(config)
    auth = config.auth
    ways = (auth.auth_token, auth.sessionid, auth.username, auth.password, auth.token_cache)
    if not any(ways):
        return None
    # HTTP is slow to import, and anonymous users do not need it.
    from tvDatafeed.auth.authenticator import Authenticator  # noqa: PLC0415

    authenticator = Authenticator(config, limiter=limiter)
    if not auth.auth_token and auth.username is not None:
        authenticator.token()
    return authenticator


def none_if_blank(text: str | None) -> str | None:
    """Return a text, or None for a blank one."""
    return text if text and text.strip() else None


def with_credentials(config: "TvDatafeedConfig", given: dict[str, Any]) -> "TvDatafeedConfig":
    """Return settings in which the passed credentials replace those of the settings."""
    changes = {name: value for name, value in given.items() if value is not None}
    if not changes:
        return config
    return dataclasses.replace(config, auth=dataclasses.replace(config.auth, **changes))


def code_of(auth: "AuthConfig") -> str | None:
    """Return a code of the second factor: the passed one, else one from the secret, else None."""
    code = auth.two_factor_code
    if code is not None:
        return code() if callable(code) else code
    if auth.totp_secret is None:
        return None
    from tvDatafeed.auth.totp import totp_at  # noqa: PLC0415 - needed by few

    return totp_at(auth.totp_secret, time.time())


class Account:
    """The data token of one object: its account's, an assigned one, or the anonymous one.

    Parameters
    ----------
    authenticator
        Signs in; None without credentials.
    """

    def __init__(self, authenticator: "Authenticator | None") -> None:
        self._authenticator = authenticator
        # A token and its plan, replaced together.
        self._assigned: tuple[str, str] = (ANONYMOUS_TOKEN, "")

    @property
    def is_anonymous(self) -> bool:
        """Whether no account is signed in and no token was assigned."""
        return self._authenticator is None and self._assigned[0] == ANONYMOUS_TOKEN

    def log_anonymous(self, logger: logging.Logger) -> None:
        """Log that there is no account: a WARNING at the first object of a process."""
        if self.is_anonymous:
            level = logging.WARNING if _NO_ACCOUNT.is_first() else logging.DEBUG
            logger.log(level, "no account: TradingView limits what it gives to anonymous users")

    def fingerprint(self, auth: "AuthConfig") -> str:
        """Return a short text that differs for each account and does not reveal the account."""
        token = auth.auth_token or self._assigned[0]
        who = auth.username or auth.sessionid
        if who is None:
            if token == ANONYMOUS_TOKEN:
                return "anonymous"
            from tvDatafeed.auth.token import user_of  # noqa: PLC0415 - rarely needed

            who = user_of(token) or token
        import hashlib  # noqa: PLC0415 - it loads OpenSSL

        return hashlib.sha256(who.encode()).hexdigest()[:16]

    def network(self, network: "NetworkConfig", token: str | None = None) -> "NetworkConfig":
        """Return the network settings for a token: paid plans have another host.

        Without a token the current one is used; nothing is sent to get one.
        """
        if self._authenticator is not None:
            return self._authenticator.network(token)
        assigned, plan = self._assigned
        if token is not None and token != assigned:
            # A slow thread may still have the previous token.
            plan = _plan_of(token)
        if not plan:
            return network
        from tvDatafeed.auth.authenticator import network_of_plan  # noqa: PLC0415 - as above

        return network_of_plan(network, plan)

    def token(self) -> str:
        """Return the token to use; sign in if no token is valid.

        A token that is due for renewal is used while it is valid, and renewed meanwhile.

        Raises
        ------
        ConfigurationError
            If the assigned token is not a text.
        TvDatafeedError
            If signing in fails.
        """
        if self._authenticator is None:
            token = self._assigned[0]
            if not isinstance(token, str):
                raise ConfigurationError("token", token, "must be a text")
            return str(token)
        return self._authenticator.good_token() or self._authenticator.token()

    def good_token(self, refused: str | None = None) -> str | None:
        """Return a valid token; None if `token` or `token_after` would have to wait for one."""
        if self._authenticator is not None:
            return self._authenticator.good_token(refused)
        token = self._assigned[0]
        return str(token) if isinstance(token, str) and token != refused else None

    @property
    def is_renewing(self) -> bool:
        """Whether a renewal or a sign-in is under way."""
        return self._authenticator is not None and self._authenticator.is_renewing

    def next_renewal_s(self) -> float | None:
        """Return when the token should be renewed, epoch seconds; None for never."""
        return None if self._authenticator is None else self._authenticator.next_renewal_s()

    def assign(self, token: str) -> None:
        """Use another token from now on."""
        if self._authenticator is None:
            self._assigned = token, _plan_of(token)
        else:
            self._authenticator.set_token(token)

    def is_refused(self, token: str, error: TvDatafeedError) -> bool:
        """Return whether a request failed because of its token, so that another may help.

        The server refuses a token, or sends only heartbeats after an expired one.
        """
        if isinstance(error, AuthenticationError):
            return self._authenticator is not None
        if not isinstance(error, WebSocketTimeoutError):
            return False
        from tvDatafeed.auth.token import expiry_of  # noqa: PLC0415 - rarely needed

        end = expiry_of(token)
        return end is not None and end <= time.time()

    def token_after(self, token: str, error: TvDatafeedError) -> str:
        """Return another token after one was refused.

        Raises
        ------
        TvDatafeedError
            No other token is available.
        """
        try:
            return self._replacement(token)
        except AuthenticationError as no_way:
            if isinstance(error, AuthenticationError):
                # The server's own reason, chained to the reason why no other token is available.
                raise error from no_way
            raise no_way from error

    def _replacement(self, token: str) -> str:
        if self._authenticator is None:
            raise AuthenticationError(
                "the token has expired, and TradingView answers it with heartbeats alone; "
                "assign a fresh one to token"
            )
        return self._authenticator.renew(token)


def _plan_of(token: object) -> str:
    from tvDatafeed.auth.token import plan_of  # noqa: PLC0415 - rarely needed

    return plan_of(token) if isinstance(token, str) else ""
