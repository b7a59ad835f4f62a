"""HTTP: what is sent, and that every answer ends in time, within a size, at one site."""

import contextlib
import dataclasses
import gzip
import http.client
import logging
import pickle
import socket
import ssl
import threading
import time
import traceback
from email.utils import formatdate
from urllib.parse import parse_qsl

import pytest
import trustme

from tests.scale import PATIENCE_S, scaled
from tvDatafeed.config import NetworkConfig
from tvDatafeed.exceptions import ConnectionError, NetworkError, RateLimitError  # noqa: A004
from tvDatafeed.network.http import MAX_BODY_BYTES, HttpClient
from tvDatafeed.network.replies import HttpReply, followed
from tvDatafeed.ratelimit import RateLimiter

OK = b"HTTP/1.1 200 OK\r\n"
CANARY = "canary-secret"


class Site:
    """A server that gives each connection the next of its replies, and notes the requests."""

    def __init__(self, *replies, context=None):
        self._replies = replies
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._context = context
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self.requests = []
        scheme = "https" if context else "http"
        self.url = f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}/"

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._stop.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(PATIENCE_S)

    def _serve(self):
        for reply in self._replies:
            with contextlib.suppress(OSError):
                self._answer(reply)

    def _answer(self, reply):
        plain, _address = self._listener.accept()
        with plain:
            plain.settimeout(5)
            context = self._context
            sock = context.wrap_socket(plain, server_side=True) if context else plain
            with sock:
                self.requests.append(self.request(sock))
                for piece in [reply] if isinstance(reply, bytes) else reply:
                    if isinstance(piece, float):
                        self._stop.wait(piece)
                    else:
                        sock.sendall(piece)

    @staticmethod
    def request(sock):
        text = b""
        while b"\r\n\r\n" not in text:
            text += sock.recv(65536)
        head, _, body = text.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (li.partition(": ") for li in lines)}
        while len(body) < int(headers.get("content-length", 0)):
            body += sock.recv(65536)
        return first, headers, body


def client(limiter=None, **limits):
    return HttpClient(NetworkConfig(**{"max_response_time": 5.0, **limits}), limiter=limiter)


def with_body(body, *headers):
    return b"\r\n".join([OK[:-2], b"Content-Length: %d" % len(body), *headers, b"", body])


def redirect(location, status=302, *headers):
    lines = [f"HTTP/1.1 {status} x", f"Location: {location}", *headers, "Content-Length: 0"]
    return "\r\n".join([*lines, "", ""]).encode()


def drip(text, seconds=0.05):
    return [part for byte in text for part in (bytes([byte]), seconds)]


def test_a_page_is_got():
    """A reply has status, headers, body, URL and cookies."""
    headers = [b"Content-Type: text/html", b"Set-Cookie: a=1; Path=/", b"Set-Cookie: b=2=; Secure"]
    with Site(with_body("é".encode(), *headers)) as site:
        reply = client().get(site.url, cookies={"c": "3"}, headers={"Referer": "x"})
    assert (reply.status, reply.body, reply.text) == (200, "é".encode(), "é")
    assert reply.headers["content-type"] == "text/html"
    assert reply.cookies == {"a": "1", "b": "2="}
    assert reply.url == site.url
    first, sent, body = site.requests[0]
    assert (first, body) == ("GET / HTTP/1.1", b"")
    assert (sent["cookie"], sent["referer"]) == ("c=3", "x")


FORMS = ["p&=+% ü", "a b", "=", "&&", "%41", "日本語", "🔒", "\n", "'\"<>", "x" * 5000]


@pytest.mark.parametrize("password", FORMS)
def test_a_form_is_urlencoded(password):
    """Whatever a password holds arrives as it is."""
    with Site(with_body(b"")) as site:
        client().post(site.url, form={"username": "ann", "password": password, "remember": "on"})
    _first, sent, body = site.requests[0]
    assert sent["content-type"] == "application/x-www-form-urlencoded"
    assert parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True) == [
        ("username", "ann"),
        ("password", password),
        ("remember", "on"),
    ]


BODIES = [
    (with_body(b"hello"), b"hello"),
    (OK + b"\r\nhello", b"hello"),
    (OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", b"hello"),
    (with_body(gzip.compress(b"hello" * 9999), b"Content-Encoding: gzip"), b"hello" * 9999),
    (with_body(b"hello", b"Content-Encoding: identity"), b"hello"),
    (b"HTTP/1.1 204 No Content\r\nContent-Encoding: gzip\r\n\r\n", b""),
    (b"HTTP/1.1 503 no\r\nContent-Length: 5\r\n\r\nsorry", b"sorry"),
    (drip(with_body(b"hello"), 0.001), b"hello"),
    (b"HTTP/1.1 100 Continue\r\n\r\n" + with_body(b"hello"), b"hello"),
]


@pytest.mark.parametrize(("reply", "body"), BODIES)
def test_bodies(reply, body):
    """A body is read whole, however it comes and whatever the status."""
    with Site(reply) as site:
        assert client().get(site.url).body == body


def chunks(*pieces):
    return OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(pieces)


BOMB = gzip.compress(bytes(64 * 1024 * 1024), compresslevel=1)
BAD = [
    # What ends too early may be whole next time.
    (b"", ConnectionError, True),
    (OK + b"Content-Length: 9\r\n\r\nhello", ConnectionError, True),
    (chunks(b"5\r\nhello\r\n"), ConnectionError, True),
    (chunks(b"zz\r\nhello\r\n"), ConnectionError, True),
    (
        with_body(gzip.compress(b"hello", mtime=0)[:-5], b"Content-Encoding: gzip"),
        ConnectionError,
        True,
    ),
    # What is too much, or no HTTP, will be so again.
    (with_body(BOMB, b"Content-Encoding: gzip"), NetworkError, False),
    (OK + b"\r\n" + bytes(MAX_BODY_BYTES + 1), NetworkError, False),
    (OK + b"\r\n" + bytes(2 * MAX_BODY_BYTES), NetworkError, False),
    (chunks(b"8000\r\n", bytes(0x8000), b"\r\n8000\r\n" * 400), NetworkError, None),
    (with_body(b"hello", b"Content-Encoding: gzip"), NetworkError, False),
    (with_body(b"hello", b"Content-Encoding: br"), NetworkError, False),
    (b"nonsense " + CANARY.encode() + b"\r\n\r\n", NetworkError, False),
    (b"HTTP/1.1 abc\r\n\r\n", NetworkError, False),
    (OK + b"a: b\r\n" * 200 + b"\r\n", NetworkError, False),
    (OK + b"a: " + b"b" * 70_000 + b"\r\n\r\n", NetworkError, False),
    (OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nhello", NetworkError, False),
    (redirect("https://evil.example/"), NetworkError, False),
    (redirect("http://[::1/"), NetworkError, False),
    (redirect("ftp://127.0.0.1/"), NetworkError, False),
    (redirect("javascript:alert(1)"), NetworkError, False),
]


@pytest.mark.parametrize(("reply", "error", "retryable"), BAD)
def test_bad_answers(reply, error, retryable):
    """What is not a whole HTTP reply of a sensible size is a typed error, at once."""
    with Site(reply) as site:
        started = time.monotonic()
        with pytest.raises(error) as caught:
            client(max_response_time=30.0).get(site.url, cookies={"sessionid": CANARY})
    assert time.monotonic() - started < scaled(4.0)
    assert retryable is None or caught.value.retryable is retryable
    assert_harmless(caught.value)


def assert_harmless(error):
    """Neither the error nor what it was made from shows or holds a secret."""
    assert "127.0.0.1" in str(error)
    shown = "".join(traceback.format_exception(error))
    assert CANARY not in shown + repr(error)
    assert CANARY.encode() not in pickle.dumps(error)
    while error is not None:
        assert not hasattr(error, "request")
        assert CANARY not in repr(error.args)
        error = error.__cause__ or error.__context__


STALLS = [
    [30.0],
    drip(OK * 99),
    [OK, *drip(b"a: b\r\n" * 99)],
    [OK + b"\r\n", *drip(b"y" * 999)],
    [OK + b"Content-Length: 99\r\n\r\n", 30.0],
    [chunks(), *drip(b"1\r\na\r\n" * 99)],
    [b"HTTP/1.1 100 Continue\r\n\r\n" * 10, 30.0],
]


@pytest.mark.parametrize("reply", STALLS)
@pytest.mark.slow
def test_the_deadline_covers_all(reply):
    """A byte now and then in headers or body is not progress enough."""
    with Site(reply) as site:
        started = time.monotonic()
        with pytest.raises(ConnectionError, match="in time") as caught:
            client(max_response_time=0.4).get(site.url)
    assert 0.3 < time.monotonic() - started < scaled(4.0)
    assert caught.value.retryable


def test_a_given_deadline_covers_redirects():
    """All hops share one deadline."""
    with Site(*[[0.2, redirect("/")]] * 3, with_body(b"")) as site:
        with pytest.raises(ConnectionError, match="in time"):
            client().get(site.url, deadline=time.monotonic() + 0.5)


def test_silence_between_bytes_has_its_own_limit():
    """Nothing for recv_timeout is enough to know, however far the deadline."""
    with Site([OK, 30.0]) as site:
        started = time.monotonic()
        with pytest.raises(ConnectionError, match="in time"):
            client(recv_timeout=0.2, max_response_time=20.0).get(site.url)
    assert time.monotonic() - started < scaled(4.0)


def test_no_limit_between_bytes_leaves_the_deadline():
    """A recv_timeout of -1 waits as long as the whole request may take."""
    with Site([OK, 0.3, b"\r\nhello"]) as site:
        assert client(recv_timeout=-1).get(site.url).body == b"hello"


def test_a_refused_connection_is_an_error_at_once():
    """Without a listener, the error names the address and is retryable."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ConnectionError, match=r"127\.0\.0\.1") as caught:
        client().get(f"http://127.0.0.1:{port}/")
    assert caught.value.retryable
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize("host", ["nobody.invalid", "a..b", "x" * 70 + ".com"])
def test_a_name_that_is_none(host):
    """A host that cannot be looked up is named."""
    with pytest.raises(NetworkError, match=host):
        client().get(f"https://{host}/")


SITES = [
    ("http://127.0.0.1:1/", "/x", "http://127.0.0.1:1/x"),
    ("http://127.0.0.1:1/a/", "b?c", "http://127.0.0.1:1/a/b?c"),
    ("http://127.0.0.1:1/", "http://127.0.0.1:2/", "http://127.0.0.1:2/"),
    ("http://127.0.0.1:1/", "https://127.0.0.1:1/", "https://127.0.0.1:1/"),
    ("https://www.tradingview.com/", "https://fr.tradingview.com/", "https://fr.tradingview.com/"),
    ("https://tradingview.com/", "https://www.tradingview.com/", "https://www.tradingview.com/"),
    ("https://www.tradingview.com/", "//de.tradingview.com", "https://de.tradingview.com"),
    (
        "https://WWW.TradingView.com/",
        "https://www.tradingview.com/",
        "https://www.tradingview.com/",
    ),
]
FOREIGN = [
    ("https://www.tradingview.com/", "https://evil.example/"),
    ("https://www.tradingview.com/", "https://tradingview.com.evil.example/"),
    ("https://www.tradingview.com/", "https://eviltradingview.com/"),
    ("https://www.tradingview.com/", "https://www.tradingview.com@evil.example/"),
    ("https://www.tradingview.com/", "http://www.tradingview.com/"),
    ("https://www.tradingview.com/", "http://127.0.0.1/"),
    ("https://www.tradingview.com/", "http://fr.tradingview.com/"),
    ("https://127.0.0.1/", "http://127.0.0.1/"),
    ("http://127.0.0.1/", "http://127.0.0.2/"),
    ("http://127.0.0.1/", "http://9.9.0.1/"),
    ("http://[::1]/", "http://[::2]/"),
    ("http://localhost/", "http://127.0.0.1/"),
    ("http://localhost/", "http://evil.localhost/"),
]


@pytest.mark.parametrize(("url", "location", "target"), SITES)
def test_redirects_within_a_site(url, location, target):
    """A redirect may lead to any host of the same site, over TLS; to this machine without."""
    assert followed(url, location) == target


@pytest.mark.parametrize(("url", "location"), FOREIGN)
def test_redirects_to_elsewhere(url, location):
    """Neither another site nor a way without TLS is taken."""
    with pytest.raises(NetworkError, match="not followed"):
        followed(url, location)


def test_a_foreign_redirect_is_named_and_never_asked():
    """The redirect's target gets no connection, and the error names the host."""
    with socket.create_server(("127.0.0.2", 0)) as other:
        other.setblocking(False)
        location = f"http://127.0.0.2:{other.getsockname()[1]}/"
        with Site(redirect(location, 307)) as site:
            with pytest.raises(NetworkError, match=r"127\.0\.0\.2") as caught:
                client().post(site.url, form={"password": CANARY}, cookies={"a": CANARY})
        assert_harmless(caught.value)
        with pytest.raises(BlockingIOError):
            other.accept()


def test_cookies_change_on_the_way():
    """Cookies that a redirect sets or deletes count for the next hop."""
    first = redirect("/two", 302, "Set-Cookie: a=new", "Set-Cookie: b=; Max-Age=0")
    second = redirect("/three", 302, "Set-Cookie: c=1; max-age=0; path=/")
    with Site(first, second, with_body(b"", b"Set-Cookie: d=4")) as site:
        reply = client().get(site.url, cookies={"a": "old", "b": "2", "c": "3"})
    sent = [headers["cookie"] for _first, headers, _body in site.requests]
    assert sent == ["a=old; b=2; c=3", "c=3; a=new", "a=new"]
    assert reply.cookies == {"a": "new", "d": "4"}
    assert reply.url == f"{site.url}three"


@pytest.mark.parametrize(
    ("status", "method"), [(301, "GET"), (302, "GET"), (303, "GET"), (307, "POST"), (308, "POST")]
)
def test_a_redirect_repeats_a_form_only_when_told_to(status, method):
    """After 301, 302 and 303 the form is not sent again."""
    with Site(redirect("/two", status), with_body(b"")) as site:
        client().post(site.url, form={"a": "b"})
    first, _headers, body = site.requests[1]
    assert (first, body) == (f"{method} /two HTTP/1.1", b"a=b" if method == "POST" else b"")


@pytest.mark.parametrize(("hops", "succeeds"), [(3, True), (4, False)])
def test_three_redirects_are_followed(hops, succeeds):
    """The fourth redirect is an error: it goes in circles."""
    with Site(*[redirect("/")] * hops, with_body(b"there")) as site:
        if succeeds:
            assert client().get(site.url).body == b"there"
        else:
            with pytest.raises(NetworkError, match="more than 3") as caught:
                client().get(site.url)
            assert not caught.value.retryable
            assert len(site.requests) == 4


def test_nothing_is_kept_between_requests():
    """The cookies of one request are unknown to the next one, and so is its connection."""
    with Site(with_body(b"", b"Set-Cookie: a=1"), with_body(b"")) as site:
        http_client = client()
        http_client.get(site.url, cookies={"b": "2"})
        http_client.get(site.url)
    assert "cookie" not in site.requests[1][1]


def test_each_request_takes_a_token_of_the_limiter():
    """Redirects count too, and a wait beyond the deadline is refused at once."""
    limiter = RateLimiter(requests_per_minute=1, burst_size=2)
    with Site(redirect("/"), with_body(b"")) as site:
        client(limiter).get(site.url)
        with pytest.raises(RateLimitError) as caught:
            client(limiter).get(site.url)
    assert caught.value.retry_after > 50


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def context(authority):
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server_side)
    return server_side


def test_tls_is_verified(context):
    """A certificate of an unknown authority is fatal."""
    with Site(with_body(b"hello"), context=context) as site:
        with pytest.raises(ConnectionError, match="certificate") as caught:
            client().get(site.url)
    assert not caught.value.retryable


def test_ca_file_is_trusted(context, authority, tmp_path):
    """With its authority in ca_file the same server is asked, and each TLS name is checked."""
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    with Site(with_body(b"hello"), with_body(b""), context=context) as site:
        assert client(ca_file=str(file)).get(site.url).body == b"hello"
        with pytest.raises(ConnectionError, match="certificate"):
            client(ca_file=str(file)).get(site.url.replace("127.0.0.1", "localhost"))


def test_a_stalled_tls_handshake_meets_the_connect_timeout():
    """connect_timeout covers TCP and TLS."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        started = time.monotonic()
        with pytest.raises(ConnectionError, match="in time"):
            client(connect_timeout=0.3).get(f"https://127.0.0.1:{listener.getsockname()[1]}/")
    assert time.monotonic() - started < scaled(4.0)


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy", "https_proxy"])
def test_other_programs_proxies_are_not_asked(name, monkeypatch):
    """Only TV_PROXY is ours."""
    monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    with Site(with_body(b"hello")) as site:
        assert client().get(site.url).body == b"hello"
        assert client(proxy="http://127.0.0.1:1").session.trust_env is False


def test_a_proxy_is_never_used_for_this_machine():
    """A proxy that does not exist has no effect on loopback hosts."""
    with Site(with_body(b"hello")) as site:
        assert client(proxy="http://127.0.0.1:1").get(site.url).body == b"hello"


def test_a_proxy_opens_a_tunnel():
    """Another host is asked through CONNECT, with the proxy's credentials and not with ours."""
    tunnel = b"HTTP/1.1 200 Connection established\r\n\r\n"

    with socket.create_server(("127.0.0.1", 0)) as listener:
        seen = []

        def serve():
            sock, _address = listener.accept()
            with sock:
                seen.append(Site.request(sock))
                sock.sendall(tunnel)
                seen.append(Site.request(sock))
                sock.sendall(with_body(b"hello"))

        thread = threading.Thread(target=serve)
        thread.start()
        proxy = f"http://ann:hunter2@127.0.0.1:{listener.getsockname()[1]}"
        reply = client(proxy=proxy).get("http://tradingview.invalid/", cookies={"a": CANARY})
        thread.join(PATIENCE_S)
    assert reply.body == b"hello"
    assert seen[0][0] == "CONNECT tradingview.invalid:80 HTTP/1.1"
    assert seen[0][1]["proxy-authorization"] == "Basic YW5uOmh1bnRlcjI="
    assert "cookie" not in seen[0][1]
    assert "proxy-authorization" not in seen[1][1]


def test_a_broken_proxy_is_named_without_its_password():
    """An error shows where the proxy is, and not how it is entered."""
    with Site(b"HTTP/1.1 407 no\r\n\r\n") as site:
        proxy = site.url.rstrip("/").replace("http://", "http://ann:hunter2@")
        with pytest.raises(ConnectionError, match="proxy") as caught:
            client(proxy=proxy).get("https://tradingview.invalid/")
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_no_secret_is_logged(caplog, capfd, monkeypatch):
    """With all logs at DEBUG, and http.client's own printing on, nothing sent or got is shown."""
    monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 1)
    caplog.set_level(logging.DEBUG)
    reply = with_body(CANARY.encode(), f"Set-Cookie: a={CANARY}".encode())
    with Site(reply) as site:
        got = client().post(site.url, form={"password": CANARY}, cookies={"a": CANARY})
    assert caplog.records
    assert CANARY not in caplog.text + repr(got) + "".join(capfd.readouterr())


def test_a_bad_cookie_is_not_shown():
    """A value that cannot be a header is refused without being repeated."""
    with pytest.raises(NetworkError) as caught:
        client().get("http://127.0.0.1:1/", cookies={"a": f"{CANARY}\r\nX: y"})
    assert_harmless(caught.value)


def test_many_threads_share_a_client():
    """Each thread gets its own answer."""
    with Site(*[with_body(b"%d" % n) for n in range(12)]) as site:
        http_client, bodies = client(), []
        threads = [
            threading.Thread(target=lambda: bodies.append(http_client.get(site.url).body))
            for _ in range(12)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(map(int, bodies)) == list(range(12))


def test_the_session_is_bound_by_the_same_limits():
    """A program that uses the requests.Session cannot hang, and uses no foreign proxy."""
    with Site(with_body(b"hello"), drip(OK * 99)) as site:
        session = client(max_response_time=0.4).session
        assert session.get(site.url).text == "hello"
        with pytest.raises(OSError, match="timed out"):
            session.get(site.url)


def reply_with(body=b"", **headers):
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpReply(200, names, body, "https://h/?token=canary-secret", {"a": CANARY})


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        (" 7 ", 7),
        ("0", 0),
        ("99999999", 3600),
        ("9" * 400, 3600),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        pytest.param(formatdate(time.time() + 1e6, usegmt=True), 3600, id="in days"),
    ],
)
def test_retry_after(header, seconds):
    """Retry-After is seconds or a date; what is absurd is capped."""
    assert reply_with(retry_after=header).retry_after == seconds
    assert reply_with().retry_after is None


def test_the_date_is_the_server_s_clock():
    """Date is read as a moment; anything else is None."""
    assert reply_with(date="Thu, 01 Jan 1970 00:01:00 GMT").date == 60
    assert reply_with(date="yesterday").date is None
    assert reply_with().date is None


@pytest.mark.parametrize("body", [b"", b"<html>canary-secret", b"\xff", b"NaN", b"[" * 99_999])
def test_no_json_is_a_value_error(body):
    """A body that is not JSON raises an error that does not show it."""
    with pytest.raises(ValueError, match="not JSON") as caught:
        reply_with(body).json()
    assert caught.value.__context__ is None
    assert reply_with(b'{"a": [1]}').json() == {"a": [1]}


def test_a_reply_shows_no_secret():
    """The repr has status, place and size."""
    reply = reply_with(CANARY.encode(), location=CANARY)
    assert repr(reply) == "<HttpReply 200 https://h/, 13 bytes>"
    with pytest.raises(dataclasses.FrozenInstanceError):
        reply.status = 201
