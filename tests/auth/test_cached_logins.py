"""The token cache spares a second login and can be shared by two processes."""

import os
import stat
import subprocess
import sys

import pytest

from tests.auth.accounts import ANN, PASSWORD, PAYS, authenticator, cookies_of, outcomes, refusal
from tests.programs import environment
from tvDatafeed.auth.cache import TokenCache
from tvDatafeed.auth.signin import SIGN_IN_PATH
from tvDatafeed.exceptions import AuthenticationError
from tvDatafeed.protocol.literals import ANONYMOUS_TOKEN


def test_a_second_run_does_not_log_in(server, cache_file):
    """The token of one run is used by the next one."""
    token = authenticator(server, ANN).token()
    again = authenticator(server, ANN)
    assert again.token() == token
    assert again.identity().source == "cache"
    assert again.identity().username == "ann"
    assert len(server.http_requests) == 1
    if os.name == "posix":
        assert stat.S_IMODE(cache_file.stat().st_mode) == 0o600


def test_a_second_run_with_an_ended_token_uses_the_cookies(server):
    """Cookies of a login outlive its token, and spare another login; they rotate."""
    server.token_lifetime_s, server.rotate_cookies = 0, True
    authenticator(server, ANN).token()
    server.token_lifetime_s = 1000
    for _ in range(2):
        again = authenticator(server, ANN)
        assert again.identity().source == "cache"
    assert outcomes(server) == [("password", "success")]
    assert [request.target for request in server.http_requests] == [SIGN_IN_PATH, "/"]


def test_ended_cookies_in_the_cache_leave_the_password(server):
    """A cached login that has ended is replaced by a new one."""
    server.token_lifetime_s = 0
    authenticator(server, ANN).token()
    server.expire_cookies()
    server.token_lifetime_s = 1000
    assert authenticator(server, ANN).identity().source == "password"
    assert authenticator(server, ANN).identity().source == "cache"
    assert len(server.logins) == 2


def test_another_password_logs_in_anew(server):
    """A cached login is not used with another password."""
    authenticator(server, ANN).token()
    refusal(authenticator(server, ANN, password="canary-wrong"))
    assert [outcome for _step, outcome in outcomes(server)] == ["success", "wrong_password"]


def test_the_cache_can_be_off_or_elsewhere(server, cache_file, tmp_path):
    """token_cache is a path, or False."""
    authenticator(server, ANN, token_cache=False).token()
    assert not cache_file.exists()
    elsewhere = tmp_path / "mine.json"
    authenticator(server, ANN, token_cache=elsewhere).token()
    assert elsewhere.exists()
    assert not cache_file.exists()


def test_a_cache_that_is_named_is_a_way_in(server, tmp_path):
    """Without other credentials the newest login of a named file is used, renewed and forgotten."""
    file = tmp_path / "mine.json"
    server.token_lifetime_s = 0
    authenticator(server, PAYS, token_cache=file).token()
    server.token_lifetime_s = 1000
    auth = authenticator(server, token_cache=file)
    identity = auth.identity()
    assert (identity.username, identity.plan, identity.source) == ("pays", "pro_premium", "cache")
    server.expire_cookies()
    server.expire_tokens()
    with pytest.raises(AuthenticationError, match="sessionid"):
        auth.renew(auth.token())
    assert auth.logout()
    assert not auth.logout()
    assert authenticator(server, token_cache=file).token() == ANONYMOUS_TOKEN


def test_a_named_cache_never_stands_in_for_other_credentials(server, tmp_path):
    """Expired cookies do not make the client somebody else."""
    file = tmp_path / "mine.json"
    authenticator(server, PAYS, token_cache=file).token()
    refusal(authenticator(server, sessionid="expired", token_cache=file))
    auth = authenticator(server, auth_token="canary", token_cache=file)
    with pytest.raises(AuthenticationError, match="nothing else is known"):
        auth.renew("canary")


def test_cookies_and_tokens_are_not_cached(server, cache_file):
    """The cache is for passwords, unless it is named."""
    authenticator(server, **cookies_of(server, ANN)).token()
    assert authenticator(server, auth_token="x").logout() is False
    assert not cache_file.exists()


def test_logging_out_forgets(server):
    """After a logout the next use logs in."""
    auth = authenticator(server, ANN)
    auth.token()
    assert auth.logout()
    assert auth.token()
    assert len(server.logins) == 2


LOGIN = """
import hashlib, sys
scrypt = hashlib.scrypt
hashlib.scrypt = lambda *args, **how: scrypt(*args, **{**how, "n": 2})
from tvDatafeed.auth import Authenticator
from tvDatafeed.config import AuthConfig, TvDatafeedConfig
auth = AuthConfig(username="ann", password=sys.argv[1], token_cache=sys.argv[2])
config = TvDatafeedConfig(network=TvDatafeedConfig.from_env().network, auth=auth)
print("ready", flush=True)
sys.stdin.readline()
print(Authenticator(config).token())
"""


@pytest.mark.skipif(os.name != "posix", reason="modes of files are of POSIX")
@pytest.mark.slow
def test_two_processes_that_log_in_at_once(server, tmp_path):
    """They leave one valid cache file, which other users could not read at any moment."""
    folder = tmp_path / "cache"
    folder.mkdir()
    file = folder / "tokens.json"
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", LOGIN, PASSWORD, str(file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(server),
            text=True,
            umask=0,
        )
        for _ in range(2)
    ]
    modes = set()
    try:
        for program in programs:
            program.stdout.readline()
        for program in programs:
            program.stdin.write("\n")
            program.stdin.flush()
        while any(program.poll() is None for program in programs):
            for path in folder.iterdir():
                try:
                    modes.add(stat.S_IMODE(path.stat().st_mode))
                except FileNotFoundError:
                    continue
    finally:
        tokens = [program.communicate()[0].strip() for program in programs]
    assert modes == {0o600}
    assert TokenCache(file).find("ann", server.base_url, PASSWORD).token in tokens
    assert [path.name for path in folder.iterdir()] == ["tokens.json"]
