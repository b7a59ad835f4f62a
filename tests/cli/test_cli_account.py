"""The commands about accounts: what they ask, what they keep, and what they say."""

import datetime as dt
import getpass
import io
import json
import stat
import sys
import time
import types

import pytest

from tests.loopback import NOW
from tests.programs import urls
from tvDatafeed import TvDatafeed
from tvDatafeed.cli.app import main
from tvDatafeed.testing import Account, FakeTradingView

PASSWORD = "open sesame & more"
ACCOUNTS = (
    Account("alice", PASSWORD, plan="pro_premium"),
    Account("bob", PASSWORD, "totp"),
    Account("carol", PASSWORD, "sms"),
    Account("dave", PASSWORD, captcha=True),
    Account("erin", PASSWORD, rate_limited=True),
    Account("frank", PASSWORD, locked_out=True),
)


@pytest.fixture
def server():
    """A loopback TradingView with accounts."""
    with FakeTradingView(clock=lambda: NOW, accounts=ACCOUNTS) as running:
        yield running


@pytest.fixture
def cache(server, monkeypatch, tmp_path):
    """The token cache of a user whose environment names the loopback TradingView."""
    path = tmp_path / "folder" / "tokens.json"
    for variable, value in (urls(server) | {"TV_TOKEN_CACHE": str(path)}).items():
        monkeypatch.setenv(variable, value)
    return path


@pytest.fixture
def answer(monkeypatch):
    """Replace stdin by lines; it is not a terminal."""

    def use(*lines):
        monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))

    return use


@pytest.fixture
def ring(monkeypatch):
    """A keyring; it holds passwords by service and user."""
    kept = {}
    module = types.ModuleType("keyring")
    module.get_password = lambda service, user: kept.get((service, user))
    module.set_password = lambda service, user, password: kept.update({(service, user): password})
    module.delete_password = lambda service, user: kept.pop((service, user))
    monkeypatch.setitem(sys.modules, "keyring", module)
    return kept


def outcomes(server):
    """What the server made of each password and each code."""
    return [login.outcome for login in server.logins]


def tokens_of(server):
    """The tokens that arrived on WebSockets."""
    return {m.params[0] for m in server.received if m.method == "set_auth_token"}


def error_of(capsys):
    """The only line of stderr; nothing is on stdout, and no secret anywhere."""
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("tvdatafeed: ")
    assert PASSWORD not in line
    return line


def test_login(server, cache, answer, capsys):
    """Login says who, which plan, until when and where it is kept; the file is the user's alone."""
    answer("alice", PASSWORD)
    assert main(["login"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("alice, plan pro_premium, token expires 20")
    assert out.endswith(f", kept in {cache}\n")
    assert err == ""
    if sys.platform != "win32":
        assert stat.S_IMODE(cache.stat().st_mode) == 0o600
    assert PASSWORD not in cache.read_text(encoding="utf-8")


def test_login_on_a_terminal(server, cache, monkeypatch, capsys):
    """On a terminal all but the name is asked without echo, and prompts are not on stdout."""
    terminal = io.StringIO("carol\n")
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stdin", terminal)
    answers = {"password: ": PASSWORD, "code of the second factor: ": ACCOUNTS[2].sms_code}
    monkeypatch.setattr(getpass, "getpass", answers.pop)
    assert main(["login"]) == 0
    assert answers == {}
    out, err = capsys.readouterr()
    assert out.startswith("carol, plan free, ")
    assert err == "user name: "


def test_login_with_a_code(server, cache, answer):
    """The code is read when TradingView wants one."""
    answer("carol", PASSWORD, ACCOUNTS[2].sms_code)
    assert main(["login"]) == 0
    assert outcomes(server) == ["second_factor", "success"]


def test_login_with_a_secret(server, cache, answer, monkeypatch):
    """The environment's secret gives the code, and known answers are not requested."""
    monkeypatch.setenv("TV_USERNAME", "bob")
    monkeypatch.setenv("TV_PASSWORD", PASSWORD)
    monkeypatch.setenv("TV_TOTP_SECRET", ACCOUNTS[1].totp_secret)
    answer()
    assert main(["login"]) == 0
    assert outcomes(server) == ["second_factor", "success"]


def test_login_as_somebody_else(server, cache, answer, monkeypatch, capsys):
    """The environment's password is not sent for another user."""
    monkeypatch.setenv("TV_USERNAME", "bob")
    monkeypatch.setenv("TV_PASSWORD", "that of bob")
    answer(PASSWORD)
    assert main(["login", "--username", "alice"]) == 0
    assert capsys.readouterr().out.startswith("alice, ")


def test_login_signs_in_each_time(server, cache, answer):
    """Who asks for a login gets one, whatever is kept."""
    for _ in range(2):
        answer("alice", PASSWORD)
        assert main(["login"]) == 0
    assert outcomes(server) == ["success", "success"]


@pytest.mark.slow
def test_login_with_cookies(server, cache, answer, capsys):
    """The cookies of a browser are as good as a password, and renew the token later."""
    cookies = server.issue_cookies("alice")
    answer(f" {cookies.sessionid} ", cookies.sessionid_sign)
    assert main(["login", "--cookies"]) == 0
    assert capsys.readouterr().out.startswith("alice, plan pro_premium, ")
    assert server.logins == []
    server.expire_tokens()
    assert main(["hist", "NASDAQ:AAPL"]) == 0


@pytest.mark.parametrize(
    ("arguments", "lines", "ending"),
    [
        ([], ("alice", "wrong"), (1, "Invalid username or password")),
        ([], ("bob", PASSWORD), (1, "Two-factor authentication required (totp)")),
        ([], ("carol", PASSWORD, "000000"), (1, "refused the code")),
        ([], ("dave", PASSWORD), (1, "CAPTCHA")),
        ([], ("erin", PASSWORD), (1, "300")),
        ([], ("frank", PASSWORD), (1, "locked the account out")),
        ([], (), (2, "the user name is missing")),
        ([], ("alice",), (2, "the password is missing")),
        ([], ("alice", ""), (2, "password")),
        (["--cookies"], ("a" * 32, "v3:b"), (1, "Wrong or expired sessionid")),
        (["--cookies"], ("", ""), (2, "sessionid")),
        (["--cookies"], ("a;b", "c"), (2, "sessionid")),
        (["--cookies", "--keyring"], (), (2, "--cookies takes neither")),
    ],
)
def test_login_fails(arguments, lines, ending, cache, answer, capsys):  # noqa: PLR0917
    """A refusal is one line that says which one it was, and nothing is kept."""
    exit_code, words = ending
    answer(*lines)
    assert main(["login", *arguments]) == exit_code
    assert words in error_of(capsys)
    assert not cache.exists()


def test_login_of_what_is_no_text(cache, monkeypatch, capsys):
    """A password in another encoding is not shown by the error."""
    monkeypatch.setattr(
        sys, "stdin", io.TextIOWrapper(io.BytesIO(b"sesam\xff\n"), encoding="utf-8")
    )
    assert main(["login", "--username", "alice"]) == 1
    assert error_of(capsys) == "tvdatafeed: the password is not valid text in utf-8"


def test_login_without_cache(cache, answer, monkeypatch, capsys):
    """Without a place to keep it, a login is refused before anything is asked."""
    monkeypatch.setenv("TV_TOKEN_CACHE", "off")
    assert main(["login"]) == 2
    assert "TV_TOKEN_CACHE is off" in error_of(capsys)


def test_login_that_cannot_be_kept(cache, answer, capsys):
    """A login that could not be kept is a failure."""
    cache.parent.write_text("no folder", encoding="utf-8")
    answer("alice", PASSWORD)
    assert main(["login"]) == 1
    assert f"could not be kept in {cache}" in capsys.readouterr().err


def test_login_without_network(cache, answer, monkeypatch, capsys):
    """A site that cannot be reached is one line."""
    monkeypatch.setenv("TV_BASE_URL", "http://127.0.0.1:9")
    answer("alice", PASSWORD)
    assert main(["login"]) == 1
    assert "127.0.0.1 cannot be reached" in error_of(capsys)


def test_keyring(server, cache, answer, ring, capsys):
    """The keyring keeps an accepted password, returns it, and removes it on request."""
    answer("wrong")
    assert main(["login", "--username", "alice", "--keyring"]) == 1
    assert ring == {}
    answer(PASSWORD)
    assert main(["login", "--username", "alice", "--keyring"]) == 0
    assert list(ring.values()) == [PASSWORD]
    answer()
    assert main(["login", "--username", "alice", "--keyring"]) == 0
    assert main(["logout", "--username", "alice", "--keyring"]) == 0
    assert ring == {}
    assert main(["logout", "--keyring"]) == 2


def test_keyring_that_is_not_there(cache, answer, monkeypatch, capsys):
    """Without the extra, the line that installs it is shown before anything is sent."""
    monkeypatch.setitem(sys.modules, "keyring", None)
    assert main(["login", "--username", "alice", "--keyring"]) == 2
    assert 'pip install "tvdatafeed[keyring]"' in error_of(capsys)


def test_logout(server, cache, answer, capsys):
    """After logout nothing is kept, and no user is logged in."""
    answer("alice", PASSWORD)
    main(["login"])
    capsys.readouterr()
    assert [main(["logout", "--username", "bob"]), main(["logout"]), main(["logout"])] == [0] * 3
    assert capsys.readouterr().out == "no login was kept\nlogged out\nno login was kept\n"
    assert not cache.exists()
    assert main(["whoami"]) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="a folder's mode says little there")
def test_logout_that_fails(server, cache, answer, monkeypatch, capsys):
    """A login that cannot be removed is a failure."""

    def refuse(*_arguments, **_options):
        raise PermissionError(13, "Permission denied")

    answer("alice", PASSWORD)
    main(["login"])
    monkeypatch.setattr(type(cache), "unlink", refuse)
    assert main(["logout"]) == 1
    assert f"could not be removed from {cache}" in capsys.readouterr().err


def test_whoami_anonymous(cache, capsys):
    """Without a login the output says so, and the exit code is 1."""
    assert main(["whoami"]) == 1
    assert main(["whoami", "--json"]) == 1
    text, row = capsys.readouterr().out.splitlines()
    assert text == "anonymous: no user is logged in"
    assert json.loads(row) == {
        "username": None,
        "plan": "",
        "expires_at": None,
        "source": "anonymous",
    }


def test_whoami(server, cache, answer, capsys):
    """The login that is kept is reported with its plan, its end in local time, and its place."""
    answer("alice", PASSWORD)
    main(["login"])
    capsys.readouterr()
    assert main(["whoami", "--json"]) == 0
    who = json.loads(capsys.readouterr().out)
    end = dt.datetime.fromisoformat(who.pop("expires_at"))
    assert who == {"username": "alice", "plan": "pro_premium", "source": "cache"}
    assert end.utcoffset() == end.astimezone().utcoffset()
    assert abs(end.timestamp() - time.time() - server.token_lifetime_s) < 60
    assert main(["whoami"]) == 0
    line = capsys.readouterr().out
    assert line.startswith(f"alice, plan pro_premium, token expires {end.isoformat(sep=' ')}")
    assert line.endswith(", from the token cache\n")
    assert len(server.logins) == 1


@pytest.mark.parametrize("source", ["token", "cookies", "password"])
def test_whoami_of_the_environment(source, server, cache, monkeypatch, capsys):
    """The environment's credentials are reported by where they came from."""
    cookies = server.issue_cookies("alice")
    variables = {
        "token": {"TV_AUTH_TOKEN": server.issue_token("alice")},
        "cookies": {
            "TV_SESSIONID": cookies.sessionid,
            "TV_SESSIONID_SIGN": cookies.sessionid_sign,
        },
        "password": {"TV_USERNAME": "alice", "TV_PASSWORD": PASSWORD},
    }[source]
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    assert main(["whoami", "--json"]) == 0
    who = json.loads(capsys.readouterr().out)
    assert (who["source"], who["plan"]) == (source, "pro_premium")
    assert who["username"] == (None if source == "token" else "alice")
    assert main(["whoami"]) == 0
    assert not any(
        value in capsys.readouterr().out for value in variables.values() if len(value) > 5
    )


def test_whoami_with_a_token_that_has_ended(server, cache, monkeypatch, capsys):
    """A token that has ended is reported as such."""
    server.token_lifetime_s = -60
    monkeypatch.setenv("TV_AUTH_TOKEN", server.issue_token("alice"))
    assert main(["whoami"]) == 0
    assert ", token expired 20" in capsys.readouterr().out


def test_hist_uses_the_login(server, cache, answer, capsys):
    """After a login hist asks with its token, and signs in no more."""
    answer("alice", PASSWORD)
    main(["login"])
    capsys.readouterr()
    assert main(["hist", "NASDAQ:AAPL", "--format", "csv"]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 11
    assert err == ""
    (token,) = tokens_of(server)
    assert token in cache.read_text(encoding="utf-8")
    assert outcomes(server) == ["success"]


def test_program_uses_the_login(server, cache, answer, monkeypatch):
    """A program that names the cache, and nothing else, asks with the login that is kept."""
    answer("alice", PASSWORD)
    main(["login"])
    monkeypatch.delenv("TV_TOKEN_CACHE")
    with TvDatafeed(token_cache=cache) as tv:
        tv.get_hist("NASDAQ:AAPL")
    (token,) = tokens_of(server)
    assert token in cache.read_text(encoding="utf-8")


def test_demo_uses_the_environment(server, cache, monkeypatch):
    """The demo of the real TradingView asks with the environment's token."""
    token = server.issue_token("alice")
    monkeypatch.setenv("TV_AUTH_TOKEN", token)
    assert main(["demo", "--real", "--bars", "5"]) == 0
    assert tokens_of(server) == {token}


def test_hist_with_a_refused_password(server, cache, monkeypatch, capsys):
    """Refused credentials are one line; anonymous bars are not shown instead."""
    monkeypatch.setenv("TV_USERNAME", "alice")
    monkeypatch.setenv("TV_PASSWORD", "not this one")
    assert main(["hist", "NASDAQ:AAPL"]) == 1
    assert "Invalid username or password" in error_of(capsys)
    assert server.connections_opened == 0
