"""No secret is sent without TLS, unless the host is this machine or the program allows it."""

import pytest

from tvDatafeed import ConfigurationError, TvDatafeed, TvDatafeedConfig
from tvDatafeed.config import AuthConfig, NetworkConfig
from tvDatafeed.testing import FakeTradingView

URLS = [
    ("ws_url", "TV_WS_URL", "ws://host.example/socket"),
    ("base_url", "TV_BASE_URL", "http://host.example"),
    ("search_url", "TV_SEARCH_URL", "http://host.example/search"),
    ("base_url", "TV_BASE_URL", "HTTP://127.0.0.1.example"),
    ("ws_url", "TV_WS_URL", "ws://10.0.0.1:80/"),
]


@pytest.mark.parametrize(("name", "variable", "url"), URLS)
def test_a_url_without_tls_is_refused(monkeypatch, name, variable, url):
    """The error names the field or the variable, and the setting that allows it."""
    with pytest.raises(ConfigurationError, match="TV_ALLOW_INSECURE") as caught:
        NetworkConfig(**{name: url})
    assert caught.value.parameter == name
    monkeypatch.setenv(variable, url)
    with pytest.raises(ConfigurationError, match="TV_ALLOW_INSECURE") as caught:
        TvDatafeed()
    assert caught.value.parameter == variable
    monkeypatch.setenv("TV_ALLOW_INSECURE", "true")
    assert getattr(TvDatafeedConfig.from_env().network, name) == url


def test_a_sign_in_url_without_tls_is_refused():
    """Also the one place that is of another section."""
    auth = AuthConfig(sign_in_url="http://host.example/in")
    with pytest.raises(ConfigurationError) as caught:
        TvDatafeedConfig(auth=auth)
    assert caught.value.parameter == "sign_in_url"
    TvDatafeedConfig(auth=auth, network=NetworkConfig(allow_insecure=True))


@pytest.mark.parametrize(
    "host", ["127.0.0.1:1", "localhost", "a.localhost", "[::1]:1", "127.9.9.9"]
)
def test_this_machine_needs_no_tls(host):
    """A loopback server is used as before."""
    network = NetworkConfig(
        ws_url=f"ws://{host}/", base_url=f"http://{host}", search_url=f"http://{host}/"
    )
    TvDatafeedConfig(network=network, auth=AuthConfig(sign_in_url=f"http://{host}/in"))


def test_a_loopback_server_for_other_machines_can_be_used():
    """The settings of the server that this library ships are good wherever it listens."""
    with FakeTradingView(host="0.0.0.0") as server, TvDatafeed(config=server.config()) as tv:  # noqa: S104
        assert len(tv.get_hist("NASDAQ:AAPL")) == 10
