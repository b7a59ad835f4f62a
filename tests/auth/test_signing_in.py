"""Signing in, through the public API: every way in, every refusal, and what happens to tokens."""

import json
import logging
import pickle
import threading
import time
import traceback

import pytest

from tests.feed import until
from tests.loopback import NOW, expected, impatient
from tests.scale import PATIENCE_S, scaled
from tvDatafeed import (
    AuthenticationError,
    CaptchaRequiredError,
    ConfigurationError,
    ConnectionError,  # noqa: A004 - our own
    Interval,
    NetworkError,
    RateLimitError,
    TvDatafeed,
    TvDatafeedConfig,
    TwoFactorRequiredError,
    WebSocketTimeoutError,
)
from tvDatafeed.config import AuthConfig
from tvDatafeed.testing import (
    Account,
    FakeTradingView,
    HttpHtml,
    HttpHugeBody,
    HttpRedirect,
    HttpStatus,
    HttpTruncatedGzip,
)

SYMBOL = "NASDAQ:AAPL"
PASSWORD = "p&q=+%20 ß🚀 canary-password"
SECRET = "JBSWY3DPEHPK3PXP"  # of 80 bits, as TradingView hands them out
ALICE = Account("alice", PASSWORD)
BOB = Account("bob", "canary-of-bob", "totp", totp_secret=SECRET, plan="pro_premium", id=43)
SUE = Account("sue", "canary-of-sue", "sms", sms_code="024680", id=44)


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A loopback TradingView with accounts, and a token cache of the test's own."""
    monkeypatch.setenv("TV_TOKEN_CACHE", str(tmp_path / "tokens.json"))
    accounts = (
        ALICE,
        BOB,
        SUE,
        Account("cap", "c", captcha=True),
        Account("slow", "s", rate_limited=True),
    )
    with FakeTradingView(clock=lambda: NOW, accounts=accounts) as running:
        yield running


def config_of(server, **auth):
    """The configuration of an impatient client, with the token cache of the environment."""
    config = TvDatafeedConfig.from_env()
    network = impatient(server).network
    return TvDatafeedConfig(
        network=network, auth=AuthConfig(**{"token_cache": config.auth.token_cache, **auth})
    )


def assert_served(server, tv):
    """Hold the client to a frame and its server to a token of an account."""
    frame = tv.get_hist(SYMBOL, timezone="UTC")
    assert frame.equals(expected(server, SYMBOL, Interval.in_daily, 10))


def tokens_sent(server):
    """The tokens that came over the socket, in order."""
    return [r.params[0] for r in server.received if r.method == "set_auth_token"]


def attempts(server):
    """How often a password was tried."""
    return sum(login.step == "password" for login in server.logins)


def test_password(server):
    """User and password sign in at once, with one attempt, whatever characters it has."""
    with TvDatafeed("alice", PASSWORD, config=config_of(server)) as tv:
        assert attempts(server) == 1
        assert_served(server, tv)
        assert tokens_sent(server) == [tv.token]
    assert attempts(server) == 1


@pytest.mark.parametrize("empty_error", [True, False])
@pytest.mark.parametrize("as_html", [True, False])
def test_success_in_all_its_forms(server, empty_error, as_html):
    """With or without an empty error, as JSON or as a page and cookies."""
    server.empty_error, server.success_as_html = empty_error, as_html
    with TvDatafeed("alice", PASSWORD, config=config_of(server)) as tv:
        assert_served(server, tv)


@pytest.mark.parametrize(
    "factor",
    [
        {"totp_secret": SECRET},
        {"totp_secret": "jbsw y3dp ehpk 3pxp"},
        {"totp_code": lambda: BOB.totp_at(time.time())},
    ],
    ids=["secret", "spaces and lower case", "callable"],
)
def test_second_factor(server, factor):
    """A secret of 80 bits, or a callable that is asked when the code is needed."""
    with TvDatafeed("bob", BOB.password, config=config_of(server), **factor) as tv:
        assert_served(server, tv)
    assert [login.outcome for login in server.logins] == ["second_factor", "success"]


def test_second_factor_by_sms(server):
    """A code keeps its leading zero; without one nothing more is sent."""
    with pytest.raises(TwoFactorRequiredError) as caught:
        TvDatafeed("sue", SUE.password, config=config_of(server))
    assert caught.value.method == "sms"
    assert len(server.logins) == 1
    with TvDatafeed("sue", SUE.password, totp_code="024680", config=config_of(server)) as tv:
        assert_served(server, tv)


def test_code_is_asked_only_when_it_is_needed(server):
    """An account without a second factor never asks for a code."""

    def never():
        raise AssertionError("nobody wants a code")

    with TvDatafeed("alice", PASSWORD, totp_code=never, config=config_of(server)) as tv:
        assert_served(server, tv)


@pytest.mark.parametrize(
    ("user", "password", "error"),
    [
        ("alice", "wrong", AuthenticationError),
        ("bob", BOB.password, TwoFactorRequiredError),
        ("cap", "c", CaptchaRequiredError),
        ("slow", "s", RateLimitError),
    ],
)
def test_refusals_say_which_they_are(server, user, password, error):
    """One attempt, one typed error, no retry."""
    with pytest.raises(error) as caught:
        TvDatafeed(user, password, config=config_of(server))
    assert type(caught.value) is error
    assert attempts(server) == 1
    assert password not in str(caught.value) or len(password) == 1


def test_lock_out_is_told(server):
    """After too many wrong passwords the error says so."""
    for _ in range(server.max_wrong_passwords):
        with pytest.raises(AuthenticationError):
            TvDatafeed("alice", "wrong", config=config_of(server))
    with pytest.raises(AuthenticationError, match="locked out"):
        TvDatafeed("alice", PASSWORD, config=config_of(server))


@pytest.mark.parametrize(
    "fault",
    [
        HttpStatus(500),
        HttpStatus(503),
        HttpStatus(429, retry_after="7"),
        HttpHtml(b"<html>maintenance</html>"),
        HttpHugeBody(64 * 1024 * 1024, "announced"),
        HttpHugeBody(64 * 1024 * 1024, "gzip"),
        HttpTruncatedGzip(),
        HttpRedirect(),
        HttpRedirect("http://localhost:1/"),
    ],
    ids=repr,
)
def test_trouble_at_the_sign_in_is_typed_and_bounded(server, fault):
    """Statuses, pages, giants and redirects are errors of ours, soon, after one attempt."""
    server.inject(fault)
    started = time.monotonic()
    with pytest.raises((NetworkError, AuthenticationError)) as caught:
        TvDatafeed("alice", PASSWORD, config=config_of(server))
    assert time.monotonic() - started < scaled(15.0)
    assert "html" not in str(caught.value)
    assert attempts(server) <= 1


def test_sign_in_that_cannot_connect():
    """Without a server there is a ConnectionError, which is also the builtin's."""
    from tvDatafeed.config import NetworkConfig  # noqa: PLC0415

    network = NetworkConfig(base_url="http://127.0.0.1:1", ws_url="ws://127.0.0.1:1/")
    config = TvDatafeedConfig(network=network, auth=AuthConfig(token_cache=False))
    with pytest.raises(ConnectionError) as caught:
        TvDatafeed("alice", PASSWORD, config=config)
    assert isinstance(caught.value, OSError)


@pytest.mark.parametrize("given", [{"username": "alice"}, {"password": "x"}])
def test_half_a_credential_is_a_mistake(server, given):
    """A user without a password, or the reverse, is refused before anything is sent."""
    with pytest.raises(ConfigurationError):
        TvDatafeed(**given, config=config_of(server))
    assert server.accepted == 0


def test_token_goes_before_a_password(server):
    """A token is used as it is; user and password are not even looked at."""
    token = server.issue_token("alice")
    with TvDatafeed("", "", auth_token=token, config=config_of(server)) as tv:
        assert_served(server, tv)
    assert tokens_sent(server) == [token]
    assert server.logins == []


def test_cookies(server):
    """A browser's cookies become a token at the first request, and not before."""
    cookies = server.issue_cookies("alice")
    with TvDatafeed(
        sessionid=cookies.sessionid,
        sessionid_sign=cookies.sessionid_sign,
        config=config_of(server),
    ) as tv:
        assert server.http_requests == []
        assert_served(server, tv)
    assert server.logins == []


def test_cookies_that_are_no_good(server):
    """A page without a token says that the cookies are wrong or expired."""
    tv = TvDatafeed(sessionid="nonsense", config=config_of(server))
    with pytest.raises(AuthenticationError, match="sessionid"):
        tv.get_hist(SYMBOL)


def test_second_run_needs_no_password(server):
    """The token cache keeps a login: the next program does not sign in again."""
    for _ in range(3):
        with TvDatafeed("alice", PASSWORD, config=config_of(server)) as tv:
            assert_served(server, tv)
    assert attempts(server) == 1


def test_cache_can_be_switched_off(server):
    """With token_cache=False each run signs in."""
    for _ in range(2):
        TvDatafeed("alice", PASSWORD, token_cache=False, config=config_of(server)).close()
    assert attempts(server) == 2


def test_everything_from_the_environment(server, tmp_path, monkeypatch):
    """from_env takes credentials from variables or a file; the constructor does not."""
    monkeypatch.setenv("TV_WS_URL", server.ws_url)
    monkeypatch.setenv("TV_BASE_URL", server.base_url)
    file = tmp_path / ".env"
    file.write_text(f"TV_USERNAME=alice\nTV_PASSWORD='{PASSWORD}'\n", encoding="utf-8")
    with TvDatafeed.from_env(file) as tv:
        assert_served(server, tv)
    assert attempts(server) == 1
    monkeypatch.setenv("TV_USERNAME", "alice")
    monkeypatch.setenv("TV_PASSWORD", PASSWORD)
    with TvDatafeed(token_cache=False) as tv:
        tv.get_hist(SYMBOL)
    assert tokens_sent(server)[-1] == "unauthorized_user_token"


def test_refused_token_is_renewed_once(server):
    """A token that the server does not accept any more is replaced, and the call is answered."""
    with TvDatafeed("alice", PASSWORD, config=config_of(server)) as tv:
        assert_served(server, tv)
        server.expire_tokens(now=True)
        assert_served(server, tv)
        assert len(set(tokens_sent(server))) == 2
    assert attempts(server) == 1  # the cookies did it


def test_token_without_a_way_to_renew_it(server):
    """Without other credentials the refusal of a token is an AuthenticationError."""
    with TvDatafeed(auth_token=server.issue_token("alice"), config=config_of(server)) as tv:
        assert_served(server, tv)
        server.expire_tokens(now=True)
        with pytest.raises(AuthenticationError):
            tv.get_hist(SYMBOL)


def test_token_that_stays_refused(server):
    """A renewal that does not help is not repeated forever."""
    server.token_lifetime_s = 4 * 3600
    with TvDatafeed("alice", PASSWORD, config=config_of(server)) as tv:
        server.bad_tokens.update({tv.token})
        original = server.issue_token

        assert_served(server, tv)
        assert original
    assert attempts(server) == 1


def test_expired_token_that_only_heartbeats(server):
    """A connection that only beats after its token's end is recognised, and the token renewed."""
    server.expired_token_is = "silent"
    with TvDatafeed("alice", PASSWORD, ws_timeout=0.4, config=config_of(server)) as tv:
        assert_served(server, tv)
        server.expire_tokens(now=True)
        # Our clock says that the token is good, the server knows better: it is a timeout.
        with pytest.raises(WebSocketTimeoutError):
            tv.get_hist(SYMBOL)


def test_token_near_its_end_is_renewed_before(server):
    """A token that is about to end is replaced before the request, from the cookies."""
    passed_s = 0.0

    def clock():
        return time.time() + passed_s

    server.auth_clock = clock
    with TvDatafeed("alice", PASSWORD, config=config_of(server)) as tv:
        # The life of a token is hours, and this machine's clock decides when it expires.
        tv._account._authenticator._clock = clock
        first = tv.token
        assert_served(server, tv)
        passed_s = server.token_lifetime_s - 60.0
        # It is used until the other one is there.
        assert until(lambda: tv.token != first)
        second = tv.token
        assert_served(server, tv)
        assert tokens_sent(server) == [first, second]
    assert server.connections_opened == 1
    assert attempts(server) == 1


def test_code_of_the_second_factor(server):
    """A passed code goes first, then one of the secret, then there is none."""
    config = config_of(server)
    # Programs that are written for earlier versions call `_get_totp_code`.
    assert TvDatafeed(config=config)._get_totp_code() is None
    assert TvDatafeed(totp_secret=SECRET, config=config)._get_totp_code().isdigit()
    assert TvDatafeed(totp_secret=SECRET, totp_code="012345", config=config)._get_totp_code() == (
        "012345"
    )
    with pytest.raises(ConfigurationError) as caught:
        TvDatafeed(totp_secret="no secret!", config=config)._get_totp_code()
    assert (caught.value.parameter, caught.value.value) == ("totp_secret", "***")


def test_fifty_threads_and_one_renewal(server):
    """However many threads meet an expired token, it is renewed once."""
    with TvDatafeed("alice", PASSWORD, config=config_of(server)) as tv:
        assert_served(server, tv)
        before = server.tokens_issued
        server.expire_tokens(now=True)
        errors = []

        def ask():
            try:
                tv.get_hist(SYMBOL, n_bars=1)
            except Exception as error:  # noqa: BLE001 - whatever comes is a defect
                errors.append(error)

        threads = [threading.Thread(target=ask) for _ in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
        assert errors == []
        assert server.tokens_issued == before + 1
    assert attempts(server) == 1


def everything_said(error):
    """All that an exception may put into somebody's log."""
    texts = [str(error), repr(error), "".join(traceback.format_exception(error))]
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    return [*texts, str(copy), repr(copy), json.dumps(vars(copy), default=str)]


def test_no_secret_is_ever_shown(server, caplog):
    """Passwords, secrets, codes, cookies and tokens are in no record, repr, error or pickle."""
    caplog.set_level(logging.DEBUG)
    cookies = server.issue_cookies("alice")
    token = server.issue_token("alice")
    secrets = [PASSWORD, BOB.password, SECRET, "024680", cookies.sessionid, cookies.sessionid_sign]
    said = []
    clients = []

    def attempt(**credentials):
        try:
            tv = TvDatafeed(config=config_of(server), verbose=True, **credentials)
            tv.ws_debug = True
            clients.append(tv)
            said.append(repr(tv))
            tv.get_hist(SYMBOL, n_bars=1)
            secrets.append(tv.token)
            server.revoke(tv.token, now=True)
            tv.get_hist(SYMBOL, n_bars=1)
            secrets.append(tv.token)
        except Exception as error:  # noqa: BLE001 - its texts are what is tested
            said.extend(everything_said(error))

    attempt(username="alice", password=PASSWORD)
    attempt(username="bob", password=BOB.password, totp_secret=SECRET)
    attempt(username="bob", password=BOB.password)
    attempt(username="sue", password=SUE.password, totp_code="024680")
    attempt(username="alice", password="canary-wrong")
    attempt(auth_token=token)
    attempt(auth_token="canary-no-token")
    attempt(sessionid=cookies.sessionid, sessionid_sign=cookies.sessionid_sign)
    attempt(sessionid="canary-cookie")
    server.inject(HttpStatus(503, PASSWORD.encode()), HttpHtml(PASSWORD.encode()))
    attempt(username="alice", password=PASSWORD, token_cache=False)
    for tv in clients:
        said.extend([repr(tv), repr(tv.__dict__)])
        tv.close()
    secrets += [token, "canary-wrong", "canary-no-token", "canary-cookie", SUE.password]
    everything = "\n".join([*said, caplog.text, *(str(vars(r)) for r in caplog.records)])
    assert [s for s in secrets if s in everything] == []
    assert len(said) > 20
