"""Refusals of a sign-in have the texts that users reported, for clients that show only these."""

import pytest

from tvDatafeed.testing import Account

CAPTCHA = {
    "error": "Please confirm that you are not a robot by clicking the captcha box.",
    "code": "recaptcha_required",
}
RATE_LIMIT = {
    "error": "We're having a little trouble with that request. Try again a little later.",
    "code": "rate_limit",
}
LOCK_OUT = {"error": "You have been locked out. Please try again later."}


@pytest.mark.parametrize(
    ("rule", "content"),
    [("captcha", CAPTCHA), ("rate_limited", RATE_LIMIT), ("locked_out", LOCK_OUT)],
)
def test_sign_in(server, site, rule, content):
    """Text and code are those of the reports, whatever the password."""
    server.add_account(Account("erin", "erin's", **{rule: True}))
    for password in ("erin's", "wrong"):
        assert site.sign_in("erin", password).json() == content


@pytest.mark.parametrize("status", [200, 429])
def test_rate_limit_of_either_status(server, site, status):
    """The text is the same in a 200, which is the form that has no Retry-After."""
    server.add_account(Account("erin", "erin's", rate_limited=True))
    server.rate_limit_status = status
    reply = site.sign_in("erin", "erin's")
    assert (reply.status_code, reply.json()) == (status, RATE_LIMIT)


def test_second_factor_after_a_lock_out(server, site):
    """Wrong passwords lock an account in the reported words, one with a second factor too."""
    for _ in range(server.max_wrong_passwords):
        site.sign_in("bob", "wrong")
    assert site.sign_in("bob", "bob's").json() == LOCK_OUT
