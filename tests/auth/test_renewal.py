"""Tokens are renewed before they end and after a refusal, once for all threads."""

import logging
import os
import sys
import threading
import time

import pytest

from tests.auth.accounts import ANN, TEXT, Clock, authenticator, cookies_of, refusal
from tests.scale import PATIENCE_S
from tvDatafeed.auth.renewal import Overdue
from tvDatafeed.exceptions import (
    AuthenticationError,
    ConfigurationError,
    ConnectionError,  # noqa: A004 - our own
    NetworkError,
)
from tvDatafeed.protocol.literals import ANONYMOUS_TOKEN
from tvDatafeed.testing import HttpStatus


@pytest.mark.parametrize("way", ["cookies", "password"])
def test_a_token_is_renewed_before_it_ends(server, way):
    """Some minutes before its end the token is replaced, by cookies alone."""
    clock = Clock(time.time())
    server.auth_clock = clock
    server.token_lifetime_s = 3000
    given = cookies_of(server, ANN) if way == "cookies" else {}
    auth = authenticator(server, None if given else ANN, clock=clock, **given)
    first = auth.token()
    assert auth.next_renewal_s() == pytest.approx(clock.now + 2700, abs=2)
    clock.now += 2690
    assert auth.token() == first
    clock.now += 20
    second = auth.token()
    assert second != first
    assert auth.token() == second
    assert auth.identity().username == "ann"
    assert len(server.logins) == (way == "password")


def test_rotated_cookies_are_followed(server):
    """Each renewal uses the cookies that the last page gave."""
    clock = Clock(time.time())
    server.auth_clock = clock
    server.rotate_cookies = True
    auth = authenticator(server, clock=clock, **cookies_of(server, ANN))
    tokens = set()
    for _ in range(4):
        tokens.add(auth.token())
        clock.now += 14390
    assert len(tokens) == 4


def test_a_renewal_that_fails_early_is_no_error(server, caplog):
    """Until it ends the old token is used, and not every call asks again."""
    clock = Clock(time.time())
    server.auth_clock = clock
    auth = authenticator(server, clock=clock, **cookies_of(server, ANN))
    first = auth.token()
    server.inject(HttpStatus(path="/", status=503))
    clock.now += 14200
    assert [auth.token() for _ in range(5)] == [first] * 5
    assert len(server.http_requests) == 2
    assert len(caplog.records) == 1
    assert auth.next_renewal_s() > clock.now + 20
    clock.now += 1000
    with pytest.raises(NetworkError):
        authenticator(server, clock=clock, **cookies_of(server, ANN)).token()


def test_an_ended_token_that_cannot_be_renewed_is_an_error(server):
    """A token that has ended is not used; the error has the reason why it was not renewed."""
    clock = Clock(time.time())
    server.auth_clock = clock
    auth = authenticator(server, clock=clock, **cookies_of(server, ANN))
    auth.token()
    server.expire_cookies()
    clock.now += 20000
    assert "expired sessionid" in str(refusal(auth))


def test_a_token_without_ways_is_never_due(server):
    """What cannot be renewed is used until the server refuses it."""
    server.token_lifetime_s = 0
    token = server.issue_token(ANN)
    auth = authenticator(server, auth_token=token)
    assert auth.token() == token
    assert auth.next_renewal_s() is None
    assert auth.identity().expires_at <= time.time()


@pytest.mark.parametrize("way", ["cookies", "password", "token and cookies", "token and password"])
def test_a_refused_token_is_renewed_once(server, way):
    """After a refusal there is one renewal, and later calls get its result."""
    given = cookies_of(server, ANN) if "cookies" in way else {}
    if "token" in way:
        given["auth_token"] = "canary-token"
    auth = authenticator(server, ANN if "password" in way else None, **given)
    first = auth.token()
    second = auth.renew(first)
    assert second not in {first, "canary-token"}
    assert auth.renew(first) == auth.token() == second
    before = len(server.http_requests)
    with pytest.raises(AuthenticationError, match="as well"):
        auth.renew(second)
    assert len(server.http_requests) == before


def test_a_cached_token_that_is_refused_is_not_taken_again(server):
    """The cache may hold the very token that the server refused."""
    token = authenticator(server, ANN).token()
    auth = authenticator(server, ANN)
    assert auth.renew(token) != token
    assert authenticator(server, ANN).token() == auth.token()
    assert len(server.logins) == 1


@pytest.mark.parametrize("auth", [{}, {"auth_token": "canary-token"}])
def test_without_another_way_a_refusal_is_final(server, auth):
    """Neither the anonymous token nor one without credentials can be renewed."""
    client = authenticator(server, **auth)
    token = client.token()
    for _ in range(2):
        with pytest.raises(AuthenticationError, match="nothing else is known") as caught:
            client.renew(token)
    assert "canary" not in str(caught.value)
    assert client.token() == token


def test_an_assigned_token_is_used_and_renewed(server):
    """An assigned token is used, and the other credentials renew it."""
    auth = authenticator(server, ANN)
    auth.token()
    auth.set_token("canary-mine")
    assert auth.token() == "canary-mine"
    assert auth.identity().source == "token"
    assert auth.renew("canary-mine") != "canary-mine"
    auth.set_token(ANONYMOUS_TOKEN)
    assert auth.identity().source == "anonymous"


@pytest.mark.parametrize("token", [None, "", "  ", 1, b"x"])
def test_a_token_is_a_text(server, token):
    """A token is a text that is not blank."""
    with pytest.raises(ConfigurationError):
        authenticator(server).set_token(token)


@pytest.mark.parametrize("switch_interval", [0.005, 1e-6])
def test_fifty_threads_cause_one_renewal(server, switch_interval):
    """Threads that start at once with an ended token share one renewal."""
    clock = Clock(time.time())
    server.auth_clock = clock
    auth = authenticator(server, clock=clock, **cookies_of(server, ANN))
    first = auth.token()
    clock.now += 20000
    results = in_threads(50, auth.token, switch_interval)
    assert len(set(results)) == 1
    assert first not in results
    assert server.tokens_issued == 2
    renewed = in_threads(50, lambda: auth.renew(results[0]), switch_interval)
    assert len(set(renewed)) == 1
    assert server.tokens_issued == 3


def test_fifty_threads_share_one_refusal(server):
    """A wrong password is sent once, however many wait for it."""
    auth = authenticator(server, ANN, password="canary-wrong")

    def attempt():
        with pytest.raises(AuthenticationError) as caught:
            auth.token()
        return caught.value

    errors = in_threads(50, attempt)
    assert len({str(error) for error in errors}) == 1
    assert len({id(error) for error in errors}) == 50
    assert len(server.logins) == 1


def in_threads(number, call, switch_interval=0.005):
    """Call from many threads at once and return what came of it."""
    barrier, results = threading.Barrier(number), []

    def run():
        barrier.wait(PATIENCE_S)
        results.append(call())

    before = sys.getswitchinterval()
    sys.setswitchinterval(switch_interval)
    try:
        threads = [threading.Thread(target=run) for _ in range(number)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
    finally:
        sys.setswitchinterval(before)
    assert len(results) == number
    return results


def test_a_token_assigned_during_a_sign_in_goes_first(server):
    """Who signs in for minutes does not overwrite what was assigned meanwhile."""
    auth = authenticator(server, TEXT, two_factor_code=lambda: auth.set_token("mine") or "024680")
    assert auth.token() == "mine"
    assert auth.token() == "mine"


def test_waiting_for_another_thread_has_an_end(server):
    """A person who does not type the code does not hold the other threads for ever."""
    asked, typed = threading.Event(), threading.Event()

    def ask():
        asked.set()
        typed.wait(PATIENCE_S)
        return TEXT.sms_code

    auth = authenticator(server, TEXT, two_factor_code=ask, limits={"max_response_time": 0.3})
    thread = threading.Thread(target=auth.token)
    thread.start()
    assert asked.wait(PATIENCE_S)
    assert "did not end" in str(refusal(auth, ConnectionError))
    typed.set()
    thread.join(PATIENCE_S)
    assert auth.token()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.slow
def test_a_forked_child_signs_in_by_itself(server):
    """The child does not wait for a sign-in that was under way in the parent."""
    asked, typed = threading.Event(), threading.Event()
    codes = [lambda: asked.set() or typed.wait(PATIENCE_S) or TEXT.sms_code, lambda: TEXT.sms_code]
    auth = authenticator(server, TEXT, two_factor_code=lambda: codes.pop(0)() and TEXT.sms_code)
    thread = threading.Thread(target=auth.token)
    thread.start()
    assert asked.wait(PATIENCE_S)
    child = os.fork()
    if not child:
        code = 1
        try:
            code = 0 if auth.token().count(".") == 2 else 2
        finally:
            os._exit(code)
    try:
        assert os.waitpid(child, 0)[1] == 0
    finally:
        typed.set()
        thread.join(PATIENCE_S)


def test_failures_are_one_warning(caplog):
    """A token that is due and cannot be renewed is a WARNING once, until there is another one."""
    caplog.set_level(logging.DEBUG)
    overdue = Overdue(logging.getLogger("tvDatafeed.auth"))
    assert overdue.pause_s == 0
    for _ in range(3):
        overdue.log("not renewed: %s", "busy", reason="busy")
    assert 0 < overdue.pause_s <= 30
    overdue.end()
    assert overdue.pause_s == 0
    overdue.log("not renewed: %s", "busy", reason="busy")
    levels = [record.levelname for record in caplog.records]
    assert levels == ["WARNING", "DEBUG", "DEBUG", "WARNING"]
    assert {record.reason for record in caplog.records} == {"busy"}
