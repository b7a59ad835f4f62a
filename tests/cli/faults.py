"""Faults of each layer, for `tvdatafeed doctor`: how each is made, and what must be said of it."""

import dataclasses
import datetime as dt
import importlib.metadata
import socket
import ssl
import sys
import threading
import time
import zoneinfo
from collections.abc import Callable
from typing import Any

import pytest
import trustme

from tests.network.test_proxies import serve_proxy
from tests.programs import urls
from tests.scale import PATIENCE_S
from tvDatafeed.testing import (
    Account,
    BlackHole,
    ConnectSilence,
    CriticalErrorReply,
    EmptyHistory,
    FakeTradingView,
    Fault,
    HalfOpen,
    HeartbeatsOnly,
    HttpHtml,
    HttpRedirect,
    HttpReset,
    HttpStall,
    HttpStatus,
    InvalidUtf8,
    NeverRead,
    NoCompletion,
    Redirect,
    Refusal,
    Refuse,
    TlsGarbage,
    TlsStall,
    TruncatedJson,
    UpgradeGarbage,
    UpgradeStatus,
)
from tvDatafeed.testing.routes import SEARCH_PATH
from tvDatafeed.testing.wire.actions import Freeze
from tvDatafeed.testing.wire.websocket import BINARY, frame

SYMBOL = "BINANCE:BTCUSDT"
PASSWORD = "open sesame & more"
ALICE = Account("alice", PASSWORD, plan="pro_premium")
SEARCH = {"path": SEARCH_PATH}
DAY = dt.timedelta(days=1)
AN_HOUR_S = 3600


@dataclasses.dataclass(frozen=True)
class FirstWords(Fault):
    """Something else than the hello comes first."""

    words: tuple = ()

    def on_open(self, hello, /):
        return [hello if word == "hello" else word for word in self.words]


@dataclasses.dataclass(frozen=True)
class QuietQuotes(Fault):
    """Quotes are not answered."""

    def on_reply(self, command, _payloads, /):
        return [] if command.method.startswith("quote") else None


class Scene:
    """The machine and the server of one run, as a fault may change them."""

    def __init__(self, stack, patch, folder):
        self.stack, self.patch, self.folder = stack, patch, folder

    def limit(self, seconds):
        """Limit each check."""
        settings = {
            "TV_CONNECT_TIMEOUT": seconds,
            "TV_PING_TIMEOUT": seconds,
            "TV_MAX_RESPONSE_TIME": seconds,
        }
        for name, value in settings.items():
            self.patch.setenv(name, str(value))

    def serve(self, *faults, **options):
        """Start the loopback TradingView that the environment names."""
        server = self.stack.enter_context(FakeTradingView(faults=faults, **options))
        for name, url in urls(server).items():
            self.patch.setenv(name, url)
        return server

    def serve_tls(self, *faults, name="127.0.0.1", expires=DAY, is_trusted=True):
        """Start one behind TLS, whose authority is the tests' own."""
        authority = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        until = dt.datetime.now(dt.timezone.utc) + expires
        authority.issue_cert(name, not_after=until).configure_cert(context)
        if is_trusted:
            file = self.folder / "ca.pem"
            authority.cert_pem.write_to_path(str(file))
            self.patch.setenv("TV_CA_FILE", str(file))
        return self.serve(*faults, tls=context)

    def connect_to(self, url):
        """Name another WebSocket."""
        self.patch.setenv("TV_WS_URL", url)
        self.patch.setenv("TV_ALLOW_INSECURE", "true")

    def proxy(self, *replies):
        """Use a proxy that answers so; without an answer nothing listens there."""
        listener = self.stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = listener.getsockname()[1]
        self.connect_to("ws://tradingview.invalid/socket.io/websocket")
        self.patch.setenv("TV_PROXY", f"http://ann:hunter2@127.0.0.1:{port}")
        if not replies:
            listener.close()
            return
        thread = threading.Thread(target=serve_proxy, args=(listener, replies, []))
        thread.start()
        self.stack.callback(thread.join, PATIENCE_S)


def no_name(scene):
    scene.serve()
    look_up = socket.getaddrinfo

    def fail(host, *arguments, **options):
        if host == "tradingview.invalid":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return look_up(host, *arguments, **options)

    scene.patch.setattr(socket, "getaddrinfo", fail)
    scene.connect_to("ws://tradingview.invalid/socket.io/websocket")


def label_too_long(scene):
    scene.serve()
    scene.connect_to(f"ws://{'a' * 64}.invalid/")


def refused_port(scene):
    scene.serve().stop()


def black_hole(scene):
    scene.serve()
    scene.connect_to(scene.stack.enter_context(BlackHole()).ws_url)


def proxied(*replies):
    def make(scene):
        scene.serve()
        scene.proxy(*replies)

    return make


def served(*faults, **options):
    return lambda scene: scene.serve(*faults, **options)


def served_tls(*faults, **options):
    return lambda scene: scene.serve_tls(*faults, **options)


def other_origin(scene):
    scene.serve(origins=())


def redirect_to_nothing(scene):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    scene.serve(Redirect(f"127.0.0.1:{port}"))


def clock_behind(scene):
    scene.serve(clock=lambda: time.time() + 90)


def clock_ahead(scene):
    scene.serve(clock=lambda: time.time() - AN_HOUR_S)


def clock_of_http(scene):
    server = scene.serve(FirstWords(('{"session_id":"x"}',)))
    server.auth_clock = lambda: time.time() + 90


def token_refused(scene):
    scene.serve(bad_tokens=["a.token"])
    scene.patch.setenv("TV_AUTH_TOKEN", "a.token")


def token_ended(scene):
    server = scene.serve(accounts=[ALICE])
    server.token_lifetime_s = -60.0
    scene.patch.setenv("TV_AUTH_TOKEN", server.issue_token(ALICE))


def token_revoked(scene):
    server = scene.serve(accounts=[ALICE])
    server.expired_token_is = "silent"
    token = server.issue_token(ALICE)
    server.revoke(token)
    scene.patch.setenv("TV_AUTH_TOKEN", token)


def wrong_password(scene):
    scene.serve(accounts=[ALICE])
    scene.patch.setenv("TV_USERNAME", "alice")
    scene.patch.setenv("TV_PASSWORD", "hunter2")


def cookies_ended(scene):
    server = scene.serve(accounts=[ALICE])
    cookies = server.issue_cookies(ALICE)
    server.expire_cookies()
    scene.patch.setenv("TV_SESSIONID", cookies.sessionid)
    scene.patch.setenv("TV_SESSIONID_SIGN", cookies.sessionid_sign)


def refused_symbol(message, reason):
    return lambda scene: scene.serve().refuse(SYMBOL, Refusal(message, reason))


def cache_in_a_file(scene):
    scene.serve()
    (scene.folder / "file").write_text("no folder", encoding="utf-8")
    scene.patch.setenv("TV_TOKEN_CACHE", str(scene.folder / "file" / "tokens.json"))


def cache_for_all(scene):
    scene.serve()
    cache = scene.folder / "tokens.json"
    cache.write_text("{}", encoding="utf-8")
    cache.chmod(0o644)
    scene.patch.setenv("TV_TOKEN_CACHE", str(cache))


def no_zone_files(scene):
    scene.serve()

    zone = zoneinfo.ZoneInfo

    def missing(name):
        if name == "Etc/UTC":  # that of the symbol, for the server
            return zone(name)
        raise zoneinfo.ZoneInfoNotFoundError(f"No time zone found with key {name}")

    scene.patch.setattr(zoneinfo, "ZoneInfo", missing)


def no_package(scene):
    scene.serve()
    version = importlib.metadata.version

    def installed(name):
        if name == "certifi":
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    scene.patch.setattr(importlib.metadata, "version", installed)


@dataclasses.dataclass(frozen=True)
class Case:
    """A fault, the first check that must fail, and words of its message and of its advice."""

    name: str
    make: Callable[[Scene], Any]
    check: str
    words: str
    advice: str
    platform: str | None = None

    @property
    def is_silence(self):
        """Whether a limit must pass before the fault can be seen."""
        return "time" in self.words


def upgrade(status, **more):
    return served(UpgradeStatus(status, **more))


CASES = [
    Case("a package is missing", no_package, "versions", "certifi is not installed", "pip install"),
    Case("no zone files", no_zone_files, "zone files", "no zone files", "pip install tzdata"),
    Case("cache in no folder", cache_in_a_file, "cache folder", "tokens.json", "TV_TOKEN_CACHE"),
    Case(
        "cache that others read",
        cache_for_all,
        "cache folder",
        "others may read",
        "0600",
        "posix",
    ),
    Case("name does not resolve", no_name, "name lookup", "tradingview.invalid", "TV_PROXY"),
    Case("name is none", label_too_long, "name lookup", "is not a host name", "TV_PROXY"),
    Case("port refuses", refused_port, "TCP", "refused", "firewall"),
    Case("TCP is not answered", black_hole, "TCP", "timed out", "firewall", "linux"),
    Case("no proxy listens", proxied(), "proxy", "refused", "TV_PROXY"),
    Case("proxy refuses", proxied(b"HTTP/1.1 503 no\r\n\r\n"), "proxy", "status 503", "TV_PROXY"),
    Case(
        "proxy wants a password",
        proxied(b"HTTP/1.1 407 who\r\n\r\n"),
        "proxy",
        "status 407",
        "set user and password",
    ),
    Case("proxy is no HTTP", proxied(b"nonsense\r\n\r\n"), "proxy", "not HTTP", "TV_PROXY"),
    Case(
        "unknown authority", served_tls(is_trusted=False), "TLS", "issued by trustme", "TV_CA_FILE"
    ),
    Case("certificate has expired", served_tls(expires=-DAY), "TLS", "expired", "clock"),
    Case(
        "certificate of another host", served_tls(name="portal.invalid"), "TLS", "127", "TV_PROXY"
    ),
    Case("TLS is not answered", served_tls(TlsStall()), "TLS", "timed out", "TV_PROXY"),
    Case("TLS answered in plain text", served_tls(TlsGarbage()), "TLS", "is not TLS", "TV_WS_URL"),
    Case("closed at once", served(Refuse("fin")), "handshake", "ended the", "TV_WS_URL"),
    Case("Origin is refused", other_origin, "handshake", "status 403", "ws_headers"),
    Case("handshake 429", upgrade(429), "handshake", "429", "wait"),
    Case("handshake 503", upgrade(503), "handshake", "status 503", "later"),
    Case("handshake 302", upgrade(302, location="/"), "handshake", "Redirect", "TV_WS_URL"),
    Case("captive portal", upgrade(200, body=b"<html>"), "handshake", "status 200", "TV_WS_URL"),
    Case(
        "handshake is no HTTP",
        served(UpgradeGarbage()),
        "handshake",
        "not a WebSocket",
        "TV_WS_URL",
    ),
    Case("handshake not answered", served(ConnectSilence()), "handshake", "timed out", "TV_WS_URL"),
    Case("no hello", served(FirstWords()), "hello", "hello timed out", "TV_WS_URL"),
    Case("hello of garbage", served(FirstWords(("x",))), "hello", "not a hello", "TV_WS_URL"),
    Case(
        "hello in a binary frame",
        served(FirstWords((frame(BINARY, b"x"),))),
        "hello",
        "binary",
        "TV_WS_URL",
    ),
    Case("redirect to another site", served(Redirect("a.example")), "hello", "a.example", "TV_WS"),
    Case(
        "redirect to nothing",
        redirect_to_nothing,
        "hello",
        "redirects its clients to 127",
        "TV_WS_URL",
    ),
    Case("clock is behind", clock_behind, "clock", "behind the server's, by its hello", "NTP"),
    Case("clock is ahead", clock_ahead, "clock", "3600.0 s ahead", "NTP"),
    Case("clock differs, by HTTP", clock_of_http, "clock", "by the Date", "NTP"),
    Case("silence after the hello", served(NeverRead()), "heartbeat", "ping timed", "holds"),
    Case(
        "frozen after the hello",
        served(FirstWords(("hello", Freeze()))),
        "heartbeat",
        "ping timed",
        "holds",
    ),
    Case("token is refused", token_refused, "token", "bad auth token", "TV_AUTH_TOKEN"),
    Case("token has ended", token_ended, "token", "expired", "TV_AUTH_TOKEN"),
    Case("password is refused", wrong_password, "token", "refused the sign-in", "TV_PASSWORD"),
    Case("cookies have ended", cookies_ended, "token", "expired sessionid", "TV_SESSIONID"),
    Case("token was revoked", token_revoked, "history", "timed out", "TV_AUTH_TOKEN"),
    Case("nothing is answered", served(HeartbeatsOnly()), "history", "timed out", "--symbol"),
    Case("frozen at the first answer", served(HalfOpen()), "history", "timed out", "again"),
    Case(
        "symbol is unknown",
        refused_symbol("symbol_error", "invalid symbol"),
        "history",
        "Symbol 'BTCUSDT' not found on BINANCE",
        "--symbol",
    ),
    Case(
        "series is refused",
        refused_symbol("series_error", "no such series"),
        "history",
        "no such series",
        "--symbol",
    ),
    Case(
        "critical error", served(CriticalErrorReply()), "history", "invalid parameters", "--symbol"
    ),
    Case("history never ends", served(NoCompletion()), "history", "timed out", "--symbol"),
    Case("history is empty", served(EmptyHistory()), "history", "no", "look it up"),
    Case("JSON is cut off", served(TruncatedJson()), "history", "JSON", "--symbol"),
    Case("text is no UTF-8", served(InvalidUtf8()), "history", "protocol", "--symbol"),
    Case("search 500", served(HttpStatus(500, **SEARCH)), "search", "500", "TV_SEARCH_URL"),
    Case("search is a page", served(HttpHtml(**SEARCH)), "search", "not JSON", "TV_SEARCH_URL"),
    Case(
        "search redirects", served(HttpRedirect(**SEARCH)), "search", "redirects", "TV_SEARCH_URL"
    ),
    Case("search is reset", served(HttpReset(**SEARCH)), "search", "reset", "TV_SEARCH_URL"),
    Case("search is not answered", served(HttpStall(**SEARCH)), "search", "in time", "TV_SEARCH"),
    Case("quotes are not answered", served(QuietQuotes()), "quotes", "timed out", "--symbol"),
]


def marks(case):
    """Return the marks of a case: some systems do not have its fault."""
    is_elsewhere = case.platform == "linux" and sys.platform != "linux"
    if case.platform == "posix":
        is_elsewhere = sys.platform == "win32"
    return [pytest.mark.skipif(is_elsewhere, reason="not a fault of this system")]
