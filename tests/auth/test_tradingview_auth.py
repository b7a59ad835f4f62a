"""TradingViewAuth keeps the methods and the results that old programs rely on."""

import pytest
import requests

from tests.auth.accounts import PASSWORD, PAYS, SECRET
from tvDatafeed.auth import TradingViewAuth
from tvDatafeed.exceptions import AuthenticationError, TwoFactorRequiredError
from tvDatafeed.testing import HttpStatus


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
    """login_user returns the user under the names of tvDatafeed 2.x, and the cookies."""
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
    """Every failure is an AuthenticationError, as in tvDatafeed 2.x."""
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
