"""Signing in: each way in, each refusal, and when a token is renewed."""

import base64
import copy
import dataclasses
import json
import logging
import os
import pickle
import stat
import subprocess
import sys
import threading
import time
import traceback

import pytest
import requests

from tests.programs import environment
from tests.scale import PATIENCE_S, scaled
from tvDatafeed.auth import Authenticator, Credentials, TradingViewAuth
from tvDatafeed.auth.authenticator import PRO_WS_URL
from tvDatafeed.auth.cache import CachedLogin, TokenCache
from tvDatafeed.auth.signin import SIGN_IN_PATH, SignedIn
from tvDatafeed.auth.totp import totp_at
from tvDatafeed.config import AuthConfig, NetworkConfig, TvDatafeedConfig
from tvDatafeed.exceptions import (
    AuthenticationError,
    CaptchaRequiredError,
    ConfigurationError,
    ConnectionError,  # noqa: A004 - our own
    NetworkError,
    RateLimitError,
    TvDatafeedError,
    TwoFactorRequiredError,
)
from tvDatafeed.protocol.literals import ANONYMOUS_TOKEN
from tvDatafeed.ratelimit import RateLimiter
from tvDatafeed.testing import (
    Account,
    FakeTradingView,
    HttpDrip,
    HttpHtml,
    HttpHugeBody,
    HttpRedirect,
    HttpReset,
    HttpStall,
    HttpStatus,
    HttpTruncatedGzip,
)

PASSWORD = "canary-p&=+% ü"
SECRET = "JBSW Y3DP ehpk 3pxp"  # 80 bits, as TradingView hands them out
ANN = Account("ann", PASSWORD)
TWO = Account("two", PASSWORD, second_factor="totp", totp_secret=SECRET)
TEXT = Account("text", PASSWORD, second_factor="sms")
MAIL = Account("mail", PASSWORD, second_factor="email")
PAYS = Account("pays", PASSWORD, plan="pro_premium")


@pytest.fixture
def server():
    """A loopback TradingView with accounts."""
    with FakeTradingView(accounts=(ANN, TWO, TEXT, MAIL, PAYS)) as running:
        yield running


@pytest.fixture(autouse=True)
def cache_file(tmp_path, monkeypatch):
    """The user's cache folder is one of the test's own."""
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda app: str(tmp_path / app))
    return tmp_path / "tvDatafeed" / "tokens.json"


def config(server, account=None, limits=None, **auth):
    if account is not None:
        auth = {"username": account.username, "password": account.password, **auth}
    network = server.config(**(limits or {})).network
    return TvDatafeedConfig(network=network, auth=AuthConfig(**auth))


def authenticator(server, account=None, limits=None, clock=time.time, sleep=None, **auth):
    return Authenticator(
        config(server, account, limits, **auth), clock=clock, sleep=sleep or time.sleep
    )


def outcomes(server):
    return [(login.step, login.outcome) for login in server.logins]


def cookies_of(server, account):
    issued = server.issue_cookies(account)
    return {"sessionid": issued.sessionid, "sessionid_sign": issued.sessionid_sign}


def refusal(authenticator, error=AuthenticationError):
    with pytest.raises(error) as caught:
        authenticator.token()
    assert type(caught.value) is error
    return caught.value


# --- ways in


def test_anonymous(server):
    """Without credentials the token is TradingView's word for anonymous; nothing is sent."""
    auth = authenticator(server)
    assert auth.token() == ANONYMOUS_TOKEN
    identity = auth.identity()
    assert (identity.username, identity.plan, identity.source) == (None, "", "anonymous")
    assert server.accepted == 0


def test_a_token_is_used_as_it_is(server):
    """A token that is given goes first, and the other credentials are not even looked at."""
    auth = authenticator(server, auth_token="canary", username="ann", **cookies_of(server, ANN))
    assert auth.token() == "canary"
    assert auth.identity().source == "token"
    assert server.accepted == 0


@pytest.mark.parametrize("empty_error", [True, False])
@pytest.mark.parametrize("success_as_html", [True, False])
@pytest.mark.parametrize("account", [ANN, PAYS])
def test_a_password_signs_in(server, empty_error, success_as_html, account):
    """Success is a user with or without an empty error, or a page with cookies."""
    server.empty_error, server.success_as_html = empty_error, success_as_html
    auth = authenticator(server, account)
    token = auth.token()
    assert token == auth.token()
    assert token.count(".") == 2
    identity = auth.identity()
    assert (identity.username, identity.plan) == (account.username, account.plan)
    assert identity.source == "password"
    assert identity.expires_at > time.time()
    assert outcomes(server) == [("password", "success")]


def test_what_a_sign_in_sends(server):
    """The form has the three fields, and the request the lineage's Referer."""
    authenticator(server, ANN, token_cache=False).token()
    (request,) = server.http_requests
    assert (request.method, request.target) == ("POST", "/accounts/signin/")
    assert request.form == {"username": "ann", "password": PASSWORD, "remember": "on"}
    assert request.headers["referer"] == "https://www.tradingview.com"
    assert "cookie" not in request.headers


def test_the_sign_in_url_and_headers_can_be_changed(server):
    """sign_in_url and signin_headers say where passwords go, and with which headers."""
    with FakeTradingView(accounts=(ANN,)) as other:
        auth = authenticator(
            server,
            ANN,
            sign_in_url=f"{other.base_url}/accounts/signin/",
            signin_headers={"Referer": "https://here"},
        )
        auth.token()
        assert other.http_requests[0].headers["referer"] == "https://here"
    assert server.accepted == 0


@pytest.mark.parametrize("sign_needed", [True, False])
def test_cookies_become_a_token(server, sign_needed):
    """Cookies are turned into a token at the first use; the page is asked once."""
    server.sign_needed = sign_needed
    cookies = cookies_of(server, PAYS)
    if not sign_needed:
        del cookies["sessionid_sign"]
    auth = authenticator(server, **cookies)
    assert server.accepted == 0
    assert auth.token() == auth.token()
    identity = auth.identity()
    assert (identity.username, identity.plan, identity.source) == ("pays", "pro_premium", "cookies")
    assert [request.target for request in server.http_requests] == ["/"]


@pytest.mark.parametrize("code", ["000000", lambda: "000000"])
def test_a_wrong_code_is_not_tried_again(server, code):
    """A code that a person gave is sent once."""
    auth = authenticator(server, TWO, two_factor_code=code)
    assert "second factor" in str(refusal(auth))
    refusal(auth)
    assert outcomes(server) == [("password", "second_factor"), ("totp", "wrong_code")]


@pytest.mark.parametrize(
    ("account", "code"), [(TEXT, TEXT.sms_code), (MAIL, f" {MAIL.email_code[:3]} 579")]
)
def test_a_code_is_sent_as_text(server, account, code):
    """A code keeps its leading zeros and may be written in groups."""
    authenticator(server, account, two_factor_code=code).token()
    assert outcomes(server)[-1] == (account.second_factor, "success")


def test_a_code_is_asked_for_only_when_needed(server):
    """A callable is called once where there is a second factor, and else never."""
    asked = []

    def ask():
        asked.append(outcomes(server))
        return TEXT.sms_code

    authenticator(server, ANN, two_factor_code=ask).token()
    assert not asked
    authenticator(server, TEXT, two_factor_code=ask).token()
    assert [len(known) for known in asked] == [2]


@pytest.mark.parametrize("secret", [SECRET, "jbswy3dpehpk3pxp", "JBSW-Y3DP-EHPK-3PXP=="])
def test_codes_are_generated(server, secret):
    """A secret of 80 bits in any spelling generates the code."""
    authenticator(server, TWO, totp_secret=secret).token()
    assert outcomes(server) == [("password", "second_factor"), ("totp", "success")]


def test_a_code_goes_before_the_secret(server):
    """Where both are given the code is used."""
    auth = authenticator(server, TWO, totp_secret=SECRET, two_factor_code="000000")
    refusal(auth)
    assert outcomes(server)[1:] == [("totp", "wrong_code")]


@pytest.mark.parametrize(
    ("account", "auth"),
    [
        (TWO, {}),
        (TEXT, {}),
        (MAIL, {}),
        (TEXT, {"totp_secret": SECRET}),
        (TWO, {"two_factor_code": lambda: ""}),
        (TWO, {"two_factor_code": lambda: None}),
    ],
)
def test_no_code_is_an_error_before_another_request(server, account, auth):
    """Without a code the error names the factor, and no second request is made."""
    client = authenticator(server, account, **auth)
    for _ in range(3):
        assert refusal(client, TwoFactorRequiredError).method == account.second_factor
    assert [request.target for request in server.http_requests] == [SIGN_IN_PATH]


@pytest.mark.parametrize(
    "auth", [{"totp_secret": "no base32!"}, {"totp_secret": "1"}, {"two_factor_code": lambda: 1}]
)
def test_a_secret_that_is_none(server, auth):
    """A secret or a code of the wrong kind is an error that does not show it."""
    error = refusal(authenticator(server, TWO, **auth), ConfigurationError)
    assert error.value == "***"
    assert "no base32!" not in str(error)


# RFC 6238, appendix B, cut to six digits.
@pytest.mark.parametrize(
    ("at", "code"),
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111.9, "050471"),
        (1234567890, "005924"),
        (20000000000, "353130"),
    ],
)
def test_codes_are_those_of_the_standard(at, code):
    """The test vectors of RFC 6238 hold."""
    assert totp_at(base64.b32encode(b"12345678901234567890").decode(), at) == code


@pytest.mark.parametrize("length", range(1, 40))
def test_codes_of_short_secrets(length):
    """A secret of any length gives the codes that an authenticator app shows."""
    secret = base64.b32encode(bytes(range(length))).decode().rstrip("=").lower()
    account = Account("x", "y", second_factor="totp", totp_secret=secret)
    for at in (0, 1e9, 1.7e9):
        assert totp_at(secret, at) == account.totp_at(at)


class Clock:
    """A clock that a test moves, and whose sleep is at once."""

    def __init__(self, now):
        self.now = now
        self.slept = []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


def test_a_code_at_the_edge_of_its_window_is_followed_by_the_next(server):
    """A generated code that is refused is followed, once, by that of the next window."""
    clock = Clock(1_700_000_000.0)
    server.totp_window = 0
    # Two seconds into the next step when the code arrives, where it is no longer taken.
    server.auth_clock = lambda: clock.now + 2
    clock.now -= clock.now % 30 + 1
    authenticator(server, TWO, clock=clock, sleep=clock.sleep, totp_secret=SECRET).token()
    assert outcomes(server)[1:] == [("totp", "wrong_code"), ("totp", "success")]
    assert [round(seconds, 1) for seconds in clock.slept] == [1.5]


@pytest.mark.parametrize("skew", [40, -40, 3600])
def test_a_clock_that_is_off_is_told_from_the_server_s(server, skew, caplog):
    """With a wrong clock the second code is that of the server's time, and a WARNING says so."""
    clock = Clock(1_700_000_000.0)
    server.totp_window = 0
    server.auth_clock = lambda: clock.now + skew
    authenticator(server, TWO, clock=clock, sleep=clock.sleep, totp_secret=SECRET).token()
    assert outcomes(server)[1:] == [("totp", "wrong_code"), ("totp", "success")]
    assert 0 < sum(clock.slept) <= 30.5
    assert f"{abs(skew)} s {'behind' if skew > 0 else 'ahead'}" in caplog.text


def test_a_wrong_secret_is_tried_twice_and_no_more(server):
    """After the second code the error says what to check, and how far the clock is off."""
    clock = Clock(1_700_000_000.0)
    server.auth_clock = lambda: clock.now + 40
    auth = authenticator(
        server, TWO, clock=clock, sleep=clock.sleep, totp_secret="GEZDGNBVGY3TQOJQ"
    )
    error = refusal(auth)
    assert "totp_secret" in str(error)
    assert "40 s behind" in str(error)
    assert outcomes(server)[1:] == [("totp", "wrong_code")] * 2
    refusal(auth)
    assert len(server.logins) == 3


def test_the_wait_for_the_next_code_is_bounded(server):
    """Where the next code would come too late, the first refusal is the error."""
    clock = Clock(1_700_000_000.0 - 1_700_000_000.0 % 30)
    server.auth_clock = lambda: clock.now + 3600
    auth = authenticator(
        server,
        TWO,
        clock=clock,
        sleep=clock.sleep,
        totp_secret=SECRET,
        limits={"max_response_time": 5.0},
    )
    refusal(auth)
    assert not clock.slept
    assert len(server.logins) == 2


def test_ctrl_c_ends_the_wait_for_a_code(server):
    """KeyboardInterrupt passes, and the next call may sign in."""
    clock = Clock(1_700_000_000.0)
    server.auth_clock = lambda: clock.now + 3600
    interrupts = [True]

    def sleep(seconds):
        if interrupts:
            interrupts.pop()
            raise KeyboardInterrupt
        clock.sleep(seconds)

    auth = authenticator(server, TWO, clock=clock, sleep=sleep, totp_secret=SECRET)
    with pytest.raises(KeyboardInterrupt):
        auth.token()
    assert auth.token()


# --- refusals


def test_a_wrong_password_is_never_sent_again(server):
    """TradingView locks accounts out, so a refused password stays refused."""
    auth = authenticator(server, ANN, password="canary-wrong")
    errors = [refusal(auth) for _ in range(3)]
    assert "Invalid username or password" in str(errors[0])
    assert errors[0].username == "ann"
    assert errors[0] is not errors[1]
    assert outcomes(server) == [("password", "wrong_password")]


@pytest.mark.parametrize("status", [200, 400, 401, 403])
@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({}, AuthenticationError, "refused the sign-in"),
        ({"captcha": True}, CaptchaRequiredError, "auth_token"),
        ({"locked_out": True}, AuthenticationError, "locked the account out"),
    ],
)
def test_refusals_are_told_apart(server, status, change, error, words):
    """Whatever the HTTP status, each refusal is its own error after one attempt."""
    server.refusal_status = status
    account = dataclasses.replace(ANN, username="bad", **change)
    server.add_account(account)
    auth = authenticator(server, account, password="canary-wrong")
    for _ in range(2):
        assert words in str(refusal(auth, error))
    assert len(server.http_requests) == 1


@pytest.mark.parametrize(("status", "seconds"), [(429, 300.0), (200, None)])
def test_a_rate_limit_says_when(server, status, seconds):
    """The server's Retry-After is in the error, and until then nothing is sent."""
    server.rate_limit_status = status
    account = Account("limited", PASSWORD, rate_limited=True)
    server.add_account(account)
    auth = authenticator(server, account)
    for _ in range(3):
        assert refusal(auth, RateLimitError).retry_after == seconds
    assert len(server.http_requests) == 1


def test_too_many_codes_are_a_rate_limit(server):
    """A 429 at the second factor is one too."""
    server.max_wrong_codes = 0
    refusal(authenticator(server, TWO, two_factor_code="000000"), RateLimitError)


FAULTS = [
    (HttpStatus(status=500), NetworkError, "500"),
    (HttpStatus(status=503), NetworkError, "503"),
    (HttpStatus(status=429, retry_after=7), RateLimitError, "7 s"),
    (HttpStatus(status=403), AuthenticationError, "403"),
    (HttpStatus(status=404), NetworkError, "404"),
    (HttpStatus(status=200), NetworkError, "no JSON"),
    (HttpHtml(), NetworkError, "no JSON"),
    (HttpHugeBody(how="announced"), NetworkError, "more than"),
    (HttpHugeBody(how="endless"), NetworkError, "more than"),
    (HttpHugeBody(how="gzip"), NetworkError, "more than"),
    (HttpTruncatedGzip(), ConnectionError, "broke"),
    (HttpDrip(), ConnectionError, "in time"),
    (HttpStall(after_bytes=40), ConnectionError, "in time"),
    (HttpRedirect(status=307), NetworkError, "more than 3"),
    (HttpRedirect(location="https://evil.example/", status=307), NetworkError, "evil.example"),
    (HttpReset(), ConnectionError, "127.0.0.1"),
]


@pytest.mark.parametrize(
    ("fault", "error", "words"), FAULTS, ids=lambda value: str(value) if value else None
)
def test_faults_of_http(server, fault, error, words):
    """What is no answer is a typed error in time, and the password is not sent again."""
    server.inject(fault)
    started = time.monotonic()
    # What ends by itself has the time that a busy machine needs.
    seconds = 0.5 if words == "in time" else PATIENCE_S
    auth = authenticator(server, ANN, limits={"max_response_time": seconds})
    raised = refusal(auth, error)
    assert words in str(raised)
    assert time.monotonic() - started < scaled(4.0)
    assert len(server.http_requests) == (4 if "more than 3" in words else 1)


PAGE_FAULTS = [
    (HttpStatus(path="/", status=502), NetworkError),
    (HttpStatus(path="/", status=404), NetworkError),
    (HttpStatus(path="/", status=429), RateLimitError),
    (HttpStatus(path="/", status=403), AuthenticationError),
    (HttpStatus(path="/", status=200, body=b"<html>Log in to the hotel</html>"), NetworkError),
    (HttpHtml(path="/"), AuthenticationError),
    (HttpHugeBody(path="/"), NetworkError),
]


@pytest.mark.parametrize(("fault", "error"), PAGE_FAULTS)
def test_faults_of_the_page(server, fault, error):
    """Expired cookies are told from a page that is not there or not TradingView's."""
    server.inject(fault)
    refusal(authenticator(server, **cookies_of(server, ANN)), error)


def test_expired_cookies(server):
    """An anonymous visitor's page means that the cookies are wrong or have expired."""
    cookies = cookies_of(server, ANN)
    server.expire_cookies()
    auth = authenticator(server, **cookies)
    for _ in range(2):
        assert "Wrong or expired sessionid" in str(refusal(auth))
    assert len(server.http_requests) == 1


def test_expired_cookies_leave_the_password(server, caplog):
    """Where there is a password too it is used, and a WARNING says why."""
    cookies = cookies_of(server, ANN)
    server.expire_cookies()
    auth = authenticator(server, ANN, token_cache=False, **cookies)
    assert auth.token()
    assert auth.identity().source == "password"
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "expired sessionid" in caplog.text


def test_an_outage_is_not_answered_by_a_password(server):
    """Cookies that cannot be tried are no reason to log in."""
    server.inject(HttpStatus(path="/", status=503, times=1))
    auth = authenticator(server, ANN, **cookies_of(server, ANN))
    refusal(auth, NetworkError)
    assert auth.token()
    assert not server.logins


@pytest.mark.parametrize(
    "auth", [{"username": "a"}, {"password": "canary"}, {"sessionid": "s", "password": "canary"}]
)
def test_half_a_login_is_an_error(auth):
    """A user who wants to sign in must learn that something is missing."""
    with pytest.raises(ConfigurationError) as caught:
        Authenticator(TvDatafeedConfig(auth=AuthConfig(**auth)))
    assert caught.value.parameter in {"username", "password"}
    assert "canary" not in str(caught.value)


# --- the cache


def test_a_second_run_does_not_log_in(server, cache_file):
    """The token of one run is used by the next one."""
    token = authenticator(server, ANN).token()
    again = authenticator(server, ANN)
    assert again.token() == token
    assert again.identity().source == "cache"
    assert again.identity().username == "ann"
    assert len(server.http_requests) == 1
    if os.name == "posix":
        assert stat.S_IMODE(cache_file.stat().st_mode) == 0o600


def test_a_second_run_with_an_ended_token_uses_the_cookies(server):
    """Cookies of a login outlive its token, and spare another login; they rotate."""
    server.token_lifetime_s, server.rotate_cookies = 0, True
    authenticator(server, ANN).token()
    server.token_lifetime_s = 1000
    for _ in range(2):
        again = authenticator(server, ANN)
        assert again.identity().source == "cache"
    assert outcomes(server) == [("password", "success")]
    assert [request.target for request in server.http_requests] == [SIGN_IN_PATH, "/"]


def test_ended_cookies_in_the_cache_leave_the_password(server):
    """A cached login that has ended is replaced by a new one."""
    server.token_lifetime_s = 0
    authenticator(server, ANN).token()
    server.expire_cookies()
    server.token_lifetime_s = 1000
    assert authenticator(server, ANN).identity().source == "password"
    assert authenticator(server, ANN).identity().source == "cache"
    assert len(server.logins) == 2


def test_another_password_logs_in_anew(server):
    """The cache does not help whoever does not know the password."""
    authenticator(server, ANN).token()
    refusal(authenticator(server, ANN, password="canary-wrong"))
    assert [outcome for _step, outcome in outcomes(server)] == ["success", "wrong_password"]


def test_the_cache_can_be_off_or_elsewhere(server, cache_file, tmp_path):
    """token_cache is a path, or False."""
    authenticator(server, ANN, token_cache=False).token()
    assert not cache_file.exists()
    elsewhere = tmp_path / "mine.json"
    authenticator(server, ANN, token_cache=elsewhere).token()
    assert elsewhere.exists()
    assert not cache_file.exists()


def test_a_cache_that_is_named_is_a_way_in(server, tmp_path):
    """Without other credentials the newest login of a named file is used, renewed and forgotten."""
    file = tmp_path / "mine.json"
    server.token_lifetime_s = 0
    authenticator(server, PAYS, token_cache=file).token()
    server.token_lifetime_s = 1000
    auth = authenticator(server, token_cache=file)
    identity = auth.identity()
    assert (identity.username, identity.plan, identity.source) == ("pays", "pro_premium", "cache")
    server.expire_cookies()
    server.expire_tokens()
    with pytest.raises(AuthenticationError, match="sessionid"):
        auth.renew(auth.token())
    assert auth.logout()
    assert not auth.logout()
    assert authenticator(server, token_cache=file).token() == ANONYMOUS_TOKEN


def test_a_named_cache_never_stands_in_for_other_credentials(server, tmp_path):
    """Expired cookies do not make the client somebody else."""
    file = tmp_path / "mine.json"
    authenticator(server, PAYS, token_cache=file).token()
    refusal(authenticator(server, sessionid="expired", token_cache=file))
    auth = authenticator(server, auth_token="canary", token_cache=file)
    with pytest.raises(AuthenticationError, match="nothing else is known"):
        auth.renew("canary")


def test_cookies_and_tokens_are_not_cached(server, cache_file):
    """The cache is for passwords, unless it is named."""
    authenticator(server, **cookies_of(server, ANN)).token()
    assert authenticator(server, auth_token="x").logout() is False
    assert not cache_file.exists()


def test_logging_out_forgets(server):
    """After a logout the next use logs in."""
    auth = authenticator(server, ANN)
    auth.token()
    assert auth.logout()
    assert auth.token()
    assert len(server.logins) == 2


# --- renewal


@pytest.mark.parametrize("way", ["cookies", "password"])
def test_a_token_is_renewed_before_it_ends(server, way):
    """Some minutes before its end the token is replaced, by cookies alone."""
    clock = Clock(time.time())
    server.auth_clock = clock
    server.token_lifetime_s = 3000
    given = cookies_of(server, ANN) if way == "cookies" else {}
    auth = authenticator(server, None if given else ANN, clock=clock, **given)
    first = auth.token()
    assert auth.next_renewal_s() == pytest.approx(clock.now + 2700, abs=2)
    clock.now += 2690
    assert auth.token() == first
    clock.now += 20
    second = auth.token()
    assert second != first
    assert auth.token() == second
    assert auth.identity().username == "ann"
    assert len(server.logins) == (way == "password")


def test_rotated_cookies_are_followed(server):
    """Each renewal uses the cookies that the last page gave."""
    clock = Clock(time.time())
    server.auth_clock = clock
    server.rotate_cookies = True
    auth = authenticator(server, clock=clock, **cookies_of(server, ANN))
    tokens = set()
    for _ in range(4):
        tokens.add(auth.token())
        clock.now += 14390
    assert len(tokens) == 4


def test_a_renewal_that_fails_early_is_no_error(server, caplog):
    """Until it ends the old token is used, and not every call asks again."""
    clock = Clock(time.time())
    server.auth_clock = clock
    auth = authenticator(server, clock=clock, **cookies_of(server, ANN))
    first = auth.token()
    server.inject(HttpStatus(path="/", status=503))
    clock.now += 14200
    assert [auth.token() for _ in range(5)] == [first] * 5
    assert len(server.http_requests) == 2
    assert len(caplog.records) == 1
    assert auth.next_renewal_s() > clock.now + 20
    clock.now += 1000
    with pytest.raises(NetworkError):
        authenticator(server, clock=clock, **cookies_of(server, ANN)).token()


def test_an_ended_token_that_cannot_be_renewed_is_an_error(server):
    """After its end a token is of no use, and the reason is told."""
    clock = Clock(time.time())
    server.auth_clock = clock
    auth = authenticator(server, clock=clock, **cookies_of(server, ANN))
    auth.token()
    server.expire_cookies()
    clock.now += 20000
    assert "expired sessionid" in str(refusal(auth))


def test_a_token_without_ways_is_never_due(server):
    """What cannot be renewed is used until the server refuses it."""
    server.token_lifetime_s = 0
    token = server.issue_token(ANN)
    auth = authenticator(server, auth_token=token)
    assert auth.token() == token
    assert auth.next_renewal_s() is None
    assert auth.identity().expires_at <= time.time()


@pytest.mark.parametrize("way", ["cookies", "password", "token and cookies", "token and password"])
def test_a_refused_token_is_renewed_once(server, way):
    """After a refusal there is one renewal, and whoever comes later gets what came of it."""
    given = cookies_of(server, ANN) if "cookies" in way else {}
    if "token" in way:
        given["auth_token"] = "canary-token"
    auth = authenticator(server, ANN if "password" in way else None, **given)
    first = auth.token()
    second = auth.renew(first)
    assert second not in {first, "canary-token"}
    assert auth.renew(first) == auth.token() == second
    before = len(server.http_requests)
    with pytest.raises(AuthenticationError, match="as well"):
        auth.renew(second)
    assert len(server.http_requests) == before


def test_a_cached_token_that_is_refused_is_not_taken_again(server):
    """The cache may hold the very token that the server refused."""
    token = authenticator(server, ANN).token()
    auth = authenticator(server, ANN)
    assert auth.renew(token) != token
    assert authenticator(server, ANN).token() == auth.token()
    assert len(server.logins) == 1


@pytest.mark.parametrize("auth", [{}, {"auth_token": "canary-token"}])
def test_without_another_way_a_refusal_is_final(server, auth):
    """Neither the anonymous token nor one without credentials can be renewed."""
    client = authenticator(server, **auth)
    token = client.token()
    for _ in range(2):
        with pytest.raises(AuthenticationError, match="nothing else is known") as caught:
            client.renew(token)
    assert "canary" not in str(caught.value)
    assert client.token() == token


def test_an_assigned_token_is_used_and_renewed(server):
    """Whoever assigns a token has it used, and the other credentials renew it."""
    auth = authenticator(server, ANN)
    auth.token()
    auth.set_token("canary-mine")
    assert auth.token() == "canary-mine"
    assert auth.identity().source == "token"
    assert auth.renew("canary-mine") != "canary-mine"
    auth.set_token(ANONYMOUS_TOKEN)
    assert auth.identity().source == "anonymous"


@pytest.mark.parametrize("token", [None, "", "  ", 1, b"x"])
def test_a_token_is_a_text(server, token):
    """What is no token cannot be assigned."""
    with pytest.raises(ConfigurationError):
        authenticator(server).set_token(token)


@pytest.mark.parametrize("switch_interval", [0.005, 1e-6])
def test_fifty_threads_cause_one_renewal(server, switch_interval):
    """Threads that start at once with an ended token share one renewal."""
    clock = Clock(time.time())
    server.auth_clock = clock
    auth = authenticator(server, clock=clock, **cookies_of(server, ANN))
    first = auth.token()
    clock.now += 20000
    results = in_threads(50, auth.token, switch_interval)
    assert len(set(results)) == 1
    assert first not in results
    assert server.tokens_issued == 2
    renewed = in_threads(50, lambda: auth.renew(results[0]), switch_interval)
    assert len(set(renewed)) == 1
    assert server.tokens_issued == 3


def test_fifty_threads_share_one_refusal(server):
    """A wrong password is sent once, however many wait for it."""
    auth = authenticator(server, ANN, password="canary-wrong")

    def attempt():
        with pytest.raises(AuthenticationError) as caught:
            auth.token()
        return caught.value

    errors = in_threads(50, attempt)
    assert len({str(error) for error in errors}) == 1
    assert len({id(error) for error in errors}) == 50
    assert len(server.logins) == 1


def in_threads(number, call, switch_interval=0.005):
    """Call from many threads at once and return what came of it."""
    barrier, results = threading.Barrier(number), []

    def run():
        barrier.wait(PATIENCE_S)
        results.append(call())

    before = sys.getswitchinterval()
    sys.setswitchinterval(switch_interval)
    try:
        threads = [threading.Thread(target=run) for _ in range(number)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
    finally:
        sys.setswitchinterval(before)
    assert len(results) == number
    return results


def test_a_token_assigned_during_a_sign_in_goes_first(server):
    """Who signs in for minutes does not overwrite what was assigned meanwhile."""
    auth = authenticator(server, TEXT, two_factor_code=lambda: auth.set_token("mine") or "024680")
    assert auth.token() == "mine"
    assert auth.token() == "mine"


def test_waiting_for_another_thread_has_an_end(server):
    """A person who does not type the code does not hold the other threads for ever."""
    asked, typed = threading.Event(), threading.Event()

    def ask():
        asked.set()
        typed.wait(PATIENCE_S)
        return TEXT.sms_code

    auth = authenticator(server, TEXT, two_factor_code=ask, limits={"max_response_time": 0.3})
    thread = threading.Thread(target=auth.token)
    thread.start()
    assert asked.wait(PATIENCE_S)
    assert "did not end" in str(refusal(auth, ConnectionError))
    typed.set()
    thread.join(PATIENCE_S)
    assert auth.token()


def test_each_request_counts_for_the_limiter(server):
    """Password and code are two requests."""
    limiter = RateLimiter(requests_per_minute=1, burst_size=2)
    given = config(server, TWO, totp_secret=SECRET, token_cache=False)
    Authenticator(given, limiter=limiter).token()
    with pytest.raises(RateLimitError):
        limiter.acquire(timeout=0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.slow
def test_a_forked_child_signs_in_by_itself(server):
    """A sign-in that was under way in the parent is nobody's in the child."""
    asked, typed = threading.Event(), threading.Event()
    codes = [lambda: asked.set() or typed.wait(PATIENCE_S) or TEXT.sms_code, lambda: TEXT.sms_code]
    auth = authenticator(server, TEXT, two_factor_code=lambda: codes.pop(0)() and TEXT.sms_code)
    thread = threading.Thread(target=auth.token)
    thread.start()
    assert asked.wait(PATIENCE_S)
    child = os.fork()
    if not child:
        code = 1
        try:
            code = 0 if auth.token().count(".") == 2 else 2
        finally:
            os._exit(code)
    try:
        assert os.waitpid(child, 0)[1] == 0
    finally:
        typed.set()
        thread.join(PATIENCE_S)


# --- the host of a plan


def test_paid_plans_have_a_host_of_their_own(server):
    """A paid plan is served by prodata with TradingView's Origin, the others by data."""
    default = NetworkConfig()
    network = dataclasses.replace(default, base_url=server.base_url)
    for account, url, origin in (
        (ANN, default.ws_url, "https://data.tradingview.com"),
        (PAYS, PRO_WS_URL, "https://www.tradingview.com"),
    ):
        auth = Authenticator(
            TvDatafeedConfig(network=network, auth=AuthConfig(**cookies_of(server, account)))
        )
        assert auth.ws_url() == default.ws_url
        auth.token()
        assert auth.ws_url() == url
        assert auth.network().ws_headers["Origin"] == origin


def test_a_plan_is_read_from_a_token(server):
    """A token that is given tells its plan."""
    token = server.issue_token(PAYS)
    auth = Authenticator(TvDatafeedConfig(auth=AuthConfig(auth_token=token)))
    auth.token()
    assert auth.ws_url() == PRO_WS_URL
    headers = {"Origin": "https://mine", "X": "y"}
    auth = Authenticator(
        TvDatafeedConfig(
            network=NetworkConfig(ws_headers=headers), auth=AuthConfig(auth_token=token)
        )
    )
    auth.token()
    assert auth.network().ws_headers == headers


def test_a_host_that_is_configured_stays(server):
    """ws_url overrules the plan."""
    auth = authenticator(server, **cookies_of(server, PAYS))
    auth.token()
    assert auth.ws_url() == server.ws_url
    assert auth.network() == server.config().network


# --- the class of old programs


@pytest.fixture
def old(server, monkeypatch):
    monkeypatch.setenv("TV_BASE_URL", server.base_url)
    return TradingViewAuth()


KEYS = {
    "id",
    "username",
    "firstName",
    "lastName",
    "reputation",
    "following",
    "followers",
    "sessionHash",
    "privateChannel",
    "authToken",
    "joinDate",
}


def test_old_programs_log_in(server, old):
    """login_user gives the user under the lineage's names, and the cookies."""
    user = old.login_user("ann", PASSWORD)
    assert user.keys() == KEYS | {"session", "signature"}
    assert (user["id"], user["username"], user["joinDate"]) == (42, "ann", "2020-01-01T00:00:00")
    assert old.get_user(user["session"], user["signature"])["username"] == "ann"
    assert old.login_user("two", PASSWORD, SECRET, remember=False)["username"] == "two"
    forms = [request.form for request in server.http_requests if request.method == "POST"]
    assert [form.get("remember") for form in forms] == ["on", None, None]


def test_old_programs_read_a_page(server, old):
    """get_user reads the page, at another location too."""
    cookies = server.issue_cookies(PAYS)
    for place in ({}, {"location": f"{server.base_url}/chart/"}):
        user = old.get_user(cookies.sessionid, cookies.sessionid_sign, **place)
        assert user.keys() == KEYS
        assert user["authToken"].count(".") == 2
    assert [request.target for request in server.http_requests] == ["/", "/chart/"]


def test_old_programs_catch_one_error(server, old):
    """Whatever goes wrong is an AuthenticationError, as in the lineage."""
    with pytest.raises(AuthenticationError):
        old.get_user("expired")
    with pytest.raises(TwoFactorRequiredError):
        old.login_user("two", PASSWORD)
    server.inject(HttpStatus(status=503))
    with pytest.raises(AuthenticationError, match="503"):
        old.login_user("ann", PASSWORD)


def test_old_programs_have_a_session_and_a_name(server, old):
    """The session is of requests, and each request has the user agent."""
    assert isinstance(old.session, requests.Session)
    assert old.user_agent.startswith("TWAPI/3.0 (")
    assert TradingViewAuth("mine").user_agent == "mine"
    old.login_user("ann", PASSWORD)
    assert server.http_requests[0].headers["user-agent"] == old.user_agent


@pytest.mark.parametrize(
    ("arguments", "cookie"),
    [
        ((), ""),
        (("", "b"), ""),
        (("a",), "sessionid=a"),
        (("a", "b"), "sessionid=a;sessionid_sign=b"),
    ],
)
def test_the_cookie_of_old_programs(arguments, cookie):
    """gen_auth_cookies joins what there is."""
    assert TradingViewAuth.gen_auth_cookies(*arguments) == cookie


# --- pages and answers of other shapes

USER = '"id":7,"username":"ann","auth_token":"canary-t","is_pro":true,"pro_plan":"pro"'
PAGES = [
    f"<html>tradingview <script>var user = {{{USER}}};</script>",
    f"<html>tradingview <script>window.user={{{USER}, }}</script>",
    f"<script>var user = {{}}; initData = {{{USER}}}",
    f"user = {{[[[ user = {{{USER}}}",
    USER.replace(":", " : "),
]


@pytest.mark.parametrize("page", PAGES)
def test_pages_of_other_shapes(server, page):
    """The token is found wherever it stands in the page."""
    server.inject(HttpStatus(path="/", status=200, body=page.encode()))
    auth = authenticator(server, sessionid="a", sessionid_sign="b")
    assert auth.token() == "canary-t"
    assert (auth.identity().username, auth.identity().plan) == ("ann", "pro")


ANSWERS = [
    ({"error": {"a": 1}}, AuthenticationError, "1"),
    ({"error": ["x"]}, AuthenticationError, "x"),
    ({"error": f"no {PASSWORD}\nno"}, AuthenticationError, "no *** no"),
    ({"error": "x" * 9999}, AuthenticationError, "xxx"),
    ({"code": "x"}, NetworkError, "neither"),
    ({"error": "", "user": None}, NetworkError, "neither"),
    ({"user": {"auth_token": ""}}, NetworkError, "neither"),
    ({"user": {"auth_token": 1}}, NetworkError, "neither"),
    ({"error": "2FA_required", "two_factor_types": None}, TwoFactorRequiredError, "totp"),
    ({"code": "2FA_required", "two_factor_types": ["sms"]}, TwoFactorRequiredError, "sms"),
    ({"error": "2FA_required", "two_factor_types": [{"name": "yubi"}]}, TwoFactorRequiredError, ""),
    ({"error": "2FA_required", "two_factor_types": {"a": "b"}}, TwoFactorRequiredError, "totp"),
    ({"error": "x", "code": 1}, AuthenticationError, "x"),
    ({"error": "x", "code": ["rate_limit"]}, AuthenticationError, "x"),
    ({"error": "Please solve the captcha"}, CaptchaRequiredError, "CAPTCHA"),
    ([], NetworkError, "no JSON"),
    ("text", NetworkError, "no JSON"),
]


@pytest.mark.parametrize(("content", "error", "words"), ANSWERS)
def test_answers_of_other_shapes(server, content, error, words):
    """No answer, however odd, is anything but a typed error of one line."""
    server.inject(HttpStatus(status=200, body=json.dumps(content).encode()))
    raised = refusal(authenticator(server, ANN), error)
    assert words in str(raised)
    assert "\n" not in str(raised)
    assert len(str(raised)) < 500
    assert "canary" not in str(raised)


# --- secrets


@pytest.mark.slow
def test_no_secret_appears_anywhere(server, caplog, cache_file):
    """With all logs at DEBUG no secret is in a record, a repr, an error or its pickle."""
    caplog.set_level(logging.DEBUG)
    totp = Account("totp", PASSWORD, second_factor="totp", totp_secret=SECRET)
    server.add_account(totp)
    # A server that repeats what it was told, as the form had it and in clear.
    cookies = cookies_of(server, ANN)
    code = "024680"
    echo = json.dumps({"error": f"{PASSWORD} canary-p%26%3D%2B%25+%C3%BC {code}"})
    errors, things = [], []

    def attempt(call):
        try:
            call()
        except TvDatafeedError as error:
            errors.append(error)

    for fault in (None, *[fault for fault, *_ in FAULTS if not isinstance(fault, HttpDrip)]):
        if fault is not None:
            server.inject(dataclasses.replace(fault, path="*", times=1))
        for account, more in (
            (ANN, {}),
            (ANN, {"password": "canary-wrong"}),
            (totp, {"totp_secret": SECRET}),
            (TEXT, {"two_factor_code": code}),
            (TEXT, {}),
            (None, cookies),
            (None, {"auth_token": "canary-token"}),
            (None, {"sessionid": "canary-session", "sessionid_sign": "canary-sign"}),
        ):
            limits = {"max_response_time": 0.2} if isinstance(fault, HttpStall) else None
            auth = authenticator(server, account, limits=limits, **more)
            attempt(auth.token)
            attempt(lambda auth=auth: auth.renew(auth.token()))
            # What it is made of may be logged, too.
            things += [auth, auth._auth, auth._session, auth._sign_in]
            attempt(auth.identity)
    server.inject(HttpStatus(path="*", status=200, body=echo.encode()))
    for account in (ANN, TEXT):
        attempt(authenticator(server, account, two_factor_code=code, token_cache=False).token)
    server.clear_faults()
    server.inject(
        HttpStatus(path="/accounts/two-factor/signin/sms/", status=200, body=echo.encode())
    )
    attempt(authenticator(server, TEXT, two_factor_code=code, token_cache=False).token)
    things += [
        TokenCache(),
        TokenCache().find("ann", server.base_url, PASSWORD),
        Credentials("ann", PASSWORD, SECRET, code),
        SignedIn("canary-token", {"auth_token": "canary-token"}, "canary-id", "canary-sign"),
        CachedLogin("ann", "canary-token"),
    ]
    records = [record.getMessage() for record in caplog.records]
    records += [caplog.handler.format(record) for record in caplog.records]
    texts = [
        *records,
        *map(repr, things),
        *map(repr, errors),
        *map(str, errors),
        *["".join(traceback.format_exception(error)) for error in errors],
        *[pickle.dumps(copy.copy(error)).decode("latin-1") for error in errors],
    ]
    assert len(errors) > 20
    kept = json.loads(cache_file.read_text())["logins"]
    secrets = {"canary", "canary-p", SECRET, SECRET.replace(" ", ""), code, *cookies.values()}
    secrets |= {login[name] for login in kept for name in ("token", "sessionid", "sessionid_sign")}
    for text in texts:
        assert not [secret for secret in secrets if secret in text]


LOGIN = """
import hashlib, sys
scrypt = hashlib.scrypt
hashlib.scrypt = lambda *args, **how: scrypt(*args, **{**how, "n": 2})
from tvDatafeed.auth import Authenticator
from tvDatafeed.config import AuthConfig, TvDatafeedConfig
auth = AuthConfig(username="ann", password=sys.argv[1], token_cache=sys.argv[2])
config = TvDatafeedConfig(network=TvDatafeedConfig.from_env().network, auth=auth)
print("ready", flush=True)
sys.stdin.readline()
print(Authenticator(config).token())
"""


@pytest.mark.skipif(os.name != "posix", reason="modes of files are of POSIX")
@pytest.mark.slow
def test_two_processes_that_log_in_at_once(server, tmp_path):
    """They leave one valid cache file, which nobody else could read at any moment."""
    folder = tmp_path / "cache"
    folder.mkdir()
    file = folder / "tokens.json"
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", LOGIN, PASSWORD, str(file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(server),
            text=True,
            umask=0,
        )
        for _ in range(2)
    ]
    modes = set()
    try:
        for program in programs:
            program.stdout.readline()
        for program in programs:
            program.stdin.write("\n")
            program.stdin.flush()
        while any(program.poll() is None for program in programs):
            for path in folder.iterdir():
                try:
                    modes.add(stat.S_IMODE(path.stat().st_mode))
                except FileNotFoundError:
                    continue
    finally:
        tokens = [program.communicate()[0].strip() for program in programs]
    assert modes == {0o600}
    assert TokenCache(file).find("ann", server.base_url, PASSWORD).token in tokens
    assert [path.name for path in folder.iterdir()] == ["tokens.json"]
