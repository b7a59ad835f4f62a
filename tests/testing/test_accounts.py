"""The loopback TradingView lets accounts in as the real one does, to a client that is not ours."""

import base64
import gzip
import json
import re
from email.utils import parsedate_to_datetime

import pyotp
import pytest
import requests
import websocket

from tests.scale import PATIENCE_S
from tvDatafeed.protocol.framing import encode
from tvDatafeed.testing import (
    Account,
    FakeTradingView,
    HttpDrip,
    HttpHtml,
    HttpHugeBody,
    HttpRedirect,
    HttpReset,
    HttpStall,
    HttpStatus,
    HttpTruncatedGzip,
    Login,
    load_packets,
)

NOW = 1_787_245_200.0
# What a form has to encode, and what is not ASCII.
PASSWORD = "p&q=+%20 ß\N{GRINNING FACE}"
# Of 160 bits, as RFC 6238 has it in its appendix.
LONG_SECRET = base64.b32encode(b"12345678901234567890").decode()

ALICE = Account("alice", PASSWORD, id=7)
BOB = Account("bob", "bob's", "totp", plan="pro_premium", id=8)
CAROL = Account("carol", "carol's", "sms")
DAVE = Account("dave", "dave's", "email")


@pytest.fixture
def server():
    accounts = (ALICE, BOB, CAROL, DAVE)
    with FakeTradingView(accounts=accounts, heartbeat_interval_s=0.02) as running:
        running.auth_clock = lambda: NOW
        yield running


@pytest.fixture
def browser():
    """A client that keeps cookies and follows nothing."""
    with requests.Session() as session:
        session.trust_env = False
        yield session


@pytest.fixture
def site(server, browser):
    return Site(server, browser)


class Site:
    """What a browser does on the site."""

    def __init__(self, server, browser):
        self.url, self.browser = server.base_url, browser

    def get(self, path="/", **options):
        return self.browser.get(
            self.url + path, timeout=PATIENCE_S, allow_redirects=False, **options
        )

    def post(self, path, **options):
        return self.browser.post(
            self.url + path, timeout=PATIENCE_S, allow_redirects=False, **options
        )

    def sign_in(self, username="alice", password=PASSWORD):
        form = {"username": username, "password": password, "remember": "on"}
        return self.post("/accounts/signin/", data=form)

    def code(self, code, factor="totp"):
        return self.post(f"/accounts/two-factor/signin/{factor}/", data={"code": code})

    def token(self):
        """The token in the page, as clients look for it."""
        found = re.search('"auth_token":"(.*?)"', self.get().text)
        return found and found[1]


@pytest.fixture
def connect(server):
    """Open WebSockets that have said a token."""
    opened = []

    def connected(token):
        client = Socket(server, token)
        opened.append(client)
        return client

    yield connected
    for client in opened:
        client.socket.shutdown()


class Socket:
    def __init__(self, server, token):
        self.socket = websocket.create_connection(
            server.ws_url, origin="https://www.tradingview.com", timeout=PATIENCE_S
        )
        self.payloads()
        self.say("set_auth_token", token)

    def say(self, method, *params):
        self.socket.send(encode(json.dumps({"m": method, "p": params})))

    def payloads(self):
        return load_packets(self.socket.recv())

    def reply(self):
        """Ask for a symbol and give what comes but heartbeats."""
        self.say("chart_create_session", "cs_1", "")
        self.say("resolve_symbol", "cs_1", "sym_1", "NASDAQ:AAPL")
        return self.next()

    def next(self):
        while True:
            if names := [json.loads(p)["m"] for p in self.payloads() if not p.startswith("~h~")]:
                return names

    def hears_only_heartbeats(self):
        """Whether nothing else comes while the server has time to answer."""
        heard = [payload for _ in range(5) for payload in self.payloads()]
        return all(payload.startswith("~h~") for payload in heard)


def claims(token):
    parts = token.split(".")[:2]
    return [json.loads(base64.urlsafe_b64decode(part + "==")) for part in parts]


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
        """A plan, a factor or a secret that is none is refused by name, the secret not shown."""
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
        """A wrong password and an unknown name are told in the same words, without cookies."""
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
        """Without the trailing slash, or without a POST, nobody signs in."""
        reply = site.browser.request(method, site.url + path, timeout=PATIENCE_S)
        assert (reply.status_code, server.logins) == (404, [])

    def test_body_of_another_kind(self, server, site):
        """A body that is no form has no name in it."""
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
        """The factor is named, cookies are nobody's until the code, and then they are others."""
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
        """A code without both cookies of the first step is nobody's."""
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
        """The signature is needed, unless the server is told otherwise."""
        cookies = {"sessionid": server.issue_cookies("alice").sessionid}
        assert "auth_token" not in site.get(cookies=cookies).text
        server.sign_needed = False
        assert "auth_token" in site.get(cookies=cookies).text

    def test_cookies_rotate(self, server, site):
        """Pages may replace the cookies, and those before are nobody's."""
        server.rotate_cookies = True
        first = vars(server.issue_cookies("alice"))
        site.browser.cookies.update(site.get(cookies=first).cookies)
        assert site.token()
        assert site.token()
        site.browser.cookies.clear()
        assert "auth_token" not in site.get(cookies=first).text

    def test_cookies_stay_on_their_site(self, server, site):
        """A test can tell which site received which cookies."""
        with FakeTradingView(host="localhost") as foreign:
            server.inject(HttpRedirect(foreign.base_url + "/", path="/"))
            site.sign_in()
            site.browser.get(server.base_url, timeout=PATIENCE_S)
            assert "sessionid" in server.http_requests[-1].cookies
            assert [request.cookies for request in foreign.http_requests] == [{}]


class TestTokens:
    def test_shape(self, server):
        """A token is a JWT with the documented header and claims, and lives four hours."""
        server.auth_clock = lambda: NOW + 0.5
        header, payload = claims(server.issue_token("bob"))
        assert header == {"alg": "RS512", "kid": "GZxU", "typ": "JWT"}
        assert (payload["user_id"], payload["plan"]) == (8, "pro_premium")
        assert (payload["iat"], payload["exp"]) == (NOW, NOW + 14_400)
        assert len(payload) == 19
        assert claims(server.issue_token(ALICE))[1]["max_connections"] == 2

    def test_lifetime(self, server, connect):
        """A token is good until its exp by the server's clock."""
        server.token_lifetime_s = 60
        token = server.issue_token("alice")
        assert connect(token).reply() == ["symbol_resolved"]
        server.auth_clock = lambda: NOW + 61
        assert connect(token).next() == ["protocol_error"]

    def test_tokens_of_others(self, server, connect):
        """Where there are accounts, a token of another server is bad; no account is fine."""
        with FakeTradingView() as other:
            foreign = other.issue_token(ALICE)
        server.expired_token_is = "silent"
        assert connect(foreign).next() == ["protocol_error"]
        assert connect("unauthorized_user_token").reply() == ["symbol_resolved"]

    def test_paid_plan(self, server, connect):
        """The plan in the token opens what is paid for."""
        for name, last in [("alice", "series_error"), ("bob", "series_completed")]:
            client = connect(server.issue_token(name))
            client.say("chart_create_session", "cs_1", "")
            client.say("resolve_symbol", "cs_1", "sym_1", "NASDAQ:AAPL")
            client.say("create_series", "cs_1", "sds_1", "s1", "sym_1", "7", 5, "")
            names = []
            while not {"series_error", "series_completed"}.intersection(names):
                names += client.next()
            assert last in names

    def test_expired(self, server, connect):
        """Tokens that are told to expire are refused from then on; live connections go on."""
        token = server.issue_token("alice")
        live = connect(token)
        assert live.reply() == ["symbol_resolved"]
        server.expire_tokens()
        assert connect(token).next() == ["protocol_error"]
        assert live.reply() == ["symbol_resolved"]
        assert connect(server.issue_token("alice")).reply() == ["symbol_resolved"]

    def test_revoked(self, server, connect):
        """One token can be revoked, and no other."""
        tokens = [server.issue_token("alice") for _ in range(2)]
        server.revoke(tokens[0])
        assert connect(tokens[0]).next() == ["protocol_error"]
        assert connect(tokens[1]).reply() == ["symbol_resolved"]

    def test_revoked_where_there_are_no_accounts(self):
        """A token of nobody's can be revoked too."""
        token = "e30.e30.c2ln"
        with FakeTradingView() as server:
            client = Socket(server, token)
            assert client.reply() == ["symbol_resolved"]
            server.revoke(token, now=True)
            assert client.next() == ["protocol_error"]
            assert server.tokens_issued == 0
            client.socket.shutdown()

    def test_silence(self, server, connect):
        """An expired token may get heartbeats only, until a good token comes."""
        server.expired_token_is = "silent"
        token = server.issue_token("alice")
        server.expire_tokens()
        client = connect(token)
        client.say("chart_create_session", "cs_1", "")
        client.say("resolve_symbol", "cs_1", "sym_1", "NASDAQ:AAPL")
        assert client.hears_only_heartbeats()
        client.say("set_auth_token", server.issue_token("alice"))
        assert client.reply() == ["symbol_resolved"]

    def test_dropped_mid_connection(self, server, connect):
        """Connections whose token expires are ended at once, others are not."""
        client, anonymous = connect(server.issue_token("alice")), connect("unauthorized_user_token")
        assert client.reply() == anonymous.reply()
        server.expire_tokens(now=True)
        assert client.next() == ["protocol_error"]
        assert client.socket.recv() == ""
        assert anonymous.reply() == ["symbol_resolved"]

    def test_silenced_mid_connection(self, server, connect):
        """Connections whose token expires may fall silent, ticks included."""
        server.expired_token_is = "silent"
        client = connect(server.issue_token("alice"))
        client.say("chart_create_session", "cs_1", "")
        client.say("resolve_symbol", "cs_1", "sym_1", "NASDAQ:AAPL")
        client.say("create_series", "cs_1", "sds_1", "s1", "sym_1", "1D", 5, "")
        while "series_completed" not in client.next():
            pass
        server.expire_tokens(now=True)
        server.tick()
        client.say("create_series", "cs_1", "sds_2", "s2", "sym_1", "1D", 5, "")
        assert client.hears_only_heartbeats()

    def test_waiting_for_a_token(self, server, site):
        """A test can wait for attempts and tokens like for anything else."""
        site.sign_in()
        assert server.wait_until(lambda s: s.tokens_issued == 1 and len(s.logins) == 1)


class TestFaults:
    def test_status(self, server, site):
        """The status, the page and Retry-After are as ordered, once, with the server's date."""
        server.inject(HttpStatus(429, b"slow down", retry_after=7, times=1))
        assert site.get().status_code == 200
        reply = site.sign_in()
        assert (reply.status_code, reply.text) == (429, "slow down")
        assert reply.headers["Retry-After"] == "7"
        assert parsedate_to_datetime(reply.headers["Date"]).timestamp() == NOW
        assert "user" in site.sign_in().json()
        assert len(server.logins) == 2

    def test_path(self, server, site):
        """A fault strikes its path, or all of them."""
        server.inject(HttpStatus(500, path="/", times=1), HttpStatus(503, path="*", times=1))
        assert [site.get(path).status_code for path in ("/chart/", "/", "/")] == [503, 500, 200]

    def test_html(self, server, site):
        """HTML comes with a 200 and without cookies."""
        server.inject(HttpHtml())
        reply = site.sign_in()
        assert (reply.status_code, reply.text[:9]) == (200, "<!DOCTYPE")
        assert not reply.cookies

    @pytest.mark.parametrize("how", ["announced", "endless"])
    def test_huge_body(self, server, site, how):
        """A huge body comes, with a length or without."""
        server.inject(HttpHugeBody(1 << 30, how))
        reply = site.post("/accounts/signin/", stream=True)
        assert reply.headers.get("Content-Length") == {"announced": str(1 << 30)}.get(how)
        assert len(reply.raw.read(1_000_000)) == 1_000_000
        reply.close()

    def test_huge_body_in_a_small_one(self, server, site):
        """A compressed body is small on the wire and big when read."""
        server.inject(HttpHugeBody(1 << 20, "gzip"))
        reply = site.sign_in()
        assert len(reply.content) == 1 << 20
        assert int(reply.headers["Content-Length"]) < 10_000

    def test_truncated_gzip(self, server, site):
        """Half of the compressed body comes with a length that is right."""
        server.inject(HttpTruncatedGzip())
        reply = site.post("/accounts/signin/", stream=True)
        assert reply.headers["Content-Encoding"] == "gzip"
        body = reply.raw.read(decode_content=False)
        assert len(body) == int(reply.headers["Content-Length"])
        with pytest.raises(EOFError):
            gzip.decompress(body)

    def test_drip(self, server, site):
        """The reply comes at a pace and is whole in the end."""
        server.inject(HttpDrip(20_000.0))
        assert "user" in site.sign_in().json()

    @pytest.mark.parametrize("after_bytes", [0, 30])
    def test_stall(self, server, site, after_bytes):
        """Nothing comes, or the beginning, and the client's own limit ends it."""
        server.inject(HttpStall(after_bytes))
        with pytest.raises(requests.ReadTimeout):
            site.browser.get(site.url + "/accounts/signin/", timeout=0.1)

    def test_redirect_loop(self, server, site):
        """A redirect to nowhere else leads to the same place."""
        server.inject(HttpRedirect(path="/"))
        reply = site.get("/?x=1")
        assert (reply.status_code, reply.headers["Location"]) == (302, "/?x=1")

    def test_reset(self, server, site):
        """The connection is reset when the request has come."""
        server.inject(HttpReset())
        with pytest.raises(requests.ConnectionError):
            site.sign_in()
        assert len(server.logins) == 1


class TestRequests:
    @pytest.mark.parametrize("length", ["-1", "many"])
    def test_bad_length(self, server, browser, length):
        """A length that is none gets 400."""
        reply = browser.get(server.base_url, headers={"Content-Length": length}, timeout=PATIENCE_S)
        assert reply.status_code == 400

    def test_body_without_bound(self, server, site):
        """A request of more than 64 kB is not read to its end."""
        with pytest.raises(requests.ConnectionError):
            site.post("/accounts/signin/", data={"username": "x" * 1_000_000})
        assert server.logins == []
