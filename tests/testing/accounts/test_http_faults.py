"""A fault of HTTP has its documented effect, and an invalid request is refused."""

import gzip
from email.utils import parsedate_to_datetime

import pytest
import requests

from tests.scale import PATIENCE_S
from tests.testing.accounts.client import NOW
from tvDatafeed.testing import (
    HttpDrip,
    HttpHtml,
    HttpHugeBody,
    HttpRedirect,
    HttpReset,
    HttpStall,
    HttpStatus,
    HttpTruncatedGzip,
)


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
        """An invalid length gets 400."""
        reply = browser.get(server.base_url, headers={"Content-Length": length}, timeout=PATIENCE_S)
        assert reply.status_code == 400

    def test_body_without_bound(self, server, site):
        """A request of more than 64 kB is not read to its end."""
        with pytest.raises(requests.ConnectionError):
            site.post("/accounts/signin/", data={"username": "x" * 1_000_000})
        assert server.logins == []
