"""What scripts are answered in the field: rate limits for days, and blocks of the CDN."""

import json

import pytest

from tests.auth.accounts import ANN, TWO, authenticator, cookies_of, refusal
from tvDatafeed import TvDatafeed
from tvDatafeed.exceptions import (
    AuthenticationError,
    CaptchaRequiredError,
    NetworkError,
    RateLimitError,
)
from tvDatafeed.testing import HttpStatus

TROUBLE = "We're having a little trouble with that request. Try again a little later."
LIMITS = [
    {"error": TROUBLE, "code": "rate_limit"},
    {"error": TROUBLE},
    {"error": TROUBLE.replace("'", "\N{RIGHT SINGLE QUOTATION MARK}").upper(), "code": ""},
    {"message": TROUBLE},
    {"detail": "Request was throttled: too many requests."},
    {"error": "rate_limit"},
    {"error": "", "code": "RATE_LIMIT"},
    {"error": "Try again later.", "code": "2FA_too_many_requests"},
]


def answer(server, content, status=400, path="/accounts/signin/"):
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    server.inject(HttpStatus(path=path, status=status, body=body))


@pytest.mark.parametrize(
    ("content", "status"),
    [*((content, 400) for content in LIMITS), *((LIMITS[0], s) for s in (200, 403, 429))],
)
def test_a_rate_limit_says_what_goes_on_working(server, content, status):
    """The advice is that for a captcha: cookies, a token, the cache; the password waits."""
    answer(server, content, status)
    auth = authenticator(server, ANN)
    for _ in range(2):
        error = refusal(auth, RateLimitError)
        for way in ("sessionid", "auth_token", "token cache"):
            assert way in str(error)
            assert way in str(CaptchaRequiredError())
    assert len(server.http_requests) == 1


def test_a_rate_limited_account_goes_on_by_cookies(server):
    """What the error advises works at once, in the same program."""
    answer(server, LIMITS[0])
    with pytest.raises(RateLimitError):
        TvDatafeed("ann", ANN.password, token_cache=False, config=server.config())
    with TvDatafeed(config=server.config(), **cookies_of(server, ANN)) as tv:
        assert len(tv.get_hist("NASDAQ:AAPL")) == 10


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"error": "You have been locked out. Please try again later."}, "locked"),
        ({"error": "Wrong password. Try again later.", "code": "invalid_credentials"}, "refused"),
    ],
)
def test_other_refusals_that_say_later_are_no_rate_limits(server, content, words):
    """A code and a lock-out go before the words of a text."""
    answer(server, content)
    assert words in str(refusal(authenticator(server, ANN), AuthenticationError))


def test_a_captcha_that_says_later_is_one(server):
    """A captcha is a captcha, whatever else its text says."""
    answer(server, {"error": "Please confirm that you are not a robot: try again later (captcha)."})
    refusal(authenticator(server, ANN), CaptchaRequiredError)


def test_a_rate_limit_of_codes_has_the_advice(server):
    """The second step of a sign-in is limited in the same way."""
    answer(server, LIMITS[1], path="/accounts/two-factor/signin/totp/")
    auth = authenticator(server, TWO, two_factor_code="123456")
    assert "cookies" in str(refusal(auth, RateLimitError))


CLOUDFRONT = (
    b'<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 4.01 Transitional//EN">\n<HTML><HEAD>'
    b"<TITLE>ERROR: The request could not be satisfied</TITLE></HEAD><BODY>"
    b"<H1>403 ERROR</H1><H2>The request could not be satisfied.</H2></BODY></HTML>"
)
BLOCKS = [
    (CLOUDFRONT, 400, "could not be satisfied"),
    (CLOUDFRONT, 403, "could not be satisfied"),
    (b"\n<html><title>Just a moment...</title>", 403, "Just a moment"),
    (b"\xef\xbb\xbf<html><body>Access denied", 401, "no title"),
]


@pytest.mark.parametrize(("body", "status", "words"), BLOCKS)
def test_a_sign_in_that_the_cdn_blocks_is_no_wrong_password(server, body, status, words):
    """HTML comes from before TradingView's sign-in, and says nothing about the password."""
    answer(server, body, status)
    error = refusal(authenticator(server, ANN), NetworkError)
    assert "blocked before it reached TradingView's sign-in" in str(error)
    assert words in str(error)
    assert not error.retryable


def test_a_blocked_password_may_be_sent_again(server):
    """TradingView has not seen it, so that the next attempt of the program is made."""
    server.inject(HttpStatus(path="/accounts/signin/", status=403, body=CLOUDFRONT, times=1))
    auth = authenticator(server, ANN)
    refusal(auth, NetworkError)
    assert auth.token()


def test_a_blocked_code_is_no_wrong_code(server):
    """The second step can be blocked like the first."""
    answer(server, CLOUDFRONT, 403, path="/accounts/two-factor/signin/totp/")
    error = refusal(authenticator(server, TWO, two_factor_code="123456"), NetworkError)
    assert "blocked before" in str(error)


@pytest.mark.parametrize(("body", "status", "words"), BLOCKS)
def test_blocked_cookies_are_not_expired(server, body, status, words):
    """Cookies that did not reach TradingView are good, and are sent again later."""
    server.inject(HttpStatus(path="/", status=status, body=body, times=1))
    auth = authenticator(server, **cookies_of(server, ANN))
    error = refusal(auth, NetworkError)
    assert "blocked before" in str(error)
    assert words in str(error)
    assert auth.token()


def test_the_title_of_a_block_shows_no_secret(server):
    """What a page repeats of the request is masked."""
    answer(server, f"<title>no {ANN.password}</title>".encode(), 403)
    error = refusal(authenticator(server, ANN), NetworkError)
    assert ANN.password not in str(error)
    assert "***" in str(error)
