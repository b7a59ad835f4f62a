"""Which credential is used where several are set: the documented order is the real one."""

import re

import pytest

from tests.auth.accounts import ANN, TWO, authenticator, cookies_of
from tvDatafeed import TvDatafeed
from tvDatafeed.auth import Authenticator
from tvDatafeed.config import AuthConfig
from tvDatafeed.protocol.literals import ANONYMOUS_TOKEN


def test_each_credential_goes_before_those_that_follow(server):
    """auth_token, cookies, cached login, password, anonymous: each is used without those above."""
    given = {"auth_token": "canary", **cookies_of(server, TWO)}
    account = {"username": ANN.username, "password": ANN.password}
    sources = [
        authenticator(server, **given, **account).identity().source,
        authenticator(server, **{**given, "auth_token": None}, **account).identity().source,
        authenticator(server, **account).identity().source,  # nothing is cached yet
        authenticator(server, **account).identity().source,
        authenticator(server).identity().source,
    ]
    assert sources == ["token", "cookies", "password", "cache", "anonymous"]


def test_a_refused_credential_leaves_the_next_one(server):
    """Cookies that have ended do not hide a password, and a refused token leaves the cookies."""
    cookies = cookies_of(server, ANN)
    auth = authenticator(server, auth_token="canary", **cookies)
    assert auth.token() == "canary"
    assert auth.renew("canary") not in {"canary", ANONYMOUS_TOKEN}
    assert auth.identity().source == "cookies"
    server.expire_cookies()
    assert authenticator(server, ANN, **cookies).identity().source == "password"


@pytest.mark.parametrize("documented", [TvDatafeed, AuthConfig, Authenticator])
def test_the_docstrings_name_that_order(documented):
    """Each public description has the ways in the order in which they are used."""
    (sentence,) = re.findall(
        r"If several credentials are set, the first of these is used: ([^.]*)\.",
        " ".join(documented.__doc__.split()),
    )
    ways = ("auth_token", "cookies", "token cache", "username", "password")
    places = [sentence.index(way) for way in ways]
    assert places == sorted(places)
