"""Signing in over HTTP: what is sent, and what each answer means.

One attempt is made, and a refused password is never sent again: TradingView locks accounts out.
What the server says may repeat what it was told, so it is masked before it enters an error.
The shapes are those of sections 2.1 to 2.4 of the protocol notes.
"""

from __future__ import annotations

import html
import json
import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

from tvDatafeed.auth.token import plan_of
from tvDatafeed.auth.totp import totp_at
from tvDatafeed.common.facts import facts
from tvDatafeed.common.redaction import redact
from tvDatafeed.config import AuthConfig, NetworkConfig
from tvDatafeed.exceptions import (
    AuthenticationError,
    CaptchaRequiredError,
    ConfigurationError,
    NetworkError,
    RateLimitError,
    TwoFactorRequiredError,
)

if TYPE_CHECKING:
    from tvDatafeed.network.http import HttpClient
    from tvDatafeed.network.replies import HttpReply


__all__ = ["Credentials", "SignIn", "SignedIn"]

logger: logging.Logger = logging.getLogger(__name__)

SIGN_IN_PATH = "/accounts/signin/"
TWO_FACTOR_PATH = "/accounts/two-factor/signin/{method}/"
METHODS = ("totp", "sms", "email")

_TOTP_STEP_S = 30
# Codes are accepted from the boundary on, by a clock that is not quite ours.
_TOTP_MARGIN_S = 0.5
# The Date header has whole seconds, and the answer was on its way.
_SKEW_MIN_S = 5.0
# A server's text goes into one line of a log.
_SAID_MAX_LENGTH = 200
_TOO_MANY = 429
_SERVER_ERROR = 500
_CLIENT_ERROR = 400
_REFUSED = frozenset({400, 401, 403})
# It lasts for days, and the text may come without its code (section 16, E8).
_RATE_LIMIT_CODE = re.compile(r"rate_?limit(?:ed)?|(?:2FA_)?too_many_\w+", re.IGNORECASE)
_RATE_LIMITED = re.compile(
    r"rate.?limit|too many (?:attempts|requests)|trouble with (?:that|your) request"
    r"|try again (?:a little |a bit )?later",
    re.IGNORECASE,
)
_RATE_LIMIT_ADVICE = (
    "Cookies and tokens go on working: sign in with a browser and pass its sessionid and "
    "sessionid_sign cookies, or pass auth_token, or use the token cache of an earlier login."
)
# In the page stands ``var user = {...};``, JSON as it happens.
_PAGE_USER = re.compile(r"\buser\s*=\s*(?=\{)")
_PAGE_TEXTS = (
    "auth_token",
    "username",
    "first_name",
    "last_name",
    "session_hash",
    "private_channel",
    "date_joined",
    "pro_plan",
)
_PAGE_NUMBERS = ("id", "reputation", "following", "followers")


@dataclass(frozen=True)
class Credentials:
    """What a sign-in with a password takes.

    Attributes
    ----------
    username, password : str
        The account.
    totp_secret : str, optional
        The secret of the authenticator app, base32; spaces and case do not matter.
    totp_code : str or callable, optional
        The code of the second factor, or what gives it; asked only when it is needed.
    """

    username: str
    password: str = field(repr=False)
    totp_secret: str | None = field(default=None, repr=False)
    totp_code: str | Callable[[], str] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class SignedIn:
    """An account that TradingView let in.

    Attributes
    ----------
    token : str
        The data token.
    user : mapping
        What TradingView says about the user, under its own names.
    sessionid, sessionid_sign : str
        The cookies; empty when there are none.
    """

    token: str = field(repr=False)
    user: Mapping[str, Any] = field(repr=False)
    sessionid: str = field(default="", repr=False)
    sessionid_sign: str = field(default="", repr=False)

    @property
    def username(self) -> str | None:
        """The user's name; None when TradingView does not say."""
        name = self.user.get("username")
        return name if isinstance(name, str) and name else None

    @property
    def plan(self) -> str:
        """The plan, such as "pro_premium"; empty for the free one."""
        plan = self.user.get("pro_plan")
        if isinstance(plan, str) and plan:
            return plan
        return plan_of(self.token) or ("pro" if self.user.get("is_pro") is True else "")


class SignIn:
    """The ways to sign in at one site.

    Parameters
    ----------
    client : HttpClient
        Sends the requests.
    network : NetworkConfig
        The site, and how long a sign-in may take.
    auth : AuthConfig
        Where passwords are sent, and which headers each request has.
    clock : callable, default time.time
        The time of codes, seconds since 1970.
    sleep : callable, default time.sleep
        Waits for the next code.
    """

    def __init__(
        self,
        client: HttpClient,
        network: NetworkConfig,
        auth: AuthConfig,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._site = network.base_url.rstrip("/")
        self._sign_in_url = auth.sign_in_url or self._site + SIGN_IN_PATH
        self._limit_s = network.max_response_time
        self._headers = auth.signin_headers
        self._clock = clock
        self._sleep = sleep

    def with_password(self, credentials: Credentials, *, remember: bool = True) -> SignedIn:
        """Sign in with username and password, and a second factor where it is asked for.

        Parameters
        ----------
        credentials : Credentials
            The account.
        remember : bool, default True
            Whether the cookies may live for weeks.

        Returns
        -------
        SignedIn
            The account.

        Raises
        ------
        TwoFactorRequiredError
            A code is asked for, and there is none.
        CaptchaRequiredError
            A person has to solve a captcha.
        AuthenticationError
            The password or the code is wrong, or the account is locked out.
        RateLimitError
            There were too many attempts.
        NetworkError
            TradingView is not reachable, or not available.
        """
        attempt = _Attempt(credentials, self._limit_s)
        form = {"username": credentials.username, "password": credentials.password}
        more = {"remember": "on"} if remember else {}
        reply = self._client.post(
            self._sign_in_url, form=form | more, headers=self._headers, deadline=attempt.deadline
        )
        attempt.cookies.update(reply.cookies)
        answer = attempt.read(reply)
        if answer.is_second_factor:
            reply = self._second_factor(attempt, answer.method, more)
            attempt.cookies.update(reply.cookies)
            answer = attempt.read(reply)
            if answer.is_second_factor:
                raise AuthenticationError(
                    "TradingView asks for another second factor", credentials.username
                )
        sessionid = attempt.cookies.get("sessionid", "")
        signature = attempt.cookies.get("sessionid_sign", "")
        token = answer.user.get("auth_token")
        if isinstance(token, str) and token:
            return SignedIn(token, answer.user, sessionid, signature)
        if sessionid and (answer.user or not answer.is_json):
            return self._page(sessionid, signature, None, attempt.deadline)
        raise NetworkError(
            f"TradingView answered the sign-in with neither a token nor an error "
            f"(status {reply.status}); check {self._sign_in_url}",
            retryable=False,
        )

    def with_cookies(
        self, sessionid: str, sessionid_sign: str = "", *, location: str | None = None
    ) -> SignedIn:
        """Read the account out of the page that its cookies open.

        Parameters
        ----------
        sessionid, sessionid_sign : str
            The cookies of a signed-in browser.
        location : str, optional
            The page. Default: the site's home page.

        Returns
        -------
        SignedIn
            The account, with the cookies that hold from now on.

        Raises
        ------
        AuthenticationError
            The cookies are wrong, or have expired.
        RateLimitError, NetworkError
            As for `with_password`.
        """
        return self._page(sessionid, sessionid_sign, location, time.monotonic() + self._limit_s)

    def _page(
        self, sessionid: str, sessionid_sign: str, location: str | None, deadline: float
    ) -> SignedIn:
        cookies = {"sessionid": sessionid, "sessionid_sign": sessionid_sign}
        reply = self._client.get(
            location or f"{self._site}/",
            cookies={name: value for name, value in cookies.items() if value},
            headers=self._headers,
            deadline=deadline,
        )
        if reply.status == _TOO_MANY:
            raise RateLimitError(retry_after=reply.retry_after)
        _check_availability(reply, "")
        user = _user_in_page(reply.text)
        token = user.get("auth_token")
        if isinstance(token, str) and token:
            cookies |= {name: reply.cookies[name] for name in cookies if name in reply.cookies}
            return SignedIn(token, user, cookies["sessionid"], cookies["sessionid_sign"])
        is_of_site = "tradingview" in reply.text.lower()
        if reply.status in _REFUSED and _is_html(reply) and not is_of_site:
            raise NetworkError(
                "the cookies were blocked before they reached TradingView's page (HTML with "
                f"status {reply.status}, {_title_of(reply, cookies.values())}): try another "
                "network or a proxy (TV_PROXY), or pass auth_token"
            )
        if reply.status >= _CLIENT_ERROR and reply.status not in _REFUSED:
            raise NetworkError(
                f"TradingView's page is not there: status {reply.status}", retryable=False
            )
        if reply.status < _CLIENT_ERROR and not is_of_site:
            raise NetworkError("the page is not TradingView's: a portal of this network, perhaps")
        raise AuthenticationError(
            "Wrong or expired sessionid or sessionid_sign: sign in with a browser again and pass "
            "the new cookies"
        )

    def _second_factor(self, attempt: _Attempt, method: str, more: Mapping[str, str]) -> HttpReply:
        """Send the code; one that was generated is sent again, with the next one, if refused."""
        code, is_generated = attempt.code(method, self._clock())
        url = self._site + TWO_FACTOR_PATH.format(method=method)

        def send(code: str) -> HttpReply:
            return self._client.post(
                url,
                form={"code": code, **more},
                cookies=attempt.cookies,
                headers=self._headers,
                deadline=attempt.deadline,
            )

        reply = send(code)
        if not is_generated or not _is_wrong_code(reply):
            return reply
        # Its clock and ours may differ by more than codes tolerate.
        skew = 0.0 if reply.date is None else reply.date - self._clock()
        skew = skew if abs(skew) >= _SKEW_MIN_S else 0.0
        attempt.record_skew(skew)
        wait = _TOTP_STEP_S - (self._clock() + skew) % _TOTP_STEP_S + _TOTP_MARGIN_S
        if wait >= attempt.deadline - time.monotonic():
            return reply
        logger.info(
            "the generated code was refused; the next one is sent in %.0f s",
            wait,
            extra=facts(seconds=wait),
        )
        attempt.cookies.update(reply.cookies)
        self._sleep(wait)
        code, _is_generated = attempt.code(method, self._clock() + skew)
        return send(code)


@dataclass(frozen=True)
class _Answer:
    """What the server made of a password or a code, when it did not refuse it."""

    user: Mapping[str, Any]
    is_json: bool = True
    method: str = ""

    @property
    def is_second_factor(self) -> bool:
        return bool(self.method)


class _Attempt:
    """One sign-in: its credentials, its cookies, its time, and all that must not be shown."""

    def __init__(self, credentials: Credentials, limit_s: float) -> None:
        self.cookies: dict[str, str] = {}
        self.deadline = time.monotonic() + limit_s
        self._limit_s = limit_s
        self._credentials = credentials
        self._codes: list[str] = []
        self._clock_hint = ""

    def record_skew(self, seconds: float) -> None:
        """Remember how far this machine's clock is off, for the error to come, if it comes."""
        if seconds:
            way = "behind" if seconds > 0 else "ahead of"
            self._clock_hint = (
                f"; the clock of this machine is {abs(seconds):.0f} s {way} TradingView's"
            )
            logger.warning("second factor%s", self._clock_hint, extra=facts(seconds=seconds))

    def code(self, method: str, at: float) -> tuple[str, bool]:
        """Return the code, and whether it was generated."""
        code = self._credentials.totp_code
        is_generated = code is None and method == "totp" and bool(self._credentials.totp_secret)
        if is_generated:
            code = totp_at(self._credentials.totp_secret or "", at)
        elif callable(code):
            code = code()
            # People take their time, and the server is not to blame for it.
            self.deadline = time.monotonic() + self._limit_s
        if code is None or code == "" or method not in METHODS:
            raise TwoFactorRequiredError(method)
        if not isinstance(code, str):
            raise ConfigurationError("totp_code", "***", "must be text: codes may begin with 0")
        self._codes.append(code)
        return "".join(code.split()), is_generated

    def read(self, reply: HttpReply) -> _Answer:
        """Return what an answer says, or raise the refusal that it is."""
        username = self._credentials.username
        secrets = self._secrets(reply)
        try:
            content = reply.json()
        except ValueError:
            content = None
        if not isinstance(content, dict):
            _check_availability(reply, "")
            if reply.status in _REFUSED and _is_html(reply):
                raise NetworkError(
                    "the sign-in was blocked before it reached TradingView's sign-in (HTML with "
                    f"status {reply.status}, {_title_of(reply, secrets)}): try another network or "
                    "a proxy (TV_PROXY), or pass sessionid cookies or auth_token",
                    retryable=False,
                )
            if reply.status in _REFUSED:
                raise AuthenticationError(
                    f"TradingView refused the sign-in with status {reply.status}", username
                )
            if reply.status >= _CLIENT_ERROR or not reply.cookies.get("sessionid"):
                raise NetworkError(
                    f"the sign-in was answered by no JSON (status {reply.status}): another site, "
                    "or a portal of this network",
                    retryable=False,
                )
            return _Answer({}, is_json=False)
        error, code = _text(content.get("error")), _text(content.get("code"))
        message = error or _text(content.get("message")) or _text(content.get("detail"))
        said = _said(message or code, secrets)
        is_refused = bool(error) or reply.status >= _CLIENT_ERROR
        # Its text counts where it has no code.
        if _RATE_LIMIT_CODE.fullmatch(code) or (
            is_refused and not code and _is_rate_limit(message)
        ):
            raise _rate_limit(reply, said)
        _check_availability(reply, said)
        if "2FA_required" in {error, code}:
            return _Answer({}, method=_method_of(content.get("two_factor_types")))
        if is_refused:
            raise self._refusal(said, code.lower(), message.lower())
        user = content.get("user")
        return _Answer(user if isinstance(user, dict) else {})

    def _refusal(self, said: str, code: str, text: str) -> AuthenticationError:
        username = self._credentials.username
        if "captcha" in code or (not code and "captcha" in text):
            return CaptchaRequiredError(username)
        if "locked out" in text or "lock" in code:
            return AuthenticationError(
                f"TradingView has locked the account out ({said}): wait before you try again, "
                "or pass sessionid cookies or auth_token",
                username,
            )
        if self._codes:
            return AuthenticationError(
                f"TradingView refused the code of the second factor ({said}){self._clock_hint}: "
                "check totp_code or totp_secret",
                username,
            )
        return AuthenticationError(f"TradingView refused the sign-in ({said})", username)

    def _secrets(self, reply: HttpReply) -> list[str]:
        known = self._credentials
        plain = [
            known.password,
            known.totp_secret or "",
            "".join((known.totp_secret or "").split()).upper(),
            known.totp_code if isinstance(known.totp_code, str) else "",
            *self._codes,
            *self.cookies.values(),
            *reply.cookies.values(),
        ]
        # As they look in a form, in a URL and in HTML.
        spellings = (str, quote_plus, quote, html.escape)
        return [_encodable(spell, secret) for secret in plain for spell in spellings]


def _encodable(spell: Callable[[str], str], secret: str) -> str:
    try:
        return spell(secret)
    except UnicodeEncodeError:
        return secret


def _text(value: object) -> str:
    """Return what stands in an answer as text; empty for what is empty or not there."""
    return value if isinstance(value, str) else json.dumps(value) if value else ""


def _said(text: str, secrets: Iterable[str]) -> str:
    """Return a server's text in one line, without what it must not repeat."""
    words = redact(text, secrets)
    shown = "".join(c if c.isprintable() else " " for c in words).strip()
    return shown[:_SAID_MAX_LENGTH] or "it does not say why"


def _is_rate_limit(text: str) -> bool:
    """Whether the text of a refusal asks to wait."""
    # A lock-out and a captcha may say "try again later" too.
    is_other = re.search("lock|captcha|robot", text, re.IGNORECASE)
    return is_other is None and _RATE_LIMITED.search(text) is not None


def _rate_limit(reply: HttpReply, said: str) -> RateLimitError:
    return RateLimitError(
        retry_after=reply.retry_after,
        reason=said or "too many attempts to sign in",
        advice=_RATE_LIMIT_ADVICE,
    )


def _check_availability(reply: HttpReply, said: str) -> None:
    if reply.status == _TOO_MANY:
        raise _rate_limit(reply, said)
    if reply.status >= _SERVER_ERROR:
        raise NetworkError(f"TradingView is not available: status {reply.status}")


def _is_html(reply: HttpReply) -> bool:
    """Whether an answer is HTML: TradingView's sign-in refuses with JSON."""
    return reply.body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")


def _title_of(reply: HttpReply, secrets: Iterable[str]) -> str:
    """Return the title of an HTML page in one line, as an error may show it."""
    title = re.search(r"<title[^>]*>([^<]*)", reply.text, re.IGNORECASE)
    said = html.unescape(title[1]).strip() if title else ""
    return f'"{_said(said, secrets)}"' if said else "no title"


def _is_wrong_code(reply: HttpReply) -> bool:
    try:
        content = reply.json()
    except ValueError:
        return False
    return isinstance(content, dict) and content.get("code") == "2FA_invalid_credential"


def _method_of(types: object) -> str:
    """Return the second factor to use, of those that the account has."""
    names = [
        str(each.get("name") if isinstance(each, dict) else each)
        for each in (types if isinstance(types, list) else [])
    ]
    return next((method for method in METHODS if method in names), (names or ["totp"])[0])


def _user_in_page(page: str) -> Mapping[str, Any]:
    """Return what the page says about who looks at it."""
    decoder = json.JSONDecoder()
    for match in _PAGE_USER.finditer(page):
        try:
            user, _end = decoder.raw_decode(page, match.end())
        except (ValueError, RecursionError):
            continue
        if isinstance(user, dict) and user.get("auth_token"):
            return user
    texts = {name: _found(rf'"{name}"\s*:\s*"([^"\\]*)"', page) for name in _PAGE_TEXTS}
    numbers = {name: _found(rf'"{name}"\s*:\s*(-?\d{{1,10}})', page) for name in _PAGE_NUMBERS}
    return {name: text for name, text in {**texts, **numbers}.items() if text is not None}


def _found(pattern: str, page: str) -> str | None:
    match = re.search(pattern, page)
    return match[1] if match else None
