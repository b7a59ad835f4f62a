"""Plain clients of a site with accounts that share only the framing with this library."""

import base64
import json
import re

import websocket

from tests.scale import PATIENCE_S
from tvDatafeed.protocol.framing import encode
from tvDatafeed.testing import Account, load_packets

NOW = 1_787_245_200.0
# What a form has to encode, and what is not ASCII.
PASSWORD = "p&q=+%20 ß\N{GRINNING FACE}"
# Of 160 bits, as RFC 6238 has it in its appendix.
LONG_SECRET = base64.b32encode(b"12345678901234567890").decode()

ALICE = Account("alice", PASSWORD, id=7)
BOB = Account("bob", "bob's", "totp", plan="pro_premium", id=8)
CAROL = Account("carol", "carol's", "sms")
DAVE = Account("dave", "dave's", "email")


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
        """Request a symbol and return the names of the messages that follow, without heartbeats."""
        self.say("chart_create_session", "cs_1", "")
        self.say("resolve_symbol", "cs_1", "sym_1", "NASDAQ:AAPL")
        return self.next()

    def next(self):
        while True:
            if names := [json.loads(p)["m"] for p in self.payloads() if not p.startswith("~h~")]:
                return names

    def hears_only_heartbeats(self):
        """Return whether only heartbeats come while the server has time to answer."""
        heard = [payload for _ in range(5) for payload in self.payloads()]
        return all(payload.startswith("~h~") for payload in heard)


def claims(token):
    parts = token.split(".")[:2]
    return [json.loads(base64.urlsafe_b64decode(part + "==")) for part in parts]
