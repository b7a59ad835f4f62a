"""The account of a client: its data token, the credentials behind it, and its renewal."""

from __future__ import annotations

import dataclasses
import functools
import logging
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tvDatafeed.auth.cache import CachedLogin, TokenCache, default_cache_path_if_any
from tvDatafeed.auth.renewal import Overdue, SharedRenewal
from tvDatafeed.auth.signin import Credentials, SignedIn, SignIn
from tvDatafeed.auth.token import expiry_of, plan_of, renewal_of
from tvDatafeed.common.deadline import Deadline
from tvDatafeed.common.facts import facts
from tvDatafeed.common.fork import call_in_forked_child
from tvDatafeed.config import DEFAULT_CONFIG, NetworkConfig, TvDatafeedConfig
from tvDatafeed.exceptions import (
    AuthenticationError,
    ConfigurationError,
    NetworkError,
    RateLimitError,
    own_copy,
)
from tvDatafeed.protocol.literals import ANONYMOUS_TOKEN
from tvDatafeed.ratelimit import RateLimiter
from tvDatafeed.validators import Validators

__all__ = [
    "Authenticator",
    "Identity",
]

logger: logging.Logger = logging.getLogger(__name__)

Source = Literal["token", "cookies", "cache", "password", "anonymous"]

# The host of paid plans; TradingView's page is its Origin.
PRO_WS_URL = "wss://prodata.tradingview.com/socket.io/websocket"
PRO_ORIGIN = "https://www.tradingview.com"

# Where TradingView says no more than "later"; users report that it takes some minutes.
_RATE_LIMIT_PAUSE_S = 60.0
# If a token is refused sooner than this after its renewal, the server never accepted it.
_PROBATION_S = 60.0


@dataclass(frozen=True)
class Identity:
    """The signed-in account.

    Attributes
    ----------
    username : str or None
        The user; None without an account, or if only a token is known.
    plan : str
        The plan, such as "pro_premium"; empty for the free one.
    expires_at : float or None
        When the token expires, seconds since 1970; None if unknown.
    source : {"token", "cookies", "cache", "password", "anonymous"}
        Where the token came from.
    """

    username: str | None
    plan: str
    expires_at: float | None
    source: Source


@dataclass(frozen=True)
class _Session:
    """A token, its source, and the credentials that renew it."""

    token: str = field(repr=False)
    source: Source
    username: str | None = None
    plan: str = ""
    sessionid: str = field(default="", repr=False)
    sessionid_sign: str = field(default="", repr=False)
    # The user name under which the cache keeps it.
    cached_as: str | None = None
    replaces_refused: bool = False
    since: float = field(default_factory=time.monotonic)
    due_at: float | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        object.__setattr__(self, "due_at", renewal_of(self.token))


class Authenticator:
    """The data token of one client, from any kind of credentials.

    If several credentials are set, the first of these is used: auth_token, cookies, token cache,
    username with password. If TradingView refuses it, or it has to be renewed, the next one is
    tried. Without any, requests are anonymous. Nothing is sent before the first call of `token`.
    It may be used by any number of threads: one of them signs in or renews while the others wait,
    and all have the same outcome. No lock is held meanwhile.

    This object does not send a refused password or refused cookies again: it raises the same error
    at once. It also does so during a rate limit.

    Parameters
    ----------
    config : TvDatafeedConfig
        The credentials, and how to reach TradingView.
    limiter : RateLimiter, optional
        Shared with all other requests to TradingView. Default: no limit.
    clock : callable, default time.time
        Returns seconds since 1970, for the expiry of tokens and for codes.
    sleep : callable, default time.sleep
        Waits for the next code.

    Raises
    ------
    ConfigurationError
        If only one of username and password is passed, without auth_token.

    Examples
    --------
    >>> Authenticator(TvDatafeedConfig()).token()
    'unauthorized_user_token'
    """

    def __init__(
        self,
        config: TvDatafeedConfig,
        *,
        limiter: RateLimiter | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._auth = config.auth
        self._network = config.network
        self._limiter = limiter
        self._clock = clock
        self._sleep = sleep
        has_password = self._auth.username is not None and self._auth.password is not None
        if not self._auth.auth_token:
            has_password = Validators.validate_credentials(self._auth.username, self._auth.password)
        self._has_password = has_password
        self._endpoint = self._network.base_url.rstrip("/")
        self._session: _Session | None = None
        self._sign_in: SignIn | None = None
        # Tokens that are not used again while other credentials are available.
        self._refused_token: str | None = None
        self._refusals: dict[Hashable, AuthenticationError] = {}
        self._overdue = Overdue(logger)
        # False: there is no home folder; None: not asked yet.
        self._default_cache: Path | Literal[False] | None = None
        # The end of the rate limit, on the monotonic clock, and TradingView's error.
        self._pause: tuple[float, RateLimitError] | None = None
        self._start_afresh()
        call_in_forked_child(self._reset_in_child)

    def __repr__(self) -> str:
        session = self._session
        return f"<Authenticator {session.source if session else 'not signed in yet'}>"

    def token(self) -> str:
        """Return the data token; sign in or renew it if necessary.

        Returns
        -------
        str
            The token; without credentials TradingView's anonymous token.

        Raises
        ------
        AuthenticationError
            TradingView refuses all available credentials; subclasses name the reason.
        NetworkError
            TradingView cannot be reached, or limits the rate (`RateLimitError`).
        ConfigurationError
            The secret of the second factor is invalid.
        """
        return self._current(None).token

    def good_token(self, refused: str | None = None) -> str | None:
        """Return a valid token without waiting for TradingView.

        A token that is due is renewed in a separate thread, and used until the renewal has ended.

        Parameters
        ----------
        refused : str, optional
            A token that the server refused, which must not be returned.

        Returns
        -------
        str or None
            None if `token` or `renew` must sign in first.
        """
        with self._lock:
            session = self._session
        if session is None and self._auth.auth_token not in {None, "", refused}:
            session = self._current(None)  # nothing is sent
        if session is None or session.token == refused or self._is_refused(session):
            return None
        if self._is_due(session):
            if _has_ended(session, self._clock()):
                return None
            self._renew_meanwhile(session)
        return session.token

    @property
    def is_renewing(self) -> bool:
        """Whether a renewal or a sign-in is under way."""
        return self._renewal is not None

    def renew(self, refused: str) -> str:
        """Return another token than the refused one.

        Parameters
        ----------
        refused : str
            The refused token. If it is no longer the current one, the current one is returned.

        Raises
        ------
        AuthenticationError
            No credentials can renew the token, or a token that was just renewed is refused too.
        NetworkError
            As for `token`.
        """
        with self._lock:
            session = self._session
        if (
            session is not None
            and session.token == refused
            and session.replaces_refused
            and time.monotonic() - session.since < _PROBATION_S
        ):
            raise AuthenticationError(
                "TradingView refused a renewed token as well: sign in with a browser and see "
                "whether the account works",
                session.username,
            )
        with self._lock:
            if self._session is session:
                self._refused_token = refused
        return self._current(refused).token

    def set_token(self, token: str) -> None:
        """Use another token from now on; the other credentials renew it.

        Parameters
        ----------
        token : str
            A data token, or TradingView's anonymous token.

        Raises
        ------
        ConfigurationError
            If it is not a text.
        """
        if not isinstance(token, str) or not token.strip():
            raise ConfigurationError("token", "***", "must be a text that is not empty")
        source: Source = "anonymous" if token == ANONYMOUS_TOKEN else "token"
        with self._lock:
            self._session = _Session(token, source, plan=plan_of(token))
            self._refused_token = None
            self._overdue.end()

    def identity(self) -> Identity:
        """Return the signed-in account; sign in first if necessary.

        Raises
        ------
        AuthenticationError, NetworkError, ConfigurationError
            As for `token`.
        """
        session = self._current(None)
        return Identity(session.username, session.plan, expiry_of(session.token), session.source)

    def next_renewal_s(self) -> float | None:
        """Return when `token` will return another token, seconds since 1970; None for never.

        An open connection needs the new token before the old one expires.
        """
        with self._lock:
            session = self._session
        if session is None or session.due_at is None or not self._can_renew(session):
            return None
        pause_s = self._overdue.pause_s
        return max(session.due_at, self._clock() + pause_s) if pause_s else session.due_at

    def logout(self) -> bool:
        """Forget the account, also in the token cache.

        Returns
        -------
        bool
            Whether the cache contained a login.
        """
        with self._lock:
            self._session = None
            self._refusals.clear()
        cache = self._cache()
        return cache is not None and cache.forget(self._auth.username, self._endpoint)

    def ws_url(self) -> str:
        """Return the WebSocket's URL for the account's plan.

        Paid plans have another host, which is used unless `NetworkConfig.ws_url` was changed.
        Nothing is sent: the plan is read from the token that `token` returned.
        """
        return self.network().ws_url

    def network(self, token: str | None = None) -> NetworkConfig:
        """Return the network settings with the WebSocket and the Origin of a token's plan.

        Parameters
        ----------
        token : str, optional
            The token. Default: the current one; nothing is sent to get one.
        """
        session = self._session
        if session is not None and token in {None, session.token}:
            # The page of an account contains its plan even if the token does not.
            return network_of_plan(self._network, session.plan)
        return network_of_plan(self._network, plan_of(token or ""))

    def _reset_in_child(self) -> None:
        """In a forked child: the threads that held the lock or were signing in do not exist."""
        self._start_afresh()

    def _start_afresh(self) -> None:
        self._lock = threading.Lock()
        self._renewal: SharedRenewal[_Session] | None = None

    def _current(self, refused: str | None) -> _Session:
        deadline = Deadline(self._network.max_response_time)
        while True:
            with self._lock:
                session = self._session
                if session is not None and self._is_refused(session):
                    refused = session.token
                if session and session.token != refused and not self._is_due(session):
                    return session
                renewal, is_leader = self._renewal, self._renewal is None
                if renewal is None:
                    renewal = self._renewal = SharedRenewal[_Session]()
            if is_leader:
                return self._lead(renewal, session, refused)
            renewal.wait(deadline)
            if renewal.error is not None:
                raise own_copy(renewal.error)
            if renewal.session is not None and renewal.session.token != refused:
                return renewal.session

    def _renew_meanwhile(self, session: _Session) -> None:
        """Renew a valid token in a thread, unless a renewal is running."""
        renewal = SharedRenewal[_Session]()
        try:
            with self._lock:
                if self._renewal is not None:
                    return
                self._renewal = renewal
            renewal.start(functools.partial(self._run_renewal, renewal, session))
        except BaseException as error:
            # The thread did not start; or Ctrl-C came, and the thread may be running.
            if not renewal.has_begun:
                with self._lock:
                    if self._renewal is renewal:
                        self._renewal = None
                renewal.finish()
            if not isinstance(error, RuntimeError):
                raise
            logger.debug("no thread to renew the token: %s", error, extra=facts(error=error))

    def _run_renewal(self, renewal: SharedRenewal[_Session], session: _Session) -> None:
        if self._renewal is not renewal:
            return  # abandoned while the thread was started
        try:
            self._lead(renewal, session, None)
        except (AuthenticationError, NetworkError) as error:
            # It has ended meanwhile: the next thread that needs a token signs in.
            logger.debug("the token was not renewed: %s", error, extra=facts(error=error))
        except Exception as error:  # noqa: BLE001 - of the program's own function for codes
            # Its text may hold anything.
            name = type(error).__name__
            self._overdue.log("the token could not be renewed: %s", name, error_type=name)

    def _lead(
        self, renewal: SharedRenewal[_Session], session: _Session | None, refused: str | None
    ) -> _Session:
        """Sign in or renew, for all waiting threads."""
        try:
            renewal.session = self._obtain_or_keep(session, refused)
        except Exception as error:
            renewal.error = own_copy(error)
            raise
        finally:
            with self._lock:
                self._renewal = None
                if renewal.session is not None and self._session is session:
                    self._session = renewal.session
                elif renewal.session is not None and self._session is not None:
                    # A token was assigned meanwhile; it takes precedence.
                    renewal.session = self._session
            renewal.finish()
        return renewal.session

    def _obtain_or_keep(self, session: _Session | None, refused: str | None) -> _Session:
        try:
            found = self._obtain(session, refused)
        except (AuthenticationError, NetworkError) as error:
            if session is None or session.token == refused:
                raise
            if _has_ended(session, self._clock()):
                raise
            what = "the token could not be renewed and is used until it ends: %s"
            self._overdue.log(what, error, error=error)
            return session
        self._overdue.end()
        return found

    def _is_due(self, session: _Session) -> bool:
        return (
            session.due_at is not None
            and self._clock() >= session.due_at
            and not self._overdue.pause_s
            and self._can_renew(session)
        )

    def _is_refused(self, session: _Session) -> bool:
        return session.token == self._refused_token and self._can_renew(session)

    def _can_renew(self, session: _Session) -> bool:
        has_cookies = bool(session.sessionid or self._auth.sessionid)
        return has_cookies or self._has_password or session.cached_as is not None

    def _obtain(self, session: _Session | None, refused: str | None) -> _Session:
        """Try the credentials in their order until one yields a token that was not refused."""
        auth = self._auth
        if session is None and auth.auth_token and auth.auth_token != refused:
            return _Session(auth.auth_token, "token", plan=plan_of(auth.auth_token))
        if self._pause is not None and time.monotonic() < self._pause[0]:
            raise own_copy(self._pause[1])
        last: AuthenticationError | None = None
        for key, way in self._ways(session, refused):
            try:
                found = self._try(key, way)
            except AuthenticationError as error:
                last = error
                continue
            if found is not None and found.token != refused:
                if last is not None:
                    extra = facts(error=last, source=found.source)
                    logger.warning("signed in by %s, because: %s", found.source, last, extra=extra)
                return dataclasses.replace(found, replaces_refused=refused is not None)
        if last is not None:
            raise own_copy(last)
        if refused is None:
            return session or _Session(ANONYMOUS_TOKEN, "anonymous")
        raise AuthenticationError(
            "TradingView refused the token, and nothing else is known to sign in with: pass a "
            "new auth_token, sessionid cookies, or username and password"
        )

    def _try(self, key: Hashable, way: Callable[[], _Session | None]) -> _Session | None:
        """Try one kind of credentials, unless it was refused before, and record a refusal."""
        if key in self._refusals:
            raise own_copy(self._refusals[key])
        try:
            return way()
        except AuthenticationError as error:
            # Another program may have replaced an expired login in the cache.
            if key != "cache":
                self._refusals[key] = own_copy(error)
            raise
        except RateLimitError as error:
            wait_s = _RATE_LIMIT_PAUSE_S if error.retry_after is None else error.retry_after
            self._pause = time.monotonic() + wait_s, own_copy(error)
            raise

    def _ways(
        self, session: _Session | None, refused: str | None
    ) -> Iterator[tuple[Hashable, Callable[[], _Session | None]]]:
        auth = self._auth
        if session is not None and session.sessionid:
            yield ("cookies", session.sessionid), lambda: self._by_cookies(session)
        if auth.sessionid:
            given = _Session("", "cookies", None, "", auth.sessionid, auth.sessionid_sign or "")
            yield ("cookies", auth.sessionid), lambda: self._by_cookies(given)
        yield "cache", lambda: self._by_cache(refused)
        if self._has_password:
            yield "password", self._by_password

    def _by_cookies(self, known: _Session) -> _Session:
        signed_in = self._site().with_cookies(known.sessionid, known.sessionid_sign)
        session = dataclasses.replace(
            _session_of(signed_in, known.source),
            username=signed_in.username or known.username,
            cached_as=known.cached_as,
        )
        cache = self._cache()
        if cache is not None and known.cached_as is not None:
            cache.renew(_to_cache(session, known.cached_as), self._endpoint)
        return session

    def _by_cache(self, refused: str | None) -> _Session | None:
        cache, auth = self._cache(), self._auth
        if cache is None:
            return None
        if self._has_password:
            login = cache.find(auth.username or "", self._endpoint, auth.password or "")
        else:
            login = cache.latest(self._endpoint)
        if login is None:
            return None
        session = _Session(
            login.token,
            "cache",
            login.username,
            login.plan,
            login.sessionid,
            login.sessionid_sign,
            login.username,
        )
        is_fresh = session.due_at is None or self._clock() < session.due_at
        if is_fresh and session.token != refused:
            return session
        key = ("cookies", session.sessionid)
        if not session.sessionid or key in self._refusals:
            return None
        try:
            return self._by_cookies(session)
        except AuthenticationError as error:
            extra = facts(error=error, username=login.username)
            logger.info("the cached login of %s has expired", login.username, extra=extra)
            self._refusals[key] = own_copy(error)
            # Without a password, this is the reason that the user needs.
            if not self._has_password:
                raise
            return None

    def _by_password(self) -> _Session:
        auth = self._auth
        username, password = auth.username or "", auth.password or ""
        signed_in = self._site().with_password(
            Credentials(username, password, auth.totp_secret, auth.two_factor_code)
        )
        cache = self._cache()
        session = dataclasses.replace(
            _session_of(signed_in, "password"),
            username=signed_in.username or username,
            cached_as=None if cache is None else username,
        )
        if cache is not None:
            cache.store(_to_cache(session, username), self._endpoint, password)
        return session

    def _cache(self) -> TokenCache | None:
        """Return the cache, if it is used: for passwords, or because its file was set."""
        auth, place = self._auth, self._auth.token_cache
        # With other credentials, the newest login may belong to another user.
        is_only_way = place is not None and not (auth.auth_token or auth.sessionid)
        if place is False or not (self._has_password or is_only_way):
            return None
        if place is None and self._default_cache is None:
            # Only once, so that a missing home folder causes one WARNING.
            self._default_cache = default_cache_path_if_any() or False
        path = place or self._default_cache
        return TokenCache(path) if path else None

    def _site(self) -> SignIn:
        from tvDatafeed.network.http import HttpClient  # noqa: PLC0415 - requests takes its time

        if self._sign_in is None:
            client = HttpClient(self._network, limiter=self._limiter)
            self._sign_in = SignIn(
                client, self._network, self._auth, clock=self._clock, sleep=self._sleep
            )
        return self._sign_in


def _has_ended(session: _Session, now_s: float) -> bool:
    end = expiry_of(session.token)
    return end is not None and end <= now_s


def network_of_plan(network: NetworkConfig, plan: str) -> NetworkConfig:
    """Return the network settings with the WebSocket and the Origin of a plan.

    Parameters
    ----------
    network : NetworkConfig
        The settings; a changed `ws_url` stays.
    plan : str
        The plan, such as "pro_premium"; empty for the free one.
    """
    return _paid(network) if plan and network.follows_plan else network


# Called for each request.
@functools.lru_cache(maxsize=8)
def _paid(network: NetworkConfig) -> NetworkConfig:
    headers = network.ws_headers
    if headers == DEFAULT_CONFIG.network.ws_headers:
        headers = {"Origin": PRO_ORIGIN}
    return dataclasses.replace(network, ws_url=PRO_WS_URL, ws_headers=headers)


def _session_of(signed_in: SignedIn, source: Source) -> _Session:
    return _Session(
        signed_in.token,
        source,
        signed_in.username,
        signed_in.plan,
        signed_in.sessionid,
        signed_in.sessionid_sign,
    )


def _to_cache(session: _Session, username: str) -> CachedLogin:
    return CachedLogin(
        username, session.token, session.sessionid, session.sessionid_sign, session.plan
    )
