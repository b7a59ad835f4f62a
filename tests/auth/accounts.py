"""Accounts of the loopback TradingView, and authenticators that sign in to it."""

import time

import pytest

from tvDatafeed.auth import Authenticator
from tvDatafeed.config import AuthConfig, TvDatafeedConfig
from tvDatafeed.exceptions import (
    AuthenticationError,
    ConnectionError,  # noqa: A004 - our own
    NetworkError,
    RateLimitError,
)
from tvDatafeed.testing import (
    Account,
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


FAULTS = [
    (HttpStatus(status=500), NetworkError, "500"),
    (HttpStatus(status=503), NetworkError, "503"),
    (HttpStatus(status=429, retry_after=7), RateLimitError, "7 s"),
    (HttpStatus(status=403), AuthenticationError, "403"),
    (HttpStatus(status=404), NetworkError, "404"),
    (HttpStatus(status=200), NetworkError, "not JSON"),
    (HttpHtml(), NetworkError, "not JSON"),
    (HttpHugeBody(how="announced"), NetworkError, "more than"),
    (HttpHugeBody(how="endless"), NetworkError, "more than"),
    (HttpHugeBody(how="gzip"), NetworkError, "more than"),
    (HttpTruncatedGzip(), ConnectionError, "ended its answer early"),
    (HttpDrip(), ConnectionError, "in time"),
    (HttpStall(after_bytes=40), ConnectionError, "in time"),
    (HttpRedirect(status=307), NetworkError, "more than 3"),
    (HttpRedirect(location="https://evil.example/", status=307), NetworkError, "evil.example"),
    (HttpReset(), ConnectionError, "127.0.0.1"),
]
