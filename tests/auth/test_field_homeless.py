"""A user without a home folder has no token cache, one WARNING, and the bars."""

import logging
import pathlib
import sys

import pytest

from tests.auth.accounts import ANN
from tests.programs import urls
from tvDatafeed import ConfigurationError, TvDatafeed
from tvDatafeed.auth.cache import CachedLogin, TokenCache, default_cache_path
from tvDatafeed.cli.app import main
from tvDatafeed.testing import FakeTradingView

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has a folder of its own")


@pytest.fixture(autouse=True)
def _homeless(monkeypatch, tmp_path):
    """No HOME, and a user that the system does not list."""

    def unknown(_uid):
        raise KeyError

    monkeypatch.setattr("pwd.getpwuid", unknown)
    for variable in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RuntimeError):
        pathlib.Path.home()
    yield
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def server():
    with FakeTradingView(accounts=(ANN,)) as running:
        yield running


@pytest.fixture
def environment(server, monkeypatch):
    for variable, url in urls(server).items():
        monkeypatch.setenv(variable, url)


def test_a_login_gives_bars(server, caplog):
    """One WARNING for the whole sign-in, which names the setting that helps."""
    with TvDatafeed(ANN.username, ANN.password, config=server.config()) as tv:
        assert len(tv.get_hist("NASDAQ:AAPL")) == 10
    warned = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert len(warned) == 1
    assert "TV_TOKEN_CACHE" in warned[0]


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["hist", "NASDAQ:AAPL"], 0),
        (["live", "BITSTAMP:BTCUSD", "--count", "1"], 0),
        (["whoami"], 1),
        (["logout"], 0),
        (["login", "--username", "ann"], 2),
        (["search", "AAPL"], 0),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_each_command_says_it_once_and_goes_on(capsys, command, code):
    """No command ends in a traceback; `login` says that there is no place for the login."""
    assert main(command) == code
    lines = [line for line in capsys.readouterr().err.splitlines() if "home folder" in line]
    assert len(lines) == {"search": 0, "login": 2}.get(command[0], 1)


@pytest.mark.usefixtures("environment")
def test_hist_signs_in_with_the_password_of_the_environment(monkeypatch, capsys):
    """The same WARNING, and the bars of the account."""
    monkeypatch.setenv("TV_USERNAME", ANN.username)
    monkeypatch.setenv("TV_PASSWORD", ANN.password)
    assert main(["hist", "NASDAQ:AAPL"]) == 0
    assert capsys.readouterr().err.count("home folder") == 1


def test_the_path_itself_is_an_error():
    """`default_cache_path` has no path to return, and a cache without a path keeps nothing."""
    with pytest.raises(ConfigurationError, match="no home folder"):
        default_cache_path()
    cache = TokenCache()
    cache.store(CachedLogin("ann", "t"), "https://here", "secret")
    assert cache.latest("https://here") is None
