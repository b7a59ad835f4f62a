"""A sign-in is answered as the real site answers it."""

import json
import re
from email.utils import parsedate_to_datetime

import pytest

from tests.scale import PATIENCE_S
from tests.testing.accounts.client import ALICE, BOB, CAROL, DAVE, NOW, PASSWORD, claims
from tvDatafeed.testing import Account, FakeTradingView, HttpRedirect, Login


class TestSignIn:
    @pytest.mark.parametrize("is_multipart", [False, True], ids=["urlencoded", "multipart"])
    def test_success(self, server, site, is_multipart):
        """The right password gets the user with a token, and three cookies."""
        form = {"username": "Alice", "password": PASSWORD, "remember": "on"}
        fields = {name: (None, value) for name, value in form.items()}
        body = {"files": fields} if is_multipart else {"data": form}
        reply = site.post("/accounts/signin/", **body)
        assert reply.status_code == 200
        user = reply.json()["user"]
        assert (reply.json()["error"], user["id"], user["username"]) == ("", 7, "alice")
        assert (user["is_pro"], user["pro_plan"]) == (False, "")
        assert claims(user["auth_token"])[1]["user_id"] == 7
        assert {*reply.cookies.keys()} == {"sessionid", "sessionid_sign", "device_t"}
        assert server.logins == [Login("Alice", "success")]
        assert server.http_requests[-1].form == form

    def test_success_without_error(self, server, site):
        """The empty error may be absent."""
        server.empty_error = False
        assert site.sign_in().json().keys() == {"user"}

    def test_success_as_html(self, server, site):
        """A success may be cookies and a page, and then the token stands in the next page."""
        server.success_as_html = True
        reply = site.sign_in()
        assert reply.headers["Content-Type"].startswith("text/html")
        assert "auth_token" not in reply.text
        assert site.token()

    def test_wrong_password(self, server, site):
        """A wrong password and an unknown name get the same words, without cookies."""
        replies = [site.sign_in(password="wrong"), site.sign_in("nobody")]
        assert {r.json()["code"] for r in replies} == {"invalid_credentials"}
        assert {r.status_code for r in replies} == {200}
        assert not site.browser.cookies
        assert [x.outcome for x in server.logins] == ["wrong_password"] * 2

    @pytest.mark.parametrize("status", [400, 401, 403])
    def test_status_of_refusals(self, server, site, status):
        """A refusal may have another status."""
        server.refusal_status = status
        reply = site.sign_in(password="wrong")
        assert (reply.status_code, reply.json()["code"]) == (status, "invalid_credentials")

    def test_captcha(self, server, site):
        """A captcha is demanded whatever the password."""
        server.add_account(Account("erin", "erin's", captcha=True))
        for password in ("erin's", "wrong"):
            assert site.sign_in("erin", password).json()["code"] == "recaptcha_required"
        assert server.logins == [Login("erin", "captcha")] * 2

    def test_rate_limit(self, server, site):
        """A rate limit is 429 with a Retry-After, or 200 without one."""
        server.add_account(Account("erin", "erin's", rate_limited=True))
        limited = site.sign_in("erin", "erin's")
        assert (limited.status_code, limited.headers["Retry-After"]) == (429, "300")
        server.rate_limit_status = 200
        polite = site.sign_in("erin", "erin's")
        assert (polite.status_code, "Retry-After" in polite.headers) == (200, False)
        assert {limited.json()["code"], polite.json()["code"]} == {"rate_limit"}

    def test_lock_out(self, server, site):
        """After five wrong passwords in a row the right one is refused too; four do no harm."""
        for _ in range(4):
            site.sign_in(password="wrong")
        assert "user" in site.sign_in().json()
        for _ in range(5):
            assert site.sign_in(password="wrong").json()["code"] == "invalid_credentials"
        locked = site.sign_in().json()
        assert locked == {"error": "You have been locked out. Please try again later."}
        assert server.logins[-1].outcome == "locked_out"
        server.add_account(ALICE)
        assert "user" in site.sign_in().json()

    def test_account_that_is_locked_out(self, server, site):
        """An account may be locked out from the start."""
        server.add_account(Account("erin", "erin's", locked_out=True))
        assert "locked out" in site.sign_in("erin", "erin's").json()["error"]

    @pytest.mark.parametrize(
        ("method", "path"), [("POST", "/accounts/signin"), ("GET", "/accounts/signin/")]
    )
    def test_other_requests(self, server, site, method, path):
        """A sign-in needs the trailing slash and a POST."""
        reply = site.browser.request(method, site.url + path, timeout=PATIENCE_S)
        assert (reply.status_code, server.logins) == (404, [])

    def test_body_of_another_kind(self, server, site):
        """A body that is not a form is refused."""
        site.post("/accounts/signin/", json={"username": "alice", "password": PASSWORD})
        assert server.logins == [Login("", "wrong_password")]

    def test_date(self, server, site):
        """Each reply has the date of the server's clock."""
        for path in ("/", "/nowhere"):
            date = parsedate_to_datetime(site.get(path).headers["Date"])
            assert date.timestamp() == NOW


class TestSecondFactor:
    @pytest.mark.parametrize(
        ("account", "code"),
        [(BOB, BOB.totp_at(NOW)), (CAROL, CAROL.sms_code), (DAVE, DAVE.email_code)],
        ids=["totp", "sms", "email"],
    )
    def test_success(self, server, site, account, code):
        """The factor is named; the cookies are anonymous until the code, and then they change."""
        factor = account.second_factor
        asked = site.sign_in(account.username, account.password)
        assert asked.status_code == 200
        assert asked.json() == {
            "error": "2FA_required",
            "code": "2FA_required",
            "message": "Second authentication factor is needed",
            "two_factor_types": [{"name": factor}],
        }
        interim = dict(site.browser.cookies)
        assert site.token() is None
        reply = site.code(code, factor)
        assert reply.json()["user"]["username"] == account.username
        assert site.token()
        for name in ("sessionid", "sessionid_sign"):
            assert site.browser.cookies[name] != interim[name]
        steps = [(x.step, x.outcome) for x in server.logins]
        assert steps == [("password", "second_factor"), (factor, "success")]

    def test_multipart(self, site):
        """The code may come as multipart."""
        site.sign_in("carol", "carol's")
        fields = {"code": (None, CAROL.sms_code)}
        assert "user" in site.post("/accounts/two-factor/signin/sms/", files=fields).json()

    def test_wrong_code(self, server, site):
        """A wrong code, one without its leading zero and one of another way are refused."""
        site.sign_in("carol", "carol's")
        for code, factor in [("1", "sms"), (CAROL.sms_code[1:], "sms"), (CAROL.sms_code, "email")]:
            reply = site.code(code, factor)
            assert (reply.status_code, reply.json()["code"]) == (400, "2FA_invalid_credential")
        assert "user" in site.code(CAROL.sms_code, "sms").json()
        assert [x.outcome for x in server.logins][1:] == ["wrong_code"] * 3 + ["success"]

    def test_too_many_codes(self, server, site):
        """After too many wrong codes comes 429 with a Retry-After, also for the right one."""
        server.max_wrong_codes = 1
        site.sign_in("carol", "carol's")
        site.code("1", "sms")
        reply = site.code(CAROL.sms_code, "sms")
        assert (reply.status_code, reply.json()["code"]) == (429, "2FA_too_many_requests")
        assert reply.headers["Retry-After"] == "300"

    @pytest.mark.parametrize("lost", ["sessionid", "sessionid_sign"])
    def test_cookies_are_needed(self, server, site, lost):
        """A code without both cookies of the first step is refused."""
        site.sign_in("carol", "carol's")
        site.browser.cookies.set(lost, None)
        reply = site.code(CAROL.sms_code, "sms")
        assert (reply.status_code, reply.json()["code"]) == (403, "2FA_invalid_credential")
        assert server.logins[-1] == Login("", "no_cookies", "sms")

    @pytest.mark.parametrize(
        ("window", "off_s", "is_taken"),
        [(1, 0, True), (1, -30, True), (1, 30, True), (1, 60, False), (0, 0, True), (0, 30, False)],
    )
    def test_window(self, server, site, window, off_s, is_taken):
        """A code is judged by the server's clock, and may be off by a step where allowed."""
        server.totp_window = window
        site.sign_in("bob", "bob's")
        assert site.code(BOB.totp_at(NOW + off_s)).ok is is_taken


class TestPage:
    @pytest.mark.parametrize("path", ["/", "/chart/"])
    def test_user(self, server, site, path):
        """The page of one who is signed in names the user, with a fresh token each time."""
        cookies = vars(server.issue_cookies("bob"))
        pages = [site.get(path, cookies=cookies).text for _ in range(2)]
        users = [json.loads(re.search(r"var user = (\{.*?\});", page)[1]) for page in pages]
        assert (users[0]["id"], users[0]["username"]) == (8, "bob")
        assert (users[0]["is_pro"], users[0]["pro_plan"]) == (True, "pro_premium")
        assert users[0].keys() >= {"session_hash", "private_channel", "date_joined", "first_name"}
        assert users[0]["auth_token"] != users[1]["auth_token"]
        assert '"id":8,' in pages[0]
        assert server.tokens_issued == 2

    def test_anonymous(self, server, site):
        """No cookies, wrong ones and those that have ended get a page without a token."""
        cookies = vars(server.issue_cookies("alice"))
        wrong = [{}, cookies | {"sessionid_sign": "x"}, cookies | {"sessionid": "x"}]
        server.expire_cookies()
        for sent in [*wrong, cookies]:
            page = site.get(cookies=sent)
            assert (page.status_code, "auth_token" in page.text) == (200, False)
        assert server.tokens_issued == 0

    def test_sessionid_alone(self, server, site):
        """The signature is needed, unless the server is set otherwise."""
        cookies = {"sessionid": server.issue_cookies("alice").sessionid}
        assert "auth_token" not in site.get(cookies=cookies).text
        server.sign_needed = False
        assert "auth_token" in site.get(cookies=cookies).text

    def test_cookies_rotate(self, server, site):
        """Pages may replace the cookies, and the earlier ones are anonymous."""
        server.rotate_cookies = True
        first = vars(server.issue_cookies("alice"))
        site.browser.cookies.update(site.get(cookies=first).cookies)
        assert site.token()
        assert site.token()
        site.browser.cookies.clear()
        assert "auth_token" not in site.get(cookies=first).text

    def test_cookies_stay_on_their_site(self, server, site):
        """A test can see which site received which cookies."""
        with FakeTradingView(host="localhost") as foreign:
            server.inject(HttpRedirect(foreign.base_url + "/", path="/"))
            site.sign_in()
            site.browser.get(server.base_url, timeout=PATIENCE_S)
            assert "sessionid" in server.http_requests[-1].cookies
            assert [request.cookies for request in foreign.http_requests] == [{}]
