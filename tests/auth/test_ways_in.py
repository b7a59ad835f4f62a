"""Each way to authenticate gives a token, and the plan of the account chooses the host."""

import dataclasses
import time

import pytest

from tests.auth.accounts import (
    ANN,
    PASSWORD,
    PAYS,
    SECRET,
    TWO,
    authenticator,
    config,
    cookies_of,
    outcomes,
)
from tvDatafeed.auth import Authenticator
from tvDatafeed.auth.authenticator import PRO_WS_URL
from tvDatafeed.config import AuthConfig, NetworkConfig, TvDatafeedConfig
from tvDatafeed.exceptions import ConfigurationError, RateLimitError
from tvDatafeed.protocol.literals import ANONYMOUS_TOKEN
from tvDatafeed.ratelimit import RateLimiter
from tvDatafeed.testing import FakeTradingView


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
    """The form has the three fields, and the request has the Referer of tvDatafeed 2.x."""
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
    """The first use exchanges cookies for a token; the page is requested once."""
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


@pytest.mark.parametrize(
    "auth", [{"username": "a"}, {"password": "canary"}, {"sessionid": "s", "password": "canary"}]
)
def test_half_a_login_is_an_error(auth):
    """A user who wants to sign in must learn that something is missing."""
    with pytest.raises(ConfigurationError) as caught:
        Authenticator(TvDatafeedConfig(auth=AuthConfig(**auth)))
    assert caught.value.parameter in {"username", "password"}
    assert "canary" not in str(caught.value)


def test_each_request_counts_for_the_limiter(server):
    """Password and code are two requests."""
    limiter = RateLimiter(requests_per_minute=1, burst_size=2)
    given = config(server, TWO, totp_secret=SECRET, token_cache=False)
    Authenticator(given, limiter=limiter).token()
    with pytest.raises(RateLimitError):
        limiter.acquire(timeout=0)


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
    """The plan is read from the claims of a given token."""
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
