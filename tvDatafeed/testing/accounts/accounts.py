"""The accounts of the loopback TradingView: sign-in rules, passwords, codes and cookies."""

import base64
import hmac
import secrets
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from tvDatafeed.testing.accounts.tokens import Tokens
from tvDatafeed.testing.journal import Journal

Factor = Literal["totp", "sms", "email"]
Outcome = Literal[
    "success",
    "second_factor",
    "wrong_password",
    "captcha",
    "rate_limit",
    "locked_out",
    "wrong_code",
    "too_many_codes",
    "no_cookies",
]

_STEP_S = 30
_DIGITS = 6
_FACTORS = (None, "totp", "sms", "email")
_PLANS = ("", "pro", "pro_plus", "pro_premium", "ultimate")


@dataclass(frozen=True)
class Account:
    """A user of the loopback TradingView.

    Parameters
    ----------
    username
        The name; signing in ignores its case.
    password
        The password.
    second_factor
        The second factor that is required after the password, or None.
    totp_secret
        Base32, which may be in groups and in lower case; the default has 80 bits.
    sms_code, email_code
        The code that each message would contain.
    plan
        The plan; ``""`` is the free plan.
    captcha, rate_limited, locked_out
        Refuse every sign-in in this way, even with the right password.
    id
        The user id, a number.
    realtime
        The exchanges, such as ``"NASDAQ"``, or symbols, whose real-time data the account has paid
        for: `FakeTradingView.delay` does not apply to them, and a listing with another `feed` comes
        from its own exchange. The tokens of the account contain them as ``perm``.

    Raises
    ------
    ValueError
        If the plan, the second factor, the secret or `realtime` is not valid.

    Examples
    --------
    >>> account = Account("alice", "opensesame", second_factor="totp")
    >>> account.totp_at(1_111_111_109)
    '071271'
    >>> account
    Account(username='alice', second_factor='totp', plan='', id=42)
    """

    username: str
    password: str = field(repr=False)
    second_factor: Factor | None = None
    totp_secret: str = field(default="JBSWY3DPEHPK3PXP", repr=False)
    # The leading zero is lost if a client parses the code as a number.
    sms_code: str = field(default="024680", repr=False)
    email_code: str = field(default="013579", repr=False)
    plan: Literal["", "pro", "pro_plus", "pro_premium", "ultimate"] = ""
    captcha: bool = field(default=False, repr=False)
    rate_limited: bool = field(default=False, repr=False)
    locked_out: bool = field(default=False, repr=False)
    id: int = 42
    realtime: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if self.second_factor not in _FACTORS:
            raise ValueError(f"second_factor cannot be {self.second_factor!r}: use {_FACTORS}")
        if self.plan not in _PLANS:
            raise ValueError(f"plan cannot be {self.plan!r}: use one of {_PLANS}")
        realtime: object = self.realtime
        if isinstance(realtime, str) or any("," in name for name in self.realtime):
            raise ValueError(
                f"realtime must be a tuple of exchanges and symbols, not {self.realtime!r}"
            )
        try:
            _totp(self.totp_secret, 0)
        except ValueError:
            raise ValueError("totp_secret is not base32: use A to Z and 2 to 7") from None

    def totp_at(self, epoch_s: float) -> str:
        """Return the code of an authenticator app at a moment, epoch seconds."""
        return _totp(self.totp_secret, int(epoch_s // _STEP_S))


def _totp(secret: str, step: int) -> str:
    # RFC 6238 with its defaults; libraries reject secrets as short as TradingView's.
    text = secret.replace(" ", "").upper()
    key = base64.b32decode(text + "=" * (-len(text) % 8))
    digest = hmac.digest(key, struct.pack("!q", step), "sha1")
    start = digest[-1] & 0x0F
    number = int.from_bytes(digest[start : start + 4], "big") & 0x7FFFFFFF
    return f"{number % 10**_DIGITS:0{_DIGITS}}"


@dataclass(frozen=True)
class Login:
    """One attempt to sign in, or one code that was sent.

    Parameters
    ----------
    username
        The name as sent by the client; empty for a code without cookies.
    outcome
        The decision of the server, before a fault changed the reply.
    step
        ``"password"``, or the kind of the code.
    """

    username: str
    outcome: Outcome
    step: Literal["password", "totp", "sms", "email"] = "password"


@dataclass(frozen=True)
class Cookies:
    """The two cookies of a signed-in user. Their values are not part of the repr."""

    sessionid: str = field(repr=False)
    sessionid_sign: str = field(repr=False)


class SignInRules:
    """The rules of signing in: plain attributes that can be changed at any time.

    Attributes
    ----------
    auth_clock
        Returns epoch seconds for the HTTP ``Date``, for codes and for tokens. Set it to simulate a
        wrong clock.
    totp_window
        How many steps of 30 s a code may be early or late.
    token_lifetime_s
        Seconds from the issue of a token to its ``exp``.
    expired_token_is
        The answer to an expired token on a WebSocket: ``"refused"`` sends
        ``protocol_error ["bad auth token"]``, ``"silent"`` sends only heartbeats until the client
        sends a good token.
    empty_error
        Whether a success contains ``"error":""``.
    success_as_html
        Whether a success is an HTML page with cookies instead of JSON.
    sign_needed
        Whether ``sessionid`` is invalid without ``sessionid_sign``.
    rotate_cookies
        Whether each page replaces the user's cookies and invalidates the previous ones.
    max_wrong_passwords, max_wrong_codes
        The number of failures in a row before the lock-out, or before 429.
    refusal_status
        The HTTP status of a wrong password, a captcha and a lock-out.
    rate_limit_status, retry_after_s
        The HTTP status of a rate limit, and its ``Retry-After`` in seconds unless it is a 200.
    """

    auth_clock: Callable[[], float]
    totp_window: int = 1
    token_lifetime_s: float = 14_400.0
    expired_token_is: Literal["refused", "silent"] = "refused"  # noqa: S105 - no password
    empty_error: bool = True
    success_as_html: bool = False
    sign_needed: bool = True
    rotate_cookies: bool = False
    max_wrong_passwords: int = 5
    max_wrong_codes: int = 5
    refusal_status: int = 200
    rate_limit_status: int = 429
    retry_after_s: int = 300

    def __init__(self) -> None:
        self.auth_clock = time.time


@dataclass(frozen=True)
class _Visit:
    """A user with cookies; `is_whole` is False until the second factor is checked."""

    cookies: Cookies = field(repr=False)
    username: str
    is_whole: bool


class AccountService:
    """The accounts of one server; checks passwords, codes and cookies.

    Parameters
    ----------
    accounts
        The initial accounts.
    rules
        The rules of signing in.
    journal
        Records the attempts; its lock also protects this object.
    """

    def __init__(self, accounts: Iterable[Account], rules: SignInRules, journal: Journal) -> None:
        self.rules = rules
        self.tokens: Tokens = Tokens(journal.changed)
        self._journal = journal
        self._accounts: dict[str, Account] = {}
        self._visits: dict[str, _Visit] = {}
        self._wrong: Counter[tuple[str, str]] = Counter()
        for account in accounts:
            self.add(account)

    def add(self, account: Account) -> None:
        """Add or replace an account and reset its count of wrong passwords."""
        with self._journal.changed:
            self._accounts[account.username.casefold()] = account
            for step in ("password", "code"):
                del self._wrong[step, account.username.casefold()]

    def all(self) -> list[Account]:
        """Return the accounts in the order in which they were added."""
        with self._journal.changed:
            return list(self._accounts.values())

    def issue(self, account: Account) -> str:
        """Return a new token of an account."""
        now, lifetime_s = self.rules.auth_clock(), self.rules.token_lifetime_s
        perm = ",".join(account.realtime).lower()
        return self.tokens.issue(account.id, account.plan, now, lifetime_s, perm=perm)

    def admit(self, account: Account, *, is_whole: bool = True) -> Cookies:
        """Return new cookies of an account; `is_whole=False` before the second factor."""
        # The signature has characters that simple cookie parsers handle wrongly.
        signature = base64.b64encode(secrets.token_bytes(32)).decode()
        cookies = Cookies(secrets.token_hex(16), f"v3:{signature}")
        with self._journal.changed:
            self._visits[cookies.sessionid] = _Visit(cookies, account.username, is_whole)
        return cookies

    def sign_out(self, sessionid: str | None = None) -> None:
        """Invalidate the cookies of one session, or of all sessions with None."""
        with self._journal.changed:
            if sessionid is None:
                self._visits.clear()
            else:
                self._visits.pop(sessionid, None)

    def visitor(self, cookies: dict[str, str], *, is_whole: bool = True) -> Account | None:
        """Return the account of the cookies; `is_whole=False` before the second factor."""
        with self._journal.changed:
            visit = self._visits.get(cookies.get("sessionid", ""))
            if visit is None or visit.is_whole != is_whole:
                return None
            sign = cookies.get("sessionid_sign")
            if sign != visit.cookies.sessionid_sign and (sign or self.rules.sign_needed):
                return None
            return self._accounts.get(visit.username.casefold())

    def sign_in(self, username: str, password: str) -> tuple[Outcome, Account | None]:
        """Check a name and a password."""
        key = "password", username.casefold()
        with self._journal.changed:
            account = self._accounts.get(username.casefold())
            outcome: Outcome
            if account and account.rate_limited:
                outcome = "rate_limit"
            elif (account and account.locked_out) or (
                self._wrong[key] >= self.rules.max_wrong_passwords
            ):
                outcome = "locked_out"
            elif account and account.captcha:
                outcome = "captcha"
            elif account is None or account.password != password:
                self._wrong[key] += 1
                outcome = "wrong_password"
            else:
                del self._wrong[key]
                outcome = "second_factor" if account.second_factor else "success"
            self._journal.record("logins", Login(username, outcome))
            return outcome, account

    def check_code(
        self, factor: Factor, code: str, cookies: dict[str, str]
    ) -> tuple[Outcome, Account | None]:
        """Check the code of the second factor."""
        with self._journal.changed:
            account = self.visitor(cookies, is_whole=False)
            key = "code", account.username.casefold() if account else ""
            outcome: Outcome
            if account is None:
                outcome = "no_cookies"
            elif self._wrong[key] >= self.rules.max_wrong_codes:
                outcome = "too_many_codes"
            elif factor != account.second_factor or code not in self._codes(account):
                self._wrong[key] += 1
                outcome = "wrong_code"
            else:
                del self._wrong[key]
                outcome = "success"
            username = account.username if account else ""
            self._journal.record("logins", Login(username, outcome, factor))
            return outcome, account

    def _codes(self, account: Account) -> list[str]:
        if account.second_factor == "totp":
            now, window = self.rules.auth_clock(), self.rules.totp_window
            steps = range(-window, window + 1)
            return [account.totp_at(now + step * _STEP_S) for step in steps]
        return [account.sms_code if account.second_factor == "sms" else account.email_code]
