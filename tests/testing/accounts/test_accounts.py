"""An account is found by name and keeps its secrets."""

import base64

import pyotp
import pytest

from tests.testing.accounts.client import LONG_SECRET, NOW
from tvDatafeed.testing import Account


class TestAccount:
    def test_codes_are_those_of_an_authenticator(self):
        """Codes are RFC 6238's, also of a short secret in groups and lower case."""
        long = Account("a", "b", totp_secret=LONG_SECRET)
        short = Account("a", "b", totp_secret="jbsw y3dp ehpk 3pxp")
        assert long.totp_at(NOW) == pyotp.TOTP(LONG_SECRET).at(int(NOW))
        # pyotp wants 112 bits; zero bytes change no HMAC.
        padded = base64.b32encode(base64.b32decode("JBSWY3DPEHPK3PXP") + bytes(10)).decode()
        assert short.totp_at(NOW) == pyotp.TOTP(padded).at(int(NOW))

    @pytest.mark.parametrize(
        "wrong", [{"plan": "gold"}, {"second_factor": "fax"}, {"totp_secret": "not base 32!"}]
    )
    def test_wrong_fields(self, wrong):
        """An invalid plan, factor or secret is refused by name, and the secret is not shown."""
        with pytest.raises(ValueError, match=next(iter(wrong))) as caught:
            Account("alice", "secret", **wrong)
        assert "not base 32!" not in str(caught.value)

    def test_repr_has_no_secrets(self, server, site):
        """Neither accounts nor servers, cookies, attempts or requests show what is secret."""
        account = Account("erin", "canary-password", "sms", "KRUGKIDROVUWG2ZA", "111222", "333444")
        server.add_account(account)
        site.sign_in("erin", "canary-password")
        site.code("111222", "sms")
        cookies = server.issue_cookies("erin")
        site.get(cookies=vars(cookies))
        shown = repr(
            (account, server, server.accounts, server.logins, cookies, server.http_requests)
        )
        for secret in (
            *("canary-password", "KRUGKIDROVUWG2ZA", "111222", "333444"),
            *vars(cookies).values(),
        ):
            assert secret not in shown

    def test_accounts_by_name(self, server):
        """Accounts are found by name, and one that is added later signs in."""
        server.add_account(Account("Erin", "erin's", id=9))
        assert list(server.accounts) == ["alice", "bob", "carol", "dave", "Erin"]
        assert server.accounts["Erin"].id == 9
