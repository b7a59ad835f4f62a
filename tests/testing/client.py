"""A plain client of the loopback TradingView that shares only the packet header with it."""

import base64
import json
import urllib.error
import urllib.request

import websocket

from tests.scale import PATIENCE_S
from tvDatafeed.protocol.framing import encode
from tvDatafeed.testing import load_packets

ORIGIN = "https://www.tradingview.com"
# A Thursday in summer, 13:00 in New York: every market of the Americas is open.
NOW = 1_787_245_200.0


class Clock:
    def __init__(self, now=NOW):
        self.now = now

    def __call__(self):
        return self.now


class Client:
    """A plain WebSocket client with nothing of this library in it but the packet header."""

    def __init__(self, server, **options):
        options = {"origin": ORIGIN, "timeout": 5, **options}
        self.socket = websocket.create_connection(server.ws_url, **options)

    def send(self, *messages):
        self.socket.send("".join(encode(message) for message in messages))

    def say(self, method, *params):
        self.send(command(method, *params))

    def text(self):
        """Return the next message that is not a heartbeat."""
        while True:
            text = self.socket.recv()
            if not text.startswith("~m~4~m~~h~"):
                return text

    def payloads(self):
        return load_packets(self.text())

    def messages(self):
        return [json.loads(payload) for payload in self.payloads()]

    def greet(self, session="cs_plain"):
        hello = self.messages()
        self.say("set_auth_token", "unauthorized_user_token")
        self.say("chart_create_session", session, "")
        return hello

    def resolve(self, symbol="NASDAQ:AAPL", session="cs_plain"):
        self.say("resolve_symbol", session, "sym_1", f'={{"symbol":"{symbol}"}}')

    def history(self, symbol="NASDAQ:AAPL", interval="1D", count=5, session="cs_plain", **more):
        self.resolve(symbol, session)
        wanted = more.get("range", "")
        self.say("create_series", session, "sds_1", "s1", "sym_1", interval, count, wanted)
        return self.messages()


def command(method, *params):
    return json.dumps({"m": method, "p": params}, separators=(",", ":"))


def names(messages):
    return [message["m"] for message in messages]


def named(messages, name):
    (found,) = (message for message in messages if message["m"] == name)
    return found


def received(client):
    """Return the messages of a client up to the answer to an unknown symbol."""
    client.send(command("chart_create_session", "cs_1"))
    client.say("resolve_symbol", "cs_1", "sym_1", "NO:SUCH")
    messages = []
    while not messages or messages[-1]["m"] != "symbol_error":
        messages += client.messages()
    return messages[:-1]


def token(**claims):
    parts = [{"alg": "RS512"}, claims, "signature"]
    return ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts
    )


def get(url, **headers):
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - loopback only
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:  # noqa: S310
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
