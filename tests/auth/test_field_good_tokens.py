"""A renewal in a thread of its own may fail in any way: the present token is used until it ends."""

import threading
import time

from tests.auth.accounts import ANN, TEXT, Clock, authenticator, cookies_of
from tests.feed import until


def test_without_a_thread_the_present_token_is_used(server, monkeypatch):
    """A system that gives no thread costs a renewal, and the next call begins it again."""
    clock = Clock(time.time())
    server.auth_clock = clock
    auth = authenticator(server, clock=clock, **cookies_of(server, ANN))
    first = auth.token()
    clock.now += server.token_lifetime_s - 60
    with monkeypatch.context() as patch:

        def start(_thread):
            raise RuntimeError("can't start new thread")

        patch.setattr(threading.Thread, "start", start)
        assert auth.good_token() == first
    assert until(lambda: auth.good_token() != first)
    assert server.tokens_issued == 2


def test_a_code_that_cannot_be_had_is_asked_for_once(server, caplog):
    """What a program's own function raises is not shown, and it is not called for each request."""
    clock = Clock(time.time())
    server.auth_clock = clock
    asked = []

    def code():
        asked.append(clock.now)
        if len(asked) > 1:
            raise EOFError("canary")
        return TEXT.sms_code

    auth = authenticator(server, TEXT, two_factor_code=code, clock=clock, token_cache=False)
    first = auth.token()
    server.expire_cookies()
    clock.now += server.token_lifetime_s - 60
    assert [auth.good_token() for _ in range(5)] == [first] * 5
    assert until(lambda: "EOFError" in caplog.text)
    assert [auth.good_token() for _ in range(5)] == [first] * 5
    assert len(asked) == 2
    assert "canary" not in caplog.text


def test_a_token_that_has_ended_is_not_good(server):
    """None says that signing in has to be waited for; so it is before the first sign-in."""
    clock = Clock(time.time())
    server.auth_clock = clock
    auth = authenticator(server, clock=clock, **cookies_of(server, ANN))
    assert auth.good_token() is None
    first = auth.token()
    assert auth.good_token() == first
    assert auth.good_token(first) is None
    clock.now += server.token_lifetime_s + 1
    assert auth.good_token() is None
    assert auth.token() != first
