"""A ``~`` in the path of a setting is the user's home folder."""

import pytest

from tests.auth.accounts import ANN
from tvDatafeed import ConfigurationError, TvDatafeed, TvDatafeedConfig
from tvDatafeed.auth.cache import TokenCache
from tvDatafeed.config import AuthConfig, NetworkConfig


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The home folder; programs run in another one."""
    folder, here = tmp_path / "home", tmp_path / "here"
    folder.mkdir()
    here.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("USERPROFILE", str(folder))
    monkeypatch.chdir(here)
    return folder


@pytest.mark.parametrize("by", ["variable", "parameter", "settings"])
def test_a_token_cache_is_kept_at_home(server, home, monkeypatch, by):
    """The login is found below the home folder, and no folder is named ``~``."""
    given = {}
    if by == "variable":
        monkeypatch.setenv("TV_TOKEN_CACHE", "~/logins/tokens.json")
        auth = TvDatafeedConfig.from_env().auth
    elif by == "parameter":
        auth, given = AuthConfig(), {"token_cache": "~/logins/tokens.json"}
    else:
        auth = AuthConfig(token_cache="~/logins/tokens.json")
    config = TvDatafeedConfig(network=server.config().network, auth=auth)
    with TvDatafeed(ANN.username, ANN.password, config=config, **given):
        assert (home / "logins" / "tokens.json").is_file()
    assert list((home.parent / "here").iterdir()) == []


def test_a_file_of_authorities_and_a_file_of_variables_are_found_at_home(home, monkeypatch):
    """TV_CA_FILE, `ca_file` and `dotenv_path` are expanded as well."""
    (home / "ca.pem").write_text("")
    (home / ".env").write_text("TV_DEFAULT_BARS=7\nTV_CA_FILE=~/ca.pem\n")
    assert NetworkConfig(ca_file="~/ca.pem").ca_file == str(home / "ca.pem")
    monkeypatch.setenv("TV_CA_FILE", "~/ca.pem")
    assert TvDatafeedConfig.from_env().network.ca_file == str(home / "ca.pem")
    monkeypatch.delenv("TV_CA_FILE")
    config = TvDatafeedConfig.from_env(dotenv_path="~/.env")
    assert (config.data.default_bars, config.network.ca_file) == (7, str(home / "ca.pem"))


def test_a_cache_that_a_program_opens_is_found_at_home(home):
    """`TokenCache` takes such a path too."""
    assert TokenCache("~/tokens.json").path == home / "tokens.json"


@pytest.mark.parametrize("variable", ["TV_TOKEN_CACHE", "TV_CA_FILE"])
def test_a_home_folder_that_is_not_known_is_an_error(home, monkeypatch, variable):
    """Nothing is written to a folder named after a user who does not exist."""
    monkeypatch.setenv(variable, "~no-such-user/file")
    with pytest.raises(ConfigurationError, match="home folder is not known") as caught:
        TvDatafeedConfig.from_env()
    assert caught.value.parameter == variable
