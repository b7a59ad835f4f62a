"""Each refusal, fault and odd answer of the site is a typed error."""

import dataclasses
import json
import time

import pytest

from tests.auth.accounts import ANN, FAULTS, PASSWORD, authenticator, cookies_of, outcomes, refusal
from tests.scale import PATIENCE_S, scaled
from tvDatafeed.exceptions import (
    AuthenticationError,
    CaptchaRequiredError,
    NetworkError,
    RateLimitError,
    TwoFactorRequiredError,
)
from tvDatafeed.testing import Account, HttpHtml, HttpHugeBody, HttpStatus


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


@pytest.mark.parametrize(
    ("fault", "error", "words"), FAULTS, ids=lambda value: str(value) if value else None
)
@pytest.mark.slow
def test_faults_of_http(server, fault, error, words):
    """Anything but an answer is a typed error in time, and the password is not sent again."""
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
    """Expired cookies are distinguished from a page that is missing or not TradingView's."""
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
    """Cookies that cannot be tried do not cause a login."""
    server.inject(HttpStatus(path="/", status=503, times=1))
    auth = authenticator(server, ANN, **cookies_of(server, ANN))
    refusal(auth, NetworkError)
    assert auth.token()
    assert not server.logins


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
    ([], NetworkError, "not JSON"),
    ("text", NetworkError, "not JSON"),
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
