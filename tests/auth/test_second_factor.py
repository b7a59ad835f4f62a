"""A second factor is answered by the code of a person or by one that a secret generates."""

import base64

import pytest

from tests.auth.accounts import (
    ANN,
    MAIL,
    SECRET,
    TEXT,
    TWO,
    Clock,
    authenticator,
    outcomes,
    refusal,
)
from tvDatafeed.auth.signin import SIGN_IN_PATH
from tvDatafeed.auth.totp import totp_at
from tvDatafeed.exceptions import ConfigurationError, RateLimitError, TwoFactorRequiredError
from tvDatafeed.testing import Account


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


def test_too_many_codes_are_a_rate_limit(server):
    """A 429 at the second factor is one too."""
    server.max_wrong_codes = 0
    refusal(authenticator(server, TWO, two_factor_code="000000"), RateLimitError)
