"""Data tokens: what they say, and the file that keeps them from everyone else."""

import base64
import hashlib
import json
import logging
import os
import pickle
import stat
import subprocess
import sys
import threading
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.programs import environment
from tvDatafeed.auth.cache import CachedLogin, TokenCache, default_cache_path
from tvDatafeed.auth.keyring import keyring_password, set_keyring_password
from tvDatafeed.auth.token import expiry_of, plan_of, renewal_of
from tvDatafeed.exceptions import ConfigurationError

SITE = "https://www.tradingview.com"
CANARY = "canary-token"
LOGIN = CachedLogin("ann", CANARY, "canary-id", "canary-sign", "pro")

posix_only = pytest.mark.skipif(os.name != "posix", reason="modes of files are of POSIX")


def jwt(**claims):
    return ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
        for part in ({"alg": "RS512"}, claims, "signature")
    )


@pytest.fixture
def cache(tmp_path):
    """A cache in a folder that is not there yet."""
    return TokenCache(tmp_path / "folder" / "tokens.json")


@pytest.mark.parametrize(
    ("token", "expiry", "renewal"),
    [
        (jwt(exp=14400, iat=0), 14400.0, 14100.0),
        (jwt(exp=1000, iat=0), 1000.0, 900.0),
        (jwt(exp=1000), 1000.0, 700.0),
        (jwt(exp=1000.5, iat="yesterday"), 1000.5, 700.5),
        (jwt(exp=1000, iat=2000), 1000.0, 700.0),
        *[
            (token, None, None)
            for token in (
                jwt(),
                jwt(exp=None),
                jwt(exp="1000"),
                jwt(exp=True),
                jwt(exp=10**400),
                jwt(exp=float("nan")),
                "unauthorized_user_token",
                "",
                "a.b.c",
                "a.b",
                "..",
                "é.é.é",
                f"a.{base64.urlsafe_b64encode(b'[' * 9999).decode()}.c",
                "a." + "b" * 100_000 + ".c",
            )
        ],
    ],
)
def test_a_token_says_when_it_ends(token, expiry, renewal):
    """A token's end is read from it, and its renewal is due 5 minutes or a tenth before."""
    assert expiry_of(token) == expiry
    assert renewal_of(token) == renewal


@pytest.mark.parametrize(
    ("token", "plan"),
    [(jwt(plan="pro_plus"), "pro_plus"), (jwt(plan=""), ""), (jwt(plan=1), ""), ("x", "")],
)
def test_a_token_says_its_plan(token, plan):
    """A token without a plan is one of the free plan."""
    assert plan_of(token) == plan


@given(st.text() | st.lists(st.text(), min_size=3, max_size=3).map(".".join))
def test_any_text_can_be_read(token):
    """A token is what the server made it; reading it never fails."""
    assert expiry_of(token) is None
    assert isinstance(plan_of(token), str)


def test_a_login_is_kept_and_found(cache):
    """What was stored is found by the same user, site and password."""
    cache.store(LOGIN, SITE, "secret")
    assert cache.find("ann", SITE, "secret") == LOGIN
    assert TokenCache(str(cache.path)).find("ann", SITE, "secret") == LOGIN


@pytest.mark.parametrize(
    "other", [("bob", SITE, "secret"), ("ann", "https://h", "secret"), ("ann", SITE, "Secret")]
)
def test_a_login_is_bound_to_user_site_and_password(cache, other):
    """Another user, site or password finds nothing."""
    cache.store(LOGIN, SITE, "secret")
    assert cache.find(*other) is None


@pytest.mark.parametrize("password", ["", "p&=+% ü", "\ud800", "x" * 10_000])
def test_any_password_binds(cache, password):
    """Passwords are of any characters and length."""
    cache.store(LOGIN, SITE, password)
    assert cache.find("ann", SITE, password) == LOGIN
    assert cache.find("ann", SITE, password + "x") is None


def test_the_password_is_not_in_the_file(cache):
    """The file has a salted hash, another one each time, and not the password."""
    contents = set()
    for _ in range(2):
        cache.store(LOGIN, SITE, "canary-password")
        contents.add(json.loads(cache.path.read_text())["logins"][0]["password_hash"])
        assert "canary-password" not in cache.path.read_text()
    assert len(contents) == 2


def test_a_user_has_one_login(cache):
    """A new login takes the place of the user's former one, and of no other."""
    other = CachedLogin("bob", "bobs")
    cache.store(other, SITE, "b")
    cache.store(LOGIN, SITE, "a")
    new = CachedLogin("ann", "new")
    cache.store(new, SITE, "c")
    assert cache.find("ann", SITE, "a") is None
    assert cache.find("ann", SITE, "c") == new
    assert cache.find("bob", SITE, "b") == other
    assert cache.latest(SITE) == new
    assert cache.latest("https://elsewhere") is None


def test_a_renewed_login_stays_bound(cache):
    """What cookies gave replaces the token; the password still finds it."""
    cache.store(LOGIN, SITE, "a")
    new = CachedLogin("ann", "new", "id2", "sign2")
    cache.renew(new, SITE)
    assert cache.find("ann", SITE, "a") == new
    cache.renew(CachedLogin("bob", "token"), SITE)
    assert cache.find("bob", SITE, "") is None


def test_a_login_is_forgotten(cache):
    """A forgotten login is not in the file, and an empty file is removed."""
    cache.store(LOGIN, SITE, "a")
    cache.store(CachedLogin("bob", "token"), SITE, "b")
    assert cache.forget("ann", SITE)
    assert not cache.forget("ann", SITE)
    assert CANARY not in cache.path.read_text()
    assert cache.forget(None, SITE)
    assert not cache.path.exists()


def test_the_number_of_logins_is_bounded(cache, monkeypatch):
    """The oldest login makes room."""
    monkeypatch.setattr("tvDatafeed.auth.cache.MAX_CACHED_LOGINS", 2)
    for name in ("a", "b", "c"):
        cache.store(CachedLogin(name, "token"), SITE, name)
    assert [cache.find(name, SITE, name) is None for name in "abc"] == [True, False, False]


@posix_only
def test_only_the_user_can_read_it(cache):
    """The file is 0600 and its new folder 0700, whatever the umask."""
    before = os.umask(0)
    try:
        cache.store(LOGIN, SITE, "a")
    finally:
        os.umask(before)
    assert stat.S_IMODE(cache.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(cache.path.parent.stat().st_mode) == 0o700
    assert [path.name for path in cache.path.parent.iterdir()] == ["tokens.json"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"canary",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'{"format": 1}',
        b'{"format": 2, "logins": []}',
        b'{"format": 1, "logins": ["canary"]}',
        b'{"format": 1, "logins": [{"username": "ann", "token": "canary"}]}',
        json.dumps(
            {
                "format": 1,
                "logins": [
                    {
                        "username": "ann",
                        "endpoint": SITE,
                        "salt": "no hex",
                        "password_hash": "",
                        "token": CANARY,
                        "sessionid": "",
                        "sessionid_sign": "",
                        "plan": "",
                    }
                ],
            }
        ).encode(),
        b"[" * 100_000,
        b" " * 2_000_000,
    ],
)
def test_damaged_content_is_ignored(cache, caplog, content):
    """A file that is not a token cache is replaced; the WARNING shows nothing of it."""
    cache.store(LOGIN, SITE, "a")
    cache.path.write_bytes(content)
    assert cache.find("ann", SITE, "a") is None
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "canary" not in caplog.text
    cache.store(LOGIN, SITE, "a")
    assert cache.find("ann", SITE, "a") == LOGIN


@posix_only
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o777])
def test_a_file_that_others_may_read_is_ignored(cache, caplog, mode):
    """What others could have read or written is not used."""
    cache.store(LOGIN, SITE, "a")
    cache.path.chmod(mode)
    assert cache.find("ann", SITE, "a") is None
    assert "0600" in caplog.text
    assert CANARY not in caplog.text


@posix_only
def test_links_and_pipes_are_not_followed(cache, caplog, tmp_path):
    """If the path is not a regular file, it is neither used nor waited for."""
    cache.store(LOGIN, SITE, "a")
    real = tmp_path / "real.json"
    cache.path.rename(real)
    cache.path.symlink_to(real)
    assert cache.find("ann", SITE, "a") is None
    cache.path.unlink()
    os.mkfifo(cache.path, 0o600)
    assert cache.find("ann", SITE, "a") is None
    assert len(caplog.records) == 2


def test_a_file_that_cannot_be_written_is_no_error(tmp_path, caplog):
    """Without a cache one logs in; the user reads why."""
    (tmp_path / "file").write_text("x")
    cache = TokenCache(tmp_path / "file" / "tokens.json")
    cache.store(LOGIN, SITE, "a")
    assert cache.find("ann", SITE, "a") is None
    assert "cannot be written" in caplog.text
    assert CANARY not in caplog.text


def test_no_file_is_no_warning(cache, caplog):
    """The first run finds nothing, silently."""
    assert cache.find("ann", SITE, "a") is None
    assert cache.latest(SITE) is None
    assert not caplog.records


def test_the_default_place_is_asked_for_at_each_use(tmp_path, monkeypatch):
    """The user's cache folder counts when the cache is used, not when it is made."""
    cache = TokenCache()
    for name in ("one", "two"):
        monkeypatch.setattr("platformdirs.user_cache_dir", lambda app, n=name: tmp_path / n / app)
        assert cache.path == default_cache_path() == tmp_path / name / "tvDatafeed" / "tokens.json"


def test_a_login_shows_no_secret():
    """A login in a log gives nothing away."""
    assert "canary" not in repr(LOGIN)
    assert pickle.loads(pickle.dumps(LOGIN)) == LOGIN  # noqa: S301


def test_a_guess_is_costly(cache, monkeypatch):
    """Each guess of a password in the file takes 16 MB of memory and the time to fill it."""
    hashed = []

    def scrypt(password, **how):
        hashed.append(how)
        return b"hash"

    monkeypatch.setattr(hashlib, "scrypt", scrypt)
    cache.store(LOGIN, SITE, "a")
    assert [128 * how["n"] * how["r"] * how["p"] for how in hashed] == [16 * 2**20]


WRITER = """
import hashlib, sys
scrypt = hashlib.scrypt
hashlib.scrypt = lambda *args, **how: scrypt(*args, **{**how, "n": 2})
from tvDatafeed.auth.cache import CachedLogin, TokenCache
cache = TokenCache(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for number in range(20):
    cache.store(CachedLogin("ann", f"{sys.argv[2]}-{number}" * 1000), "site", "password")
"""


@posix_only
@pytest.mark.slow
def test_two_processes_leave_one_valid_file(tmp_path):
    """Two programs that write at once leave one whole file, which other users could never read."""
    cache = TokenCache(tmp_path / "tokens.json")
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(cache.path), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(),
            text=True,
            umask=0,
        )
        for name in ("one", "two")
    ]
    try:
        for writer in writers:
            writer.stdout.readline()
        for writer in writers:
            writer.stdin.write("\n")
            writer.stdin.flush()
        while any(writer.poll() is None for writer in writers):
            for path in tmp_path.iterdir():
                try:
                    assert stat.S_IMODE(path.stat().st_mode) == 0o600
                except FileNotFoundError:
                    continue
            if cache.path.exists():
                assert cache.latest("site").token[:3] in {"one", "two"}
    finally:
        for writer in writers:
            writer.communicate()
    assert [writer.returncode for writer in writers] == [0, 0]
    assert cache.find("ann", "site", "password").token.endswith("-19")
    assert [path.name for path in tmp_path.iterdir()] == ["tokens.json"]


def test_threads_may_write_at_once(cache, caplog):
    """Threads do not stumble over each other's drafts."""
    threads = [
        threading.Thread(target=cache.store, args=(CachedLogin(f"u{n}", "t"), SITE, "p"))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache.latest(SITE) is not None
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


def test_the_keyring_keeps_passwords(monkeypatch):
    """A password is stored, found and forgotten under the user's name."""
    kept = {}
    ring = types.SimpleNamespace(
        get_password=lambda *key: kept.get(key),
        set_password=lambda service, user, password: kept.update({(service, user): password}),
        delete_password=lambda *key: kept.pop(key),
    )
    monkeypatch.setitem(sys.modules, "keyring", ring)
    assert keyring_password("ann") is None
    set_keyring_password("ann", "secret")
    assert keyring_password("ann") == "secret"
    assert kept == {("tvDatafeed", "ann"): "secret"}
    set_keyring_password("ann", None)
    set_keyring_password("ann", None)
    assert not kept


def test_a_keyring_that_fails_shows_no_password(monkeypatch):
    """A backend's own error may repeat the password; ours does not, nor does its cause."""

    def fail(*arguments):
        raise RuntimeError(f"cannot store {arguments}")

    monkeypatch.setitem(sys.modules, "keyring", types.SimpleNamespace(set_password=fail))
    with pytest.raises(ConfigurationError) as caught:
        set_keyring_password("ann", "canary-password")
    assert caught.value.__cause__ is caught.value.__context__ is None
    assert "canary" not in str(caught.value)


def test_without_the_extra_the_error_names_it(monkeypatch):
    """Without a keyring package, the error names what to install."""
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(ConfigurationError, match=r"tvdatafeed\[keyring\]"):
        keyring_password("ann")
